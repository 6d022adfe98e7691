//! Waiting for a condition with a deadline, and holding one for a while.

use std::thread;
use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Asks until `look` gives a value; returns it and how long that took.
///
/// # Panics
/// At the deadline, with what was still missing.
pub fn until<T>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> (T, Duration) {
    let start = Instant::now();
    loop {
        let missing = match look() {
            Ok(value) => return (value, start.elapsed()),
            Err(missing) => missing,
        };
        let waited = start.elapsed();
        assert!(
            waited < deadline,
            "{what}: not within {deadline:?}: {missing}"
        );
        thread::sleep(PAUSE);
    }
}

/// Asks every `interval` for as long as `duration`; every look must be well.
///
/// # Panics
/// At the first look that is not.
pub fn holds(
    what: &str,
    duration: Duration,
    interval: Duration,
    mut look: impl FnMut() -> Result<(), String>,
) {
    let start = Instant::now();
    while start.elapsed() < duration {
        if let Err(wrong) = look() {
            panic!("{what}: not after {:?}: {wrong}", start.elapsed());
        }
        thread::sleep(interval);
    }
}

/// Full campaigns are asked for.
pub fn is_long() -> bool {
    std::env::var_os("ROUNDEL_LONG").is_some()
}

/// The middle one, and the one 99 of 100 are not above.
pub fn median_and_p99(mut times: Vec<Duration>) -> (Duration, Duration) {
    assert!(!times.is_empty(), "no figure was taken");
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    (
        at(50),
        times[((times.len() - 1) * 99).div_ceil(100)].max(at(99)),
    )
}
