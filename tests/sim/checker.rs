//! The invariants of the world: every hundred steps, and at rest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use roundel::base::call::{MemberView, NodeState};
use roundel::base::id::Id;
use roundel::base::item::Key;
use roundel::base::limit;
use roundel::base::member::Standing;
use roundel::base::version::Version;
use roundel::proto::board::META_ROSTER;
use roundel::proto::placement::View;
use roundel::proto::roster::Roster;

use crate::dice::mix_bytes;
use crate::model::Model;
use crate::thief;
use crate::world::World;
use crate::zave;

/// A call is answered within this: an operation's five seconds and some for the driver's lag.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(7);

/// What must hold at any moment.
pub fn check_world(world: &mut World) -> Result<(), String> {
    check_holders(world)?;
    check_placement(world)?;
    if world.watches_ring {
        zave::check_one_ring(world)?;
    }
    thief::check_thief(world)?;
    check_answers(world)
}

/// No acknowledged put is without an intact holder.
fn check_holders(world: &World) -> Result<(), String> {
    for index in 0..world.model.keys() {
        let Some(demand) = world.model.demand(index) else {
            continue;
        };
        if !demand.is_put || demand.may_be_removed {
            continue;
        }
        let key = Model::key(index);
        let holds = |version| version >= demand.version;
        let mut own = world.nodes.iter().filter(|node| !node.thief);
        if !own.any(|node| node.version(&key).is_some_and(holds)) {
            return Err(format!(
                "key{index} has no holder; acknowledged was {demand:?}"
            ));
        }
    }
    Ok(())
}

/// Where rosters place keys, by their digests, and the rosters that have been looked at.
#[derive(Debug, Default)]
pub struct Placements {
    by_digest: BTreeMap<u64, Vec<Vec<Id>>>,
    known: BTreeSet<u64>,
}

/// Equal rosters place every key on the same boards, each on as many as there must be.
fn check_placement(world: &mut World) -> Result<(), String> {
    for node in world.nodes.iter().filter(|node| node.is_up()) {
        let store = node.store.as_ref().ok();
        let Some(bytes) = store.and_then(|store| store.meta(META_ROSTER)) else {
            continue;
        };
        if !world.placements.known.insert(mix_bytes(0, bytes)) {
            continue;
        }
        let (roster, _) = Roster::from_bytes(bytes).map_err(|error| error.to_string())?;
        let Some(view) = View::of(&roster) else {
            continue;
        };
        let keys = (0..world.model.keys()).map(Model::key);
        let copies: Vec<_> = keys.map(|key| view.target(&key.point())).collect();
        for copies in &copies {
            let distinct: BTreeSet<_> = copies.iter().collect();
            let count = view.new_boards().len().min(limit::COPIES_MAX);
            if distinct.len() != copies.len() || copies.len() != count {
                return Err(format!("a key is placed on {copies:?}"));
            }
        }
        let placed = &mut world.placements.by_digest;
        let first = placed
            .entry(roster.digest())
            .or_insert_with(|| copies.clone());
        if *first != copies {
            return Err("equal rosters place a key differently".into());
        }
    }
    Ok(())
}

/// Every call to a board that runs is answered in time.
fn check_answers(world: &World) -> Result<(), String> {
    for node in &world.nodes {
        let Some(running) = &node.running else {
            continue;
        };
        for operation in running.waiting.values() {
            let operation = &world.model.operations[*operation];
            let since = operation.asked.max(node.paused_until);
            if world.now.since(since) > ANSWER_TIME_MAX {
                return Err(format!("no answer in time to {operation:?}"));
            }
        }
    }
    Ok(())
}

/// One ring of exactly the boards that run: each sees all of them, alive and settled.
pub fn check_one_ring(world: &mut World) -> Result<(), String> {
    let up: Vec<usize> = world.up();
    let mut expected: Vec<Id> = up.iter().map(|i| world.nodes[*i].card.id()).collect();
    expected.sort();
    let mut clusters = BTreeSet::new();
    for index in up {
        let Some(overview) = world.overview(index) else {
            return Err(format!("board {index} gives no overview"));
        };
        let members = overview.members.iter();
        let alive: Vec<Id> = members.clone().filter(|m| m.alive).map(|m| m.id).collect();
        // A lost card waits for its owner to strike it: whatever was under way when it was lost is
        // until then, and so are boards that join and need to hear of what it held.
        let is_lost = |m: &&MemberView| world.lost.contains(&m.id);
        let moves = members.clone().any(|m| m.standing != Standing::Member);
        let waits = moves && members.clone().any(|m| is_lost(&m));
        let active = overview.state == NodeState::Active
            || (waits && overview.state == NodeState::Activating);
        if alive != expected || !active || !(overview.settled || waits) {
            return Err(format!(
                "board {index} is {:?}, settled {}, and sees {} of {} boards alive",
                overview.state,
                overview.settled,
                alive.len(),
                expected.len()
            ));
        }
        clusters.insert(overview.cluster.map(|cluster| cluster.id));
    }
    match clusters.len() {
        1 => Ok(()),
        count => Err(format!("{count} rings")),
    }
}

/// One ring, rosters are equal on flash, and nobody holds what it is no copy of.
pub fn check_placed(world: &mut World) -> Result<(), String> {
    check_one_ring(world)?;
    let up = world.up();
    let rosters: BTreeSet<u64> = up
        .iter()
        .map(|index| world.nodes[*index].roster().map_or(0, |r| r.digest()))
        .collect();
    if rosters.len() != 1 {
        return Err(format!("{} different rosters on flash", rosters.len()));
    }
    let view = view(world)?;
    for key in held(world) {
        let copies = view.target(&key.point());
        for index in &up {
            let node = &world.nodes[*index];
            if node.version(&key).is_some() && !copies.contains(&node.card.id()) {
                return Err(format!("board {index} holds {key} and is no copy of it"));
            }
        }
    }
    Ok(())
}

/// Every copy of every key holds the same.
pub fn check_equal(world: &World) -> Result<(), String> {
    check_copies(world, crate::node::Node::version)
}

/// The same, but what a medium lost without a word counts as held: nobody has read it since.
pub fn check_claimed(world: &World) -> Result<(), String> {
    check_copies(world, crate::node::Node::claimed)
}

fn check_copies(
    world: &World,
    version: impl Fn(&crate::node::Node, &Key) -> Option<Version>,
) -> Result<(), String> {
    let view = view(world)?;
    for key in held(world) {
        let copies = view.target(&key.point());
        let up = world.up().into_iter();
        let copies = up.filter(|index| copies.contains(&world.nodes[*index].card.id()));
        let held: BTreeMap<usize, _> = copies
            .map(|index| (index, version(&world.nodes[index], &key)))
            .collect();
        let versions: BTreeSet<_> = held.values().collect();
        if versions.len() != 1 {
            return Err(format!("the copies of {key} differ: {held:?}"));
        }
    }
    Ok(())
}

/// The placement of the roster on flash.
fn view(world: &World) -> Result<View, String> {
    let first = world.up().first().copied().ok_or("nobody runs")?;
    let roster = world.nodes[first].roster().ok_or("no roster on flash")?;
    View::of(&roster).ok_or_else(|| "no placement".into())
}

/// Every key somebody holds.
fn held(world: &World) -> BTreeSet<Key> {
    let mut keys = BTreeSet::new();
    for index in world.up() {
        let store = world.nodes[index].store.as_ref();
        keys.extend(store.into_iter().flat_map(|store| store.keys().cloned()));
    }
    keys
}
