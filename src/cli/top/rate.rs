//! Operations a second and their latency, from counters that boards keep since their start.
//!
//! A board that restarted counts from zero again: its counters then are the difference. Boards
//! that do not count operations have no rates.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::cli::shape::{NodeStats, Operations};

/// Latencies are those of this long.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Readings kept: a window of the shortest interval, with one before it.
const READINGS_MAX: usize = 64;

/// One reading of the counters, by board.
type Reading = BTreeMap<String, Operations>;

/// The counters of the last minute.
#[derive(Debug, Default)]
pub struct Rates {
    readings: VecDeque<(Duration, Reading)>,
}

/// What the boards do together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Values stored a second.
    pub put: f64,
    /// Values read a second.
    pub get: f64,
    /// Keys removed a second.
    pub remove: f64,
    /// Errors a second.
    pub failed: f64,
    /// Half of the operations of the last minute took no longer; microseconds. None when there
    /// was no operation, or it took longer than the last class.
    pub p50_us: Option<u64>,
    /// 99 of 100 took no longer.
    pub p99_us: Option<u64>,
}

impl Rates {
    /// Takes a reading at `at` since the program's start.
    pub fn push(&mut self, at: Duration, boards: &BTreeMap<String, NodeStats>) {
        let counting = boards
            .iter()
            .filter_map(|(id, stats)| Some((id.clone(), stats.operations.clone()?)));
        self.readings.push_back((at, counting.collect()));
        // The newest reading outside the window is where the window begins.
        while self.readings.len() > READINGS_MAX
            || self
                .readings
                .get(1)
                .is_some_and(|(then, _)| *then + WINDOW <= at)
        {
            self.readings.pop_front();
        }
    }

    /// Operations a second of one board between the last two readings.
    pub fn of(&self, board: &str) -> Option<f64> {
        let (seconds, before, after) = self.last_two()?;
        let counts = difference(before.get(board)?, after.get(board)?);
        Some(total(&counts) as f64 / seconds)
    }

    /// All boards together; none before the second reading, or when no board counts.
    pub fn ring(&self) -> Option<Figures> {
        let (seconds, before, after) = self.last_two()?;
        let lately = sum(before, after)?;
        let (_, oldest) = self.readings.front()?;
        let minute = sum(oldest, after).unwrap_or_default();
        let rate = |count: u64| count as f64 / seconds;
        Some(Figures {
            put: rate(lately.put),
            get: rate(lately.get),
            remove: rate(lately.remove),
            failed: rate(lately.failed),
            p50_us: quantile(&minute.latency_us, 0.5),
            p99_us: quantile(&minute.latency_us, 0.99),
        })
    }

    fn last_two(&self) -> Option<(f64, &Reading, &Reading)> {
        let (end, after) = self.readings.back()?;
        let (start, before) = self.readings.iter().rev().nth(1)?;
        let seconds = end.saturating_sub(*start).as_secs_f64();
        (seconds > 0.0).then_some((seconds, before, after))
    }
}

fn total(counts: &Operations) -> u64 {
    [counts.put, counts.get, counts.remove, counts.failed]
        .into_iter()
        .fold(0, u64::saturating_add)
}

/// What was counted between two readings of one board.
fn difference(before: &Operations, after: &Operations) -> Operations {
    if total(after) < total(before) {
        return after.clone();
    }
    let earlier: BTreeMap<_, _> = before.latency_us.iter().copied().collect();
    let since = |(bound, count): &(Option<u64>, u64)| {
        let earlier = earlier.get(bound).copied().unwrap_or(0);
        (*bound, count.saturating_sub(earlier))
    };
    Operations {
        put: after.put.saturating_sub(before.put),
        get: after.get.saturating_sub(before.get),
        remove: after.remove.saturating_sub(before.remove),
        failed: after.failed.saturating_sub(before.failed),
        latency_us: after.latency_us.iter().map(since).collect(),
    }
}

/// What was counted between two readings of the boards that are in both; none if none is.
fn sum(before: &Reading, after: &Reading) -> Option<Operations> {
    let mut sum: Option<Operations> = None;
    for (board, after) in after {
        let Some(before) = before.get(board) else {
            continue;
        };
        let counts = difference(before, after);
        let sum = sum.get_or_insert_default();
        sum.put = sum.put.saturating_add(counts.put);
        sum.get = sum.get.saturating_add(counts.get);
        sum.remove = sum.remove.saturating_add(counts.remove);
        sum.failed = sum.failed.saturating_add(counts.failed);
        sum.latency_us.extend(counts.latency_us);
    }
    sum
}

/// The upper bound of the class that the quantile falls into.
fn quantile(classes: &[(Option<u64>, u64)], share: f64) -> Option<u64> {
    let mut merged: BTreeMap<u64, u64> = BTreeMap::new();
    for (bound, count) in classes {
        let slot = merged.entry(bound.unwrap_or(u64::MAX)).or_default();
        *slot = slot.saturating_add(*count);
    }
    let all = merged.values().fold(0u64, |all, n| all.saturating_add(*n));
    let wanted = (all as f64 * share).ceil() as u64;
    let mut seen = 0u64;
    let found = merged.into_iter().find(|(_, count)| {
        seen = seen.saturating_add(*count);
        seen >= wanted.max(1)
    });
    found
        .map(|(bound, _)| bound)
        .filter(|bound| *bound != u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(operations: serde_json::Value) -> NodeStats {
        serde_json::from_value(serde_json::json!({"uptime_ms": 1, "items": 1,
            "under_replicated": 0, "safe_to_unplug": true, "store": "open",
            "operations": operations}))
        .unwrap()
    }

    fn reading(
        board: &str,
        put: u64,
        latency: &[(Option<u64>, u64)],
    ) -> BTreeMap<String, NodeStats> {
        let counts = serde_json::json!({"put": put, "get": 0, "remove": 0, "failed": 0,
            "latency_us": latency});
        BTreeMap::from([(board.to_owned(), stats(counts))])
    }

    #[test]
    fn rates_are_differences_over_time() {
        let mut rates = Rates::default();
        rates.push(
            Duration::from_secs(1),
            &reading("a", 10, &[(Some(100), 10)]),
        );
        assert_eq!(rates.ring(), None);
        let after = [(Some(100), 19), (Some(900), 1)];
        rates.push(Duration::from_secs(3), &reading("a", 20, &after));
        assert_eq!(rates.of("a"), Some(5.0));
        let ring = rates.ring().unwrap();
        assert_eq!((ring.put, ring.get), (5.0, 0.0));
        assert_eq!((ring.p50_us, ring.p99_us), (Some(100), Some(900)));
    }

    #[test]
    fn a_restart_counts_from_zero_and_a_stranger_has_no_rate() {
        let mut rates = Rates::default();
        rates.push(Duration::from_secs(1), &reading("a", 100, &[]));
        rates.push(Duration::from_secs(2), &reading("a", 4, &[(None, 4)]));
        assert_eq!(rates.of("a"), Some(4.0));
        assert_eq!(rates.of("b"), None);
        assert_eq!(rates.ring().unwrap().p50_us, None);
    }

    #[test]
    fn boards_that_do_not_count_have_no_figures() {
        let mut rates = Rates::default();
        let silent = BTreeMap::from([("a".to_owned(), stats(serde_json::Value::Null))]);
        rates.push(Duration::from_secs(1), &silent);
        rates.push(Duration::from_secs(2), &silent);
        assert_eq!(rates.ring(), None);
    }

    #[test]
    fn readings_older_than_the_window_are_dropped() {
        let mut rates = Rates::default();
        for second in 0..200 {
            rates.push(Duration::from_secs(second), &reading("a", second, &[]));
        }
        let (oldest, _) = rates.readings.front().unwrap();
        assert_eq!(*oldest, Duration::from_secs(139));
    }
}
