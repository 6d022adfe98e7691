// The editor of one item, and the question before one is removed. Values stay what they are: JSON
// is sent as it is typed, bytes travel as base64.

import { Failure, callText } from './wire.js';
import * as owner from './owner.js';
import { bytes, cut, find, say } from './word.js';

const dialog = find('editor');
const key = find('editor-key');
const value = find('editor-value');
const fault = find('editor-fault');
const forms = [...document.querySelectorAll('#editor-form input[name="form"]')];
const utf8 = new TextEncoder();
let form = 'json';
let changed = () => {};
let removing = '';

export function start(onChange) {
  changed = onChange;
  find('editor-form').addEventListener('submit', save);
  find('editor-cancel').addEventListener('click', () => dialog.close());
  find('editor-remove').addEventListener('click', () => ask(key.value));
  for (const radio of forms) radio.addEventListener('change', () => turnTo(radio.value));
  value.addEventListener('input', measure);
  find('confirm-form').addEventListener('submit', remove);
  find('confirm-cancel').addEventListener('click', () => find('confirm').close());
}

/** Opens an empty editor. */
export function openNew(text = '') {
  open('New item', text, false, 'text', '');
}

/** Opens an item: `json` is its value as it is written, or `base64` its bytes. */
export function openItem(name, { json, base64 }, note) {
  const title = owner.writes() ? 'Edit item' : 'Item';
  if (base64 !== undefined) open(title, name, true, 'hex', hexOf(bytesOf(base64)), note);
  else if (json.startsWith('"')) open(title, name, true, 'text', JSON.parse(json), note);
  else open(title, name, true, 'json', json, note);
}

function open(title, name, exists, as, text, note) {
  say(find('editor-title'), title);
  key.value = name;
  key.readOnly = exists;
  const writes = owner.writes();
  value.readOnly = !writes;
  find('editor-remove').hidden = !exists || !writes;
  find('editor-save').hidden = !writes;
  find('editor-copies').parentElement.hidden = !writes;
  say(find('editor-cancel'), writes ? 'Cancel' : 'Close');
  form = as;
  for (const radio of forms) radio.checked = radio.value === as;
  value.value = text;
  value.dataset.note = note ?? '';
  find('editor-copies').value = 'quorum';
  complain('');
  measure();
  if (!dialog.open) dialog.showModal();
  (exists || name ? value : key).focus();
}

/** The same value in another form, when it has one. */
function turnTo(to) {
  try {
    const next = converted(value.value, form, to);
    value.value = next;
    form = to;
    complain('');
  } catch (error) {
    complain(`${error.message} It stays as it is.`);
    for (const radio of forms) radio.checked = radio.value === form;
  }
  measure();
}

function converted(text, from, to) {
  if (text === '' || from === to) return text;
  if (to === 'hex') return hexOf(utf8.encode(text));
  const plain = from === 'hex' ? textOf(unhex(text)) : text;
  if (to === 'text') {
    const quoted = from === 'json' && /^\s*"/.test(plain);
    return quoted ? String(JSON.parse(checked(plain))) : plain;
  }
  if (from === 'text') {
    // What reads as JSON is taken for it; anything else becomes a JSON text.
    try { return checked(plain); } catch { return JSON.stringify(plain); }
  }
  return checked(plain);
}

/** What is to be stored, as a member of the call; throws with what is wrong. */
function member() {
  if (form === 'json') return `"value":${checked(value.value)}`;
  if (form === 'text') return `"value":${JSON.stringify(value.value)}`;
  return `"value_base64":"${base64Of(unhex(value.value))}"`;
}

function checked(text) {
  try {
    JSON.parse(text);
    return text;
  } catch (error) {
    throw new Error(`This is not JSON (${error.message}). Correct it, or choose Text.`);
  }
}

function unhex(text) {
  const digits = text.replace(/\s+/g, '');
  const odd = digits.search(/[^0-9a-f]/i);
  if (odd >= 0) throw new Error(`"${cut(digits.slice(odd), 2)}" is not hexadecimal. Use 0 to 9 and a to f.`);
  if (digits.length % 2) throw new Error('A byte has two hex digits and the last has one. Add or take one.');
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

function hexOf(data) {
  const pairs = Array.from(data, (byte) => byte.toString(16).padStart(2, '0'));
  const lines = [];
  for (let at = 0; at < pairs.length; at += 16) lines.push(pairs.slice(at, at + 16).join(' '));
  return lines.join('\n');
}

function textOf(data) {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    throw new Error('These bytes are no text in UTF-8.');
  }
}

export function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

function base64Of(data) {
  let text = '';
  for (let at = 0; at < data.length; at += 8192) text += String.fromCharCode(...data.subarray(at, at + 8192));
  return btoa(text);
}

function measure() {
  let length = '';
  try {
    const data = form === 'hex' ? unhex(value.value)
      : utf8.encode(form === 'json' ? value.value : JSON.stringify(value.value));
    length = `${bytes(data.length)} to store, at most 524 kB.`;
  } catch {
    length = 'Not yet a whole number of bytes.';
  }
  say(find('editor-note'), [value.dataset.note, length].filter(Boolean).join(' '));
}

function complain(text, field) {
  say(fault, text);
  fault.hidden = text === '';
  for (const element of [key, value]) element.setAttribute('aria-invalid', String(element === field));
  field?.focus();
}

async function save(event) {
  event.preventDefault();
  if (key.value === '') return complain('An item needs a key. Give it one of 1 to 1,024 bytes.', key);
  let content;
  try {
    content = member();
  } catch (error) {
    return complain(error.message, value);
  }
  find('editor-save').disabled = true;
  try {
    const copies = `"consistency":"${find('editor-copies').value}"`;
    await callText('put', `{"key":${JSON.stringify(key.value)},${copies},${content}}`);
    dialog.close();
    changed(`Stored ${cut(key.value, 40)}.`);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    complain(error.message);
  } finally {
    find('editor-save').disabled = false;
  }
  return undefined;
}

/** Asks whether an item is to go. */
export function ask(name) {
  removing = name;
  say(find('confirm-key'), cut(name, 120));
  say(find('confirm-fault'), '');
  find('confirm-fault').hidden = true;
  find('confirm').showModal();
  find('confirm-cancel').focus();
}

async function remove(event) {
  event.preventDefault();
  const button = find('confirm-remove');
  button.disabled = true;
  try {
    const result = JSON.parse(await callText('remove', { key: removing }));
    find('confirm').close();
    dialog.close();
    changed(result.removed ? `Removed ${cut(removing, 40)}.` : `${cut(removing, 40)} held nothing.`);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    say(find('confirm-fault'), error.message);
    find('confirm-fault').hidden = false;
  } finally {
    button.disabled = false;
  }
}
