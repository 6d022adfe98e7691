//! The planted mutants: what a broken product would do, done by a lying driver, clock or store.
//! Nothing of this is in the product; each must be caught by the checks of this world.

use std::collections::BTreeMap;

use roundel::base::id::Id;
use roundel::base::version::{Stamp, Version};

/// What lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mutant {
    /// Nothing: the product as it is.
    #[default]
    None,
    /// The store says durable before it has synced.
    SyncSkipped,
    /// The driver answers for the copies: writes are acknowledged that never left the board.
    QuorumSkipped,
    /// Stamps are the wall clock's, and stores keep whatever comes last.
    WallClock,
    /// A request that arrives twice is run twice.
    Duplicates,
    /// Stores forget tombstones as soon as they have written them.
    TombstonesDropped,
    /// The driver says that a keyring is in its file, which it never wrote.
    KeyringSkipped,
    /// A board strikes whoever seems dead from the roster.
    PlacementByLiveness,
}

/// The stamps of a board's own writes, changed to its wall clock's.
#[derive(Clone, Debug)]
pub struct Restamps {
    me: Id,
    changed: BTreeMap<Version, Version>,
}

impl Restamps {
    pub fn new(me: Id) -> Restamps {
        Restamps {
            me,
            changed: BTreeMap::new(),
        }
    }

    pub fn restamp(&mut self, version: Version, wall_ms: u64) -> Version {
        if version.node != self.me {
            return version;
        }
        let wanted = Version {
            stamp: Stamp::new(wall_ms, version.stamp.counter()),
            ..version
        };
        let changed = *self.changed.entry(version).or_insert(wanted);
        self.changed.insert(changed, changed);
        changed
    }
}
