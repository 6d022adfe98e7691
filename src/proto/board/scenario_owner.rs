//! Scenarios of the owner's credential: it reaches every board, the newer stands, and a board that
//! is let in does not bring its own owner along.

use std::time::Duration;

use super::world::{Captured, World};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn credential(version: u64, phc: &str) -> Credential {
    Credential {
        version,
        phc: phc.to_owned(),
    }
}

/// Frames that carried a credential.
fn told(world: &mut World) -> usize {
    let captured = world.captured.iter().flatten();
    let owners =
        captured.filter(|it| matches!(it, Captured::Frame(_, _, frame) if frame.kind == 0x1c));
    owners.count()
}

fn formed(count: usize) -> World {
    let mut world = World::new(count);
    world.start_all();
    world.run_for(SECOND * 5);
    assert_eq!(world.overview(0).members.len(), count);
    world
}

fn set(world: &mut World, index: usize, credential: &Credential) {
    let credential = credential.clone();
    world.with_board(index, |board, now| board.handle_owner(now, credential));
}

fn all_know(world: &World, boards: impl IntoIterator<Item = usize>, known: &Credential) -> bool {
    let mut boards = boards.into_iter();
    boards.all(|index| world.board(index).owner.as_ref() == Some(known))
}

#[test]
fn a_new_password_reaches_every_board_at_once_and_is_to_be_kept_there() {
    let mut world = formed(7);
    let first = credential(1, "first");
    set(&mut world, 3, &first);
    world.run_for(SECOND);
    assert!(all_know(&world, 0..7, &first));
    for index in 0..7 {
        let told = (index, Event::OwnerChanged(first.clone()));
        let times = world.events.iter().filter(|event| **event == told).count();
        assert_eq!(times, usize::from(index != 3), "board {index}");
    }
    let second = credential(2, "second");
    set(&mut world, 5, &second);
    world.run_for(SECOND);
    assert!(all_know(&world, 0..7, &second));
}

#[test]
fn the_credential_is_never_on_the_wire_as_it_is() {
    let mut world = formed(3);
    world.captured = Some(Vec::new());
    set(&mut world, 0, &credential(1, "$argon2id$secret"));
    world.run_for(SECOND * 30);
    assert!(all_know(&world, 0..3, &credential(1, "$argon2id$secret")));
    assert_eq!(
        told(&mut world),
        4,
        "to two boards, and by them to each other"
    );
    let clear = |payload: &[u8]| payload.windows(6).any(|window| window == b"secret");
    let captured = world.captured.unwrap_or_default();
    assert!(!captured.iter().any(|it| match it {
        Captured::Frame(_, _, frame) => clear(&frame.payload),
        Captured::Datagram(_, bytes) => clear(bytes),
    }));
}

#[test]
fn a_board_that_was_away_learns_it_when_it_is_back() {
    let mut world = formed(3);
    world.partition(&[&[0, 1], &[2]]);
    let changed = credential(1, "changed");
    set(&mut world, 0, &changed);
    world.run_for(SECOND * 30);
    assert!(all_know(&world, 0..2, &changed) && world.board(2).owner.is_none());
    world.heal();
    world.run_for(SECOND * 40);
    assert!(all_know(&world, 0..3, &changed));
}

#[test]
fn of_two_changes_on_both_sides_of_a_split_one_stands_everywhere() {
    let mut world = formed(4);
    world.partition(&[&[0, 1], &[2, 3]]);
    set(&mut world, 0, &credential(1, "here"));
    set(&mut world, 2, &credential(1, "there"));
    world.run_for(SECOND * 10);
    world.heal();
    world.run_for(SECOND * 60);
    assert!(all_know(&world, 0..4, &credential(1, "there")));
}

#[test]
fn a_board_that_joins_takes_the_rings_owner_whatever_its_own_says() {
    let mut world = World::new(3);
    world.start(0);
    world.start(1);
    world.run_for(SECOND * 5);
    set(&mut world, 0, &credential(1, "ring"));
    world.run_for(SECOND);
    world.partition(&[&[0, 1], &[2]]);
    world.start(2);
    set(&mut world, 2, &credential(9, "newcomer"));
    world.run_for(SECOND * 5);
    world.heal();
    (0..3).for_each(|index| world.announce(index));
    world.run_for(SECOND * 60);
    assert_eq!(world.overview(0).members.len(), 3);
    let owners: Vec<_> = (0..3)
        .map(|index| world.board(index).owner.clone())
        .collect();
    // Which of two rings joins the other is up to their ids: the one that stays has its owner.
    let joined = |index| {
        let mut events = world.events.iter();
        events.any(|(at, event)| *at == index && matches!(event, Event::Merged { .. }))
    };
    let expected = match joined(2) {
        true => credential(1, "ring"),
        false => credential(9, "newcomer"),
    };
    assert!(
        owners.iter().all(|owner| owner.as_ref() == Some(&expected)),
        "{owners:?}"
    );
}

#[test]
fn an_owner_of_a_lone_board_is_that_of_a_ring_without_one() {
    let mut world = World::new(2);
    world.start(0);
    set(&mut world, 0, &credential(4, "alone"));
    world.start(1);
    world.run_for(SECOND * 10);
    (0..2).for_each(|index| world.announce(index));
    world.run_for(SECOND * 30);
    assert_eq!(world.overview(0).members.len(), 2);
    let known = world.board(0).owner.clone().unwrap();
    assert_eq!(known.phc, "alone");
    assert!(all_know(&world, 0..2, &known));
}

#[test]
fn with_nothing_new_nothing_is_told_again() {
    let mut world = formed(3);
    set(&mut world, 0, &credential(1, "kept"));
    world.run_for(SECOND * 60);
    world.captured = Some(Vec::new());
    world.run_for(SECOND * 100);
    assert_eq!(told(&mut world), 0);
}
