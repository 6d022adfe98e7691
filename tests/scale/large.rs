//! A ring of 10,000: hops of lookups, and half of the boards failing at once.

use std::time::Instant;

use crate::survey::{Outcome, grow, kill_half, look_up, rounds_until};
use crate::world::World;

const BOARDS: usize = if cfg!(debug_assertions) { 300 } else { 10_000 };
const LOOKUPS: usize = 10_000;

fn report(what: &str, outcome: &Outcome) {
    let most = outcome.hops[outcome.hops.len() - 1];
    println!("{what}: {LOOKUPS} lookups, {} wrong or failed", outcome.bad);
    println!(
        "{what}: hops mean {:.2}, p99 {}, most {most}",
        outcome.mean(),
        outcome.p99()
    );
}

#[test]
fn large_ring_looks_up_in_few_hops_and_survives_the_loss_of_half() {
    let began = Instant::now();
    let mut world = grow(BOARDS);
    let rounds = rounds_until(&mut world, |w| w.is_ideal() && w.has_ideal_fingers());
    println!(
        "{BOARDS} boards joined; ideal after {rounds} more rounds; {:?}",
        began.elapsed()
    );
    world.check_one_ring();
    world.check_lists_and_principals();
    let whole = look_up(&mut world, LOOKUPS);
    report("whole ring", &whole);
    assert!(whole.bad == 0 && whole.mean() <= 6.0 && whole.p99() <= 10);

    kill_half(&mut world);
    let half = look_up(&mut world, LOOKUPS);
    report("half failed, nothing repaired", &half);
    println!("questions without an answer: {}", world.silences);
    assert_eq!(half.bad, 0);

    let rounds = rounds_until(&mut world, World::is_ideal);
    let fingers = rounds_until(&mut world, World::has_ideal_fingers);
    println!(
        "ideal after {rounds} rounds, fingers after {} more; {:?}",
        fingers,
        began.elapsed()
    );
    world.check_one_ring();
    world.check_lists_and_principals();
    let repaired = look_up(&mut world, LOOKUPS);
    report("repaired", &repaired);
    assert_eq!(repaired.bad, 0);
}
