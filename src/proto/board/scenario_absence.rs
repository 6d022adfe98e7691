//! Scenarios of boards that are suspected, stay away, are given up and come back.

use std::time::Duration;

use super::world::World;
use crate::base::call::{Call, Consistency, Event};
use crate::base::item::{Key, Value};

const SECOND: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(600);

fn all(count: usize) -> Vec<usize> {
    (0..count).collect()
}

fn formed(count: usize) -> World {
    let mut world = World::new(count);
    world.start_all();
    world.converge(&all(count), SECOND * 4);
    world
}

fn fill(world: &mut World, at: usize, prefix: &str, count: usize) {
    for i in 0..count {
        world
            .put(at, &format!("{prefix}{i}"), &format!("v{i}"))
            .unwrap();
    }
}

/// Boards in the roster of this one.
fn members(world: &mut World, at: usize) -> usize {
    world.overview(at).members.len()
}

fn count_of(world: &mut World, at: usize, name: &str) -> u64 {
    let counters = world.overview(at).counters;
    let found = counters.iter().find(|(known, _)| *known == name);
    found.map_or(0, |(_, count)| *count)
}

#[test]
fn death_is_suspected_by_all_before_it_is_held_to_be_one() {
    let mut world = formed(6);
    let dead = world.nodes[2].id;
    world.kill(2);
    world.converge(&[0, 1, 3, 4, 5], SECOND * 4);
    for at in [0, 1, 3, 4, 5] {
        let said = |event: Event| world.events.iter().position(|e| *e == (at, event.clone()));
        let suspected = said(Event::NodeSuspected(dead));
        let down = said(Event::NodeDown(dead));
        assert!(suspected.is_some(), "{at} tells the suspicion");
        assert!(suspected < down, "{at}");
    }
}

#[test]
fn board_that_hears_nobody_makes_nobody_else_absent() {
    let mut world = formed(5);
    for other in 1..5 {
        world.cut_one_way(other, &[0]);
    }
    let deaf = world.nodes[0].id;
    world.run_for(SECOND * 20);
    let wrong = world.events.iter().filter(|(at, event)| {
        *at != 0 && matches!(event, Event::NodeDown(id) | Event::NodeSuspected(id) if *id != deaf)
    });
    assert_eq!(wrong.count(), 0);
    fill(&mut world, 3, "k", 20);
    world.heal();
    world.converge(&all(5), SECOND * 30);
}

#[test]
fn absent_board_is_given_up_by_the_majority_and_its_copies_are_restored() {
    let mut world = formed(5);
    fill(&mut world, 0, "k", 60);
    world.kill(3);
    world.run_for(GRACE - SECOND * 5);
    assert_eq!(
        members(&mut world, 0),
        5,
        "not before the grace time is over"
    );
    let seen = world.overview(0).members;
    let told = seen.iter().find(|m| !m.alive).unwrap().giving_up.unwrap();
    assert!(
        told.after < SECOND * 10 && !told.after.is_zero(),
        "{told:?}"
    );
    assert_eq!((told.present, told.needed), (4, 3));
    world.run_for(SECOND * 20);
    for at in [0, 1, 2, 4] {
        assert_eq!(members(&mut world, at), 4, "board {at}");
    }
    world.run_for(SECOND * 10);
    for i in 0..60 {
        assert_eq!(world.copies_of(&format!("k{i}")), 3, "k{i}");
    }
    let judges: u64 = [0, 1, 2, 4]
        .iter()
        .map(|at| count_of(&mut world, *at, "boards_given_up"))
        .sum();
    assert!(judges >= 1);
}

#[test]
fn minority_gives_nobody_up() {
    let mut world = formed(5);
    world.partition(&[&[0, 1], &[2, 3, 4]]);
    world.run_for(GRACE * 2);
    assert_eq!(members(&mut world, 0), 5);
    assert_eq!(members(&mut world, 1), 5);
    let problems = world.overview(0).health.problems.join(" ");
    assert!(
        problems.contains("2 of 5 boards are there, 3 would have to agree"),
        "{problems}"
    );
    for at in [2, 3, 4] {
        assert_eq!(members(&mut world, at), 3, "the majority gave up the two");
    }
}

#[test]
fn half_of_a_ring_gives_nobody_up() {
    let mut world = formed(4);
    world.partition(&[&[0, 1], &[2, 3]]);
    world.run_for(GRACE * 2);
    for at in 0..4 {
        assert_eq!(members(&mut world, at), 4, "board {at}");
    }
    world.heal();
    world.converge(&all(4), SECOND * 30);
}

#[test]
fn board_that_shows_itself_within_the_grace_time_stays_a_member() {
    let mut world = formed(3);
    for _ in 0..3 {
        world.kill(2);
        world.run_for(GRACE - SECOND * 30);
        world.start(2);
        world.converge(&all(3), SECOND * 20);
    }
    assert_eq!(members(&mut world, 0), 3);
}

#[test]
fn boards_that_restart_count_the_absence_anew() {
    let mut world = formed(5);
    world.kill(4);
    world.run_for(GRACE / 2);
    for at in [0, 1] {
        world.kill(at);
        world.start(at);
    }
    world.converge(&all(4), SECOND * 20);
    world.run_for(GRACE / 2 + SECOND * 20);
    assert_eq!(members(&mut world, 2), 5, "only two of five have waited");
    world.run_for(GRACE / 2);
    assert_eq!(members(&mut world, 2), 4);
}

#[test]
fn ring_without_anybody_absent_has_nothing_due_for_it() {
    let mut world = formed(3);
    world.run_for(GRACE * 2);
    assert!((0..3).all(|at| !world.has_timer(at, super::Timer::GiveUp)));
    world.kill(2);
    world.run_for(SECOND * 10);
    assert!((0..2).all(|at| world.has_timer(at, super::Timer::GiveUp)));
    world.start(2);
    world.converge(&all(3), SECOND * 20);
    assert!((0..3).all(|at| !world.has_timer(at, super::Timer::GiveUp)));
}

/// Bytes of a value in the tests of the pace, and how many of them there are.
const LARGE: usize = 20_000;
const MANY: usize = 600;

/// A ring of four on slow media in which a board's copies are to be restored.
fn bereaved() -> World {
    let mut world = formed(4);
    let value = "x".repeat(LARGE);
    for i in 0..MANY {
        world.put(0, &format!("k{i}"), &value).unwrap();
    }
    world.kill(3);
    world.converge(&[0, 1, 2], SECOND * 5);
    for node in &mut world.nodes {
        node.store_rate = Some(2 * 1_024 * 1_024);
    }
    world
}

#[test]
fn clients_are_served_quickly_while_copies_are_restored() {
    let mut world = bereaved();
    let id = world.nodes[3].id;
    // Clients are there when it begins.
    world.put(0, "first", "v").unwrap();
    world.ask(0, Call::Forget { id }).unwrap();
    let mut slowest = Duration::ZERO;
    for i in 0..200 {
        let start = world.now;
        let put = Call::Put {
            key: Key::new(&format!("client{i}")).unwrap(),
            value: Value::Json("1".into()),
            consistency: Consistency::Quorum,
        };
        world.ask(i % 3, put).unwrap();
        slowest = slowest.max(world.now.since(start));
        world.run_for(SECOND / 50);
    }
    println!("slowest put while copies are restored: {slowest:?}");
    assert!(slowest <= SECOND / 5, "{slowest:?}");
    // Without clients the rest goes as fast as the media take it.
    world.run_for(SECOND * 15);
    for i in 0..MANY {
        assert_eq!(world.copies_of(&format!("k{i}")), 3, "k{i}");
    }
}
