//! Scenarios of boards that come back after they were given up, and of rings that merge.

use std::time::Duration;

use super::world::World;
use crate::base::call::{Call, CallError, Consistency, Event, LeaveMode, Reply};
use crate::base::item::{Key, Value};
use crate::base::version::Version;

const SECOND: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(60);

fn all(count: usize) -> Vec<usize> {
    (0..count).collect()
}

fn formed(count: usize) -> World {
    let mut world = World::new(count);
    world.grace_time = GRACE;
    world.start_all();
    world.converge(&all(count), SECOND * 4);
    world
}

/// Two rings that formed apart: the first `split` boards, and the rest.
fn formed_apart(count: usize, split: usize) -> World {
    let mut world = World::new(count);
    let (low, high) = (all(split), (split..count).collect::<Vec<_>>());
    world.partition(&[&low, &high]);
    world.start_all();
    world.converge(&low, SECOND * 6);
    world.converge(&high, SECOND * 6);
    world
}

/// The partition ends and everybody is heard again.
fn heal(world: &mut World) {
    world.heal();
    for index in 0..world.nodes.len() {
        if world.is_running(index) {
            world.announce(index);
        }
    }
}

fn put(world: &mut World, at: usize, key: &str, value: &str, consistency: Consistency) -> Version {
    let value = Value::Json(format!("{value:?}").into());
    let key = Key::new(key).unwrap();
    let call = Call::Put {
        key,
        value,
        consistency,
    };
    match world.ask(at, call) {
        Ok(Reply::Written { version, .. }) => version,
        other => panic!("a put is answered by written, not {other:?}"),
    }
}

/// A key with this prefix that has copies on both sides, written to all of them.
fn on_both_sides(world: &mut World, prefix: &str, split: usize) -> String {
    (0..)
        .map(|i| format!("{prefix}{i}"))
        .find(|key| {
            put(world, 0, key, "before", Consistency::All);
            let here = |at: usize| {
                world.nodes[at]
                    .medium
                    .items
                    .contains_key(&Key::new(key).unwrap())
            };
            (0..split).any(here) && (split..world.nodes.len()).any(here)
        })
        .unwrap()
}

fn conflicts(world: &World, key: &str) -> Vec<(usize, Version, Version)> {
    let of_key = |(at, event): &(usize, Event)| match event {
        Event::Conflict {
            key: it,
            kept,
            lost,
        } if it.as_str() == key => Some((*at, *kept, *lost)),
        _ => None,
    };
    world.events.iter().filter_map(of_key).collect()
}

#[test]
fn given_up_board_returns_and_nothing_that_was_removed_comes_back() {
    let mut world = formed(5);
    for i in 0..60 {
        world.put(0, &format!("k{i}"), "v").unwrap();
    }
    world.run_for(SECOND * 5);
    world.kill(3);
    world.run_for(GRACE + SECOND * 20);
    assert_eq!(world.overview(0).members.len(), 4);
    for i in 0..30 {
        assert!(world.remove(1, &format!("k{i}")).unwrap());
    }
    world.run_for(SECOND * 5);
    world.collect_tombstones();
    world.start(3);
    let took = world.converge(&all(5), SECOND * 30);
    println!("back after {took:?}");
    world.run_for(SECOND * 20);
    for i in 0..60 {
        let key = format!("k{i}");
        let removed = i < 30;
        assert_eq!(world.copies_of(&key), if removed { 0 } else { 3 }, "{key}");
        let found = world.get(3, &key);
        assert_eq!(
            found == Err(CallError::NotFound),
            removed,
            "{key}: {found:?}"
        );
    }
}

#[test]
fn board_cut_off_and_given_up_brings_its_own_writes_and_nothing_else() {
    let mut world = formed(5);
    for i in 0..40 {
        world.put(0, &format!("k{i}"), "v").unwrap();
    }
    world.run_for(SECOND * 20);
    world.partition(&[&[0, 1], &[2, 3, 4]]);
    world.run_for(SECOND * 10);
    let mut written = Vec::new();
    for i in 0..40 {
        let key = format!("own{i}");
        if world.put(i % 2, &key, "v").is_ok() {
            written.push(key);
        }
    }
    assert!(
        written.len() > 5,
        "some keys have two copies among two boards"
    );
    world.run_for(GRACE + SECOND * 20);
    assert_eq!(world.overview(2).members.len(), 3);
    for i in 0..40 {
        world.remove(2 + i % 3, &format!("k{i}")).unwrap();
    }
    world.run_for(SECOND * 5);
    for at in [2, 3, 4] {
        world.nodes[at]
            .medium
            .items
            .retain(|_, r| r.value.is_some());
    }
    heal(&mut world);
    let took = world.converge(&all(5), SECOND * 60);
    println!("both back after {took:?}");
    world.run_for(SECOND * 30);
    for key in &written {
        assert!(world.get(3, key).is_ok(), "{key} was acknowledged");
        assert_eq!(world.copies_of(key), 3, "{key}");
    }
    for i in 0..40 {
        assert_eq!(world.copies_of(&format!("k{i}")), 0, "k{i} was removed");
    }
}

#[test]
fn forgotten_board_that_runs_on_comes_back_with_an_empty_store() {
    let mut world = formed(4);
    for i in 0..30 {
        world.put(0, &format!("k{i}"), "v").unwrap();
    }
    world.kill(2);
    world.converge(&[0, 1, 3], SECOND * 5);
    let id = world.nodes[2].id;
    world.ask(0, Call::Forget { id }).unwrap();
    world.run_for(SECOND * 5);
    for i in 0..30 {
        world.remove(0, &format!("k{i}")).unwrap();
    }
    world.collect_tombstones();
    // Its roster on flash does not know that it was forgotten; then a second start does.
    world.start(2);
    world.run_for(Duration::from_millis(30));
    world.kill(2);
    world.start(2);
    world.converge(&all(4), SECOND * 30);
    world.run_for(SECOND * 10);
    assert_eq!(world.scan_keys(2), [""; 0]);
}

#[test]
fn note_of_being_apart_is_cleared_once_all_is_confirmed_and_idle_boards_write_nothing() {
    let mut world = formed(4);
    world.put(0, "k", "v").unwrap();
    world.run_for(SECOND * 20);
    assert!((0..4).all(|at| !world.is_apart(at)), "nobody was apart");
    world.kill(1);
    world.converge(&[0, 2, 3], SECOND * 5);
    world.run_for(SECOND);
    assert!([0, 2, 3].iter().all(|at| world.is_apart(*at)));
    world.start(1);
    world.converge(&all(4), SECOND * 20);
    world.run_for(SECOND * 20);
    assert!((0..4).all(|at| !world.is_apart(at)), "all is confirmed");
    let before = world.commits;
    world.run_for(SECOND * 600);
    assert_eq!(world.commits, before, "an idle ring writes nothing");
}

#[test]
fn key_written_on_both_sides_of_a_partition_is_one_conflict_and_the_later_stands() {
    let mut world = formed(5);
    let both = on_both_sides(&mut world, "both", 2);
    let left = on_both_sides(&mut world, "left", 2);
    let (both, left) = (both.as_str(), left.as_str());
    world.partition(&[&[0, 1], &[2, 3, 4]]);
    world.converge(&[0, 1], SECOND * 5);
    world.converge(&[2, 3, 4], SECOND * 5);
    let lost = put(&mut world, 0, both, "left", Consistency::One);
    put(&mut world, 1, left, "again", Consistency::One);
    put(&mut world, 0, left, "and again", Consistency::One);
    world.run_for(SECOND);
    let kept = put(&mut world, 2, both, "right", Consistency::One);
    heal(&mut world);
    world.converge(&all(5), SECOND * 30);
    world.run_for(SECOND * 10);
    assert_eq!(world.get(1, both).unwrap(), "\"right\"");
    assert_eq!(world.get(3, left).unwrap(), "\"and again\"");
    let told = conflicts(&world, both);
    assert!(!told.is_empty(), "somebody saw both");
    assert!(
        told.iter().all(|(_, k, l)| (*k, *l) == (kept, lost)),
        "{told:?}"
    );
    let mut boards: Vec<usize> = told.iter().map(|(at, ..)| *at).collect();
    boards.sort();
    boards.dedup();
    assert_eq!(boards.len(), told.len(), "each board tells it once");
    assert_eq!(conflicts(&world, left), [], "written on one side only");
    let counters = world.overview(boards[0]).counters;
    assert!(counters.contains(&("conflicts", 1)), "{counters:?}");
}

#[test]
fn overwriting_what_an_absent_board_wrote_is_no_conflict() {
    let mut world = formed(4);
    for i in 0..20 {
        put(&mut world, 3, &format!("k{i}"), "first", Consistency::All);
    }
    world.kill(3);
    world.converge(&[0, 1, 2], SECOND * 5);
    for i in 0..20 {
        put(
            &mut world,
            i % 3,
            &format!("k{i}"),
            "second",
            Consistency::Quorum,
        );
    }
    world.start(3);
    world.converge(&all(4), SECOND * 20);
    world.run_for(SECOND * 10);
    for i in 0..20 {
        assert_eq!(world.get(3, &format!("k{i}")).unwrap(), "\"second\"");
        assert_eq!(conflicts(&world, &format!("k{i}")), []);
    }
}

#[test]
fn rings_that_formed_apart_merge_and_report_what_both_had_written() {
    let mut world = formed_apart(6, 3);
    for i in 0..20 {
        world.put(i % 3, &format!("a{i}"), "v").unwrap();
        world.put(3 + i % 3, &format!("b{i}"), "v").unwrap();
    }
    put(&mut world, 0, "both", "low", Consistency::Quorum);
    world.run_for(SECOND);
    let kept = put(&mut world, 4, "both", "high", Consistency::Quorum);
    heal(&mut world);
    world.converge(&all(6), SECOND * 30);
    world.run_for(SECOND * 10);
    let merges = world.events.iter();
    assert!(
        merges
            .filter(|e| matches!(e.1, Event::Merged { .. }))
            .count()
            >= 1
    );
    for i in 0..20 {
        for key in [format!("a{i}"), format!("b{i}")] {
            assert!(world.get(1, &key).is_ok(), "{key}");
            assert_eq!(world.copies_of(&key), 3, "{key}");
            assert_eq!(conflicts(&world, &key), []);
        }
    }
    assert_eq!(world.get(5, "both").unwrap(), "\"high\"");
    let told = conflicts(&world, "both");
    assert!(!told.is_empty());
    assert!(
        told.iter().all(|(_, winner, _)| *winner == kept),
        "{told:?}"
    );
}

#[test]
fn partition_while_a_board_joins_heals_to_one_ring_with_everything() {
    for cut_after_ms in [1, 5, 20, 60, 150] {
        let mut world = World::new(5);
        world.grace_time = GRACE;
        for index in 0..4 {
            world.start(index);
        }
        world.converge(&all(4), SECOND * 4);
        for i in 0..40 {
            world.put(0, &format!("k{i}"), "v").unwrap();
        }
        world.start(4);
        world.run_for(Duration::from_millis(cut_after_ms));
        world.partition(&[&[0, 1, 4], &[2, 3]]);
        world.run_for(SECOND * 20);
        heal(&mut world);
        let took = world.converge(&all(5), SECOND * 30);
        println!("cut after {cut_after_ms} ms: one ring {took:?} after the heal");
        world.run_for(SECOND * 10);
        for i in 0..40 {
            let key = format!("k{i}");
            assert!(world.get(i % 5, &key).is_ok(), "{key}");
            assert_eq!(
                world.copies_of(&key),
                3,
                "{key}, cut after {cut_after_ms} ms"
            );
        }
    }
}

#[test]
fn rings_merge_while_boards_of_both_leave() {
    let mut left = 0;
    for leave_after_ms in [0, 10, 100, 500] {
        let mut world = formed_apart(7, 3);
        for i in 0..20 {
            world.put(i % 3, &format!("a{i}"), "v").unwrap();
            world.put(3 + i % 4, &format!("b{i}"), "v").unwrap();
        }
        heal(&mut world);
        world.run_for(Duration::from_millis(leave_after_ms));
        let leaves = [1, 5].map(|at| (at, world.call(at, Call::Leave(LeaveMode::Orderly))));
        world.run_for(SECOND * 60);
        let mut stay = all(7);
        for (at, leave) in leaves {
            match world.reply(leave) {
                Some(Ok(Reply::Left { .. })) => {
                    stay.retain(|other| *other != at);
                    world.kill(at);
                    left += 1;
                }
                // Rings that are merging may have nobody who can take over: it is a member again.
                Some(Err(CallError::Unavailable { .. })) => {}
                other => panic!("{leave_after_ms} ms after the heal: {other:?}"),
            }
        }
        world.converge(&stay, SECOND * 30);
        world.run_for(SECOND * 20);
        for i in 0..20 {
            for key in [format!("a{i}"), format!("b{i}")] {
                assert!(world.get(0, &key).is_ok(), "{key}, {leave_after_ms} ms");
                assert_eq!(world.copies_of(&key), 3, "{key}, {leave_after_ms} ms");
            }
        }
    }
    assert!(left > 0, "no board of four times two left");
}
