//! `roundel shell`: scripts against real boards, and a person at the prompt.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::board::{Board, ring, roundel};
use crate::namespace::alone;
use crate::pty::Pty;

#[test]
fn scripts_and_a_person_use_the_ring() {
    alone(|| {
        let _boards = ring();
        scripts();
        prompt();
    });
}

/// Signals end the shell at its prompt and during a command, and the terminal is as before.
#[test]
fn the_shell_gives_the_terminal_back_when_a_signal_ends_it() {
    alone(|| {
        let _board = Board::start("attic", 38_400);
        let state = tempfile::tempdir().expect("there is room");
        let path = state.path().to_str().expect("a plain path");
        for signal in [Signal::SIGTERM, Signal::SIGHUP] {
            let mut shell = Pty::start(&["shell"], (100, 30), &[("XDG_STATE_HOME", path)]);
            shell.shows(&["Ctrl-D ends", "attic> "]);
            shell.types("put half a li");
            shell.shows(&["half a li"]);
            shell.signal(signal);
            let (status, shown) = shell.ends();
            assert!(status.success(), "{signal}: {status}");
            let last = shown.rfind("\u{1b}[?2004").map(|at| &shown[at..]);
            assert!(
                last.is_none_or(|last| last.starts_with("\u{1b}[?2004l")),
                "{shown:?}"
            );
        }
    });
}

fn scripts() {
    let script = "put({\"key\": \"lamp\", \"value\": {\"on\": true}}); use cellar; get lamp";
    let (code, printed, said) = roundel(&["shell", "-c", script]);
    assert_eq!(code, 0, "{said}");
    assert!(printed.contains("using cellar"), "{printed}");
    assert!(printed.ends_with("{\"on\": true}\n"), "{printed}");

    let (code, printed, said) = roundel(&["shell", "-c", "get_node_state(*)"]);
    assert_eq!(code, 0, "{said}");
    let all: Vec<Value> = serde_json::from_str(&printed).expect("an array");
    assert_eq!(all.len(), 3, "{printed}");

    for object in ["roof", "127.0.0.1:38402"] {
        let (code, printed, said) = roundel(&["shell", "-c", &format!("get_node_state({object})")]);
        assert_eq!(code, 0, "{said}");
        let state: Value = serde_json::from_str(&printed).expect("an object");
        assert_eq!(state["name"], "roof");
    }

    let (code, printed, said) =
        roundel(&["shell", "--interface", "lo", "-c", "search; use roof; list"]);
    assert_eq!(code, 0, "{said}");
    assert!(
        printed.contains(">  roof") && printed.contains("attic"),
        "{printed}"
    );

    let (code, _, said) = roundel(&["shell", "-c", "get nothing; remove lamp"]);
    assert_eq!(code, 3, "{said}");
    assert!(
        said.contains("[-32004]") && said.contains("next: "),
        "{said}"
    );
    let (code, _, said) = roundel(&["shell", "--keep-going", "-c", "get nothing; remove lamp"]);
    assert_eq!(code, 3, "{said}");
    assert_eq!(roundel(&["get", "lamp"]).0, 3, "the second command was run");
}

fn prompt() {
    let state = tempfile::tempdir().expect("there is room");
    let path = state.path().to_str().expect("a plain path");
    let mut shell = Pty::start(&["shell"], (100, 30), &[("XDG_STATE_HOME", path)]);
    shell.shows(&["Ctrl-D ends", "attic> "]);
    shell.types("put tree 5\r");
    shell.shows(&["stored tree on "]);
    // A bracket that is open goes on in the next line.
    shell.types("echo({\r\"a\":\r1234321})\r");
    shell.shows(&["\"a\"\u{1b}[0m: 1234321"]);
    // Names of boards and methods are completed.
    shell.types("use cel\t\r");
    // A prompt without anything behind it.
    let fresh = "cellar> \r";
    shell.shows(&["using cellar", fresh]);
    let seen = shell.shown().len();
    shell.types("get_node_con\t)\r");
    let name = "\"name\"\u{1b}[0m: \u{1b}[32m\"cellar\"\u{1b}[0m";
    shell.shows_after(seen, &[name, fresh]);
    // Ctrl-C drops the line; an error does not end the shell.
    let seen = shell.shown().len();
    shell.types("get never\u{3}");
    shell.shows_after(seen, &[fresh]);
    shell.types("get nothing\r");
    shell.shows_after(seen, &["[-32004]", "next: "]);
    shell.types("\u{4}");
    let (status, shown) = shell.ends();
    assert!(status.success(), "{status}: {shown:?}");
    assert!(!shown.contains("stored under 'never'"), "{shown:?}");

    let history = state.path().join("roundel/shell_history");
    let text = fs::read_to_string(&history).expect("a history");
    assert!(
        text.contains("put tree 5") && !text.contains("never"),
        "{text}"
    );
    let mode = fs::metadata(&history)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let mut again = Pty::start(&["shell"], (100, 30), &[("XDG_STATE_HOME", path)]);
    again.shows(&["attic> "]);
    again.types("\u{1b}[A\r");
    again.shows(&["[-32004]"]);
    again.types("exit\r");
    assert!(again.ends().0.success());
}
