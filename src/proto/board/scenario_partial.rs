//! Scenarios in mode `partial`: boards that know their neighbourhood only form one ring, and what
//! is put at one board is read at any other.

use std::time::Duration;

use super::world::World;
use crate::base::call::{Call, Consistency, Event, LeaveMode, Reply, Target};
use crate::base::id::Id;
use crate::base::item::{Key, Value};
use crate::base::limit;
use crate::base::member::RingMode;

const SECOND: Duration = Duration::from_secs(1);

/// The boards `who` are one ring by their pointers, each knows its neighbourhood, and nobody is
/// joining or leaving.
fn is_ideal(world: &mut World, who: &[usize]) -> bool {
    let mut ring: Vec<(Id, usize)> = who.iter().map(|i| (world.nodes[*i].id, *i)).collect();
    ring.sort_unstable();
    let ids: Vec<Id> = ring.iter().map(|(id, _)| *id).collect();
    let near = (2 * limit::NEIGHBOURS_PER_SIDE + 1).min(who.len());
    ring.iter().enumerate().all(|(at, (_, board))| {
        let overview = world.overview(*board);
        let count = limit::SUCCESSORS_MAX.min(who.len() - 1);
        let after: Vec<Id> = (1..=count).map(|k| ids[(at + k) % ids.len()]).collect();
        let before = ids[(at + ids.len() - 1) % ids.len()];
        overview.settled
            && overview.successors == after
            && overview.predecessor == before
            && overview.members.len() == near
            && overview
                .members
                .iter()
                .all(|m| m.alive && ids.contains(&m.id))
    })
}

fn wait_ideal(world: &mut World, who: &[usize], time_max: Duration) {
    let until = world.now + time_max;
    while !is_ideal(world, who) {
        if world.now >= until {
            for board in who {
                let o = world.overview(*board);
                let s: Vec<String> = o.successors.iter().map(Id::short).collect();
                let m: Vec<String> = (o.members.iter())
                    .map(|m| format!("{}{:?}{}", m.id.short(), m.standing, u8::from(m.alive)))
                    .collect();
                println!(
                    "{board} {} pred {} succ {s:?} members {m:?}",
                    o.id.short(),
                    o.predecessor.short()
                );
            }
            panic!("no ideal ring after {time_max:?}");
        }
        world.run_for(SECOND / 5);
    }
}

fn formed(count: usize) -> (World, Vec<usize>) {
    let mut world = World::new(count);
    world.ring_mode = RingMode::Partial;
    world.start_all();
    let all: Vec<usize> = (0..count).collect();
    wait_ideal(&mut world, &all, SECOND * 60);
    (world, all)
}

fn put_many(world: &mut World, who: &[usize], count: usize) {
    for key in 0..count {
        let at = who[key % who.len()];
        let put = world.put(at, &format!("key{key}"), "v");
        assert!(put.is_ok(), "put of key{key} at {at}: {put:?}");
    }
}

fn get_many(world: &mut World, who: &[usize], count: usize) {
    for key in 0..count {
        let at = who[(key * 7 + 3) % who.len()];
        let got = world.get(at, &format!("key{key}"));
        assert_eq!(got.as_deref(), Ok("\"v\""), "key{key} at {at}");
    }
}

#[test]
fn sixteen_boards_form_one_ring_and_any_board_serves_any_key() {
    let (mut world, all) = formed(16);
    put_many(&mut world, &all, 64);
    get_many(&mut world, &all, 64);
    assert_eq!(world.remove(3, "key5"), Ok(true));
    assert!(world.get(9, "key5").is_err());
}

#[test]
fn forty_boards_form_one_ring_and_any_board_serves_any_key() {
    let (mut world, all) = formed(40);
    put_many(&mut world, &all, 80);
    get_many(&mut world, &all, 80);
    let mut expected: Vec<String> = (0..80).map(|key| format!("key{key}")).collect();
    expected.sort();
    assert_eq!(world.scan_keys(17), expected);
    for board in [0, 11, 39] {
        let target = Some(Target::Id(world.nodes[20].id));
        let found = world.ask(board, Call::FindSuccessor(target));
        let Ok(Reply::Lookup {
            node, path, hops, ..
        }) = found
        else {
            panic!("no lookup: {found:?}");
        };
        assert_eq!(node.id, world.nodes[20].id);
        assert_eq!(path.len(), hops + 1);
        assert_eq!(path.first(), Some(&world.nodes[board].id));
    }
}

#[test]
fn copies_that_lost_keys_are_found_and_repaired_by_comparing_neighbours() {
    let (mut world, all) = formed(24);
    put_many(&mut world, &all, 60);
    world.run_for(SECOND * 5);
    let copies = |world: &World, key: &Key| {
        let nodes = world.nodes.iter().enumerate();
        let holds = nodes.filter(|(_, node)| node.medium.items.contains_key(key));
        holds.map(|(index, _)| index).collect::<Vec<usize>>()
    };
    world.sent.clear();
    world.run_for(SECOND * 120);
    let bytes: usize = [0x02, 0x03]
        .iter()
        .filter_map(|kind| world.sent.get(kind))
        .sum();
    println!("two minutes of comparing 24 boards in mode partial: {bytes} bytes");
    assert!(bytes > 0, "neighbours are compared");
    assert!(bytes < 24 * 10_000, "{bytes} bytes");
    // Three boards far from each other lose all they hold, without a word and without a restart.
    let keys: Vec<Key> = (0..60)
        .map(|n| Key::new(&format!("key{n}")).unwrap())
        .collect();
    let before: Vec<Vec<usize>> = keys.iter().map(|key| copies(&world, key)).collect();
    assert!(
        before.iter().all(|holders| holders.len() == 3),
        "{before:?}"
    );
    let mut ring: Vec<usize> = all.clone();
    ring.sort_by_key(|board| world.nodes[*board].id);
    let mut lost = 0;
    for board in [ring[2], ring[10], ring[18]] {
        lost += std::mem::take(&mut world.nodes[board].medium.items).len();
    }
    assert!(lost > 0);
    world.run_for(SECOND * 130);
    let after: Vec<Vec<usize>> = keys.iter().map(|key| copies(&world, key)).collect();
    assert_eq!(after, before);
}

#[test]
fn keys_of_a_killed_board_survive_and_it_comes_back() {
    let (mut world, all) = formed(24);
    put_many(&mut world, &all, 60);
    world.kill(7);
    world.run_for(SECOND * 8);
    let rest: Vec<usize> = all.iter().copied().filter(|i| *i != 7).collect();
    get_many(&mut world, &rest, 60);
    let put = world.put(1, "while-away", "w");
    assert!(put.is_ok(), "{put:?}");
    world.start(7);
    wait_ideal(&mut world, &all, SECOND * 30);
    get_many(&mut world, &all, 60);
    assert_eq!(world.get(7, "while-away").as_deref(), Ok("\"w\""));
}

#[test]
fn ring_of_which_every_board_stopped_comes_back() {
    let (mut world, all) = formed(24);
    put_many(&mut world, &all, 40);
    for board in &all {
        world.kill(*board);
    }
    world.run_for(SECOND * 3);
    for board in &all {
        world.start(*board);
    }
    wait_ideal(&mut world, &all, SECOND * 30);
    get_many(&mut world, &all, 40);
}

#[test]
fn orderly_and_immediate_leave_and_a_late_join_keep_every_key() {
    let (mut world, all) = formed(24);
    put_many(&mut world, &all, 60);
    let left = world.ask_within(5, Call::Leave(LeaveMode::Orderly), SECOND * 60);
    assert!(matches!(left, Ok(Reply::Left { .. })), "{left:?}");
    let rest: Vec<usize> = all.iter().copied().filter(|i| *i != 5).collect();
    wait_ideal(&mut world, &rest, SECOND * 30);
    get_many(&mut world, &rest, 60);
    let left = world.ask(9, Call::Leave(LeaveMode::Immediate));
    assert!(matches!(left, Ok(Reply::Left { .. })), "{left:?}");
    let rest: Vec<usize> = rest.into_iter().filter(|i| *i != 9).collect();
    world.run_for(SECOND * 8);
    get_many(&mut world, &rest, 60);
    let sponsor = world.nodes[rest[0]].endpoint;
    for board in [5, 9] {
        let joined = world.ask_within(board, Call::Join { sponsor }, SECOND * 20);
        assert!(matches!(joined, Ok(Reply::Joined { .. })), "{joined:?}");
    }
    wait_ideal(&mut world, &all, SECOND * 30);
    get_many(&mut world, &all, 60);
}

#[test]
fn ring_cut_in_two_is_one_again_after_healing() {
    let (mut world, all) = formed(24);
    put_many(&mut world, &all, 40);
    let (left, right) = all.split_at(12);
    world.partition(&[left, right]);
    world.run_for(SECOND * 20);
    world.heal();
    wait_ideal(&mut world, &all, SECOND * 30);
    get_many(&mut world, &all, 40);
}

#[test]
fn joiner_takes_the_mode_of_the_ring() {
    let mut world = World::new(2);
    world.ring_mode = RingMode::Partial;
    world.start(0);
    world.run_for(SECOND * 2);
    world.ring_mode = RingMode::Full;
    world.start(1);
    wait_ideal(&mut world, &[0, 1], SECOND * 10);
    let cluster = world.overview(1).cluster.map(|cluster| cluster.mode);
    assert_eq!(cluster, Some(RingMode::Partial));
    let adopted = (1, Event::ModeAdopted(RingMode::Partial));
    assert!(world.events.contains(&adopted));
    let put = Call::Put {
        key: Key::new("k").unwrap(),
        value: Value::Json(bytes::Bytes::from_static(b"1")),
        consistency: Consistency::All,
    };
    assert!(world.ask(1, put).is_ok());
}

#[test]
fn nothing_acknowledged_is_lost_while_boards_join_and_others_die() {
    let mut world = World::new(30);
    world.ring_mode = RingMode::Partial;
    let early: Vec<usize> = (0..20).collect();
    for board in &early {
        world.start(*board);
    }
    wait_ideal(&mut world, &early, SECOND * 60);
    let mut acknowledged = Vec::new();
    for round in 0..60 {
        match round {
            5..15 => world.start(round + 15),
            // One at a time is gone, and back before the next goes.
            20 | 35 => world.kill(round - 17),
            30 | 45 => world.start(round - 27),
            _ => {}
        }
        let key = format!("key{round}");
        let at = [0, 1, 2, 19][round % 4];
        if world.put(at, &key, "v").is_ok() {
            acknowledged.push(key);
        }
        world.run_for(SECOND / 2);
    }
    let all: Vec<usize> = (0..30).collect();
    wait_ideal(&mut world, &all, SECOND * 60);
    assert!(
        acknowledged.len() >= 55,
        "{} of 60 puts",
        acknowledged.len()
    );
    for (index, key) in acknowledged.iter().enumerate() {
        for at in [index % 30, (index * 11 + 7) % 30] {
            let got = world.get(at, key);
            assert_eq!(got.as_deref(), Ok("\"v\""), "{key} at {at}");
        }
    }
}

#[test]
fn rings_founded_apart_become_one_and_a_quiet_ring_writes_nothing() {
    let mut world = World::new(20);
    world.ring_mode = RingMode::Partial;
    let all: Vec<usize> = (0..20).collect();
    let (left, right) = all.split_at(10);
    world.partition(&[left, right]);
    world.start_all();
    wait_ideal(&mut world, left, SECOND * 60);
    wait_ideal(&mut world, right, SECOND * 60);
    put_many(&mut world, left, 20);
    assert!(world.put(15, "right", "v").is_ok());
    world.heal();
    for board in &all {
        world.announce(*board);
    }
    wait_ideal(&mut world, &all, SECOND * 60);
    get_many(&mut world, &all, 20);
    assert_eq!(world.get(2, "right").as_deref(), Ok("\"v\""));
    world.run_for(SECOND * 20);
    let commits = world.commits;
    world.run_for(SECOND * 60);
    assert_eq!(world.commits, commits, "commits of a ring at rest");
}

fn count_of(world: &mut World, at: usize, name: &str) -> u64 {
    let counters = world.overview(at).counters;
    let found = counters.iter().find(|(known, _)| *known == name);
    found.map_or(0, |(_, count)| *count)
}

#[test]
fn neighbours_whose_rosters_differ_exchange_them_no_more_than_now_and_then() {
    let (mut world, all) = formed(24);
    put_many(&mut world, &all, 60);
    world.run_for(SECOND * 20);
    world.sent.clear();
    world.run_for(SECOND * 60);
    // Seven questions a second keep the pointers; rosters are compared each 8 to 12 seconds, which
    // are 150 bytes a second of answers, and nothing is pushed.
    let bytes_of = |kind: u8| world.sent.get(&kind).copied().unwrap_or_default();
    let calls = bytes_of(0x13) / all.len() / 60;
    let replies = bytes_of(0x14) / all.len() / 60;
    assert!(calls < 500, "{calls} bytes of calls a board and second");
    assert!(
        replies < 5_000,
        "{replies} bytes of replies a board and second"
    );
    assert_eq!(bytes_of(0x19), 0, "nothing is handed over");
    // Equal copies cost two small frames a comparison.
    let compared = bytes_of(0x02) + bytes_of(0x03);
    assert!(compared / all.len() / 60 < 20, "{compared} bytes");
    for board in all {
        assert_eq!(count_of(&mut world, board, "views_heard"), 0);
    }
}

#[test]
fn nobody_is_given_up_and_no_tombstone_goes_by_the_word_of_a_neighbourhood() {
    let mut world = World::new(20);
    world.ring_mode = RingMode::Partial;
    world.grace_time = SECOND * 10;
    world.tombstone_age = SECOND * 5;
    world.start_all();
    let all: Vec<usize> = (0..20).collect();
    wait_ideal(&mut world, &all, SECOND * 60);
    put_many(&mut world, &all, 20);
    assert_eq!(world.remove(3, "key5"), Ok(true));
    world.run_for(SECOND * 60);
    assert_eq!(count_of(&mut world, 3, "tombstones_collected"), 0);
    world.kill(7);
    world.run_for(SECOND * 60);
    let absent = world.nodes[7].id;
    for board in all.iter().filter(|board| **board != 7) {
        assert_eq!(count_of(&mut world, *board, "boards_given_up"), 0);
        let members = world.overview(*board).members;
        let known = members.iter().filter(|member| member.id == absent);
        assert!(known.clone().all(|m| !m.alive && m.giving_up.is_none()));
    }
    // The board is back with a copy of what was removed without it.
    assert_eq!(world.remove(1, "key9"), Ok(true));
    world.start(7);
    wait_ideal(&mut world, &all, SECOND * 30);
    for board in &all {
        assert!(world.get(*board, "key9").is_err(), "key9 at {board}");
    }
}
