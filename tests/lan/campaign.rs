//! Faults of processes and of the network under load: whatever was acknowledged meanwhile is read
//! back at the end. Seconds of each fault by default, the full numbers with ROUNDEL_LONG.

use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::lab::Lab;
use crate::node::Node;
use crate::ring::{self, Bucket};
use crate::switch::Plan;
use crate::wait;
use crate::writer::Load;

/// A paused board is back within this after it goes on.
const BACK_TIME_MAX: Duration = Duration::from_secs(10);

/// After a heal all copies are equal within this, asserted at twice the goal.
const EQUAL_MAX: Duration = Duration::from_secs(120);

/// Puts go on this soon where a quorum of the copies is left, asserted at twice the goal.
const GAP_MAX: Duration = Duration::from_secs(6);

/// A ring of five that has finished forming: until then the copies of the boards that began it
/// are asked as well, and the loss of one of those stops writes.
fn five(lab: &Lab) -> Vec<Node<'_>> {
    ring::form(lab, 0..5)
}

/// Lets a fault last.
fn last(duration: Duration) {
    thread::sleep(duration);
}

#[test]
fn kills_under_load_lose_no_acknowledged_put() {
    let cycles = if wait::is_long() { 200 } else { 20 };
    let lab = Lab::new("kills", 5);
    let mut nodes = five(&lab);
    let load = Load::start("kills", [&nodes[0], &nodes[2], &nodes[4]]);
    let (mut kills, mut slowest) = (0, Duration::ZERO);
    for cycle in 0..cycles {
        // Every fifth time two at once: a kill loses no medium, so W - 1 is no bound here.
        let victims = if cycle % 5 == 4 { 2 } else { 1 };
        let victims: Vec<_> = (0..victims).map(|n| (cycle * 3 + n) % 5).collect();
        for victim in &victims {
            nodes[*victim].kill();
            kills += 1;
        }
        // Back before its absence is known, while it becomes known, and after.
        last(Duration::from_millis([0, 700, 3_000][cycle % 3]));
        for victim in &victims {
            nodes[*victim] = Node::start(&lab, *victim);
        }
        slowest = slowest.max(ring::wait_for_ring(&nodes, ring::SETTLED_MAX));
    }
    let outcome = load.stop();
    println!("{kills} kills in {cycles} cycles; one ring again after {slowest:?} at most");
    outcome.check("kill -9 under load", &nodes);
}

#[test]
fn paused_board_is_back_soon_after_it_goes_on() {
    let lab = Lab::new("pauses", 5);
    let nodes = five(&lab);
    let load = Load::start("pauses", [&nodes[1], &nodes[2], &nodes[3]]);
    let pauses: &[u64] = match wait::is_long() {
        true => &[1, 2, 5, 10, 15, 30, 60],
        false => &[1, 5, 15],
    };
    let mut late = Vec::new();
    for seconds in pauses {
        nodes[2].set_paused(true);
        last(Duration::from_secs(*seconds));
        let gone = nodes[0].sees_ring(&ring::ids(&nodes)).is_err();
        assert!(
            gone || *seconds < 5,
            "the others have noticed after {seconds} s"
        );
        nodes[2].set_paused(false);
        let start = Instant::now();
        ring::wait_for_ring(&nodes, ring::SETTLED_MAX);
        wait::until("it serves", ring::SETTLED_MAX, || {
            let key = format!("after {seconds}");
            let put = nodes[2].put(&key, "v").and_then(|_| nodes[2].get(&key));
            put.map_err(|error| format!("{error:?}"))
        });
        let back = start.elapsed();
        println!("paused for {seconds} s: back after {back:?}");
        if back > BACK_TIME_MAX {
            late.push((*seconds, back));
        }
    }
    load.stop().check("SIGSTOP under load", &nodes);
    assert!(
        late.is_empty(),
        "not back within {BACK_TIME_MAX:?}: {late:?}"
    );
}

/// The digest of everything a node holds, equal where copies are equal.
fn digests(nodes: &[Node]) -> Result<Vec<String>, String> {
    let digest = |node: &Node| {
        let stats = node.call("get_node_stats", json!({}));
        let stats = stats.map_err(|error| format!("{}: {error:?}", node.name))?;
        let digest = stats["tree_digest"].as_str();
        Ok(digest.ok_or("no tree_digest")?.to_owned())
    };
    nodes.iter().map(digest).collect()
}

#[test]
fn copies_are_equal_soon_after_a_heal() {
    let lab = Lab::new("equal", 3);
    // Three boards and three copies: what each holds is the same.
    let nodes = ring::form(&lab, 0..3);
    ring::wait_until_settled(&nodes);
    let mut bucket = Bucket::default();
    bucket.fill(&nodes, 200);
    for alone in 0..3 {
        let others: Vec<usize> = (0..3).filter(|board| *board != alone).collect();
        lab.partition(&[&[alone], &others]);
        let keys: Vec<String> = bucket.keys().take(40).cloned().collect();
        for (n, key) in keys.iter().enumerate() {
            let put = || {
                bucket
                    .put(&nodes[others[n % 2]], key)
                    .map_err(|e| format!("{e:?}"))
            };
            wait::until("a put on the larger side", ring::SETTLED_MAX, put);
        }
        let removed = bucket.keys().nth(alone).cloned().expect("there are keys");
        let removing = json!({"key": removed});
        let remove = || nodes[others[0]].call("remove", removing.clone());
        wait::until("a remove on the larger side", ring::SETTLED_MAX, || {
            remove().map_err(|error| format!("{error:?}"))
        });
        bucket.removed(&removed);
        let apart = digests(&nodes).expect("each board answers its own");
        assert_ne!(apart[alone], apart[others[0]], "the partition cut nothing");
        lab.heal();
        let (_, after) = wait::until("equal digests", EQUAL_MAX, || {
            let digests = digests(&nodes)?;
            match digests.windows(2).all(|pair| pair[0] == pair[1]) {
                true => Ok(()),
                false => Err(format!("{digests:?}")),
            }
        });
        println!("digests of three boards are equal {after:?} after the heal");
    }
    bucket.check(&nodes, ring::SETTLED_MAX);
}

#[test]
fn flapping_link_loses_no_acknowledged_put() {
    let flaps = if wait::is_long() { 60 } else { 10 };
    let lab = Lab::new("flaps", 5);
    let nodes = five(&lab);
    let load = Load::start("flaps", [&nodes[0], &nodes[1], &nodes[3]]);
    for flap in 0..flaps {
        lab.set_cable(1, false);
        last(Duration::from_millis([100, 400, 1_500, 4_000][flap % 4]));
        lab.set_cable(1, true);
        last(Duration::from_millis([600, 200, 1_000][flap % 3]));
    }
    let settled = ring::wait_for_ring(&nodes, ring::SETTLED_MAX);
    println!("{flaps} flaps; one ring {settled:?} after the last");
    load.stop().check("link flaps under load", &nodes);
}

#[test]
fn board_that_is_not_heard_but_hears_harms_nobody() {
    let lab = Lab::new("one-way", 5);
    let nodes = five(&lab);
    for (from, to, what) in [
        (&[0][..], &[1, 2, 3, 4][..], "not heard by any"),
        (&[1, 2, 3, 4], &[0], "deaf"),
        (&[0], &[1, 2], "not heard by two"),
    ] {
        let load = Load::start(what, [&nodes[0], &nodes[1], &nodes[4]]);
        lab.cut_one_way(from, to);
        last(Duration::from_secs(if wait::is_long() { 60 } else { 8 }));
        lab.heal();
        let settled = ring::wait_for_ring(&nodes, ring::SETTLED_MAX);
        println!("a board that was {what}: one ring {settled:?} after the heal");
        let outcome = load.stop();
        outcome.check(what, &nodes);
        assert!(outcome.gap_max < GAP_MAX, "the other boards go on");
    }
}

#[test]
fn stranger_that_takes_a_boards_address_harms_no_acknowledged_put() {
    let lab = Lab::unplugged("duplicate", 6);
    lab.plug(0..5);
    let nodes = five(&lab);
    let load = Load::start("duplicate", [&nodes[0], &nodes[1], &nodes[4]]);
    lab.plug([5]);
    let address = lab.board(1).address();
    lab.board(5).ip(&format!(
        "addr flush dev eth0\naddr add {address}/16 dev eth0\n"
    ));
    // Whoever hears its requests takes its hardware address for the board's.
    let others: Vec<_> = (0..5).filter(|board| *board != 1).collect();
    let claim = |round: u64| {
        for board in &others {
            let to = (lab.board(*board).address(), 9);
            lab.board(5).agent().run(move || {
                let socket = UdpSocket::bind((address, 0)).expect("the address is there");
                // Refused, or nobody answers: either way it asked.
                let _ = socket.send_to(&round.to_be_bytes(), to);
            });
        }
        lab.board(5).ip("neigh flush dev eth0\n");
    };
    for round in 0..if wait::is_long() { 120 } else { 20 } {
        claim(round);
        last(Duration::from_millis(500));
    }
    let seen = nodes[0].members().map(|members| {
        let alive = members.iter().filter(|(_, alive)| *alive);
        alive.count()
    });
    lab.set_cable(5, false);
    let settled = ring::wait_for_ring(&nodes, Duration::from_secs(60));
    println!("two with one address: {seen:?} alive meanwhile; one ring {settled:?} after");
    load.stop().check("a duplicate address", &nodes);
}

#[test]
fn ring_forms_where_four_of_five_multicast_frames_are_lost() {
    let lab = Lab::new("loss80", 5);
    lab.lose_multicast(80);
    let mut nodes = ring::exec(&lab, 0..5);
    nodes.iter_mut().for_each(Node::wait_ready);
    let formed = ring::wait_for_ring(&nodes, Duration::from_secs(60));
    println!("one ring {formed:?} after all were ready, with 80 % of multicast lost");
    let mut bucket = Bucket::default();
    bucket.fill(&nodes, 20);
    bucket.check(&nodes, Duration::from_secs(10));
}

#[test]
fn ring_forms_and_works_over_a_slow_lossy_reordering_network() {
    let lab = Lab::new("switch", 5);
    let switch = lab.switch(Plan {
        seed: 20_261,
        delay: (Duration::ZERO, Duration::from_millis(40)),
        overtaking_percent: 5,
        lost_percent: 1,
        doubled_percent: 1,
    });
    let start = Instant::now();
    let nodes = five(&lab);
    println!(
        "a ring of five formed in {:?} over 20±20 ms",
        start.elapsed()
    );
    let load = Load::start("switch", &nodes);
    last(Duration::from_secs(if wait::is_long() { 120 } else { 10 }));
    let outcome = load.stop();
    ring::wait_for_ring(&nodes, ring::SETTLED_MAX);
    outcome.check("over a bad network", &nodes);
    let counts = switch.counts();
    println!("{counts:?}");
    assert!(
        counts.lost > 0 && counts.overtook > 0 && counts.doubled > 0,
        "{counts:?}"
    );
    assert_eq!(counts.failed, 0, "every frame fits");
}

#[test]
fn partition_under_load_heals_to_one_ring() {
    let lab = Lab::new("halves", 5);
    let nodes = five(&lab);
    let load = Load::start("halves", &nodes);
    for _ in 0..if wait::is_long() { 10 } else { 2 } {
        lab.partition(&[&[0, 1, 2], &[3, 4]]);
        ring::wait_for_ring(&nodes[..3], ring::SETTLED_MAX);
        ring::wait_for_ring(&nodes[3..], ring::SETTLED_MAX);
        last(Duration::from_secs(3));
        lab.heal();
        let healed = ring::wait_for_ring(&nodes, ring::SETTLED_MAX);
        println!("3|2 under load: one ring {healed:?} after the heal");
    }
    load.stop().check("partitions under load", &nodes);
}
