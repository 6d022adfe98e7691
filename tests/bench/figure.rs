//! A figure: what one system gave in one measure, once a repetition.

use serde::{Deserialize, Serialize};

/// Samples of a measure of a system; (row, system, measure) names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The row it belongs to.
    pub row: u32,
    /// What was measured: `roundel`, `etcd`, …
    pub system: String,
    /// Which property: `puts`, `p99`, …
    pub measure: String,
    /// `/s`, `ms`, `MB`, …
    pub unit: String,
    /// One a repetition, at least one.
    pub samples: Vec<f64>,
}

/// A figure in short.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The middle; between the two middle ones of an even number.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Figure {
    /// Median, least and most; none without samples.
    pub fn summary(&self) -> Option<Summary> {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
            _ => sorted[middle],
        };
        Some(Summary { median, min, max })
    }
}

/// Figures of a row while it runs: each repetition adds a sample.
#[derive(Debug, Default)]
pub struct Figures(Vec<Figure>);

impl Figures {
    /// Adds a sample to the figure of that name, which begins with its first.
    pub fn add(&mut self, row: u32, system: &str, (measure, unit): (&str, &str), sample: f64) {
        let same = |it: &&mut Figure| it.row == row && it.system == system && it.measure == measure;
        match self.0.iter_mut().find(same) {
            Some(figure) => figure.samples.push(sample),
            None => self.0.push(Figure {
                row,
                system: system.to_owned(),
                measure: measure.to_owned(),
                unit: unit.to_owned(),
                samples: vec![sample],
            }),
        }
    }

    /// All of them.
    pub fn all(self) -> Vec<Figure> {
        self.0
    }
}

/// Finds a figure by its name.
pub fn find<'a>(
    figures: &'a [Figure],
    row: u32,
    system: &str,
    measure: &str,
) -> Option<&'a Figure> {
    let same = |it: &&Figure| it.row == row && it.system == system && it.measure == measure;
    figures.iter().find(same)
}

/// A number with about three digits that count.
pub fn spoken(value: f64) -> String {
    match value.abs() {
        size if size >= 999.5 => {
            let whole = format!("{:.0}", value.abs());
            let mut text = String::new();
            for (index, digit) in whole.chars().enumerate() {
                if index > 0 && (whole.len() - index) % 3 == 0 {
                    text.push(',');
                }
                text.push(digit);
            }
            if value < 0.0 {
                format!("-{text}")
            } else {
                text
            }
        }
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
