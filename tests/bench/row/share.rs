//! Row 22: which share of the keys the most loaded of ten boards owns, beside the mean: over all
//! cells, of rings of boards with random ids; and with one point a board for compare.

use std::collections::BTreeMap;

use roundel::base::cell::Cell;
use roundel::base::id::Id;
use roundel::base::limit;
use roundel::proto::placement::Circle;

use crate::fault::Fault;
use crate::figure::{Figure, Figures};
use crate::goal::Goal;
use crate::row::{Context, Row};

const NUMBER: u32 = 22;
const BOARDS: usize = 10;
/// Rings of a repetition.
const RINGS: usize = 100;
const MEDIAN: (&str, &str) = ("most loaded / mean", "");
const P95: (&str, &str) = ("most loaded / mean, p95", "");

/// The row.
pub const ROW: Row = Row {
    numbers: &[NUMBER],
    name: "share of keys of the most loaded of ten boards",
    run,
    goals: &[
        Goal::within(NUMBER, MEDIAN.0, 1.3),
        Goal::within(NUMBER, P95.0, 1.3),
    ],
};

fn run(context: &Context) -> Result<Vec<Figure>, Fault> {
    let mut figures = Figures::default();
    for rep in context.repetitions() {
        for (system, points) in [
            ("roundel", limit::POINTS_PER_BOARD),
            ("one point a board", 1),
        ] {
            let mut shares: Vec<f64> = (0..RINGS)
                .map(|ring| most_loaded(points, rep * RINGS + ring))
                .collect();
            shares.sort_by(f64::total_cmp);
            figures.add(NUMBER, system, MEDIAN, shares[RINGS / 2]);
            figures.add(NUMBER, system, P95, shares[RINGS * 95 / 100]);
        }
    }
    Ok(figures.all())
}

/// Of the ring of that number: ids are hashes, of which there are as many as one likes.
fn most_loaded(points: u32, ring: usize) -> f64 {
    let ids = (0..BOARDS).map(|board| Id::of(format!("{ring} {board}").as_bytes()));
    let circle = Circle::new(ids.collect(), points);
    let mut owned: BTreeMap<Id, usize> = BTreeMap::new();
    for cell in 0..Cell::COUNT {
        let cell = Cell(u16::try_from(cell).expect("cells are numbered in 16 bits"));
        let owner = circle.walk(&cell.start()).next();
        *owned
            .entry(owner.expect("a circle has boards"))
            .or_default() += 1;
    }
    let most = owned.values().max().copied().unwrap_or(0);
    most as f64 / (Cell::COUNT as f64 / BOARDS as f64)
}
