//! Mode `partial`: what the board does around the machine of Zave's rules (`proto/ring/partial`).
//!
//! Start: the founder is a ring of one; a joiner is sent from board to board until it asks the
//! one its place follows, is admitted to that board's roster, and joins the ring of pointers
//! there; a board that comes back goes on with the neighbours its roster names. Steady state: a
//! round of stabilising a tick, its questions carried as ring calls, silence reported as such. An
//! answer names boards, so it tells where they are; addresses of boards outside the roster are
//! kept in a bounded table. Distress: a board whose list is dead joins anew at any neighbour that
//! answers. End: the neighbours are told, or find out.
//!
//! What this mode leaves to others: who holds copies is the roster's word (`placement`), never
//! the pointers'; an operation on a key whose copies are elsewhere goes to them in
//! `operation/elsewhere.rs`.

use std::collections::{BTreeMap, BTreeSet};

use super::gossip::CallPurpose;
use super::{Board, Phase, Timer};
use crate::base::call::{CallError, CallId, Finger, Reply, Target};
use crate::base::endpoint::SocketAddr;
use crate::base::id::Id;
use crate::base::item::Key;
use crate::base::limit;
use crate::base::member::{ClusterId, Contact, RingMode};
use crate::base::pointer::{self, AskId, Request};
use crate::base::time::Now;
use crate::proto::ring::partial::{Event, Found, Partial};
use crate::wire::peer::{RingCall, RingReply};

/// Between two rounds of stabilising.
const TICK_MS: (u64, u64) = (800, 1_200);
/// A board that could not enter the ring of pointers tries again after this.
const ENTER_MS: (u64, u64) = (100, 300);

/// What a lookup was for.
#[derive(Debug)]
enum Wanted {
    Found {
        call: CallId,
        key: Option<Key>,
        successor: bool,
    },
    Finger {
        call: CallId,
        index: u32,
        start: Id,
    },
    Operation(u64),
}

/// The pointers of a board, and what it waits for of them.
#[derive(Debug)]
pub(super) struct Routing {
    pub(super) ring: Partial,
    learnt: BTreeMap<Id, Contact>,
    wanted: BTreeMap<u64, Wanted>,
    /// Calls to stabilise, and the successors before.
    rounds: Vec<(CallId, Vec<Id>)>,
    /// The roster's boards, as the detector has been told.
    watched: BTreeSet<Id>,
}

impl Routing {
    pub(super) fn new(me: Id) -> Self {
        Routing {
            ring: Partial::new(me, limit::SUCCESSORS_MAX),
            learnt: BTreeMap::new(),
            wanted: BTreeMap::new(),
            rounds: Vec::new(),
            watched: BTreeSet::new(),
        }
    }

    /// Where a board is that the roster does not know.
    pub(super) fn contact(&self, id: &Id) -> Option<&Contact> {
        self.learnt.get(id)
    }

    /// The board that said it is there.
    pub(super) fn at(&self, endpoint: &SocketAddr) -> Option<&Contact> {
        let mut learnt = self.learnt.values();
        learnt.find(|contact| contact.endpoint == *endpoint)
    }

    /// Remembers where a board is; a full table forgets one that no pointer needs.
    pub(super) fn learn(&mut self, contact: Contact) {
        let rank = |contact: &Contact| (contact.boot, contact.renewal);
        let known = self.learnt.get(&contact.id);
        if known.is_some_and(|known| rank(known) > rank(&contact)) {
            return;
        }
        if known.is_none() && self.learnt.len() >= limit::LEARNT_CONTACTS_MAX {
            let ring = &self.ring;
            let needed = |id: &Id| {
                ring.successors().contains(id)
                    || ring.predecessor() == Some(*id)
                    || ring.fingers().values().any(|finger| finger == id)
            };
            let spare = self.learnt.keys().find(|id| !needed(id)).copied();
            spare.and_then(|id| self.learnt.remove(&id));
        }
        self.learnt.insert(contact.id, contact);
    }

    pub(super) fn heard_of(&mut self, id: Id) {
        self.ring.heard_of(id);
    }

    pub(super) fn leave(&mut self, orderly: bool) {
        match orderly && self.ring.is_member() {
            true => self.ring.leave_orderly(),
            false => self.ring.leave_immediately(),
        }
    }
}

impl Board {
    /// The board's ring runs in mode `partial`.
    pub(super) fn is_partial(&self) -> bool {
        let mode = self.roster.as_ref().map(|roster| roster.cluster().mode);
        mode == Some(RingMode::Partial)
    }

    /// The board has its place among the pointers; always in mode `full`.
    pub(super) fn is_in_ring(&self) -> bool {
        !self.is_partial() || self.routing.ring.is_member()
    }

    pub(super) fn is_neighbour(&self, id: &Id) -> bool {
        self.roster.as_ref().is_some_and(|roster| roster.has(id))
    }

    pub(super) fn found_ring(&mut self, now: Now) {
        if self.is_partial() {
            self.routing.ring.found();
            self.rearm(now.time, Timer::Tick);
        }
    }

    /// Back from flash: the roster says who was next to this board.
    pub(super) fn resume_ring(&mut self, now: Now) {
        if !self.is_partial() {
            return;
        }
        let me = self.me;
        let mut others = self.member_ids();
        others.retain(|id| *id != me);
        let after = others.partition_point(|id| *id < me);
        others.rotate_left(after);
        let ring = &mut self.routing.ring;
        match others.is_empty() {
            true => ring.found(),
            false => ring.resume(others.last().copied(), others),
        }
        self.rearm(now.time, Timer::Tick);
    }

    /// Admitted by `sponsor`, whom this board's place follows.
    pub(super) fn join_ring_at(&mut self, now: Now, sponsor: Id, anew: bool) {
        let mode = self.roster.as_ref().map(|roster| roster.cluster().mode);
        if let Some(mode) = mode.filter(|mode| *mode != self.settings.ring_mode) {
            self.out
                .events
                .push_back(crate::base::call::Event::ModeAdopted(mode));
        }
        // Admitted twice, it keeps its place.
        if self.is_partial() && (anew || !self.routing.ring.is_member()) {
            self.routing.ring.join(sponsor);
            self.rearm(now.time, Timer::Tick);
        }
    }

    /// Joining the pointers failed, or all of them are dead: another try.
    pub(super) fn enter_ring(&mut self, now: Now) {
        let ring = &self.routing.ring;
        let is_in = ring.is_member() && !ring.successors().is_empty();
        if self.phase != Phase::Joined || !self.is_partial() || is_in {
            return;
        }
        // A member that is cut off stays one: if all of a small ring gave their places up at once
        // there would be nobody left to join.
        let isolated = ring.is_member();
        let before = self.pointers().predecessor();
        if before == self.me {
            let wait = self.jitter_ms(TICK_MS.0, TICK_MS.1);
            self.rearm(now.time + wait, Timer::Enter);
        } else if isolated {
            self.routing.ring.heard_of(before);
        } else {
            self.routing.ring.join(before);
        }
    }

    pub(super) fn tick_ring(&mut self, now: Now) {
        if self.phase != Phase::Joined || !self.is_partial() {
            return;
        }
        self.routing.ring.handle_tick();
        // Who is next to this board by the pointers is next to it by the roster, or the two have
        // not compared theirs: a joiner may have been admitted too far from its place.
        let ring = &self.routing.ring;
        let next = (ring.successors().iter().copied()).chain(ring.predecessor());
        let unknown: Vec<Id> = next.filter(|id| !self.is_neighbour(id)).collect();
        for id in unknown {
            self.exchange(now, &id);
        }
        let wait = self.jitter_ms(TICK_MS.0, TICK_MS.1);
        self.rearm(now.time + wait, Timer::Tick);
    }

    /// Where a board is: the roster's word, a hello's, or another board's.
    fn contact_of(&self, id: &Id) -> Option<Contact> {
        if *id == self.me {
            return Some(self.my_contact());
        }
        let known = self.roster.as_ref().and_then(|roster| roster.contact(id));
        known.or_else(|| self.routing.contact(id)).cloned()
    }

    /// Another board's question.
    pub(super) fn answer_ask(
        &mut self,
        from: &Id,
        cluster: ClusterId,
        request: Request,
    ) -> RingReply {
        let mine = self.roster.as_ref().map(|roster| roster.cluster().id);
        let member = self.phase == Phase::Joined && self.is_partial();
        let reply = match member && mine == Some(cluster) {
            true => self.routing.ring.handle_request(*from, request),
            false => pointer::Reply::NotMember,
        };
        let contacts = reply.boards().filter_map(|id| self.contact_of(id));
        RingReply::Told {
            contacts: contacts.collect(),
            reply,
        }
    }

    /// The answer to this board's question, or silence.
    pub(super) fn told(&mut self, ask: AskId, reply: Option<RingReply>) {
        let reply = self.learn_told(reply);
        self.routing.ring.handle_reply(ask, reply);
    }

    /// Takes from an answer where the boards are that it names.
    pub(super) fn learn_told(&mut self, reply: Option<RingReply>) -> Option<pointer::Reply> {
        match reply {
            Some(RingReply::Told { reply, contacts }) => {
                // Nobody names more boards than a reply has room for.
                let named: BTreeSet<Id> = reply.boards().copied().collect();
                let of_named = |contact: &Contact| named.contains(&contact.id);
                for contact in contacts.into_iter().filter(of_named) {
                    if contact.id != self.me {
                        self.routing.learn(contact);
                    }
                }
                Some(reply)
            }
            _ => None,
        }
    }

    /// Carries the machine's questions and takes what it says, after every input.
    pub(super) fn settle_ring(&mut self, now: Now) {
        loop {
            self.settle_ring_asks(now);
            let Some(event) = self.routing.ring.poll_event() else {
                break;
            };
            match event {
                Event::Joined => self.check_coverage(now),
                Event::JoinFailed | Event::Isolated => {
                    let wait = self.jitter_ms(ENTER_MS.0, ENTER_MS.1);
                    self.rearm(now.time + wait, Timer::Enter);
                }
                Event::Lookup(number, found) => self.looked_up(now, number, found),
            }
        }
        if !self.routing.rounds.is_empty() && !self.routing.ring.is_stabilising() {
            self.end_rounds();
        }
    }

    pub(super) fn settle_ring_asks(&mut self, now: Now) {
        while let Some((ask, to, request)) = self.routing.ring.poll_ask() {
            self.ask_pointers(now, &to, request, CallPurpose::Ask(ask));
        }
    }

    /// Carries a question about pointers to another board.
    pub(super) fn ask_pointers(
        &mut self,
        now: Now,
        to: &Id,
        request: Request,
        purpose: CallPurpose,
    ) {
        if let Some(roster) = &self.roster {
            let cluster = roster.cluster().id;
            self.ring_call(now, to, RingCall::Ask { cluster, request }, purpose);
        }
    }

    /// A board nearer before `joiner`'s place than this one, in mode `partial`: only the last
    /// board before the place admits.
    pub(super) fn nearer_to(&self, joiner: &Id) -> Option<Contact> {
        if !self.is_partial() {
            return None;
        }
        let ring = &self.routing.ring;
        let pointers = ring.successors().iter().chain(ring.fingers().values());
        let mut known: Vec<Id> = pointers
            .filter(|id| !self.is_neighbour(id) || self.is_present(id))
            .copied()
            .collect();
        known.extend(self.present_others());
        known.retain(|id| id.is_in_open(&self.me, joiner));
        let nearest = known
            .into_iter()
            .reduce(|best, id| match id.is_in_open(&best, joiner) {
                true => id,
                false => best,
            });
        nearest.and_then(|id| self.contact_of(&id))
    }

    /// After every change of the roster: the detector watches the neighbourhood only.
    pub(super) fn watch_neighbourhood(&mut self, now: Now) {
        if !self.is_partial() {
            return;
        }
        let members: BTreeSet<Id> = self.member_ids().into_iter().collect();
        let watched = std::mem::replace(&mut self.routing.watched, members);
        let roster = self.roster.as_ref();
        let beyond = |id: &&Id| roster.is_some_and(|roster| roster.entry(id).is_none());
        let beyond: Vec<Id> = watched.iter().filter(beyond).copied().collect();
        for id in beyond {
            self.detector.forget(now.time, &id);
            self.heard_enough();
        }
        for id in self.present_others() {
            self.routing.heard_of(id);
        }
    }

    /// This board's own pointers: predecessor and successors, itself when alone.
    pub(super) fn own_pointers(&mut self) -> (Id, Vec<Id>) {
        if !self.is_partial() {
            let pointers = self.pointers();
            let successors = pointers.successors(limit::SUCCESSORS_MAX);
            return (pointers.predecessor(), successors);
        }
        let ring = &self.routing.ring;
        let successors = match ring.successors() {
            [] => vec![self.me],
            some => some.to_vec(),
        };
        (ring.predecessor().unwrap_or(self.me), successors)
    }

    /// Both lookups, for a point or a key.
    pub(super) fn look_up(
        &mut self,
        call: CallId,
        target: Target,
        successor: bool,
    ) -> Result<Option<Reply>, CallError> {
        self.check_ring()?;
        let (point, key) = match target {
            Target::Id(id) => (id, None),
            Target::Key(key) => (key.point(), Some(key)),
        };
        let wanted = Wanted::Found {
            call,
            key,
            successor,
        };
        self.want_lookup(point, wanted)?;
        Ok(None)
    }

    fn want_lookup(&mut self, point: Id, wanted: Wanted) -> Result<(), CallError> {
        let number = self.routing.ring.find(point).ok_or_else(|| {
            CallError::unavailable("this board is finding its place in the ring; try again")
        })?;
        self.routing.wanted.insert(number, wanted);
        Ok(())
    }

    /// Looks up who coordinates an operation. False: it cannot be asked yet.
    pub(super) fn look_up_for(&mut self, operation: u64, key: &Key) -> bool {
        let wanted = Wanted::Operation(operation);
        self.want_lookup(key.point(), wanted).is_ok()
    }

    fn looked_up(&mut self, now: Now, number: u64, found: Option<Found>) {
        let Some(wanted) = self.routing.wanted.remove(&number) else {
            return;
        };
        match (wanted, found) {
            (Wanted::Operation(operation), found) => {
                self.owner_found(now, operation, found.map(|found| found.owner));
            }
            (Wanted::Found { call, .. } | Wanted::Finger { call, .. }, None) => {
                let reason = "too few boards on the way answer; try again in a second";
                self.out.answer(call, Err(CallError::unavailable(reason)));
            }
            (Wanted::Finger { call, index, start }, Some(found)) => {
                let node = self.pointer_ref(&found.owner);
                let finger = Finger { index, start, node };
                self.out.answer(call, Ok(Reply::FingerFixed(finger)));
            }
            (
                Wanted::Found {
                    call,
                    key,
                    successor,
                },
                Some(found),
            ) => {
                let reply = self.lookup_reply(key, successor, found);
                self.out.answer(call, Ok(reply));
            }
        }
    }

    fn lookup_reply(&mut self, key: Option<Key>, successor: bool, found: Found) -> Reply {
        let before = found.path.iter().rev().find(|id| **id != found.owner);
        let node = match successor {
            true => found.owner,
            false => (found.predecessor.as_ref())
                .or(before)
                .copied()
                .unwrap_or(found.owner),
        };
        let copies = match (key, self.view()) {
            (None, _) => Vec::new(),
            (Some(key), Some(view)) if view.is_known_to(&self.me, &key.point()) => {
                view.copy_sets(&key.point()).target().to_vec()
            }
            // Its other copies are known to its neighbourhood alone.
            (Some(_), _) => vec![found.owner],
        };
        let copies = copies.iter().map(|id| self.pointer_ref(id)).collect();
        Reply::Lookup {
            node: self.pointer_ref(&node),
            hops: found.hops(),
            path: found.path,
            copies,
        }
    }

    /// One round of stabilising, answered when it is over.
    pub(super) fn stabilize_partial(&mut self, call: CallId) -> Result<Option<Reply>, CallError> {
        self.check_ring()?;
        let before = self.own_pointers().1;
        self.routing.rounds.push((call, before));
        self.routing.ring.handle_tick();
        Ok(None)
    }

    fn end_rounds(&mut self) {
        let (_, successors) = self.own_pointers();
        for (call, before) in std::mem::take(&mut self.routing.rounds) {
            let reply = Reply::Stabilized {
                successors: successors.iter().map(|id| self.pointer_ref(id)).collect(),
                changed: before != successors,
            };
            self.out.answer(call, Ok(reply));
        }
    }

    /// The next row of the finger table, looked up anew.
    pub(super) fn fix_finger_partial(&mut self, call: CallId) -> Result<Option<Reply>, CallError> {
        self.check_ring()?;
        let index = self.finger_next % Id::BITS;
        self.finger_next = (index + 1) % Id::BITS;
        let start = self.me.plus_power_of_two(index);
        self.want_lookup(start, Wanted::Finger { call, index, start })?;
        self.routing.ring.fix_finger();
        Ok(None)
    }
}
