//! The board: the composite machine that joins roster, ring, detector, placement and replication.
//! What the driver runs on flash is what the simulator runs in memory.
//!
//! Start: [`Board::new`], then [`Board::handle_opened`] with what the store holds. With a roster
//! on flash the board is back in its ring at once and looks for the others; without one it
//! listens for hints, and the lowest id among boards that belong to nothing founds
//! (`membership.rs`). Steady state: client calls become operations on the copies
//! (`operation.rs`, `copy.rs`), rosters are exchanged when they differ (`gossip.rs`), items that
//! lie in the wrong place are handed over (`handover.rs`). Distress: absent boards keep their
//! place; operations go on with hints. End: an orderly leave hands everything over, or the board
//! simply stops and is absent.
//!
//! Polling order: after any `handle_*`, drain `poll_store`, `poll_load`, `poll_link`,
//! `poll_transmit`, `poll_reply`, `poll_relayed`, `poll_event`, then sleep until `poll_timeout`.

mod code;
mod collect;
mod copy;
mod fingerprint;
mod gossip;
mod handover;
mod key;
mod link;
mod membership;
mod operation;
mod outbox;
mod overview;
mod owner;
mod pace;
mod pointers;
mod rotation;
mod routing;
mod scan;
#[cfg(test)]
mod scenario;
#[cfg(test)]
mod scenario_absence;
#[cfg(test)]
mod scenario_code;
#[cfg(test)]
mod scenario_diskless;
#[cfg(test)]
mod scenario_doubt;
#[cfg(test)]
mod scenario_fingerprint;
#[cfg(test)]
mod scenario_key;
#[cfg(test)]
mod scenario_owner;
#[cfg(test)]
mod scenario_partial;
#[cfg(test)]
mod scenario_repair;
#[cfg(test)]
mod scenario_return;
#[cfg(test)]
mod scenario_review;
mod sync;
#[cfg(test)]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use self::link::LinkEvent;
pub use self::outbox::{Answer, LinkCommand, LinkId, Outbox, RelayedRequest, Route, Transmit};
use crate::base::call::{Call, CallError, CallId, Event, LeaveMode, Reply};
use crate::base::endpoint::{Name, SocketAddr};
use crate::base::id::Id;
use crate::base::item::Key;
use crate::base::member::{Contact, Life, RingMode};
use crate::base::owner::Credential;
use crate::base::rng::{Rng, RngExt};
use crate::base::store::{Batch, Load, LoadId, Loaded, META_DAMAGE, Outcome, StoreError, StoreId};
use crate::base::time::{Now, Time, WallTime};
use crate::base::version::{Stamp, Version};
use crate::proto::clock::hybrid::Hybrid;
use crate::proto::clock::others::Others;
use crate::proto::detector::strategy::Strategy;
use crate::proto::detector::{Detector, Peer};
use crate::proto::fingerprint::Fingerprint;
use crate::proto::keyring::{Keys, Origin};
use crate::proto::placement::View;
use crate::proto::ring::Pointers;
use crate::proto::ring::structure::Structure;
use crate::proto::roster::{Roster, RosterError};
use crate::proto::session::datagram::{Datagrams, Party};
use crate::security::identity::Signer;
use crate::wire::peer::{Message, SyncRequest};

/// A board that has just started is compared with others after this, unless something asks first.
const SYNC_DELAY: Duration = Duration::from_secs(10);

/// Meta name of the roster.
pub const META_ROSTER: &str = "roster";

/// What a board is started with.
pub struct Settings {
    /// What people call it.
    pub name: Name,
    /// Only boards of this cluster name meet.
    pub cluster_name: Name,
    /// Its own address and port.
    pub endpoint: SocketAddr,
    /// Durable count of its starts.
    pub boot: u64,
    /// Drawn for this start.
    pub life: Life,
    /// Its software version.
    pub version: String,
    /// How it addresses its neighbours.
    pub structure: Box<dyn Structure>,
    /// How the ring is computed, if this board founds it; a joiner takes the ring's.
    pub ring_mode: RingMode,
    /// When it takes another board for suspect; each detector gets a fresh one of its kind.
    pub suspicion: Box<dyn Strategy>,
    /// Members absent for this long are given up, if a majority of the roster says so.
    pub grace_time: Duration,
    /// How long every board must have confirmed a tombstone before it goes
    /// ([`limit::TOMBSTONE_AGE`](crate::base::limit::TOMBSTONE_AGE) unless configured).
    pub tombstone_age: Duration,
    /// Why it has nothing to keep copies on, in words; none: it keeps them.
    pub diskless: Option<String>,
    /// Where its keys come from.
    pub keys: Origin,
}

/// How far the board is with belonging to a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// The store is not open yet.
    Starting,
    /// The store cannot be opened; the board serves nothing.
    Failed(String),
    /// It belongs to nothing and looks for a ring.
    Alone,
    /// It belongs (its standing is in the roster).
    Joined,
    /// It left and waits to be told otherwise.
    Departed,
}

/// What is due at a time; handlers look at the state and do nothing when it has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    LinkOpen(LinkId),
    LinkIdle,
    Operation(u64),
    RingCall(u64),
    Consider,
    Greet(Id),
    Reconnect,
    Gossip,
    Flush,
    Handover,
    Ask,
    LeaveDeadline,
    Persist,
    Tick,
    Enter,
    GiveUp,
    Pace,
    AntiEntropy,
    Comparison(u64),
    HintReview,
    Keys,
    Keep,
    Rotation,
    Code,
}

/// What a load was for.
#[derive(Clone, Debug)]
enum LoadPurpose {
    LocalRead(u64),
    PeerRead {
        from: Id,
        operation: u64,
    },
    List(CallId),
    PeerList {
        from: Id,
        call: u64,
    },
    ScanLocal(u64),
    HandoverPage,
    Compare {
        task: u64,
        position: u32,
    },
    SyncBegin(u64),
    SyncAnswer {
        from: Id,
        operation: u64,
        body: Box<SyncRequest>,
    },
    TombstoneCount,
    TombstonePage,
}

/// As what a write was accepted here.
#[derive(Clone, Debug)]
struct Accepted {
    /// Under this key.
    key: Key,
    /// Kept for an absent board.
    hint: bool,
    /// What the key's copies agreed on then ([`View::agreement`]).
    view: u64,
}

/// What a store was for.
#[derive(Clone, Debug)]
enum StorePurpose {
    LocalWrite {
        operation: u64,
        attempt: u32,
        accepted: Accepted,
    },
    PeerWrite {
        from: Id,
        operation: u64,
        accepted: Accepted,
    },
    Roster,
    Dropped(usize),
    Collected,
    /// What the store carries about damage to it.
    Mark,
}

/// One board.
pub struct Board {
    settings: Settings,
    signer: Box<dyn Signer>,
    me: Id,
    rng: Rng,
    started: Time,
    out: Outbox,
    timers: BTreeSet<(Time, Timer)>,
    phase: Phase,
    roster: Option<Roster>,
    view: Option<Arc<View>>,
    pointers: Option<Arc<Pointers>>,
    detector: Detector,
    clock: Hybrid,
    /// What the others' clocks say.
    others: Others,
    loads: BTreeMap<LoadId, LoadPurpose>,
    stores: BTreeMap<StoreId, StorePurpose>,
    links: link::Links,
    keys: Keys,
    /// The owner's credential, as far as this board knows.
    owner: Option<Credential>,
    keeping: key::Keeping,
    rotation: Option<rotation::Rotation>,
    coding: code::Coding,
    fingerprint: Fingerprint,
    fingerprint_basis: Option<fingerprint::Basis>,
    datagrams: Datagrams,
    gossip: gossip::Gossip,
    membership: membership::Membership,
    operations: operation::Operations,
    compares: copy::Compares,
    handover: handover::Handover,
    pace: pace::Pace,
    sync: sync::Sync,
    collect: collect::Collect,
    scans: scan::Scans,
    watch: overview::Watch,
    routing: routing::Routing,
    finger_next: u32,
}

impl Board {
    /// A board whose store is not open yet.
    pub fn new(mut settings: Settings, signer: Box<dyn Signer>, now: Now, mut rng: Rng) -> Self {
        let me = signer.id();
        let origin = std::mem::take(&mut settings.keys);
        let party = Party {
            id: me,
            life: settings.life,
        };
        let peer = Peer {
            id: me,
            boot: settings.boot,
            renewal: 0,
            endpoint: settings.endpoint,
        };
        let detector_seed: [u8; 32] = rng.random();
        Board {
            detector: Detector::new(
                peer,
                crate::base::rng::seeded(detector_seed, 1),
                settings.suspicion.fresh(),
            ),
            owner: None,
            keys: Keys::new(origin, now.time, [rng.random(), rng.random()]),
            keeping: key::Keeping::default(),
            rotation: None,
            coding: code::Coding::default(),
            fingerprint: Fingerprint::new(me, crate::base::rng::seeded(detector_seed, 2)),
            fingerprint_basis: None,
            datagrams: Datagrams::new(party),
            settings,
            signer,
            me,
            rng,
            started: now.time,
            out: Outbox::default(),
            timers: BTreeSet::new(),
            phase: Phase::Starting,
            roster: None,
            view: None,
            pointers: None,
            clock: Hybrid::default(),
            others: Others::default(),
            loads: BTreeMap::new(),
            stores: BTreeMap::new(),
            links: link::Links::default(),
            gossip: gossip::Gossip::default(),
            membership: membership::Membership::default(),
            operations: operation::Operations::default(),
            compares: copy::Compares::default(),
            handover: handover::Handover::default(),
            pace: pace::Pace::default(),
            sync: sync::Sync::default(),
            collect: collect::Collect::default(),
            scans: scan::Scans::default(),
            watch: overview::Watch::default(),
            routing: routing::Routing::new(me),
            finger_next: 0,
        }
    }

    /// The store is open: these are the metas and the high-water stamp it holds.
    pub fn handle_opened(
        &mut self,
        now: Now,
        metas: impl IntoIterator<Item = (String, Bytes)>,
        high_water: Option<Stamp>,
    ) {
        if let Some(stamp) = high_water {
            self.clock = Hybrid::restored(stamp);
        }
        let mut metas: BTreeMap<String, Bytes> = metas.into_iter().collect();
        let damage = metas.remove(META_DAMAGE);
        let roster = metas.remove(META_ROSTER).map(|bytes| {
            let (roster, note) = Roster::from_bytes(&bytes)?;
            self.membership.restore_note(note);
            Ok::<Roster, RosterError>(roster)
        });
        match roster.transpose() {
            Ok(roster) => self.begin(now, roster, damage),
            Err(error) => self.phase = Phase::Failed(error.to_string()),
        }
        self.arm(now.time + link::SWEEP_PERIOD, Timer::LinkIdle);
        self.arm(now.time + SYNC_DELAY, Timer::AntiEntropy);
        self.settle(now);
    }

    /// The store cannot be opened; the reason is shown to whoever asks.
    pub fn handle_open_failed(&mut self, reason: String) {
        self.phase = Phase::Failed(reason);
    }

    /// A datagram that is a frame. Anything but a SWIM packet or a part of the fingerprint, of a
    /// known member and with a tag that verifies, is dropped.
    pub fn handle_datagram(&mut self, now: Now, bytes: &[u8]) {
        match self.open_datagram(bytes) {
            Some((
                peer,
                Message::Swim {
                    view,
                    wall_ms,
                    packet,
                },
            )) if self.phase == Phase::Joined => {
                self.others.note(now.time, peer, WallTime(wall_ms));
                match &self.roster {
                    Some(roster) if self.is_partial() => {
                        let concern = |id: &Id| roster.has(id);
                        (self.detector).handle_packet_about(now.time, &peer, &packet, concern);
                    }
                    _ => self.detector.handle_packet(now.time, &peer, &packet),
                }
                self.view_heard(now, &peer, view);
            }
            Some((from, Message::Suspect(suspicion))) if self.phase == Phase::Joined => {
                self.detector.handle_suspicion(now.time, &from, &suspicion);
            }
            Some((from, Message::Mark(note))) if self.phase == Phase::Joined => {
                self.fingerprint.handle_note(now.time, &from, &note);
            }
            _ => self.watch.count("datagrams_dropped"),
        }
        self.settle(now);
    }

    /// A client's call.
    pub fn handle_call(&mut self, now: Now, id: CallId, call: Call) {
        self.watch.count("calls");
        match self.dispatch(now, id, call) {
            Ok(Some(reply)) => self.out.answer(id, Ok(reply)),
            Ok(None) => {}
            Err(error) => self.out.answer(id, Err(error)),
        }
        self.settle(now);
    }

    fn dispatch(&mut self, now: Now, id: CallId, call: Call) -> Result<Option<Reply>, CallError> {
        match call {
            Call::Overview => Ok(Some(self.overview(now))),
            Call::Join { sponsor } => self.join(now, id, sponsor),
            Call::Put {
                key,
                value,
                consistency,
            } => self.put(now, id, key, Some(value), consistency),
            Call::Remove { key, consistency } => self.remove(now, id, key, consistency),
            Call::Get { key, consistency } => self.get(now, id, key, consistency),
            Call::ListItems(page) => self.list(id, page),
            Call::ScanItems(page) => self.scan(now, id, page),
            Call::FindSuccessor(Some(target)) if self.is_partial() => {
                self.look_up(id, target, true)
            }
            Call::FindPredecessor(Some(target)) if self.is_partial() => {
                self.look_up(id, target, false)
            }
            Call::Stabilize if self.is_partial() => self.stabilize_partial(id),
            Call::FixFingers if self.is_partial() => self.fix_finger_partial(id),
            Call::FindSuccessor(target) => self.find(target, true).map(Some),
            Call::FindPredecessor(target) => self.find(target, false).map(Some),
            Call::Fingers => self.fingers().map(Some),
            Call::Stabilize => self.stabilize(now).map(Some),
            Call::InitFingers => self.init_fingers().map(Some),
            Call::FixFingers => self.fix_fingers().map(Some),
            Call::Notify { node } => self.notified_by(node).map(Some),
            Call::Leave(LeaveMode::Orderly) => self.leave(now, Some(id)),
            Call::Leave(LeaveMode::Immediate) => self.leave_immediately(now).map(Some),
            Call::Forget { id } => self.forget(now, &id).map(Some),
            Call::KeyState => Ok(Some(self.key_state(now))),
            Call::Accept { id } => self.accept(now, id).map(Some),
            Call::MakeCode => self.make_code(now).map(Some),
            Call::EnterCode { code } => self.enter_code(now, id, code),
            Call::Confirm { seen } => self.confirm(now, id, seen),
            Call::Rotate { without } => self.rotate(now, id, without),
            Call::Relay { dest, request } => self.relay(now, id, dest, request),
        }
    }

    /// The answer to a [`Load`].
    pub fn handle_loaded(&mut self, now: Now, id: LoadId, result: Result<Loaded, StoreError>) {
        let Some(purpose) = self.loads.remove(&id) else {
            return;
        };
        match purpose {
            LoadPurpose::LocalRead(operation) => self.local_read(now, operation, result),
            LoadPurpose::PeerRead { from, operation } => {
                self.answer_read(now, from, operation, result);
            }
            LoadPurpose::List(call) => self.listed(call, result),
            LoadPurpose::PeerList { from, call } => self.answer_list(now, from, call, result),
            LoadPurpose::ScanLocal(scan) => self.scanned_here(now, scan, result),
            LoadPurpose::HandoverPage => self.handover_page(now, result),
            LoadPurpose::Compare { task, position } => self.compared(now, task, position, result),
            LoadPurpose::SyncBegin(operation) => self.sync_begins(now, operation, result),
            LoadPurpose::SyncAnswer {
                from,
                operation,
                body,
            } => self.answer_sync(now, from, operation, &body, result),
            LoadPurpose::TombstoneCount => self.tombstones_counted(result),
            LoadPurpose::TombstonePage => self.tombstones_loaded(now, result),
        }
        self.settle(now);
    }

    /// The answer to a [`Batch`].
    pub fn handle_stored(
        &mut self,
        now: Now,
        id: StoreId,
        result: Result<Vec<Outcome>, StoreError>,
    ) {
        let Some(purpose) = self.stores.remove(&id) else {
            return;
        };
        let first = result.map(|outcomes| outcomes.first().copied().unwrap_or(Outcome::Stored));
        match purpose {
            StorePurpose::LocalWrite {
                operation,
                attempt,
                accepted,
            } => {
                self.item_stored(now, accepted);
                self.local_write(now, operation, attempt, first);
            }
            StorePurpose::PeerWrite {
                from,
                operation,
                accepted,
            } => {
                self.item_stored(now, accepted);
                self.answer_write(now, from, operation, first);
            }
            StorePurpose::Roster => self.roster_stored(now, first.map(|_| ())),
            StorePurpose::Dropped(count) => self.dropped(now, first.is_ok(), count),
            StorePurpose::Collected | StorePurpose::Mark => {}
        }
        self.settle(now);
    }

    /// Runs what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.phase != Phase::Departed {
            self.detector.handle_timeout(now.time);
        }
        self.fingerprint.handle_timeout(now.time);
        while let Some(&(at, timer)) = self.timers.first() {
            if at > now.time {
                break;
            }
            self.timers.pop_first();
            match timer {
                Timer::LinkOpen(link) => self.link_open_late(now, link),
                Timer::LinkIdle => self.sweep_links(now),
                Timer::Operation(operation) => self.operation_late(now, operation),
                Timer::RingCall(call) => self.ring_call_late(now, call),
                Timer::Consider => self.consider(now),
                Timer::Greet(id) => self.greet(now, id),
                Timer::Reconnect => self.reconnect(now),
                Timer::Gossip => self.gossip_round(now),
                Timer::Flush => self.flush_changes(now),
                Timer::Handover => self.start_handover(now),
                Timer::Ask => self.ask_holders(now),
                Timer::LeaveDeadline => self.leave_late(now),
                Timer::Persist => self.persist_roster(),
                Timer::Tick => self.tick_ring(now),
                Timer::Enter => self.enter_ring(now),
                Timer::GiveUp => self.give_up_due(now),
                Timer::Pace => self.advance_pass(now),
                Timer::HintReview => self.want_handover(now),
                Timer::AntiEntropy => self.sync_round(now),
                Timer::Comparison(operation) => self.comparison_late(now, operation),
                Timer::Keys => self.keys_due(now),
                Timer::Keep => self.keep_due(),
                Timer::Rotation => self.rotation_due(now),
                Timer::Code => self.code_due(now),
            }
        }
        self.settle(now);
    }

    /// The driver's loop ran this late: suspicions are given more time.
    pub fn handle_lag(&mut self, now: Now, lag: Duration) {
        self.detector.note_lag(now.time, lag);
    }

    /// The board is now reached at another address.
    pub fn handle_endpoint(&mut self, now: Now, endpoint: SocketAddr) {
        if self.settings.endpoint != endpoint {
            self.settings.endpoint = endpoint;
            // Streams from the old address lead nowhere and would not say so for minutes.
            self.drop_links(now);
            self.detector.set_endpoint(now.time, endpoint);
            self.contact_changed(now);
        }
        self.settle(now);
    }

    /// What to read.
    pub fn poll_load(&mut self) -> Option<(LoadId, Load)> {
        self.out.loads.pop_front()
    }

    /// What must become durable.
    pub fn poll_store(&mut self) -> Option<(StoreId, Batch)> {
        self.out.stores.pop_front()
    }

    /// Which streams to open and close.
    pub fn poll_link(&mut self) -> Option<LinkCommand> {
        self.out.links.pop_front()
    }

    /// What to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.transmits.pop_front()
    }

    /// The next reply to a call.
    pub fn poll_reply(&mut self) -> Option<Answer> {
        self.out.answers.pop_front()
    }

    /// The next request another board relayed to this one's service.
    pub fn poll_relayed(&mut self) -> Option<RelayedRequest> {
        self.out.relayed.pop_front()
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.out.events.pop_front()
    }

    /// When [`Board::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        let own = self.timers.first().map(|(at, _)| *at);
        // A board that has left probes nobody.
        let detector = self.detector.poll_timeout();
        let detector = detector.filter(|_| self.phase != Phase::Departed);
        let fingerprint = self.fingerprint.poll_timeout();
        (own.into_iter().chain(detector).chain(fingerprint)).min()
    }

    /// This board's id.
    pub fn id(&self) -> Id {
        self.me
    }

    /// Breaks loudly when the board contradicts itself.
    ///
    /// # Panics
    /// When an invariant of ours is broken.
    pub fn check_invariants(&self) {
        if self.phase == Phase::Joined {
            let roster = self.roster.as_ref().expect("a joined board has a roster");
            assert!(
                roster.entry(&self.me).is_some(),
                "a joined board is in its own roster"
            );
            assert_eq!(
                roster.cluster().name,
                self.settings.cluster_name,
                "a board joins only its own cluster"
            );
        }
        self.links.check_invariants();
        self.operations.check_invariants();
        self.sync.check_invariants();
        if self.is_partial() {
            self.routing.ring.check_invariants();
        }
    }

    /// Carries findings of the detector into the board after every input.
    fn settle(&mut self, now: Now) {
        while let Some(finding) = self.detector.poll_finding() {
            self.found(now, finding);
        }
        self.settle_ring(now);
        self.settle_fingerprint(now);
        self.answer_guests(now);
        while let Some((id, to, packet)) = self.detector.poll_transmit() {
            let view = self.knowledge();
            let wall_ms = now.wall.0;
            let bytes = Message::Swim {
                view,
                wall_ms,
                packet,
            }
            .encode();
            self.out.transmits.push_back(Transmit {
                to: Route::Datagram(to, id),
                bytes,
                after: None,
            });
        }
        if cfg!(debug_assertions) {
            self.check_invariants();
        }
    }

    fn arm(&mut self, at: Time, timer: Timer) {
        self.timers.insert((at, timer));
    }

    /// Arms a timer of which there is one.
    fn rearm(&mut self, at: Time, timer: Timer) {
        self.timers.retain(|(_, other)| *other != timer);
        self.timers.insert((at, timer));
    }

    fn is_armed(&self, timer: Timer) -> bool {
        self.timers.iter().any(|(_, other)| *other == timer)
    }

    /// The placement of the roster as it is, laid out when first asked for.
    fn view(&mut self) -> Option<Arc<View>> {
        let roster = self.roster.as_ref()?;
        if self
            .view
            .as_ref()
            .is_none_or(|view| view.digest() != roster.digest())
        {
            self.view = View::of(roster).map(Arc::new);
        }
        self.view.clone()
    }

    /// What the boards that operate on these keys together must agree on.
    fn agreement<'a>(&mut self, keys: impl IntoIterator<Item = &'a Key>) -> u64 {
        let points: Vec<Id> = keys.into_iter().map(Key::point).collect();
        match self.view() {
            Some(view) => view.agreement(&points),
            None => self.roster_digest(),
        }
    }

    fn roster_digest(&self) -> u64 {
        self.roster.as_ref().map_or(0, Roster::digest)
    }

    /// What [`Roster::knowledge`] says; 0 without a roster.
    fn knowledge(&self) -> u64 {
        self.roster.as_ref().map_or(0, Roster::knowledge)
    }

    /// The stamp is further ahead than a clock that is right can be.
    fn is_future(&self, now: Now, stamp: Stamp) -> bool {
        self.clock.is_future(stamp, now, &self.others)
    }

    /// Another board than the one that drew it has taken a version as late as this.
    fn is_taken(&self, version: &Version) -> bool {
        version.node != self.me || !self.clock.is_untested(version.stamp)
    }

    fn my_contact(&self) -> Contact {
        Contact {
            id: self.me,
            name: self.settings.name.clone(),
            boot: self.settings.boot,
            life: self.settings.life,
            renewal: self.detector.me().renewal,
            endpoint: self.settings.endpoint,
            version: self.settings.version.clone(),
        }
    }

    /// Belongs to the roster and is alive.
    fn is_present(&self, id: &Id) -> bool {
        let belongs = self.roster.as_ref().is_some_and(|roster| roster.has(id));
        // Members answer no probes of a board that was struck off, but speak with it on links.
        let speaks = self.membership.is_returning() && self.links.is_up(id);
        belongs && (self.detector.is_alive(id) || speaks)
    }

    fn member_ids(&self) -> Vec<Id> {
        self.roster
            .iter()
            .flat_map(Roster::members)
            .map(|entry| entry.id)
            .collect()
    }

    /// Every other member that is alive.
    fn present_others(&self) -> Vec<Id> {
        let others = self.member_ids();
        others
            .into_iter()
            .filter(|id| *id != self.me && self.is_present(id))
            .collect()
    }

    fn absent_members(&self) -> BTreeSet<Id> {
        self.member_ids()
            .into_iter()
            .filter(|id| !self.is_present(id))
            .collect()
    }

    /// The board holds copies, or is about to: it counts in quorums and majorities.
    fn is_holder(&self, id: &Id) -> bool {
        self.roster.as_ref().is_some_and(|r| r.is_holder(id))
    }

    fn holder_ids(&self) -> Vec<Id> {
        self.roster
            .iter()
            .flat_map(Roster::holders)
            .map(|entry| entry.id)
            .collect()
    }

    /// Every other holder that is alive.
    fn present_holders(&self) -> Vec<Id> {
        let mut present = self.present_others();
        present.retain(|id| self.is_holder(id));
        present
    }

    fn absent_holders(&self) -> BTreeSet<Id> {
        let mut absent = self.absent_members();
        absent.retain(|id| self.is_holder(id));
        absent
    }

    fn jitter_ms(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.rng.random_range(low..=high))
    }
}
