//! The φ accrual detector (Hayashibara, Défago, Yared, Katayama 2004): a board is suspect when it
//! has been silent for longer than the times between its past arrivals make likely.
//!
//! Arrivals are whatever is heard of a board; those that come together count once. φ is the
//! negative decimal logarithm of the probability that the next arrival comes later still, under a
//! normal distribution of the recent times between arrivals (§4.2); above [`THRESHOLD`] the board
//! is suspect. Departures from the paper: there are no heartbeats of their own, since probes and
//! their answers already come often; and the deviation has a floor, as a quiet LAN is so regular
//! that a single late packet would be a suspicion.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::strategy::Strategy;
use crate::base::id::Id;
use crate::base::limit;
use crate::base::time::Time;

/// φ from which on a board is suspect: wrong once in 10^8 arrivals if the model holds.
pub const THRESHOLD: f64 = 8.0;
/// Times between arrivals that are remembered.
const WINDOW: usize = 100;
/// With fewer than these the first guess stands in for them.
const SAMPLES_MIN: usize = 5;
/// The first guess: mean and deviation, seconds.
const GUESS: (f64, f64) = (1.0, 0.2);
/// Deviations below this count as this, seconds.
const DEVIATION_MIN: f64 = 0.1;
/// Arrivals within this are one.
const TOGETHER: Duration = Duration::from_millis(50);
/// A suspect that stays so is told again after this.
const REPEAT: Duration = Duration::from_secs(1);
/// The suspect has this long to refute: waiting is in φ already.
const PATIENCE: Duration = Duration::from_millis(500);

/// The arrivals of one board.
#[derive(Debug)]
struct Arrivals {
    last: Time,
    /// Where the time to the next arrival is counted from.
    counted: Time,
    gaps: VecDeque<f64>,
    told: Option<Time>,
}

impl Arrivals {
    fn new(now: Time) -> Self {
        Arrivals {
            last: now,
            counted: now,
            gaps: VecDeque::new(),
            told: None,
        }
    }

    fn note(&mut self, now: Time) {
        self.last = now;
        self.told = None;
        let gap = now.since(self.counted);
        if gap < TOGETHER {
            return;
        }
        self.counted = now;
        if self.gaps.len() == WINDOW {
            self.gaps.pop_front();
        }
        self.gaps.push_back(gap.as_secs_f64());
    }

    /// Mean and deviation of the times between arrivals.
    fn distribution(&self) -> (f64, f64) {
        if self.gaps.len() < SAMPLES_MIN {
            return GUESS;
        }
        let count = self.gaps.len() as f64;
        let mean = self.gaps.iter().sum::<f64>() / count;
        let squares = self.gaps.iter().map(|gap| (gap - mean).powi(2));
        let deviation = (squares.sum::<f64>() / count).sqrt();
        (mean, deviation.max(DEVIATION_MIN))
    }

    fn phi(&self, now: Time) -> f64 {
        let (mean, deviation) = self.distribution();
        phi_of((now.since(self.last).as_secs_f64() - mean) / deviation)
    }

    /// When φ reaches the threshold if nothing is heard.
    fn due(&self) -> Time {
        let (mean, deviation) = self.distribution();
        let silence = mean + deviation * deviations_at(THRESHOLD);
        let due = self.last + Duration::from_secs_f64(silence);
        due.max(self.told.map_or(due, |told| told + REPEAT))
    }
}

/// φ at so many deviations above the mean. The normal distribution's tail by its logistic
/// approximation, whose error is nothing beside the model's own.
fn phi_of(deviations: f64) -> f64 {
    let exponent = deviations * (1.5976 + 0.070566 * deviations * deviations);
    // -log10(e^-x / (1 + e^-x)), without underflow far out.
    (exponent + (-exponent).exp().ln_1p()) / std::f64::consts::LN_10
}

/// The inverse of [`phi_of`], by bisection.
fn deviations_at(phi: f64) -> f64 {
    let (mut low, mut high) = (0.0, 20.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        match phi_of(middle) < phi {
            true => low = middle,
            false => high = middle,
        }
    }
    high
}

/// The strategy `phi`.
#[derive(Debug, Default)]
pub struct Phi {
    boards: BTreeMap<Id, Arrivals>,
}

impl Phi {
    /// How unlikely the board's present silence is; none of a board never heard.
    pub fn phi(&self, now: Time, board: &Id) -> Option<f64> {
        self.boards.get(board).map(|arrivals| arrivals.phi(now))
    }

    fn arrivals(&mut self, now: Time, board: &Id) -> Option<&mut Arrivals> {
        let full = self.boards.len() >= limit::ROSTER_MAX && !self.boards.contains_key(board);
        let boards = (!full).then_some(&mut self.boards)?;
        Some(boards.entry(*board).or_insert_with(|| Arrivals::new(now)))
    }
}

impl Strategy for Phi {
    fn name(&self) -> &'static str {
        "phi"
    }

    fn fresh(&self) -> Box<dyn Strategy> {
        Box::new(Phi::default())
    }

    fn heard(&mut self, now: Time, board: &Id) {
        if let Some(arrivals) = self.arrivals(now, board) {
            arrivals.note(now);
        }
    }

    /// A board that was never heard is counted from its first unanswered probe on.
    fn unanswered(&mut self, now: Time, board: &Id) {
        self.arrivals(now, board);
    }

    fn forget(&mut self, board: &Id) {
        self.boards.remove(board);
    }

    fn poll_suspect(&mut self, now: Time) -> Option<Id> {
        let mut boards = self.boards.iter_mut();
        let (id, arrivals) = boards.find(|(_, arrivals)| arrivals.due() <= now)?;
        arrivals.told = Some(now);
        Some(*id)
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.boards.values().map(Arrivals::due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::{RngExt, seeded};

    fn board() -> Id {
        Id::of(b"board")
    }

    /// A series of arrivals, each so many milliseconds after the one before.
    fn heard(gaps_ms: impl IntoIterator<Item = u64>) -> (Phi, Time) {
        let (mut phi, mut now) = (Phi::default(), Time(0));
        phi.heard(now, &board());
        for gap in gaps_ms {
            now = now + Duration::from_millis(gap);
            assert_eq!(phi.poll_suspect(now), None, "a false alarm at {now:?}");
            phi.heard(now, &board());
        }
        (phi, now)
    }

    fn silence(phi: &Phi, last: Time) -> Duration {
        phi.poll_timeout().unwrap().since(last)
    }

    #[test]
    fn phi_is_the_logarithm_of_the_normal_tail() {
        // Tail probabilities of the standard normal distribution.
        for (deviations, tail) in [
            (0.0, 0.5),
            (1.0, 0.158_655),
            (2.0, 0.022_750),
            (3.0, 0.001_35),
        ] {
            let expected = -f64::log10(tail);
            assert!((phi_of(deviations) - expected).abs() < 0.05, "{deviations}");
        }
        assert!((phi_of(deviations_at(THRESHOLD)) - THRESHOLD).abs() < 1e-9);
    }

    #[test]
    fn regular_arrivals_make_a_quick_suspicion_and_irregular_ones_a_patient_one() {
        let (regular, last) = heard([300; 100]);
        assert!(silence(&regular, last) < Duration::from_millis(1_000));
        let mut rng = seeded([7; 32], 1);
        let (irregular, last) = heard((0..100).map(|_| rng.random_range(100..=900)));
        let patient = silence(&irregular, last);
        assert!(patient > Duration::from_millis(1_500), "{patient:?}");
        assert!(patient < Duration::from_millis(3_000), "{patient:?}");
    }

    #[test]
    fn an_uneven_series_raises_no_alarm_until_it_ends() {
        // Milliseconds between arrivals: probe periods, answers between them, and probes that skip.
        let gaps_ms = [
            300, 412, 188, 600, 95, 505, 300, 301, 710, 189, 299, 301, 812, 90, 300, 598, 301, 210,
            389, 301, 900, 299, 120, 481, 300, 601, 299, 302, 98, 500, 303, 597, 301, 300, 688,
            212, 300, 299, 601, 300,
        ];
        let (mut phi, last) = heard(gaps_ms);
        let due = phi.poll_timeout().unwrap();
        assert!(phi.phi(last, &board()).unwrap() < 1.0);
        assert_eq!(phi.poll_suspect(Time(due.0 - 1_000)), None);
        assert_eq!(phi.poll_suspect(due), Some(board()));
        assert!(phi.phi(due, &board()).unwrap() >= THRESHOLD - 0.01);
        assert!(due.since(last) < Duration::from_millis(2_500), "{due:?}");
        assert_eq!(phi.poll_suspect(due), None, "it is told with pauses");
        assert_eq!(phi.poll_suspect(due + REPEAT), Some(board()));
        phi.heard(due + REPEAT, &board());
        assert_eq!(phi.poll_suspect(due + REPEAT), None);
    }

    #[test]
    fn arrivals_that_come_together_do_not_shorten_the_patience() {
        let (apart, last) = heard([300; 50]);
        let mut bursts = Phi::default();
        let mut now = Time(0);
        for _ in 0..51 {
            for packet in 0..5 {
                bursts.heard(now + Duration::from_millis(packet), &board());
            }
            now = now + Duration::from_millis(300);
        }
        let of_bursts = silence(&bursts, Time(now.0 - 296_000));
        let difference = of_bursts.abs_diff(silence(&apart, last));
        assert!(difference < Duration::from_millis(50), "{difference:?}");
    }

    #[test]
    fn board_never_heard_is_suspect_in_time() {
        let mut phi = Phi::default();
        assert_eq!(phi.poll_timeout(), None);
        phi.unanswered(Time(0), &board());
        let due = phi.poll_timeout().unwrap();
        assert!(due.since(Time(0)) < Duration::from_secs(3));
        assert_eq!(phi.poll_suspect(due), Some(board()));
        phi.forget(&board());
        assert_eq!(phi.poll_timeout(), None);
    }
}
