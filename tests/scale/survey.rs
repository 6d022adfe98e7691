//! What is asked of a large ring: that it grows, how many hops lookups take, that half of it dies.

use roundel::base::id::Id;
use roundel::base::rng::RngExt;

use crate::world::World;

/// The list length of a ring that has to survive half of its boards at once: all 20 of one list
/// fail with a probability of a millionth.
const R: usize = 20;
/// Rounds within which a ring without churn becomes what is waited for.
const ROUNDS_MAX: usize = 100;

/// What became of lookups.
pub struct Outcome {
    /// Of those that ended, in order.
    pub hops: Vec<usize>,
    /// How many found another board than the owner, or none.
    pub bad: usize,
}

impl Outcome {
    /// Hops in the mean.
    pub fn mean(&self) -> f64 {
        self.hops.iter().sum::<usize>() as f64 / self.hops.len() as f64
    }

    /// Hops that 99 of 100 do not exceed.
    pub fn p99(&self) -> usize {
        self.hops[self.hops.len() * 99 / 100]
    }
}

/// A ring of so many boards.
pub fn grow(boards: usize) -> World {
    let mut world = World::new(R, 5);
    while world.boards.len() < boards {
        let more = world.boards.len().min(boards - world.boards.len());
        world.start_joins(more);
        world.settle();
        for _ in 0..6 {
            world.tick();
            world.settle();
        }
    }
    world
}

/// Rounds until something is so.
///
/// # Panics
/// When it takes long.
pub fn rounds_until(world: &mut World, what: impl Fn(&World) -> bool) -> usize {
    let mut rounds = 0;
    while !what(world) {
        assert!(rounds < ROUNDS_MAX, "not reached in {ROUNDS_MAX} rounds");
        world.tick();
        world.settle();
        rounds += 1;
    }
    rounds
}

/// Looks random points up from random boards.
pub fn look_up(world: &mut World, lookups: usize) -> Outcome {
    let members = world.members();
    let mut hops = Vec::new();
    let mut bad = 0;
    for _ in 0..lookups {
        let point = Id::of(&world.rng.random::<[u8; 16]>());
        let from = members[world.rng.random_range(0..members.len())];
        let lookup = world.find(from, point);
        world.settle();
        let found = world.found.remove(&lookup).expect("the lookup ended");
        let right = world.true_owner(&point);
        bad += usize::from(found.as_ref().is_none_or(|found| found.owner != right));
        hops.extend(found.map(|found| found.hops()));
    }
    hops.sort_unstable();
    Outcome { hops, bad }
}

/// Takes half of the boards away, any of them.
pub fn kill_half(world: &mut World) {
    let mut victims = world.members();
    for at in 0..victims.len() / 2 {
        let other = world.rng.random_range(at..victims.len());
        victims.swap(at, other);
        world.kill(&victims[at]);
    }
    world.silences = 0;
}
