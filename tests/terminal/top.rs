//! `roundel top`: what it shows of a ring, and that it gives the terminal back.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::board::{ring, roundel};
use crate::namespace::alone;
use crate::pty::Pty;

/// Leaves the screen that a full-screen program uses.
const SCREEN_LEFT: &str = "\u{1b}[?1049l";
/// Shows the cursor.
const CURSOR_SHOWN: &str = "\u{1b}[?25h";
/// A colour, as crossterm writes it.
const COLOUR: &str = "\u{1b}[38;5;";

fn assert_given_back(shown: &str) {
    let end = &shown[shown
        .rfind(SCREEN_LEFT)
        .unwrap_or_else(|| panic!("{shown:?}"))..];
    assert!(end.contains(CURSOR_SHOWN), "{end:?}");
}

#[test]
fn the_ring_is_shown_live_and_the_terminal_is_given_back() {
    alone(|| {
        let mut boards = ring();
        let mut top = Pty::start(&["top"], (110, 36), &[]);
        top.displays(&[
            "roundel  cluster terminal  seen from attic at 127.0.0.1:38400",
            "3 of 3 boards present",
            "@  attic",
            "o  cellar",
            "o  roof",
            "127.0.0.1:38402",
            "q quit",
            "began to watch",
        ]);
        top.types("h");
        top.displays(&["PgUp, PgDn       scroll them by a page"]);
        top.types("h");
        boards[1].kill();
        top.displays(&["cellar is absent", "2 of 3 boards present", "x  cellar"]);
        boards[2].kill();
        top.displays(&["roof is absent", "1 of 3 boards present"]);
        // Nobody else is there to be asked.
        boards[0].kill();
        top.displays(&["NO ANSWER for", "trying again"]);
        boards[0].restart();
        top.displays(&["the board answers again"]);
        top.types("q");
        let (status, shown) = top.ends();
        assert!(status.success(), "{status}");
        assert!(shown.contains(COLOUR), "{shown:?}");
        assert_given_back(&shown);
    });
}

#[test]
fn another_board_is_asked_when_the_one_asked_goes_away() {
    alone(|| {
        let mut boards = ring();
        let mut top = Pty::start(&["top"], (110, 36), &[]);
        top.displays(&[
            "seen from attic at 127.0.0.1:38400",
            "3 of 3 boards present",
        ]);
        boards[0].kill();
        top.displays(&[
            "no answer: ",
            "asking ",
            "attic is absent",
            "2 of 3 boards present",
        ]);
        // Whichever of the two it is, the last one is found from there.
        let cellar = top.screen().contains("seen from cellar at 127.0.0.1:38401");
        let (gone, last) = match cellar {
            true => (1, "seen from roof at 127.0.0.1:38402"),
            false => (2, "seen from cellar at 127.0.0.1:38401"),
        };
        boards[gone].kill();
        top.displays(&[last, "1 of 3 boards present"]);
        top.types("q");
        assert!(top.ends().0.success());
    });
}

#[test]
fn signals_small_screens_and_scripts_are_served() {
    alone(|| {
        let _boards = ring();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            let top = Pty::start(&["top"], (40, 12), &[("NO_COLOR", "1")]);
            top.displays(&["@  attic", "o  cellar", "o  roof", "NAME", "q quit"]);
            top.signal(signal);
            let (status, shown) = top.ends();
            assert!(status.success(), "{signal}: {status}");
            assert!(!shown.contains(COLOUR), "{shown:?}");
            assert_given_back(&shown);
        }
        let mut top = Pty::start(&["top", "--interval", "2"], (80, 24), &[]);
        top.displays(&["@  attic", "o  cellar", "o  roof"]);
        top.types("\u{3}");
        let (status, shown) = top.ends();
        assert!(status.success(), "{status}");
        assert_given_back(&shown);
        let (code, json, said) = roundel(&["top", "--json"]);
        assert_eq!(code, 0, "{said}");
        let json: Value = serde_json::from_str(&json).expect("one JSON object");
        assert_eq!(json["node"]["name"], "attic");
        let boards = json["boards"].as_array().expect("every board is asked");
        assert_eq!(boards.len(), 3, "{json}");
        assert!(
            boards
                .iter()
                .all(|board| board["result"]["uptime_ms"].is_u64()),
            "{json}"
        );
    });
}
