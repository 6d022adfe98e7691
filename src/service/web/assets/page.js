// The page of a board: takes what the feed tells and hands it to the parts of the page.

import { listen } from './wire.js';
import { find, say } from './word.js';
import * as activity from './activity.js';
import * as board from './board.js';
import * as bucket from './bucket.js';
import * as health from './health.js';
import * as lookup from './lookup.js';
import * as owner from './owner.js';
import * as ring from './ring.js';

const LINKS = { live: 'live', lost: 'reconnecting', waiting: 'connecting' };
const state = { node: null, cluster: null, stats: null };
let clusterAt = 0;
let link = 'waiting';

function showAll() {
  if (!state.node || !state.cluster || !state.stats) return;
  health.show({ ...state, age: performance.now() - clusterAt });
}

function choose(hash) {
  ring.choose(hash);
  board.choose(hash);
}

ring.start(choose);
lookup.start();
board.start();
bucket.start();
owner.start(() => bucket.load());
activity.start();

listen({
  node(node) {
    state.node = node;
    say(find('name'), node.name ?? node.hash);
    say(find('cluster'), node.cluster);
    say(find('version'), node.version ?? '');
    document.title = `${node.name ?? node.hash} · roundel`;
    owner.tell(node);
    health.warn(node);
    showAll();
  },
  cluster(answer) {
    state.cluster = answer.cluster;
    clusterAt = performance.now();
    health.learn(answer.cluster.nodes);
    const self = state.node?.hash ?? '';
    ring.show(answer.cluster, self);
    board.show(answer.cluster, self);
    showAll();
  },
  stats(stats) {
    if (state.stats && stats.uptime_ms < state.stats.uptime_ms) health.forget();
    state.stats = stats;
    board.tell(stats);
    if (state.cluster) activity.tell(stats, state.cluster);
    showAll();
  },
  events(answer) {
    health.note(answer.events, state.stats?.uptime_ms ?? 0);
  },
  link(next) {
    if (next === link) return;
    // What was missed while the board was away may have changed the bucket as well.
    if (next === 'live') owner.look().then(bucket.load);
    link = next;
    const element = find('link');
    element.dataset.link = next;
    say(element.firstElementChild, LINKS[next]);
  },
});
