//! Crash points of a life: counted with strace, and died at.
//!
//! strace counts calls for each thread and each call apart, so a crash point is (call, n): the
//! first thread that comes to its n-th such call dies before it is made, and the process with it.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::board;
use crate::namespace::alone;

/// What changes a medium. Those on sockets and pipes are among them: crash points like any other.
const CALLS: &str = "write,pwrite64,writev,pwritev,fdatasync,fsync,sync_file_range,rename,\
                     renameat,renameat2,ftruncate,fallocate,unlink,unlinkat,mkdir,mkdirat,openat";
/// Boards at once: most of a life is waiting.
pub const WORKERS: usize = 4;

/// A crash: before the `at`-th such call of a thread.
#[derive(Clone, Debug)]
pub struct Point {
    call: String,
    at: usize,
}

impl Point {
    /// Runs a life that dies here; what it comes to.
    pub fn kill<T>(&self, life: impl FnOnce(&[&str]) -> T) -> T {
        let inject = format!("inject={}:signal=KILL:when={}", self.call, self.at);
        let calls = format!("trace={}", self.call);
        let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &calls, "-e"];
        life(&[&strace[..], &[&inject]].concat())
    }
}

/// Every crash point of a life, which is run once behind the strace it is given and says whether
/// it came to its end: how often the busiest thread makes each call.
pub fn of_life(life: impl FnOnce(&[&str]) -> bool) -> Vec<Point> {
    let trace = tempfile::NamedTempFile::new().expect("a file");
    let path = trace.path().display().to_string();
    let calls = format!("trace={CALLS}");
    let strace = ["strace", "-f", "-qq", "-o", &path, "-e", &calls];
    assert!(life(&strace), "an undisturbed life comes to its end");
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
            call: call.to_owned(),
            at,
        };
        (1..=count).map(point)
    });
    points.collect()
}

/// Tries points, each in a network of its own: all with ROUNDEL_LONG, else so many of them, spread
/// evenly; so many at once.
pub fn try_all<P: Sync, T: Send>(
    points: Vec<P>,
    (count_in_ci, workers): (usize, usize),
    attempt: impl Fn(&P) -> T + Sync,
) -> Vec<T> {
    let step = match board::is_long() {
        true => 1,
        false => points.len().div_ceil(count_in_ci),
    };
    let chosen: Vec<_> = points.into_iter().step_by(step).collect();
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(point) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = alone(|| attempt(point));
                    results
                        .lock()
                        .expect("no worker panics with it")
                        .push(result);
                }
            });
        }
    });
    results.into_inner().expect("the workers have ended")
}
