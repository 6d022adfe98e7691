// The ring's key as its owner sees it: whom the ring trusts, the boards that ask to come in, and the
// owner's word for both. The key itself never leaves a board.

import { Failure, call } from './wire.js';
import { called, find, make, many, say } from './word.js';

/** Boards that ask are looked for this often while the page is in view. */
const ASK_MS = 4000;
const banner = find('banner');
const sure = find('sure');
let session = { may: 'read', access: 'keyed', unknown: true };
let state = null;
let shown = null;
let code = null;
let run = async () => {};

export function start() {
  find('sure-cancel').addEventListener('click', () => sure.close());
  find('sure-form').addEventListener('submit', go);
  setInterval(() => { if (!document.hidden) look(); }, ASK_MS);
}

/** Who reads, and how far the ring keeps strangers out. */
export function show(next) {
  session = next;
  look();
  paint();
}

/** Whoever may only read is told nothing but whom the ring trusts. */
async function look() {
  if (session.may !== 'admin' && session.access !== 'provisional') {
    state = null;
    return paint();
  }
  try {
    state = await call('get_key_state', {});
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
  }
  return paint();
}

/** The key's name in groups, to be compared by eye. */
const grouped = (kid) => (String(kid).match(/.{1,4}/g) ?? []).join(' ');

/** What every board of the ring shows, to be compared by eye. */
function seen(of) {
  if (!of) return '';
  const boards = many(of.members, 'board');
  if (of.fingerprint) {
    return ` Fingerprint ${of.fingerprint}, ${boards}: compare on every board, then confirm.`;
  }
  return of.fingerprint_note ? ` Fingerprint ${of.fingerprint_note}, ${boards}.` : ` ${boards}.`;
}

function paint() {
  const rows = [];
  const owner = session.may === 'admin';
  if (session.access === 'open') {
    rows.push(['bad', 'This ring is open: whoever reaches it may change everything in it. Its '
      + 'configuration says open = true; take that out and restart its boards to close it.']);
  }
  if (session.access === 'provisional') {
    rows.push(['warn', `This ring trusts everyone on this LAN until you confirm it.${seen(state)}`,
      owner && state ? ['Confirm this ring', () => confirm(state)] : null]);
  }
  for (const board of owner ? state?.asking ?? [] : []) {
    const who = { name: board.name, hash: board.id };
    rows.push(['warn', `${called(who)} asks to come in: ${grouped(board.id)}, at ${board.addr}.`,
      ['Accept', () => accept(board)]]);
  }
  if (!state?.code?.attempts) code = null;
  if (owner && session.private && state?.asking.length) {
    rows.push(['warn', code ? `Join code ${code}: on the new board, roundel key enter ${code}. It holds `
      + 'for ten minutes, five attempts and one board.' : 'Or let one in by a code entered there.',
    ['Make a join code', makeCode]]);
  }
  const key = JSON.stringify(rows);
  // What the document says stands until the session is known.
  if (key === shown || session.unknown) return;
  shown = key;
  banner.hidden = rows.length === 0;
  banner.replaceChildren(...rows.map(([tone, text, act]) => {
    const row = make('div', { 'data-tone': tone }, make('p', {}, text));
    if (act) {
      const button = make('button', { type: 'button', class: 'strong' }, act[0]);
      button.addEventListener('click', act[1]);
      row.append(button);
    }
    return row;
  }));
}

function confirm({ fingerprint, members }) {
  const boards = many(members, 'board');
  ask('Confirm this ring?', [
    (fingerprint ? `Its fingerprint is ${fingerprint} and it has ${boards}. Every board of yours `
      + 'shows the same two' : `It has ${boards} and no fingerprint yet`)
      + '; if you do not know one of the boards, revoke it first (roundel key revoke).',
    'They get a new key that nobody else has. From then on whoever has no key only reads, and no '
      + 'board comes in unasked.',
  ], 'Confirm', () => call('confirm_cluster', fingerprint ? { fingerprint } : {}));
}

function accept(board) {
  ask(`Let ${called({ name: board.name, hash: board.id })} in?`, [
    `Its id is ${grouped(board.id)}; its console and its own page show the same. It is given the `
      + 'key of this ring and may do everything that the other boards may.',
  ], 'Accept', () => call('accept_node', { node: board.id }));
}

function makeCode() {
  ask('Make a join code?', ['It lets in whichever board it is entered on first. That board may do '
    + 'everything that the other boards may. A code made before is void.'], 'Make', async () => {
    ({ code } = await call('make_join_code', {}));
    return call('get_key_state', {});
  });
}

function ask(title, texts, word, act) {
  run = act;
  say(find('sure-title'), title);
  find('sure-texts').replaceChildren(...texts.map((text) => make('p', {}, text)));
  say(find('sure-go'), word);
  complain('');
  sure.showModal();
  find('sure-cancel').focus();
}

function complain(text) {
  say(find('sure-fault'), text);
  find('sure-fault').hidden = text === '';
}

async function go(event) {
  event.preventDefault();
  const button = find('sure-go');
  button.disabled = true;
  try {
    state = await run();
    sure.close();
    paint();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    complain(error.message);
  } finally {
    button.disabled = false;
  }
}
