//! The seeded simulator: the machine of the daemon, five at a time, through 300 virtual seconds of
//! loss, partitions, crashes, lying clocks and failing disks, all drawn from one number.
//!
//! `ROUNDEL_SEED=N cargo test --release --test sim replay -- --nocapture` tells the story of one
//! seed; `ROUNDEL_SEEDS` sets how many a campaign runs, `ROUNDEL_LONG=1` 30,000 of them.

mod campaign;
mod checker;
mod client;
mod dice;
mod disk;
mod driver;
mod fault;
mod mischief;
mod model;
mod mutant;
mod network;
mod node;
mod store;
mod world;

use std::time::Instant;

use crate::dice::Dice;
use crate::mutant::Mutant;

/// Seeds of a campaign.
const SEEDS: usize = 1_000;
const SEEDS_LONG: usize = 30_000;
/// Failures after which a campaign ends.
const FAILURES_MAX: usize = 10;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn campaign_seeds() -> usize {
    let default = match std::env::var_os("ROUNDEL_LONG") {
        Some(_) => SEEDS_LONG,
        None => SEEDS,
    };
    number("ROUNDEL_SEEDS").map_or(default, |seeds| seeds as usize)
}

#[test]
fn worlds_of_many_seeds_keep_every_promise() {
    let count = campaign_seeds();
    let mut fresh = Dice::new(std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64);
    let half = (count / 2) as u64;
    let seeds: Vec<u64> = (0..half)
        .chain((half..count as u64).map(|_| fresh.draw()))
        .collect();
    let start = Instant::now();
    let tally = campaign::run_many(&seeds, Mutant::None, FAILURES_MAX);
    let took = start.elapsed().as_secs_f64();
    println!(
        "{} seeds in {took:.1} s ({:.0} a minute): {} steps, {} operations, {} failures",
        tally.runs,
        tally.runs as f64 * 60.0 / took,
        tally.steps,
        tally.operations,
        tally.failures.len()
    );
    assert!(tally.failures.is_empty(), "seeds failed, see above");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..8 {
        let first = campaign::run(seed, Mutant::None, false);
        let second = campaign::run(seed, Mutant::None, false);
        assert_eq!((first.trace, first.steps), (second.trace, second.steps), "seed {seed}");
    }
}

#[test]
fn replay() {
    let Some(seed) = number("ROUNDEL_SEED") else {
        return;
    };
    let outcome = campaign::run(seed, Mutant::None, true);
    println!("seed {seed}: {} steps, trace {:016x}", outcome.steps, outcome.trace);
    if let Some(broken) = outcome.broken {
        panic!("{broken}");
    }
}
