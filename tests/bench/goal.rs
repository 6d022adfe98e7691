//! Goals: a median of ours against another median of the same run, or against a number.

use serde::{Deserialize, Serialize};

use crate::figure::{Figure, find};

/// What one of our figures must reach.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    row: u32,
    system: &'static str,
    measure: &'static str,
    limit: Limit,
    against: Against,
    when: When,
}

/// Which side of a limit is good.
#[derive(Clone, Copy, Debug)]
enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

/// What a figure is divided by.
#[derive(Clone, Copy, Debug)]
enum Against {
    /// Another system's median in the same measure and row.
    System(&'static str),
    /// Nothing: the limit is in the figure's own unit.
    Nothing,
}

/// When a goal can be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Always,
    Quiet,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// Reached.
    Met,
    /// Not reached.
    Missed,
    /// The machine was busy with other things.
    NotJudged,
    /// A figure is missing, since its row failed.
    Unmeasured,
}

/// A goal and how it went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The row.
    pub row: u32,
    /// The goal in words.
    pub goal: String,
    /// The ratio, or the figure itself.
    pub reached: Option<f64>,
    /// How it went.
    pub judgement: Judgement,
}

impl Goal {
    /// Our median is at least `factor` times the other system's.
    pub const fn at_least(
        row: u32,
        measure: &'static str,
        factor: f64,
        other: &'static str,
    ) -> Self {
        Goal::new(row, measure, Limit::AtLeast(factor), Against::System(other))
    }

    /// Our median is at most `factor` times the other system's.
    pub const fn at_most(
        row: u32,
        measure: &'static str,
        factor: f64,
        other: &'static str,
    ) -> Self {
        Goal::new(row, measure, Limit::AtMost(factor), Against::System(other))
    }

    /// Our median is at most that, in its own unit.
    pub const fn within(row: u32, measure: &'static str, most: f64) -> Self {
        Goal::new(row, measure, Limit::AtMost(most), Against::Nothing)
    }

    const fn new(row: u32, measure: &'static str, limit: Limit, against: Against) -> Self {
        Goal {
            row,
            system: "roundel",
            measure,
            limit,
            against,
            when: When::Always,
        }
    }

    /// The same of another system of ours.
    pub const fn of(mut self, system: &'static str) -> Self {
        self.system = system;
        self
    }

    /// The same, judged on a quiet machine only.
    pub const fn when_quiet(mut self) -> Self {
        self.when = When::Quiet;
        self
    }

    /// How it went.
    pub fn judge(&self, figures: &[Figure], quiet: bool) -> Judged {
        let reached = self.reached(figures);
        let judgement = match (reached, self.limit) {
            (None, _) => Judgement::Unmeasured,
            _ if self.when == When::Quiet && !quiet => Judgement::NotJudged,
            (Some(value), Limit::AtLeast(least)) if value >= least => Judgement::Met,
            (Some(value), Limit::AtMost(most)) if value <= most => Judgement::Met,
            _ => Judgement::Missed,
        };
        Judged {
            row: self.row,
            goal: self.words(figures),
            reached,
            judgement,
        }
    }

    fn reached(&self, figures: &[Figure]) -> Option<f64> {
        let median = |system| {
            let figure = find(figures, self.row, system, self.measure)?;
            Some(figure.summary()?.median)
        };
        let own = median(self.system)?;
        match self.against {
            Against::Nothing => Some(own),
            Against::System(other) => Some(own / median(other)?).filter(|it| it.is_finite()),
        }
    }

    fn words(&self, figures: &[Figure]) -> String {
        let (system, measure) = (self.system, self.measure);
        let (side, limit) = match self.limit {
            Limit::AtLeast(limit) => ("≥", limit),
            Limit::AtMost(limit) => ("≤", limit),
        };
        match self.against {
            Against::System(other) => format!("{system} {measure} {side} {limit} × {other}"),
            Against::Nothing => {
                let unit = find(figures, self.row, system, measure).map(|it| it.unit.as_str());
                format!("{system} {measure} {side} {limit} {}", unit.unwrap_or(""))
            }
        }
    }
}
