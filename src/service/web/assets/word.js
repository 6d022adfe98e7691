// Words, marks and elements: how states, sizes and times are shown, everywhere alike.
// Whatever comes from the network becomes a text node here, never markup.

const SVG = 'http://www.w3.org/2000/svg';

/** An element with attributes and children; strings become text. */
export function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same in SVG. */
export function draw(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? '' : value);
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets a text when it differs, so that nothing is announced or laid out for nothing. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export const find = (id) => document.getElementById(id);

/** Shapes around 0,0 of about 8 units: each state has its own, so that colour is not needed. */
export const SHAPES = {
  circle: 'M0-7A7 7 0 1 1 0 7A7 7 0 1 1 0-7Z',
  triangle: 'M0-8L8 6H-8Z',
  wedge: 'M0 8L8-6H-8Z',
  diamond: 'M0-9L9 0L0 9L-9 0Z',
  cross: 'M-7-4L-4-7L0-3L4-7L7-4L3 0L7 4L4 7L0 3L-4 7L-7 4L-3 0Z',
  square: 'M-6.5-6.5H6.5V6.5H-6.5Z',
};

/** How a board stands: its word, its shape and its tone. What is not known here is shown by its
 * word, as a fault. */
export function standingOf(node) {
  if (!node.alive) return { word: 'absent', shape: 'cross', tone: 'bad' };
  if (node.suspect) return { word: 'suspected', shape: 'diamond', tone: 'warn' };
  switch (node.standing) {
    case 'member':
      return node.state === 'active'
        ? { word: 'active', shape: 'circle', tone: 'good' }
        : { word: String(node.state), shape: 'square', tone: 'bad' };
    case 'joining': return { word: 'joining', shape: 'triangle', tone: 'change' };
    case 'leaving': return { word: 'leaving', shape: 'wedge', tone: 'change' };
    default: return { word: String(node.standing), shape: 'square', tone: 'bad' };
  }
}

/** The mark of a shape, beside text. */
export function icon(shape, tone) {
  return draw('svg', { viewBox: '-10 -10 20 20', 'aria-hidden': 'true', focusable: 'false' },
    draw('path', { d: SHAPES[shape], class: 'shape-icon', 'data-tone': tone }));
}

export const short = (id) => String(id).slice(0, 8);

/** What people call a board. */
export const called = (node) => node.name || short(node.hash);

export function cut(text, most) {
  const all = [...text];
  return all.length <= most ? text : all.slice(0, most - 1).join('') + '…';
}

/** 1, 12 or 123 of a unit: as many digits as help. */
function figure(value) {
  return value < 10 && value % 1 !== 0 ? value.toFixed(1) : Math.round(value).toLocaleString('en');
}

export function bytes(count) {
  if (typeof count !== 'number' || !isFinite(count)) return '–';
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  for (; count >= 1000 && unit < units.length - 1; unit += 1) count /= 1000;
  return `${unit === 0 ? Math.round(count) : figure(count)} ${units[unit]}`;
}

export function count(number) {
  return typeof number === 'number' ? number.toLocaleString('en') : '–';
}

/** "3 boards", "1 board". */
export const many = (number, word) => `${count(number)} ${word}${number === 1 ? '' : 's'}`;

export function duration(ms) {
  const seconds = Math.floor(ms / 1000);
  const parts = [
    [Math.floor(seconds / 86400), 'd'], [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'], [seconds % 60, 's'],
  ];
  const first = Math.max(0, parts.findIndex(([value]) => value > 0));
  const shown = seconds === 0 ? [[0, 's']] : parts.slice(first, first + 2);
  return shown.filter(([value], at) => value > 0 || at === 0)
    .map(([value, unit]) => `${value} ${unit}`).join(' ');
}

export function latency(us) {
  if (us === null || us === undefined) return '–';
  if (us < 1000) return `${Math.round(us)} µs`;
  return us < 1e6 ? `${figure(us / 1000)} ms` : `${figure(us / 1e6)} s`;
}

/** Per second. */
export function rate(value) {
  return Number.isInteger(value) || value >= 10 ? Math.round(value).toLocaleString('en') : value.toFixed(1);
}

const two = (number) => String(number).padStart(2, '0');

export function clock(ms) {
  const at = new Date(ms);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** The day as well, unless it is today. */
export function moment(ms) {
  const at = new Date(ms);
  if (at.toDateString() === new Date().toDateString()) return clock(ms);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock(ms)}`;
}
