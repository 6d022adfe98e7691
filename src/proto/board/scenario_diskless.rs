//! Scenarios of boards that belong to a ring and keep no copies.

use std::time::Duration;

use super::world::World;
use crate::base::call::{Call, CallError, Consistency, Event, LeaveMode, NodeState, Reply, Target};
use crate::base::id::Id;
use crate::base::item::{Key, Value};
use crate::base::member::{RingMode, Standing};

const SECOND: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(600);

fn all(count: usize) -> Vec<usize> {
    (0..count).collect()
}

/// A ring of so many boards, the last `diskless` of which keep nothing.
fn formed(count: usize, diskless: usize) -> World {
    let mut world = World::new(count);
    for node in &mut world.nodes[count - diskless..] {
        node.diskless = true;
    }
    world.start_all();
    world.converge(&all(count), SECOND * 6);
    world
}

fn fill(world: &mut World, at: usize, prefix: &str, count: usize) {
    for i in 0..count {
        world
            .put(at, &format!("{prefix}{i}"), &format!("v{i}"))
            .unwrap();
    }
}

/// How `at` sees `of` stand in its roster.
fn standing(world: &mut World, at: usize, of: usize) -> Option<Standing> {
    let id = world.nodes[of].id;
    let seen = world.overview(at).members;
    seen.iter().find(|m| m.id == id).map(|m| m.standing)
}

fn problems(world: &mut World, at: usize) -> String {
    world.overview(at).health.problems.join(" ")
}

#[test]
fn diskless_board_joins_coordinates_and_keeps_nothing() {
    let mut world = formed(4, 1);
    for at in 0..4 {
        assert_eq!(standing(&mut world, at, 3), Some(Standing::Diskless));
    }
    fill(&mut world, 3, "k", 40);
    for i in 0..40 {
        let key = format!("k{i}");
        assert_eq!(world.copies_of(&key), 3, "{key}");
        assert_eq!(world.get(3, &key).unwrap(), format!("\"v{i}\""));
    }
    for i in 0..10 {
        assert!(world.remove(3, &format!("k{i}")).unwrap());
        assert!(matches!(
            world.get(3, &format!("k{i}")),
            Err(CallError::NotFound)
        ));
    }
    assert_eq!(world.scan_keys(3).len(), 30);
    assert_eq!(world.scan_keys(0).len(), 30);
    assert!(world.nodes[3].medium.items.is_empty());
    let own = world.overview(3);
    assert_eq!(own.state, NodeState::Active);
    assert!(own.health.safe_to_unplug, "{}", own.health.unplug_reason);
    let told = own.health.problems.join(" ");
    assert!(
        told.contains("no data partition: the card is read-only"),
        "{told}"
    );
    let told = problems(&mut world, 0);
    assert!(
        told.contains("board3") && told.contains("without a data partition"),
        "{told}"
    );
    let health = world.overview(0).health;
    assert!(health.safe_to_unplug, "{}", health.unplug_reason);
}

#[test]
fn lookups_end_at_boards_that_keep_copies() {
    let mut world = formed(4, 1);
    let diskless = world.nodes[3].id;
    for at in 0..4 {
        for i in 0..50u32 {
            let target = match i % 2 {
                0 => Target::Id(Id::of(&i.to_be_bytes())),
                _ => Target::Key(key_of(&format!("k{i}"))),
            };
            for call in [
                Call::FindSuccessor(Some(target.clone())),
                Call::FindPredecessor(Some(target.clone())),
            ] {
                let Ok(Reply::Lookup { node, copies, .. }) = world.ask(at, call) else {
                    panic!("a lookup is answered by one");
                };
                assert_ne!(node.id, diskless);
                assert!(copies.iter().all(|copy| copy.id != diskless));
            }
        }
        let Ok(Reply::Fingers {
            predecessor,
            successors,
            fingers,
        }) = world.ask(at, Call::Fingers)
        else {
            panic!("fingers are answered by fingers");
        };
        let rows = fingers.iter().map(|finger| &finger.node);
        let mut named = rows.chain(&successors).chain([&predecessor]);
        assert!(named.all(|node| node.id != diskless), "board {at}");
        assert_eq!(successors.len(), if at == 3 { 3 } else { 2 });
    }
}

#[test]
fn operations_go_on_when_a_holder_is_absent() {
    let mut world = formed(4, 1);
    fill(&mut world, 0, "k", 20);
    world.kill(1);
    world.converge(&[0, 2, 3], SECOND * 5);
    fill(&mut world, 3, "later", 20);
    assert_eq!(world.get(3, "k7").unwrap(), "\"v7\"");
    assert!(world.remove(3, "k8").unwrap());
    assert!(matches!(world.get(3, "never"), Err(CallError::NotFound)));
    assert!(!world.overview(0).health.safe_to_unplug);
    // Two of three are gone: no quorum, and a board without copies does not make one.
    world.kill(2);
    world.converge(&[0, 3], SECOND * 5);
    assert!(matches!(
        world.put(3, "refused", "v"),
        Err(CallError::Unavailable { .. })
    ));
    world.start(1);
    world.start(2);
    world.converge(&all(4), SECOND * 10);
    fill(&mut world, 3, "again", 5);
    world.run_for(SECOND * 5);
    for i in 0..20 {
        assert_eq!(world.copies_of(&format!("later{i}")), 3);
    }
}

#[test]
fn absent_diskless_board_harms_nothing_and_is_given_up() {
    let mut world = World::new(4);
    world.nodes[3].diskless = true;
    world.tombstone_age = SECOND * 60;
    world.start_all();
    world.converge(&all(4), SECOND * 6);
    fill(&mut world, 0, "k", 20);
    world.run_for(SECOND * 15);
    let busy = world.nodes[0].loads;
    world.kill(3);
    world.converge(&[0, 1, 2], SECOND * 5);
    let loads = world.nodes[0].loads - busy;
    assert!(loads < 20, "nothing is looked for, but {loads} loads");
    fill(&mut world, 0, "later", 10);
    let health = world.overview(0).health;
    assert!(health.safe_to_unplug, "{}", health.unplug_reason);
    let key = Key::new("k1").unwrap();
    let remove = Call::Remove {
        key: key.clone(),
        consistency: Consistency::All,
    };
    world.ask(1, remove).expect("all copies are there");
    world.run_for(SECOND * 120);
    for at in 0..3 {
        assert_eq!(standing(&mut world, at, 3), Some(Standing::Diskless));
        assert!(!world.is_apart(at));
        let items = &world.nodes[at].medium.items;
        assert!(
            !items.contains_key(&key),
            "nothing is left of what was removed"
        );
    }
    world.run_for(GRACE - SECOND * 90);
    for at in 0..3 {
        assert_eq!(standing(&mut world, at, 3), None, "board {at}");
    }
    // It comes back as it was, or as new: either way it is taken in again.
    world.start(3);
    world.converge(&all(4), SECOND * 10);
    assert_eq!(standing(&mut world, 0, 3), Some(Standing::Diskless));
}

fn key_of(key: &str) -> Key {
    Key::new(key).unwrap()
}

#[test]
fn diskless_boards_have_no_vote_on_an_absent_holder() {
    let mut world = formed(4, 2);
    fill(&mut world, 0, "k", 10);
    world.kill(1);
    world.converge(&[0, 2, 3], SECOND * 5);
    world.run_for(GRACE * 2);
    for at in [0, 2, 3] {
        assert_eq!(standing(&mut world, at, 1), Some(Standing::Member));
    }
    let told = problems(&mut world, 2);
    assert!(
        told.contains("1 of 2 boards are there, 2 would have to agree"),
        "{told}"
    );
    world.start(1);
    world.converge(&all(4), SECOND * 10);
    assert_eq!(world.get(1, "k3").unwrap(), "\"v3\"");
}

#[test]
fn two_diskless_boards_and_their_only_holder_away_strike_nobody_off() {
    let mut world = formed(3, 2);
    fill(&mut world, 1, "k", 10);
    world.kill(0);
    world.converge(&[1, 2], SECOND * 5);
    world.run_for(GRACE * 2);
    assert_eq!(standing(&mut world, 1, 0), Some(Standing::Member));
    let id = world.nodes[0].id;
    let refused = world.ask(1, Call::Forget { id });
    assert!(
        matches!(&refused, Err(CallError::Invalid(reason)) if reason.contains("no other board")),
        "{refused:?}"
    );
    world.start(0);
    world.converge(&all(3), SECOND * 10);
    assert_eq!(world.get(2, "k3").unwrap(), "\"v3\"");
}

#[test]
fn all_holders_restart_under_a_diskless_board() {
    let mut world = formed(4, 1);
    fill(&mut world, 3, "k", 20);
    for at in 0..3 {
        world.kill(at);
    }
    world.run_for(SECOND * 10);
    for at in 0..3 {
        world.start(at);
    }
    world.converge(&all(4), SECOND * 15);
    for i in 0..20 {
        assert_eq!(world.get(3, &format!("k{i}")).unwrap(), format!("\"v{i}\""));
    }
    fill(&mut world, 3, "later", 5);
}

#[test]
fn leave_of_a_diskless_board_is_done_at_once() {
    let mut world = formed(3, 1);
    fill(&mut world, 2, "k", 10);
    let before = world.now;
    let left = world.ask(2, Call::Leave(LeaveMode::Orderly));
    assert!(
        matches!(left, Ok(Reply::Left { transferred: 0, .. })),
        "{left:?}"
    );
    assert!(world.now.since(before) < SECOND * 2);
    world.converge(&[0, 1], SECOND * 2);
    for at in 0..2 {
        assert_eq!(standing(&mut world, at, 2), None);
    }
    let sponsor = world.nodes[0].endpoint;
    world.ask(2, Call::Join { sponsor }).unwrap();
    world.converge(&all(3), SECOND * 5);
    // Told to stop, it goes as fast.
    world.stop(2, SECOND * 60);
    world.run_for(SECOND * 2);
    assert!(world.events.contains(&(2, Event::Departed)));
    assert_eq!(standing(&mut world, 1, 2), None);
    assert_eq!(world.get(0, "k3").unwrap(), "\"v3\"");
}

#[test]
fn diskless_board_founds_nothing_and_waits_for_a_ring() {
    for lowest_first in [true, false] {
        let mut world = World::new(3);
        // The one with the lowest id would found; the highest would wait.
        let mut order = all(3);
        order.sort_by_key(|i| world.nodes[*i].id);
        if !lowest_first {
            order.reverse();
        }
        let (holder, first, second) = (order[2], order[0], order[1]);
        world.nodes[first].diskless = true;
        world.nodes[second].diskless = true;
        world.start(first);
        world.start(second);
        world.run_for(SECOND * 20);
        for at in [first, second] {
            let overview = world.overview(at);
            assert!(overview.cluster.is_none());
            assert_eq!(overview.state, NodeState::Activating);
            let told = overview.health.problems.join(" ");
            assert!(told.contains("founds none and waits"), "{told}");
        }
        world.start(holder);
        let took = world.converge(&all(3), SECOND * 6);
        assert!(took < SECOND * 2, "{took:?}");
        fill(&mut world, first, "k", 3);
    }
}

#[test]
fn stranded_diskless_board_follows_whoever_founds_and_wins_no_merge() {
    // Ids and with them the cluster's are drawn anew each time: either ring may be the lower.
    for round in 0..6 {
        let mut world = World::new(3);
        world.nodes[1].diskless = true;
        world.start(0);
        world.start(1);
        world.converge(&[0, 1], SECOND * 6);
        fill(&mut world, 1, "k", 3);
        world.kill(0);
        world.run_for(SECOND * 10);
        // A board that has never belonged finds it alone, and founds.
        world.start(2);
        world.converge(&[1, 2], SECOND * 10);
        let clusters = [1, 2].map(|at| world.overview(at).cluster.map(|c| c.id));
        assert_eq!(clusters[0], clusters[1], "round {round}");
        assert_eq!(world.overview(2).members.len(), 2);
        assert!(matches!(world.get(1, "k1"), Err(CallError::NotFound)));
        fill(&mut world, 1, "new", 3);
        // The board it had lost is back: both rings become one, with what both had.
        world.start(0);
        world.converge(&all(3), SECOND * 20);
        for at in all(3) {
            assert_eq!(world.get(at, "k1").unwrap(), "\"v1\"");
            assert_eq!(world.get(at, "new1").unwrap(), "\"v1\"");
        }
    }
}

#[test]
fn rings_with_diskless_boards_merge() {
    let mut world = World::new(6);
    for at in [2, 5] {
        world.nodes[at].diskless = true;
    }
    world.partition(&[&[0, 1, 2], &[3, 4, 5]]);
    world.start_all();
    world.converge(&[0, 1, 2], SECOND * 6);
    world.converge(&[3, 4, 5], SECOND * 6);
    fill(&mut world, 2, "a", 10);
    fill(&mut world, 5, "b", 10);
    world.heal();
    for at in all(6) {
        world.announce(at);
    }
    world.converge(&all(6), SECOND * 30);
    world.run_for(SECOND * 10);
    for at in all(6) {
        assert_eq!(world.get(at, "a3").unwrap(), "\"v3\"");
        assert_eq!(world.get(at, "b3").unwrap(), "\"v3\"");
        assert_eq!(standing(&mut world, at, 2), Some(Standing::Diskless));
    }
}

#[test]
fn restarted_diskless_board_draws_no_stamp_twice_with_a_clock_that_is_not_set() {
    let mut world = formed(4, 1);
    for node in &mut world.nodes {
        node.is_clock_unset = true;
    }
    let mut drawn = Vec::new();
    for round in 0..3 {
        for i in 0..5 {
            let key = key_of(&format!("r{round}-{i}"));
            let put = Call::Put {
                key,
                value: Value::Json("1".into()),
                consistency: Consistency::Quorum,
            };
            // Asked from its first moment on, until enough others are there.
            let until = world.now + SECOND * 10;
            let version = loop {
                match world.ask(3, put.clone()) {
                    Ok(Reply::Written { version, .. }) => break version,
                    other => assert!(world.now < until, "{other:?}"),
                }
                world.run_for(Duration::from_millis(1));
            };
            drawn.push(version);
        }
        world.kill(3);
        world.run_for(SECOND);
        world.start(3);
    }
    let mut distinct = drawn.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), drawn.len());
    assert!(drawn.is_sorted(), "and each above the last");
}

#[test]
fn ring_of_mode_partial_takes_no_diskless_board_and_says_so() {
    let mut world = World::new(3);
    world.ring_mode = RingMode::Partial;
    world.nodes[2].diskless = true;
    world.start(0);
    world.start(1);
    world.converge(&[0, 1], SECOND * 10);
    world.start(2);
    world.run_for(SECOND * 5);
    assert!(world.overview(2).cluster.is_none());
    let told = problems(&mut world, 2);
    assert!(
        told.contains("partial") && told.contains("does not admit it"),
        "{told}"
    );
    assert_eq!(standing(&mut world, 0, 2), None);
    let sponsor = world.nodes[0].endpoint;
    let refused = world.ask(2, Call::Join { sponsor });
    assert!(
        matches!(&refused, Err(CallError::Unavailable { .. })),
        "{refused:?}"
    );
}
