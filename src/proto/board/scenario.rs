//! Scenarios: what a ring of boards must do, told step by step.

use std::time::Duration;

use super::world::World;
use crate::base::call::{Call, CallError, Event, LeaveMode, MemberView, Reply, WriteOutcome};
use crate::base::endpoint::SocketAddr;
use crate::base::id::Id;
use crate::base::member::{Contact, Entry, Life, Standing};

const SECOND: Duration = Duration::from_secs(1);

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

fn is_unavailable(result: &Result<String, CallError>) -> bool {
    matches!(result, Err(CallError::Unavailable { .. }))
}

#[test]
fn board_alone_founds_and_serves() {
    let mut world = formed(1);
    world.put(0, "k", "v").unwrap();
    assert_eq!(world.get(0, "k").unwrap(), "\"v\"");
    assert_eq!(world.get(0, "none"), Err(CallError::NotFound));
    assert!(world.remove(0, "k").unwrap());
    assert!(!world.remove(0, "k").unwrap());
    assert_eq!(world.get(0, "k"), Err(CallError::NotFound));
}

#[test]
fn three_boards_form_one_ring_within_a_second() {
    let mut world = World::new(3);
    world.start_all();
    let took = world.converge(&all(3), SECOND);
    assert!(took <= SECOND, "took {took:?}");
    fill(&mut world, 0, "k", 20);
    for i in 0..20 {
        assert_eq!(world.get(2, &format!("k{i}")).unwrap(), format!("\"v{i}\""));
    }
    assert_eq!(
        world
            .events
            .iter()
            .filter(|e| matches!(e.1, Event::Founded(_)))
            .count(),
        1
    );
}

#[test]
fn thirty_boards_started_together_form_one_ring() {
    let mut world = World::new(30);
    world.start_all();
    let took = world.converge(&all(30), SECOND * 5);
    assert!(took <= SECOND * 2, "took {took:?}");
    fill(&mut world, 7, "k", 30);
    assert_eq!(world.scan_keys(11).len(), 30);
}

#[test]
fn late_board_joins_and_takes_over_its_ranges() {
    let mut world = World::new(5);
    for index in 0..4 {
        world.start(index);
    }
    world.converge(&all(4), SECOND * 2);
    fill(&mut world, 0, "k", 200);
    world.start(4);
    let took = world.converge(&all(5), SECOND * 2);
    assert!(took <= SECOND, "took {took:?}");
    world.run_for(SECOND * 3);
    let copies: usize = world.nodes.iter().map(|node| node.medium.items.len()).sum();
    assert_eq!(copies, 600, "three copies of each, none left behind");
    assert!(world.nodes[4].medium.items.len() > 60);
}

#[test]
fn orderly_leave_loses_nothing() {
    let mut world = formed(4);
    fill(&mut world, 0, "k", 100);
    let reply = world
        .ask_within(1, Call::Leave(LeaveMode::Orderly), SECOND * 10)
        .unwrap();
    assert!(matches!(reply, Reply::Left { transferred, .. } if transferred > 0));
    world.kill(1);
    world.converge(&[0, 2, 3], SECOND * 4);
    world.run_for(SECOND * 2);
    for other in [0, 2, 3] {
        assert_eq!(world.nodes[other].medium.items.len(), 100);
    }
    world.start(1);
    world.converge(&all(4), SECOND * 4);
    world.run_for(SECOND * 3);
    let copies: usize = world.nodes.iter().map(|node| node.medium.items.len()).sum();
    assert_eq!(copies, 300);
}

#[test]
fn death_of_any_board_loses_no_acknowledged_put_and_puts_go_on() {
    for victim in 0..5 {
        let mut world = formed(5);
        fill(&mut world, 0, "before", 30);
        world.kill(victim);
        let other = (victim + 1) % 5;
        for i in 0..40 {
            world
                .put(other, &format!("after{i}"), "x")
                .expect("quorum puts go on");
            world.run_for(Duration::from_millis(100));
        }
        for i in 0..30 {
            assert_eq!(
                world.get(other, &format!("before{i}")).unwrap(),
                format!("\"v{i}\"")
            );
        }
        assert_eq!(world.get(other, "never"), Err(CallError::NotFound));
        world.start(victim);
        world.converge(&all(5), SECOND * 12);
        world.run_for(SECOND * 4);
        for i in 0..40 {
            assert_eq!(world.get(victim, &format!("after{i}")).unwrap(), "\"x\"");
        }
        let copies: usize = world.nodes.iter().map(|node| node.medium.items.len()).sum();
        assert_eq!(
            copies, 210,
            "three copies of each, hints delivered and dropped"
        );
    }
}

#[test]
fn restart_of_all_keeps_everything() {
    let mut world = formed(4);
    fill(&mut world, 0, "k", 50);
    for index in 0..4 {
        world.kill(index);
    }
    world.run_for(SECOND * 5);
    world.start_all();
    world.converge(&all(4), SECOND * 4);
    for i in 0..50 {
        assert_eq!(world.get(3, &format!("k{i}")).unwrap(), format!("\"v{i}\""));
    }
}

#[test]
fn partition_makes_two_rings_and_healing_makes_one_with_the_union() {
    let mut world = formed(5);
    fill(&mut world, 0, "before", 30);
    world.partition(&[&[0, 1, 2], &[3, 4]]);
    world.run_for(SECOND * 6);
    assert_eq!(world.overview(0).successors.len(), 2);
    assert_eq!(world.overview(3).successors.len(), 1);
    let mut acknowledged = Vec::new();
    for i in 0..30 {
        let (left, right) = (format!("left{i}"), format!("right{i}"));
        if world.put(0, &left, "l").is_ok() {
            acknowledged.push((left, 3));
        }
        if world.put(3, &right, "r").is_ok() {
            acknowledged.push((right, 0));
        }
    }
    assert!(acknowledged.len() > 40, "both sides go on writing");
    for i in 0..30 {
        let key = format!("before{i}");
        for side in [0, 3] {
            let got = world.get(side, &key);
            assert!(
                got.is_ok() || is_unavailable(&got),
                "{key} at {side}: {got:?}"
            );
        }
    }
    for (key, other_side) in &acknowledged {
        let got = world.get(*other_side, key);
        assert!(is_unavailable(&got), "{key} at {other_side}: {got:?}");
    }
    world.heal();
    world.converge(&all(5), SECOND * 30);
    world.run_for(SECOND * 5);
    for (key, _) in &acknowledged {
        for at in [0, 4] {
            assert!(world.get(at, key).is_ok(), "{key} at {at} after healing");
        }
    }
    let copies: usize = world.nodes.iter().map(|node| node.medium.items.len()).sum();
    assert_eq!(copies, 3 * (30 + acknowledged.len()));
}

#[test]
fn rings_that_formed_apart_merge_with_the_union() {
    let mut world = World::new(6);
    world.partition(&[&[0, 1, 2], &[3, 4, 5]]);
    world.start_all();
    world.converge(&[0, 1, 2], SECOND * 2);
    world.converge(&[3, 4, 5], SECOND * 2);
    fill(&mut world, 0, "left", 20);
    fill(&mut world, 3, "right", 20);
    world.heal();
    world.announce(1);
    world.converge(&all(6), SECOND * 30);
    world.run_for(SECOND * 5);
    assert_eq!(world.scan_keys(5).len(), 40);
    for i in 0..20 {
        assert!(world.get(4, &format!("left{i}")).is_ok());
        assert!(world.get(2, &format!("right{i}")).is_ok());
    }
}

#[test]
fn clusters_of_different_names_stay_apart() {
    let mut world = World::new(4);
    world.set_cluster(2, "work");
    world.set_cluster(3, "work");
    world.start_all();
    world.converge(&[0, 1], SECOND * 2);
    world.converge(&[2, 3], SECOND * 2);
    world.run_for(SECOND * 5);
    assert!(world.agree(&[0, 1]) && world.agree(&[2, 3]));
}

#[test]
fn cloned_card_yields_to_the_board_in_the_ring() {
    let mut world = World::new(4);
    for index in 0..3 {
        world.start(index);
    }
    world.converge(&[0, 1, 2], SECOND * 2);
    world.clone_card(1, 3);
    world.start(3);
    world.run_for(SECOND * 2);
    let yields = |index, wanted| {
        move |event: &&(usize, Event)| {
            event.0 == index
                && matches!(event.1, Event::ClonedCard { yields, .. } if yields == wanted)
        }
    };
    assert!(
        world.events.iter().any(|e| yields(3, true)(&e)),
        "the newcomer yields"
    );
    assert!(
        !world.events.iter().any(|e| yields(1, true)(&e)),
        "the member stays"
    );
}

#[test]
fn cloned_card_that_is_met_late_yields_all_the_same() {
    let mut world = World::new(4);
    for index in 0..3 {
        world.start(index);
    }
    world.converge(&[0, 1, 2], SECOND * 2);
    world.clone_card(1, 3);
    world.partition(&[&[1], &[3]]);
    world.start(3);
    world.run_for(SECOND * 2);
    world.heal();
    world.run_for(SECOND * 15);
    let met: Vec<(usize, bool)> = world
        .events
        .iter()
        .filter_map(|(index, event)| match event {
            Event::ClonedCard { yields, .. } => Some((*index, *yields)),
            _ => None,
        })
        .collect();
    assert!(met.contains(&(3, true)), "the newcomer yields: {met:?}");
    assert!(!met.contains(&(1, true)), "the member stays: {met:?}");
    world.kill(3);
    world.run_for(SECOND * 15);
    world.put(0, "key", "value").expect("the ring serves");
    for index in 0..3 {
        let overview = world.overview(index);
        let is_it = |member: &&MemberView| member.id == world.nodes[1].id;
        let endpoint = overview.members.iter().find(is_it).map(|m| m.endpoint);
        let wanted = world.nodes[1].endpoint;
        assert_eq!(endpoint, Some(Some(wanted)), "at board {index}");
    }
}

#[test]
fn lone_board_of_two_refuses_quorum_puts_and_says_who_is_missing() {
    let mut world = formed(2);
    world.put(0, "k", "v").unwrap();
    world.kill(1);
    world.run_for(SECOND * 5);
    let missing = world.nodes[1].id;
    match world.put(0, "k", "w") {
        Err(CallError::Unavailable {
            outcome,
            absent,
            reason,
            ..
        }) => {
            assert_eq!(outcome, Some(WriteOutcome::NotWritten));
            assert_eq!(absent, vec![missing]);
            assert!(
                reason.contains("board1") && reason.contains("--forget"),
                "{reason}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.get(0, "k").unwrap(), "\"v\"");
    assert!(is_unavailable(&world.get(0, "other")));
    world.ask(0, Call::Forget { id: missing }).unwrap();
    world.put(0, "k", "w").unwrap();
    assert_eq!(world.get(0, "other"), Err(CallError::NotFound));
    world.start(1);
    world.converge(&[0, 1], SECOND * 5);
    assert_eq!(world.get(1, "k").unwrap(), "\"w\"");
}

#[test]
fn board_that_lost_its_counters_comes_back_all_the_same() {
    let mut world = formed(3);
    world.put(0, "k", "v").unwrap();
    for start in 2..6 {
        world.kill(2);
        world.run_for(SECOND * 4);
        if start == 5 {
            world.nodes[2].medium.forget_starts();
        }
        world.start(2);
        world.converge(&all(3), SECOND * 8);
    }
    let known = world.overview(0).members;
    assert!(
        known
            .iter()
            .all(|member| member.id != world.nodes[2].id || member.boot == 5)
    );
    assert_eq!(world.get(2, "k").unwrap(), "\"v\"");
}

#[test]
fn leave_while_another_board_is_absent_is_refused_soon_and_says_why() {
    let mut world = formed(3);
    fill(&mut world, 0, "k", 10);
    world.kill(2);
    world.run_for(SECOND * 5);
    match world.ask_within(1, Call::Leave(LeaveMode::Orderly), SECOND * 5) {
        Err(CallError::Unavailable { reason, .. }) => {
            assert!(reason.contains("board2"), "{reason}")
        }
        other => panic!("{other:?}"),
    }
    world.run_for(SECOND);
    world.put(1, "k1", "still a member").unwrap();
    world.start(2);
    world.converge(&all(3), SECOND * 8);
}

#[test]
fn present_board_cannot_be_forgotten() {
    let mut world = formed(2);
    let id = world.nodes[1].id;
    assert!(matches!(
        world.ask(0, Call::Forget { id }),
        Err(CallError::Invalid(_))
    ));
}

#[test]
fn stop_of_all_at_once_keeps_everything() {
    let mut world = formed(3);
    fill(&mut world, 0, "k", 30);
    for index in 0..3 {
        world.stop(index, SECOND * 5);
    }
    world.run_for(SECOND * 8);
    for index in 0..3 {
        let departed = world
            .events
            .iter()
            .any(|e| e.0 == index && e.1 == Event::Departed);
        assert!(departed, "board {index} stops in the end");
        world.kill(index);
    }
    world.start_all();
    world.converge(&all(3), SECOND * 10);
    for i in 0..30 {
        assert_eq!(world.get(1, &format!("k{i}")).unwrap(), format!("\"v{i}\""));
    }
}

#[test]
fn full_medium_refuses_and_the_other_copies_carry_on() {
    let mut world = formed(3);
    world.nodes[2].full = true;
    world.put(0, "k", "v").unwrap();
    world.nodes[1].full = true;
    match world.put(0, "k", "w") {
        Err(CallError::Unavailable {
            outcome: Some(WriteOutcome::Unknown),
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn concurrent_writers_of_one_key_leave_one_newest_value() {
    let mut world = formed(3);
    let calls: Vec<_> = (0..3)
        .map(|index| {
            let key = crate::base::item::Key::new("k").unwrap();
            let value = crate::base::item::Value::Json(format!("{index}").into());
            let consistency = Default::default();
            world.call(
                index,
                Call::Put {
                    key,
                    value,
                    consistency,
                },
            )
        })
        .collect();
    world.run_for(SECOND);
    assert_eq!(calls.len(), 3);
    let seen: Vec<String> = (0..3).map(|index| world.get(index, "k").unwrap()).collect();
    assert!(seen.iter().all(|value| *value == seen[0]), "{seen:?}");
}

#[test]
fn board_that_missed_a_change_of_the_roster_hears_of_it_by_the_next_probes() {
    let mut world = formed(5);
    world.run_for(SECOND * 3);
    world.kill(4);
    world.run_for(SECOND * 4);
    // Too short for anybody to be declared down.
    world.partition(&[&[3], &[0, 1, 2]]);
    let id = world.nodes[4].id;
    world.ask(0, Call::Forget { id }).unwrap();
    world.run_for(SECOND * 7 / 10);
    world.heal();
    world.run_for(SECOND * 8 / 10);
    let members = world.overview(3).members;
    assert!(!members.iter().any(|member| member.id == id));
}

#[test]
fn entry_and_contact_of_a_member_may_come_separately() {
    let mut world = formed(2);
    let id = Id::of(b"a third board");
    let contact = Contact {
        id,
        name: "third".parse().unwrap(),
        boot: 1,
        life: Life([9; 16]),
        renewal: 0,
        endpoint: SocketAddr::from(([10, 0, 9, 9], 38400)),
        version: "test".into(),
    };
    world.with_board(0, |board, now| {
        let roster = board.roster.as_mut().unwrap();
        assert!(roster.note_contact(contact));
        assert!(board.change_entry(
            now,
            Entry {
                id,
                generation: 1,
                standing: Standing::Member,
            }
        ));
        assert!(board.is_present(&id), "it is probed from here on");
    });
}
