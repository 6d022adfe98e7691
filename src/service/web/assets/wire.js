// What the page asks its board: JSON-RPC calls, the feed, and JSON read without losing anything.

/** A call that failed; its text says what was wrong and what to do. */
export class Failure extends Error {
  constructor(reason, code, data) {
    super(reason);
    this.code = code;
    this.data = data ?? {};
  }
}

const TIME_MAX_MS = 15000;
let number = 0;

/** Calls a method; `params` is an object, or the text of one. Answers the text of the result. */
export async function callText(method, params, dest) {
  number += 1;
  const text = typeof params === 'string' ? params : JSON.stringify(params ?? {});
  const to = dest ? `,"dest":${JSON.stringify(dest)},"forward":true` : '';
  const body = `{"jsonrpc":"2.0","id":${number},"method":"${method}","params":${text}${to}}`;
  let answer;
  try {
    const response = await fetch('/rpc', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body,
      signal: AbortSignal.timeout(TIME_MAX_MS),
    });
    answer = await response.text();
  } catch {
    throw new Failure('This board does not answer. The page goes on by itself once it does; '
      + 'other boards of the ring have the same data.', 0);
  }
  let members;
  try {
    members = membersOf(answer);
  } catch {
    throw new Failure('The answer could not be read: something else than this board answered. '
      + 'Load the page again.', 0);
  }
  if (members.result !== undefined) return members.result;
  const error = JSON.parse(members.error ?? '{}');
  throw new Failure(spoken(error), error.code, error.data);
}

/** Calls a method and answers its result as a value. */
export async function call(method, params, dest) {
  return JSON.parse(await callText(method, params, dest));
}

/** Asks a path of the owner's below /presentation; without a body it only looks. */
export async function ask(path, body) {
  let response;
  let answer;
  try {
    const signal = AbortSignal.timeout(TIME_MAX_MS);
    response = await fetch(`/presentation/${path}`, body === undefined ? { signal } : {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
      signal,
    });
    answer = await response.json();
  } catch {
    throw new Failure('This board does not answer. Try again in a moment.', 0);
  }
  if (!response.ok) throw new Failure(spoken(answer.error ?? {}), answer.error?.code);
  return answer;
}

function spoken(error) {
  const reason = error.data?.reason ?? error.message ?? 'The board gave no reason.';
  const text = reason[0].toUpperCase() + reason.slice(1);
  const ended = /[.!?]$/.test(text) ? text : `${text}.`;
  return error.data?.outcome === 'unknown'
    ? `${ended} It may have been done or not; doing it again is harmless.` : ended;
}

/** The members of the object at the start of a text, each as the characters it is written in, so
 * that a number of any length stays what it is. */
export function membersOf(text) {
  const members = {};
  let at = blank(text, 0);
  if (text[at] !== '{') throw new SyntaxError('not an object');
  at = blank(text, at + 1);
  while (text[at] !== '}') {
    const end = skip(text, at);
    const name = JSON.parse(text.slice(at, end));
    const start = blank(text, blank(text, end) + 1);
    const stop = skip(text, start);
    members[name] = text.slice(start, stop);
    at = blank(text, stop);
    if (text[at] === ',') at = blank(text, at + 1);
  }
  return members;
}

/** The elements of an array, each as it is written. */
export function elementsOf(text) {
  const elements = [];
  let at = blank(text, blank(text, 0) + 1);
  while (text[at] !== ']') {
    const stop = skip(text, at);
    elements.push(text.slice(at, stop));
    at = blank(text, stop);
    if (text[at] === ',') at = blank(text, at + 1);
  }
  return elements;
}

function blank(text, at) {
  while (at < text.length && ' \t\n\r'.includes(text[at])) at += 1;
  if (at >= text.length) throw new SyntaxError('it ends too early');
  return at;
}

/** Where the value that starts at `at` ends. */
function skip(text, at) {
  let depth = 0;
  for (let here = at; here < text.length; here += 1) {
    const c = text[here];
    if (c === '"') {
      for (here += 1; text[here] !== '"'; here += text[here] === '\\' ? 2 : 1) {
        if (here >= text.length) throw new SyntaxError('a string does not end');
      }
      if (depth === 0) return here + 1;
    } else if (c === '{' || c === '[') {
      depth += 1;
    } else if (c === '}' || c === ']') {
      if (depth === 0) return here;
      depth -= 1;
      if (depth === 0) return here + 1;
    } else if (depth === 0 && ',: \t\n\r'.includes(c)) {
      return here;
    }
  }
  return text.length;
}

/** Listens to the feed; reconnects by itself, sooner when the page comes into view. `take` has a
 * function for each message, and `link(state)` for the connection: live or lost. */
export function listen(take) {
  const NAMES = ['node', 'cluster', 'stats', 'events'];
  // The feed speaks each second; silence for so long is a connection that is dead.
  const SILENCE_MAX_MS = 6000;
  let source = null;
  let heard = 0;
  let again = 0;

  function open() {
    clearTimeout(again);
    source?.close();
    heard = performance.now();
    source = new EventSource('/presentation/events');
    for (const name of NAMES) {
      source.addEventListener(name, (message) => {
        heard = performance.now();
        take.link('live');
        take[name](JSON.parse(message.data));
      });
    }
    source.addEventListener('error', () => {
      take.link('lost');
      // A refusal ends an EventSource for good; a broken connection it opens again itself.
      if (source.readyState === EventSource.CLOSED) again = setTimeout(open, 1000);
    });
  }

  setInterval(() => {
    if (!document.hidden && performance.now() - heard > SILENCE_MAX_MS) {
      take.link('lost');
      open();
    }
  }, 2000);
  // A page nobody sees costs its board nothing.
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) {
      again = setTimeout(() => source?.close(), 60000);
    } else if (source?.readyState !== EventSource.OPEN) {
      open();
    } else {
      clearTimeout(again);
    }
  });
  open();
}
