//! Detectors of several boards together, with packets delivered at once.

use super::swim::Swim;
use super::*;
use crate::base::rng::seeded;

struct World {
    now: Time,
    boards: BTreeMap<SocketAddr, (Detector, bool)>,
    /// What the first sends does not reach the second.
    lost: BTreeSet<(SocketAddr, SocketAddr)>,
    /// Boards that were found suspect, each time by one board.
    suspected: Vec<Id>,
}

enum Packet {
    Swim(Bytes),
    Vote(Suspicion),
}

impl World {
    fn new(count: u16) -> World {
        World::of(count, &Swim::default())
    }

    fn of(count: u16, strategy: &dyn Strategy) -> World {
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
            let rng = seeded([3; 32], i as u64);
            let mut detector = Detector::new(me.clone(), rng, strategy.fresh());
            for other in &peers {
                detector.add(Time::ZERO, other.clone());
            }
            boards.insert(me.endpoint, (detector, true));
        }
        World {
            now: Time::ZERO,
            boards,
            lost: BTreeSet::new(),
            suspected: vec![],
        }
    }

    fn endpoint(&self, nth: usize) -> SocketAddr {
        *self.boards.keys().nth(nth).unwrap()
    }

    fn id(&self, nth: usize) -> Id {
        self.boards[&self.endpoint(nth)].0.me().id
    }

    fn set_running(&mut self, nth: usize, running: bool) {
        let at = self.endpoint(nth);
        self.boards.get_mut(&at).unwrap().1 = running;
    }

    /// Boards that run and hold this one to be alive.
    fn believers(&self, id: &Id) -> usize {
        let running = self.boards.values().filter(|b| b.1);
        running.filter(|b| b.0.is_alive(id)).count()
    }

    fn is_lost(&self, from: &SocketAddr, to: &SocketAddr) -> bool {
        self.lost.contains(&(*from, *to))
    }

    /// Everything that waits to be sent, with votes for everybody.
    fn collect(&mut self) -> Vec<(SocketAddr, SocketAddr, Packet)> {
        let all: Vec<SocketAddr> = self.boards.keys().copied().collect();
        let mut packets = Vec::new();
        for (from, (detector, running)) in &mut self.boards {
            while let Some((_, to, packet)) = detector.poll_transmit() {
                packets.push((*running, *from, to, Packet::Swim(packet)));
            }
            while let Some(finding) = detector.poll_finding() {
                match finding {
                    Finding::Voted(suspicion) => {
                        for to in all.iter().filter(|to| *to != from) {
                            packets.push((*running, *from, *to, Packet::Vote(suspicion.clone())));
                        }
                    }
                    Finding::Suspected(id) => self.suspected.push(id),
                    Finding::Up(_) | Finding::Down(_) | Finding::Renewed(_) => {}
                }
            }
        }
        let sent = packets.into_iter().filter(|p| p.0).map(|p| (p.1, p.2, p.3));
        sent.collect()
    }

    /// Runs until `until`, delivering every packet between running boards at once.
    fn run(&mut self, until: Time) {
        loop {
            let packets = self.collect();
            for (from, to, packet) in &packets {
                let sender = self.boards[from].0.me().id;
                if self.is_lost(from, to) {
                    continue;
                }
                if let Some((detector, true)) = self.boards.get_mut(to) {
                    match packet {
                        Packet::Swim(packet) => detector.handle_packet(self.now, &sender, packet),
                        Packet::Vote(it) => detector.handle_suspicion(self.now, &sender, it),
                    }
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
                _ => {
                    self.now = until;
                    return;
                }
            }
        }
    }

    /// Runs until nobody believes in the board; how long that took.
    fn until_gone(&mut self, id: &Id) -> Duration {
        let start = self.now;
        while self.believers(id) > 0 {
            assert!(self.now.since(start) < Duration::from_secs(30), "it stays");
            self.run(self.now + Duration::from_millis(10));
        }
        self.now.since(start)
    }
}

fn seconds(s: u64) -> Time {
    Time(s * 1_000_000)
}

#[test]
fn death_is_known_to_all_within_four_seconds_and_nobody_else_dies() {
    let mut world = World::new(30);
    world.run(seconds(10));
    let dead = world.endpoint(7);
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
fn death_is_known_to_all_of_thirty_in_the_time_that_was_measured() {
    let mut took: Vec<Duration> = Vec::new();
    for round in 0..20 {
        let mut world = World::new(30);
        world.run(Time(5_000_000 + round * 137_000));
        let nth = (round * 7 % 30) as usize;
        let dead = world.id(nth);
        world.set_running(nth, false);
        took.push(world.until_gone(&dead));
        let suspects: BTreeSet<&Id> = world.suspected.iter().collect();
        assert_eq!(suspects, BTreeSet::from([&dead]));
    }
    took.sort();
    println!("known to all of 30 after {took:?}");
    assert!(took[10] <= Duration::from_millis(2_500), "median {took:?}");
    assert!(took[19] <= Duration::from_secs(4), "slowest {took:?}");
}

#[test]
fn board_that_alone_cannot_hear_another_takes_nobody_down() {
    let mut world = World::new(5);
    world.run(seconds(3));
    // Nothing of board 1 reaches board 0, neither direct nor through the others.
    let (zero, suspect) = (world.endpoint(0), world.id(1));
    let one = world.endpoint(1);
    world.lost.insert((one, zero));
    let voter = world.id(0);
    let subject = |world: &World| {
        let known = world.boards[&world.endpoint(2)].0.state_of(&suspect);
        subject_of(known.unwrap())
    };
    for second in 4..40 {
        let vote = suspicion(suspect, subject(&world), None);
        let now = world.now;
        for nth in 2..5 {
            let at = world.endpoint(nth);
            let detector = &mut world.boards.get_mut(&at).unwrap().0;
            detector.handle_suspicion(now, &voter, &vote);
        }
        world.run(seconds(second));
        assert_eq!(world.believers(&suspect), 5);
    }
    assert!(
        world.suspected.is_empty(),
        "one vote of five is no suspicion"
    );
}

#[test]
fn board_that_hears_nobody_judges_for_itself_alone() {
    let mut world = World::new(5);
    world.run(seconds(3));
    let deaf = world.endpoint(0);
    for nth in 1..5 {
        world.lost.insert((world.endpoint(nth), deaf));
    }
    // Its packets still arrive: it takes everybody down for itself, and nobody for the others.
    for tenth in 31..200 {
        world.run(Time(tenth * 100_000));
        for nth in 1..5 {
            let id = world.id(nth);
            let others = (1..5).map(|at| &world.boards[&world.endpoint(at)].0);
            assert!(others.clone().all(|other| other.is_alive(&id)));
        }
    }
    let alone = &world.boards[&deaf].0;
    assert!((1..5).all(|nth| !alone.is_alive(&world.id(nth))));
    world.lost.clear();
    world.run(seconds(60));
    for nth in 0..5 {
        assert_eq!(world.believers(&world.id(nth)), 5, "all see {nth} again");
    }
}

#[test]
fn pair_that_is_cut_off_gives_up_the_others_and_the_others_the_pair() {
    let mut world = World::new(5);
    world.run(seconds(3));
    for a in 0..2 {
        for b in 2..5 {
            let (a, b) = (world.endpoint(a), world.endpoint(b));
            world.lost.extend([(a, b), (b, a)]);
        }
    }
    world.run(seconds(9));
    let side = |nth: usize| nth < 2;
    for at in 0..5 {
        for about in 0..5 {
            let detector = &world.boards[&world.endpoint(at)].0;
            let alive = detector.is_alive(&world.id(about));
            assert_eq!(alive, side(at) == side(about), "{at} of {about}");
        }
    }
}

#[test]
fn suspect_that_is_there_refutes_the_votes_of_any_two() {
    let mut world = World::new(5);
    world.run(seconds(3));
    let suspect = world.id(4);
    let at = world.endpoint(2);
    let known = subject_of(world.boards[&at].0.state_of(&suspect).unwrap());
    let (now, voters) = (world.now, [world.id(0), world.id(1)]);
    for nth in 0..5 {
        let at = world.endpoint(nth);
        for voter in &voters {
            let vote = suspicion(suspect, known, None);
            let detector = &mut world.boards.get_mut(&at).unwrap().0;
            detector.handle_suspicion(now, voter, &vote);
        }
    }
    assert!(world.boards[&at].0.is_suspect(&suspect));
    world.run(seconds(20));
    assert_eq!(world.believers(&suspect), 5);
    let shown = subject_of(world.boards[&at].0.state_of(&suspect).unwrap());
    assert!(shown > known, "it shows a newer incarnation");
    assert!(!world.boards[&at].0.is_suspect(&suspect));
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
    let mut stranger = Detector::new(me.clone(), seeded([4; 32], 9), Box::new(Swim::default()));
    // A member answers an announcement with everybody it knows.
    let known = world.boards[&at(0)].0.me().clone();
    stranger.announce(Time(3_000_000), known);
    let mut heard = 0;
    let from = Id::of(&0u16.to_be_bytes());
    for _ in 0..4 {
        while let Some((_, _, packet)) = stranger.poll_transmit() {
            let (member, _) = world.boards.get_mut(&at(0)).unwrap();
            member.handle_packet(Time(3_000_000), &me.id, &packet);
        }
        let (member, _) = world.boards.get_mut(&at(0)).unwrap();
        while let Some((_, to, packet)) = member.poll_transmit() {
            if to == me.endpoint {
                heard += 1;
                stranger.handle_packet_about(Time(3_000_000), &from, &packet, |id| *id != far);
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

#[test]
fn a_board_first_heard_of_as_down_in_a_newer_start_is_not_up() {
    let mut world = World::new(3);
    let (me, other) = (world.endpoint(0), world.endpoint(1));
    let other = world.boards[&other].0.me().clone();
    let detector = &mut world.boards.get_mut(&me).unwrap().0;
    assert!(detector.is_alive(&other.id));
    for boot in [1, 2] {
        let down = foca::Member::down(Peer {
            boot,
            ..other.clone()
        });
        let update = std::iter::once(down);
        let done = detector
            .foca
            .apply_many(update, true, &mut detector.runtime);
        detector.settle(Time::ZERO, done);
        assert!(!detector.is_alive(&other.id), "in start {boot}");
    }
    assert_eq!(detector.down[&other.id].0, (2, 0));
}
