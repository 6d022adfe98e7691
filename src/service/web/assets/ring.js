// The ring, to scale: each board at its id on the circle, clockwise from the top.

import { SHAPES, called, cut, draw, find, icon, make, many, say, short, standingOf } from './word.js';

const LABELS_MAX = 24;
const picture = find('ring-picture');
const layers = Object.fromEntries(['face', 'route', 'boards', 'key'].map((name) => {
  const layer = draw('g', { class: name });
  picture.append(layer);
  return [name, layer];
}));

const marks = new Map();
let nodes = [];
let thisHash = '';
let cluster = '';
/** `inside`: there is no room beside the circle, names stand within it. */
let size = { width: 0, height: 0, radius: 0, x: 0, y: 0, inside: false };
let notes = { owner: '', copies: [] };
let chosen = '';
let drawn = false;
let redraw = () => {};

/** Where on the circle an id stands, from 0 to 1. */
export function turnOf(id) {
  return parseInt(String(id).slice(0, 13).padEnd(13, '0'), 16) / 2 ** 52;
}

/** The point at a turn, `out` beyond the circle. */
export function place(turn, out = 0) {
  const angle = turn * 2 * Math.PI;
  return [size.x + (size.radius + out) * Math.sin(angle), size.y - (size.radius + out) * Math.cos(angle)];
}

/** Where lookups are drawn. */
export const routeLayer = layers.route;
export const keyLayer = layers.key;
/** There is room for words inside the circle. */
export const hasRoom = () => !size.inside;
export const nodeOf = (hash) => nodes.find((node) => node.hash === hash);
export const nameOf = (hash) => { const node = nodeOf(hash); return node ? called(node) : short(hash); };

/** Called when the picture's measures have changed. */
export function onRedraw(again) { redraw = again; }

/** Marks the owner and the copies of a key. */
export function note(owner, copies) {
  notes = { owner, copies };
  paint();
}

export function choose(hash) {
  chosen = hash;
  paint();
}

/** Shows the boards of a cluster. */
export function show(state, self) {
  nodes = [...state.nodes].sort((a, b) => (a.hash < b.hash ? -1 : 1));
  thisHash = self;
  cluster = state.name;
  if (size.radius === 0) measure();
  paint();
}

function measure() {
  const { clientWidth: width, clientHeight: height } = picture;
  if (width === 0) return;
  const inside = width < 480;
  const radius = Math.max(60, Math.min(width / 2 - (inside ? 26 : 150), height / 2 - (inside ? 26 : 40)));
  size = { width, height, radius, x: width / 2, y: height / 2, inside };
  picture.setAttribute('viewBox', `0 0 ${width} ${height}`);
  face();
}

/** The circle, its quarters and what stands in the middle. */
function face() {
  const quarters = ['0', '4', '8', 'c'].flatMap((digit, at) => {
    const way = size.inside ? 1 : -1;
    const [[x1, y1], [x2, y2], [x, y]] = [6, 11, size.inside ? 19 : 24].map((out) => place(at / 4, out * way));
    return [draw('line', { x1, y1, x2, y2, class: 'tick' }),
      draw('text', { x, y: y + 4, class: 'tick-name' }, `${digit}…`)];
  });
  layers.face.replaceChildren(
    draw('circle', { cx: size.x, cy: size.y, r: size.radius, class: 'circle' }), ...quarters,
    ...(size.inside ? [] : [draw('text', { x: size.x, y: size.y - 2, class: 'middle' }, ''),
      draw('text', { x: size.x, y: size.y + 18, class: 'middle small' }, '')]),
  );
}

function paint() {
  if (size.radius === 0) return;
  const present = nodes.filter((node) => node.alive).length;
  const [name, figure] = layers.face.querySelectorAll('.middle');
  if (name) say(name, cut(cluster, Math.floor(size.radius / 6)));
  if (figure) say(figure, `${present} of ${nodes.length} present`);
  say(find('ring-count'), size.inside ? `${present} of ${nodes.length} present`
    : 'boards at their ids, clockwise from the top');
  const labels = places();
  const seen = new Set();
  for (const node of nodes) {
    seen.add(node.hash);
    mark(node, labels.get(node.hash));
  }
  for (const [hash, element] of marks) {
    if (!seen.has(hash)) {
      element.remove();
      marks.delete(hash);
    }
  }
  const words = nodes.filter((node) => standingOf(node).word !== 'active')
    .map((node) => `${called(node)} ${standingOf(node).word}`);
  const spoken = `The ring: ${many(nodes.length, 'board')}, ${present} present`
    + `${words.length ? `; ${words.slice(0, 8).join(', ')}` : ''}. The table below lists them.`;
  if (picture.getAttribute('aria-label') !== spoken) picture.setAttribute('aria-label', spoken);
  drawn = nodes.length > 0;
}

/** One board; only what differs is touched, so that a large ring stays smooth. */
function mark(node, label) {
  const standing = standingOf(node);
  let element = marks.get(node.hash);
  if (!element) {
    element = draw('g', { 'data-id': node.hash }, draw('title'), draw('path', { class: 'lead' }),
      draw('circle', { class: 'halo' }), draw('path', { class: 'shape' }),
      draw('text', { class: 'name' }), draw('text', { class: 'word' }));
    marks.set(node.hash, element);
    layers.boards.append(element);
    if (drawn) element.setAttribute('data-fresh', '');
  }
  const copy = notes.copies.indexOf(node.hash);
  const part = notes.owner === node.hash ? 'owner' : copy >= 0 ? 'copy' : '';
  const classes = ['board', part, node.hash === thisHash ? 'this' : '',
    node.hash === chosen ? 'chosen' : '', element.hasAttribute('data-fresh') ? 'fresh' : ''];
  const crowd = nodes.length > 64 ? 0.6 : nodes.length > LABELS_MAX ? 0.75 : 1;
  const scale = crowd < 1 && (part || standing.tone !== 'good' || node.hash === thisHash) ? 0.85 : crowd;
  const [x, y] = place(turnOf(node.hash));
  const role = part === 'owner' ? 'owner' : part ? `copy ${copy + 1}` : '';
  const word = [standing.word === 'active' ? '' : standing.word, role,
    node.hash === thisHash ? 'this board' : ''].filter(Boolean).join(', ');
  const key = JSON.stringify([classes, x, y, scale, standing, word, node.name, label]);
  if (element.key === key) return;
  element.key = key;
  element.setAttribute('class', classes.filter(Boolean).join(' '));
  element.setAttribute('data-tone', standing.tone);
  const [title, lead, halo, shape, name, state] = element.children;
  say(title, `${called(node)} (${short(node.hash)}), ${standing.word}${role ? `, ${role}` : ''}`);
  shape.setAttribute('d', SHAPES[standing.shape]);
  shape.setAttribute('transform', `translate(${x} ${y}) scale(${scale})`);
  for (const [attribute, value] of [['cx', x], ['cy', y], ['r', 12.5 * scale + 1]]) {
    halo.setAttribute(attribute, value);
  }
  text(name, label && { x: label.x, y: label.y, anchor: label.anchor }, label?.text ?? '');
  text(state, label && { x: label.x, y: label.y + 13, anchor: label.anchor }, label ? word : '');
  lead.setAttribute('d', label?.lead ?? 'M0 0');
}

function text(element, at, words) {
  say(element, words);
  if (!at) return;
  element.setAttribute('x', at.x);
  element.setAttribute('y', at.y);
  element.setAttribute('text-anchor', at.anchor);
}

/** Where the names stand: beside their boards, moved apart where they would overlap; in a large
 * ring only of those that matter. */
function places() {
  const matters = (node) => nodes.length <= LABELS_MAX || node.hash === thisHash || node.hash === chosen
    || node.hash === notes.owner || notes.copies.includes(node.hash);
  const sides = [[], []];
  for (const node of nodes.filter(matters)) {
    const turn = turnOf(node.hash);
    const way = (turn < 0.5 ? 1 : -1) * (size.inside ? -1 : 1);
    const [bx] = place(turn);
    const [, y] = place(turn, size.inside ? -14 : 16);
    sides[turn < 0.5 ? 0 : 1].push({ node, turn, way, x: bx + way * 20, y: y + 2 });
  }
  const labels = new Map();
  for (const side of sides) {
    side.sort((a, b) => a.y - b.y);
    spread(side, Math.min(28, (size.height - 24) / Math.max(1, side.length)));
    for (const { node, turn, way, x, y, moved } of side) {
      const room = size.inside ? size.radius * 1.2 : (way > 0 ? size.width - x : x) - 4;
      const [fx, fy] = place(turn, size.inside ? -8 : 8);
      labels.set(node.hash, {
        x, y, anchor: way > 0 ? 'start' : 'end',
        text: cut(called(node), Math.max(4, Math.floor(room / 7.4))),
        lead: Math.abs(moved) > 8 ? `M${fx} ${fy}L${x - way * 3} ${y - 4}` : null,
      });
    }
  }
  return labels;
}

/** Moves labels of one side apart, each as little as it must. */
function spread(side, step) {
  const [top, bottom] = [16, size.height - 18];
  const wanted = side.map((label) => label.y);
  for (let round = 0; round < 40; round += 1) {
    for (let at = 1; at < side.length; at += 1) {
      const gap = step - (side[at].y - side[at - 1].y);
      if (gap > 0) {
        side[at - 1].y -= gap / 2;
        side[at].y += gap / 2;
      }
    }
    for (const label of side) label.y = Math.min(bottom, Math.max(top, label.y));
  }
  side.forEach((label, at) => { label.moved = label.y - wanted[at]; });
}

/** The legend, and clicks on boards. */
export function start(onChoose) {
  const kinds = [['circle', 'good', 'active'], ['triangle', 'change', 'joining'],
    ['wedge', 'change', 'leaving'], ['diamond', 'warn', 'suspected'], ['cross', 'bad', 'absent'],
    ['square', 'bad', 'other fault']];
  const around = draw('svg', { viewBox: '-10 -10 20 20', 'aria-hidden': 'true' },
    draw('circle', { r: 8, class: 'shape-icon', 'data-tone': 'this' }));
  find('legend').append(
    make('li', {}, around, 'this board'),
    ...kinds.map(([shape, tone, word]) => make('li', {}, icon(shape, tone), word)),
  );
  layers.boards.addEventListener('click', (event) => {
    const board = event.target.closest('[data-id]');
    if (board) onChoose(board.getAttribute('data-id'));
  });
  new ResizeObserver(() => {
    const { clientWidth, clientHeight } = picture;
    if (clientWidth === size.width && clientHeight === size.height) return;
    measure();
    paint();
    redraw();
  }).observe(picture);
}
