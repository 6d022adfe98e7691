// Health in words, as `roundel status` says it, and the log of events.

import { called, clock, duration, find, icon, make, many, moment, say, short, standingOf } from './word.js';

const EVENTS_SHOWN_MAX = 120;
/** Shape and tone of an event; what is not known here is shown all the same. */
const KINDS = {
  founded: ['circle', 'good'], joined: ['circle', 'good'], node_up: ['circle', 'good'],
  node_added: ['triangle', 'change'], node_removed: ['wedge', 'change'], merged: ['circle', 'change'],
  mode_adopted: ['circle', 'change'], owner_changed: ['circle', 'change'],
  fingerprint: ['circle', 'change'], departed: ['wedge', 'change'],
  node_suspected: ['diamond', 'warn'], conflict: ['diamond', 'warn'],
  node_down: ['cross', 'bad'], cloned_card: ['cross', 'bad'],
};

const log = find('events');
const warned = find('problems');
const names = new Map();
let last = 0;

/** Remembers what boards are called, for events about those that are gone. */
export function learn(nodes) {
  for (const node of nodes) {
    if (names.get(node.hash) === called(node)) continue;
    names.set(node.hash, called(node));
    for (const name of log.querySelectorAll(`b[data-id="${CSS.escape(node.hash)}"]`)) say(name, called(node));
  }
}

/** What was wrong at the start of the board: a row each, as the document has it. */
export function warn(node) {
  const texts = (node.problems ?? []).map(({ file, line, reason, remedy }) => {
    const place = file === null ? '' : `${file}${line === null ? '' : `, line ${line}`}: `;
    return `${place}${reason}${remedy ? `; ${remedy}` : ''}`;
  });
  const key = JSON.stringify(texts);
  if (warned.key === key) return;
  warned.key = key;
  warned.replaceChildren(...texts.map((text) => make('div', { 'data-tone': 'bad' },
    make('p', {}, ...quoted(text)))));
}

/** Health of the board and its ring. */
export function show({ node, cluster, stats, age }) {
  const all = cluster.nodes;
  const absent = all.filter((board) => !board.alive);
  const near = cluster.mode === 'partial' ? ' (this one and its neighbours)' : '';
  let ring = [`${many(all.length, 'board')}${near}`];
  let tone = 'good';
  if (node.state === 'stop' || all.length === 0) [ring, tone] = [['none; this board is in no ring'], 'warn'];
  else if (absent.length) {
    const each = absent.slice(0, 5).map((board) => `${called(board)} for ${duration(board.for_ms + age)}${givingUp(board, age)}`);
    if (absent.length > 5) each.push(`${absent.length - 5} more`);
    ring.push(`; absent: ${each.join(', ')}`);
    tone = 'bad';
  } else if (!cluster.settled) [ring, tone] = [[...ring, ', all present; boards are joining or leaving'], 'change'];
  else if (all.length === 1) [ring, tone] = [[...ring, '; no neighbour found, `roundel doctor` says why'], 'warn'];
  else ring.push(', all present');
  fact('health-ring', ring.join(''), tone);
  replicated(cluster, stats);
  const safe = stats.safe_to_unplug;
  fact('health-unplug', safe ? 'yes' : `no${stats.unplug_reason ? `: ${stats.unplug_reason}` : ''}`,
    safe ? 'good' : 'warn');
  fact('health-store', String(stats.store), stats.store === 'open' ? 'good' : 'bad');
  const problems = [...stats.problems];
  for (const board of all) {
    const standing = standingOf(board);
    const why = standing.word === 'diskless' ? ': it has no data partition and keeps no copies' : '';
    if (standing.shape === 'square') problems.push(`${called(board)} is ${standing.word}${why}.`);
  }
  facts('health-wrong', problems.length ? problems : ['nothing'], problems.length ? 'bad' : 'good');
}

function givingUp(board, age) {
  const it = board.giving_up;
  if (!it) return '';
  if (it.present < it.needed) return ` (not given up: ${it.present} of ${it.needed} needed are there)`;
  return it.after_ms > age ? ` (given up in ${duration(it.after_ms - age)})`
    : ` (being given up: ${it.votes} of ${it.needed} agree)`;
}

function replicated(cluster, stats) {
  const holders = cluster.nodes.filter((board) => board.standing !== 'diskless').length;
  const copies = Math.max(1, Math.min(cluster.copies ?? 1, holders));
  const pending = stats.handover_pending ? `; ${many(stats.handover_pending, 'key')} on the way to other boards` : '';
  const keys = many(stats.items, 'key');
  if (stats.store === 'diskless') {
    fact('health-copies', `not here: each key is on ${copies} of the other boards`, 'warn');
  } else if (stats.under_replicated > 0) {
    fact('health-copies', `no: ${stats.under_replicated} of ${keys} here lack a copy${pending}`, 'warn');
  } else if (copies === 1) {
    fact('health-copies', `no: ${keys}, on this board only; add a board`, 'warn');
  } else {
    fact('health-copies', `yes: ${keys} here, each on ${copies} boards${pending}`, 'good');
  }
}

const SHAPE_OF = { good: 'circle', change: 'triangle', warn: 'diamond', bad: 'cross' };
const fact = (id, text, tone) => facts(id, [text], tone);

/** Sentences with the mark of how they are meant. */
function facts(id, texts, tone) {
  const element = find(id);
  const key = [tone, ...texts].join('\n');
  if (element.key === key) return;
  element.key = key;
  element.replaceChildren(...texts.map((text) => make('div', { class: 'fact' },
    icon(SHAPE_OF[tone], tone), make('p', {}, ...quoted(text)))));
}

/** Commands stand between backquotes. */
function quoted(text) {
  return text.split('`').map((part, at) => (at % 2 ? make('code', {}, part) : part));
}

/** Events of the feed; a board that was started anew counts from one again. */
export function note(events, uptimeMs) {
  if (events.length && events[0].number === 1 && last >= events.at(-1).number) forget();
  const fresh = events.filter((event) => event.number > last);
  if (fresh.length === 0) return;
  last = fresh.at(-1).number;
  log.prepend(...fresh.reverse().map((event) => line(event, uptimeMs)));
  while (log.children.length > EVENTS_SHOWN_MAX) log.lastElementChild.remove();
}

/** The board was started anew: its events are others. */
export function forget() {
  last = 0;
  log.replaceChildren();
}

function line(event, uptimeMs) {
  const [shape, tone] = KINDS[event.event] ?? ['square', 'bad'];
  // A board whose clock is not set knows how long ago it was all the same.
  const at = event.time_ms ?? Date.now() - Math.max(0, uptimeMs - event.uptime_ms);
  const name = event.node
    ? make('b', { 'data-id': event.node }, names.get(event.node) ?? short(event.node)) : null;
  return make('li', {},
    make('time', { datetime: new Date(at).toISOString(), title: moment(at) }, clock(at)),
    icon(shape, tone), make('p', {}, name, name ? ` ${event.text}` : event.text));
}
