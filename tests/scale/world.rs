//! The boards, the questions under way between them in any order, and what must hold of all of
//! them together (the clauses of Zave's invariant).

use std::collections::{BTreeMap, BTreeSet};

use roundel::base::id::Id;
use roundel::base::rng::{Rng, RngExt, seeded};
use roundel::proto::ring::partial::{AskId, Event, Found, Partial, Reply, Request};

enum Flight {
    Ask(Request),
    Answer(Option<Reply>),
}

struct Packet {
    from: Id,
    to: Id,
    ask: AskId,
    flight: Flight,
}

pub struct World {
    pub r: usize,
    /// The live boards, those that are joining among them.
    pub boards: BTreeMap<Id, Partial>,
    pub rng: Rng,
    pub found: BTreeMap<(Id, u64), Option<Found>>,
    /// Questions nobody answered.
    pub silences: u64,
    flying: Vec<Packet>,
    made: u32,
}

impl World {
    pub fn new(r: usize, seed: u8) -> Self {
        let mut world = World {
            r,
            boards: BTreeMap::new(),
            rng: seeded([seed; 32], 0),
            found: BTreeMap::new(),
            silences: 0,
            flying: Vec::new(),
            made: u32::from(seed) << 24,
        };
        let id = world.next_id();
        let mut founder = Partial::new(id, r);
        founder.found();
        world.boards.insert(id, founder);
        world
    }

    fn next_id(&mut self) -> Id {
        self.made += 1;
        Id::of(&self.made.to_be_bytes())
    }

    pub fn members(&self) -> Vec<Id> {
        let members = self.boards.values().filter(|board| board.is_member());
        members.map(Partial::id).collect()
    }

    pub fn any_member(&mut self) -> Id {
        let members = self.members();
        members[self.rng.random_range(0..members.len())]
    }

    pub fn start_joins(&mut self, count: usize) {
        let members = self.members();
        for _ in 0..count {
            let id = self.next_id();
            let sponsor = members[self.rng.random_range(0..members.len())];
            let mut board = Partial::new(id, self.r);
            board.join(sponsor);
            self.boards.insert(id, board);
            self.collect(id);
        }
    }

    /// Takes a board away without a word.
    pub fn kill(&mut self, id: &Id) {
        self.boards.remove(id);
    }

    pub fn leave_orderly(&mut self, id: &Id) {
        self.boards.get_mut(id).unwrap().leave_orderly();
        self.collect(*id);
        self.boards.remove(id);
    }

    pub fn find(&mut self, from: Id, point: Id) -> (Id, u64) {
        let number = self.boards.get_mut(&from).unwrap().find(point).unwrap();
        self.collect(from);
        (from, number)
    }

    fn collect(&mut self, id: Id) {
        let mut again = false;
        let board = self.boards.get_mut(&id).unwrap();
        while let Some((ask, to, request)) = board.poll_ask() {
            self.flying.push(Packet {
                from: id,
                to,
                ask,
                flight: Flight::Ask(request),
            });
        }
        while let Some(event) = board.poll_event() {
            match event {
                Event::Lookup(number, found) => {
                    self.found.insert((id, number), found);
                }
                Event::Isolated => again = true,
                Event::Joined | Event::JoinFailed => {}
            }
        }
        assert!(!again, "{id:?} lost its whole list");
    }

    /// Delivers one packet, any of those under way.
    pub fn deliver(&mut self) -> bool {
        if self.flying.is_empty() {
            return false;
        }
        let at = self.rng.random_range(0..self.flying.len());
        let packet = self.flying.swap_remove(at);
        let Packet {
            from,
            to,
            ask,
            flight,
        } = packet;
        match flight {
            Flight::Ask(request) => {
                let board = self.boards.get_mut(&to);
                let reply = board.map(|board| board.handle_request(from, request));
                self.silences += u64::from(reply.is_none());
                self.flying.push(Packet {
                    from: to,
                    to: from,
                    ask,
                    flight: Flight::Answer(reply),
                });
                if self.boards.contains_key(&to) {
                    self.collect(to);
                }
            }
            Flight::Answer(reply) => {
                if let Some(board) = self.boards.get_mut(&to) {
                    board.handle_reply(ask, reply);
                    board.check_invariants();
                    self.collect(to);
                }
            }
        }
        true
    }

    pub fn settle(&mut self) {
        while self.deliver() {}
    }

    /// A round: everybody stabilises, fixes some fingers, or tries again to join.
    pub fn tick(&mut self) {
        let members = self.members();
        let ids: Vec<Id> = self.boards.keys().copied().collect();
        for id in ids {
            let sponsor = members[self.rng.random_range(0..members.len())];
            let board = self.boards.get_mut(&id).unwrap();
            match board.is_member() {
                true => board.handle_tick(),
                false => board.join(sponsor),
            }
            self.collect(id);
        }
    }

    /// The first member at or after the point.
    pub fn true_owner(&self, point: &Id) -> Id {
        let members = |id: &(&Id, &Partial)| id.1.is_member();
        let after = self.boards.range(point..).find(members);
        let first = || self.boards.iter().find(members);
        *after.or_else(first).unwrap().0
    }

    /// Every board belongs and its predecessor and successors are those of the whole ring.
    pub fn is_ideal(&self) -> bool {
        let ids = self.members();
        let count = ids.len();
        count == self.boards.len()
            && ids.iter().enumerate().all(|(at, id)| {
                let board = &self.boards[id];
                let want = (1..count).take(self.r).map(|k| ids[(at + k) % count]);
                let before = ids[(at + count - 1) % count];
                board.successors().iter().copied().eq(want)
                    && board.predecessor() == Some(before).filter(|_| count > 1)
            })
    }

    /// Every finger beyond the successors is there and right.
    pub fn has_ideal_fingers(&self) -> bool {
        self.boards.values().all(|board| {
            let me = board.id();
            let Some(last) = board.successors().last() else {
                return true;
            };
            let starts = (0..Id::BITS).map(|i| (i, me.plus_power_of_two(i)));
            let mut beyond = starts.filter(|(_, start)| !start.is_in_half_open(&me, last));
            beyond.all(|(i, start)| {
                let owner = self.true_owner(&start);
                board.fingers().get(&i).copied() == Some(owner).filter(|owner| *owner != me)
            })
        })
    }

    fn first_live(&self, id: &Id) -> Option<Id> {
        let lives = |id: &&Id| self.boards.get(id).is_some_and(Partial::is_member);
        self.boards[id].successors().iter().find(lives).copied()
    }

    /// Each member has a live successor; at least one ring, at most one, ordered, and everybody
    /// else's way leads to it.
    pub fn check_one_ring(&self) {
        let members = self.members();
        if members
            .iter()
            .all(|id| self.boards[id].successors().is_empty())
        {
            return;
        }
        let mut at = members[0];
        let mut next = BTreeMap::new();
        for id in &members {
            // The founder of a ring of two has not been notified yet.
            let live = self.first_live(id).or(self.boards[id].predecessor());
            next.insert(*id, live.unwrap_or(*id));
        }
        for _ in 0..members.len() {
            at = next[&at];
        }
        let start = at;
        let mut ring = BTreeSet::new();
        let mut wraps = 0;
        while ring.insert(at) {
            wraps += u32::from(next[&at] <= at);
            at = next[&at];
        }
        assert_eq!(at, start, "the way from a board ends in a ring");
        assert_eq!(wraps, 1, "the ring is not ordered");
        let mut reaching = ring;
        for id in &members {
            let mut way = Vec::new();
            let mut at = *id;
            while !reaching.contains(&at) && way.len() <= members.len() {
                way.push(at);
                at = next[&at];
            }
            assert!(reaching.contains(&at), "{id:?} leads to another ring");
            reaching.extend(way);
        }
    }

    /// With nothing under way: full lists, and enough boards that no list skips.
    pub fn check_lists_and_principals(&self) {
        assert!(self.flying.is_empty());
        let ids = self.members();
        let mut skipped = BTreeSet::new();
        for id in &ids {
            let board = &self.boards[id];
            let want = self.r.min(ids.len() - 1);
            assert_eq!(board.successors().len(), want, "the list of {id:?}");
            let mut before = *id;
            for next in board.successors() {
                // Few lie between, so walk from one to the next instead of asking all.
                let mut at = ids.partition_point(|m| *m <= before) % ids.len();
                while ids[at].is_in_open(&before, next) {
                    skipped.insert(ids[at]);
                    at = (at + 1) % ids.len();
                }
                before = *next;
            }
        }
        let principals = ids.len() - skipped.len();
        assert!(principals > self.r.min(ids.len() - 1), "{principals}");
    }
}
