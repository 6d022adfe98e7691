//! A card that fills up: puts are refused with the reason, everything else goes on, and so do puts
//! once there is room.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::client;
use crate::namespace::{alone, run};
use crate::process::{DEADLINE, Daemon, until};

/// A little more than a board wants free.
const CARD_MIB: u64 = 130;

fn put(daemon: &Daemon, key: &str) -> Result<Value, Value> {
    client::call(daemon.at, "put", json!({"key": key, "value": "v"}))
}

fn fill(path: &Path, mib: u64) {
    let mut file = File::create(path).expect("there is room still");
    let zeros = vec![0; 1_024 * 1_024];
    for _ in 0..mib {
        file.write_all(&zeros).expect("there is room still");
    }
}

/// Runs a board on a card of its own. The mount is the namespace's alone and ends with it.
fn with_card(work: impl FnOnce(&mut Daemon, &Path) + Send) {
    alone(|| {
        let card = tempfile::tempdir().expect("a directory");
        let path = card.path().display().to_string();
        let size = format!("size={CARD_MIB}m");
        run("mount", &["-t", "tmpfs", "-o", &size, "card", &path]);
        let mut daemon = Daemon::start(&card.path().join("data"), &[]);
        daemon.assert_well();
        work(&mut daemon, &card.path().join("ballast"));
    });
}

/// Fills the card until a put is refused, and returns its key and its error.
fn refused(daemon: &Daemon, ballast: &Path) -> (String, Value) {
    fill(ballast, CARD_MIB - 96 + 4);
    // The board looks at the card once a second: the first puts may pass.
    let mut tried = 0;
    until("a put is refused", DEADLINE, || {
        tried += 1;
        let key = format!("c{tried}");
        match put(daemon, &key) {
            Ok(result) => Err(result.to_string()),
            Err(error) => Ok((key, error)),
        }
    })
}

#[test]
fn a_full_card_refuses_puts_alone_and_recovers_by_itself() {
    with_card(|daemon, ballast| {
        for key in ["a", "b"] {
            put(daemon, key).expect("there is room");
        }
        let (refused, error) = refused(daemon, ballast);
        assert_eq!(error["code"], -32003, "{error}");
        daemon.logs("the medium is nearly full");
        let read = client::call(daemon.at, "get", json!({"key": "a"})).expect("a get");
        assert_eq!(read["value"], "v");
        let removed = client::call(daemon.at, "remove", json!({"key": "b"})).expect("a remove");
        assert_eq!(removed["removed"], true);
        for key in ["b", &refused] {
            let none = client::call(daemon.at, "get", json!({"key": key})).unwrap_err();
            assert_eq!(none["code"], -32004, "{key}");
        }
        fs::remove_file(ballast).expect("our file");
        until("puts are taken again", DEADLINE, || {
            put(daemon, &refused).map_err(|error| error.to_string())
        });
        daemon.assert_well();
    });
}

#[test]
fn a_put_refused_by_a_full_card_says_so() {
    with_card(|daemon, ballast| {
        let (_, error) = refused(daemon, ballast);
        assert_eq!(error["data"]["outcome"], "not_written", "{error}");
        let reason = error["data"]["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("the medium is nearly full"), "{error}");
    });
}
