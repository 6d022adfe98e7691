//! Interfaces, addresses and routes that come late, change or are missing; clusters side by side.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::lab::Lab;
use crate::node::{Node, Start};
use crate::ring::{self, Bucket};
use crate::wait;

#[test]
fn interface_that_appears_later_is_used() {
    let lab = Lab::unplugged("interface", 3);
    lab.plug(0..2);
    let mut nodes = ring::form(&lab, 0..2);
    let mut third = Node::exec(&lab, 2, Start::on(2));
    wait::until(
        "the third says that it waits",
        Duration::from_secs(5),
        || {
            let log = third.log();
            log.contains("eth0").then_some(()).ok_or(log)
        },
    );
    assert!(third.is_running());
    let start = Instant::now();
    lab.plug([2]);
    third.wait_ready();
    let address = SocketAddr::from((lab.board(2).address(), third.endpoint().port()));
    third.set_endpoint(address);
    nodes.push(third);
    ring::wait_for_ring(&nodes, ring::SETTLED_MAX);
    println!(
        "in the ring {:?} after the interface appeared",
        start.elapsed()
    );
    let mut bucket = Bucket::default();
    bucket.fill(&nodes, 20);
    bucket.check(&nodes, Duration::from_secs(10));
}

#[test]
fn address_that_changes_moves_no_key_and_loses_none() {
    let lab = Lab::new("address", 3);
    let mut nodes = ring::form(&lab, 0..3);
    let ids = ring::ids(&nodes);
    let mut bucket = Bucket::default();
    bucket.fill(&nodes, 50);
    let old = lab.board(1).address();
    lab.board(1).ip(&format!(
        "addr del {old}/16 dev eth0\naddr add 10.77.9.9/16 dev eth0\n"
    ));
    lab.board(1).ip("route replace default dev eth0\n");
    let port = nodes[1].endpoint().port();
    nodes[1].set_endpoint(SocketAddr::from(([10, 77, 9, 9], port)));
    let start = Instant::now();
    wait::until("the others know the new address", ring::SETTLED_MAX, || {
        let state = nodes[0].call("get_cluster_state", serde_json::json!({}));
        let state = state.map_err(|error| format!("{error:?}"))?;
        let nodes = state["cluster"]["nodes"].to_string();
        nodes.contains("10.77.9.9").then_some(()).ok_or(nodes)
    });
    ring::wait_for_ring(&nodes, ring::SETTLED_MAX);
    println!("one ring {:?} after an address changed", start.elapsed());
    assert_eq!(ring::ids(&nodes), ids);
    bucket.fill(&nodes, 20);
    bucket.check(&nodes, Duration::from_secs(20));
}

#[test]
fn pulled_cable_that_is_put_back_heals() {
    let lab = Lab::new("pulled", 3);
    let nodes = ring::form(&lab, 0..3);
    let mut bucket = Bucket::default();
    bucket.fill(&nodes, 20);
    lab.set_cable(2, false);
    let two = ring::ids(&nodes[..2]);
    wait::until("two are left", ring::SETTLED_MAX, || {
        nodes[..2].iter().try_for_each(|node| node.sees_ring(&two))
    });
    bucket.fill(&nodes[..2], 20);
    lab.set_cable(2, true);
    ring::wait_for_ring(&nodes, ring::SETTLED_MAX);
    bucket.check(&nodes, Duration::from_secs(20));
}

#[test]
fn board_without_a_multicast_route_joins() {
    let lab = Lab::new("route", 4);
    for board in [1, 2] {
        lab.board(board).ip("route del default dev eth0\n");
    }
    let mut nodes = ring::exec(&lab, 0..2);
    // One is told its interface, one finds it.
    for board in [2, 3] {
        let start = Start {
            interface: None,
            ..Start::on(board)
        };
        nodes.push(Node::exec(&lab, board, start));
    }
    nodes.iter_mut().for_each(Node::wait_ready);
    ring::wait_for_ring(&nodes, ring::SETTLED_MAX);
    let mut bucket = Bucket::default();
    bucket.fill(&nodes, 20);
    bucket.check(&nodes, Duration::from_secs(10));
}

#[test]
fn clusters_of_different_names_stay_apart() {
    let lab = Lab::new("apart", 5);
    let start = |board: usize| {
        let cluster = if board < 3 { "red" } else { "blue" };
        Node::exec(
            &lab,
            board,
            Start {
                cluster,
                ..Start::on(board)
            },
        )
    };
    let mut nodes: Vec<_> = (0..5).map(start).collect();
    nodes.iter_mut().for_each(Node::wait_ready);
    let (red, blue) = nodes.split_at(3);
    ring::wait_for_ring(red, ring::SETTLED_MAX);
    ring::wait_for_ring(blue, ring::SETTLED_MAX);
    red[0].put("colour", "red").expect("red is whole");
    blue[0].put("colour", "blue").expect("blue is whole");
    let (reds, blues) = (ring::ids(red), ring::ids(blue));
    let interval = Duration::from_millis(500);
    wait::holds("they stay apart", Duration::from_secs(5), interval, || {
        red.iter().try_for_each(|node| node.sees_ring(&reds))?;
        blue.iter().try_for_each(|node| node.sees_ring(&blues))
    });
    assert_eq!(red[2].get("colour").as_deref(), Ok("red"));
    assert_eq!(blue[1].get("colour").as_deref(), Ok("blue"));
}
