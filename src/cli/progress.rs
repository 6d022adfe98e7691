//! A progress line on standard error, for work that takes over a second, on a terminal only.

use std::future::Future;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Work shorter than this shows nothing.
const QUIET: Duration = Duration::from_secs(1);
/// How often a waiting line moves.
const TICK: Duration = Duration::from_millis(100);

/// Work under way.
#[derive(Debug)]
pub struct Progress {
    what: &'static str,
    unit: &'static str,
    total: Option<u64>,
    done: u64,
    started: Instant,
    bar: Option<ProgressBar>,
    wanted: bool,
}

impl Progress {
    /// Work that is `what` ("scanning"), counted in `unit` ("keys"), `total` of them if known.
    pub fn new(what: &'static str, unit: &'static str, total: Option<u64>) -> Self {
        Progress {
            what,
            unit,
            total,
            done: 0,
            started: Instant::now(),
            bar: None,
            wanted: std::io::stderr().is_terminal(),
        }
    }

    /// The same, but silent: for work whose results scroll by on the same terminal.
    pub fn unless(mut self, shown_otherwise: bool) -> Self {
        self.wanted &= !shown_otherwise;
        self
    }

    /// `count` more are done.
    pub fn advance(&mut self, count: u64) {
        self.done += count;
        self.show();
    }

    /// Waits for something that cannot be counted.
    pub async fn during<T>(mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                result = &mut work => return result,
                _ = tick.tick() => self.show(),
            }
        }
    }

    fn show(&mut self) {
        if !self.wanted || self.started.elapsed() < QUIET {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = self
                .total
                .map_or_else(ProgressBar::new_spinner, ProgressBar::new);
            let counted = format!("{{pos}} {}", self.unit);
            let form = match (self.total, self.unit) {
                (Some(_), unit) => format!("{} {{bar:30}} {{pos}}/{{len}} {unit}", self.what),
                (None, "") => format!("{{spinner}} {} {{elapsed}}", self.what),
                (None, _) => format!("{{spinner}} {} {counted}", self.what),
            };
            let style = ProgressStyle::with_template(&form).expect("the template is well formed");
            bar.with_style(style)
        });
        bar.set_position(self.done);
        bar.tick();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
