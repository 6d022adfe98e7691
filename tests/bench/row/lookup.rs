//! Rows 17 and 18: hops of lookups among 10,000 boards, and just after half of them have failed;
//! the machines of mode `partial` in one process, as `tests/scale` drives them. And hops in mode
//! `full`, of real boards.

use serde_json::json;

use crate::fault::Fault;
use crate::figure::{Figure, Figures};
use crate::goal::Goal;
use crate::lan::{Medium, formed, guarded, keyed};
use crate::row::{Context, Row};
use crate::survey::{grow, kill_half, look_up, rounds_until};

const HOPS: u32 = 17;
const FAILED: u32 = 18;
const BOARDS: usize = 10_000;
const LOOKUPS: usize = 10_000;
const MEAN: (&str, &str) = ("hops, mean", "");
const P99: (&str, &str) = ("hops, p99", "");
const BAD: (&str, &str) = ("wrong or failed of 10,000", "");
/// Mode `full` computes its ring: what ten boards say, all of them would.
const FULL_BOARDS: usize = 10;
const FULL_LOOKUPS: usize = 200;
const FULL: &str = "roundel, mode full";
const MOST: (&str, &str) = ("hops, most", "");

/// The rows.
pub const ROW: Row = Row {
    numbers: &[HOPS, FAILED],
    name: "lookups among 10,000 boards, and after half of them have failed",
    run,
    goals: &[
        Goal::within(HOPS, MEAN.0, 6.0),
        Goal::within(HOPS, P99.0, 10.0),
        Goal::within(HOPS, BAD.0, 0.0),
        Goal::within(HOPS, MOST.0, 1.0).of(FULL),
        Goal::within(FAILED, BAD.0, 0.0),
    ],
};

fn run(context: &Context) -> Result<Vec<Figure>, Fault> {
    let mut figures = Figures::default();
    guarded(|| {
        partial(&mut figures);
        full(context, &mut figures)
    })?;
    Ok(figures.all())
}

/// The world is drawn from a seed: a repetition would give the very same.
fn partial(figures: &mut Figures) {
    let mut world = grow(BOARDS);
    rounds_until(&mut world, |it| it.is_ideal() && it.has_ideal_fingers());
    let whole = look_up(&mut world, LOOKUPS);
    kill_half(&mut world);
    let half = look_up(&mut world, LOOKUPS);
    for (row, outcome) in [(HOPS, whole), (FAILED, half)] {
        figures.add(row, "roundel", MEAN, outcome.mean());
        figures.add(row, "roundel", P99, outcome.p99() as f64);
        figures.add(row, "roundel", BAD, outcome.bad as f64);
    }
}

fn full(context: &Context, figures: &mut Figures) -> Result<(), Fault> {
    let lab = keyed(context, "hops", FULL_BOARDS, Medium::Memory);
    let nodes = formed(&lab, FULL_BOARDS);
    let mut most = 0;
    for number in 0..FULL_LOOKUPS {
        let node = &nodes[number % FULL_BOARDS];
        let found = node.call(
            "find_ring_successor",
            json!({"key": format!("key {number}")}),
        );
        let found = found.map_err(|it| Fault::new(format!("{}: {}", node.name, it.message)))?;
        let hops = found["hops"].as_u64();
        most = most.max(hops.ok_or_else(|| Fault::new(format!("no hops in {found}")))?);
    }
    figures.add(HOPS, FULL, MOST, most as f64);
    Ok(())
}
