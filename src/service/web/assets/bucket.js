// The bucket: items of the whole ring by prefix, page by page, and one by its key.

import { Failure, callText, elementsOf, membersOf } from './wire.js';
import { bytes, cut, find, make, moment, say } from './word.js';
import * as editor from './editor.js';
import * as owner from './owner.js';
import * as lookup from './lookup.js';
import * as ring from './ring.js';

/** A small screen is a long way down. */
const PAGE_ITEMS = window.innerWidth < 700 ? 8 : 20;
const SHOWN_VALUE_CHARS = 120;
const utf8 = new TextEncoder();
const items = find('items');
const box = find('browse-text');
let prefix = '';
/** Keys after which the pages up to this one begin. */
let starts = [null];
let next = null;
let asked = 0;

export function start() {
  find('browse').addEventListener('submit', (event) => {
    event.preventDefault();
    prefix = box.value;
    starts = [null];
    load();
  });
  find('browse-get').addEventListener('click', () => (box.value === '' ? box.focus() : get(box.value)));
  find('browse-new').addEventListener('click', () => editor.openNew(''));
  find('items-back').addEventListener('click', () => { starts.pop(); load(); });
  find('items-on').addEventListener('click', () => { starts.push(next); load(); });
  editor.start((said) => { say(find('bucket-done'), said); load(); });
}

/** Loads the page that is shown. */
export async function load() {
  asked += 1;
  const turn = asked;
  find('browse-new').hidden = !owner.writes();
  const params = { limit: PAGE_ITEMS };
  if (prefix !== '') params.prefix = prefix;
  if (starts.at(-1) !== null) params.after = starts.at(-1);
  try {
    const page = membersOf(await callText('scan_items', params));
    if (turn !== asked) return;
    complain('');
    next = JSON.parse(page.next);
    paint(elementsOf(page.items).map(membersOf), page.degraded === 'true');
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    if (turn === asked) complain(error.message);
  }
}

/** Reads one item from a quorum of its copies and opens it. */
async function get(key) {
  try {
    const got = membersOf(await callText('get', { key }));
    complain('');
    const note = `Written ${written(JSON.parse(got.version))}, read from ${got.acks} copies`
      + `${got.degraded === 'true' ? ' while one is absent: it may be older than what that one holds' : ''}.`;
    editor.openItem(key, contentOf(got), note);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    complain(error.code === -32004
      ? `Nothing is stored under ${cut(key, 60)}. New item stores something; Browse lists keys that start so.`
      : error.message);
  }
}

function contentOf(members) {
  return members.value_base64 === undefined
    ? { json: members.value } : { base64: JSON.parse(members.value_base64) };
}

function written(version) {
  const ms = Math.floor(parseInt(version.slice(0, 16), 16) / 65536);
  return `${moment(ms)} by ${ring.nameOf(version.slice(17))}`;
}

function complain(text) {
  const fault = find('bucket-fault');
  say(fault, text);
  fault.hidden = text === '';
}

function paint(list, degraded) {
  items.replaceChildren(...list.map(row));
  const from = (starts.length - 1) * PAGE_ITEMS;
  const which = prefix === '' ? 'of the whole ring' : `that start with ${cut(prefix, 30)}`;
  const more = next === null ? '' : ', more follow';
  say(find('bucket-range'), [list.length && `items ${from + 1} to ${from + list.length} ${which}${more}`,
    degraded && 'a board is absent, some may be missing'].filter(Boolean).join('; '));
  const empty = find('items-empty');
  empty.hidden = list.length > 0;
  say(empty, prefix === '' ? `The bucket is empty.${owner.writes() ? ' New item puts something into it.' : ''}`
    : `No key starts with ${cut(prefix, 60)}.`);
  find('items-back').disabled = starts.length === 1;
  find('items-on').disabled = next === null;
}

function row(members) {
  const key = JSON.parse(members.key);
  const content = contentOf(members);
  const [shown, size] = content.base64 === undefined
    ? [cut(content.json.slice(0, SHOWN_VALUE_CHARS * 2), SHOWN_VALUE_CHARS), utf8.encode(content.json).length]
    : preview(content.base64);
  const act = (word, spoken, run) => {
    const button = make('button', { type: 'button', class: 'plain', 'aria-label': spoken }, word);
    button.addEventListener('click', run);
    return button;
  };
  const cell = (head, ...children) => make('td', { role: 'cell', 'data-head': head }, ...children);
  const number = cell('Size', bytes(size));
  number.className = 'number';
  const acts = make('td', { role: 'cell', class: 'acts' },
    act(owner.writes() ? 'Edit' : 'View', `${owner.writes() ? 'Edit' : 'View'} ${key}`, () => get(key)),
    act('Find', `Find ${key} on the ring`, () => locate(key)),
    owner.writes() ? act('Remove', `Remove ${key}`, () => editor.ask(key)) : null);
  return make('tr', { role: 'row' }, make('th', { role: 'rowheader', scope: 'row', class: 'mono', title: key }, cut(key, 100)),
    cell('Value', make('span', { class: 'mono' }, shown)), number,
    cell('Written', written(JSON.parse(members.version))), acts);
}

function preview(base64) {
  const data = editor.bytesOf(base64);
  const head = Array.from(data.subarray(0, 24), (byte) => byte.toString(16).padStart(2, '0')).join(' ');
  return [`bytes ${head}${data.length > 24 ? ' …' : ''}`, data.length];
}

function locate(key) {
  find('lookup-key').value = key;
  find('ring').scrollIntoView({ block: 'start' });
  lookup.look(key);
}
