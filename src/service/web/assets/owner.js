// Who reads the page and what that allows: claiming, logging in and out, and the banner that says
// whom the ring trusts. What a reader may do is decided by the board; the page only shows less.

import { Failure, ask } from './wire.js';
import { find, make, say } from './word.js';

const door = find('door');
const fault = find('door-fault');
const FIELDS = ['code', 'password', 'new', 'again'];
/** What the door asks for, and where it leads. */
const WAYS = {
  login: {
    title: 'Log in', go: 'Log in', path: 'login', fields: ['password'], other: ['claim', 'Password forgotten?'],
    note: 'The owner’s password of this ring.',
  },
  claim: {
    title: 'Claim this ring', go: 'Claim', path: 'claim', fields: ['code', 'new', 'again'],
    note: 'Whoever can read the console of this board may own its page: `roundel run` logs a code '
      + 'while nobody does, and `roundel key owner-code` on the board prints one at any time.',
  },
  password: {
    title: 'Change the password', go: 'Change', path: 'password', fields: ['password', 'new', 'again'],
    note: 'Everybody else who is logged in will have to do so anew.',
  },
};
let session = { claimed: true, owner: false, may: 'read', access: 'keyed', private: true, https: '' };
let way = 'login';
let changed = () => {};

/** Whether the reader may change items. */
export const writes = () => session.may !== 'read';

export function start(onChange) {
  changed = onChange;
  find('reader-act').addEventListener('click', () => (session.owner ? open('password') : open(session.claimed ? 'login' : 'claim')));
  find('door-form').addEventListener('submit', go);
  find('door-cancel').addEventListener('click', () => door.close());
  find('door-other').addEventListener('click', () => (way === 'password' ? leave() : open(WAYS[way].other[0])));
  document.addEventListener('visibilitychange', () => { if (!document.hidden) look(); });
}

/** Asks the board who the reader is; a board that does not answer leaves things as they were. */
export async function look() {
  try {
    take(await ask('session'));
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
  }
}

/** The board's state: when its access changes, so does what the reader may do. */
export function tell(node) {
  if (node.access !== undefined && node.access !== session.access) look();
}

function take(next) {
  const before = session;
  session = next;
  say(find('fingerprint'), session.fingerprint ?? '');
  say(find('reader-word'), session.owner ? 'owner' : writes() ? 'may write' : 'read only');
  const act = find('reader-act');
  act.hidden = !session.private;
  say(act, session.owner ? 'Account' : session.claimed ? 'Log in' : 'Claim');
  const link = find('reader-https');
  link.hidden = session.private;
  link.href = session.https;
  say(link, session.claimed ? 'Log in over https' : 'Claim over https');
  banner();
  if (before.may !== session.may) changed();
}

function banner() {
  const element = find('banner');
  const texts = {
    provisional: 'This ring trusts everyone on this LAN until you confirm it.',
    open: 'This ring is open: whoever reaches it may change everything in it. Its configuration '
      + 'says open = true; take that out and restart its boards to close it.',
  };
  const text = texts[session.access];
  element.hidden = text === undefined;
  element.dataset.tone = session.access === 'open' ? 'bad' : 'warn';
  if (text !== undefined) element.replaceChildren(make('p', {}, text));
}

function open(to) {
  way = to;
  const it = WAYS[way];
  say(find('door-title'), way === 'claim' && session.claimed ? 'Set a new password' : it.title);
  say(find('door-go'), it.go);
  find('door-note').replaceChildren(...it.note.split('`').map((part, at) => (at % 2 ? make('code', {}, part) : part)));
  for (const name of FIELDS) {
    find(`door-${name}-field`).hidden = !it.fields.includes(name);
    find(`door-${name}`).value = '';
  }
  const other = find('door-other');
  const word = way === 'password' ? 'Log out' : it.other?.[1];
  other.hidden = word === undefined;
  say(other, word ?? '');
  complain('');
  if (!door.open) door.showModal();
  find(`door-${it.fields[0]}`).focus();
}

function complain(text, name) {
  say(fault, text);
  fault.hidden = text === '';
  for (const field of FIELDS) find(`door-${field}`).setAttribute('aria-invalid', String(field === name));
  if (name) find(`door-${name}`).focus();
}

async function go(event) {
  event.preventDefault();
  const it = WAYS[way];
  const value = (name) => find(`door-${name}`).value;
  const empty = it.fields.find((name) => value(name) === '');
  if (empty) return complain('Fill this in first.', empty);
  if (it.fields.includes('again') && value('new') !== value('again')) {
    return complain('The two new passwords differ. Type them again.', 'again');
  }
  const body = {
    login: { password: value('password') },
    claim: { code: value('code'), password: value('new') },
    password: { password: value('password'), new_password: value('new') },
  };
  return send(it.path, body[way], it.fields[0]);
}

const leave = () => send('logout', {});

async function send(path, body, field) {
  const buttons = [find('door-go'), find('door-other')];
  for (const button of buttons) button.disabled = true;
  try {
    const next = await ask(path, body);
    door.close();
    // Nothing secret stays in the document.
    for (const name of FIELDS) find(`door-${name}`).value = '';
    take(next);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    complain(error.message, field);
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}
