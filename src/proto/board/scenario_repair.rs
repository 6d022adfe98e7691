//! Scenarios of repair: comparing copies, what that costs, and tombstones that go in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use super::world::World;
use crate::base::call::{CallError, Event};
use crate::base::item::{Item, Key, Record, Value};
use crate::base::version::{Stamp, Version};

const SETTLE: Duration = Duration::from_secs(5);

fn key(number: usize) -> Key {
    Key::new(&format!("key{number:06}")).unwrap()
}

fn item(world: &World, number: usize) -> Item {
    let stamp = Stamp::new(1_790_000_000_000, number as u16);
    let node = world.nodes[0].id;
    Item {
        key: key(number),
        record: Record {
            version: Version { stamp, node },
            value: Some(Value::Json("1".into())),
        },
    }
}

/// Three boards, each holding the same items, that have been compared.
fn equal_ring(items: usize) -> World {
    let mut world = World::new(3);
    world.start_all();
    world.converge(&[0, 1, 2], SETTLE);
    world.run_for(Duration::from_secs(2));
    for number in 0..items {
        let item = item(&world, number);
        for node in &mut world.nodes {
            node.medium
                .items
                .insert(item.key.clone(), item.record.clone());
        }
    }
    world
}

fn sent_bytes(world: &World) -> usize {
    // Probes are not part of it.
    let frames = world.sent.iter().filter(|(kind, _)| **kind != 0x12);
    frames.map(|(_, bytes)| bytes).sum()
}

fn items_of(world: &World, index: usize) -> &BTreeMap<Key, Record> {
    &world.nodes[index].medium.items
}

#[test]
fn equal_copies_are_compared_for_few_bytes() {
    let mut world = equal_ring(100_000);
    world.sent.clear();
    let loads: usize = world.nodes.iter().map(|node| node.loads).sum();
    world.run_for(Duration::from_secs(130));
    let bytes = sent_bytes(&world);
    println!("two minutes of comparing three boards with 100,000 equal keys: {bytes} bytes");
    assert!(world.sent.contains_key(&0x02), "they are compared");
    assert!(bytes < 10_000, "{bytes} bytes");
    let loads = world.nodes.iter().map(|node| node.loads).sum::<usize>() - loads;
    assert!(
        loads < 100,
        "{loads} loads: the items themselves are not read"
    );
}

#[test]
fn differing_keys_are_found_and_repaired_in_both_directions() {
    let mut world = equal_ring(100_000);
    for number in 0..5 {
        world.nodes[1].medium.items.remove(&key(number * 1_000));
        let mut newer = item(&world, number * 1_000 + 500);
        newer.record.version.stamp = Stamp::new(1_790_000_000_001, 0);
        world.nodes[1].medium.items.insert(newer.key, newer.record);
    }
    world.sent.clear();
    world.run_for(Duration::from_secs(200));
    let bytes = sent_bytes(&world);
    println!("repair of 10 keys among 100,000 on three boards: {bytes} bytes");
    assert!(bytes < 200_000, "{bytes} bytes");
    assert_eq!(items_of(&world, 0).len(), 100_000);
    assert_eq!(items_of(&world, 0), items_of(&world, 1));
    assert_eq!(items_of(&world, 0), items_of(&world, 2));
}

#[test]
fn board_that_is_back_is_offered_only_what_it_missed() {
    let mut world = equal_ring(5_000);
    world.kill(2);
    world.run_for(Duration::from_secs(3));
    for number in 0..20 {
        world.put(0, &format!("missed{number}"), "x").unwrap();
    }
    world.sent.clear();
    world.start(2);
    world.converge(&[0, 1, 2], SETTLE);
    world.run_for(Duration::from_secs(5));
    assert_eq!(items_of(&world, 0), items_of(&world, 2));
    assert_eq!(items_of(&world, 1), items_of(&world, 2));
    let offers = world.sent.get(&0x19).copied().unwrap_or_default();
    println!("offers to a board that is back: {offers} bytes");
    assert!(offers < 20_000, "{offers} bytes of offers for 20 keys");
}

#[test]
fn tombstones_go_once_every_board_has_confirmed_them_for_long_enough() {
    let mut world = World::new(5);
    world.tombstone_age = Duration::from_secs(60);
    world.start_all();
    world.converge(&[0, 1, 2, 3, 4], SETTLE);
    for number in 0..30 {
        world.put(number % 5, &format!("key{number}"), "x").unwrap();
    }
    for number in 0..30 {
        assert!(
            world
                .remove((number + 1) % 5, &format!("key{number}"))
                .unwrap()
        );
    }
    world.run_for(Duration::from_secs(40));
    let held: usize = (0..5).map(|index| items_of(&world, index).len()).sum();
    assert_eq!(held, 90, "nothing goes before its age");
    world.run_for(Duration::from_secs(120));
    let held: usize = (0..5).map(|index| items_of(&world, index).len()).sum();
    assert_eq!(held, 0, "nothing is left of removed keys");
    assert_eq!(world.get(2, "key7"), Err(CallError::NotFound));
}

#[test]
fn tombstones_stay_while_a_board_is_absent_and_nothing_resurrects() {
    let mut world = World::new(4);
    world.tombstone_age = Duration::from_secs(20);
    world.start_all();
    world.converge(&[0, 1, 2, 3], SETTLE);
    for number in 0..20 {
        world.put(0, &format!("key{number}"), "x").unwrap();
    }
    world.run_for(Duration::from_secs(3));
    world.kill(3);
    world.run_for(Duration::from_secs(4));
    for number in 0..20 {
        assert!(world.remove(1, &format!("key{number}")).unwrap());
    }
    world.run_for(Duration::from_secs(200));
    let held = (0..3).map(|index| items_of(&world, index).len());
    assert!(
        held.sum::<usize>() >= 40,
        "the absent board may hold the values"
    );
    world.start(3);
    world.converge(&[0, 1, 2, 3], SETTLE);
    world.run_for(Duration::from_secs(200));
    let held: usize = (0..4).map(|index| items_of(&world, index).len()).sum();
    assert_eq!(held, 0, "and once it is back everything goes");
    let down = |(_, event): &(usize, Event)| matches!(event, Event::NodeDown(_));
    assert!(world.events.iter().any(down));
}
