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

pub(super) fn current(world: &World, index: usize) -> Kid {
    world.board(index).keys().keyring().current.kid()
}

/// These are a ring, under one key.
pub(super) fn is_one_ring(world: &mut World, boards: &[usize]) -> bool {
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
    world.ask(0, Call::Accept { id }).unwrap();
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

fn rotate(world: &mut World, at: usize, without: Option<usize>) -> crate::base::keys::KeyView {
    let without = without.map(|index| world.nodes[index].id);
    match world.ask(at, Call::Rotate { without }) {
        Ok(Reply::Keys(view)) => *view,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_key_is_replaced_while_calls_go_on() {
    let mut world = World::new(5);
    world.start_all();
    world.run_for(SECOND * 4);
    let before = current(&world, 0);
    let call = world.call(0, Call::Rotate { without: None });
    for round in 0..40 {
        world.put(round % 5, &format!("k{round}"), "v").unwrap();
    }
    world.run_for(SECOND);
    let reply = world.reply(call).unwrap();
    assert!(
        matches!(reply, Ok(Reply::Keys(view)) if view.waiting.is_empty() && view.current.epoch == 1)
    );
    assert_ne!(current(&world, 0), before);
    assert!(is_one_ring(&mut world, &[0, 1, 2, 3, 4]));
    for index in 0..5 {
        let kept = world.nodes[index].medium.keyring.as_ref().unwrap();
        assert_eq!(kept.keyring.current.kid(), current(&world, 0));
        assert_eq!(
            kept.keyring.previous.as_ref().map(ClusterKey::kid),
            Some(before)
        );
        assert_eq!(kept.keyring.next, None);
    }
    // A day later the replaced key is gone, and the ring is whole.
    world.run_for(SECOND * 10);
    for index in 0..5 {
        world.with_board(index, |board, now| {
            let later = Now {
                time: now.time + limit::PREVIOUS_KEY_TIME,
                ..now
            };
            board.keys_due(later);
        });
        assert_eq!(world.board(index).keys().keyring().previous, None);
    }
    world.run_for(SECOND * 5);
    assert!(is_one_ring(&mut world, &[0, 1, 2, 3, 4]));
    world.put(3, "later", "v").unwrap();
}

#[test]
fn a_board_that_was_away_is_given_the_key_when_it_returns() {
    let mut world = World::new(4);
    world.start_all();
    world.run_for(SECOND * 4);
    world.kill(3);
    world.run_for(SECOND * 5);
    // Twice, and the first key is gone: its identity is what lets it in.
    rotate(&mut world, 0, None);
    rotate(&mut world, 1, None);
    world.run_for(SECOND);
    // The image's key is the one it was flashed with; what it kept counts.
    world.start(3);
    world.run_for(SECOND * 15);
    assert!(is_one_ring(&mut world, &[0, 1, 2, 3]));
    assert_eq!(world.board(3).keys().keyring().current.epoch(), 2);
}

#[test]
fn a_board_that_holds_the_next_key_and_misses_its_day_is_told_on_its_next_link() {
    let mut world = World::new(3);
    world.start_all();
    world.run_for(SECOND * 4);
    let call = world.call(0, Call::Rotate { without: None });
    while world.board(2).keys().keyring().next.is_none() {
        world.run_for(Duration::from_micros(50));
    }
    world.partition(&[&[0, 1], &[2]]);
    world.run_for(SECOND * 10);
    assert!(matches!(world.reply(call), Some(Ok(_))));
    assert_ne!(current(&world, 2), current(&world, 0), "it missed it");
    world.heal();
    world.run_for(SECOND * 20);
    assert!(is_one_ring(&mut world, &[0, 1, 2]));
}

#[test]
fn sides_of_a_partition_agree_on_one_key_once_it_heals() {
    let mut world = World::new(5);
    world.start_all();
    world.run_for(SECOND * 4);
    world.partition(&[&[0, 1, 2], &[3, 4]]);
    world.run_for(SECOND * 6);
    rotate(&mut world, 0, None);
    rotate(&mut world, 4, None);
    assert_ne!(current(&world, 0), current(&world, 4));
    world.heal();
    world.run_for(SECOND * 30);
    assert!(is_one_ring(&mut world, &[0, 1, 2, 3, 4]));
}

#[test]
fn a_revoked_board_is_out_at_once_and_cannot_come_back() {
    let mut world = World::new(4);
    world.start_all();
    world.run_for(SECOND * 4);
    world.put(0, "k", "v").unwrap();
    let stolen = world.nodes[3].id;
    let view = rotate(&mut world, 0, Some(3));
    assert_eq!(view.revoked, [stolen]);
    world.run_for(SECOND * 10);
    assert!(is_one_ring(&mut world, &[0, 1, 2]));
    for _ in 0..3 {
        (0..4).for_each(|index| world.announce(index));
        world.run_for(SECOND * 20);
    }
    world.kill(3);
    world.start(3);
    world.run_for(SECOND * 30);
    assert!(is_one_ring(&mut world, &[0, 1, 2]));
    assert_ne!(current(&world, 3), current(&world, 0));
    assert_eq!(world.get(1, "k").as_deref(), Ok("\"v\""));
    // The same card under a fresh identity holds the replaced key, which opens nothing either.
    world.kill(3);
    let pkcs8 = crate::security::identity::Identity::generate().unwrap();
    world.change_identity(3, pkcs8);
    world.start(3);
    world.run_for(SECOND * 30);
    assert!(is_one_ring(&mut world, &[0, 1, 2]));
    // Nobody lets it in by mistake, and a restart of the others forgets nothing.
    let refused = world.ask(0, Call::Accept { id: stolen });
    assert!(matches!(refused, Err(CallError::Invalid(_))), "{refused:?}");
    for index in 0..3 {
        assert!(
            world.nodes[index]
                .medium
                .keyring
                .as_ref()
                .unwrap()
                .revoked
                .contains(&stolen)
        );
    }
}

#[test]
fn the_owners_word_ends_pairing_on_every_board() {
    let mut world = pairing(3);
    world.run_for(SECOND);
    assert!(is_one_ring(&mut world, &[0, 1, 2]));
    let answer = world.ask(1, Call::Confirm { seen: None }).unwrap();
    assert!(
        matches!(answer, Reply::Keys(view) if view.access == crate::base::access::Access::Keyed)
    );
    world.run_for(SECOND);
    for index in 0..3 {
        assert!(world.board(index).keys().is_confirmed(), "board {index}");
        assert!(
            world.nodes[index]
                .medium
                .keyring
                .as_ref()
                .unwrap()
                .confirmed
        );
    }
}

#[test]
fn what_changes_the_keys_is_answered_once_it_is_in_the_file() {
    let mut world = pairing(1);
    world.run_for(SECOND);
    let (mut kept, mut replies) = (Vec::new(), Vec::new());
    let mut ask = |board: &mut Board, now, call, written: Result<(), String>| {
        board.handle_call(now, CallId(900), call);
        // A rotation keeps the next key, and then the current one.
        while let Some(text) = board.poll_keyring() {
            kept.push(text);
            assert!(board.poll_reply().is_none(), "answered before it was kept");
            board.handle_keyring(now, written.clone());
        }
        replies.push(board.poll_reply().expect("it is answered then").result);
    };
    world.with_board(0, |board, now| {
        ask(
            board,
            now,
            Call::Confirm { seen: None },
            Err("no space".to_owned()),
        );
        ask(board, now, Call::Confirm { seen: None }, Ok(()));
        ask(board, now, Call::Rotate { without: None }, Ok(()));
        ask(board, now, Call::Confirm { seen: None }, Ok(()));
    });
    let error = replies[0].as_ref().unwrap_err().to_string();
    assert!(
        error.contains("in force") && error.contains("no space"),
        "{error}"
    );
    assert!(replies[1..].iter().all(Result::is_ok), "{replies:?}");
    let last = kept.last().unwrap();
    assert!(last.confirmed);
    // The confirmation makes a key as well.
    let last = &last.keyring.current;
    assert_eq!((last.epoch(), last.kid()), (2, current(&world, 0)));
}

#[test]
fn a_keyring_that_is_not_kept_is_not_said_to_be_and_is_written_again() {
    let mut world = World::new(3);
    world.start_all();
    world.run_for(SECOND * 4);
    world.keyrings_fail = Some(2);
    let begun = world.now;
    rotate(&mut world, 0, None);
    let took = world.now.since(begun);
    assert!(took >= SECOND * 4, "it waits for the one board, {took:?}");
    world.run_for(SECOND);
    assert_eq!(current(&world, 2), current(&world, 0));
    let kept = |world: &World| {
        let kept = world.nodes[2].medium.keyring.as_ref().unwrap();
        kept.keyring.current.kid()
    };
    assert_ne!(kept(&world), current(&world, 0));
    world.keyrings_fail = None;
    world.run_for(limit::KEYRING_AGAIN_TIME + SECOND);
    assert_eq!(kept(&world), current(&world, 0));
}

#[test]
fn ten_thousand_forged_announcements_and_a_thousand_chosen_ids_make_no_member() {
    use crate::base::hint::{Hint, HintKind};
    let mut world = World::new(3);
    world.start_all();
    world.run_for(SECOND * 3);
    let forged = |number: u32| Hint {
        endpoint: SocketAddr::from(([10, 9, (number >> 8) as u8, number as u8], 38400)),
        cluster: "home".parse().unwrap(),
        node: Id::of(&number.to_be_bytes()),
        boot: None,
        mac: None,
        kind: HintKind::Alive,
    };
    for number in 0..10_000 {
        world.with_board(0, |board, now| board.handle_hint(now, &forged(number)));
    }
    // Ids of the attacker's choice, next to the board's own.
    let near = world.nodes[0].id;
    for number in 0..1_000 {
        let mut hint = forged(number);
        hint.node = near.plus_power_of_two(number % 256);
        world.with_board(0, |board, now| board.handle_hint(now, &hint));
    }
    world.run_for(SECOND * 20);
    assert!(is_one_ring(&mut world, &[0, 1, 2]));
    let board = world.board(0);
    assert_eq!(board.keys().asking().count(), 0);
    assert!(board.datagrams.count() <= 6, "{}", board.datagrams.count());
    assert!(board.links.opening() <= 64, "{}", board.links.opening());
}

#[test]
fn announcements_of_strangers_are_passed_over_once_a_board_is_keyed() {
    let mut world = World::new(2);
    world.start_all();
    world.run_for(SECOND * 3);
    let opened = world.opened;
    let mac = world.board(1).hint_mac();
    let hint = |mac| crate::base::hint::Hint {
        endpoint: SocketAddr::from(([10, 9, 9, 9], 38400)),
        cluster: "home".parse().unwrap(),
        node: Id::of(b"a stranger"),
        boot: None,
        mac,
        kind: crate::base::hint::HintKind::Alive,
    };
    // None, that of another board, that of another key.
    let other = ClusterKey::new(0, [8; 32]);
    let of = |key: &ClusterKey| {
        let home = "home".parse().unwrap();
        Some(crate::proto::keyring::hint_mac(
            key,
            &Id::of(b"a stranger"),
            &home,
        ))
    };
    for shown in [None, mac, of(&other)] {
        world.with_board(0, |board, now| board.handle_hint(now, &hint(shown)));
        world.run_for(SECOND * 3);
    }
    assert_eq!(world.opened, opened);
    let right = of(&ClusterKey::new(0, [7; 32]));
    world.with_board(0, |board, now| board.handle_hint(now, &hint(right)));
    world.run_for(SECOND * 3);
    assert_eq!(
        world.opened,
        opened + 1,
        "it is worth a link, which then proves nothing"
    );
}
