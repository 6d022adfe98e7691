//! A small world for tests: boards, an in-memory medium each, and a network, in virtual time.
//!
//! It runs the same machine as a board does, with a driver that delivers everything after a fixed
//! delay. Faults: boards that stop, links between groups that are cut. Every fault there is, drawn
//! from a seed, is for `tests/sim`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::BytesMut;

use super::*;
use crate::base::call::{Consistency, Overview, PageRequest};
use crate::base::hint::{Hint, HintKind};
use crate::base::item::{Item, Key, Record, Value};
use crate::base::rng::seeded;
use crate::base::store::Change;
use crate::base::time::WallTime;
use crate::base::tree::Tree;
use crate::proto::detector::swim::Swim;
use crate::proto::keyring::{Kept, Origin};
use crate::proto::ring::structure::Chord;
use crate::security::identity::Identity;
use crate::security::key::ClusterKey;
use crate::wire::frame;
use crate::wire::frame::Frame;

mod fault;

pub(super) use self::fault::Captured;

const WALL_START_MS: u64 = 1_790_000_000_000;
const NETWORK_DELAY: Duration = Duration::from_micros(300);
const STORE_DELAY: Duration = Duration::from_millis(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// What a board keeps when it stops.
#[derive(Clone, Default)]
pub(super) struct Medium {
    pub(super) items: BTreeMap<Key, Record>,
    metas: BTreeMap<&'static str, Bytes>,
    high_water: Option<Stamp>,
    boot: u64,
    pub(super) keyring: Option<Kept>,
}

struct Running {
    board: Board,
    links: BTreeMap<LinkId, (usize, LinkId)>,
}

pub(super) struct Node {
    pkcs8: Vec<u8>,
    pub(super) id: Id,
    pub(super) endpoint: SocketAddr,
    pub(super) medium: Medium,
    running: Option<Running>,
    life: u64,
    pub(super) full: bool,
    /// It has nothing to keep copies on.
    pub(super) diskless: bool,
    /// A commit takes this long.
    pub(super) store_delay: Duration,
    /// How far its wall clock is ahead.
    pub(super) wall_ahead_ms: u64,
    /// Its wall clock says 1970.
    pub(super) is_clock_unset: bool,
    /// Loads asked of its medium.
    pub(super) loads: usize,
    /// Bytes a second its medium writes, one batch after the other; none: all at once.
    pub(super) store_rate: Option<u64>,
    store_free: Time,
}

enum Delivery {
    Link(usize, LinkId, LinkEvent),
    Datagram(usize, Bytes),
    Loaded(usize, LoadId, Result<Loaded, StoreError>),
    Store(usize, StoreId, Batch),
    Held(usize, Transmit),
}

pub(super) struct World {
    pub(super) now: Time,
    pub(super) nodes: Vec<Node>,
    queue: BTreeMap<(Time, u64), (u64, Delivery)>,
    sequence: u64,
    next_call: u64,
    replies: BTreeMap<CallId, Result<Reply, CallError>>,
    cut: BTreeSet<(usize, usize)>,
    pub(super) events: Vec<(usize, Event)>,
    next_incoming: u64,
    cluster: Vec<Name>,
    /// A stream on which a frame was lost is stalled until it is closed, as TCP in its back-off.
    pub(super) streams_stall: bool,
    stalled: BTreeSet<(usize, LinkId)>,
    /// Frames from one board to another take this much longer.
    pub(super) lag: BTreeMap<(usize, usize), Duration>,
    /// Streams asked for.
    pub(super) opened: usize,
    pub(super) grace_time: Duration,
    pub(super) ring_mode: RingMode,
    /// Batches that became durable.
    pub(super) commits: usize,
    /// How long tombstones must have been confirmed.
    pub(super) tombstone_age: Duration,
    /// A file's key for every board; none: they pair.
    pub(super) key: Option<ClusterKey>,
    /// When the last frame sent on a link arrives: streams keep their order.
    arrival: BTreeMap<(usize, LinkId), Time>,
    /// Everything sent, once somebody listens.
    pub(super) captured: Option<Vec<Captured>>,
    /// So many of a hundred datagrams are lost, as the generator draws.
    pub(super) loss: Option<(Rng, u32)>,
    /// The board whose keyring's file cannot be written.
    pub(super) keyrings_fail: Option<usize>,
    /// Bytes of frames sent over streams and in datagrams of a board's own, by type.
    pub(super) sent: BTreeMap<u8, usize>,
}

impl World {
    pub(super) fn new(count: usize) -> World {
        let nodes = (0..count)
            .map(|i| {
                let pkcs8 = Identity::generate().unwrap();
                let id = Identity::from_pkcs8(&pkcs8).unwrap().id();
                let endpoint =
                    SocketAddr::from(([10, 0, (i / 250) as u8, (i % 250) as u8 + 1], 38400));
                let medium = Medium::default();
                Node {
                    pkcs8,
                    id,
                    endpoint,
                    medium,
                    running: None,
                    life: 0,
                    full: false,
                    diskless: false,
                    store_delay: STORE_DELAY,
                    wall_ahead_ms: 0,
                    is_clock_unset: false,
                    loads: 0,
                    store_rate: None,
                    store_free: Time::ZERO,
                }
            })
            .collect();
        World {
            now: Time::ZERO,
            nodes,
            queue: BTreeMap::new(),
            sequence: 0,
            next_call: 0,
            replies: BTreeMap::new(),
            cut: BTreeSet::new(),
            events: Vec::new(),
            next_incoming: 0,
            cluster: vec!["home".parse().unwrap(); count],
            streams_stall: false,
            stalled: BTreeSet::new(),
            lag: BTreeMap::new(),
            opened: 0,
            grace_time: Duration::from_secs(600),
            ring_mode: RingMode::Full,
            commits: 0,
            tombstone_age: crate::base::limit::TOMBSTONE_AGE,
            key: Some(ClusterKey::new(0, [7; 32])),
            arrival: BTreeMap::new(),
            captured: None,
            loss: None,
            keyrings_fail: None,
            sent: BTreeMap::new(),
        }
    }

    /// The same identities in every run.
    pub(super) fn with_keys(keys: &[&[u8]]) -> World {
        let mut world = World::new(keys.len());
        for (node, key) in world.nodes.iter_mut().zip(keys) {
            node.pkcs8 = key.to_vec();
            node.id = Identity::from_pkcs8(key).unwrap().id();
        }
        world
    }

    pub(super) fn is_running(&self, index: usize) -> bool {
        self.nodes[index].running.is_some()
    }

    pub(super) fn reply(&mut self, id: CallId) -> Option<Result<Reply, CallError>> {
        self.replies.remove(&id)
    }

    fn clock_of(&self, index: usize) -> Now {
        let now = self.clock();
        let node = &self.nodes[index];
        let wall_ms = match node.is_clock_unset {
            true => now.time.0 / 1_000,
            false => now.wall.0 + node.wall_ahead_ms,
        };
        Now {
            wall: WallTime(wall_ms),
            ..now
        }
    }

    pub(super) fn set_cluster(&mut self, node: usize, name: &str) {
        self.cluster[node] = name.parse().unwrap();
    }

    /// A second board with the first one's card.
    pub(super) fn clone_card(&mut self, from: usize, to: usize) {
        self.nodes[to].pkcs8 = self.nodes[from].pkcs8.clone();
        self.nodes[to].id = self.nodes[from].id;
        self.nodes[to].medium = self.nodes[from].medium.clone();
    }

    fn clock(&self) -> Now {
        Now {
            time: self.now,
            wall: WallTime(WALL_START_MS + self.now.0 / 1_000),
        }
    }

    pub(super) fn start(&mut self, index: usize) {
        let now = self.clock_of(index);
        let name: Name = format!("board{index}").parse().unwrap();
        let node = &mut self.nodes[index];
        node.medium.boot += 1;
        node.life += 1;
        let settings = Settings {
            name,
            cluster_name: self.cluster[index].clone(),
            endpoint: node.endpoint,
            boot: node.medium.boot,
            life: Life(((index as u128) << 64 | u128::from(node.life)).to_be_bytes()),
            version: "test".into(),
            structure: Box::new(Chord),
            ring_mode: self.ring_mode,
            suspicion: Box::new(Swim::default()),
            grace_time: self.grace_time,
            tombstone_age: self.tombstone_age,
            diskless: node.diskless.then(|| "the card is read-only".into()),
            keys: Origin {
                kept: node.medium.keyring.clone(),
                given: self.key.clone(),
                window: match node.life {
                    1 => crate::base::limit::PAIRING_TIME,
                    _ => Duration::ZERO,
                },
                ..Origin::default()
            },
        };
        let signer = Box::new(Identity::from_pkcs8(&node.pkcs8).unwrap());
        let rng = seeded([index as u8; 32], node.life);
        let mut board = Board::new(settings, signer, now, rng);
        board.handle_opened(now, node.medium.metas_kept(), node.medium.high_water);
        node.running = Some(Running {
            board,
            links: BTreeMap::new(),
        });
        self.announce(index);
        self.drain(index);
    }

    pub(super) fn start_all(&mut self) {
        for index in 0..self.nodes.len() {
            self.start(index);
        }
    }

    /// SSDP, in so far as the ring sees it: everybody who can be heard is hinted at.
    pub(super) fn announce(&mut self, from: usize) {
        for to in 0..self.nodes.len() {
            if to != from && self.nodes[to].running.is_some() && !self.is_cut(from, to) {
                self.hint(from, to);
                self.hint(to, from);
            }
        }
    }

    fn hint(&mut self, about: usize, to: usize) {
        let hint = Hint {
            endpoint: self.nodes[about].endpoint,
            cluster: self.cluster[about].clone(),
            node: self.nodes[about].id,
            boot: None,
            mac: match &self.nodes[about].running {
                Some(running) => running.board.hint_mac(),
                None => None,
            },
            kind: HintKind::Alive,
        };
        let now = self.clock_of(to);
        if let Some(running) = &mut self.nodes[to].running {
            running.board.handle_hint(now, &hint);
        }
        self.drain(to);
    }

    /// kill -9: the medium keeps what was stored; the other ends of its links are closed.
    pub(super) fn kill(&mut self, index: usize) {
        let Some(running) = self.nodes[index].running.take() else {
            return;
        };
        for (peer, link) in running.links.values() {
            self.deliver(
                NETWORK_DELAY,
                Delivery::Link(*peer, *link, LinkEvent::Closed),
                *peer,
            );
        }
    }

    fn is_cut(&self, a: usize, b: usize) -> bool {
        self.cut.contains(&(a, b))
    }

    fn deliver(&mut self, after: Duration, delivery: Delivery, to: usize) {
        self.sequence += 1;
        let life = self.nodes[to].life;
        self.queue
            .insert((self.now + after, self.sequence), (life, delivery));
    }

    fn at(&self, endpoint: &SocketAddr) -> Option<usize> {
        let mut running = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, n)| n.running.is_some());
        running
            .find(|(_, node)| node.endpoint == *endpoint)
            .map(|(index, _)| index)
    }

    fn drain(&mut self, index: usize) {
        loop {
            let Some(running) = &mut self.nodes[index].running else {
                return;
            };
            let board = &mut running.board;
            if let Some((id, batch)) = board.poll_store() {
                let delay = self.commit_time(index, &batch);
                self.deliver(delay, Delivery::Store(index, id, batch), index);
            } else if let Some((id, load)) = board.poll_load() {
                self.nodes[index].loads += 1;
                let result = Ok(self.nodes[index].medium.load(load));
                self.deliver(STORE_DELAY / 10, Delivery::Loaded(index, id, result), index);
            } else if let Some(command) = board.poll_link() {
                self.link(index, command);
            } else if let Some(transmit) = board.poll_transmit() {
                self.transmit(index, transmit);
            } else if let Some(kept) = board.poll_keyring() {
                let now = self.clock_of(index);
                let result = match self.keyrings_fail {
                    Some(at) if at == index => Err("no space".to_owned()),
                    _ => {
                        self.nodes[index].medium.keyring = Some(kept);
                        Ok(())
                    }
                };
                let running = self.nodes[index].running.as_mut().unwrap();
                running.board.handle_keyring(now, result);
            } else if let Some(answer) = board.poll_reply() {
                self.replies.insert(answer.call, answer.result);
            } else if let Some(relayed) = board.poll_relayed() {
                let now = self.clock_of(index);
                let answer = Some(relayed.request);
                let running = self.nodes[index].running.as_mut().unwrap();
                running.board.handle_relayed(now, relayed.token, answer);
            } else if let Some(event) = board.poll_event() {
                self.events.push((index, event));
            } else {
                return;
            }
        }
    }

    fn link(&mut self, index: usize, command: LinkCommand) {
        self.opened += usize::from(matches!(command, LinkCommand::Open(..)));
        match command {
            LinkCommand::Open(id, to) => match self.at(&to).filter(|to| !self.is_cut(index, *to)) {
                Some(to) => {
                    self.next_incoming += 1;
                    let other = LinkId(LinkId::INCOMING | self.next_incoming);
                    let here = self.nodes[index].running.as_mut().unwrap();
                    here.links.insert(id, (to, other));
                    let remote = self.nodes[index].endpoint;
                    self.nodes[to]
                        .running
                        .as_mut()
                        .unwrap()
                        .links
                        .insert(other, (index, id));
                    self.deliver(
                        NETWORK_DELAY,
                        Delivery::Link(to, other, LinkEvent::Accepted { remote }),
                        to,
                    );
                    self.deliver(
                        NETWORK_DELAY,
                        Delivery::Link(index, id, LinkEvent::Opened),
                        index,
                    );
                }
                None => {
                    let refused =
                        self.nodes.iter().any(|n| n.endpoint == to) && self.at(&to).is_none();
                    let after = if refused {
                        NETWORK_DELAY
                    } else {
                        CONNECT_TIMEOUT
                    };
                    self.deliver(after, Delivery::Link(index, id, LinkEvent::Closed), index);
                }
            },
            LinkCommand::Close(id) => {
                let here = self.nodes[index].running.as_mut().unwrap();
                if let Some((peer, other)) = here.links.remove(&id) {
                    self.deliver(
                        NETWORK_DELAY,
                        Delivery::Link(peer, other, LinkEvent::Closed),
                        peer,
                    );
                }
            }
        }
    }

    fn transmit(&mut self, index: usize, mut transmit: Transmit) {
        // `after` is honoured in so far as stores take longer than nothing and are never lost here.
        if transmit.after.take().is_some() {
            return self.deliver(STORE_DELAY, Delivery::Held(index, transmit), index);
        }
        *self.sent.entry(transmit.bytes[1]).or_default() += transmit.bytes.len();
        match transmit.to {
            Route::Datagram(to, _) => {
                if let Some(to) = self.at(&to).filter(|to| !self.is_cut(index, *to)) {
                    let Some(bytes) = self.seal(index, &transmit) else {
                        return;
                    };
                    if let Some(captured) = &mut self.captured {
                        captured.push(Captured::Datagram(to, bytes.clone()));
                    }
                    if !self.is_lost() {
                        self.deliver(NETWORK_DELAY, Delivery::Datagram(to, bytes), to);
                    }
                }
            }
            Route::Link(id) => {
                let links = &self.nodes[index].running.as_ref().unwrap().links;
                if let Some((peer, other)) = links.get(&id).copied() {
                    if self.is_cut(index, peer) && self.streams_stall {
                        self.stalled.insert((index, id));
                    }
                    if self.is_cut(index, peer) || self.stalled.contains(&(index, id)) {
                        return;
                    }
                    let lag = self.lag.get(&(index, peer)).copied().unwrap_or_default();
                    let Some(bytes) = self.seal(index, &transmit) else {
                        return;
                    };
                    let mut buffer = BytesMut::from(&bytes[..]);
                    let frame = frame::take(&mut buffer).unwrap().unwrap();
                    if let Some(captured) = &mut self.captured {
                        captured.push(Captured::Frame(peer, other, frame.clone()));
                    }
                    let last = self.arrival.entry((index, id)).or_default();
                    *last = (*last).max(self.now + NETWORK_DELAY + lag);
                    let after = last.since(self.now);
                    self.deliver(
                        after,
                        Delivery::Link(peer, other, LinkEvent::Frame(frame)),
                        peer,
                    );
                }
            }
        }
    }

    fn seal(&mut self, index: usize, transmit: &Transmit) -> Option<Bytes> {
        self.nodes[index].running.as_mut()?.board.seal(transmit)
    }

    /// Runs until nothing is due before `until`.
    pub(super) fn run_until(&mut self, until: Time) {
        loop {
            let delivery = self.queue.keys().next().map(|(at, _)| *at);
            let timeout = self
                .nodes
                .iter()
                .filter_map(|node| node.running.as_ref()?.board.poll_timeout())
                .min();
            let Some(next) = delivery
                .into_iter()
                .chain(timeout)
                .min()
                .filter(|at| *at <= until)
            else {
                self.now = until;
                return;
            };
            self.now = self.now.max(next);
            match self.queue.first_key_value().map(|(key, _)| *key) {
                Some(key) if key.0 <= self.now => {
                    let (life, delivery) = self.queue.remove(&key).unwrap();
                    self.hand_over(life, delivery);
                }
                _ => {
                    for index in 0..self.nodes.len() {
                        let now = self.clock_of(index);
                        if let Some(running) = &mut self.nodes[index].running
                            && running
                                .board
                                .poll_timeout()
                                .is_some_and(|at| at <= now.time)
                        {
                            running.board.handle_timeout(now);
                            self.drain(index);
                        }
                    }
                }
            }
        }
    }

    fn hand_over(&mut self, life: u64, delivery: Delivery) {
        let index = match &delivery {
            Delivery::Link(index, ..)
            | Delivery::Datagram(index, ..)
            | Delivery::Loaded(index, ..)
            | Delivery::Held(index, _)
            | Delivery::Store(index, ..) => *index,
        };
        let now = self.clock_of(index);
        let node = &mut self.nodes[index];
        if node.life != life {
            return;
        }
        let Some(running) = &mut node.running else {
            return;
        };
        match delivery {
            Delivery::Link(_, id, event) => {
                if event == LinkEvent::Closed {
                    running.links.remove(&id);
                }
                running.board.handle_link(now, id, event);
            }
            Delivery::Datagram(_, bytes) => running.board.handle_datagram(now, &bytes),
            Delivery::Held(_, transmit) => self.transmit(index, transmit),
            Delivery::Loaded(_, id, result) => running.board.handle_loaded(now, id, result),
            Delivery::Store(_, id, batch) => {
                self.commits += 1;
                let result = match node.full {
                    true => Err(StoreError::Full {
                        free_bytes: 1,
                        needed_bytes: 2,
                    }),
                    false => Ok(node.medium.commit(batch)),
                };
                running.board.handle_stored(now, id, result);
            }
        }
        self.drain(index);
    }

    pub(super) fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now + duration);
    }

    pub(super) fn call(&mut self, index: usize, call: Call) -> CallId {
        self.next_call += 1;
        let id = CallId(self.next_call);
        let now = self.clock_of(index);
        self.nodes[index]
            .running
            .as_mut()
            .expect("runs")
            .board
            .handle_call(now, id, call);
        self.drain(index);
        id
    }

    /// Calls and waits for the reply, at most `time_max`.
    pub(super) fn ask_within(
        &mut self,
        index: usize,
        call: Call,
        time_max: Duration,
    ) -> Result<Reply, CallError> {
        let id = self.call(index, call);
        let until = self.now + time_max;
        while !self.replies.contains_key(&id) && self.now < until {
            self.run_for(Duration::from_millis(1));
        }
        self.replies
            .remove(&id)
            .expect("a call is answered in time")
    }

    pub(super) fn ask(&mut self, index: usize, call: Call) -> Result<Reply, CallError> {
        self.ask_within(index, call, Duration::from_secs(6))
    }

    pub(super) fn put(&mut self, index: usize, key: &str, value: &str) -> Result<Reply, CallError> {
        let value = Value::Json(Bytes::from(format!("{value:?}")));
        let key = Key::new(key).unwrap();
        self.ask(
            index,
            Call::Put {
                key,
                value,
                consistency: Consistency::Quorum,
            },
        )
    }

    pub(super) fn get(&mut self, index: usize, key: &str) -> Result<String, CallError> {
        let key = Key::new(key).unwrap();
        match self.ask(
            index,
            Call::Get {
                key,
                consistency: Consistency::Quorum,
            },
        )? {
            Reply::Value { value, .. } => Ok(String::from_utf8(value.bytes().to_vec()).unwrap()),
            other => panic!("a get is answered by a value, not {other:?}"),
        }
    }

    pub(super) fn remove(&mut self, index: usize, key: &str) -> Result<bool, CallError> {
        let key = Key::new(key).unwrap();
        match self.ask(
            index,
            Call::Remove {
                key,
                consistency: Consistency::Quorum,
            },
        )? {
            Reply::Written { existed, .. } => Ok(existed),
            other => panic!("a remove is answered by written, not {other:?}"),
        }
    }

    pub(super) fn overview(&mut self, index: usize) -> Overview {
        match self.ask(index, Call::Overview) {
            Ok(Reply::Overview(overview)) => *overview,
            other => panic!("an overview is always given, not {other:?}"),
        }
    }

    pub(super) fn scan_keys(&mut self, index: usize) -> Vec<String> {
        let mut keys = Vec::new();
        let mut after = None;
        loop {
            let page = PageRequest {
                prefix: String::new(),
                after,
                limit: 7,
            };
            let Ok(Reply::Page { items, next, .. }) = self.ask(index, Call::ScanItems(page)) else {
                panic!("a scan is answered by a page")
            };
            keys.extend(items.iter().map(|item| item.key.to_string()));
            match next {
                Some(key) => after = Some(key),
                None => return keys,
            }
        }
    }

    /// All of `who` see exactly each other, settled and alive.
    pub(super) fn agree(&mut self, who: &[usize]) -> bool {
        let mut ids: Vec<Id> = who.iter().map(|i| self.nodes[*i].id).collect();
        ids.sort();
        who.iter().all(|index| {
            let overview = self.overview(*index);
            let seen: Vec<Id> = overview
                .members
                .iter()
                .filter(|m| m.alive)
                .map(|m| m.id)
                .collect();
            seen == ids
                && overview.settled
                && overview.state == crate::base::call::NodeState::Active
        })
    }

    /// Runs until all of `who` agree and returns how long that took.
    pub(super) fn converge(&mut self, who: &[usize], time_max: Duration) -> Duration {
        let start = self.now;
        while !self.agree(who) {
            assert!(
                self.now.since(start) < time_max,
                "not one ring within {time_max:?}"
            );
            self.run_for(Duration::from_millis(10));
        }
        self.now.since(start)
    }

    /// Lets a test touch a running board.
    pub(super) fn with_board(&mut self, index: usize, touch: impl FnOnce(&mut Board, Now)) {
        let now = self.clock_of(index);
        let running = self.nodes[index].running.as_mut().expect("runs");
        touch(&mut running.board, now);
        self.drain(index);
    }

    pub(super) fn stop(&mut self, index: usize, time_max: Duration) {
        let now = self.clock();
        let running = self.nodes[index].running.as_mut().expect("runs");
        running.board.handle_stop(now, time_max);
        self.drain(index);
    }
}

impl Medium {
    /// The counters of its starts are lost.
    pub(super) fn forget_starts(&mut self) {
        self.boot = 0;
    }

    fn load(&self, load: Load) -> Loaded {
        match load {
            Load::Item(key) => Loaded::Item(self.items.get(&key).cloned()),
            Load::Page {
                after,
                prefix,
                which,
                items_max,
                ..
            } => {
                let mut rest = self.items.iter().filter(|(key, record)| {
                    key.as_str().starts_with(&prefix)
                        && after.as_ref().is_none_or(|a| *key > a)
                        && which.wants(key, record.value.is_none())
                });
                let items: Vec<Item> = rest
                    .by_ref()
                    .take(items_max)
                    .map(|(key, record)| Item {
                        key: key.clone(),
                        record: record.clone(),
                    })
                    .collect();
                let more = rest.next().is_some();
                let next = items.last().map(|item| item.key.clone()).filter(|_| more);
                Loaded::Page { items, next }
            }
            Load::Tree => {
                let mut tree = Tree::default();
                for (key, record) in &self.items {
                    tree.replace(key, None, Some(record.version));
                }
                let removed = self.items.values().filter(|record| record.value.is_none());
                let tombstones = removed.count() as u64;
                Loaded::Tree { tree, tombstones }
            }
        }
    }

    fn metas_kept(&self) -> Vec<(String, Bytes)> {
        let kept = self.metas.iter();
        kept.map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect()
    }

    fn commit(&mut self, batch: Batch) -> Vec<Outcome> {
        self.high_water = self.high_water.max(batch.high_water);
        batch
            .changes
            .into_iter()
            .map(|change| match change {
                Change::Merge(Item { key, record }) => match self.items.get(&key) {
                    Some(held) if held.version > record.version => Outcome::Newer(held.version),
                    _ => {
                        self.items.insert(key, record);
                        Outcome::Stored
                    }
                },
                Change::Drop { key, version } => {
                    if self
                        .items
                        .get(&key)
                        .is_some_and(|held| held.version == version)
                    {
                        self.items.remove(&key);
                    }
                    Outcome::Stored
                }
                Change::Meta { name, value } => {
                    match value {
                        Some(value) => self.metas.insert(name, value),
                        None => self.metas.remove(name),
                    };
                    Outcome::Stored
                }
            })
            .collect()
    }
}
