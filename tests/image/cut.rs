//! An update in a ring, with the power cut at several of its moments: the board comes up each time,
//! from a whole root, with all that it stored.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::boot::{self, RING_TIME_MAX};
use crate::guest::Guest;
use crate::lab::Lab;
use crate::node::{Node, Start};
use crate::update::{self, Bench, RESTART_TIME_MAX};
use crate::wait;

/// From a power cut until the update is good, or the board is back: a start, the write anew, a
/// restart, a minute in the ring.
const END_TIME_MAX: Duration = Duration::from_secs(360);
/// When the power goes, after the board has the whole update: while root waits for its turn, writes
/// the slot, checks it, writes the slots' state, restarts, and starts the trial.
const CUTS_MS: [u64; 6] = [500, 3_000, 5_000, 7_000, 9_000, 13_000];

/// Waits until the update has ended one way or the other, over as many restarts as it takes.
fn end<'a>(bench: &Bench<'a>, mut guest: Guest<'a>) -> (Guest<'a>, Value) {
    let deadline = Instant::now() + END_TIME_MAX;
    loop {
        if guest.has_ended() {
            guest.cut_power();
            guest = bench.start();
        }
        let state = guest.call("get_node_state", json!({})).unwrap_or_default();
        let outcome = state["image"]["last_update"]["outcome"].as_str();
        if matches!(outcome, Some("good" | "back" | "refused")) {
            return (guest, state["image"].clone());
        }
        assert!(Instant::now() < deadline, "it does not end: {state}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// The update is on the board as a whole.
fn wait_until_kept(guest: &Guest<'_>) {
    wait::until("the update is kept", RESTART_TIME_MAX, || {
        let state = guest.call("get_node_state", json!({}));
        let state = state.map_err(|error| format!("{error:?}"))?;
        match state["image"]["last_update"]["outcome"].as_str() {
            Some("waiting" | "trying") => Ok(()),
            _ => Err(state["image"].to_string()),
        }
    });
}

#[test]
fn a_power_cut_at_any_moment_of_an_update_in_a_ring_loses_nothing() {
    if !wait::is_long() {
        println!("left out: it starts the machine a dozen times; ./tests/run --long does");
        return;
    }
    let lab = Lab::new("update-cut", 1);
    let bench = Bench::new(&lab);
    let key = format!("key_file = {:?}\n", update::name("cluster.key"));
    fs::write(lab.directory().join("n1.toml"), key).expect("there is room");
    let start = Start {
        cluster: "roundel",
        ..Start::on(0)
    };
    let mut node = [Node::exec(&lab, 0, start)];
    node[0].wait_ready();
    let mut guest = bench.start();
    let ids = [node[0].id.clone(), guest.id().to_owned()];
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    boot::wait_for_members(&node, &ids);
    node[0].put("kept", "here").expect("it is stored");
    for cut in CUTS_MS {
        let before = update::image(&guest)["slot"].clone();
        let told = bench.update(&guest, &update::name("update"));
        wait_until_kept(&guest);
        std::thread::sleep(Duration::from_millis(cut));
        guest.cut_power();
        let (after, image) = end(&bench, bench.start());
        guest = after;
        println!("power cut after {cut} ms: slot {before} before, then {image}");
        let good = image["last_update"]["outcome"] == "good";
        assert_eq!(image["slot"] != before, good, "{image}");
        assert_eq!(image["trial"], false, "{image}");
        boot::wait_for_members(&node, &ids);
        let read = || guest.get("kept").map_err(|error| format!("{error:?}"));
        let (value, _) = wait::until("the value is read", RING_TIME_MAX, read);
        assert_eq!(value, "here");
        let (code, said) = told.recv().expect("it ends");
        assert_eq!(code == Some(0), good, "{said}");
    }
}
