//! Ring mode `partial` by real binaries: more boards than one neighbourhood has, so that pointers
//! are learned, lookups walk, and operations go to where the copies are.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::lab::Lab;
use crate::node::{Node, Start};
use crate::ring::{self, Bucket};
use crate::wait;

/// Boards of the lab: a neighbourhood has 17.
const BOARDS: usize = 20;
/// Boards a board knows on each side.
const SIDE: usize = 8;
const FORMED_MAX: Duration = Duration::from_secs(90);

fn start(lab: &Lab, board: usize) -> Node<'_> {
    let start = Start {
        ring_mode: Some("partial"),
        ..Start::on(board)
    };
    Node::exec(lab, board, start)
}

/// The board knows its neighbourhood, all alive and nobody moving, and its pointers are right.
fn sees_neighbourhood(node: &Node, ring: &[String]) -> Result<(), String> {
    let at = ring.iter().position(|id| *id == node.id);
    let at = at.ok_or_else(|| format!("{} is not expected", node.name))?;
    let around = |k: usize| ring[(at + k) % ring.len()].clone();
    let before = ring.len() - SIDE;
    let mut near: Vec<String> = (0..=SIDE).chain(before..ring.len()).map(around).collect();
    near.sort();
    near.dedup();
    let state = node.call("get_cluster_state", json!({}));
    let state = state.map_err(|error| format!("{}: {error:?}", node.name))?;
    let mut alive: Vec<String> = node.members()?.into_iter().map(|(id, _)| id).collect();
    alive.sort();
    let whole = node.members()?.iter().all(|(_, alive)| *alive);
    let cluster = &state["cluster"];
    if !whole || alive != near || cluster["settled"] != true || cluster["mode"] != "partial" {
        let known = alive.iter().filter(|id| near.contains(id)).count();
        let all = near.len();
        let settled = &cluster["settled"];
        return Err(format!(
            "{} knows {known} of {all} neighbours, present: {whole}, settled: {settled}",
            node.name
        ));
    }
    let fingers = node.call("get_ring_fingers", json!({}));
    let fingers = fingers.map_err(|error| format!("{}: {error:?}", node.name))?;
    let id_of = |node: &Value| node["id"].as_str().unwrap_or_default().to_owned();
    let successors = fingers["successors"].as_array().cloned();
    let successors: Vec<String> = successors.unwrap_or_default().iter().map(id_of).collect();
    let expected: Vec<String> = (1..=SIDE).map(around).collect();
    match successors == expected && id_of(&fingers["predecessor"]) == around(ring.len() - 1) {
        true => Ok(()),
        false => Err(format!("{}: pointers are not ideal", node.name)),
    }
}

fn wait_for_ring(nodes: &[Node]) -> Duration {
    let start = Instant::now();
    let mut ring = ring::ids(nodes);
    ring.sort();
    for node in nodes {
        let left = FORMED_MAX.saturating_sub(start.elapsed());
        let what = format!("the neighbourhood of {}", node.name);
        wait::until(&what, left, || sees_neighbourhood(node, &ring));
    }
    start.elapsed()
}

/// Every board looks a few ids up: all agree, and the path begins at the asker.
fn check_lookups(nodes: &[Node]) -> (usize, usize) {
    let (mut most, mut sum) = (0, 0);
    for asker in nodes {
        for goal in [&nodes[0], &nodes[nodes.len() / 2], &nodes[nodes.len() - 1]] {
            let found = asker.call("find_ring_successor", json!({"id": goal.id}));
            let found = found.unwrap_or_else(|error| panic!("{}: {error:?}", asker.name));
            assert_eq!(found["id"], json!(goal.id), "{} looks up", asker.name);
            let hops = found["hops"].as_u64().expect("hops are told") as usize;
            most = most.max(hops);
            sum += hops;
        }
    }
    (sum, most)
}

#[test]
fn twenty_boards_in_mode_partial_keep_every_key_through_a_kill_and_a_leave() {
    let lab = Lab::in_memory("partial", BOARDS);
    let begun = Instant::now();
    let mut nodes: Vec<Node> = (0..BOARDS).map(|board| start(&lab, board)).collect();
    nodes.iter_mut().for_each(Node::wait_ready);
    wait_for_ring(&nodes);
    println!("{BOARDS} boards form in {:?}", begun.elapsed());
    let (hops, most) = check_lookups(&nodes);
    let lookups = BOARDS * 3;
    println!("{lookups} lookups: {hops} hops in all, {most} at most");

    let mut bucket = Bucket::default();
    bucket.fill(&nodes, 4 * BOARDS);
    bucket.check(&nodes, Duration::from_secs(60));
    bucket.check_scan(&nodes[3]);

    let mut killed = nodes.remove(7);
    killed.kill();
    bucket.check(&nodes, Duration::from_secs(60));
    let mut back = start(&lab, 7);
    back.wait_ready();
    nodes.insert(7, back);
    println!("killed board is back after {:?}", wait_for_ring(&nodes));
    bucket.check(&nodes, Duration::from_secs(60));

    let left = nodes.remove(12);
    let answer = left.call("leave_ring", json!({"mode": "orderly"}));
    let answer = answer.unwrap_or_else(|error| panic!("leave: {error:?}"));
    println!("left: {answer}");
    println!("ring closed after {:?}", wait_for_ring(&nodes));
    bucket.check(&nodes, Duration::from_secs(60));
    bucket.check_scan(&nodes[0]);
    println!("{} keys, none lost", bucket.len());
}
