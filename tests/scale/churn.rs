//! Boards come, leave and fail while questions cross in any order; then it stops.

use roundel::base::id::Id;
use roundel::base::rng::RngExt;

use crate::world::World;

/// Rounds after which a ring without churn must be ideal: a list is r long and is right one board
/// further with each round; joins into one gap and fingers need some more.
const ROUNDS_MAX: usize = 150;

fn rounds_until_ideal(world: &mut World) -> usize {
    for round in 0..ROUNDS_MAX {
        if world.is_ideal() && world.has_ideal_fingers() {
            return round;
        }
        world.tick();
        world.settle();
    }
    panic!("not ideal after {ROUNDS_MAX} rounds");
}

fn churn_once(world: &mut World) {
    let members = world.members();
    match world.rng.random_range(0..4) {
        0 | 1 => world.start_joins(1),
        choice if members.len() > 3 * world.r => {
            let victim: Id = members[world.rng.random_range(0..members.len())];
            match choice {
                2 => world.kill(&victim),
                _ => world.leave_orderly(&victim),
            }
        }
        _ => {}
    }
}

fn live_through(seed: u8) -> usize {
    let mut world = World::new(4, seed);
    for _ in 0..12 {
        world.start_joins(1);
        world.settle();
        world.tick();
        world.settle();
    }
    rounds_until_ideal(&mut world);
    for _ in 0..60 {
        world.tick();
        for _ in 0..world.rng.random_range(0..200) {
            world.deliver();
        }
        churn_once(&mut world);
        world.check_one_ring();
        for _ in 0..50 {
            world.deliver();
            world.check_one_ring();
        }
        world.settle();
        world.check_one_ring();
    }
    let rounds = rounds_until_ideal(&mut world);
    world.check_one_ring();
    world.check_lists_and_principals();
    rounds
}

#[test]
fn ring_is_one_through_churn_and_ideal_after_it() {
    let rounds: Vec<usize> = (1..=20).map(live_through).collect();
    println!("20 seeds: ideal after {rounds:?} rounds without churn");
}

#[test]
fn ring_grows_from_one_board_to_more_than_its_lists_hold() {
    for count in 1..12 {
        let mut world = World::new(4, 99);
        world.start_joins(count);
        world.settle();
        rounds_until_ideal(&mut world);
        world.check_one_ring();
        world.check_lists_and_principals();
    }
}

#[test]
fn orderly_leave_leaves_no_gap_behind() {
    let mut world = World::new(4, 7);
    world.start_joins(15);
    world.settle();
    rounds_until_ideal(&mut world);
    let victim = world.any_member();
    world.leave_orderly(&victim);
    world.settle();
    let owner = world.true_owner(&victim);
    let before = world.boards[&owner].predecessor().unwrap();
    assert_eq!(world.boards[&before].successors()[0], owner);
    assert_eq!(world.silences, 0, "nobody had to find out by asking");
}
