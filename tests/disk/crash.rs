//! SIGKILL at each system call that changes the medium: enumerated, not sampled, with ROUNDEL_LONG.
//!
//! The scripted life: an empty directory, a ring of one, puts and removes; and once more over what
//! that life left, which is a start that recovers.

use std::path::Path;
use std::time::Duration;

use crate::board::{self, Board, Kept, READY_TIME_MAX, until};
use crate::namespace::alone;
use crate::point::{self, Point};

/// Writes of a scripted life.
const WRITES: usize = 50;
/// Crash points that CI runs.
const POINTS_IN_CI: usize = 50;

/// A scripted life behind strace. True when it came to its end.
fn live(data: &Path, strace: &[&str], kept: &mut Kept, second_life: bool) -> bool {
    let mut board = Board::exec(data, strace);
    if !board.wait_ready() {
        return false;
    }
    for number in 0..WRITES {
        let key = format!("key {}", number % 20);
        let removes = number % 3 == 2;
        let value = format!("{second_life} {number} {}", "x".repeat(number * 40));
        if !kept.write(board.at, &key, (!removes).then_some(value)) {
            // Its lock on the directory goes with its last thread.
            until("the board has died", READY_TIME_MAX, || {
                board.has_ended().then_some(()).ok_or_else(|| board.log())
            });
            return false;
        }
    }
    let ended = board.has_ended();
    board.kill();
    !ended
}

/// The crash points of a life.
fn count(data: &Path, kept: &mut Kept, second_life: bool) -> Vec<(bool, Point)> {
    let points = point::of_life(|strace| live(data, strace, kept, second_life));
    points.into_iter().map(|at| (second_life, at)).collect()
}

/// Dies there, boots again, looks; how long the boot took, none when the point was not reached.
fn try_point(
    (second_life, point): &(bool, Point),
    first_life: &(tempfile::TempDir, Kept),
) -> Option<Duration> {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    let mut kept = Kept::default();
    if *second_life {
        board::copy(&first_life.0.path().join("data"), &data);
        kept = first_life.1.clone();
    }
    let whole = point.kill(|strace| live(&data, strace, &mut kept, *second_life));
    let board = Board::start(&data);
    let age = board.age();
    kept.check(&board, &format!("{point:?}"));
    assert!(
        kept.clone()
            .write(board.at, "after", Some("it takes writes".to_owned())),
        "{point:?}: {}",
        board.log()
    );
    (!whole).then_some(age)
}

#[test]
fn every_crash_point_of_a_scripted_life_loses_nothing_acknowledged() {
    let first = tempfile::tempdir().expect("a directory");
    let (points, first_life) = alone(|| {
        let data = first.path().join("data");
        let mut kept = Kept::default();
        let mut points = count(&data, &mut kept, false);
        // The second life is counted on a copy: the points start from what the first has left.
        let copy = tempfile::tempdir().expect("a directory");
        let path = copy.path().join("data");
        board::copy(&data, &path);
        points.extend(count(&path, &mut kept.clone(), true));
        (points, (first, kept))
    });
    let all = points.len();
    let boots = point::try_all(points, (POINTS_IN_CI, point::WORKERS), |point| {
        try_point(point, &first_life)
    });
    let mut crashed: Vec<_> = boots.iter().flatten().collect();
    crashed.sort();
    let slowest = crashed.last().expect("some points were reached");
    println!(
        "{} of {all} crash points run, {} crashed there, each boots with every acknowledged \
         record; slowest boot {slowest:?} with {} at once",
        boots.len(),
        crashed.len(),
        point::WORKERS
    );
    assert!(
        crashed.len() * 10 >= boots.len() * 8,
        "most points are reached"
    );
}
