//! Load: many clients at once, and how long each operation took.
//!
//! *Closed loop*: each client begins its next operation when its last has ended, so that what is
//! measured is how much can be done. *Open loop*: operations are due at a fixed rate whatever the
//! other side does, and a latency counts from the moment the operation was due: one that waits
//! because earlier ones are slow is slow itself, and is not left out ("coordinated omission").
//!
//! What an operation is, is its maker's business: [`super::workload`] has those of a board, the
//! bench under `tests/bench` those of other servers. Nothing here knows HTTP.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// An operation that was begun ends within this of the end of the load, or counts as failed.
const LAST_TIME_MAX: Duration = Duration::from_secs(20);
/// A client whose operation failed waits this long: a server that is gone is not hammered.
const FAILED_PAUSE: Duration = Duration::from_millis(10);
/// The pacer looks at least so often whether it is to stop.
const PACE_MAX: Duration = Duration::from_millis(50);
/// Longer operations are counted as this long, ns.
const LATENCY_NS_MAX: u64 = 600_000_000_000;
/// Digits of a latency that count.
const LATENCY_DIGITS: u8 = 3;

/// What an operation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It read.
    Read,
    /// It wrote.
    Write,
}

/// A client that can do one operation after the other.
pub trait Operation: Send + 'static {
    /// Why an operation failed.
    type Error: Send + 'static;

    /// Does one; `number` is how many were begun before it in this load, by all clients.
    fn once(&mut self, number: u64) -> impl Future<Output = Result<Kind, Self::Error>> + Send;
}

/// When operations begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As soon as a client is free.
    Closed,
    /// So many a second, more than 0.
    Open(f64),
}

/// How much.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// When operations begin.
    pub pace: Pace,
    /// None begins later than this after the start.
    pub time: Duration,
    /// No more than these are begun.
    pub count_max: u64,
}

/// Operations of one kind that succeeded.
#[derive(Clone, Debug)]
pub struct Tally {
    latency_ns: Histogram<u64>,
}

/// What a load was answered with.
#[derive(Debug)]
pub struct Measured<E> {
    /// Operations that read.
    pub reads: Tally,
    /// Operations that wrote.
    pub writes: Tally,
    /// Operations that failed.
    pub failed: u64,
    /// Why the first of them did.
    pub first_error: Option<E>,
    /// Operations that were due in an open loop and not begun: no client was free until the end.
    pub unserved: u64,
    /// From the start to the end of the last operation.
    pub elapsed: Duration,
}

/// Ends a load early.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// No operation begins any more.
    pub fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Somebody said so.
    pub fn is_now(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

struct Shared<E> {
    measured: Mutex<Measured<E>>,
    stop: Stop,
    load: Load,
    start: Instant,
    begun: AtomicU64,
    due: Semaphore,
}

/// Puts the load on; the clients come back with what was measured.
///
/// Runs within an event loop. Operations under way when the time is up, or when `stop` is said,
/// are waited for.
pub async fn run<O: Operation>(
    clients: Vec<O>,
    load: Load,
    stop: &Stop,
) -> (Vec<O>, Measured<O::Error>) {
    let shared = Arc::new(Shared {
        measured: Mutex::new(Measured::default()),
        stop: stop.clone(),
        load,
        start: Instant::now(),
        begun: AtomicU64::new(0),
        due: Semaphore::new(0),
    });
    let pacer = match load.pace {
        Pace::Closed => None,
        Pace::Open(rate) => Some(pace(shared.clone(), rate)),
    };
    let mut tasks = JoinSet::new();
    for client in clients {
        tasks.spawn(drive(client, shared.clone()));
    }
    let clients = tasks.join_all().await;
    let due = match pacer {
        None => 0,
        Some(pacer) => pacer.join().expect("the pacer does not panic"),
    };
    let mut measured = std::mem::take(&mut *shared.measured());
    let begun = shared.begun.load(Ordering::Relaxed);
    measured.unserved = due.saturating_sub(begun);
    (clients, measured)
}

/// One client's share.
async fn drive<O: Operation>(mut client: O, shared: Arc<Shared<O::Error>>) -> O {
    let last = shared.start + shared.load.time + LAST_TIME_MAX;
    while let Some((number, since)) = shared.next().await {
        let once = client.once(number);
        let result = match tokio::time::timeout_at(last.into(), once).await {
            Ok(Ok(kind)) => Ok(kind),
            Ok(Err(error)) => Err(Some(error)),
            Err(_) => Err(None),
        };
        let failed = result.is_err();
        shared.measured().add(result, since.elapsed(), shared.start);
        if failed {
            tokio::time::sleep(FAILED_PAUSE).await;
        }
    }
    client
}

impl<E> Shared<E> {
    fn measured(&self) -> MutexGuard<'_, Measured<E>> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn over(&self) -> bool {
        self.stop.is_now() || self.start.elapsed() >= self.load.time
    }

    /// The number of the next operation and since when its latency counts; none: it is over.
    async fn next(&self) -> Option<(u64, Instant)> {
        if self.over() {
            return None;
        }
        if let Pace::Open(_) = self.load.pace {
            // Closed when the last is due.
            self.due.acquire().await.ok()?.forget();
        }
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        if number >= self.load.count_max {
            self.begun.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let since = match self.load.pace {
            Pace::Closed => Instant::now(),
            Pace::Open(rate) => self.start + due_after(number, rate),
        };
        Some((number, since))
    }
}

fn due_after(number: u64, rate: f64) -> Duration {
    Duration::from_secs_f64(number as f64 / rate)
}

/// Says when operations are due, on a thread of its own: the timers of the event loop count whole
/// milliseconds. Ends with how many were.
fn pace<E: Send + 'static>(shared: Arc<Shared<E>>, rate: f64) -> JoinHandle<u64> {
    thread::spawn(move || {
        let mut due = 0;
        while !shared.over() && due < shared.load.count_max {
            let elapsed = shared.start.elapsed();
            let by_now = (elapsed.as_secs_f64() * rate) as u64 + 1;
            let by_now = by_now.min(shared.load.count_max);
            let more = usize::try_from(by_now.saturating_sub(due)).unwrap_or(usize::MAX);
            shared.due.add_permits(more.min(Semaphore::MAX_PERMITS / 2));
            due = by_now.max(due);
            let next = due_after(due, rate).saturating_sub(shared.start.elapsed());
            thread::sleep(next.min(PACE_MAX));
        }
        // With a count the last ones are still to be served.
        while !shared.over() && shared.begun.load(Ordering::Relaxed) < due {
            thread::sleep(Duration::from_millis(1));
        }
        shared.due.close();
        due
    })
}

impl<E> Default for Measured<E> {
    fn default() -> Self {
        Measured {
            reads: Tally::default(),
            writes: Tally::default(),
            failed: 0,
            first_error: None,
            unserved: 0,
            elapsed: Duration::ZERO,
        }
    }
}

impl<E> Measured<E> {
    fn add(&mut self, result: Result<Kind, Option<E>>, latency: Duration, start: Instant) {
        self.elapsed = start.elapsed();
        match result {
            Ok(Kind::Read) => self.reads.add(latency),
            Ok(Kind::Write) => self.writes.add(latency),
            Err(error) => {
                self.failed += 1;
                self.first_error = self.first_error.take().or(error);
            }
        }
    }

    /// Reads and writes together.
    pub fn all(&self) -> Tally {
        let mut all = self.reads.clone();
        let added = all.latency_ns.add(&self.writes.latency_ns);
        added.expect("all histograms have the same bounds");
        all
    }

    /// Operations a second, of those that succeeded.
    pub fn per_second(&self, tally: &Tally) -> f64 {
        match self.elapsed.as_secs_f64() {
            0.0 => 0.0,
            seconds => tally.count() as f64 / seconds,
        }
    }
}

impl Default for Tally {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_NS_MAX, LATENCY_DIGITS);
        Tally {
            latency_ns: histogram.expect("the bounds are in order"),
        }
    }
}

impl Tally {
    fn add(&mut self, latency: Duration) {
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latency_ns.saturating_record(ns);
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.latency_ns.len()
    }

    /// The latency that so many of a hundred do not exceed, in ms; 0 when there are none.
    pub fn percentile_ms(&self, of_hundred: f64) -> f64 {
        self.latency_ns.value_at_quantile(of_hundred / 100.0) as f64 / 1e6
    }

    /// The longest, in ms.
    pub fn longest_ms(&self) -> f64 {
        self.latency_ns.max() as f64 / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes the same time each time, and fails where it is told to.
    struct Steady {
        time: Duration,
        fails_at: Option<u64>,
    }

    impl Operation for Steady {
        type Error = u64;

        async fn once(&mut self, number: u64) -> Result<Kind, u64> {
            tokio::time::sleep(self.time).await;
            match self.fails_at {
                Some(at) if at == number => Err(number),
                _ => Ok(Kind::Write),
            }
        }
    }

    fn put_on(clients: usize, time: Duration, load: Load) -> Measured<u64> {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().expect("an event loop");
        let steady = || Steady {
            time,
            fails_at: Some(1),
        };
        let clients = std::iter::repeat_with(steady).take(clients).collect();
        runtime.block_on(run(clients, load, &Stop::default())).1
    }

    #[test]
    fn a_closed_loop_ends_with_its_count_and_tells_failures_apart() {
        let load = Load {
            pace: Pace::Closed,
            time: Duration::from_secs(60),
            count_max: 10,
        };
        let measured = put_on(4, Duration::from_millis(1), load);
        assert_eq!((measured.writes.count(), measured.reads.count()), (9, 0));
        assert_eq!((measured.failed, measured.first_error), (1, Some(1)));
        assert_eq!(measured.all().count(), 9);
    }

    #[test]
    fn an_operation_that_was_due_while_others_were_slow_is_slow() {
        // One client that needs 20 ms, asked for 200 a second: the last of 10 is due at 45 ms and
        // ends at 200 ms or later.
        let load = Load {
            pace: Pace::Open(200.0),
            time: Duration::from_secs(60),
            count_max: 10,
        };
        let measured = put_on(1, Duration::from_millis(20), load);
        assert_eq!(measured.writes.count(), 9);
        assert!(measured.writes.longest_ms() >= 150.0);
        assert_eq!(measured.unserved, 0);
    }

    #[test]
    fn what_no_client_was_free_for_is_counted() {
        let load = Load {
            pace: Pace::Open(1_000.0),
            time: Duration::from_millis(500),
            count_max: u64::MAX,
        };
        let measured = put_on(1, Duration::from_millis(40), load);
        assert!(measured.unserved > 0);
    }

    #[test]
    fn percentiles_keep_three_digits() {
        let mut tally = Tally::default();
        for us in 1..=1_000 {
            tally.add(Duration::from_micros(us));
        }
        assert_eq!(tally.count(), 1_000);
        for (of_hundred, ms) in [(50.0, 0.5), (99.0, 0.99), (100.0, 1.0)] {
            let found = tally.percentile_ms(of_hundred);
            assert!((found / ms - 1.0).abs() < 0.002, "{of_hundred}: {found}");
        }
    }
}
