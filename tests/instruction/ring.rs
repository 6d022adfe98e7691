//! Three boards in memory whose frames, reads and commits arrive at once, in one fixed order: the
//! machine of the daemon with no more around it than it needs to run.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use roundel::base::call::{Call, CallError, CallId, Overview, Reply};
use roundel::base::endpoint::SocketAddr;
use roundel::base::hint::{Hint, HintKind};
use roundel::base::id::Id;
use roundel::base::item::{Item, Key, Record};
use roundel::base::limit;
use roundel::base::member::{Life, RingMode};
use roundel::base::rng::seeded;
use roundel::base::store::{Batch, Change, Load, LoadId, Loaded, Outcome, StoreId};
use roundel::base::time::{Now, Time, WallTime};
use roundel::base::tree::Tree;
use roundel::proto::board::{Board, LinkCommand, LinkEvent, LinkId, Route, Settings, Transmit};
use roundel::proto::detector::swim::Swim;
use roundel::proto::keyring::Origin;
use roundel::proto::ring::structure::Chord;
use roundel::security::identity::Identity;
use roundel::security::key::ClusterKey;
use roundel::wire::frame;

use crate::hex;

/// Fixed identities, in PKCS#8, one a line.
const IDENTITIES: &str = include_str!("../sim/identity.txt");
const BOARDS: usize = 3;
const WALL_START_MS: u64 = 1_790_000_000_000;
/// Between two operations: so much of the timers' work belongs to each.
const PACE: Duration = Duration::from_micros(100);
/// The boards belong together within this, and have compared their copies after it.
const FORMING_TIME: Duration = Duration::from_secs(60);

struct Member {
    board: Board,
    id: Id,
    endpoint: SocketAddr,
    items: BTreeMap<Key, Record>,
    links: BTreeMap<LinkId, (usize, LinkId)>,
}

enum Delivery {
    Link(LinkId, LinkEvent),
    Datagram(Bytes),
    Loaded(LoadId, Loaded),
    Stored(StoreId, Vec<Outcome>),
}

/// The boards.
pub struct Ring {
    now: Time,
    members: Vec<Member>,
    queue: VecDeque<(usize, Delivery)>,
    incoming: u64,
    calls: u64,
    answers: VecDeque<(CallId, Result<Reply, CallError>)>,
}

impl Ring {
    /// Three boards that belong together and have nothing left to do.
    pub fn formed() -> Self {
        let mut ring = Ring {
            now: Time::ZERO,
            members: Vec::new(),
            queue: VecDeque::new(),
            incoming: 0,
            calls: 0,
            answers: VecDeque::new(),
        };
        let lines = IDENTITIES.lines().take(BOARDS);
        ring.members = lines.enumerate().map(member).collect();
        ring.meet();
        ring.pass(FORMING_TIME);
        for index in 0..BOARDS {
            let overview = ring.overview(index);
            let alive = overview.members.iter().filter(|member| member.alive);
            assert!(
                overview.settled && alive.count() == BOARDS,
                "{index} is not settled"
            );
        }
        ring
    }

    /// Has a board carry out a call, to its end, and lets a little time pass.
    ///
    /// # Panics
    /// When it is not answered at once.
    pub fn call(&mut self, index: usize, call: Call) -> Result<Reply, CallError> {
        self.calls += 1;
        let id = CallId(self.calls);
        let now = self.clock();
        self.members[index].board.handle_call(now, id, call);
        self.drain(index);
        self.settle();
        let (answered, result) = self
            .answers
            .pop_front()
            .expect("a call is answered at once");
        assert_eq!(answered, id, "one call at a time");
        self.pass(PACE);
        result
    }

    fn overview(&mut self, index: usize) -> Box<Overview> {
        match self.call(index, Call::Overview) {
            Ok(Reply::Overview(overview)) => overview,
            other => panic!("no overview: {other:?}"),
        }
    }

    fn clock(&self) -> Now {
        Now {
            time: self.now,
            wall: WallTime(WALL_START_MS + self.now.0 / 1_000),
        }
    }

    /// Everybody hears of everybody.
    fn meet(&mut self) {
        for from in 0..BOARDS {
            for to in (0..BOARDS).filter(|to| *to != from) {
                let about = &self.members[from];
                let hint = Hint {
                    endpoint: about.endpoint,
                    cluster: "home".parse().expect("a name"),
                    node: about.id,
                    boot: None,
                    mac: about.board.hint_mac(),
                    kind: HintKind::Alive,
                };
                let now = self.clock();
                self.members[to].board.handle_hint(now, &hint);
                self.drain(to);
            }
        }
        self.settle();
    }

    /// Lets time pass, and the boards do what is due meanwhile.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let due =
                |(index, member): (usize, &Member)| Some((member.board.poll_timeout()?, index));
            let next = self.members.iter().enumerate().filter_map(due).min();
            let Some((at, index)) = next.filter(|(at, _)| *at <= end) else {
                break;
            };
            self.now = self.now.max(at);
            let now = self.clock();
            self.members[index].board.handle_timeout(now);
            self.drain(index);
            self.settle();
        }
        self.now = end;
    }

    /// Delivers until nothing is under way.
    fn settle(&mut self) {
        while let Some((index, delivery)) = self.queue.pop_front() {
            let now = self.clock();
            let member = &mut self.members[index];
            match delivery {
                Delivery::Link(id, event) => {
                    if event == LinkEvent::Closed {
                        member.links.remove(&id);
                    }
                    member.board.handle_link(now, id, event);
                }
                Delivery::Datagram(bytes) => member.board.handle_datagram(now, &bytes),
                Delivery::Loaded(id, loaded) => member.board.handle_loaded(now, id, Ok(loaded)),
                Delivery::Stored(id, outcomes) => {
                    member.board.handle_stored(now, id, Ok(outcomes));
                }
            }
            self.drain(index);
        }
    }

    /// Carries out what a board asks for. A commit is durable before anything that waits for it
    /// is sent: stores are drained first.
    fn drain(&mut self, index: usize) {
        loop {
            let now = self.clock();
            let member = &mut self.members[index];
            let board = &mut member.board;
            if let Some((id, batch)) = board.poll_store() {
                let outcomes = commit(&mut member.items, batch);
                self.queue
                    .push_back((index, Delivery::Stored(id, outcomes)));
            } else if let Some((id, load)) = board.poll_load() {
                let loaded = read(&member.items, load);
                self.queue.push_back((index, Delivery::Loaded(id, loaded)));
            } else if let Some(command) = board.poll_link() {
                self.link(index, command);
            } else if let Some(transmit) = board.poll_transmit() {
                self.transmit(index, &transmit);
            } else if board.poll_keyring().is_some() {
                board.handle_keyring(now, Ok(()));
            } else if let Some(answer) = board.poll_reply() {
                self.answers.push_back((answer.call, answer.result));
            } else if board.poll_event().is_none() {
                return;
            }
        }
    }

    fn at(&self, endpoint: &SocketAddr) -> usize {
        let at = |member: &Member| member.endpoint == *endpoint;
        self.members
            .iter()
            .position(at)
            .expect("nobody else is there")
    }

    fn link(&mut self, index: usize, command: LinkCommand) {
        match command {
            LinkCommand::Open(here, to) => {
                let to = self.at(&to);
                self.incoming += 1;
                let there = LinkId(LinkId::INCOMING | self.incoming);
                let remote = self.members[index].endpoint;
                self.members[index].links.insert(here, (to, there));
                self.members[to].links.insert(there, (index, here));
                let accepted = Delivery::Link(there, LinkEvent::Accepted { remote });
                self.queue.push_back((to, accepted));
                self.queue
                    .push_back((index, Delivery::Link(here, LinkEvent::Opened)));
            }
            LinkCommand::Close(here) => {
                if let Some((to, there)) = self.members[index].links.remove(&here) {
                    self.queue
                        .push_back((to, Delivery::Link(there, LinkEvent::Closed)));
                }
            }
        }
    }

    fn transmit(&mut self, index: usize, transmit: &Transmit) {
        let member = &mut self.members[index];
        let Some(bytes) = member.board.seal(transmit) else {
            return;
        };
        match transmit.to {
            Route::Datagram(to, _) => {
                let to = self.at(&to);
                self.queue.push_back((to, Delivery::Datagram(bytes)));
            }
            Route::Link(here) => {
                if let Some((to, there)) = member.links.get(&here).copied() {
                    let mut buffer = BytesMut::from(&bytes[..]);
                    let frame = frame::take(&mut buffer).expect("a board sends frames");
                    let event = LinkEvent::Frame(frame.expect("a whole one"));
                    self.queue.push_back((to, Delivery::Link(there, event)));
                }
            }
        }
    }
}

fn member((index, line): (usize, &str)) -> Member {
    let identity = Identity::from_pkcs8(&hex(line)).expect("the file holds keys");
    let number = index as u8 + 1;
    let id = roundel::security::identity::Signer::id(&identity);
    let endpoint = SocketAddr::from(([10, 0, 0, number], 38_400));
    let settings = Settings {
        name: format!("board{number}").parse().expect("a name"),
        cluster_name: "home".parse().expect("a name"),
        endpoint,
        boot: 1,
        life: Life([number; 16]),
        version: "counted".into(),
        structure: Box::new(Chord),
        ring_mode: RingMode::Full,
        suspicion: Box::new(Swim::default()),
        grace_time: limit::GRACE_TIME,
        tombstone_age: limit::TOMBSTONE_AGE,
        diskless: None,
        keys: Origin {
            given: Some(ClusterKey::new(0, [7; 32])),
            ..Origin::default()
        },
    };
    let start = Now {
        time: Time::ZERO,
        wall: WallTime(WALL_START_MS),
    };
    let rng = seeded([number; 32], 0);
    let mut board = Board::new(settings, Box::new(identity), start, rng);
    board.handle_opened(start, [], None);
    Member {
        board,
        id,
        endpoint,
        items: BTreeMap::new(),
        links: BTreeMap::new(),
    }
}

fn commit(items: &mut BTreeMap<Key, Record>, batch: Batch) -> Vec<Outcome> {
    let apply = |change| match change {
        Change::Merge(Item { key, record }) => match items.get(&key) {
            Some(held) if held.version > record.version => Outcome::Newer(held.version),
            _ => {
                items.insert(key, record);
                Outcome::Stored
            }
        },
        Change::Drop { key, version } => {
            if items.get(&key).is_some_and(|held| held.version == version) {
                items.remove(&key);
            }
            Outcome::Stored
        }
        // No board starts a second time.
        Change::Meta { .. } => Outcome::Stored,
    };
    batch.changes.into_iter().map(apply).collect()
}

fn read(items: &BTreeMap<Key, Record>, load: Load) -> Loaded {
    match load {
        Load::Item(key) => Loaded::Item(items.get(&key).cloned()),
        Load::Page {
            after,
            prefix,
            which,
            items_max,
            ..
        } => {
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let wanted = items
                .range((from, Bound::Unbounded))
                .filter(|(key, record)| {
                    key.as_str().starts_with(&prefix) && which.wants(key, record.value.is_none())
                });
            let item = |(key, record): (&Key, &Record)| Item {
                key: key.clone(),
                record: record.clone(),
            };
            let mut page: Vec<Item> = wanted.take(items_max + 1).map(item).collect();
            let more = page.len() > items_max;
            page.truncate(items_max);
            let last = page.last().map(|item| item.key.clone());
            Loaded::Page {
                next: last.filter(|_| more),
                items: page,
            }
        }
        Load::Tree => {
            let mut tree = Tree::default();
            for (key, record) in items {
                tree.replace(key, None, Some(record.version));
            }
            let removed = items.values().filter(|record| record.value.is_none());
            Loaded::Tree {
                tree,
                tombstones: removed.count() as u64,
            }
        }
    }
}
