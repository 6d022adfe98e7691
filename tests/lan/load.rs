//! Rings of thirty: how soon a kill is known, that a busy machine kills nobody, what idling costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::lab::Lab;
use crate::node::{Node, Usage, call};
use crate::ring;
use crate::wait;

const BOARDS: usize = 30;

/// When each survivor no longer sees the board alive, counted from now; all are asked at once, ten
/// times a second.
fn known_after(survivors: &[Node], victim: &str, deadline: Duration) -> Vec<Duration> {
    let start = Instant::now();
    let waiting: Vec<_> = survivors
        .iter()
        .map(|node| {
            let (to, victim) = (node.endpoint(), victim.to_owned());
            node.board().agent().begin(move || {
                while start.elapsed() < deadline {
                    let state = call(to, "get_cluster_state", serde_json::json!({}));
                    let nodes = state
                        .ok()
                        .and_then(|state| state["cluster"]["nodes"].as_array().cloned());
                    let sees_alive = |node: &serde_json::Value| {
                        node["hash"] == victim.as_str() && node["alive"] == true
                    };
                    if nodes.is_some_and(|nodes| !nodes.iter().any(sees_alive)) {
                        return Some(start.elapsed());
                    }
                    thread::sleep(Duration::from_millis(100));
                }
                None
            })
        })
        .collect();
    let known = waiting.into_iter().zip(survivors).map(|(waiting, node)| {
        let known = waiting.recv().expect("the agent lives");
        known.unwrap_or_else(|| panic!("{} does not know the kill in {deadline:?}", node.name))
    });
    known.collect()
}

#[test]
fn kill_is_known_to_all_thirty_soon() {
    let lab = Lab::new("known", BOARDS);
    let mut nodes = ring::form(&lab, 0..BOARDS);
    let kills = if wait::is_long() { 10 } else { 3 };
    let (mut all, mut last) = (Vec::new(), Vec::new());
    for kill in 0..kills {
        let board = (kill * 7) % BOARDS;
        let position = nodes.iter().position(|node| node.index() == board);
        let mut victim = nodes.remove(position.expect("each board is killed once"));
        victim.kill();
        let known = known_after(&nodes, &victim.id, Duration::from_secs(40));
        last.push(*known.iter().max().expect("there are survivors"));
        all.extend(known);
        nodes.push(Node::start(&lab, board));
        ring::wait_for_ring(&nodes, ring::SETTLED_MAX);
    }
    let (median, worst) = (
        wait::median_and_p99(last.clone()).0,
        wait::median_and_p99(all.clone()).1,
    );
    println!("a kill is known to all 30 after {median:?} (median of {last:?}), p99 {worst:?}");
    assert!(median <= Duration::from_secs(15) && worst <= Duration::from_secs(20));
}

/// Keeps every core busy until it is dropped.
struct Busy {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Busy {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let cores = thread::available_parallelism().map_or(2, usize::from);
        let spin = |stop: Arc<AtomicBool>| {
            move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            }
        };
        let threads = (0..cores)
            .map(|_| thread::spawn(spin(stop.clone())))
            .collect();
        Busy { stop, threads }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[test]
fn nobody_is_declared_dead_while_all_cores_are_busy() {
    let lab = Lab::new("busy", BOARDS);
    let nodes = ring::form(&lab, 0..BOARDS);
    let ids = ring::ids(&nodes);
    let busy = Busy::start();
    let duration = Duration::from_secs(if wait::is_long() { 300 } else { 60 });
    let mut turn = 0;
    wait::holds(
        "all are alive",
        duration,
        Duration::from_millis(100),
        || {
            turn += 1;
            nodes[turn % BOARDS].sees_ring(&ids)
        },
    );
    drop(busy);
    // An event between two looks would have left a line, too.
    for node in &nodes {
        let down = node
            .log()
            .lines()
            .find(|line| line.contains("board absent"))
            .map(str::to_owned);
        assert_eq!(down, None, "{} declared somebody dead", node.name);
    }
}

#[test]
fn idle_ring_of_thirty_costs_little_and_writes_nothing() {
    let lab = Lab::new("idle", BOARDS);
    let nodes = ring::form(&lab, 0..BOARDS);
    nodes[0].put("key", "value").expect("the ring is whole");
    let usage = || -> Vec<Usage> { nodes.iter().map(Node::usage).collect() };
    // Joining is over once nothing has been written for a while.
    let (mut last, mut since) = (usage(), Instant::now());
    wait::until(
        "the writing of the start is over",
        Duration::from_secs(120),
        || {
            let present = usage();
            let same = |(a, b): (&Usage, &Usage)| a.write_bytes == b.write_bytes;
            if !present.iter().zip(&last).all(same) {
                (last, since) = (present, Instant::now());
            }
            match since.elapsed() > Duration::from_secs(10) {
                true => Ok(()),
                false => Err("they still write".to_owned()),
            }
        },
    );
    let duration = Duration::from_secs(if wait::is_long() { 600 } else { 60 });
    let (before, start) = (usage(), Instant::now());
    wait::holds("nobody ends", duration, Duration::from_secs(1), || Ok(()));
    let (after, elapsed) = (usage(), start.elapsed());
    let cpu = |index: usize| (after[index].cpu - before[index].cpu).as_secs_f64();
    let cpu_max = (0..BOARDS).map(cpu).fold(0.0, f64::max) / elapsed.as_secs_f64() * 100.0;
    let cpu_mean =
        (0..BOARDS).map(cpu).sum::<f64>() / BOARDS as f64 / elapsed.as_secs_f64() * 100.0;
    let most = |of: fn(&Usage) -> u64| after.iter().map(of).max().expect("there are nodes");
    let (rss_max, anon_max) = (most(|it| it.rss_bytes), most(|it| it.anon_bytes));
    let written = |index: usize| after[index].write_bytes - before[index].write_bytes;
    let written_max = (0..BOARDS).map(written).max().expect("there are nodes");
    println!(
        "an idle node of 30 over {elapsed:?}: {:.1} MB resident at most ({:.1} MB of it no \
         file's), {cpu_mean:.2} % of a core in the mean and {cpu_max:.2} % at most, \
         {written_max} bytes written at most",
        rss_max as f64 / 1e6,
        anon_max as f64 / 1e6
    );
    assert_eq!(written_max, 0);
    assert!(rss_max < 60_000_000 && cpu_max < 1.5);
}
