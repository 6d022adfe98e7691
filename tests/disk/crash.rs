//! SIGKILL at each system call that changes the medium: enumerated, not sampled, with ROUNDEL_LONG.
//!
//! strace counts calls for each thread and each call apart, so a crash point is (call, n): the
//! first thread that comes to its n-th such call dies before it is made, and the process with it.
//! The scripted life: an empty directory, a ring of one, puts and removes; and once more over what
//! that life left, which is a start that recovers.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::board::{self, Board, Kept, READY_TIME_MAX, until};
use crate::namespace::alone;

/// What changes a medium. Those on sockets and pipes are among them: crash points like any other.
const CALLS: &str = "write,pwrite64,writev,pwritev,fdatasync,fsync,sync_file_range,rename,\
                     renameat,renameat2,ftruncate,fallocate,unlink,unlinkat,mkdir,mkdirat,openat";
/// Writes of a scripted life.
const WRITES: usize = 50;
/// Crash points that CI runs.
const POINTS_IN_CI: usize = 50;
/// Boards at once: most of a life is waiting.
const WORKERS: usize = 4;

/// A crash: before the `at`-th such call of a thread.
#[derive(Clone, Debug)]
struct Point {
    second_life: bool,
    call: String,
    at: usize,
}

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

/// How often the busiest thread makes each call in a life.
fn count(data: &Path, kept: &mut Kept, second_life: bool) -> Vec<Point> {
    let trace = tempfile::NamedTempFile::new().expect("a file");
    let path = trace.path().display().to_string();
    let calls = format!("trace={CALLS}");
    let strace = ["strace", "-f", "-qq", "-o", &path, "-e", &calls];
    assert!(
        live(data, &strace, kept, second_life),
        "an undisturbed life comes to its end"
    );
    let text = fs::read_to_string(trace.path()).expect("strace wrote it");
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.contains(" resumed>")) {
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        if let Some((call, _)) = rest.trim_start().split_once('(') {
            *counts.entry((thread, call)).or_default() += 1;
        }
    }
    let mut most: BTreeMap<&str, usize> = BTreeMap::new();
    for ((_, call), count) in counts {
        let most = most.entry(call).or_default();
        *most = count.max(*most);
    }
    let points = most.into_iter().flat_map(|(call, count)| {
        let point = move |at| Point {
            second_life,
            call: call.to_owned(),
            at,
        };
        (1..=count).map(point)
    });
    points.collect()
}

/// Dies there, boots again, looks; how long the boot took, none when the point was not reached.
fn try_point(point: &Point, first_life: &(tempfile::TempDir, Kept)) -> Option<Duration> {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    let mut kept = Kept::default();
    if point.second_life {
        let from = first_life.0.path().join("data").display().to_string();
        crate::namespace::run("cp", &["-a", &from, &data.display().to_string()]);
        kept = first_life.1.clone();
    }
    let inject = format!("inject={}:signal=KILL:when={}", point.call, point.at);
    let calls = format!("trace={}", point.call);
    let strace = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        &calls,
        "-e",
        &inject,
    ];
    let whole = live(&data, &strace, &mut kept, point.second_life);
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
        crate::namespace::run(
            "cp",
            &[
                "-a",
                &data.display().to_string(),
                &path.display().to_string(),
            ],
        );
        points.extend(count(&path, &mut kept.clone(), true));
        (points, (first, kept))
    });
    let all = points.len();
    let step = if board::is_long() {
        1
    } else {
        all.div_ceil(POINTS_IN_CI)
    };
    let chosen: Vec<_> = points.into_iter().step_by(step).collect();
    let (next, boots) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(point) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let boot = alone(|| try_point(point, &first_life));
                    boots.lock().expect("no worker panics with it").push(boot);
                }
            });
        }
    });
    let boots = boots.into_inner().expect("the workers have ended");
    let mut crashed: Vec<_> = boots.iter().flatten().collect();
    crashed.sort();
    let slowest = crashed.last().expect("some points were reached");
    println!(
        "{} of {all} crash points run, {} crashed there, each boots with every acknowledged \
         record; slowest boot {slowest:?} with {WORKERS} at once",
        boots.len(),
        crashed.len()
    );
    assert!(
        crashed.len() * 10 >= boots.len() * 8,
        "most points are reached"
    );
}
