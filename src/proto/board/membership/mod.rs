//! Belonging: founding, joining, merging, leaving, forgetting.
//!
//! ```text
//! Alone ──hint of a lower id──▶ waits for it to found ──▶ asks to join
//!   │ ──a member answers──────▶ asks to join ──admitted──▶ Joining ──has its ranges──▶ Member
//!   ╰──nobody lower within FOUND_DELAY──▶ founds ──durable──▶ Member
//! Member ──leave──▶ Leaving ──everything handed over──▶ Left
//! Member of the higher cluster ──meets the lower──▶ asks to join there (merge)
//! ```
//!
//! A joiner asks every holder for what it should have (`handover.rs` answers) and becomes a member
//! once a read quorum of each of its ranges has said that was all. A board that comes back from
//! flash is in its ring at once and asks the same, without losing its vote: what it holds was
//! acknowledged.

mod absent;
mod apart;
mod diskless;
mod doubt;
mod join;
mod leave;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::gossip::CallPurpose;
use super::handover::LEAVE_CONFIRM_TIME;
use super::{Board, Phase, Timer};
use crate::base::call::{CallError, CallId, Consistency, Event, Reply};
use crate::base::endpoint::SocketAddr;
use crate::base::hint::{Hint, HintKind};
use crate::base::id::Id;
use crate::base::limit;
use crate::base::member::{Cluster, ClusterId, Contact, Entry, Standing};
use crate::base::rng::RngExt;
use crate::base::time::{Now, Time};
use crate::proto::detector::{Detector, Finding, Peer};
use crate::proto::placement::View;
use crate::proto::replication::needed;
use crate::proto::roster::absence::Absence;
use crate::proto::roster::{Changes, Roster};
use crate::wire::peer::{Hello, Message, RangePage, RingCall, RingReply, RosterState, Suspicion};

/// A board that hears of nobody lower for this long founds.
const FOUND_DELAY: Duration = Duration::from_millis(300);
/// How often a board alone looks at what it has heard.
const CONSIDER_PERIOD: Duration = Duration::from_millis(100);
/// A lower id that was heard of but neither founds nor answers is waited for this long.
const LOWER_PATIENCE: Duration = Duration::from_secs(3);
/// Links on their way to boards that may be in a ring are waited for this much longer.
const OPENING_PATIENCE: Duration = Duration::from_millis(700);
/// A hint not heard again for this long is forgotten.
const HINT_LIFE: Duration = Duration::from_secs(10);
/// Links opened at once by a board alone.
const PROBES_MAX: usize = 4;
/// Links opened at once to boards that were only heard of: forged hints cost no more than this.
const GREETS_MAX: usize = 32;
/// Absent members are tried again after this, doubling up to the second figure.
const RECONNECT_MS: (u64, u64) = (500, 8_000);
/// A request to join is answered within this, or another is made.
const JOIN_PATIENCE: Duration = Duration::from_millis(1_500);
/// A call to join is answered within this.
const JOIN_TIME_MAX: Duration = Duration::from_secs(5);
/// Changes of the roster within this time make one round of asking.
const ASK_DELAY: Duration = Duration::from_millis(20);
/// Holders that have not answered are asked again after this.
const ASK_PERIOD: Duration = Duration::from_millis(1_000);

#[derive(Debug, Clone)]
struct Heard {
    endpoint: SocketAddr,
    at: Time,
    first: Time,
    /// It said that it has nothing to keep copies on, so it founds nothing.
    diskless: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    No,
    /// Handing over; the call to answer, if one asked for it.
    HandingOver(Option<CallId>),
    /// Told to stop; events say when that is done.
    Done,
}

/// Where the board is with belonging.
#[derive(Debug)]
pub(super) struct Membership {
    heard: BTreeMap<Id, Heard>,
    since: Time,
    /// In a ring without a break since then.
    established: Option<Time>,
    joining: Option<(Id, Time)>,
    /// Times this board was sent on to another since it began to ask.
    join_hops: u32,
    join_call: Option<CallId>,
    /// Why the ring that was asked last did not admit this board.
    refused: Option<String>,
    join_address: Option<SocketAddr>,
    founding: bool,
    reconnect_ms: u64,
    /// Holders that have been asked, and when last.
    asked: BTreeMap<Id, Time>,
    /// Holders that have confirmed everything this board should have of them.
    answered: BTreeSet<Id>,
    /// Holders to ask although this board is a member: it or they were away.
    unheard: BTreeSet<Id>,
    /// This board was away, or copies were lost: until enough others have been heard it may lack
    /// acknowledged writes.
    resumed: bool,
    /// So many boards were absent that they could acknowledge writes without this one.
    was_split: bool,
    /// Told to stop: the event says when it is done, whoever asked first.
    stopping: bool,
    /// A call to join is given up then.
    join_until: Time,
    ask: u64,
    leaving: Leaving,
    leave_until: Time,
    /// The own address to be asked for a clone before anything else.
    clone_probe: Option<SocketAddr>,
    absence: Absence,
    apart: apart::Apartness,
    doubt: doubt::Doubt,
}

impl Default for Membership {
    fn default() -> Self {
        Membership {
            heard: BTreeMap::new(),
            since: Time::ZERO,
            established: None,
            joining: None,
            join_hops: 0,
            join_call: None,
            refused: None,
            join_address: None,
            founding: false,
            reconnect_ms: RECONNECT_MS.0,
            asked: BTreeMap::new(),
            answered: BTreeSet::new(),
            unheard: BTreeSet::new(),
            resumed: false,
            was_split: false,
            stopping: false,
            join_until: Time::ZERO,
            ask: 0,
            leaving: Leaving::No,
            leave_until: Time::ZERO,
            clone_probe: None,
            absence: Absence::default(),
            apart: apart::Apartness::default(),
            doubt: doubt::Doubt::default(),
        }
    }
}

impl Membership {
    /// How long this board has been in a ring since it started.
    pub(super) fn established_ms(&self, now: Time) -> u64 {
        let since = self.established.map(|at| now.since(at));
        since.map_or(0, |time| (time.as_millis() as u64).max(1))
    }

    fn establish(&mut self, now: Now) {
        self.established.get_or_insert(now.time);
    }

    pub(super) fn hinted(&self, id: &Id) -> Option<SocketAddr> {
        self.heard.get(id).map(|heard| heard.endpoint)
    }

    /// What follows the roster on flash.
    pub(super) fn note(&self) -> Vec<u8> {
        self.apart.to_bytes()
    }

    pub(super) fn restore_note(&mut self, bytes: &[u8]) {
        self.apart.restore(bytes);
    }

    pub(super) fn is_in_doubt(&self) -> bool {
        self.doubt.is_deep()
    }

    pub(super) fn is_returning(&self) -> bool {
        self.apart.is_returning()
    }

    pub(super) fn is_leaving(&self) -> bool {
        matches!(self.leaving, Leaving::HandingOver(_))
    }
}

impl Board {
    /// The store is open and held this roster.
    pub(super) fn begin(&mut self, now: Now, roster: Option<Roster>, damage: Option<Bytes>) {
        self.membership.since = now.time;
        self.phase = Phase::Alone;
        let known = roster.filter(|roster| roster.cluster().name == self.settings.cluster_name);
        if let Some(mut roster) = known {
            let last = roster.contact(&self.me).map(|contact| contact.endpoint);
            self.membership.clone_probe = last.filter(|at| *at != self.settings.endpoint);
            self.rise_above(roster.contact(&self.me));
            roster.note_contact(self.my_contact());
            for contact in roster.state().contacts {
                if contact.id != self.me {
                    self.note_hint(now, contact.id, contact.endpoint);
                }
            }
            let standing = roster.entry(&self.me).map(|entry| entry.standing);
            self.roster = Some(roster.around(self.me));
            match (standing, &damage) {
                (Some(standing), Some(mark)) if standing.belongs() => {
                    self.resume_after_damage(now, mark);
                }
                (Some(_), Some(_)) => self.damaged_while_gone(),
                (Some(standing), None) if standing.belongs() => self.resume(now),
                (Some(Standing::Left), None) => self.discard_items(),
                (Some(_), None) => self.struck_off_at_start(now),
                (None, _) => {}
            }
        }
        if self.roster.is_none() && damage.is_some() {
            // Nothing is left to doubt.
            self.doubt_ends();
        }
        if let Some(endpoint) = self.membership.clone_probe {
            self.open_link(now, endpoint, None);
        }
        self.arm(now.time + Duration::from_millis(1), Timer::Consider);
        self.arm(now.time + Duration::from_millis(1), Timer::Reconnect);
        self.arm(now.time + CONSIDER_PERIOD, Timer::Gossip);
    }

    /// Others have seen a start of this board that it does not remember (its counters were lost):
    /// it counts on from there, or they would take it for an old rumour of itself.
    pub(in crate::proto::board) fn rise_above(&mut self, seen: Option<&Contact>) {
        let Some(seen) = seen.filter(|seen| seen.boot >= self.settings.boot) else {
            return;
        };
        let mine = (self.settings.boot, self.detector.me().renewal);
        let ours = seen.life == self.settings.life;
        if (seen.boot, seen.renewal, !ours) <= (mine.0, mine.1, false) {
            return;
        }
        self.settings.boot = seen.boot + 1;
        self.renew_detector(0);
        self.watch.count("boots_raised");
    }

    /// A clone of this board's card yields: what it told the others about this board gives way.
    pub(in crate::proto::board) fn outlast_clone(&mut self, now: Now, clone: &Contact) {
        let mine = (self.settings.boot, self.detector.me().renewal);
        let other = clone.life != self.settings.life;
        if (mine.0, mine.1, false) < (clone.boot, clone.renewal, other) {
            self.settings.boot = clone.boot + 1;
            self.detector.set_boot(now.time, self.settings.boot);
            self.contact_changed(now);
        }
    }

    /// A detector that knows nobody, under this start's identity.
    pub(in crate::proto::board) fn renew_detector(&mut self, renewal: u32) {
        let me = Peer {
            id: self.me,
            boot: self.settings.boot,
            renewal,
            endpoint: self.settings.endpoint,
        };
        let seed = self.rng.random();
        let rng = crate::base::rng::seeded(seed, 1);
        self.detector = Detector::new(me, rng, self.settings.suspicion.fresh());
    }

    /// Back in the ring this board was in when it stopped.
    fn resume(&mut self, now: Now) {
        self.phase = Phase::Joined;
        let Some(roster) = self.roster.as_mut() else {
            return;
        };
        let Some(mine) = roster.entry(&self.me).cloned() else {
            return;
        };
        if mine.standing == Standing::Leaving {
            // It dropped nothing while it was leaving, so it is a member as before.
            let generation = mine.generation + 1;
            roster.set(Entry {
                generation,
                standing: Standing::Member,
                ..mine
            });
        }
        self.catch_up();
        self.resume_ring(now);
        self.apart_at_start();
        self.count_absence(now);
        let alone = self.holder_ids() == [self.me];
        if alone {
            self.membership.establish(now);
        }
        let changes = Changes {
            entries: vec![],
            contacts: vec![self.my_contact()],
        };
        self.roster_changed(now, changes, false);
        self.want_handover(now);
        self.arm(now.time + Duration::from_millis(50), Timer::Ask);
    }

    /// From here on this board counts as behind, until it has heard of enough others what it
    /// should have.
    pub(in crate::proto::board) fn catch_up(&mut self) {
        let me = self.me;
        let others = self.holder_ids().into_iter().filter(|id| *id != me);
        self.membership.unheard = others.collect();
        self.membership.answered.clear();
        self.membership.asked.clear();
        self.membership.resumed = true;
    }

    /// Boards that, when absent together, may have acknowledged a write among themselves.
    fn write_quorum(&self) -> usize {
        let copies = self
            .roster
            .as_ref()
            .map_or(1, |r| usize::from(r.cluster().copies));
        needed(copies.min(self.holder_ids().len()), Consistency::Quorum)
    }

    /// Unheard boards with which this one shares keys.
    fn unheard_partners(&self) -> usize {
        let unheard = &self.membership.unheard;
        let roster = self.roster.as_ref().filter(|_| self.is_partial());
        let laid_out = self.view.clone();
        let view = roster.and_then(|roster| {
            let current = laid_out.filter(|view| view.digest() == roster.digest());
            current.or_else(|| View::of(roster).map(Arc::new))
        });
        match view {
            Some(view) => unheard.intersection(&view.partners(&self.me)).count(),
            None => unheard.len(),
        }
    }

    /// So many boards unheard may together be all that acknowledged a write, but for this one,
    /// which counts as one of them when it lost what it held.
    fn unheard_harmful(&self) -> usize {
        let lost = usize::from(self.is_emptied_by_damage());
        self.write_quorum().saturating_sub(lost).max(1)
    }

    /// This copy may lack acknowledged writes. Every acknowledged write lies on a write quorum of
    /// boards, so with fewer than that unheard at least one of its boards has been heard.
    pub(in crate::proto::board) fn is_behind(&self) -> bool {
        let unheard = &self.membership.unheard;
        (self.membership.resumed && self.unheard_partners() >= self.unheard_harmful())
            || (self.membership.was_split && unheard.iter().any(|id| self.is_present(id)))
    }

    /// Another board has been heard, or is gone: perhaps that was enough.
    pub(in crate::proto::board) fn heard_enough(&mut self) {
        let holders: BTreeSet<Id> = self.holder_ids().into_iter().collect();
        self.membership.unheard.retain(|id| holders.contains(id));
        if self.unheard_partners() < self.unheard_harmful() {
            self.membership.resumed = false;
            if self.is_emptied_by_damage() {
                self.doubt_ends();
            }
            let waits = self.membership.unheard.iter().any(|id| self.is_present(id));
            let split = self.absent_holders().len() >= self.write_quorum();
            self.membership.was_split &= waits || split;
        }
    }

    /// Discovery heard something.
    pub fn handle_hint(&mut self, now: Now, hint: &Hint) {
        if hint.cluster != self.settings.cluster_name || hint.kind == HintKind::ByeBye {
            return;
        }
        if self.phase == Phase::Departed || self.links.is_ourselves(&hint.endpoint) {
            return;
        }
        if self.is_passed_over(now, hint) {
            return;
        }
        if let SocketAddr::V6(v6) = hint.endpoint
            && v6.ip().is_unicast_link_local()
            && v6.scope_id() == 0
        {
            // It means something on one link only, and which one is not told.
            return;
        }
        if hint.node == self.me {
            if hint.endpoint != self.settings.endpoint {
                self.open_link(now, hint.endpoint, None);
            }
        } else {
            self.note_hint(now, hint.node, hint.endpoint);
            self.note_for_code(hint.node);
            self.follow_hint(now, hint.node);
        }
        self.settle(now);
    }

    fn note_hint(&mut self, now: Now, id: Id, endpoint: SocketAddr) {
        let heard = &mut self.membership.heard;
        if heard.len() >= limit::HINTS_MAX && !heard.contains_key(&id) {
            let oldest = heard
                .iter()
                .min_by_key(|(_, heard)| heard.at)
                .map(|(id, _)| *id);
            oldest.and_then(|id| heard.remove(&id));
        }
        // IPv4 is the address boards tell each other; IPv6 is for where there is nothing else.
        let fresh = |heard: &&Heard| now.time.since(heard.at) < HINT_LIFE;
        let known = heard.get(&id).filter(fresh).map(|heard| heard.endpoint);
        let endpoint = match known {
            Some(known) if known.is_ipv4() && endpoint.is_ipv6() => known,
            _ => endpoint,
        };
        let first = heard.get(&id).map_or(now.time, |heard| heard.first);
        let diskless = heard.get(&id).is_some_and(|heard| heard.diskless);
        heard.insert(
            id,
            Heard {
                endpoint,
                at: now.time,
                first,
                diskless,
            },
        );
    }

    fn follow_hint(&mut self, now: Now, id: Id) {
        match self.phase {
            Phase::Alone => self.rearm(now.time, Timer::Consider),
            Phase::Joined if !self.is_present(&id) => {
                let belongs = self.roster.as_ref().is_some_and(|roster| roster.has(&id));
                let greeter = self.pointers().successor_of(&id) == self.me;
                let wait = match belongs || greeter {
                    true => Duration::ZERO,
                    // It may well be a member far away: whoever is next to its place knows.
                    false if self.is_partial() => return,
                    false => self.jitter_ms(800, 2_000),
                };
                if !self.is_armed(Timer::Greet(id)) {
                    self.arm(now.time + wait, Timer::Greet(id));
                }
            }
            _ => {}
        }
    }

    /// Opens a link to a board that was heard of and is not in the ring yet.
    pub(super) fn greet(&mut self, now: Now, id: Id) {
        let endpoint = self.membership.hinted(&id);
        if let (Phase::Joined, false, Some(endpoint)) =
            (&self.phase, self.is_present(&id), endpoint)
        {
            if self.links.is_up(&id) {
                self.exchange(now, &id);
            } else if self.links.opening() < GREETS_MAX {
                self.open_link(now, endpoint, Some(id));
            }
        }
    }

    /// A board alone looks at what it has heard: probes, waits, or founds.
    pub(super) fn consider(&mut self, now: Now) {
        if self.membership.join_address.is_some() {
            // A call to join ends in time, whatever this board belongs to.
            match now.time >= self.membership.join_until {
                true => self.join_failed("the board there belongs to no ring that can be joined"),
                false => self.rearm(now.time + CONSIDER_PERIOD, Timer::Consider),
            }
        }
        if self.phase == Phase::Joined && self.membership.apart.is_returning() {
            self.own_standing(now);
        }
        if self.phase != Phase::Alone || self.membership.founding {
            return;
        }
        if self.membership.doubt.is_deep() {
            self.consider_doubt(now);
            return;
        }
        if self.handover.is_discarding() {
            self.rearm(now.time + CONSIDER_PERIOD, Timer::Consider);
            return;
        }
        self.rearm(now.time + CONSIDER_PERIOD, Timer::Consider);
        let wanted = self.roster.is_some();
        self.membership
            .heard
            .retain(|_, heard| wanted || now.time.since(heard.at) < HINT_LIFE);
        if self
            .membership
            .joining
            .is_some_and(|(_, at)| now.time.since(at) < JOIN_PATIENCE)
        {
            return;
        }
        self.membership.joining = None;
        if let Some(address) = self.membership.join_address {
            if !self.links.is_up_at(&address) {
                self.open_link(now, address, None);
            }
            return;
        }
        let lowest_first: Vec<(Id, Heard)> = self
            .membership
            .heard
            .iter()
            .map(|(id, heard)| (*id, heard.clone()))
            .collect();
        for (id, heard) in &lowest_first {
            if !self.links.is_up(id) && self.links.opening() < PROBES_MAX {
                self.open_link(now, heard.endpoint, Some(*id));
            }
        }
        let patient = |heard: &Heard| now.time.since(heard.first) < LOWER_PATIENCE;
        let lower = lowest_first
            .iter()
            .any(|(id, h)| !h.diskless && *id < self.me && (patient(h) || self.links.is_up(id)));
        let waited = now.time.since(self.membership.since);
        let delay = if wanted { LOWER_PATIENCE } else { FOUND_DELAY };
        if !lower
            && !self.is_diskless()
            && waited >= delay
            && (self.links.opening() == 0 || waited >= delay + OPENING_PATIENCE)
        {
            self.found_cluster();
        }
    }

    fn found_cluster(&mut self) {
        let cluster = Cluster {
            id: ClusterId(self.rng.random()),
            name: self.settings.cluster_name.clone(),
            copies: limit::COPIES_MAX as u8,
            points: self.settings.ring_mode.points(),
            mode: self.settings.ring_mode,
        };
        self.roster = Some(Roster::found(cluster, self.my_contact()).around(self.me));
        self.view = None;
        self.membership.founding = true;
        self.persist_roster();
    }

    /// The founder's roster could not be stored: it belongs to nothing as before.
    pub(in crate::proto::board) fn founding_failed(&mut self) -> bool {
        let failed = std::mem::take(&mut self.membership.founding);
        if failed {
            self.roster = None;
            self.view = None;
        }
        failed
    }

    /// The roster is on flash.
    pub(super) fn roster_is_durable(&mut self, now: Now) {
        if std::mem::take(&mut self.membership.founding) {
            let Some(roster) = &self.roster else { return };
            let id = roster.cluster().id;
            self.phase = Phase::Joined;
            self.membership.establish(now);
            self.pointers = None;
            self.out.events.push_back(Event::Founded(id));
            self.found_ring(now);
            for peer in self.links.peers() {
                self.push_roster(now, &peer, CallPurpose::Exchange);
            }
        }
        self.finish_leave(now);
    }

    /// A link is up: this is who is at the other end.
    pub(super) fn peer_up(&mut self, now: Now, remote: SocketAddr, hello: Hello) {
        let peer = hello.contact.id;
        self.routing.learn(hello.contact.clone());
        self.note_hint(
            now,
            peer,
            SocketAddr::new(remote.ip(), hello.contact.endpoint.port()),
        );
        match (self.phase.clone(), &hello.cluster) {
            (Phase::Alone, Some(_)) => self.ask_to_join(now, &peer),
            (Phase::Alone, None) => {
                if hello.doubtful {
                    self.meet_doubtful(now, &peer);
                }
                self.tell_diskless(now, &peer);
                self.rearm(now.time, Timer::Consider);
            }
            (Phase::Joined, theirs) => {
                let Some(roster) = self.roster.as_ref() else {
                    return;
                };
                let mine = roster.cluster().clone();
                if roster.has(&peer) {
                    self.member_up(now, &hello.contact);
                    self.hello_heard(&peer);
                    if self.membership.is_returning() {
                        self.hurry_handover(now);
                    }
                }
                match theirs {
                    Some(theirs) if theirs.id != mine.id => {
                        self.meet_other_cluster(now, &peer, &mine, theirs);
                    }
                    Some(_) if hello.view != self.knowledge() => self.exchange(now, &peer),
                    Some(_) => {}
                    None if self.is_stranded() => self.tell_diskless(now, &peer),
                    // It belongs to nothing: this is where it can join.
                    None => self.push_roster(now, &peer, CallPurpose::Exchange),
                }
            }
            _ => {}
        }
    }

    fn member_up(&mut self, now: Now, contact: &Contact) {
        let was_present = self.is_present(&contact.id);
        let newer = self
            .roster
            .as_mut()
            .is_some_and(|r| r.note_contact(contact.clone()));
        let peer = Peer {
            id: contact.id,
            boot: contact.boot,
            renewal: contact.renewal,
            endpoint: contact.endpoint,
        };
        self.detector.add(now.time, peer.clone());
        if !self.detector.is_alive(&contact.id) || !was_present {
            self.detector.announce(now.time, peer);
        }
        if newer {
            self.persist_roster();
        }
        self.membership.establish(now);
    }

    /// A member came back or was declared down: its answers are asked for again.
    pub(super) fn found(&mut self, now: Now, finding: Finding) {
        if matches!(finding, Finding::Up(_) | Finding::Down(_)) {
            self.count_absence(now);
        }
        match finding {
            Finding::Up(id) => {
                self.pointers = None;
                self.watch.up(now.time, id);
                self.together_with(now, &id);
                if self.roster.as_ref().is_some_and(|roster| roster.has(&id)) {
                    self.routing.heard_of(id);
                    self.out.events.push_back(Event::NodeUp(id));
                    if self.membership.apart.is_unconfirmed(&id) {
                        self.handover.note_lagging(id);
                    }
                    if self.is_holder(&id) {
                        self.copy_is_back(now, id);
                    }
                    self.rearm(now.time + Duration::from_millis(20), Timer::Ask);
                }
            }
            Finding::Down(id) if self.is_partial() && !self.is_neighbour(&id) => {
                self.pointers = None;
            }
            Finding::Down(id) => {
                self.pointers = None;
                self.watch.down(now.time, id);
                self.drop_link_to(now, &id);
                let standing = self.standing_of(&id);
                if standing != Some(Standing::Diskless) {
                    self.holder_down(id);
                }
                if standing.is_some_and(Standing::belongs) {
                    self.out.events.push_back(Event::NodeDown(id));
                    self.apart_from(now, id);
                    self.copy_gone(now, &id);
                    self.peer_failed(now, &id);
                    if self.is_holder(&id) {
                        self.want_handover(now);
                    }
                    self.membership.reconnect_ms = RECONNECT_MS.0;
                    self.rearm(now.time + Duration::from_millis(500), Timer::Reconnect);
                }
            }
            Finding::Renewed(_) => self.contact_changed(now),
            Finding::Suspected(id) => {
                if self.roster.as_ref().is_some_and(|roster| roster.has(&id)) {
                    self.out.events.push_back(Event::NodeSuspected(id));
                }
            }
            Finding::Voted(suspicion) => self.tell_of_suspicion(&suspicion),
        }
    }

    /// A board that holds copies (or did, or may) went down: what it had and heard is in doubt.
    fn holder_down(&mut self, id: Id) {
        self.membership.answered.remove(&id);
        self.membership.asked.remove(&id);
        self.membership.unheard.insert(id);
        if !self.is_diskless() {
            let split = self.absent_holders().len() >= self.write_quorum();
            self.membership.was_split |= split;
        }
        self.suspect_copies();
        self.collect_anew();
    }

    fn tell_of_suspicion(&mut self, suspicion: &Suspicion) {
        use super::outbox::{Route, Transmit};
        let bytes = Message::Suspect(suspicion.clone()).encode();
        // Every voter tells the same members, those from the suspect on, so that the votes meet.
        let mut members = self.present_others();
        let first = members.partition_point(|id| *id < suspicion.board.id);
        members.rotate_left(first);
        members.truncate(limit::SUSPECT_TOLD_MAX);
        for member in members {
            let contact = self
                .roster
                .as_ref()
                .and_then(|roster| roster.contact(&member));
            if let Some(contact) = contact {
                let to = Route::Datagram(contact.endpoint, member);
                self.out.transmits.push_back(Transmit {
                    to,
                    bytes: bytes.clone(),
                    after: None,
                });
            }
        }
    }

    /// Tries absent members again, ever less often.
    pub(super) fn reconnect(&mut self, now: Now) {
        if self.phase != Phase::Joined {
            return;
        }
        let mut absent: Vec<Id> = self.absent_members().into_iter().collect();
        if absent.is_empty() {
            return;
        }
        while absent.len() > PROBES_MAX * 8 {
            let pick = self.rng.random_range(0..absent.len());
            absent.swap_remove(pick);
        }
        for id in absent {
            let hinted = self.membership.hinted(&id);
            let contact = self
                .roster
                .as_ref()
                .and_then(|r| r.contact(&id))
                .map(|c| c.endpoint);
            for endpoint in hinted.into_iter().chain(contact).take(2) {
                if !self.links.is_up(&id) {
                    self.open_link(now, endpoint, Some(id));
                } else {
                    self.exchange(now, &id);
                }
            }
        }
        let wait = self.membership.reconnect_ms;
        self.membership.reconnect_ms = (wait * 2).min(RECONNECT_MS.1);
        let wait = self.jitter_ms(wait / 2, wait);
        self.rearm(now.time + wait, Timer::Reconnect);
    }

    /// A hinted board could not be reached.
    pub(super) fn hint_failed(&mut self, now: Now, id: Option<&Id>) {
        if let Some(id) = id.filter(|_| self.phase == Phase::Alone) {
            self.membership.heard.remove(id);
        }
        if self.phase == Phase::Alone {
            self.rearm(now.time, Timer::Consider);
        }
    }

    /// The board is in a ring.
    pub(super) fn check_ring(&self) -> Result<(), CallError> {
        self.check_store()?;
        match self.phase {
            Phase::Joined => Ok(()),
            Phase::Departed => Err(CallError::unavailable(
                "this board has left its ring; bring it back with `roundel join ADDRESS`",
            )),
            _ => Err(CallError::unavailable(
                "this board is in no ring yet; it is looking for others, try again in a second",
            )),
        }
    }

    pub(super) fn check_store(&self) -> Result<(), CallError> {
        match &self.phase {
            Phase::Starting => Err(CallError::unavailable(
                "the board is starting; try again in a second",
            )),
            Phase::Failed(reason) => Err(CallError::unavailable(format!(
                "the store cannot be used: {reason}; see `roundel status`"
            ))),
            _ => Ok(()),
        }
    }
}
