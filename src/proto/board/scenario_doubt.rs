//! Scenarios of boards whose log was damaged: their stores open in their past.

use std::time::Duration;

use super::world::World;
use crate::base::call::CallError;

const SECOND: Duration = Duration::from_secs(1);
const KEYS: usize = 60;

fn formed(count: usize) -> World {
    let mut world = World::new(count);
    world.start_all();
    world.converge(&all(count), SECOND * 4);
    for i in 0..KEYS {
        world.put(0, &format!("k{i}"), "old").unwrap();
    }
    world.run_for(SECOND * 5);
    world
}

fn all(count: usize) -> Vec<usize> {
    (0..count).collect()
}

fn count_of(world: &mut World, at: usize, name: &str) -> u64 {
    let counters = world.overview(at).counters;
    let found = counters.iter().find(|(known, _)| *known == name);
    found.map_or(0, |(_, count)| *count)
}

/// A third of the keys is removed, its tombstones collected; a third is overwritten.
fn move_on(world: &mut World) {
    for i in 0..KEYS {
        let key = format!("k{i}");
        match i % 3 {
            0 => assert!(world.remove(1, &key).unwrap()),
            1 => drop(world.put(1, &key, "new").unwrap()),
            _ => {}
        }
    }
    world.run_for(SECOND * 5);
    world.collect_tombstones();
}

fn assert_all_is_as_it_was_left(world: &mut World, at: usize, copies: usize) {
    for i in 0..KEYS {
        let key = format!("k{i}");
        let (expected, copies) = match i % 3 {
            0 => (Err(CallError::NotFound), 0),
            1 => (Ok("\"new\"".to_owned()), copies),
            _ => (Ok("\"old\"".to_owned()), copies),
        };
        assert_eq!(world.get(at, &key), expected, "{key} at {at}");
        assert_eq!(world.copies_of(&key), copies, "copies of {key}");
    }
}

#[test]
fn board_that_opens_in_its_past_brings_nothing_back_and_is_filled() {
    let mut world = formed(5);
    let past = world.medium(3);
    move_on(&mut world);
    world.kill(3);
    world.damage(3, past);
    world.start(3);
    let took = world.converge(&all(5), SECOND * 20);
    println!("a member again after {took:?}");
    world.run_for(SECOND * 20);
    for at in [0, 3] {
        assert_all_is_as_it_was_left(&mut world, at, 3);
    }
    assert_eq!(count_of(&mut world, 3, "stores_emptied"), 1);
    assert!(!world.is_marked(3), "the mark goes once it is filled");
}

#[test]
fn nobody_believes_a_board_in_doubt_while_it_meets_nobody() {
    let mut world = formed(3);
    let past = world.medium(2);
    move_on(&mut world);
    world.kill(2);
    world.damage(2, past);
    world.partition(&[&[0, 1], &[2]]);
    world.start(2);
    world.run_for(SECOND * 30);
    for i in [0, 1, 2] {
        let answer = world.get(2, &format!("k{i}"));
        assert!(
            matches!(answer, Err(CallError::Unavailable { .. })),
            "k{i}: {answer:?}"
        );
    }
    world.heal();
    for at in all(3) {
        world.announce(at);
    }
    world.converge(&all(3), SECOND * 20);
    world.run_for(SECOND * 10);
    assert_all_is_as_it_was_left(&mut world, 2, 3);
}

#[test]
fn board_in_doubt_that_meets_nobody_serves_what_it_has_after_the_grace_time() {
    let mut world = formed(2);
    let past = world.medium(1);
    move_on(&mut world);
    world.kill(0);
    world.kill(1);
    world.damage(1, past);
    world.start(1);
    let grace = world.grace_time;
    world.run_for(grace + SECOND * 5);
    assert_eq!(world.get(1, "k1"), Ok("\"old\"".to_owned()));
    assert!(!world.is_marked(1));
}

#[test]
fn board_alone_keeps_what_its_damaged_log_left() {
    let mut world = formed(1);
    let past = world.medium(0);
    world.kill(0);
    world.damage(0, past);
    world.start(0);
    world.run_for(SECOND * 5);
    assert_eq!(world.get(0, "k5"), Ok("\"old\"".to_owned()));
    assert!(!world.is_marked(0));
}

#[test]
fn boards_that_were_all_damaged_drop_nothing() {
    let mut world = formed(3);
    for at in all(3) {
        let now = world.medium(at);
        world.kill(at);
        world.damage(at, now);
    }
    world.start_all();
    let took = world.converge(&all(3), SECOND * 20);
    println!("together again after {took:?}");
    world.run_for(SECOND * 10);
    for i in 0..KEYS {
        let key = format!("k{i}");
        assert_eq!(world.get(i % 3, &key), Ok("\"old\"".to_owned()), "{key}");
        assert_eq!(world.copies_of(&key), 3, "{key}");
    }
    assert_eq!(count_of(&mut world, 0, "stores_emptied"), 0);
}

#[test]
fn emptied_board_has_no_vote_before_it_has_heard_of_everybody() {
    let mut world = formed(3);
    let past = world.medium(2);
    // The other copy of what board 2 acknowledged is cut off; board 0 alone is there.
    world.kill(2);
    world.damage(2, past);
    world.kill(1);
    world.start(2);
    world.run_for(SECOND * 20);
    assert_eq!(count_of(&mut world, 2, "stores_emptied"), 1);
    let absent = world.get(2, "never written");
    assert!(
        matches!(absent, Err(CallError::Unavailable { .. })),
        "what board 1 may hold decides, not an emptied board: {absent:?}"
    );
    world.kill(2);
    world.start(2);
    world.run_for(SECOND * 5);
    let absent = world.get(2, "never written");
    assert!(
        matches!(absent, Err(CallError::Unavailable { .. })),
        "nor after another start: {absent:?}"
    );
    world.start(1);
    world.converge(&all(3), SECOND * 20);
    world.run_for(SECOND * 10);
    assert_eq!(world.get(2, "never written"), Err(CallError::NotFound));
    assert!(!world.is_marked(2));
}
