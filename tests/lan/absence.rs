//! Boards that stay away: given up by the majority, never by a minority, and back without harm.

use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::lab::Lab;
use crate::node::Node;
use crate::ring::{self, Bucket};
use crate::wait;

/// Seconds a board may be absent in these tests.
const GRACE_SECONDS: u64 = 6;
/// A kill is known within this, asserted at five times the goal.
const KNOWN_MAX: Duration = Duration::from_secs(15);
/// A majority has given a board up within this after the grace time.
const GIVEN_UP_MAX: Duration = Duration::from_secs(40);

/// Five nodes with a short grace time.
fn form(lab: &Lab) -> Vec<Node<'_>> {
    for board in 1..=5 {
        let path = lab.directory().join(format!("n{board}.toml"));
        let text = format!("grace_time_s = {GRACE_SECONDS}\n");
        fs::write(path, text).expect("the lab's directory is there");
    }
    ring::form(lab, 0..5)
}

#[test]
fn detector_phi_finds_a_kill_and_harms_nobody_who_is_slow() {
    let lab = Lab::new("phi", 5);
    for board in 1..=5 {
        let path = lab.directory().join(format!("n{board}.toml"));
        fs::write(path, "detector = \"phi\"\n").expect("the lab's directory is there");
    }
    let mut nodes = ring::form(&lab, 0..5);
    ring::wait_until_settled(&nodes);
    let ids = ring::ids(&nodes);
    // It has learnt how regular arrivals are; a pause shorter than the patience is none of them.
    std::thread::sleep(Duration::from_secs(10));
    nodes[1].set_paused(true);
    std::thread::sleep(Duration::from_millis(600));
    nodes[1].set_paused(false);
    let look = Duration::from_millis(100);
    wait::holds(
        "a short pause harms nobody",
        Duration::from_secs(5),
        look,
        || nodes.iter().try_for_each(|node| node.sees_ring(&ids)),
    );
    let mut victim = nodes.remove(3);
    victim.kill();
    let (_, after) = wait::until("the kill is known", KNOWN_MAX, || {
        let sees = |node: &Node| {
            let members = node.members()?;
            match members.iter().any(|(id, alive)| *id == victim.id && !alive) {
                true => Ok(()),
                false => Err(format!("{} sees it alive", node.name)),
            }
        };
        nodes.iter().try_for_each(sees)
    });
    println!("phi: a kill is known to all of five after {after:?}");
    nodes.push(Node::start(&lab, 3));
    ring::wait_for_ring(&nodes, ring::SETTLED_MAX);
    for node in nodes.iter().filter(|node| node.id != victim.id) {
        let fallen = node.log();
        let fallen = fallen.lines().filter(|line| line.contains("board absent"));
        let others = fallen.filter(|line| !line.contains(&victim.id[..8]));
        assert_eq!(
            others.count(),
            0,
            "{} declared another board dead",
            node.name
        );
    }
}

/// The node's roster has so many boards.
fn has_members(node: &Node, count: usize) -> Result<(), String> {
    match node.members()?.len() {
        found if found == count => Ok(()),
        found => Err(format!("{} has {found} boards, not {count}", node.name)),
    }
}

/// Live items of all the nodes' stores together.
fn copies(nodes: &[Node]) -> Result<u64, String> {
    let mut sum = 0;
    for node in nodes {
        let stats = node.call("get_node_stats", json!({}));
        let stats = stats.map_err(|error| format!("{}: {error:?}", node.name))?;
        sum += stats["items"].as_u64().unwrap_or(0);
    }
    Ok(sum)
}

fn has_copies(nodes: &[Node], count: usize) -> Result<(), String> {
    match copies(nodes)? {
        found if found == count as u64 => Ok(()),
        found => Err(format!("{found} copies, not {count}")),
    }
}

#[test]
fn killed_board_is_given_up_restored_and_returns_without_what_was_removed() {
    let lab = Lab::new("given-up", 5);
    let mut nodes = form(&lab);
    let mut bucket = Bucket::default();
    bucket.fill(&nodes, 60);
    for i in 0..20 {
        nodes[0]
            .put(&format!("doomed {i}"), "v")
            .expect("five boards take it");
    }
    let full = |nodes: &[Node], keys: usize| {
        wait::until("three copies of each", GIVEN_UP_MAX, || {
            has_copies(nodes, 3 * keys)
        })
        .1
    };
    full(&nodes, 80);
    let mut killed = nodes.remove(2);
    killed.kill();
    let (_, took) = wait::until("it is given up", GIVEN_UP_MAX, || {
        nodes.iter().try_for_each(|node| has_members(node, 4))
    });
    println!("given up {took:?} after the kill, grace time {GRACE_SECONDS} s");
    assert!(took >= Duration::from_secs(GRACE_SECONDS));
    println!("three copies of each again after {:?}", full(&nodes, 80));
    for i in 0..20 {
        let key = json!({"key": format!("doomed {i}")});
        nodes[i % 4]
            .call("remove", key)
            .expect("four boards take it");
    }
    drop(killed);
    nodes.insert(2, Node::start(&lab, 2));
    ring::wait_for_ring(&nodes, ring::SETTLED_MAX);
    println!(
        "back with three copies of each after {:?}",
        full(&nodes, 60)
    );
    bucket.check(&nodes, Duration::from_secs(20));
    bucket.check_scan(&nodes[2]);
    for i in 0..20 {
        for node in &nodes {
            let found = node.get(&format!("doomed {i}")).map_err(|error| error.code);
            assert_eq!(found, Err(ring::NOT_FOUND), "{}, doomed {i}", node.name);
        }
    }
}

#[test]
fn two_of_five_that_are_cut_off_give_nobody_up_and_come_back() {
    let lab = Lab::new("minority", 5);
    let nodes = form(&lab);
    let mut bucket = Bucket::default();
    bucket.fill(&nodes, 60);
    lab.partition(&[&[0, 1, 2], &[3, 4]]);
    wait::until("the majority gives up the two", GIVEN_UP_MAX, || {
        nodes[..3].iter().try_for_each(|node| has_members(node, 3))
    });
    wait::holds(
        "the minority gives nobody up",
        Duration::from_secs(2 * GRACE_SECONDS),
        Duration::from_millis(200),
        || nodes[3..].iter().try_for_each(|node| has_members(node, 5)),
    );
    let state = nodes[3].call("get_node_stats", json!({})).expect("it runs");
    let problems = state["problems"].to_string();
    assert!(problems.contains("2 of 5 boards are there"), "{problems}");
    bucket.fill(&nodes[..3], 20);
    lab.heal();
    println!(
        "one ring again after {:?}",
        ring::wait_for_ring(&nodes, Duration::from_secs(60))
    );
    bucket.check(&nodes, Duration::from_secs(60));
    bucket.check_scan(&nodes[4]);
}
