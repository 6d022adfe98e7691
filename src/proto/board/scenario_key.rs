//! Scenarios of keys: pairing, strangers, replays, boards that were let in.

use std::time::Duration;

use super::world::{Captured, World};
use super::*;
use crate::base::limit;
use crate::security::key::{ClusterKey, Kid};

const SECOND: Duration = Duration::from_secs(1);

/// Boards that never had a key, started at once.
fn pairing(count: usize) -> World {
    let mut world = World::new(count);
    world.key = None;
    world.start_all();
    world
}

fn current(world: &World, index: usize) -> Kid {
    world.board(index).keys().keyring().current.kid()
}

fn is_one_ring(world: &mut World, boards: &[usize]) -> bool {
    let kid = current(world, boards[0]);
    boards.iter().all(|board| {
        current(world, *board) == kid && world.overview(*board).members.len() == boards.len()
    })
}

#[test]
fn boards_without_a_key_agree_on_one_and_form_a_ring_at_once() {
    // Which key takes precedence and who founds differ by the identities, drawn each time.
    for _ in 0..20 {
        let mut world = pairing(3);
        world.run_for(Duration::from_millis(500));
        assert!(is_one_ring(&mut world, &[0, 1, 2]));
        for index in 0..3 {
            let kept = world.nodes[index].medium.keyring.as_ref().unwrap();
            assert_eq!(kept.keyring.current.kid(), current(&world, index));
            assert!(!kept.confirmed);
        }
    }
}

#[test]
fn a_crowd_of_fresh_boards_ends_under_one_key() {
    let mut world = pairing(12);
    world.run_for(SECOND * 4);
    assert!(is_one_ring(&mut world, &(0..12).collect::<Vec<_>>()));
}

#[test]
fn two_rings_that_meet_in_their_windows_become_one_under_one_key() {
    let mut world = World::new(6);
    world.key = None;
    world.partition(&[&[0, 1, 2], &[3, 4, 5]]);
    world.start_all();
    world.run_for(SECOND * 3);
    let before = [current(&world, 0), current(&world, 3)];
    assert_ne!(before[0], before[1]);
    world.heal();
    (0..6).for_each(|index| world.announce(index));
    world.run_for(SECOND * 10);
    assert!(is_one_ring(&mut world, &[0, 1, 2, 3, 4, 5]));
    assert!(before.contains(&current(&world, 0)));
}

#[test]
fn a_board_that_comes_after_the_window_stays_outside_until_it_is_let_in() {
    let mut world = World::new(3);
    world.key = None;
    world.start(0);
    world.start(1);
    world.run_for(limit::PAIRING_TIME + SECOND);
    assert!(is_one_ring(&mut world, &[0, 1]));
    world.start(2);
    world.run_for(SECOND * 5);
    assert_eq!(world.overview(2).members.len(), 1);
    assert!(is_one_ring(&mut world, &[0, 1]));
    let id = world.nodes[2].id;
    let asking: Vec<Id> = world.board(0).keys().asking().map(|(id, _)| *id).collect();
    assert_eq!(asking, [id]);
    world.with_board(0, |board, now| board.accept(now, id));
    world.run_for(SECOND * 5);
    (0..3).for_each(|index| world.announce(index));
    world.run_for(SECOND * 10);
    assert!(is_one_ring(&mut world, &[0, 1, 2]));
    assert_eq!(world.board(0).keys().asking().count(), 0);
}

#[test]
fn boards_of_another_key_and_of_none_never_mix() {
    let mut world = World::new(4);
    world.start(0);
    world.start(1);
    world.key = Some(ClusterKey::new(0, [8; 32]));
    world.start(2);
    world.key = None;
    world.start(3);
    world.run_for(SECOND * 10);
    (0..4).for_each(|index| world.announce(index));
    world.run_for(SECOND * 10);
    assert!(is_one_ring(&mut world, &[0, 1]));
    for alone in [2, 3] {
        assert_eq!(world.overview(alone).members.len(), 1, "board {alone}");
    }
}

#[test]
fn nothing_captured_is_accepted_when_it_is_sent_again() {
    let mut world = World::new(3);
    world.captured = Some(Vec::new());
    world.start_all();
    world.run_for(SECOND * 3);
    world.put(0, "k", "1").unwrap();
    world.run_for(SECOND * 2);
    let captured = world.captured.take().unwrap();
    assert!(captured.len() > 100, "{}", captured.len());
    let counted = |world: &mut World| -> u64 {
        let names = [
            "frames_replayed",
            "frames_with_bad_tag",
            "datagrams_dropped",
        ];
        let counters = (0..3).flat_map(|index| world.overview(index).counters);
        let refused = counters.filter(|(name, _)| names.contains(name));
        refused.map(|(_, count)| count).sum()
    };
    let before = counted(&mut world);
    let members = world.overview(0).members.len();
    let datagrams = captured
        .iter()
        .filter(|it| matches!(it, Captured::Datagram(..)));
    let datagrams: Vec<_> = datagrams.cloned().collect();
    for again in &datagrams {
        world.replay(again.clone());
    }
    // Each is counted as replayed and as dropped.
    assert_eq!(counted(&mut world) - before, 2 * datagrams.len() as u64);
    // A frame of a stream ends its link, whatever it was.
    for again in captured
        .iter()
        .filter(|it| matches!(it, Captured::Frame(..)))
    {
        world.replay(again.clone());
    }
    world.run_for(SECOND * 5);
    assert!(is_one_ring(&mut world, &[0, 1, 2]));
    assert_eq!(world.overview(0).members.len(), members);
    // After a reboot the old captures die with the old life.
    world.kill(1);
    world.run_for(SECOND);
    world.start(1);
    world.run_for(SECOND * 5);
    let to_reborn = |it: &&Captured| matches!(it, Captured::Datagram(1, ..));
    let before = counted(&mut world);
    let again: Vec<_> = datagrams.iter().filter(to_reborn).cloned().collect();
    for it in &again {
        world.replay(it.clone());
    }
    assert_eq!(counted(&mut world) - before, 2 * again.len() as u64);
}
