//! Row 13: thirty boards on one bridge are started together; until each of them sees all thirty.
//! serf's agents, which find each other by mDNS, in turn with ours.

use std::time::Instant;

use crate::fault::Fault;
use crate::figure::{Figure, Figures};
use crate::goal::Goal;
use crate::lab::Lab;
use crate::lan::{BOARDS, FORM_TIME_MAX, Medium, guarded, keyed};
use crate::node::Node;
use crate::ring;
use crate::row::{Context, Row, in_turn};
use crate::serf::{self, Serf};
use crate::wait;

const NUMBER: u32 = 13;
const TIME: (&str, &str) = ("start of 30 until all see all", "s");

/// The row.
pub const ROW: Row = Row {
    numbers: &[NUMBER],
    name: "start of 30 boards on one bridge until all see all 30",
    run,
    goals: &[Goal::at_most(NUMBER, TIME.0, 0.75, "serf").when_quiet()],
};

type Measure = fn(&Context) -> Result<f64, Fault>;

fn run(context: &Context) -> Result<Vec<Figure>, Fault> {
    let systems: [(&str, Measure); 2] = [("roundel", ours), ("serf", serfs)];
    let mut figures = Figures::default();
    for rep in context.repetitions() {
        for (system, measure) in in_turn(&systems, rep) {
            let seconds = guarded(|| measure(context))?;
            figures.add(NUMBER, system, TIME, seconds);
        }
    }
    Ok(figures.all())
}

/// Our nodes are asked, which takes its time, too.
fn ours(context: &Context) -> Result<f64, Fault> {
    let lab = keyed(context, "forming", BOARDS, Medium::Memory);
    let start = Instant::now();
    let mut nodes = ring::exec(&lab, 0..BOARDS);
    nodes.iter_mut().for_each(Node::wait_ready);
    for node in &nodes {
        wait::until("all are seen", FORM_TIME_MAX, || {
            let members = node.members()?;
            let alive = members.iter().filter(|(_, alive)| *alive).count();
            match alive == BOARDS {
                true => Ok(()),
                false => Err(format!("{} sees {alive} of {BOARDS} boards", node.name)),
            }
        });
    }
    Ok(start.elapsed().as_secs_f64())
}

fn serfs(_: &Context) -> Result<f64, Fault> {
    let lab = Lab::in_memory("forming-serf", BOARDS);
    let start = Instant::now();
    let agents = Serf::exec_all(&lab, BOARDS)?;
    let seen = serf::until_all_see(&agents, BOARDS, start, FORM_TIME_MAX)?;
    Ok(seen.as_secs_f64())
}
