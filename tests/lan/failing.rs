//! Boards and the network failing: kills, restarts, partitions, pauses; nothing acknowledged is
//! lost, and nobody is told "not found" of what others hold.

use std::time::{Duration, Instant};

use crate::lab::Lab;
use crate::node::{Node, Start};
use crate::ring::{self, Bucket};
use crate::wait;

#[test]
fn kill_of_any_one_of_five_loses_nothing_and_no_put_fails() {
    let lab = Lab::new("kill", 5);
    let mut nodes = ring::form(&lab, 0..5);
    let mut bucket = Bucket::default();
    bucket.fill(&nodes, 50);
    for victim in 0..5 {
        let mut killed = nodes.remove(victim);
        killed.kill();
        let survivors = ring::ids(&nodes);
        // Quorum puts go on before the kill is known, while it becomes known, and after.
        let start = Instant::now();
        let knows = |node: &Node| node.sees_ring(&survivors).is_ok();
        while !nodes.iter().all(knows) {
            assert!(
                start.elapsed() < ring::SETTLED_MAX,
                "the kill of {} is known",
                killed.name
            );
            bucket.fill(&nodes, 10);
        }
        println!(
            "kill of {} known to all after {:?}",
            killed.name,
            start.elapsed()
        );
        bucket.fill(&nodes, 10);
        bucket.check(&nodes, Duration::from_secs(20));
        nodes.insert(victim, Node::start(&lab, victim));
        ring::wait_for_ring(&nodes, ring::SETTLED_MAX);
    }
    bucket.check(&nodes, Duration::from_secs(20));
    bucket.check_scan(&nodes[0]);
    println!("{} keys, five kills, none lost", bucket.len());
}

#[test]
fn restart_of_all_nodes_keeps_all_data() {
    let lab = Lab::new("restart", 5);
    let mut nodes = ring::form(&lab, 0..5);
    let ids = ring::ids(&nodes);
    let mut bucket = Bucket::default();
    for graceful in [false, true] {
        bucket.fill(&nodes, 100);
        if graceful {
            let signal =
                |node: &Node| nix::sys::signal::kill(node.pid(), nix::sys::signal::Signal::SIGTERM);
            nodes.iter().for_each(|node| signal(node).expect("it runs"));
            for node in &mut nodes {
                let status = node.wait_exit(Duration::from_secs(70));
                assert!(status.success(), "{} ends with {status}", node.name);
            }
        } else {
            nodes.iter_mut().for_each(Node::kill);
        }
        drop(nodes);
        nodes = ring::form(&lab, 0..5);
        assert_eq!(ring::ids(&nodes), ids, "every board is who it was");
        bucket.check(&nodes, Duration::from_secs(20));
        bucket.check_scan(&nodes[0]);
    }
}

#[test]
fn partition_makes_two_rings_that_know_what_they_do_not_know_and_heals_to_one() {
    let lab = Lab::new("partition", 5);
    let nodes = ring::form(&lab, 0..5);
    let mut bucket = Bucket::default();
    bucket.fill(&nodes, 150);
    lab.partition(&[&[0, 1, 2], &[3, 4]]);
    let sides = [&nodes[..3], &nodes[3..]];
    for side in sides {
        ring::wait_for_ring(side, ring::SETTLED_MAX);
    }
    let (mut served, mut unavailable) = (0, 0);
    for side in sides {
        for (index, key) in bucket.keys().enumerate() {
            match side[index % side.len()].get(key) {
                Ok(_) => served += 1,
                Err(error) if error.code == ring::UNAVAILABLE => unavailable += 1,
                Err(error) => panic!("{key:?} in a partition: {error:?}"),
            }
        }
    }
    println!("in two halves: {served} reads served, {unavailable} unavailable, none denied");
    assert!(served > 0);
    let mut acknowledged = 0;
    for (number, side) in sides.into_iter().enumerate() {
        for put in 0..30 {
            let key = format!("key of side {number}, {put}");
            match bucket.put(&side[put % side.len()], &key) {
                Ok(_) => acknowledged += 1,
                Err(error) => assert_eq!(error.code, ring::UNAVAILABLE, "{error:?}"),
            }
        }
    }
    lab.heal();
    let healed = ring::wait_for_ring(&nodes, ring::SETTLED_MAX);
    println!("healed to one ring after {healed:?}; {acknowledged} of 60 puts went on meanwhile");
    bucket.check(&nodes, Duration::from_secs(60));
}

#[test]
fn paused_board_comes_back_without_harm() {
    let lab = Lab::new("pause", 5);
    let nodes = ring::form(&lab, 0..5);
    let mut bucket = Bucket::default();
    bucket.fill(&nodes, 50);
    nodes[2].set_paused(true);
    let others = || nodes.iter().filter(|node| node.index() != 2);
    let ids = ring::ids(others());
    wait::until("the others notice", ring::SETTLED_MAX, || {
        others().try_for_each(|node| node.sees_ring(&ids))
    });
    nodes[2].set_paused(false);
    ring::wait_for_ring(&nodes, ring::SETTLED_MAX);
    bucket.check(&nodes, Duration::from_secs(20));
}

#[test]
fn ring_forms_where_every_third_multicast_frame_is_lost() {
    let lab = Lab::new("loss", 5);
    lab.lose_multicast(33);
    let nodes = ring::form(&lab, 0..5);
    let mut bucket = Bucket::default();
    bucket.fill(&nodes, 20);
    bucket.check(&nodes, Duration::from_secs(10));
}

#[test]
fn data_directory_in_use_is_refused_and_says_what_to_do() {
    let lab = Lab::new("in-use", 1);
    let mut first = Node::start(&lab, 0);
    lab.expect_error("in use");
    let again = Start {
        name: "again".to_owned(),
        ..Start::on(0)
    };
    let mut second = Node::exec(&lab, 0, again);
    let status = second.wait_exit(Duration::from_secs(10));
    assert!(!status.success());
    let log = second.log();
    assert!(log.contains("in use") && log.contains("--data"), "{log}");
    assert!(first.is_running());
    first.put("key", "value").expect("the first serves on");
}

#[test]
fn cloned_card_is_refused_and_says_what_to_do() {
    let lab = Lab::new("clone", 4);
    let mut nodes = ring::form(&lab, 0..3);
    let mut bucket = Bucket::default();
    bucket.fill(&nodes, 20);
    nodes[1].terminate();
    let data = |name: &str| lab.directory().join(name);
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([data("data2"), data("data4")])
        .status();
    assert!(copied.expect("cp runs").success());
    nodes[1] = Node::start(&lab, 1);
    ring::wait_for_ring(&nodes, ring::SETTLED_MAX);
    lab.expect_error("clone");
    let mut clone = Node::exec(&lab, 3, Start::on(3));
    let status = clone.wait_exit(Duration::from_secs(30));
    assert!(!status.success());
    let log = clone.log();
    assert!(
        log.contains("clone") && log.contains("identity.pk8"),
        "{log}"
    );
    assert!(
        nodes.iter_mut().all(Node::is_running),
        "the first to run stays"
    );
    ring::wait_for_ring(&nodes, ring::SETTLED_MAX);
    bucket.check(&nodes, Duration::from_secs(10));
}
