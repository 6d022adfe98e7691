//! Failure detection: SWIM (Das, Gupta, Motivala 2002) by foca, with the settings measured for a
//! LAN of boards.
//!
//! Start: every board of the roster is told to the detector as alive. Steady state: one probe a
//! period, an indirect one through three others when it is not answered in time, suspicion spread
//! by gossip. Distress: a suspect that does not refute is declared down; whoever declares it
//! first tells every member directly (below 128 members), since the slowest member is the one the
//! gossip missed. A board that learns it was declared down renews its identity and comes back.
//! End: the board leaves, which its entry in the roster tells.
//!
//! Own stalls are not the others' fault: while this board's timers fire late, its suspicions take
//! longer to ripen (Lifeguard, Dadgar et al. 2017). Liveness only: who belongs is the roster's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use bytes::Bytes;
use foca::Codec;
use serde::{Deserialize, Serialize};

use crate::base::endpoint::SocketAddr;
use crate::base::id::Id;
use crate::base::member::Incarnation;
use crate::base::rng::Rng;
use crate::base::time::Time;

/// One probe a period.
const PROBE_PERIOD: Duration = Duration::from_millis(300);
/// A direct probe is answered within this, or indirect ones follow.
const PROBE_ROUND_TRIP: Duration = Duration::from_millis(120);
/// A suspect has this long to refute.
const SUSPECT_TIME: Duration = Duration::from_millis(1_500);
/// A timer this late means the board itself stalls.
const LAG_NOTICED: Duration = Duration::from_millis(100);
/// The board's own stalls stretch suspicion by at most 1 + this / 2.
const STRESS_MAX: u32 = 8;
/// The measure of own stalls falls by one after so long without one.
const STRESS_DECAY: Duration = Duration::from_secs(2);
/// Members up to which a death is told to everybody directly.
const DIRECT_DOWN_MEMBERS_MAX: usize = 128;

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
    /// This board declared others down by itself: tell every member.
    Declared(Incarnation),
}

/// The detector of one board.
pub struct Detector {
    foca: foca::Foca<Peer, foca::PostcardCodec, Rng, foca::NoCustomBroadcast>,
    runtime: foca::AccumulatingRuntime<Peer>,
    timers: BTreeMap<(Time, u64), Armed>,
    timer_sequence: u64,
    findings: VecDeque<Finding>,
    transmits: VecDeque<(SocketAddr, Bytes)>,
    alive: BTreeSet<Id>,
    stress: u32,
    stress_since: Time,
}

struct Armed {
    timer: foca::Timer<Peer>,
    since: Time,
}

impl Detector {
    /// A detector that knows nobody yet.
    pub fn new(me: Peer, rng: Rng) -> Self {
        Detector {
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

    /// The board is down for certain (it left, it was forgotten, its link said farewell), or
    /// another member declared it so. An incarnation newer than the one named is left alone.
    pub fn remove(&mut self, now: Time, id: &Id, newest: Option<&Incarnation>) {
        let Some(member) = self.state_of(id) else {
            return;
        };
        let older =
            |i: &Incarnation| (member.id().boot, member.id().renewal) <= (i.boot, i.renewal);
        if member.state() == foca::State::Down || !newest.is_none_or(older) {
            return;
        }
        let update = [foca::Member::down(member.id().clone())];
        let done = self
            .foca
            .apply_many(update.into_iter(), true, &mut self.runtime);
        self.settle(now, done);
    }

    /// A SWIM packet from a member's address, of which only news about boards that `concern` this
    /// one are taken: in mode `partial` those of its neighbourhood.
    pub fn handle_packet_about(&mut self, now: Time, packet: &[u8], concern: impl Fn(&Id) -> bool) {
        if let Some(packet) = only(packet, |id| *id == self.me().id || concern(id)) {
            self.handle_packet(now, &packet);
        }
    }

    /// The board is no neighbour any more: nothing is said against it.
    pub fn forget(&mut self, now: Time, id: &Id) {
        let member = self.state_of(id);
        if let Some(member) = member.filter(|member| member.state() != foca::State::Down) {
            let peer = member.id().clone();
            let update = [foca::Member::down(peer.clone())];
            let done = self
                .foca
                .apply_many(update.into_iter(), false, &mut self.runtime);
            self.settle(now, done);
            // At once and wholly, so that it can be a neighbour again under the same name.
            let timer = foca::Timer::RemoveDown(peer);
            let done = self.foca.handle_timer(timer, &mut self.runtime);
            self.settle(now, done);
        }
    }

    /// A SWIM packet from a member's address.
    pub fn handle_packet(&mut self, now: Time, packet: &[u8]) {
        let done = self.foca.handle_data(packet, &mut self.runtime);
        self.settle(now, done);
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
        let mut due: Vec<((Time, u64), Armed)> = due
            .into_iter()
            .filter_map(|key| self.timers.remove(&key).map(|armed| (key, armed)))
            .collect();
        due.sort_by(|a, b| a.1.timer.cmp(&b.1.timer));
        for (_, armed) in due {
            if self.postpone(now, &armed) {
                continue;
            }
            let suspect = match &armed.timer {
                foca::Timer::ChangeSuspectToDown { member_id, .. } => Some(member_id.clone()),
                _ => None,
            };
            let done = self.foca.handle_timer(armed.timer, &mut self.runtime);
            self.settle(now, done);
            if let Some(peer) = suspect {
                self.declare(&peer);
            }
        }
    }

    /// A suspicion that is due while this board stalls is given more time.
    fn postpone(&mut self, now: Time, armed: &Armed) -> bool {
        if !matches!(armed.timer, foca::Timer::ChangeSuspectToDown { .. }) {
            return false;
        }
        let ripe = armed.since + SUSPECT_TIME + SUSPECT_TIME * self.stress / 2;
        if ripe <= now {
            return false;
        }
        self.arm(ripe, armed.since, armed.timer.clone());
        true
    }

    fn declare(&mut self, peer: &Peer) {
        let down = self
            .state_of(&peer.id)
            .is_some_and(|m| m.state() == foca::State::Down);
        if down && self.foca.num_members() <= DIRECT_DOWN_MEMBERS_MAX {
            self.findings.push_back(Finding::Declared(Incarnation {
                id: peer.id,
                boot: peer.boot,
                renewal: peer.renewal,
            }));
        }
    }

    /// Where the next packet goes, and its bytes.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Bytes)> {
        self.transmits.pop_front()
    }

    /// The next finding.
    pub fn poll_finding(&mut self) -> Option<Finding> {
        self.findings.pop_front()
    }

    /// When [`Detector::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.timers.keys().next().map(|(at, _)| *at)
    }

    /// The detector holds the board to be alive (suspects included).
    pub fn is_alive(&self, id: &Id) -> bool {
        *id == self.me().id || self.alive.contains(id)
    }

    /// The board is under suspicion.
    pub fn is_suspect(&self, id: &Id) -> bool {
        self.state_of(id)
            .is_some_and(|m| m.state() == foca::State::Suspect)
    }

    fn state_of(&self, id: &Id) -> Option<&foca::Member<Peer>> {
        self.foca
            .iter_membership_state()
            .find(|member| member.id().id == *id)
    }

    fn arm(&mut self, at: Time, since: Time, timer: foca::Timer<Peer>) {
        self.timer_sequence += 1;
        self.timers
            .insert((at, self.timer_sequence), Armed { timer, since });
    }

    /// Takes what foca asked for. Its errors are packets it refused and bugs it recovered from;
    /// either way its state is sound, and they are counted by the caller's datagram counters.
    fn settle(&mut self, now: Time, done: Result<(), foca::Error>) {
        if let Err(error) = done {
            tracing::debug!(%error, "detector");
        }
        while let Some((to, packet)) = self.runtime.to_send() {
            self.transmits.push_back((to.endpoint, packet));
        }
        while let Some((after, timer)) = self.runtime.to_schedule() {
            self.arm(now + after, now, timer);
        }
        while let Some(notification) = self.runtime.to_notify() {
            match notification {
                foca::OwnedNotification::MemberUp(peer)
                | foca::OwnedNotification::Rename(_, peer) => {
                    self.alive.insert(peer.id);
                    self.findings.push_back(Finding::Up(peer.id));
                }
                foca::OwnedNotification::MemberDown(peer) => {
                    self.alive.remove(&peer.id);
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

fn config(members: u32) -> foca::Config {
    let size = NonZeroU32::new(members).unwrap_or(NonZeroU32::MIN);
    let periodic = |frequency_ms, members| {
        Some(foca::PeriodicParams {
            frequency: Duration::from_millis(frequency_ms),
            num_members: NonZeroUsize::new(members).unwrap_or(NonZeroUsize::MIN),
        })
    };
    foca::Config {
        probe_period: PROBE_PERIOD,
        probe_rtt: PROBE_ROUND_TRIP,
        suspect_to_down_after: SUSPECT_TIME,
        notify_down_members: true,
        periodic_gossip: periodic(500, 3),
        periodic_announce: periodic(30_000, 1),
        periodic_announce_to_down_members: periodic(5_000, 2),
        ..foca::Config::new_lan(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::seeded;

    struct World {
        now: Time,
        boards: BTreeMap<SocketAddr, (Detector, bool)>,
    }

    impl World {
        fn new(count: u16) -> World {
            let peers: Vec<Peer> = (0..count)
                .map(|i| Peer {
                    id: Id::of(&i.to_be_bytes()),
                    boot: 1,
                    renewal: 0,
                    endpoint: SocketAddr::from(([10, 0, 0, 1], 1000 + i)),
                })
                .collect();
            let mut boards = BTreeMap::new();
            for (i, me) in peers.iter().enumerate() {
                let mut detector = Detector::new(me.clone(), seeded([3; 32], i as u64));
                for other in &peers {
                    detector.add(Time::ZERO, other.clone());
                }
                boards.insert(me.endpoint, (detector, true));
            }
            World {
                now: Time::ZERO,
                boards,
            }
        }

        /// Runs until `until`, delivering every packet between running boards at once.
        fn run(&mut self, until: Time) {
            loop {
                let mut packets = Vec::new();
                for (detector, running) in self.boards.values_mut() {
                    while let Some((to, packet)) = detector.poll_transmit() {
                        if *running {
                            packets.push((to, packet));
                        }
                    }
                }
                for (to, packet) in &packets {
                    if let Some((detector, true)) = self.boards.get_mut(to) {
                        detector.handle_packet(self.now, packet);
                    }
                }
                if !packets.is_empty() {
                    continue;
                }
                let due = self
                    .boards
                    .values()
                    .filter(|b| b.1)
                    .filter_map(|b| b.0.poll_timeout());
                match due.min() {
                    Some(at) if at <= until => {
                        self.now = self.now.max(at);
                        for (detector, _) in self.boards.values_mut().filter(|b| b.1) {
                            detector.handle_timeout(self.now);
                        }
                    }
                    _ => return,
                }
            }
        }
    }

    fn seconds(s: u64) -> Time {
        Time(s * 1_000_000)
    }

    #[test]
    fn death_is_known_to_all_within_four_seconds_and_nobody_else_dies() {
        let mut world = World::new(30);
        world.run(seconds(10));
        let dead = *world.boards.keys().nth(7).unwrap();
        world.boards.get_mut(&dead).unwrap().1 = false;
        let dead_id = world.boards[&dead].0.me().id;
        // The direct message of the first to notice is the board's; here gossip alone must do.
        world.run(seconds(16));
        for (at, (detector, running)) in &world.boards {
            if *running {
                assert!(
                    !detector.is_alive(&dead_id),
                    "{at} still believes in the dead board"
                );
                let alive = world
                    .boards
                    .values()
                    .filter(|b| b.1 && detector.is_alive(&b.0.me().id));
                assert_eq!(alive.count(), 29);
            }
        }
    }

    #[test]
    fn returning_board_is_alive_again_under_a_new_renewal() {
        let mut world = World::new(5);
        world.run(seconds(3));
        let absent = *world.boards.keys().nth(2).unwrap();
        let id = world.boards[&absent].0.me().id;
        world.boards.get_mut(&absent).unwrap().1 = false;
        world.run(seconds(12));
        assert!(
            world
                .boards
                .values()
                .filter(|b| b.1)
                .all(|b| !b.0.is_alive(&id))
        );
        world.boards.get_mut(&absent).unwrap().1 = true;
        world.run(seconds(40));
        assert!(world.boards.values().all(|b| b.0.is_alive(&id)));
        assert!(world.boards[&absent].0.me().renewal > 0);
    }

    #[test]
    fn own_stalls_give_suspects_more_time() {
        let mut world = World::new(3);
        world.run(seconds(3));
        let first = *world.boards.keys().next().unwrap();
        let others: Vec<SocketAddr> = world.boards.keys().skip(1).copied().collect();
        for other in &others {
            world.boards.get_mut(other).unwrap().1 = false;
        }
        let id = world.boards[&others[0]].0.me().id;
        for tick in 30..65 {
            let now = world.now;
            world
                .boards
                .get_mut(&first)
                .unwrap()
                .0
                .note_lag(now, Duration::from_secs(2));
            world.run(Time(tick * 100_000));
        }
        assert!(
            world.boards[&first].0.is_alive(&id),
            "a stalled board judges later"
        );
    }

    #[test]
    fn news_of_boards_that_are_no_concern_are_cut_out_of_a_packet() {
        let mut world = World::new(6);
        world.run(Time(3_000_000));
        let at = |i: u16| SocketAddr::from(([10, 0, 0, 1], 1000 + i));
        let (far, near) = (Id::of(&5u16.to_be_bytes()), Id::of(&4u16.to_be_bytes()));
        let me = Peer {
            id: Id::of(&9u16.to_be_bytes()),
            boot: 1,
            renewal: 0,
            endpoint: at(9),
        };
        let mut stranger = Detector::new(me.clone(), seeded([4; 32], 9));
        // A member answers an announcement with everybody it knows.
        let known = world.boards[&at(0)].0.me().clone();
        stranger.announce(Time(3_000_000), known);
        let mut heard = 0;
        for _ in 0..4 {
            while let Some((_, packet)) = stranger.poll_transmit() {
                let (member, _) = world.boards.get_mut(&at(0)).unwrap();
                member.handle_packet(Time(3_000_000), &packet);
            }
            let (member, _) = world.boards.get_mut(&at(0)).unwrap();
            while let Some((to, packet)) = member.poll_transmit() {
                if to == me.endpoint {
                    heard += 1;
                    stranger.handle_packet_about(Time(3_000_000), &packet, |id| *id != far);
                }
            }
        }
        assert!(heard > 0 && stranger.is_alive(&near) && !stranger.is_alive(&far));
        stranger.forget(Time(3_000_000), &near);
        assert!(!stranger.is_alive(&near));
        let again = world.boards[&at(4)].0.me().clone();
        stranger.add(Time(3_000_000), again);
        assert!(
            stranger.is_alive(&near),
            "a neighbour again under the same name"
        );
        assert!(only(&[0xff; 3], |_| true).is_none());
    }
}
