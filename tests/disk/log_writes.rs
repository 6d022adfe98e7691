//! Every state that a power cut may leave on the medium, from a log of all writes: on each the
//! board starts and holds what it had acknowledged by then.
//!
//! The power cuts of `power` let the kernel choose what is lost; here each flush is a point, and
//! between two of them random parts of what was written. Started by `log_writes.sh`.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::board;
use crate::card::Card;
use crate::namespace::{alone, run};
use crate::power::{self, Dice, RECOVERY_TIME_MAX};
use crate::recording::{self, CLIENTS, Recording};
use crate::write_log::{Event, WriteLog};

/// How many points are tried: a number, or `all`.
const POINTS: &str = "ROUNDEL_POINTS";
const POINTS_DEFAULT: usize = 300;
/// The planted lie drops as many flushes, with all that they flushed.
const FLUSHES_DROPPED: usize = 10;
/// How often it is planted.
const LIES: usize = 5;
/// Points that are looked at together; most of a boot is waiting.
const WORKERS: usize = 2;

/// A moment at which the power goes.
#[derive(Clone, Copy, Debug)]
struct Point {
    /// Everything before this event is on the medium.
    whole: usize,
    /// Pieces of what follows, up to this event.
    torn: usize,
    /// What is acknowledged before this event must be there.
    acknowledged: usize,
}

/// The moments after each flush, at the last of which everything until the next is acknowledged
/// and nothing of the next is written.
fn moments(log: &WriteLog) -> Vec<usize> {
    let mut moments = Vec::new();
    let mut is_flushed = false;
    for (index, event) in log.events.iter().enumerate() {
        match event {
            Event::Mark(_) => {}
            Event::Write { is_barrier, .. } => {
                if is_flushed {
                    moments.push(index);
                }
                is_flushed = *is_barrier;
            }
        }
    }
    moments.push(log.events.len());
    moments
}

/// The points to try, in the log's order, as many exact ones as torn ones: those of the first
/// moments, while the store is being made, one after the other, the rest spread over the log.
fn plan(moments: &[usize], wanted: usize) -> Vec<Point> {
    let wanted = wanted.div_ceil(2).clamp(1, moments.len());
    let first = wanted / 6;
    let spread = |index| first + index * (moments.len() - first) / (wanted - first);
    let chosen = (0..first).chain((0..wanted - first).map(spread));
    let points = chosen.flat_map(|moment| {
        let whole = moments[moment];
        let next = *moments.get(moment + 1).unwrap_or(&whole);
        [whole, next].map(|torn| Point {
            whole,
            torn,
            acknowledged: whole,
        })
    });
    points.collect()
}

/// Points that claim what came later: a disk that answered flushes and dropped them.
fn lies(moments: &[usize]) -> Vec<Point> {
    let last = moments.len() - 1;
    let lie = |number: usize| {
        let claimed = last - (LIES - number) * (last / (2 * LIES));
        let whole = moments[claimed - FLUSHES_DROPPED];
        Point {
            whole,
            torn: whole,
            acknowledged: moments[claimed],
        }
    };
    (0..LIES).map(lie).collect()
}

/// What the keys may hold at a point.
#[derive(Default)]
struct Expected {
    /// By key: the number of the last acknowledged write.
    keys: BTreeMap<String, (usize, usize)>,
    /// How many writes each client had acknowledged; its next may have happened.
    counts: [usize; CLIENTS],
}

impl Expected {
    fn at(log: &WriteLog, end: usize) -> Self {
        let mut expected = Expected::default();
        for event in &log.events[..end] {
            let Event::Mark(mark) = event else { continue };
            if let Some((client, number)) = recording::acknowledged(mark) {
                let (key, _) = recording::write(client, number);
                expected.keys.insert(key, (client, number));
                assert_eq!(expected.counts[client], number, "no mark is missing");
                expected.counts[client] = number + 1;
            }
        }
        expected
    }

    /// The keys that do not hold what they may.
    fn lost(&self, board: &board::Board) -> Vec<String> {
        let mut lost = Vec::new();
        for (key, &(client, number)) in &self.keys {
            let read = board.call("get", &json!({"key": key}));
            let found = match &read {
                Some(Ok(read)) => read["value"].as_str().map(str::to_owned),
                Some(Err(error)) if error["code"] == board::NOT_FOUND => None,
                other => {
                    lost.push(format!("{key}: {other:?}"));
                    continue;
                }
            };
            let (_, acknowledged) = recording::write(client, number);
            let (under_way, next) = recording::write(client, self.counts[client]);
            if found != acknowledged && (under_way != *key || found != next) {
                let found = found.as_deref().map(|value| &value[..value.len().min(24)]);
                lost.push(format!(
                    "{key}: holds {found:?}, not that of write {number}"
                ));
            }
        }
        lost
    }
}

/// What became of a point.
struct Outcome {
    recovery: Duration,
    keys: usize,
    lost: Vec<String>,
}

/// The disk, as far as it was replayed.
struct Replay<'a> {
    recording: &'a Recording,
    image: PathBuf,
    applied: usize,
}

impl<'a> Replay<'a> {
    fn new(recording: &'a Recording, image: PathBuf) -> Self {
        copy(&recording.disk, &image);
        Replay {
            recording,
            image,
            applied: 0,
        }
    }

    /// Makes an image of what is on the medium at a point not before the last one.
    fn image_at(&mut self, point: Point, image: &Path) {
        let log = &self.recording.log;
        let open = |path: &Path| File::options().write(true).open(path).expect("our image");
        let base = open(&self.image);
        for event in &log.events[self.applied..point.whole] {
            log.apply(event, &base);
        }
        self.applied = point.whole;
        copy(&self.image, image);
        let mut dice = Dice(point.torn as u64);
        let eighths = [1, 4, 7][dice.below(3) as usize];
        let torn = open(image);
        for event in &log.events[point.whole..point.torn] {
            log.apply_some(event, &torn, || dice.below(8) < eighths);
        }
    }
}

fn copy(from: &Path, to: &Path) {
    let [from, to] = [from, to].map(|path| path.display().to_string());
    run("cp", &["--sparse=always", &from, &to]);
}

/// Starts a board on the image of a point and reads everything.
///
/// # Panics
/// When the image cannot be mounted or is no sound file system, or the board does not start.
fn try_point(expected: &Expected, directory: &Path) -> Outcome {
    let card = Card::of(directory);
    let (board, recovery) = power::boot(&card.data());
    let lost = expected.lost(&board);
    board.kill();
    card.check();
    Outcome {
        recovery,
        keys: expected.keys.len(),
        lost,
    }
}

/// Tries every point; what became of each, none where no board started.
fn try_all(
    recording: &Recording,
    points: &[Point],
    scratch: &Path,
) -> Vec<(Point, Option<Outcome>)> {
    let replay = Replay::new(recording, scratch.join("replayed"));
    let next = Mutex::new((replay, points.iter()));
    let outcomes = Mutex::new(Vec::new());
    let work = || {
        let directory = tempfile::tempdir_in(scratch).expect("a directory");
        let image = directory.path().join("image");
        loop {
            let point = {
                let (replay, points) = &mut *next.lock().expect("no worker has panicked");
                let Some(&point) = points.next() else { break };
                replay.image_at(point, &image);
                point
            };
            let expected = Expected::at(&recording.log, point.acknowledged);
            let attempt = || try_point(&expected, directory.path());
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(attempt)).ok();
            let mut outcomes = outcomes.lock().expect("no worker has panicked");
            outcomes.push((point, outcome));
        }
    };
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| alone(work));
        }
    });
    outcomes.into_inner().expect("no worker has panicked")
}

/// Tries points that must hold; prints what became of them.
///
/// # Panics
/// When one does not.
fn hold(recording: &Recording, points: &[Point], scratch: &Path) {
    let start = Instant::now();
    let (mut lost, mut unusable, mut reads) = (0, 0, 0);
    let mut recoveries = Vec::new();
    for (point, outcome) in try_all(recording, points, scratch) {
        let Some(outcome) = outcome else {
            println!("no board started at {point:?}");
            unusable += 1;
            continue;
        };
        for what in &outcome.lost {
            println!("LOST at {point:?}: {what}");
        }
        lost += outcome.lost.len();
        reads += outcome.keys;
        recoveries.push(outcome.recovery);
    }
    recoveries.sort();
    let slowest = recoveries.last().copied().unwrap_or_default();
    println!(
        "{} points tried in {:?}: {reads} acknowledged records read, {lost} lost, {unusable} \
         points without a board; the slowest recovery took {slowest:?}, the median {:?}",
        points.len(),
        start.elapsed(),
        recoveries
            .get(recoveries.len() / 2)
            .copied()
            .unwrap_or_default(),
    );
    assert_eq!((lost, unusable), (0, 0), "lost, and without a board");
    assert!(
        slowest < 5 * RECOVERY_TIME_MAX,
        "a recovery took {slowest:?}"
    );
}

/// How many points were asked for.
fn wanted() -> usize {
    match std::env::var(POINTS).as_deref() {
        Err(_) => POINTS_DEFAULT,
        Ok("all") => usize::MAX,
        Ok(count) => count
            .parse()
            .unwrap_or_else(|_| panic!("{POINTS} is `{count}`: give a number, or `all`")),
    }
}

#[test]
#[ignore = "needs user-mode-linux: tests/disk/log_writes.sh, or ./tests/run --long disk"]
fn every_prefix_of_the_write_log_holds_what_was_acknowledged() {
    if recording::is_guest() {
        return recording::run_guest();
    }
    let wanted = wanted();
    let scratch = tempfile::tempdir().expect("a directory");
    let start = Instant::now();
    let this = "log_writes::every_prefix_of_the_write_log_holds_what_was_acknowledged";
    let recording = Recording::make(scratch.path(), this);
    let events = &recording.log.events;
    let moments = moments(&recording.log);
    println!(
        "recorded in {:?}: {} acknowledged writes, {} events in the log, {} flushes",
        start.elapsed(),
        Expected::at(&recording.log, events.len())
            .counts
            .iter()
            .sum::<usize>(),
        events.len(),
        moments.len(),
    );
    let caught = try_all(&recording, &lies(&moments), scratch.path());
    let caught = caught.iter().filter_map(|(_, outcome)| outcome.as_ref());
    let caught = caught.filter(|outcome| !outcome.lost.is_empty()).count();
    println!("planted: {FLUSHES_DROPPED} flushes dropped, noticed {caught} times of {LIES}");
    assert_eq!(caught, LIES, "a check that cannot fail proves nothing");
    hold(&recording, &plan(&moments, wanted), scratch.path());
}
