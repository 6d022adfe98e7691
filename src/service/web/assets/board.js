// The table of boards: what each says of itself, asked of it through this board.

import { call } from './wire.js';
import { bytes, called, count, duration, find, icon, make, say, short, standingOf } from './word.js';

const ROWS_MAX = 25;
/** Boards are asked anew after this; this board's own figures come with the feed. */
const ASK_MS = 5000;
const ASKED_AT_ONCE = 3;
/** An address as this product writes it; anything else is shown and leads nowhere. */
const ADDRESS = /^(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-f:]+\]):\d{1,5}$/i;
const HEADS = ['State', 'Address', 'Id', 'Version', 'Up', 'Keys', 'Disk used', 'Disk free', 'Memory'];

const rows = find('boards-rows');
const figures = new Map();
const shown = new Map();
let nodes = [];
let self = '';
let page = 0;
let chosen = '';
let heardAt = 0;
let busy = false;

export function start() {
  find('boards-back').addEventListener('click', () => turn(page - 1));
  find('boards-on').addEventListener('click', () => turn(page + 1));
  setInterval(ask, ASK_MS);
  setInterval(() => { if (!document.hidden) paint(); }, 1000);
}

/** The boards of the cluster, as the feed tells of them. */
export function show(state, hash) {
  const known = new Set(nodes.map((node) => node.hash));
  nodes = [...state.nodes].sort((a, b) => (a.hash < b.hash ? -1 : 1));
  self = hash;
  heardAt = performance.now();
  const present = new Set(nodes.map((node) => node.hash));
  for (const id of figures.keys()) if (!present.has(id)) figures.delete(id);
  paint();
  if (nodes.some((node) => !known.has(node.hash))) ask();
}

/** A board's figures. */
export function tell(stats) {
  figures.set(stats.hash, { ...stats, at: performance.now() });
}

/** Turns to the board, and marks it. */
export function choose(hash) {
  chosen = hash;
  const at = nodes.findIndex((node) => node.hash === hash);
  if (at >= 0) turn(Math.floor(at / ROWS_MAX));
}

function turn(to) {
  page = Math.max(0, Math.min(to, Math.floor(Math.max(0, nodes.length - 1) / ROWS_MAX)));
  paint();
  ask();
}

const onPage = () => nodes.slice(page * ROWS_MAX, (page + 1) * ROWS_MAX);

/** Asks the boards that are in view, a few at a time. */
async function ask() {
  if (busy || document.hidden) return;
  busy = true;
  const waiting = onPage().filter((node) => node.alive && node.hash !== self);
  const worker = async () => {
    for (let node = waiting.shift(); node; node = waiting.shift()) {
      try {
        tell(await call('get_node_stats', {}, node.hash));
      } catch {
        // It says nothing of itself: its line keeps what was known, and the ring says how it is.
      }
    }
  };
  await Promise.all(Array.from({ length: ASKED_AT_ONCE }, worker));
  busy = false;
  paint();
}

function paint() {
  if (page * ROWS_MAX >= nodes.length) page = Math.max(0, Math.ceil(nodes.length / ROWS_MAX) - 1);
  const visible = onPage();
  const several = nodes.length > ROWS_MAX;
  find('boards-pager').hidden = !several;
  find('boards-back').disabled = page === 0;
  find('boards-on').disabled = (page + 1) * ROWS_MAX >= nodes.length;
  const from = page * ROWS_MAX;
  say(find('boards-range'), several
    ? `${from + 1} to ${from + visible.length} of ${nodes.length}, in the order of the ring`
    : 'in the order of the ring');
  const wanted = visible.map((node) => {
    let row = shown.get(node.hash);
    if (!row) {
      row = blankRow();
      shown.set(node.hash, row);
    }
    fill(row, node);
    return row;
  });
  for (const [hash, row] of shown) if (!wanted.includes(row)) shown.delete(hash);
  const same = wanted.length === rows.children.length && wanted.every((row, at) => rows.children[at] === row);
  if (!same) rows.replaceChildren(...wanted);
}

function blankRow() {
  const cells = HEADS.map((head, at) => make('td', {
    role: 'cell', 'data-head': head, class: at === 2 ? 'mono' : at > 3 ? 'number' : null,
  }));
  return make('tr', { role: 'row' }, make('th', { role: 'rowheader', scope: 'row' }), ...cells);
}

function fill(row, node) {
  const standing = standingOf(node);
  const known = figures.get(node.hash);
  const gone = performance.now();
  const since = duration(node.for_ms + gone - heardAt);
  const counters = known?.counters ?? {};
  const state = `${standing.word}${standing.word === 'active' ? '' : ` for ${since}`}`;
  const address = node.addr === null ? 'unknown'
    : `${String(node.addr).includes(':') ? `[${node.addr}]` : node.addr}:${node.port}`;
  row.classList.toggle('chosen', node.hash === chosen);
  const [name, ...cells] = row.children;
  once(name, `${node.name}|${node.hash === self}`, () => [called(node),
    node.hash === self ? make('span', { class: 'tag' }, 'this board') : null]);
  once(cells[0], `${standing.shape}${standing.tone}${state}`, () => [
    make('span', { class: 'state' }, icon(standing.shape, standing.tone), state)]);
  once(cells[1], `${address}${node.alive}`, () => [
    ADDRESS.test(address) && node.alive && node.hash !== self
      ? make('a', { href: `${location.protocol}//${address}/presentation` }, address) : address]);
  say(cells[2], short(node.hash));
  say(cells[3], node.version ?? '–');
  const up = known && node.alive ? duration(known.uptime_ms + gone - known.at) : '–';
  say(cells[4], up);
  say(cells[5], known ? count(known.items) : '–');
  say(cells[6], bytes(counters.store_disk_bytes));
  say(cells[7], bytes(counters.store_free_bytes));
  say(cells[8], bytes(known?.memory_bytes));
}

/** Fills a cell anew only when what it shows has changed. */
function once(cell, key, children) {
  if (cell.key === key) return;
  cell.key = key;
  cell.replaceChildren(...children().filter((child) => child !== null));
}
