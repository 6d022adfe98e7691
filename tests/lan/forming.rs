//! Rings that form: 3 and 30 boards at once, a late one, an orderly leave, one that answers early.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::http;
use crate::lab::Lab;
use crate::node::{Node, Start};
use crate::ring::{self, Bucket};
use crate::wait;

/// From the first exec until every node sees all and has the right successor; the median of
/// `rounds` fresh labs.
fn time_to_form(boards: usize, rounds: usize, deadline: Duration) -> Duration {
    let mut times = Vec::new();
    for _ in 0..rounds {
        let lab = Lab::in_memory("form", boards);
        let start = Instant::now();
        let mut nodes = ring::exec(&lab, 0..boards);
        nodes.iter_mut().for_each(Node::wait_ready);
        ring::wait_for_ring(&nodes, deadline);
        times.push(start.elapsed());
    }
    let (median, _) = wait::median_and_p99(times.clone());
    println!("{boards} boards form a ring: median {median:?} of {times:?}");
    median
}

fn rounds() -> usize {
    if wait::is_long() { 5 } else { 3 }
}

#[test]
fn three_boards_form_a_ring() {
    assert!(time_to_form(3, rounds(), Duration::from_secs(15)) <= Duration::from_secs(5));
}

#[test]
fn thirty_boards_started_together_form_a_ring() {
    assert!(time_to_form(30, rounds(), Duration::from_secs(40)) <= Duration::from_secs(10));
}

#[test]
fn late_board_is_in_the_ring_soon() {
    let lab = Lab::new("late", 6);
    let mut nodes = ring::form(&lab, 0..5);
    let start = Instant::now();
    nodes.push(Node::start(&lab, 5));
    ring::wait_for_ring(&nodes, Duration::from_secs(15));
    println!("a sixth board is in the ring after {:?}", start.elapsed());
    assert!(start.elapsed() <= Duration::from_secs(5));
}

#[test]
fn orderly_leave_loses_nothing() {
    let lab = Lab::new("leave", 5);
    let mut nodes = ring::form(&lab, 0..5);
    let mut bucket = Bucket::default();
    bucket.fill(&nodes, 100);
    while nodes.len() > 2 {
        let mut leaver = nodes.remove(0);
        let left = leaver.call("leave_ring", json!({"mode": "orderly"}));
        let left = left.expect("an orderly leave succeeds in a whole ring");
        assert!(left["transferred"].is_u64(), "{left}");
        let gone = ring::ids([&leaver]);
        for node in &nodes {
            wait::until("the leaver is out of the roster", ring::SETTLED_MAX, || {
                let members = node.members()?;
                match members.iter().any(|(id, _)| *id == gone[0]) {
                    true => Err(format!("{} still lists it", node.name)),
                    false => Ok(()),
                }
            });
        }
        leaver.kill();
        ring::wait_for_ring(&nodes, ring::SETTLED_MAX);
        bucket.check(&nodes, Duration::from_secs(10));
        bucket.check_scan(&nodes[0]);
    }
}

#[test]
fn first_answer_comes_soon_after_the_start() {
    let lab = Lab::new("answer", 1);
    let mut times = Vec::new();
    for _ in 0..5 {
        let mut node = Node::exec(&lab, 0, Start::on(0));
        let to = (lab.board(0).address(), 38_400).into();
        let (answer, _) = wait::until("the first answer", Duration::from_secs(5), || {
            let ask = move || http::request(to, "GET", "/healthz", b"");
            lab.board(0)
                .agent()
                .run(ask)
                .map_err(|error| error.to_string())
        });
        times.push(node.age());
        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
        node.wait_ready();
        assert!(node.terminate().success());
    }
    let (median, _) = wait::median_and_p99(times.clone());
    println!("exec to first HTTP answer: median {median:?} of {times:?}");
    assert!(median <= Duration::from_millis(250));
}
