//! Rows 9, 10 and 11: memory, processor time and flash writes of a node that nobody asks anything,
//! alone and in a ring of thirty; serf's agents on the same LAN for compare.
//!
//! The watch begins once a ring has formed and nothing has been written for a while.

use std::thread;
use std::time::{Duration, Instant};

use crate::fault::Fault;
use crate::figure::{Figure, Figures};
use crate::goal::Goal;
use crate::lab::Lab;
use crate::lan::{BOARDS, FORM_TIME_MAX, Medium, formed, guarded, keyed};
use crate::node::Node;
use crate::process::Usage;
use crate::row::{Context, Row};
use crate::serf::{self, Serf};

const MEMORY: u32 = 9;
const PROCESSOR: u32 = 10;
const FLASH: u32 = 11;
/// Nothing has been written for so long: the start is over.
const STILL_TIME: Duration = Duration::from_secs(10);
const STILL_TIME_MAX: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(200);

const RSS_ALONE: (&str, &str) = ("memory alone", "MB");
const RSS_RING: (&str, &str) = ("memory in a ring of 30, most", "MB");
const CPU_ALONE: (&str, &str) = ("processor alone", "%");
const CPU_RING: (&str, &str) = ("processor in a ring of 30, mean", "%");
const WRITTEN_ALONE: (&str, &str) = ("written alone", "B");
const WRITTEN_RING: (&str, &str) = ("written in a ring of 30, most", "B");

/// The rows.
pub const ROW: Row = Row {
    numbers: &[MEMORY, PROCESSOR, FLASH],
    name: "idle: memory, processor time and flash writes, alone and in a ring of 30",
    run,
    goals: &[
        Goal::within(MEMORY, RSS_ALONE.0, 8.0),
        Goal::within(MEMORY, RSS_RING.0, 10.0),
        Goal::within(PROCESSOR, CPU_RING.0, 0.15),
        Goal::within(FLASH, WRITTEN_ALONE.0, 0.0),
        Goal::within(FLASH, WRITTEN_RING.0, 0.0),
    ],
};

/// One watch of each: it lasts ten minutes, which repeats what matters by itself.
fn run(context: &Context) -> Result<Vec<Figure>, Fault> {
    let mut figures = Figures::default();
    for boards in [1, BOARDS] {
        eprintln!("  roundel, {boards} boards");
        let idle = guarded(|| {
            let lab = keyed(context, "idle", boards, Medium::Disk);
            let nodes = formed(&lab, boards);
            watch(context, &nodes, of_node)
        })?;
        idle.add_to(&mut figures, "roundel", boards);
        eprintln!("  serf, {boards} boards");
        let idle = guarded(|| {
            let lab = Lab::in_memory("idle-serf", boards);
            let start = Instant::now();
            let agents = Serf::exec_all(&lab, boards)?;
            serf::until_all_see(&agents, boards, start, FORM_TIME_MAX)?;
            watch(context, &agents, Serf::usage)
        })?;
        idle.add_to(&mut figures, "serf", boards);
    }
    Ok(figures.all())
}

/// Of all boards of a ring.
#[derive(Clone, Copy, Debug)]
struct Idle {
    rss_mb_max: f64,
    cpu_percent_mean: f64,
    written_bytes_max: f64,
}

impl Idle {
    fn add_to(&self, figures: &mut Figures, system: &str, boards: usize) {
        let (rss, cpu, written) = match boards {
            1 => (RSS_ALONE, CPU_ALONE, WRITTEN_ALONE),
            _ => (RSS_RING, CPU_RING, WRITTEN_RING),
        };
        figures.add(MEMORY, system, rss, self.rss_mb_max);
        figures.add(PROCESSOR, system, cpu, self.cpu_percent_mean);
        figures.add(FLASH, system, written, self.written_bytes_max);
    }
}

fn of_node(node: &Node) -> Result<Usage, Fault> {
    crate::process::usage(node.pid().as_raw().cast_unsigned()).map_err(|it| it.of(&node.name))
}

fn watch<T>(
    context: &Context,
    boards: &[T],
    usage: impl Fn(&T) -> Result<Usage, Fault>,
) -> Result<Idle, Fault> {
    let all = || boards.iter().map(&usage).collect::<Result<Vec<_>, _>>();
    until_still(all)?;
    let (before, start) = (all()?, Instant::now());
    thread::sleep(context.idle);
    let (after, seconds) = (all()?, start.elapsed().as_secs_f64());
    let most = |of: &dyn Fn(usize) -> f64| (0..boards.len()).map(of).fold(0.0, f64::max);
    let cpu = |at: usize| after[at].cpu_s - before[at].cpu_s;
    let cpu_s: f64 = (0..boards.len()).map(cpu).sum();
    Ok(Idle {
        rss_mb_max: most(&|at| after[at].rss_bytes / 1e6),
        cpu_percent_mean: cpu_s / boards.len() as f64 / seconds * 100.0,
        written_bytes_max: most(&|at| after[at].written_bytes - before[at].written_bytes),
    })
}

/// Waits until the writing of the start is over.
fn until_still(all: impl Fn() -> Result<Vec<Usage>, Fault>) -> Result<(), Fault> {
    let start = Instant::now();
    let written = || -> Result<Vec<f64>, Fault> {
        Ok(all()?.iter().map(|usage| usage.written_bytes).collect())
    };
    let (mut last, mut since) = (written()?, Instant::now());
    while since.elapsed() < STILL_TIME {
        if start.elapsed() > STILL_TIME_MAX {
            return Err(Fault::new(format!(
                "somebody still writes {STILL_TIME_MAX:?} after the ring has formed"
            )));
        }
        thread::sleep(POLL);
        let present = written()?;
        if present != last {
            (last, since) = (present, Instant::now());
        }
    }
    Ok(())
}
