//! Row 14: a board of thirty is killed; until the other twenty-nine know, by their logs. serf's
//! agents the same. And for five minutes with all cores busy nobody is declared dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use roundel::base::id::Id;

use crate::fault::Fault;
use crate::figure::{Figure, Figures};
use crate::goal::Goal;
use crate::lab::Lab;
use crate::lan::{BOARDS, FORM_TIME_MAX, Log, Medium, formed, guarded, keyed, told_after};
use crate::node::Node;
use crate::ring;
use crate::row::{Context, Row, in_turn};
use crate::serf::{self, Serf};

const NUMBER: u32 = 14;
const ALL: (&str, &str) = ("kill known by all", "s");
const P99: (&str, &str) = ("kill known, p99 of boards", "s");
const FALSE: (&str, &str) = ("declared dead by mistake, all cores busy", "");
/// Kills of a repetition.
const KILLS: usize = 4;
/// Everybody knows within this, whoever they are.
const KNOWN_TIME_MAX: Duration = Duration::from_secs(60);

/// The row.
pub const ROW: Row = Row {
    numbers: &[NUMBER],
    name: "a kill -9 known by all of 30; nobody declared dead while all cores are busy",
    run,
    goals: &[
        Goal::within(NUMBER, ALL.0, 2.5).when_quiet(),
        Goal::within(NUMBER, P99.0, 4.0).when_quiet(),
        Goal::at_most(NUMBER, ALL.0, 0.5, "serf"),
        Goal::within(NUMBER, FALSE.0, 0.0),
    ],
};

type Measure = fn(&Context) -> Result<Vec<Vec<Duration>>, Fault>;

fn run(context: &Context) -> Result<Vec<Figure>, Fault> {
    let systems: [(&str, Measure); 2] = [("roundel", ours), ("serf", serfs)];
    let mut figures = Figures::default();
    let mut known = [Vec::new(), Vec::new()];
    for rep in context.repetitions() {
        for at in in_turn(&[0, 1], rep) {
            let (system, measure) = systems[*at];
            for kill in guarded(|| measure(context))? {
                let last = kill.iter().max().copied().unwrap_or_default();
                figures.add(NUMBER, system, ALL, last.as_secs_f64());
                known[*at].extend(kill);
            }
        }
    }
    for ((system, _), mut known) in systems.into_iter().zip(known) {
        known.sort();
        let p99 = known[(known.len() - 1) * 99 / 100];
        figures.add(NUMBER, system, P99, p99.as_secs_f64());
    }
    let mistakes = guarded(|| busy(context))?;
    figures.add(NUMBER, "roundel", FALSE, mistakes as f64);
    Ok(figures.all())
}

/// Which boards are killed, one after the other.
fn victims() -> impl Iterator<Item = usize> {
    (0..KILLS).map(|kill| (3 + kill * 7) % BOARDS)
}

fn log(lab: &Lab, node: &Node) -> Log {
    Log::from_here(lab.directory().join(format!("{}.log", node.name)))
}

/// A line says that this board, or any, was found to be absent.
fn says_absent(line: &str, short: Option<&str>) -> bool {
    line.contains("board absent") && short.is_none_or(|short| line.contains(short))
}

fn ours(context: &Context) -> Result<Vec<Vec<Duration>>, Fault> {
    let lab = keyed(context, "kill", BOARDS, Medium::Memory);
    let mut nodes = formed(&lab, BOARDS);
    let mut kills = Vec::new();
    for board in victims() {
        let at = nodes.iter().position(|node| node.index() == board);
        let mut victim = nodes.swap_remove(at.expect("each board has a node"));
        let short = victim.id.parse::<Id>()?.short();
        let mut logs: Vec<_> = nodes.iter().map(|node| log(&lab, node)).collect();
        let start = Instant::now();
        victim.kill();
        let absent = |line: &str| says_absent(line, Some(&short));
        kills.push(told_after(&mut logs, start, KNOWN_TIME_MAX, absent)?);
        nodes.push(Node::start(&lab, board));
        ring::wait_for_ring(&nodes, FORM_TIME_MAX);
    }
    Ok(kills)
}

fn serfs(_: &Context) -> Result<Vec<Vec<Duration>>, Fault> {
    let lab = Lab::in_memory("kill-serf", BOARDS);
    let start = Instant::now();
    let mut agents = Serf::exec_all(&lab, BOARDS)?;
    serf::until_all_see(&agents, BOARDS, start, FORM_TIME_MAX)?;
    let mut kills = Vec::new();
    for board in victims() {
        let mut logs: Vec<_> = (0..BOARDS)
            .filter(|other| *other != board)
            .map(|other| agents[other].log())
            .collect();
        let name = agents[board].name.clone();
        let start = Instant::now();
        agents[board].kill()?;
        let failed = |line: &str| serf::says_failed(line, &name);
        kills.push(told_after(&mut logs, start, KNOWN_TIME_MAX, failed)?);
        let start = Instant::now();
        let mut back: Vec<_> = (0..BOARDS)
            .filter(|other| *other != board)
            .map(|other| agents[other].log())
            .collect();
        agents[board] = Serf::exec(&lab, board)?;
        let came = |line: &str| serf::says_joined(line, &name);
        told_after(&mut back, start, FORM_TIME_MAX, came)?;
    }
    Ok(kills)
}

/// How often a board was declared dead by one that works, with every core kept busy.
fn busy(context: &Context) -> Result<usize, Fault> {
    eprintln!("  all cores busy");
    let lab = keyed(context, "busy", BOARDS, Medium::Memory);
    let mut nodes = formed(&lab, BOARDS);
    let mut logs: Vec<_> = nodes.iter().map(|node| log(&lab, node)).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let cores = thread::available_parallelism()?.get();
    let spin = |stop: Arc<AtomicBool>| {
        move || {
            while !stop.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        }
    };
    let spinning: Vec<_> = (0..cores)
        .map(|_| thread::spawn(spin(stop.clone())))
        .collect();
    thread::sleep(context.idle / 2);
    stop.store(true, Ordering::Relaxed);
    for thread in spinning {
        thread
            .join()
            .map_err(|_| Fault::new("a thread that spins panicked"))?;
    }
    if let Some(node) = nodes
        .iter_mut()
        .find_map(|node| (!node.is_running()).then_some(node))
    {
        return Err(Fault::new(format!(
            "{} has ended: {}",
            node.name,
            node.log()
        )));
    }
    let lines = logs.iter_mut().flat_map(Log::lines);
    Ok(lines.filter(|line| says_absent(line, None)).count())
}
