//! How rosters travel: pushed when they change, compared by digest when two boards meet, and
//! compared with a random member now and then.
//!
//! Whoever makes a change sends it to every live member. Whoever is told something merges it; if
//! the two rosters still differ the answer is its whole state, so a pair of boards converges in
//! one exchange. Each probe carries the sender's digest, so that a board that missed a change
//! finds out within a probe or two. A change is on this board's flash before any message that
//! follows from it leaves (`after` of a transmit).
//!
//! In mode `partial` neighbours' rosters differ by design: digests in probes say nothing there, and
//! a board is told only what its own neighbourhood lacks.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::{Board, META_ROSTER, Phase, StorePurpose, Timer};
use crate::base::call::{CallError, CallId, Event};
use crate::base::endpoint::SocketAddr;
use crate::base::id::Id;
use crate::base::member::{Cluster, Entry, RingMode, Standing};
use crate::base::pointer::AskId;
use crate::base::rng::RngExt;
use crate::base::store::{Batch, Change, StoreError, StoreId};
use crate::base::time::{Now, Time};
use crate::proto::detector::Peer;
use crate::proto::roster::{Changes, Roster};
use crate::wire::peer::{Message, RingCall, RingReply, RosterState};

/// Changes made within this time travel together.
const FLUSH_DELAY: Duration = Duration::from_millis(5);
/// A random member's digest is compared this often when all is quiet.
const QUIET_PERIOD_MS: (u64, u64) = (8_000, 12_000);
/// And this often while boards are joining or leaving.
const BUSY_PERIOD_MS: (u64, u64) = (300, 600);
/// A probe that shows another roster makes the two be exchanged, when this board's has not changed
/// for so long (news may be on its way) and no more often.
const HEARD_DELAY: Duration = Duration::from_millis(150);
/// A roster that could not be stored is stored again after this.
const PERSIST_RETRY_TIME: Duration = Duration::from_secs(1);
/// A ring call is answered within this.
pub(super) const RING_CALL_TIME: Duration = Duration::from_millis(1_500);

/// Boards that enter this ring from another: they have been members before, and not here.
fn strangers(roster: &Roster, state: &RosterState) -> Vec<Id> {
    let enters = |entry: &&Entry| {
        matches!(entry.standing, Standing::Joining | Standing::Diskless)
            && entry.generation > 1
            && roster.entry(&entry.id).is_none()
    };
    let entries = state.entries.iter().filter(enters);
    entries.map(|entry| entry.id).collect()
}

/// Why a ring call was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CallPurpose {
    Join,
    Exchange,
    GiveUp,
    /// A copy refused an operation because its roster differs.
    ExchangeFor(u64),
    List {
        scan: u64,
    },
    /// A step of the walk before a scan.
    Walk {
        scan: u64,
    },
    Relay(CallId),
    /// A question of the machine of mode `partial`.
    Ask(AskId),
    /// An operation handed to the board that coordinates it.
    Operate(u64),
}

#[derive(Debug)]
struct Pending {
    to: Id,
    purpose: CallPurpose,
}

/// Roster traffic of a board.
#[derive(Debug, Default)]
pub(super) struct Gossip {
    calls: BTreeMap<u64, Pending>,
    unsent: Changes,
    storing: Option<StoreId>,
    dirty: bool,
    /// When the roster last changed, or was last exchanged because a probe showed another.
    moved: Time,
}

impl Board {
    /// Makes a ring call; its reply, failure or lateness comes to [`Board::ring_call_done`].
    pub(super) fn ring_call(&mut self, now: Now, to: &Id, body: RingCall, purpose: CallPurpose) {
        let call = self.out.draw();
        self.gossip.calls.insert(call, Pending { to: *to, purpose });
        self.arm(now.time + RING_CALL_TIME, Timer::RingCall(call));
        let after = self.gossip.storing;
        self.send_after(now, to, &Message::RingCall { call, body }, after);
    }

    pub(super) fn ring_call_late(&mut self, now: Now, call: u64) {
        if let Some(pending) = self.gossip.calls.remove(&call) {
            self.ring_call_done(now, pending.to, pending.purpose, None);
        }
    }

    pub(super) fn ring_reply(&mut self, now: Now, from: Id, call: u64, body: RingReply) {
        match self.gossip.calls.remove(&call) {
            Some(pending) if pending.to == from => {
                self.ring_call_done(now, from, pending.purpose, Some(body));
            }
            Some(pending) => {
                self.gossip.calls.insert(call, pending);
            }
            None => self.watch.count("replies_late"),
        }
    }

    /// Calls to a board that cannot be reached fail.
    pub(super) fn fail_ring_calls(&mut self, now: Now, peer: &Id) {
        let failed: Vec<u64> = self
            .gossip
            .calls
            .iter()
            .filter(|(_, c)| c.to == *peer)
            .map(|(id, _)| *id)
            .collect();
        for call in failed {
            self.ring_call_late(now, call);
        }
    }

    fn ring_call_done(
        &mut self,
        now: Now,
        from: Id,
        purpose: CallPurpose,
        reply: Option<RingReply>,
    ) {
        match (purpose, reply) {
            (CallPurpose::Join, reply) => self.join_answered(now, from, reply),
            (CallPurpose::Exchange, Some(RingReply::Roster(state))) => {
                self.roster_answered(now, &from, state);
            }
            (CallPurpose::ExchangeFor(operation), reply) => {
                if let Some(RingReply::Roster(state)) = reply {
                    self.roster_answered(now, &from, state);
                }
                self.operation_again(now, operation);
            }
            (CallPurpose::List { scan }, reply) => self.scanned_there(now, from, scan, reply),
            (CallPurpose::Relay(call), Some(RingReply::Relayed(answer))) => {
                self.out
                    .answer(call, Ok(crate::base::call::Reply::Relayed(answer)));
            }
            (CallPurpose::Relay(call), Some(RingReply::Refused(reason))) => {
                self.out.answer(call, Err(CallError::unavailable(reason)));
            }
            (CallPurpose::Relay(call), _) => {
                let reason = format!("board {} does not answer; try again", from.short());
                self.out.answer(call, Err(CallError::unavailable(reason)));
            }
            (CallPurpose::Walk { scan }, reply) => self.walked(now, from, scan, reply),
            (CallPurpose::Ask(ask), reply) => self.told(ask, reply),
            (CallPurpose::Operate(operation), reply) => self.operated(now, operation, reply),
            (CallPurpose::Exchange | CallPurpose::GiveUp, _) => {}
        }
    }

    /// A ring call of another board.
    pub(super) fn answer_ring_call(&mut self, now: Now, from: Id, call: u64, body: RingCall) {
        let reply = match body {
            RingCall::Join {
                generation,
                cluster,
                diskless,
            } => self.admit(now, from, (generation, cluster), diskless),
            RingCall::Roster { state, digest } => {
                self.roster_heard(now, &from, &state, digest, false);
                self.state_unless(digest, Some(&state.cluster))
            }
            RingCall::Digest(digest) => self.state_unless(digest, None),
            RingCall::GiveUp { board, generation } => {
                self.give_up_voted(now, from, board, generation)
            }
            RingCall::List {
                prefix,
                after,
                limit,
            } => {
                self.load_list(from, call, prefix, after, limit);
                return;
            }
            RingCall::Relay(request) => {
                let token = self.scans.relayed(from, call);
                let request = super::RelayedRequest { token, request };
                self.out.relayed.push_back(request);
                return;
            }
            RingCall::Ask { cluster, request } => self.answer_ask(&from, cluster, request),
            RingCall::Operate(operate) => match self.operate_for(now, from, call, operate) {
                Some(refused) => RingReply::Operated(refused),
                None => return,
            },
        };
        let after = self.gossip.storing;
        self.send_after(now, &from, &Message::RingReply { call, body: reply }, after);
    }

    fn state_unless(&self, digest: u64, theirs: Option<&Cluster>) -> RingReply {
        match &self.roster {
            // The lower cluster survives: a board of the higher one is about to ask to join.
            Some(roster) if theirs.is_some_and(|it| it.id < roster.cluster().id) => RingReply::Same,
            Some(roster) if self.phase == Phase::Joined && roster.knowledge() != digest => {
                RingReply::Roster(roster.state())
            }
            _ => RingReply::Same,
        }
    }

    /// Compares rosters with a board.
    pub(super) fn exchange(&mut self, now: Now, with: &Id) {
        let digest = self.knowledge();
        self.ring_call(now, with, RingCall::Digest(digest), CallPurpose::Exchange);
    }

    /// A probe says which roster its sender has.
    pub(super) fn view_heard(&mut self, now: Now, from: &Id, view: u64) {
        if self.is_partial() {
            // Neighbours' rosters differ by design.
            return;
        }
        let due = now.time.since(self.gossip.moved) >= HEARD_DELAY;
        if due && view != self.knowledge() {
            self.gossip.moved = now.time;
            self.watch.count("views_heard");
            self.exchange(now, from);
        }
    }

    /// Sends the whole roster to a board and takes its answer.
    pub(super) fn push_roster(&mut self, now: Now, to: &Id, purpose: CallPurpose) {
        if let Some(roster) = &self.roster {
            let body = RingCall::Roster {
                state: roster.state(),
                digest: roster.knowledge(),
            };
            self.ring_call(now, to, body, purpose);
        }
    }

    fn roster_answered(&mut self, now: Now, from: &Id, state: RosterState) {
        let digest = Roster::from_state(state.clone()).knowledge();
        self.roster_heard(now, from, &state, digest, true);
    }

    /// Another board's roster (whose digest is given), or changes to it. `push` when it is to be
    /// told what it lacks.
    pub(super) fn roster_heard(
        &mut self,
        now: Now,
        from: &Id,
        state: &RosterState,
        digest: u64,
        push: bool,
    ) {
        if self.phase == Phase::Departed || state.cluster.name != self.settings.cluster_name {
            return;
        }
        match self.roster.as_ref().filter(|_| self.phase == Phase::Joined) {
            None => self.ask_to_join(now, from),
            Some(roster) if roster.cluster().id == state.cluster.id => {
                let Some(roster) = self.roster.as_mut() else {
                    return;
                };
                let strangers = strangers(roster, state);
                let changes = roster.merge(state);
                self.note_strangers(now, &strangers);
                if let Some(contact) = state.contacts.iter().find(|c| c.id == self.me) {
                    if contact.endpoint == self.settings.endpoint {
                        // A start here that this board does not remember: its counters were
                        // lost, or it had counted on from a clone's in memory only.
                        self.outlast_clone(now, contact);
                    }
                    self.look_for_clone(now, contact.endpoint);
                }
                let Some(roster) = &self.roster else { return };
                // Neighbours' rosters differ at the far ends in mode `partial`.
                let differs = match roster.cluster().mode {
                    RingMode::Full => roster.knowledge() != digest,
                    RingMode::Partial => push && roster.has_news_for(from, state),
                };
                self.roster_changed(now, changes, false);
                if differs && push {
                    self.push_roster(now, from, CallPurpose::Exchange);
                }
            }
            Some(roster) => {
                let (mine, theirs) = (roster.cluster().clone(), state.cluster.clone());
                self.meet_other_cluster(now, from, &mine, &theirs);
            }
        }
    }

    /// This board belongs to one cluster, the other board to another of the same name.
    pub(super) fn meet_other_cluster(
        &mut self,
        now: Now,
        from: &Id,
        mine: &Cluster,
        theirs: &Cluster,
    ) {
        if theirs.mode != mine.mode || theirs.name != mine.name {
            self.watch.count("merges_refused");
        } else if theirs.id < mine.id || self.is_stranded() {
            self.ask_to_join(now, from);
        } else if !self.is_diskless() {
            self.push_roster(now, from, CallPurpose::Exchange);
        }
    }

    /// Everything that follows from a change of the roster. `own` changes are sent to everybody.
    pub(super) fn roster_changed(&mut self, now: Now, changes: Changes, own: bool) {
        if changes.is_empty() {
            return;
        }
        for entry in &changes.entries {
            self.entry_changed(now, entry);
        }
        // Its entry and its contact may come separately, in either order.
        let entries = changes.entries.iter().map(|entry| entry.id);
        for id in entries.chain(changes.contacts.iter().map(|contact| contact.id)) {
            self.watch_member(now, &id);
        }
        self.watch_neighbourhood(now);
        self.persist_roster();
        if own {
            self.gossip
                .unsent
                .entries
                .extend(changes.entries.iter().cloned());
            self.gossip
                .unsent
                .contacts
                .extend(changes.contacts.iter().cloned());
            if !self.is_armed(Timer::Flush) {
                self.arm(now.time + FLUSH_DELAY, Timer::Flush);
            }
        }
        if !changes.entries.is_empty() {
            self.gossip.moved = now.time;
            self.pointers = None;
            self.operations_again(now);
            self.hurry_handover(now);
            self.hurry_gossip(now);
            self.count_absence(now);
            self.own_standing(now);
        }
    }

    /// Has the detector probe a member whose address is known.
    pub(super) fn watch_member(&mut self, now: Now, id: &Id) {
        let roster = self.roster.as_ref().filter(|roster| roster.has(id));
        let contact = roster.and_then(|roster| roster.contact(id));
        if let Some(contact) = contact.filter(|contact| contact.id != self.me) {
            let peer = Peer {
                id: contact.id,
                boot: contact.boot,
                renewal: contact.renewal,
                endpoint: contact.endpoint,
            };
            self.detector.add(now.time, peer);
        }
    }

    /// Asks who is there when the others know this board at another address: it was there before,
    /// or a clone of its card is there.
    fn look_for_clone(&mut self, now: Now, known_at: SocketAddr) {
        if known_at != self.settings.endpoint {
            self.open_link(now, known_at, None);
        }
    }

    fn entry_changed(&mut self, now: Now, entry: &Entry) {
        let event = match entry.standing {
            Standing::Joining | Standing::Diskless => Some(Event::NodeAdded(entry.id)),
            Standing::Left | Standing::Forgotten => Some(Event::NodeRemoved(entry.id)),
            Standing::Member | Standing::Leaving => None,
        };
        self.out.events.extend(event);
        if !entry.standing.belongs() && entry.id != self.me {
            self.detector.remove(now.time, &entry.id);
            self.heard_enough();
        }
        if entry.standing == Standing::Forgotten && self.phase == Phase::Joined {
            // It took copies with it: each board asks the others for what it is to hold now.
            self.catch_up();
            self.rearm(now.time, Timer::Ask);
        }
    }

    /// Makes a change of this board's own and tells everybody.
    pub(super) fn change_entry(&mut self, now: Now, entry: Entry) -> bool {
        let Some(roster) = self.roster.as_mut() else {
            return false;
        };
        if !roster.set(entry.clone()) {
            return false;
        }
        roster.prune();
        let changes = Changes {
            entries: vec![entry],
            contacts: vec![],
        };
        self.roster_changed(now, changes, true);
        true
    }

    /// This board's address or renewal changed.
    pub(super) fn contact_changed(&mut self, now: Now) {
        let contact = self.my_contact();
        let newer = self
            .roster
            .as_mut()
            .is_some_and(|r| r.note_contact(contact.clone()));
        if newer && self.phase == Phase::Joined {
            self.roster_changed(
                now,
                Changes {
                    entries: vec![],
                    contacts: vec![contact],
                },
                true,
            );
        }
    }

    pub(super) fn flush_changes(&mut self, now: Now) {
        let changes = std::mem::take(&mut self.gossip.unsent);
        let Some(roster) = &self.roster else { return };
        let mut delta = roster.delta(&changes);
        // A new entry is of use only to those who know where the board is.
        for entry in &changes.entries {
            let known = delta.contacts.iter().any(|contact| contact.id == entry.id);
            if !known && let Some(contact) = roster.contact(&entry.id) {
                delta.contacts.push(contact.clone());
            }
        }
        let digest = roster.knowledge();
        for member in self.present_others() {
            let body = RingCall::Roster {
                state: delta.clone(),
                digest,
            };
            self.ring_call(now, &member, body, CallPurpose::Exchange);
        }
    }

    pub(super) fn gossip_round(&mut self, now: Now) {
        self.own_standing(now);
        let known = self.roster.as_ref().and_then(|r| r.contact(&self.me));
        if let Some(endpoint) = known.map(|contact| contact.endpoint) {
            self.look_for_clone(now, endpoint);
        }
        let others = self.present_others();
        if self.phase == Phase::Joined && !others.is_empty() {
            let pick = self.rng.random_range(0..others.len());
            self.exchange(now, &others[pick]);
            if let Some(link) = self.links.link_to(&others[pick]) {
                self.tell_owner(link, &others[pick]);
            }
        }
        self.ask_a_stranger(now);
        let settled = self.roster.as_ref().is_none_or(Roster::is_settled);
        let (low, high) = if settled {
            QUIET_PERIOD_MS
        } else {
            BUSY_PERIOD_MS
        };
        let wait = self.jitter_ms(low, high);
        self.rearm(now.time + wait, Timer::Gossip);
    }

    /// A board that this one has a link with and does not count: it may have joined another ring
    /// since the link was made, or not have been able to merge then.
    fn ask_a_stranger(&mut self, now: Now) {
        if self.phase != Phase::Joined {
            return;
        }
        let mut linked = self.links.peers();
        linked.retain(|id| self.roster.as_ref().is_none_or(|roster| !roster.has(id)));
        if !linked.is_empty() {
            let pick = self.rng.random_range(0..linked.len());
            self.exchange(now, &linked[pick]);
        }
    }

    fn hurry_gossip(&mut self, now: Now) {
        let wait = self.jitter_ms(BUSY_PERIOD_MS.0, BUSY_PERIOD_MS.1);
        self.rearm(now.time + wait, Timer::Gossip);
    }

    /// Puts the roster on flash; changes made while a store is on its way follow in one more.
    pub(super) fn persist_roster(&mut self) {
        let Some(roster) = &self.roster else { return };
        if self.gossip.storing.is_some() {
            self.gossip.dirty = true;
            return;
        }
        let mut bytes = roster.to_bytes();
        bytes.extend(self.membership.note());
        let value = Some(Bytes::from(bytes));
        let batch = Batch {
            changes: vec![Change::Meta {
                name: META_ROSTER,
                value,
            }],
            high_water: Some(self.clock.high_water()),
        };
        let id = self.out.store(batch);
        self.stores.insert(id, StorePurpose::Roster);
        self.gossip.storing = Some(id);
    }

    pub(super) fn roster_stored(&mut self, now: Now, result: Result<(), StoreError>) {
        self.gossip.storing = None;
        if let Err(error) = result {
            self.watch.problem_with_roster(&error);
            if self.founding_failed() {
                self.rearm(now.time + PERSIST_RETRY_TIME, Timer::Consider);
            } else {
                self.rearm(now.time + PERSIST_RETRY_TIME, Timer::Persist);
            }
            return;
        }
        self.watch.roster_is_stored();
        if std::mem::take(&mut self.gossip.dirty) {
            // What follows from the roster waits until all of it is on flash.
            self.persist_roster();
            return;
        }
        self.roster_is_durable(now);
    }
}
