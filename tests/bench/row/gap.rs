//! Row 16: quorum puts across the kill -9 of any one board of three, by clients of the other two:
//! how many fail, and the longest time in which none was acknowledged.

use std::thread;
use std::time::Duration;

use crate::fault::Fault;
use crate::figure::{Figure, Figures};
use crate::goal::Goal;
use crate::lan::{FORM_TIME_MAX, Medium, formed, guarded, keyed};
use crate::node::Node;
use crate::ring;
use crate::row::{Context, Row};
use crate::writer::Load;

const NUMBER: u32 = 16;
const BOARDS: usize = 3;
const GAP: (&str, &str) = ("longest gap between acknowledged puts", "ms");
const FAILED: (&str, &str) = ("failed puts", "");
/// Puts go on so long before the kill and so much longer after it: by then the others know.
const BEFORE: Duration = Duration::from_secs(2);
const AFTER: Duration = Duration::from_secs(8);

/// The row.
pub const ROW: Row = Row {
    numbers: &[NUMBER],
    name: "quorum puts across any one kill -9",
    run,
    goals: &[
        Goal::within(NUMBER, FAILED.0, 0.0),
        Goal::within(NUMBER, GAP.0, 200.0).when_quiet(),
    ],
};

/// Each board of a ring is killed once in a repetition.
fn run(context: &Context) -> Result<Vec<Figure>, Fault> {
    let mut figures = Figures::default();
    for _ in context.repetitions() {
        guarded(|| {
            let lab = keyed(context, "gap", BOARDS, Medium::Disk);
            let mut nodes = formed(&lab, BOARDS);
            for victim in 0..BOARDS {
                let survivors = (0..BOARDS).filter(|board| *board != victim);
                let survivors = survivors.map(|board| &nodes[board]);
                let load = Load::start(&format!("killing {victim}"), survivors);
                thread::sleep(BEFORE);
                nodes[victim].kill();
                thread::sleep(AFTER);
                let outcome = load.stop();
                let failed: usize = outcome.refused.values().sum();
                figures.add(NUMBER, "roundel", FAILED, failed as f64);
                figures.add(NUMBER, "roundel", GAP, outcome.gap_max.as_secs_f64() * 1e3);
                nodes[victim] = Node::start(&lab, victim);
                ring::wait_for_ring(&nodes, FORM_TIME_MAX);
                ring::wait_until_settled(&nodes);
            }
            Ok(())
        })?;
    }
    Ok(figures.all())
}
