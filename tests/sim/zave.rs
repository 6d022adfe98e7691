//! The ring of mode `partial`: Zave's invariants ("Reasoning about Identifier Spaces: How to Make
//! Chord Correct", 2017) at any moment while nobody is cut off, and the ideal ring at rest.

use std::collections::{BTreeMap, BTreeSet};

use roundel::base::call::NodeState;
use roundel::base::id::Id;
use roundel::base::limit;

use crate::world::World;

/// What a member says of its place.
struct Place {
    board: usize,
    successors: Vec<Id>,
    predecessor: Id,
    settled: bool,
    neighbours: usize,
}

fn places(world: &mut World) -> BTreeMap<Id, Place> {
    let mut places = BTreeMap::new();
    for board in world.up() {
        let Some(overview) = world.overview(board) else {
            continue;
        };
        if overview.state == NodeState::Active {
            let place = Place {
                board,
                successors: overview.successors,
                predecessor: overview.predecessor,
                settled: overview.settled,
                neighbours: overview.members.len(),
            };
            places.insert(overview.id, place);
        }
    }
    places
}

/// At least one ring, at most one, ordered, and every member's way leads to it.
pub fn check_one_ring(world: &mut World) -> Result<(), String> {
    let places = places(world);
    let Some(first) = places.keys().next().copied() else {
        return Ok(());
    };
    let mut next = BTreeMap::new();
    for (id, place) in &places {
        let live = place.successors.iter().find(|id| places.contains_key(id));
        let Some(live) = live else {
            return Err(format!("no successor of board {} lives", place.board));
        };
        next.insert(*id, *live);
    }
    let mut at = first;
    (0..places.len()).for_each(|_| at = next[&at]);
    let (mut ring, mut wraps) = (BTreeSet::new(), 0);
    while ring.insert(at) {
        wraps += u32::from(next[&at] <= at);
        at = next[&at];
    }
    if wraps != 1 {
        return Err(format!("the ring wraps {wraps} times"));
    }
    for (id, place) in &places {
        let mut at = *id;
        let steps = (0..places.len()).find(|_| {
            let reached = ring.contains(&at);
            at = next[&at];
            reached
        });
        if steps.is_none() {
            return Err(format!("board {} leads to another ring", place.board));
        }
    }
    Ok(())
}

/// Every board that runs is a member, and knows the neighbours that it has in the whole ring.
pub fn check_ideal(world: &mut World) -> Result<(), String> {
    let places = places(world);
    let ids: Vec<Id> = places.keys().copied().collect();
    let (up, count) = (world.up().len(), ids.len());
    if count != up {
        return Err(format!("{count} of {up} boards are members"));
    }
    let known = (2 * limit::NEIGHBOURS_PER_SIDE + 1).min(count);
    for (at, (id, place)) in places.iter().enumerate() {
        let after = (1..count).take(limit::SUCCESSORS_MAX);
        let after: Vec<Id> = after.map(|k| ids[(at + k) % count]).collect();
        let before = ids[(at + count - 1) % count];
        if place.successors != after || place.predecessor != before || !place.settled {
            let right = place.successors.iter().zip(&after).filter(|(a, b)| a == b);
            return Err(format!(
                "board {} ({}) has {} of {} successors right, settled {}",
                place.board,
                id.short(),
                right.count(),
                after.len(),
                place.settled
            ));
        }
        if place.neighbours != known {
            let (board, neighbours) = (place.board, place.neighbours);
            return Err(format!(
                "board {board} knows {neighbours} boards, not {known}"
            ));
        }
    }
    Ok(())
}
