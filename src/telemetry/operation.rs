//! Client operations on the bucket: how many there were, how they ended and how long they took.
//!
//! One table a process, since a process is one board. Latencies are counted in classes whose
//! bounds grow by √2, so that a quantile read from them is at most a fifth off; a reader that
//! wants those of the last minute subtracts an older reading, as Prometheus does.

use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Classes with an upper bound; one more takes what is slower than all.
pub const CLASSES: usize = 36;
/// The least upper bound, microseconds.
const FIRST_US: u64 = 50;

/// An operation of the bucket that a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A value is stored.
    Put,
    /// A value is read.
    Get,
    /// A key is removed.
    Remove,
}

impl Operation {
    /// All of them.
    pub const ALL: [Operation; 3] = [Operation::Put, Operation::Get, Operation::Remove];

    /// The word of metrics and results.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Put => "put",
            Operation::Get => "get",
            Operation::Remove => "remove",
        }
    }
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operations {
    done: [u64; 3],
    failed: [u64; 3],
    classes: [u64; CLASSES + 1],
    sum_us: u64,
}

static TABLE: Mutex<Operations> = Mutex::new(Operations::NONE);

/// An operation ended.
pub fn count(operation: Operation, ok: bool, took: Duration) {
    let mut table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
    table.count(operation, ok, took);
}

/// What was counted since the start.
pub fn read() -> Operations {
    *TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The upper bound of a class, microseconds.
pub fn bound_us(class: usize) -> u64 {
    let octave = FIRST_US << (class / 2);
    match class % 2 {
        0 => octave,
        _ => octave * 14_142 / 10_000,
    }
}

impl Operations {
    /// Nothing.
    pub const NONE: Operations = Operations {
        done: [0; 3],
        failed: [0; 3],
        classes: [0; CLASSES + 1],
        sum_us: 0,
    };

    /// Counts one more.
    pub fn count(&mut self, operation: Operation, ok: bool, took: Duration) {
        let counts = if ok { &mut self.done } else { &mut self.failed };
        counts[operation as usize] += 1;
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let class = (0..CLASSES).find(|class| us <= bound_us(*class));
        self.classes[class.unwrap_or(CLASSES)] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// Those that ended well.
    pub fn done(&self, operation: Operation) -> u64 {
        self.done[operation as usize]
    }

    /// Those that ended with an error, a key that was not found among them.
    pub fn failed(&self) -> u64 {
        self.failed.iter().sum()
    }

    /// The classes that are not empty: upper bound in microseconds (none: no bound), operations.
    pub fn latencies(&self) -> impl Iterator<Item = (Option<u64>, u64)> + '_ {
        let classes = self.classes.iter().enumerate();
        classes
            .filter(|(_, count)| **count > 0)
            .map(|(class, count)| ((class < CLASSES).then(|| bound_us(class)), *count))
    }

    /// As Prometheus text.
    pub fn render(&self) -> String {
        let mut page = String::from("# TYPE roundel_operations_total counter\n");
        let mut line = |text: std::fmt::Arguments<'_>| {
            page.write_fmt(text)
                .expect("a String takes all that is written");
        };
        for operation in Operation::ALL {
            for (outcome, counts) in [("ok", &self.done), ("error", &self.failed)] {
                line(format_args!(
                    "roundel_operations_total{{operation=\"{}\",outcome=\"{outcome}\"}} {}\n",
                    operation.as_str(),
                    counts[operation as usize]
                ));
            }
        }
        line(format_args!("# TYPE roundel_operation_seconds histogram\n"));
        let mut total = 0;
        for (class, count) in self.classes.iter().enumerate() {
            total += count;
            let bound = match class < CLASSES {
                true => format!("{}", bound_us(class) as f64 / 1e6),
                false => "+Inf".to_owned(),
            };
            line(format_args!(
                "roundel_operation_seconds_bucket{{le=\"{bound}\"}} {total}\n"
            ));
        }
        let seconds = self.sum_us as f64 / 1e6;
        line(format_args!(
            "roundel_operation_seconds_sum {seconds}\nroundel_operation_seconds_count {total}\n"
        ));
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_rise_by_half_octaves_past_the_longest_operation() {
        let bounds: Vec<u64> = (0..CLASSES).map(bound_us).collect();
        assert!(bounds.windows(2).all(|pair| {
            let ratio = pair[1] as f64 / pair[0] as f64;
            (1.40..1.43).contains(&ratio)
        }));
        let longest = crate::base::limit::OPERATION_TIME_MAX.as_micros() as u64;
        assert!(bounds[CLASSES - 1] > longest, "{bounds:?}");
    }

    #[test]
    fn an_operation_is_counted_by_kind_outcome_and_time() {
        let mut table = Operations::NONE;
        table.count(Operation::Put, true, Duration::from_micros(50));
        table.count(Operation::Put, false, Duration::from_micros(51));
        table.count(Operation::Get, true, Duration::from_secs(3_600));
        assert_eq!(table.done(Operation::Put), 1);
        assert_eq!((table.done(Operation::Get), table.failed()), (1, 1));
        let latencies: Vec<_> = table.latencies().collect();
        assert_eq!(latencies, [(Some(50), 1), (Some(70), 1), (None, 1)]);
    }

    #[test]
    fn the_text_is_a_cumulative_histogram() {
        let mut table = Operations::NONE;
        table.count(Operation::Remove, true, Duration::from_micros(60));
        table.count(Operation::Remove, true, Duration::from_micros(900));
        let text = table.render();
        for line in [
            r#"roundel_operations_total{operation="remove",outcome="ok"} 2"#,
            r#"roundel_operation_seconds_bucket{le="0.00005"} 0"#,
            r#"roundel_operation_seconds_bucket{le="0.0001"} 1"#,
            r#"roundel_operation_seconds_bucket{le="+Inf"} 2"#,
            "roundel_operation_seconds_sum 0.00096",
            "roundel_operation_seconds_count 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
