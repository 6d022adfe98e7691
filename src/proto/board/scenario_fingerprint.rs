//! Scenarios of the fingerprint: boards that pair show the same six digits, and new ones whenever
//! there is something new to compare.

use std::collections::BTreeSet;
use std::time::Duration;

use super::world::World;
use super::*;
use crate::base::keys::{Digits, Fingerprint as View};
use crate::base::limit;
use crate::base::rng::seeded;

const SECOND: Duration = Duration::from_secs(1);
const MARK: u8 = 0x1d;

fn pairing(count: usize) -> World {
    let mut world = World::new(count);
    world.key = None;
    world
}

/// The digits that all of these show, with how many boards they count.
fn shown(world: &mut World, boards: &[usize]) -> Digits {
    let mut all = Vec::new();
    for board in boards {
        let overview = world.overview(*board);
        assert_eq!(overview.members.len(), boards.len(), "board {board}");
        let Ok(Reply::Keys(keys)) = world.ask(*board, Call::KeyState) else {
            panic!("keys are told");
        };
        assert_eq!(keys.fingerprint, overview.fingerprint);
        all.push(overview.fingerprint);
    }
    assert!(all.iter().all(|it| *it == all[0]), "{all:?}");
    all[0].digits().unwrap_or_else(|| panic!("{all:?}"))
}

fn view(world: &mut World, board: usize) -> View {
    world.overview(board).fingerprint
}

fn marks_sent(world: &World) -> usize {
    world.sent.get(&MARK).copied().unwrap_or_default()
}

#[test]
fn boards_that_pair_show_the_same_digits_and_say_so_once() {
    let mut world = pairing(3);
    world.start_all();
    world.run_for(SECOND * 3);
    let digits = shown(&mut world, &[0, 1, 2]);
    for board in 0..3 {
        let said: Vec<_> = (world.events.iter())
            .filter(|(at, event)| *at == board && matches!(event, Event::Fingerprint { .. }))
            .collect();
        let expected = Event::Fingerprint { digits, members: 3 };
        assert_eq!(said, [&(board, expected)]);
    }
    // Once all is complete nothing is sent.
    let sent = marks_sent(&world);
    world.run_for(SECOND * 120);
    assert_eq!(marks_sent(&world), sent);
    assert_eq!(shown(&mut world, &[0, 1, 2]), digits);
}

#[test]
fn a_restart_and_a_new_board_make_new_digits() {
    let mut world = pairing(4);
    (0..3).for_each(|index| world.start(index));
    world.run_for(SECOND * 3);
    let mut seen = vec![shown(&mut world, &[0, 1, 2])];
    world.kill(1);
    world.start(1);
    world.run_for(SECOND * 10);
    seen.push(shown(&mut world, &[0, 1, 2]));
    world.start(3);
    world.run_for(SECOND * 10);
    seen.push(shown(&mut world, &[0, 1, 2, 3]));
    let distinct: BTreeSet<_> = seen.iter().collect();
    assert_eq!(distinct.len(), 3, "{seen:?}");
}

#[test]
fn an_absent_board_is_waited_for_by_name_and_sent_nothing() {
    let mut world = pairing(3);
    world.start_all();
    world.run_for(SECOND * 3);
    world.kill(2);
    world.run_for(SECOND * 10);
    // What all of them saw stands until one of them has something new.
    world.kill(1);
    world.start(1);
    world.run_for(SECOND * 10);
    let name = format!("board2 ({})", world.nodes[2].id.short());
    for board in [0, 1] {
        assert_eq!(view(&mut world, board), View::Waiting(vec![name.clone()]));
    }
    let sent = marks_sent(&world);
    world.run_for(SECOND * 60);
    assert_eq!(marks_sent(&world), sent);
    world.start(2);
    world.run_for(SECOND * 10);
    shown(&mut world, &[0, 1, 2]);
}

#[test]
fn who_confirmed_has_nothing_to_compare() {
    let mut world = pairing(2);
    world.start_all();
    assert_eq!(view(&mut world, 0), View::Unneeded);
    world.run_for(SECOND * 3);
    shown(&mut world, &[0, 1]);
    world.ask(1, Call::Confirm { seen: None }).unwrap();
    world.run_for(SECOND * 5);
    for board in [0, 1] {
        assert_eq!(view(&mut world, board), View::Unneeded);
    }
    // Nor has who was given a key.
    let mut world = World::new(2);
    world.start_all();
    world.run_for(SECOND * 5);
    assert_eq!(view(&mut world, 0), View::Unneeded);
    assert_eq!(marks_sent(&world), 0);
}

#[test]
fn a_ring_in_mode_partial_says_that_it_has_none() {
    let mut world = pairing(3);
    world.ring_mode = RingMode::Partial;
    world.start_all();
    world.run_for(SECOND * 5);
    let view = view(&mut world, 0);
    assert_eq!(view, View::Unavailable("in ring mode partial"));
    assert_eq!(marks_sent(&world), 0);
}

#[test]
fn a_network_that_loses_every_third_datagram_only_delays_it() {
    for seed in 0..5 {
        let mut world = pairing(5);
        world.loss = Some((seeded([seed; 32], 1), 33));
        world.start_all();
        world.run_for(SECOND * 30);
        shown(&mut world, &[0, 1, 2, 3, 4]);
    }
}

#[test]
fn a_crowd_agrees_within_seconds_and_with_few_datagrams() {
    let mut world = pairing(30);
    world.start_all();
    world.run_for(SECOND * 10);
    shown(&mut world, &(0..30).collect::<Vec<_>>());
    // Each tells each a commitment, a mark and an outcome, and answers some: of 150 bytes at most.
    let bytes = marks_sent(&world);
    assert!(bytes < 30 * 29 * 5 * 150, "{bytes}");
}

fn key_names(world: &World, boards: &[usize]) -> BTreeSet<(u32, String)> {
    let current = |board: &usize| &world.board(*board).keys().keyring().current;
    let keys = boards.iter().map(current);
    keys.map(|key| (key.epoch(), key.kid().to_string()))
        .collect()
}

#[test]
fn confirming_leaves_out_whoever_paired_and_went() {
    let mut world = pairing(3);
    world.start_all();
    world.run_for(SECOND * 3);
    shown(&mut world, &[0, 1, 2]);
    let paired = key_names(&world, &[0, 1, 2]);
    // It was let in beforehand, for later.
    let pkcs8 = crate::security::identity::Identity::generate().unwrap();
    let spare = crate::security::identity::Identity::from_pkcs8(&pkcs8);
    let spare = spare.unwrap().id();
    world.ask(2, Call::Leave(LeaveMode::Orderly)).unwrap();
    world.ask(0, Call::Accept { id: spare }).unwrap();
    world.run_for(SECOND * 2);
    world.kill(2);
    world.run_for(SECOND * 5);
    let seen = Some(shown(&mut world, &[0, 1]));
    let other = Digits::of(&[3; 32]);
    let refused = world.ask(0, Call::Confirm { seen: Some(other) });
    let Err(CallError::Invalid(text)) = refused else {
        panic!("{refused:?}");
    };
    assert!(text.contains("over 2 boards"), "{text}");
    let Ok(Reply::Keys(keys)) = world.ask(0, Call::Confirm { seen }) else {
        panic!("it is confirmed");
    };
    assert_eq!((keys.current.epoch, keys.members), (1, 2));
    world.run_for(SECOND);
    let confirmed = key_names(&world, &[0, 1]);
    assert_eq!(confirmed.len(), 1);
    assert!(confirmed.is_disjoint(&paired));
    for board in [0, 1] {
        let keys = world.board(board).keys();
        assert!(keys.is_confirmed());
        assert_eq!(keys.callers().previous, None);
    }
    // It holds the key they paired with, which opens nothing, at once and later.
    world.start(2);
    for _ in 0..4 {
        world.run_for(SECOND * 20);
        (0..3).for_each(|board| world.announce(board));
    }
    for board in [0, 1] {
        assert_eq!(world.overview(board).members.len(), 2);
        assert_eq!(world.board(board).keys().keyring().previous, None);
    }
    // Nor does it help that the other identity was let in before.
    world.kill(2);
    world.change_identity(2, pkcs8);
    world.start(2);
    world.run_for(SECOND * 20);
    assert_eq!(world.overview(0).members.len(), 2);
    assert!(world.board(0).keys().asking().any(|(id, _)| *id == spare));
}

#[test]
fn a_board_that_comes_in_while_the_owner_confirms_is_counted_first() {
    let mut world = pairing(3);
    world.start(0);
    world.start(1);
    world.run_for(SECOND * 3);
    let seen = Some(shown(&mut world, &[0, 1]));
    world.lag.insert((0, 1), SECOND * 3);
    let call = world.call(0, Call::Confirm { seen });
    world.run_for(SECOND / 10);
    world.start(2);
    world.run_for(SECOND * 5);
    let refused = world.reply(call);
    let Some(Err(CallError::Invalid(text))) = refused else {
        panic!("{refused:?}");
    };
    assert!(text.contains("compare the fingerprint again"), "{text}");
    assert!(!world.board(0).keys().is_confirmed());
    world.lag.clear();
    world.run_for(SECOND * 10);
    let seen = Some(shown(&mut world, &[0, 1, 2]));
    world.ask(1, Call::Confirm { seen }).unwrap();
    world.run_for(SECOND);
    assert_eq!(key_names(&world, &[0, 1, 2]).len(), 1);
}

#[test]
fn a_member_that_was_away_is_given_the_key_of_the_confirmed_ring() {
    let mut world = pairing(3);
    world.start_all();
    world.run_for(SECOND * 3);
    world.kill(2);
    world.run_for(SECOND * 5);
    world.ask(0, Call::Confirm { seen: None }).unwrap();
    world.run_for(limit::REVOKED_KEY_TIME + SECOND);
    world.start(2);
    world.run_for(SECOND * 15);
    assert_eq!(key_names(&world, &[0, 1, 2]).len(), 1);
    assert!(world.board(2).keys().is_confirmed());
}
