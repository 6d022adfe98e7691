//! Media that answer with errors: a board goes on with what it can do, and says what is wrong.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::board::{Board, UNAVAILABLE, until};
use crate::card::Card;
use crate::namespace::alone;

const DEADLINE: Duration = Duration::from_secs(10);

/// strace on a running board, which makes system calls fail until it is dropped.
pub struct Fault {
    strace: Child,
    _said: tempfile::TempDir,
}

impl Fault {
    /// `inject` as strace takes it.
    pub fn start(board: &Board, inject: &str) -> Self {
        let said = tempfile::tempdir().expect("a directory");
        let path = said.path().join("said");
        let call = inject.split(':').next().expect("a split has a first part");
        let strace = Command::new("strace")
            .args(["-f", "-o", "/dev/null", "-p", &board.pid().to_string()])
            .args([
                "-e",
                &format!("trace={call}"),
                "-e",
                &format!("inject={inject}"),
            ])
            .stdin(Stdio::null())
            .stderr(File::create(&path).expect("our file"))
            .spawn()
            .expect("strace runs; ./tests/run installs it");
        until("strace is attached", DEADLINE, || {
            let text = fs::read_to_string(&path).unwrap_or_default();
            text.contains("attached").then_some(()).ok_or(text)
        });
        Fault {
            strace,
            _said: said,
        }
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        // Told to end it lets go; killed it would leave the board stopped.
        let _ = kill(Pid::from_raw(self.strace.id() as i32), Signal::SIGTERM);
        let _ = self.strace.wait();
    }
}

fn put(board: &Board, key: &str) -> Result<Value, Value> {
    let answer = board.call("put", &json!({"key": key, "value": key}));
    answer.unwrap_or_else(|| panic!("the board does not answer: {}", board.log()))
}

fn assert_holds(board: &Board, key: &str) {
    let read = board.call("get", &json!({"key": key})).expect("it answers");
    assert_eq!(
        read.as_ref().map(|read| &read["value"]),
        Ok(&json!(key)),
        "{}",
        board.log()
    );
}

/// State of the store, and what is wrong in its own words.
fn health(board: &Board) -> (String, String) {
    let stats = board
        .call("get_node_stats", &json!({}))
        .expect("it answers");
    let stats = stats.expect("every board says how it is");
    let text = |name: &str| match &stats[name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    (text("store"), text("problems"))
}

/// Both commands people would run say this.
fn assert_told(board: &Board, what: &str) {
    let (_, status) = board.ask(&["status"]);
    assert!(
        status.contains(what),
        "status does not say {what:?}: {status}"
    );
    let (code, doctor) = board.ask(&["doctor"]);
    assert!(
        doctor.contains(what),
        "doctor does not say {what:?}: {doctor}"
    );
    assert_ne!(code, Some(0), "doctor finds something wrong: {doctor}");
}

#[test]
fn sync_that_fails_once_leaves_its_put_open_and_the_store_is_opened_anew() {
    alone(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let board = Board::start(&directory.path().join("data"));
        put(&board, "before").expect("all is well");
        let fault = Fault::start(&board, "fdatasync:error=EIO:when=1");
        let error = put(&board, "meanwhile").expect_err("its sync failed");
        assert_eq!(error["code"], UNAVAILABLE, "{error}");
        assert_eq!(error["data"]["outcome"], "unknown", "{error}");
        let (store, problems) = health(&board);
        println!("after one EIO: store {store}, {problems}");
        assert!(
            store == "open" && problems.contains("a commit failed"),
            "{store}: {problems}"
        );
        assert_told(&board, "a commit failed");
        drop(fault);
        put(&board, "after").expect("the store was opened anew");
        for key in ["before", "after"] {
            assert_holds(&board, key);
        }
        assert_eq!(health(&board), ("open".to_owned(), "[]".to_owned()));
        assert_eq!(
            board.log().matches("opened anew").count(),
            1,
            "{}",
            board.log()
        );
        board.kill();
        let board = Board::start(&directory.path().join("data"));
        for key in ["before", "after"] {
            assert_holds(&board, key);
        }
    });
}

#[test]
fn sync_that_fails_again_makes_the_board_read_only_and_it_says_so() {
    alone(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let board = Board::start(&directory.path().join("data"));
        put(&board, "before").expect("all is well");
        let fault = Fault::start(&board, "fdatasync:error=EIO");
        put(&board, "meanwhile").expect_err("its sync failed");
        let error = put(&board, "again").expect_err("the store is read-only");
        assert_eq!(error["code"], UNAVAILABLE, "{error}");
        assert!(error.to_string().contains("worn out"), "{error}");
        drop(fault);
        assert_holds(&board, "before");
        let (store, problems) = health(&board);
        println!("after EIO twice: store {store}, {problems}");
        assert_eq!(store, "read-only", "{problems}");
        assert_told(&board, "read-only");
        board.kill();
        let board = Board::start(&directory.path().join("data"));
        assert_holds(&board, "before");
        put(&board, "after").expect("the medium is well again");
    });
}

#[test]
fn file_system_that_turns_read_only_stops_puts_and_the_board_says_so() {
    alone(|| {
        let card = Card::new(512);
        let mut board = Board::start(&card.path().join("data"));
        put(&board, "before").expect("all is well");
        card.turn_read_only();
        let first = put(&board, "meanwhile").expect_err("nothing can be written");
        let error = put(&board, "again").expect_err("nothing can be written");
        println!("on a read-only card: {first}, then {error}");
        assert_eq!(error["code"], UNAVAILABLE, "{error}");
        let (store, problems) = health(&board);
        println!("on a read-only card: store {store}, {problems}");
        assert!(
            matches!(store.as_str(), "read-only" | "closed"),
            "{store}: {problems}"
        );
        assert_told(&board, &store);
        assert!(!board.has_ended());
        board.kill();
        card.replug();
        let board = Board::start(&card.path().join("data"));
        assert_holds(&board, "before");
        put(&board, "after").expect("the card is well again");
    });
}
