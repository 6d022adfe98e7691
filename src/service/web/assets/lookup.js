// Where a key lives: its point, its owner and its copies on the ring, and the way of the lookup,
// hop by hop.

import { Failure, call } from './wire.js';
import { called, cut, draw, find, make, many } from './word.js';
import * as ring from './ring.js';

const HOP_MS = 600;
const answer = find('lookup-answer');
const clear = find('lookup-clear');
let shown = null;
let asked = 0;

export function start() {
  const input = find('lookup-key');
  find('lookup').addEventListener('submit', (event) => {
    event.preventDefault();
    if (input.value !== '') look(input.value);
    else input.focus();
  });
  clear.addEventListener('click', () => {
    input.value = '';
    forget();
    input.focus();
  });
  ring.onRedraw(() => shown && paint(shown, false));
}

/** Looks a key up and shows the way. */
export async function look(key) {
  asked += 1;
  const turn = asked;
  try {
    const found = await call('find_ring_successor', { key });
    if (turn !== asked) return;
    shown = { key, found };
    paint(shown, true);
    tell(shown);
    clear.disabled = false;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    if (turn !== asked) return;
    forget();
    answer.replaceChildren(make('p', { class: 'fault' }, error.message));
  }
}

function forget() {
  asked += 1;
  shown = null;
  ring.note('', []);
  ring.routeLayer.replaceChildren();
  ring.keyLayer.replaceChildren();
  answer.replaceChildren();
  clear.disabled = true;
}

function tell({ key, found }) {
  const copies = found.copies ?? [];
  const names = copies.map((board) => called({ name: board.name, hash: board.id })
    + (board.alive ? '' : ' (absent)'));
  const [owner, ...others] = names.length ? names : [called({ name: found.name, hash: found.id })];
  const where = make('p', {}, make('code', {}, cut(key, 60)), ' lives on ', make('strong', {}, owner),
    others.length ? `, with copies on ${others.join(' and ')}.` : ', with no other copy.');
  const way = found.path.map((id) => ring.nameOf(id));
  const hops = found.hops === 0
    ? 'This board knew at once, without asking another.'
    : `${many(found.hops, 'hop')}: ${way.join(' → ')}`;
  answer.replaceChildren(where, make('p', { class: 'quiet' }, hops));
}

function paint({ key, found }, moving) {
  const copies = (found.copies ?? []).map((board) => board.id);
  const owner = copies[0] ?? found.id;
  ring.note(owner, copies);
  const way = [...found.path];
  if (way.at(-1) !== owner) way.push(owner);
  const hops = way.slice(1).flatMap((to, at) => hop(way[at], to, at, moving));
  ring.routeLayer.replaceChildren(...hops);
  if (!found.point) return;
  const turn = ring.turnOf(found.point);
  const [[sx, sy], [x, y], [mx, my]] = [-4, -20, -60].map((out) => ring.place(turn, out));
  const side = turn < 0.5 ? -1 : 1;
  const [ox, oy] = ring.place(ring.turnOf(owner), -12);
  ring.keyLayer.replaceChildren(
    draw('path', { d: `M${x} ${y}Q${mx} ${my} ${ox} ${oy}`, class: 'keyline' }),
    draw('line', { x1: sx, y1: sy, x2: x, y2: y, class: 'keystem' }),
    draw('path', { d: `M${x} ${y - 6}L${x + 6} ${y}L${x} ${y + 6}L${x - 6} ${y}Z`, class: 'keypoint' },
      draw('title', {}, 'where the key lies on the circle')),
    ring.hasRoom() ? draw('text', {
      x: x + side * 12, y: y + 4, class: 'keyname', 'text-anchor': side > 0 ? 'start' : 'end',
    }, cut(key, 12)) : '',
  );
}

/** An arrow from board to board, bent towards the middle. */
function hop(from, to, at, moving) {
  const [fx, fy] = ring.place(ring.turnOf(from), -12);
  const [tx, ty] = ring.place(ring.turnOf(to), -14);
  const middle = [0, 1].map((axis) => (ring.place(0)[axis] + ring.place(0.5)[axis]) / 2);
  const [cx, cy] = [((fx + tx) / 2 + middle[0]) / 2, ((fy + ty) / 2 + middle[1]) / 2];
  const angle = Math.atan2(ty - cy, tx - cx) * 180 / Math.PI;
  const line = draw('path', { d: `M${fx} ${fy}Q${cx} ${cy} ${tx} ${ty}`, class: 'hop', pathLength: 1 });
  const head = draw('path', {
    d: 'M0 0L-9-5V5Z', class: 'hop-head', transform: `translate(${tx} ${ty}) rotate(${angle})`,
  });
  line.style.animationDelay = moving ? `${at * HOP_MS}ms` : '0s';
  head.style.animationDelay = moving ? `${at * HOP_MS + 450}ms` : '0s';
  if (!moving) line.style.animationDuration = '0s';
  return [line, head];
}
