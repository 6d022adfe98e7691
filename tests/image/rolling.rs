//! A ring of guests is updated one board after the other.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use roundel::security::identity::Signer;
use roundel::wire::update::{HEAD_BYTES, Signed};
use serde_json::{Value, json};

use crate::boot::{self, Dhcp};
use crate::guest::Guest;
use crate::lab::Lab;
use crate::update;
use crate::wait;

/// Each of two boards is sent the update, restarts, and is in the ring for a minute.
const ROLL_TIME_MAX: Duration = Duration::from_secs(900);

/// The commit that the update says it is of: boards that have it already are passed over.
const COMMIT: &str = "1111111111111111111111111111111111111111";

/// The image's own root, but of that commit, signed.
fn next(lab: &Lab) -> PathBuf {
    let change = format!("sed -i 's/^COMMIT=.*/COMMIT={COMMIT}/' etc/roundel-release");
    let path = update::variant(lab, "next", &change);
    let bytes = fs::read(&path).expect("it was written");
    let mut signed = Signed::parse(&bytes).expect("it is an update");
    signed.update.commit = COMMIT.to_owned();
    signed.signature = update::signing_key().sign(signed.update.emit().as_bytes());
    fs::write(&path, [&signed.emit(), &bytes[HEAD_BYTES..]].concat()).expect("there is room");
    path
}

/// What a guest says of its image; null while it does not answer.
fn image(guest: &Guest<'_>) -> Value {
    let state = guest.call("get_node_state", json!({}));
    state.unwrap_or_default()["image"].clone()
}

/// `roundel update --rolling`, as the owner runs it elsewhere: exit code and what it said.
fn roll(lab: &Lab, guest: &Guest<'_>) -> Receiver<(Option<i32>, String)> {
    let (to, next) = (guest.endpoint().to_string(), next(lab));
    let owner = lab.board(0).visitor();
    let (done, told) = mpsc::channel();
    std::thread::spawn(move || {
        let run = move || {
            Command::new(env!("CARGO_BIN_EXE_roundel"))
                .args(["update", "--rolling", "--node", &to, "--key"])
                .arg(update::name("cluster.key"))
                .arg(next)
                .output()
        };
        let output = owner.run(run).expect("the program was built");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        let _ = done.send((output.status.code(), said));
    });
    told
}

/// A guest that restarts does so while the other runs, and not on trial.
fn power_on_again<'a>(
    guests: &mut [Guest<'a>; 2],
    number: usize,
    start: &impl Fn(usize) -> Guest<'a>,
) {
    if !guests[number].has_ended() {
        return;
    }
    let other = image(&guests[1 - number]);
    assert_eq!(
        other["trial"], false,
        "the other runs, and is good: {other}"
    );
    println!("board {number} restarts");
    guests[number].cut_power();
    guests[number] = start(number);
    guests[number].wait_ready();
}

#[test]
fn a_rolling_update_has_one_board_restart_at_a_time() {
    if !wait::is_long() {
        println!("left out: two machines start twice; ./tests/run --long does");
        return;
    }
    let lab = Lab::new("rolling", 1);
    let _dhcp = Dhcp::start(&lab);
    let cards = [0, 1].map(|number| boot::card_of(&lab, &update::name("img.zst"), number));
    let start = |number: usize| boot::power_on(&lab, number, &cards[number]);
    let mut guests = [start(0), start(1)];
    guests.iter_mut().for_each(|guest| {
        guest.wait_ready();
    });
    wait::until("two guests are one ring", boot::RING_TIME_MAX, || {
        let state = guests[0].call("get_cluster_state", json!({}));
        let nodes = state.unwrap_or_default()["cluster"]["nodes"].clone();
        match nodes.as_array().map(Vec::len) {
            Some(2) => Ok(()),
            _ => Err(nodes.to_string()),
        }
    });
    let stored = guests[1].shell("roundel put kept here 2>&1 | tail -n 1");
    assert!(stored.contains("stored"), "{stored}");

    let told = roll(&lab, &guests[0]);
    let began = Instant::now();
    let (code, said) = loop {
        (0..2).for_each(|number| power_on_again(&mut guests, number, &start));
        if let Ok(told) = told.try_recv() {
            break told;
        }
        assert!(began.elapsed() < ROLL_TIME_MAX, "it does not end");
        std::thread::sleep(Duration::from_millis(500));
    };
    println!("exit {code:?} after {:.0?}: {said}", began.elapsed());
    assert_eq!(code, Some(0), "{said}");
    for guest in &guests {
        let image = image(guest);
        assert_eq!(
            (&image["slot"], &image["trial"]),
            (&json!("b"), &json!(false))
        );
        assert_eq!(guest.get("kept").expect("it is there"), "here");
    }
}
