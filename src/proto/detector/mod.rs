//! Failure detection: SWIM (Das, Gupta, Motivala 2002) by foca, with the settings measured for a
//! LAN of boards, and votes on what a single board cannot know.
//!
//! Start: every board of the roster is told to the detector as alive. Steady state: one probe a
//! period, an indirect one through three others when it is not answered in time. Distress: whom
//! this board's strategy (`strategy.rs`) holds suspect it votes so, and tells every member (at
//! most 128); the suspect refutes under a newer incarnation. When there are enough votes
//! (`vote.rs`) and the time to refute is over, it is down, and whoever voted tells that to every
//! member, since the slowest member is the one the gossip missed. A board that learns it was
//! declared down renews its identity and comes back. End: the board leaves, which its entry in the
//! roster tells.
//!
//! foca carries probes and gossip; of its own it takes nobody down: when it would, that is one
//! suspicion. A board that decides alone, since it hears nobody, keeps that to itself.
//!
//! Own stalls are not the others' fault: while this board's timers fire late, its suspicions take
//! longer to ripen (Lifeguard, Dadgar et al. 2017). Liveness only: who belongs is the roster's.

pub mod phi;
pub mod strategy;
pub mod swim;
pub mod vote;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use bytes::Bytes;
use foca::Codec;
use serde::{Deserialize, Serialize};

use crate::base::endpoint::SocketAddr;
use crate::base::id::Id;
use crate::base::limit;
use crate::base::member::Incarnation;
use crate::base::rng::Rng;
use crate::base::time::Time;
use crate::wire::peer::Suspicion;
use strategy::Strategy;
use vote::{Subject, Votes};

/// One probe a period.
const PROBE_PERIOD: Duration = Duration::from_millis(300);
/// A direct probe is answered within this, or indirect ones follow.
const PROBE_ROUND_TRIP: Duration = Duration::from_millis(120);
/// A board that is down is voted suspect again, when somebody asks, no more often than this.
const SECOND_INTERVAL_MIN: Duration = Duration::from_millis(300);
/// A timer this late means the board itself stalls.
const LAG_NOTICED: Duration = Duration::from_millis(100);
/// The board's own stalls stretch suspicion by at most 1 + this / 2.
const STRESS_MAX: u32 = 8;
/// The measure of own stalls falls by one after so long without one.
const STRESS_DECAY: Duration = Duration::from_secs(2);

/// A board as the detector names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Whose.
    pub id: Id,
    /// Durable count of its starts.
    pub boot: u64,
    /// Rises when it refutes its own death.
    pub renewal: u32,
    /// Where its datagrams go.
    pub endpoint: SocketAddr,
}

impl foca::Identity for Peer {
    type Addr = Id;

    fn renew(&self) -> Option<Self> {
        Some(Peer {
            renewal: self.renewal + 1,
            ..self.clone()
        })
    }

    fn addr(&self) -> Id {
        self.id
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        (self.boot, self.renewal) > (adversary.boot, adversary.renewal)
    }
}

/// What the detector found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The board is alive.
    Up(Id),
    /// The board is down.
    Down(Id),
    /// This board was thought down and renewed itself.
    Renewed(u32),
    /// Enough boards vote this one suspect.
    Suspected(Id),
    /// A vote of this board's, or a death it voted for: tell the members.
    Voted(Suspicion),
}

/// The detector of one board.
pub struct Detector {
    foca: foca::Foca<Peer, foca::PostcardCodec, Rng, foca::NoCustomBroadcast>,
    runtime: foca::AccumulatingRuntime<Peer>,
    strategy: Box<dyn Strategy>,
    votes: Votes,
    /// Suspicions of this board that can still be refuted, and since when they stand.
    ripening: BTreeMap<Id, (Subject, Time)>,
    /// Boards that are down, as which start and renewal, and when others were last told so.
    down: BTreeMap<Id, ((u64, u32), Option<Time>)>,
    timers: BTreeMap<(Time, u64), foca::Timer<Peer>>,
    timer_sequence: u64,
    findings: VecDeque<Finding>,
    transmits: VecDeque<(Id, SocketAddr, Bytes)>,
    alive: BTreeSet<Id>,
    stress: u32,
    stress_since: Time,
}

impl Detector {
    /// A detector that knows nobody yet.
    pub fn new(me: Peer, rng: Rng, strategy: Box<dyn Strategy>) -> Self {
        Detector {
            strategy,
            votes: Votes::default(),
            ripening: BTreeMap::new(),
            down: BTreeMap::new(),
            foca: foca::Foca::new(me, config(1), rng, foca::PostcardCodec),
            runtime: foca::AccumulatingRuntime::new(),
            timers: BTreeMap::new(),
            timer_sequence: 0,
            findings: VecDeque::new(),
            transmits: VecDeque::new(),
            alive: BTreeSet::new(),
            stress: 0,
            stress_since: Time::ZERO,
        }
    }

    /// The identity this board probes under.
    pub fn me(&self) -> &Peer {
        self.foca.identity()
    }

    /// This board moved to another address.
    pub fn set_endpoint(&mut self, now: Time, endpoint: SocketAddr) {
        let me = self.foca.identity().clone();
        if me.endpoint != endpoint {
            let renewal = me.renewal + 1;
            self.change_identity(
                now,
                Peer {
                    endpoint,
                    renewal,
                    ..me
                },
            );
        }
    }

    /// This board counts its starts on from `boot`.
    pub fn set_boot(&mut self, now: Time, boot: u64) {
        let renewal = 0;
        let me = self.foca.identity().clone();
        self.change_identity(
            now,
            Peer {
                boot,
                renewal,
                ..me
            },
        );
    }

    fn change_identity(&mut self, now: Time, me: Peer) {
        let done = self.foca.change_identity(me, &mut self.runtime);
        self.settle(now, done);
    }

    /// Somebody trustworthy says this board is there: probe it from now on.
    pub fn add(&mut self, now: Time, peer: Peer) {
        if peer.id == self.me().id {
            return;
        }
        let known = self.state_of(&peer.id);
        if known.is_some_and(|m| m.state() != foca::State::Down && *m.id() == peer) {
            return;
        }
        let update = [foca::Member::alive(peer)];
        let done = self
            .foca
            .apply_many(update.into_iter(), true, &mut self.runtime);
        self.settle(now, done);
        let members =
            NonZeroU32::new(self.foca.num_members() as u32 + 1).unwrap_or(NonZeroU32::MIN);
        let kept = self.foca.set_config(config(members.get()));
        debug_assert!(kept.is_ok(), "only sizes change");
    }

    /// Says hello to a board thought down, so that both sides find out.
    pub fn announce(&mut self, now: Time, peer: Peer) {
        let done = self.foca.announce(peer, &mut self.runtime);
        self.settle(now, done);
    }

    /// The board is down for certain: it left, or it was forgotten.
    pub fn remove(&mut self, now: Time, id: &Id) {
        let Some(member) = self.state_of(id) else {
            return;
        };
        if member.state() != foca::State::Down {
            let down = foca::Member::down(member.id().clone());
            self.take_down(now, id, down, true);
        }
    }

    fn take_down(&mut self, now: Time, id: &Id, down: foca::Member<Peer>, tell: bool) {
        self.votes.close(id);
        self.ripening.remove(id);
        self.strategy.forget(id);
        let down = std::iter::once(down);
        let done = self.foca.apply_many(down, tell, &mut self.runtime);
        self.settle(now, done);
    }

    /// A SWIM packet from a member's address, of which only news about boards that `concern` this
    /// one are taken: in mode `partial` those of its neighbourhood.
    pub fn handle_packet_about(
        &mut self,
        now: Time,
        from: &Id,
        packet: &[u8],
        concern: impl Fn(&Id) -> bool,
    ) {
        if let Some(packet) = only(packet, |id| *id == self.me().id || concern(id)) {
            self.handle_packet(now, from, &packet);
        }
    }

    /// The board is no neighbour any more: nothing is said against it.
    pub fn forget(&mut self, now: Time, id: &Id) {
        let member = self.state_of(id);
        if let Some(member) = member.filter(|member| member.state() != foca::State::Down) {
            let peer = member.id().clone();
            self.take_down(now, id, foca::Member::down(peer.clone()), false);
            self.down.remove(id);
            // At once and wholly, so that it can be a neighbour again under the same name.
            let timer = foca::Timer::RemoveDown(peer);
            let done = self.foca.handle_timer(timer, &mut self.runtime);
            self.settle(now, done);
        }
    }

    /// A SWIM packet from a member's address.
    pub fn handle_packet(&mut self, now: Time, from: &Id, packet: &[u8]) {
        self.strategy.heard(now, from);
        let done = self.foca.handle_data(packet, &mut self.runtime);
        self.settle(now, done);
        self.judge(now);
    }

    /// A frame came from the board.
    pub fn heard(&mut self, now: Time, from: &Id) {
        self.strategy.heard(now, from);
    }

    /// A member's vote. Boards that are down have none.
    pub fn handle_suspicion(&mut self, now: Time, from: &Id, suspicion: &Suspicion) {
        let id = suspicion.board.id;
        let subject = Subject::of(&suspicion.board, suspicion.refuted);
        if id == self.me().id {
            self.refute(now, subject, suspicion.second.is_some());
            return;
        }
        let Some(known) = self
            .state_of(&id)
            .filter(|m| m.state() != foca::State::Down)
        else {
            self.second(now, from, suspicion);
            return;
        };
        if subject < subject_of(known) || !self.is_alive(from) {
            return;
        }
        self.votes.cast(now, id, subject, *from);
        if let Some(second) = suspicion.second.filter(|second| second != from) {
            self.votes.cast(now, id, subject, second);
            self.votes.ripen(&id, subject);
        }
        self.judge(now);
    }

    /// The board is down here already: whoever comes to suspect it later hears this board's vote,
    /// or two of a split who noticed at different times would never be two.
    fn second(&mut self, now: Time, from: &Id, suspicion: &Suspicion) {
        let (board, subject) = (
            &suspicion.board,
            Subject::of(&suspicion.board, suspicion.refuted),
        );
        if !self.is_alive(from) || suspicion.second.is_some() {
            return;
        }
        let Some((down, told)) = self.down.get_mut(&board.id) else {
            return;
        };
        let again = told.is_none_or(|at| now.since(at) >= SECOND_INTERVAL_MIN);
        if again && (board.boot, board.renewal) <= *down {
            *told = Some(now);
            self.findings
                .push_back(Finding::Voted(self::suspicion(board.id, subject, None)));
        }
    }

    /// Others vote this board suspect, or hold it down.
    fn refute(&mut self, now: Time, subject: Subject, down: bool) {
        let me = self.me().clone();
        if (me.boot, me.renewal) != (subject.boot, subject.renewal) {
            return;
        }
        let update = match down {
            true => foca::Member::down(me),
            false => foca::Member::new(me, subject.refuted, foca::State::Suspect),
        };
        let update = std::iter::once(update);
        let done = self.foca.apply_many(update, true, &mut self.runtime);
        self.settle(now, done);
    }

    /// Casts this board's own votes and carries out what the votes come to.
    fn judge(&mut self, now: Time) {
        while let Some(id) = self.strategy.poll_suspect(now) {
            self.suspect(now, &id);
        }
        if self.votes.is_empty() {
            return;
        }
        self.votes.expire(now);
        for id in self.votes.suspects() {
            let active = |m: &&foca::Member<Peer>| m.state() != foca::State::Down;
            let Some(member) = self.state_of(&id).filter(active) else {
                self.votes.close(&id);
                continue;
            };
            let shown = subject_of(member);
            self.votes.refute(&id, shown);
            let needed = self.votes_needed(&id);
            if self.votes.is_news(&id, needed) {
                self.findings.push_back(Finding::Suspected(id));
            }
            if self.votes.count(&id) >= needed && self.votes.ripe(&id).is_some() {
                self.declare(now, &id);
            }
        }
    }

    /// This board votes that one suspect.
    fn suspect(&mut self, now: Time, id: &Id) {
        let Some(member) = self.state_of(id).filter(|m| m.state() != foca::State::Down) else {
            self.strategy.forget(id);
            return;
        };
        let (subject, peer) = (subject_of(member), member.id().clone());
        let me = self.me().id;
        self.votes.cast(now, *id, subject, me);
        let ripening = self.ripening.entry(*id).or_insert((subject, now));
        if ripening.0 < subject {
            *ripening = (subject, now);
        }
        self.findings
            .push_back(Finding::Voted(suspicion(*id, subject, None)));
        let suspect = foca::Member::new(peer, subject.refuted, foca::State::Suspect);
        let suspect = std::iter::once(suspect);
        let done = self.foca.apply_many(suspect, true, &mut self.runtime);
        self.settle(now, done);
    }

    /// Votes that hold the board suspect: of this board and of every other that is alive and that
    /// this board does not suspect itself.
    fn votes_needed(&self, suspect: &Id) -> usize {
        let me = self.me().id;
        let can_vote = |id: &&Id| *id != suspect && **id != me && !self.votes.has_voted(&me, id);
        vote::needed(1 + self.alive.iter().filter(can_vote).count())
    }

    /// The votes hold the board down.
    fn declare(&mut self, now: Time, id: &Id) {
        let Some(member) = self.state_of(id) else {
            return;
        };
        let (subject, me) = (subject_of(member), self.me().id);
        let down = foca::Member::new(member.id().clone(), member.incarnation(), foca::State::Down);
        let voted = self.votes.has_voted(&me, id);
        let second = self.votes.voters(id).into_iter().find(|voter| *voter != me);
        self.take_down(now, id, down, second.is_some());
        if voted && second.is_some() {
            self.findings
                .push_back(Finding::Voted(suspicion(*id, subject, second)));
        }
    }

    /// The driver's loop ran this late.
    pub fn note_lag(&mut self, now: Time, lag: Duration) {
        if lag >= LAG_NOTICED {
            let steps = 1 + (lag.as_millis() / 500) as u32;
            self.stress = (self.stress + steps).min(STRESS_MAX);
            self.stress_since = now;
        }
    }

    /// Runs what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        while self.stress > 0 && now.since(self.stress_since) >= STRESS_DECAY {
            self.stress -= 1;
            self.stress_since = self.stress_since + STRESS_DECAY;
        }
        // One batch at a time: a timer that re-arms itself for now must not starve the loop.
        let due: Vec<(Time, u64)> = self
            .timers
            .range(..=(now, u64::MAX))
            .map(|(key, _)| *key)
            .collect();
        let mut due: Vec<foca::Timer<Peer>> = due
            .into_iter()
            .filter_map(|key| self.timers.remove(&key))
            .collect();
        due.sort();
        for timer in due {
            let done = self.foca.handle_timer(timer, &mut self.runtime);
            self.settle(now, done);
        }
        self.ripen(now);
        self.judge(now);
    }

    /// Suspicions that had their time can be carried out. One that lacks votes is told once more:
    /// the others may have missed it.
    fn ripen(&mut self, now: Time) {
        let patience = self.patience();
        let is_due = |(_, (_, since)): &(&Id, &(Subject, Time))| *since + patience <= now;
        let due: Vec<(Id, Subject)> = (self.ripening.iter().filter(is_due))
            .map(|(id, (subject, _))| (*id, *subject))
            .collect();
        for (id, subject) in due {
            self.ripening.remove(&id);
            self.votes.ripen(&id, subject);
            let lacks = self.votes.count(&id) < self.votes_needed(&id);
            if lacks && self.votes.ripe(&id) == Some(subject) {
                self.findings
                    .push_back(Finding::Voted(suspicion(id, subject, None)));
            }
        }
    }

    /// A suspicion of this board's has so long to be refuted; longer while it stalls itself.
    fn patience(&self) -> Duration {
        let patience = self.strategy.patience();
        patience + patience * self.stress / 2
    }

    /// Whom the next packet is for, where it goes, and its bytes.
    pub fn poll_transmit(&mut self) -> Option<(Id, SocketAddr, Bytes)> {
        self.transmits.pop_front()
    }

    /// The next finding.
    pub fn poll_finding(&mut self) -> Option<Finding> {
        self.findings.pop_front()
    }

    /// When [`Detector::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        let patience = self.patience();
        let ripening = self.ripening.values().map(|(_, since)| *since + patience);
        let probes = self.timers.keys().next().map(|(at, _)| *at);
        (probes.into_iter().chain(ripening))
            .chain(self.votes.poll_timeout())
            .chain(self.strategy.poll_timeout())
            .min()
    }

    /// The detector holds the board to be alive (suspects included).
    pub fn is_alive(&self, id: &Id) -> bool {
        *id == self.me().id || self.alive.contains(id)
    }

    /// Enough boards vote it suspect.
    pub fn is_suspect(&self, id: &Id) -> bool {
        let votes = self.votes.count(id);
        votes > 0 && votes >= self.votes_needed(id)
    }

    fn state_of(&self, id: &Id) -> Option<&foca::Member<Peer>> {
        self.foca
            .iter_membership_state()
            .find(|member| member.id().id == *id)
    }

    fn arm(&mut self, at: Time, timer: foca::Timer<Peer>) {
        self.timer_sequence += 1;
        self.timers.insert((at, self.timer_sequence), timer);
    }

    /// Takes what foca asked for. Its errors are packets it refused and bugs it recovered from;
    /// either way its state is sound, and they are counted by the caller's datagram counters.
    fn settle(&mut self, now: Time, done: Result<(), foca::Error>) {
        if let Err(error) = done {
            tracing::debug!(%error, "detector");
        }
        while let Some((to, packet)) = self.runtime.to_send() {
            self.transmits.push_back((to.id, to.endpoint, packet));
        }
        while let Some((after, timer)) = self.runtime.to_schedule() {
            match timer {
                // foca arms it where its own probe failed.
                foca::Timer::ChangeSuspectToDown { member_id, .. } => {
                    self.strategy.unanswered(now, &member_id.id);
                }
                timer => self.arm(now + after, timer),
            }
        }
        while let Some(notification) = self.runtime.to_notify() {
            match notification {
                // A board that is heard of as down in a start it was not known in.
                foca::OwnedNotification::Rename(_, peer)
                    if self
                        .state_of(&peer.id)
                        .is_some_and(|member| member.state() == foca::State::Down) =>
                {
                    self.alive.remove(&peer.id);
                    self.down.insert(peer.id, ((peer.boot, peer.renewal), None));
                }
                foca::OwnedNotification::MemberUp(peer)
                | foca::OwnedNotification::Rename(_, peer) => {
                    self.alive.insert(peer.id);
                    self.down.remove(&peer.id);
                    self.findings.push_back(Finding::Up(peer.id));
                }
                foca::OwnedNotification::MemberDown(peer) => {
                    self.alive.remove(&peer.id);
                    self.down.insert(peer.id, ((peer.boot, peer.renewal), None));
                    while self.down.len() > limit::ROSTER_MAX {
                        self.down.pop_first();
                    }
                    self.findings.push_back(Finding::Down(peer.id));
                }
                foca::OwnedNotification::Rejoin(me) => {
                    self.findings.push_back(Finding::Renewed(me.renewal));
                }
                foca::OwnedNotification::Active
                | foca::OwnedNotification::Idle
                | foca::OwnedNotification::Defunct => {}
            }
        }
    }
}

/// The packet without its news about other boards than `wanted`; none: it is malformed.
fn only(packet: &[u8], wanted: impl Fn(&Id) -> bool) -> Option<Vec<u8>> {
    let mut codec = foca::PostcardCodec;
    let mut rest = packet;
    let header: foca::Header<Peer> = codec.decode_header(&mut rest).ok()?;
    let mut kept = Vec::new();
    codec.encode_header(&header, &mut kept).ok()?;
    if rest.is_empty() || header.message == foca::Message::Broadcast {
        return Some(packet.to_vec());
    }
    let count = u16::from_be_bytes(*rest.split_first_chunk()?.0);
    rest = &rest[2..];
    let at = kept.len();
    kept.extend_from_slice(&[0; 2]);
    let mut left = 0u16;
    for _ in 0..count {
        let member: foca::Member<Peer> = codec.decode_member(&mut rest).ok()?;
        if wanted(&member.id().id) {
            codec.encode_member(&member, &mut kept).ok()?;
            left += 1;
        }
    }
    kept[at..at + 2].copy_from_slice(&left.to_be_bytes());
    kept.extend_from_slice(rest);
    Some(kept)
}

fn subject_of(member: &foca::Member<Peer>) -> Subject {
    Subject {
        boot: member.id().boot,
        renewal: member.id().renewal,
        refuted: member.incarnation(),
    }
}

fn suspicion(id: Id, subject: Subject, second: Option<Id>) -> Suspicion {
    Suspicion {
        board: Incarnation {
            id,
            boot: subject.boot,
            renewal: subject.renewal,
        },
        refuted: subject.refuted,
        second,
    }
}

fn config(members: u32) -> foca::Config {
    let size = NonZeroU32::new(members).unwrap_or(NonZeroU32::MIN);
    let periodic = |frequency_ms, members| {
        Some(foca::PeriodicParams {
            frequency: Duration::from_millis(frequency_ms),
            num_members: NonZeroUsize::new(members).unwrap_or(NonZeroUsize::MIN),
        })
    };
    foca::Config {
        max_packet_size: NonZeroUsize::new(limit::SWIM_BYTES_MAX).unwrap_or(NonZeroUsize::MAX),
        probe_period: PROBE_PERIOD,
        probe_rtt: PROBE_ROUND_TRIP,
        suspect_to_down_after: swim::SUSPECT_TIME,
        notify_down_members: true,
        periodic_gossip: periodic(500, 3),
        periodic_announce: periodic(30_000, 1),
        periodic_announce_to_down_members: periodic(5_000, 2),
        ..foca::Config::new_lan(size)
    }
}

#[cfg(test)]
mod tests;
