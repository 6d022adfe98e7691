//! A board that is killed while it mends its log: at each call that changes the medium.
//!
//! The log of the life before was damaged in its middle, or its last write is torn. However often
//! the mending is broken off, the next start mends again or is done: what checked before is there,
//! what did not is never served, and damage is never forgotten.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::board::{self, Board, Kept, READY_TIME_MAX, UNAVAILABLE, until};
use crate::namespace::alone;
use crate::point::{self, Point};

/// Writes of the life before, each under a key of its own.
const WRITES: usize = 20;
/// The one that rots.
const ROTTEN: usize = 7;
/// Crash points that CI runs: all, but of boards in doubt, which wait for seconds.
const POINTS_IN_CI: usize = usize::MAX;
const PATIENT_POINTS_IN_CI: usize = 24;
/// Boards in doubt at once.
const PATIENT_WORKERS: usize = 8;
/// What a board logs that finds damage.
const SAID: &str = "the log of the store is damaged";
/// What a board in doubt says of itself.
const IN_DOUBT: &str = "The log on its card was damaged";

fn key(number: usize) -> String {
    format!("key {number}")
}

fn value(number: usize) -> String {
    format!("value number {number} of this log")
}

fn fill(board: &Board, consistency: &str) -> Kept {
    let mut kept = Kept::default();
    for number in 0..WRITES {
        let (key, value) = (key(number), Some(value(number)));
        assert!(
            kept.write_at(board.at, &key, value, consistency),
            "{}",
            board.log()
        );
    }
    assert_eq!(kept.acknowledged, WRITES);
    kept
}

fn stats(board: &Board) -> String {
    match board.call("get_node_stats", &json!({})) {
        Some(Ok(stats)) => stats.to_string(),
        other => format!("{other:?}"),
    }
}

/// The journal that holds a value, its bytes, and where the value lies in it.
fn journal_with(data: &Path, value: &str) -> (PathBuf, Vec<u8>, usize) {
    let files = fs::read_dir(data.join("store/db")).expect("a store");
    let paths = files.map(|entry| entry.expect("a file").path());
    let journals = paths.filter(|path| path.extension().is_some_and(|e| e == "jnl"));
    let mut found = journals.filter_map(|path| {
        let bytes = fs::read(&path).expect("our file");
        let mut windows = bytes.windows(value.len());
        let at = windows.position(|window| window == value.as_bytes())?;
        Some((path, bytes, at))
    });
    found.next().expect("a young store has it in its journal")
}

/// One bit of a write in the middle flips; whole ones lie behind it.
fn damage(data: &Path) {
    let (path, mut bytes, at) = journal_with(data, &value(ROTTEN));
    bytes[at + 3] ^= 1;
    fs::write(path, bytes).expect("our file");
}

/// The last write lost its end.
fn tear(data: &Path) {
    let (path, mut bytes, at) = journal_with(data, &value(WRITES - 1));
    bytes[at + 5..].fill(0);
    fs::write(path, bytes).expect("our file");
}

/// Starts behind strace and mends; true when it came to its end. What it has logged.
fn mend(data: &Path, strace: &[&str], done: impl Fn(&str) -> bool) -> (bool, String) {
    let mut board = Board::exec(data, strace);
    if !board.wait_ready() {
        return (false, board.log());
    }
    let lives = until("the log is mended", READY_TIME_MAX, || {
        let stats = stats(&board);
        match (done(&stats), board.has_ended()) {
            (_, true) => Ok(false),
            (true, false) => Ok(true),
            (false, false) => Err(stats),
        }
    });
    let log = board.log();
    board.kill();
    (lives, log)
}

/// A directory that a board mends, and what it must hold afterwards.
struct Before {
    directory: tempfile::TempDir,
    kept: Kept,
}

impl Before {
    fn copy(&self, to: &Path) {
        board::copy(&self.directory.path().join("data"), to);
    }

    /// The crash points of mending it.
    fn points(&self, done: impl Fn(&str) -> bool) -> Vec<Point> {
        let copy = tempfile::tempdir().expect("a directory");
        let data = copy.path().join("data");
        self.copy(&data);
        point::of_life(|strace| mend(&data, strace, done).0)
    }
}

/// A ring of one that was killed, and what then befell its log.
fn of_one(befall: impl Fn(&Path)) -> Before {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    let board = Board::start(&data);
    let kept = fill(&board, "quorum");
    board.kill();
    befall(&data);
    Before { directory, kept }
}

/// Runs the points of a kind of life; how many were died at.
fn run(
    (what, in_ci, workers): (&str, usize, usize),
    before: &Before,
    points: Vec<Point>,
    attempt: impl Fn(&Before, &Point, &Path) -> bool + Sync,
) {
    let all = points.len();
    let crashed = point::try_all(points, (in_ci, workers), |point| {
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path().join("data");
        before.copy(&data);
        attempt(before, point, &data)
    });
    let died = crashed.iter().filter(|died| **died).count();
    println!(
        "{what}: {} of {all} crash points run, {died} died there",
        crashed.len()
    );
    assert!(died * 10 >= crashed.len() * 8, "most points are reached");
}

/// The board started again after that point, with all that it may not have lost.
fn checked(before: &Before, point: &Point, data: &Path) -> Board {
    let board = Board::start(data);
    before.kept.clone().check(&board, &format!("{point:?}"));
    board
}

#[test]
fn every_crash_point_of_mending_a_damaged_log_loses_nothing_that_checked() {
    let counted = |stats: &str| stats.contains("logs_damaged");
    let (mut before, points) = alone(|| {
        let before = of_one(damage);
        let points = before.points(counted);
        (before, points)
    });
    before.kept.may_have_lost(&key(ROTTEN));
    run(
        ("damage", POINTS_IN_CI, point::WORKERS),
        &before,
        points,
        |before, point, data| {
            let (whole, log) = point.kill(|strace| mend(data, strace, counted));
            let board = checked(before, point, data);
            let again = board.log().contains(SAID) || stats(&board).contains("logs_damaged");
            assert!(again || log.contains(SAID), "{point:?}: nobody was told");
            !whole
        },
    );
}

#[test]
fn every_crash_point_of_mending_a_torn_log_loses_the_torn_write_alone() {
    let counted = |stats: &str| stats.contains("counters");
    let (mut before, points) = alone(|| {
        let before = of_one(tear);
        let points = before.points(counted);
        (before, points)
    });
    before.kept.may_have_lost(&key(WRITES - 1));
    run(
        ("torn", POINTS_IN_CI, point::WORKERS),
        &before,
        points,
        |before, point, data| {
            let (whole, log) = point.kill(|strace| mend(data, strace, counted));
            let board = checked(before, point, data);
            let told = board.log().contains(SAID) || log.contains(SAID);
            assert!(!told, "{point:?}: a torn write is no damage");
            !whole
        },
    );
}

/// The board of a ring of two, on its own with a damaged log: it doubts what it holds until it
/// meets the other.
fn of_two() -> Before {
    let directory = tempfile::tempdir().expect("a directory");
    let [data, other] = ["data", "other"].map(|name| directory.path().join(name));
    let (board, other) = (Board::start(&data), Board::start(&other));
    until("two are one ring", READY_TIME_MAX, || {
        let (_, nodes) = board.ask(&["nodes", "--json"]);
        let alive = nodes.matches("\"alive\":true").count();
        (alive == 2).then_some(()).ok_or(nodes)
    });
    let kept = fill(&board, "all");
    board.kill();
    other.kill();
    damage(&data);
    Before { directory, kept }
}

#[test]
fn every_crash_point_of_mending_leaves_a_board_in_doubt_until_it_meets_the_others() {
    let doubts = |stats: &str| stats.contains(IN_DOUBT);
    let (mut before, points) = alone(|| {
        let before = of_two();
        let points = before.points(doubts);
        (before, points)
    });
    before.kept.may_have_lost(&key(ROTTEN));
    let patience = before.directory.path().join("short.toml");
    fs::write(&patience, "grace_time_s = 6\n").expect("our directory");
    let patience = patience.display().to_string();
    let refusals = AtomicUsize::new(0);
    run(
        ("doubt", PATIENT_POINTS_IN_CI, PATIENT_WORKERS),
        &before,
        points,
        |before, point, data| {
            let (whole, _) = point.kill(|strace| mend(data, strace, doubts));
            let mut board = Board::exec_with(data, &[], &["--config", &patience]);
            assert!(board.wait_ready(), "{point:?}: {}", board.log());
            let read = board.call("get", &json!({"key": key(0), "consistency": "one"}));
            let said = stats(&board);
            let is_refused = |error: &Value| error["code"] == UNAVAILABLE;
            let refused = matches!(&read, Some(Err(error)) if is_refused(error));
            assert!(refused || !doubts(&said), "{point:?}: {read:?}");
            refusals.fetch_add(usize::from(refused), Ordering::Relaxed);
            // With nobody met for the grace time it goes on with what it holds: what checked.
            until("it goes on with what it has", READY_TIME_MAX, || {
                let stats = stats(&board);
                let goes_on = !doubts(&stats) && stats.contains("doubts_dismissed");
                goes_on.then_some(()).ok_or(stats)
            });
            before
                .kept
                .clone()
                .check_at(&board, "one", &format!("{point:?}"));
            !whole
        },
    );
    assert!(refusals.into_inner() > 0, "boards were met in doubt");
}
