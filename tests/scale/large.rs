//! A ring of 10,000: hops of lookups, and half of the boards failing at once.

use std::time::Instant;

use roundel::base::id::Id;
use roundel::base::rng::RngExt;

use crate::world::World;

const BOARDS: usize = if cfg!(debug_assertions) { 300 } else { 10_000 };
const LOOKUPS: u32 = 10_000;
/// The list length of a ring that has to survive half of its boards at once: all 20 of one list
/// fail with a probability of a millionth.
const R: usize = 20;

fn grow() -> World {
    let mut world = World::new(R, 5);
    while world.boards.len() < BOARDS {
        let more = world.boards.len().min(BOARDS - world.boards.len());
        world.start_joins(more);
        world.settle();
        for _ in 0..6 {
            world.tick();
            world.settle();
        }
    }
    world
}

fn rounds_until(world: &mut World, what: impl Fn(&World) -> bool) -> usize {
    let mut rounds = 0;
    while !what(world) {
        assert!(rounds < 100, "not reached in 100 rounds");
        world.tick();
        world.settle();
        rounds += 1;
    }
    rounds
}

/// Looks random points up from random boards; the hops of each, in order, and how many were wrong
/// or failed.
fn look_up(world: &mut World) -> (Vec<usize>, usize) {
    let members = world.members();
    let mut hops = Vec::new();
    let mut bad = 0;
    for _ in 0..LOOKUPS {
        let point = Id::of(&world.rng.random::<[u8; 16]>());
        let from = members[world.rng.random_range(0..members.len())];
        let lookup = world.find(from, point);
        world.settle();
        let found = world.found.remove(&lookup).expect("the lookup ended");
        let right = world.true_owner(&point);
        bad += usize::from(found.as_ref().is_none_or(|found| found.owner != right));
        hops.extend(found.map(|found| found.hops()));
    }
    hops.sort_unstable();
    (hops, bad)
}

fn report(what: &str, hops: &[usize], bad: usize) -> (f64, usize) {
    let mean = hops.iter().sum::<usize>() as f64 / hops.len() as f64;
    let p99 = hops[hops.len() * 99 / 100];
    let most = hops[hops.len() - 1];
    println!("{what}: {LOOKUPS} lookups, {bad} wrong or failed");
    println!("{what}: hops mean {mean:.2}, p99 {p99}, most {most}");
    (mean, p99)
}

#[test]
fn large_ring_looks_up_in_few_hops_and_survives_the_loss_of_half() {
    let began = Instant::now();
    let mut world = grow();
    let rounds = rounds_until(&mut world, |w| w.is_ideal() && w.has_ideal_fingers());
    println!(
        "{BOARDS} boards joined; ideal after {rounds} more rounds; {:?}",
        began.elapsed()
    );
    world.check_one_ring();
    world.check_lists_and_principals();
    let (hops, bad) = look_up(&mut world);
    let (mean, p99) = report("whole ring", &hops, bad);
    assert!(bad == 0 && mean <= 6.0 && p99 <= 10);

    let mut victims = world.members();
    for at in 0..BOARDS / 2 {
        let other = world.rng.random_range(at..victims.len());
        victims.swap(at, other);
        world.kill(&victims[at]);
    }
    world.silences = 0;
    let (hops, bad) = look_up(&mut world);
    report("half failed, nothing repaired", &hops, bad);
    println!("questions without an answer: {}", world.silences);
    assert_eq!(bad, 0);

    let rounds = rounds_until(&mut world, World::is_ideal);
    let fingers = rounds_until(&mut world, World::has_ideal_fingers);
    println!(
        "ideal after {rounds} rounds, fingers after {} more; {:?}",
        fingers,
        began.elapsed()
    );
    world.check_one_ring();
    world.check_lists_and_principals();
    let (hops, bad) = look_up(&mut world);
    report("repaired", &hops, bad);
    assert_eq!(bad, 0);
}
