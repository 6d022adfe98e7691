// Small plots over time, drawn from the counters the board reports each second.

import { bytes, draw, find, latency, make, rate, say } from './word.js';

const SAMPLES_MAX = 600;
const DAY_MS = 86400000;
const DAILY_AFTER_MS = 600000;
const WIDTH = 300;
const HEIGHT = 72;
/** Quantiles are those of the operations of so many samples. */
const LATENCY_SAMPLES = 10;

const samples = [];
const plots = {};

export function start() {
  const place = find('plots');
  for (const [name, title, lines] of [
    ['operations', 'Operations a second', ['puts, gets and removes']],
    ['latency', 'Latency of operations', ['p50', 'p99']],
    ['members', 'Boards present', ['present']],
    ['written', 'Written to storage', ['a second']],
  ]) plots[name] = plot(place, title, lines);
}

function plot(place, title, lines) {
  const now = make('p', { class: 'now' }, '–');
  const curves = lines.map((_, at) => draw('path', { class: at ? 'curve second' : 'curve', d: 'M0 0' }));
  const picture = draw('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    draw('line', { class: 'grid', x1: 0, x2: WIDTH, y1: 0.5, y2: 0.5 }),
    draw('line', { class: 'base', x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 }), ...curves);
  const keys = lines.length < 2 ? [] : lines.map((line, at) => make('span', {},
    make('span', { class: at ? 'swatch second' : 'swatch' }), line));
  const top = make('span', {}, ' ');
  const [from, to] = [make('span', {}, 'now'), make('span', {}, 'now')];
  place.append(make('div', { class: 'plot' }, make('h3', {}, title), now,
    make('div', { class: 'scale' }, top, ...keys), picture, make('div', { class: 'scale' }, from, to)));
  return { now, curves, top, from };
}

/** A sample of the board's counters, and the ring at that moment. */
export function tell(stats, cluster) {
  const operations = stats.operations ?? { put: 0, get: 0, remove: 0, latency_us: [] };
  const sample = {
    at: performance.now(),
    uptime: stats.uptime_ms,
    operations: operations.put + operations.get + operations.remove + (operations.failed ?? 0),
    classes: new Map(operations.latency_us.map(([bound, count]) => [bound ?? Infinity, count])),
    written: stats.written_bytes,
    present: cluster.nodes.filter((node) => node.alive).length,
    boards: cluster.nodes.length,
  };
  // A board that was started anew counts from zero.
  if (samples.length && sample.uptime < samples.at(-1).uptime) samples.length = 0;
  samples.push(sample);
  if (samples.length > SAMPLES_MAX) samples.shift();
  paint();
}

function paint() {
  const last = samples.at(-1);
  const rates = between((a, b, s) => (b.operations - a.operations) / s);
  curve(plots.operations, [rates], (top) => `${rate(top)}/s`, 1);
  figure(plots.operations, `${rate(rates.at(-1) ?? 0)}/s`);

  const quantiles = samples.map((sample, at) => spread(samples[Math.max(0, at - LATENCY_SAMPLES)], sample));
  const [p50, p99] = [0.5, 0.99].map((part) => quantiles.map((classes) => quantile(classes, part)));
  curve(plots.latency, [p50, p99], latency, 1000);
  const lately = p50.at(-1) === null ? 'none lately' : `${latency(p50.at(-1))} / ${latency(p99.at(-1))}`;
  figure(plots.latency, lately, p50.at(-1) === null ? '' : 'p50 / p99');

  curve(plots.members, [samples.map((sample) => sample.present)], (top) => String(top), 1);
  figure(plots.members, `${last.present}`, `of ${last.boards}`);

  const written = between((a, b, s) => (b.written - a.written) / s);
  const known = typeof last.written === 'number';
  curve(plots.written, [known ? written : []], (top) => `${bytes(top)}/s`, 1000);
  // The writes of a start say little of a day.
  if (!known) figure(plots.written, 'not counted here');
  else if (last.uptime < DAILY_AFTER_MS) figure(plots.written, bytes(last.written), 'since the start');
  else figure(plots.written, bytes(last.written * DAY_MS / last.uptime), `a day (${bytes(last.written)} so far)`);
}

function figure(target, value, unit = '') {
  const key = `${value}|${unit}`;
  if (target.now.key === key) return;
  target.now.key = key;
  target.now.replaceChildren(value, ...(unit ? [' ', make('small', {}, unit)] : []));
}

/** A value for each second between two samples. */
function between(value) {
  return samples.slice(1).map((sample, at) => {
    const seconds = Math.max(0.1, (sample.uptime - samples[at].uptime) / 1000);
    return Math.max(0, value(samples[at], sample, seconds));
  });
}

/** The operations from one sample to another, by class. */
function spread(from, to) {
  return [...to.classes].map(([bound, count]) => [bound, count - (from.classes.get(bound) ?? 0)])
    .filter(([, count]) => count > 0).sort((a, b) => a[0] - b[0]);
}

/** A quantile, read within its class; none without operations. */
function quantile(classes, part) {
  const total = classes.reduce((sum, [, count]) => sum + count, 0);
  if (total === 0) return null;
  let left = part * total;
  for (const [bound, count] of classes) {
    if (left <= count) {
      if (bound === Infinity) return 1e7;
      const low = bound / Math.SQRT2;
      return low + (bound - low) * (left / count);
    }
    left -= count;
  }
  return classes.at(-1)[0];
}

function curve(target, lines, word, least) {
  const known = lines.flat().filter((value) => value !== null && isFinite(value));
  const top = nice(Math.max(least, ...known));
  say(target.top, known.length ? word(top) : ' ');
  const span = samples.at(-1).at - samples[0].at;
  const minutes = Math.round(span / 60000);
  say(target.from, span < 3000 ? ' ' : minutes ? `${minutes} min ago` : `${Math.round(span / 1000)} s ago`);
  lines.forEach((line, at) => {
    const step = WIDTH / Math.max(1, line.length - 1);
    let pen = 'M';
    const path = line.map((value, index) => {
      if (value === null || !isFinite(value)) {
        pen = 'M';
        return '';
      }
      const y = HEIGHT - 1 - (value / top) * (HEIGHT - 4);
      const drawn = `${pen}${(index * step).toFixed(1)} ${y.toFixed(1)}`;
      pen = 'L';
      return drawn;
    }).join('');
    target.curves[at].setAttribute('d', path || 'M0 0');
  });
}

/** The next of 1, 2, 5 and ten times those. */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999);
}
