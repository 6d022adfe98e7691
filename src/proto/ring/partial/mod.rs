//! The ring in mode `partial`: classical Chord by Zave's rules, each board knowing only its
//! neighbourhood (Chord 2001; P. Zave, "Reasoning about identifier spaces: How to make Chord
//! correct", IEEE TSE 2017: operations Join, StabilizeFromSuccessor, StabilizeFromPredecessor,
//! Rectify, Fail).
//!
//! The rules by their names in the paper's Alloy model (`pred Join`, `pred Fail` and so on under
//! STATE TRANSITIONS; August 2016), and where they are here; "live" is "answers this question":
//!
//! - **Join**: look the own id up at any member; ask m, the member found before it, for its
//!   pointers; only when m < me < m's first successor, and that successor answers, take m's whole
//!   list and m as predecessor (`join_beside`, `handle_join_state`, `handle_join_answer`).
//! - **StabilizeFromSuccessor**: ask the first successor for its pointers; live: the list becomes
//!   that successor and its list without the last; dead: drop it and shift, and ask the next
//!   (`handle_successor`).
//! - **StabilizeFromPredecessor**: the successor's predecessor, when strictly between and live,
//!   becomes the first successor, with its list behind it; then the first successor is notified
//!   (`handle_between`).
//! - **Rectify**, at the notified board: the notifier becomes predecessor when it is strictly
//!   between the old predecessor and this board, or when the old one is dead (`rectify`).
//! - **Fail**, and a leave at once: nothing is sent. Its precondition is that nobody is left
//!   without a live successor: no whole list fails before a round mends it; r is chosen for that.
//!
//! A list is r long, in ring order, without its owner (`in_order`); what the paper's invariant
//! adds for the whole ring (one ordered ring, appendages lead into it, r + 1 principals) is
//! checked over all boards by `tests/scale`.
//!
//! Start: the founder is alone ([`Partial::found`]), a board that was in the ring goes on
//! ([`Partial::resume`]), every other board joins. Steady state: one round of both stabilisations
//! on each [`Partial::handle_tick`], and some fingers. Distress: a board whose whole list is dead
//! says so ([`Event::Isolated`]) and has to join anew. End: an orderly leave tells both
//! neighbours, an immediate one is a failure.
//!
//! Fingers are hints for lookups and never make an answer right or wrong (`lookup.rs`).
//!
//! Departures: the paper fixes a ring of at least r+1 boards from its beginning and pads a list
//! after a dead successor; here a young ring has shorter lists (everybody else), and a list is
//! short from a dead successor to the next one's answer. A board may also be told of a neighbour
//! from outside ([`Partial::heard_of`]), which is asked as the successor's predecessor would be,
//! and goes on with old pointers after a stop. The machine keeps no time: ticks and silence are
//! its driver's.

mod lookup;
mod stabilise;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use self::lookup::Found;
use self::lookup::{Lookup, Next, distance};
use crate::base::id::Id;
pub use crate::base::pointer::{AskId, Reply, Request};

/// Boards named in a reply to a step of a lookup: a successor list and the nearest fingers.
const STEP_NAMES_MAX: usize = 32;
/// Fingers fixed on one tick: a table of a ring of 10,000 is renewed in five ticks.
const FINGERS_PER_TICK: u32 = 3;
/// Lookups under way on one board; more are refused.
const LOOKUPS_MAX: usize = 8_192;

/// What happened, for whoever drives the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The board belongs to the ring.
    Joined,
    /// Joining failed this time; ask again.
    JoinFailed,
    /// No successor answers: the board must join anew.
    Isolated,
    /// A lookup ended; none: it failed.
    Lookup(u64, Option<Found>),
}

/// Why a question is under way.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    Lookup(u64),
    /// Join: the pointers of m.
    JoinAt(Id),
    /// Join: m's first successor answers.
    JoinBefore,
    Successor(Id),
    Between(Id),
    /// Rectify: is the old predecessor there, when this board says it is the new one?
    Rectify {
        old: Id,
        new: Id,
    },
    Told,
}

/// For whom a lookup runs.
#[derive(Clone, Copy, Debug)]
enum For {
    Caller,
    Join,
    Finger(u32),
}

/// One board's pointers and what keeps them right.
#[derive(Debug)]
pub struct Partial {
    me: Id,
    /// r: successors kept.
    length: usize,
    member: bool,
    predecessor: Option<Id>,
    /// Nearest first; never this board.
    successors: Vec<Id>,
    /// By exponent; only those beyond the successors.
    fingers: BTreeMap<u32, Id>,
    finger_next: u32,
    joining: Option<Vec<Id>>,
    stabilising: bool,
    rectifying: bool,
    lookups: BTreeMap<u64, (For, Lookup)>,
    asks: BTreeMap<AskId, Purpose>,
    next: u64,
    out: VecDeque<(AskId, Id, Request)>,
    events: VecDeque<Event>,
}

impl Partial {
    /// A board that belongs to no ring and keeps `length` successors (r).
    ///
    /// # Panics
    /// When `length` is 0.
    pub fn new(me: Id, length: usize) -> Self {
        assert!(length > 0, "a ring needs successors");
        Partial {
            me,
            length,
            member: false,
            predecessor: None,
            successors: Vec::new(),
            fingers: BTreeMap::new(),
            finger_next: 0,
            joining: None,
            stabilising: false,
            rectifying: false,
            lookups: BTreeMap::new(),
            asks: BTreeMap::new(),
            next: 0,
            out: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Founds a ring of one.
    pub fn found(&mut self) {
        self.member = true;
        self.finger_next = Id::BITS;
    }

    /// Goes on after a stop with the pointers the board had: to the others it was slow, not away.
    /// What is wrong with them by now is for the rounds to find out, as after any silence.
    pub fn resume(&mut self, predecessor: Option<Id>, successors: impl IntoIterator<Item = Id>) {
        self.member = true;
        self.predecessor = predecessor.filter(|id| *id != self.me);
        self.successors = stabilise::in_order(self.me, successors, self.length);
    }

    /// Somebody says this board is there. When it lies between this board and its successor the
    /// next round asks it, as it would the successor's predecessor: so rings that were cut in two
    /// find together.
    pub fn heard_of(&mut self, id: Id) {
        let first = self
            .successor()
            .filter(|_| self.member && !self.stabilising);
        if first.is_some_and(|first| id.is_in_open(&self.me, &first)) {
            self.stabilising = true;
            self.ask(id, Request::State, Purpose::Between(id));
        } else if first.is_none() && self.member && id != self.me && !self.stabilising {
            // Any member will do: the rounds walk back from it to the successor that is right.
            self.successors.push(id);
            self.stabilise();
        }
    }

    /// A round of stabilising is under way.
    pub fn is_stabilising(&self) -> bool {
        self.stabilising
    }

    /// Joins the ring `sponsor` belongs to; ends in [`Event::Joined`] or [`Event::JoinFailed`].
    pub fn join(&mut self, sponsor: Id) {
        self.member = false;
        self.predecessor = None;
        self.successors.clear();
        self.fingers.clear();
        self.joining = None;
        self.start_lookup(For::Join, self.me, vec![sponsor]);
    }

    /// Tells the neighbours that this board leaves, and leaves; they need not answer.
    pub fn leave_orderly(&mut self) {
        let told: BTreeSet<Id> = self
            .predecessor
            .into_iter()
            .chain(self.successor())
            .collect();
        for id in told {
            let request = Request::Leaving {
                predecessor: self.predecessor,
                successors: self.successors.clone(),
            };
            self.ask(id, request, Purpose::Told);
        }
        self.leave_immediately();
    }

    /// Leaves without a word, which is a failure to everybody else.
    pub fn leave_immediately(&mut self) {
        self.member = false;
        self.predecessor = None;
        self.successors.clear();
        self.fingers.clear();
    }

    /// This board's id.
    pub fn id(&self) -> Id {
        self.me
    }

    /// It belongs to a ring.
    pub fn is_member(&self) -> bool {
        self.member
    }

    /// Its predecessor, if it knows one.
    pub fn predecessor(&self) -> Option<Id> {
        self.predecessor
    }

    /// Its successors, nearest first; empty when alone.
    pub fn successors(&self) -> &[Id] {
        &self.successors
    }

    /// Its fingers beyond the successors, by exponent.
    pub fn fingers(&self) -> &BTreeMap<u32, Id> {
        &self.fingers
    }

    fn successor(&self) -> Option<Id> {
        self.successors.first().copied()
    }

    /// Looks `point` up; ends in [`Event::Lookup`] with the number returned. None when the board
    /// belongs to no ring or has too many lookups under way.
    pub fn find(&mut self, point: Id) -> Option<u64> {
        let free = self.member && self.lookups.len() < LOOKUPS_MAX;
        free.then(|| self.start_lookup(For::Caller, point, vec![self.me]))
    }

    /// Time for another round of stabilising and for some fingers.
    pub fn handle_tick(&mut self) {
        if !self.member {
            return;
        }
        self.stabilise();
        for _ in 0..FINGERS_PER_TICK {
            self.fix_finger();
        }
    }

    /// Renews the whole table.
    pub fn fix_every_finger(&mut self) {
        self.fingers.clear();
        self.finger_next = 0;
        self.fix_finger();
        while self.finger_next > 0 && self.finger_next < Id::BITS {
            self.fix_finger();
        }
    }

    /// Renews the next finger.
    pub fn fix_finger(&mut self) {
        let Some(last) = self.successors.last().copied() else {
            return;
        };
        let beyond = |exponent: &u32| {
            let start = self.me.plus_power_of_two(*exponent);
            !start.is_in_half_open(&self.me, &last)
        };
        let below = (0..Id::BITS).rev().take_while(beyond).last();
        let Some(lowest) = below else {
            self.fingers.clear();
            return;
        };
        self.fingers.retain(|exponent, _| *exponent >= lowest);
        let exponent = match self.finger_next {
            next if (lowest..Id::BITS).contains(&next) => next,
            _ => lowest,
        };
        self.finger_next = exponent + 1;
        let start = self.me.plus_power_of_two(exponent);
        self.start_lookup(For::Finger(exponent), start, vec![self.me]);
    }

    /// Answers another board's question.
    pub fn handle_request(&mut self, from: Id, request: Request) -> Reply {
        if !self.member {
            return Reply::NotMember;
        }
        match request {
            Request::Ping => Reply::Ok,
            Request::State => Reply::State {
                predecessor: self.predecessor,
                successors: self.successors.clone(),
            },
            Request::Step(point) => self.step(&point),
            Request::Confirm(point) => self.confirm(&point),
            Request::Notify => {
                self.rectify(from);
                Reply::Ok
            }
            Request::Leaving {
                predecessor,
                successors,
            } => {
                self.handle_leaving(from, predecessor, &successors);
                Reply::Ok
            }
        }
    }

    /// The answer to a question; none: no answer came. Late answers are dropped.
    pub fn handle_reply(&mut self, ask: AskId, reply: Option<Reply>) {
        let Some(purpose) = self.asks.remove(&ask) else {
            return;
        };
        let reply = reply.filter(|reply| *reply != Reply::NotMember);
        match purpose {
            Purpose::Lookup(number) => self.handle_lookup_reply(number, reply),
            Purpose::JoinAt(at) => self.handle_join_state(at, reply),
            Purpose::JoinBefore => self.handle_join_answer(reply.is_some()),
            Purpose::Successor(asked) => self.handle_successor(asked, reply),
            Purpose::Between(asked) => self.handle_between(asked, reply),
            Purpose::Rectify { old, new } => self.handle_rectify(old, new, reply.is_some()),
            Purpose::Told => {}
        }
    }

    /// The next question to carry to another board.
    pub fn poll_ask(&mut self) -> Option<(AskId, Id, Request)> {
        self.out.pop_front()
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Asserts what holds on one board at each step.
    ///
    /// # Panics
    /// On a mistake of this machine.
    pub fn check_invariants(&self) {
        assert!(self.successors.len() <= self.length, "a list longer than r");
        let mut before = self.me;
        for id in &self.successors {
            assert!(
                id.is_in_open(&before, &self.me),
                "a list out of order at {id:?}"
            );
            before = *id;
        }
        assert_ne!(self.predecessor, Some(self.me), "its own predecessor");
        assert!(self.member || self.successors.is_empty());
        let refers = |number: &u64| self.lookups.contains_key(number);
        let mut pending = self.asks.values();
        assert!(pending.all(|p| !matches!(p, Purpose::Lookup(number) if !refers(number))));
    }

    fn ask(&mut self, to: Id, request: Request, purpose: Purpose) {
        let id = AskId(self.next);
        self.next += 1;
        self.asks.insert(id, purpose);
        self.out.push_back((id, to, request));
    }

    fn step(&self, point: &Id) -> Reply {
        let reached = |id: &&Id| point.is_in_half_open(&self.me, id);
        let owners: Vec<Id> = match self.successors.is_empty() {
            true => vec![self.me],
            false => self.successors.iter().filter(reached).copied().collect(),
        };
        let known = self.successors.iter().chain(self.fingers.values());
        let known = known.chain(&self.predecessor);
        let between = known.filter(|id| id.is_in_open(&self.me, point));
        let nearest: BTreeMap<Id, Id> = between.map(|id| (distance(id, point), *id)).collect();
        Reply::Step {
            owners,
            closer: nearest.into_values().take(STEP_NAMES_MAX).collect(),
        }
    }

    fn confirm(&self, point: &Id) -> Reply {
        match self.predecessor {
            Some(predecessor) if !point.is_in_half_open(&predecessor, &self.me) => {
                Reply::Earlier(predecessor)
            }
            predecessor => Reply::Mine(predecessor),
        }
    }

    fn start_lookup(&mut self, purpose: For, point: Id, from: Vec<Id>) -> u64 {
        let number = self.next;
        self.next += 1;
        let lookup = Lookup::new(self.me, point, from);
        self.lookups.insert(number, (purpose, lookup));
        self.go_on(number);
        number
    }

    /// Asks what the lookup wants; questions to this board itself are answered here.
    fn go_on(&mut self, number: u64) {
        loop {
            let Some((_, lookup)) = self.lookups.get_mut(&number) else {
                return;
            };
            match lookup.next() {
                Next::Failed => return self.end_lookup(number, None),
                Next::Ask(to, request) if to == self.me && self.member => {
                    let reply = self.handle_request(to, request);
                    if let Some(found) = self.reply_to_lookup(number, Some(reply)) {
                        return self.end_lookup(number, Some(found));
                    }
                }
                Next::Ask(to, _) if to == self.me => {
                    // A board that joins has died to its ring before; its old entry is stale.
                    self.reply_to_lookup(number, None);
                }
                Next::Ask(to, request) => return self.ask(to, request, Purpose::Lookup(number)),
            }
        }
    }

    fn reply_to_lookup(&mut self, number: u64, reply: Option<Reply>) -> Option<Found> {
        let (_, lookup) = self.lookups.get_mut(&number)?;
        lookup.handle(reply)
    }

    fn handle_lookup_reply(&mut self, number: u64, reply: Option<Reply>) {
        match self.reply_to_lookup(number, reply) {
            Some(found) => self.end_lookup(number, Some(found)),
            None => self.go_on(number),
        }
    }

    fn end_lookup(&mut self, number: u64, found: Option<Found>) {
        let Some((purpose, _)) = self.lookups.remove(&number) else {
            return;
        };
        match purpose {
            For::Caller => self.events.push_back(Event::Lookup(number, found)),
            For::Join => self.join_beside(found),
            For::Finger(exponent) => match found {
                Some(found) if found.owner != self.me => {
                    self.fingers.insert(exponent, found.owner);
                }
                _ => {
                    self.fingers.remove(&exponent);
                }
            },
        }
    }
}
