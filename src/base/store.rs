//! What the machines ask of the flash store and what it answers: the narrow store contract.
//!
//! The machines emit [`Load`]s and [`Batch`]es; the driver hands them to whatever keeps them
//! (`runtime/store.rs` on a board, a simulated disk in tests) and brings the answers back. The
//! store holds two things: items (key → [`Record`]) and metas (short name → bytes).

use bytes::Bytes;

use super::cell::CellSet;
use super::item::{Item, Key, Record};
use super::tree::Tree;
use super::version::{Stamp, Version};

/// Names one load until its answer has come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoadId(pub u64);

/// Names one batch until its answer has come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(pub u64);

/// Meta name of the mark of a damaged log. The store sets it (to any value but `emptied`) when it
/// opens and valid groups lay behind the point where its log could be read to: what it holds then
/// is its past. A torn last group is no damage. Whoever uses the store removes the mark.
pub const META_DAMAGE: &str = "damage";

/// A read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Load {
    /// One item.
    Item(Key),
    /// Items in key order, tombstones included, strictly after `after`, whose key starts with
    /// `prefix` and that are among `which`. The page ends at `items_max` items or before it would
    /// pass `bytes_max` bytes of keys and values (but holds at least one item).
    Page {
        /// Start after this key; none: from the first.
        after: Option<Key>,
        /// Every key starts with this; may be empty.
        prefix: String,
        /// Only these items.
        which: Which,
        /// At most so many items.
        items_max: usize,
        /// At most so many bytes.
        bytes_max: usize,
    },
    /// The hash tree over every item, tombstones included.
    Tree,
}

/// Which items of a page are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// All.
    All,
    /// Those whose keys lie in these cells.
    Cells(CellSet),
    /// Tombstones.
    Tombstones,
}

impl Which {
    /// An item with this key, a tombstone or not, is wanted.
    pub fn wants(&self, key: &Key, is_tombstone: bool) -> bool {
        match self {
            Which::All => true,
            Which::Cells(cells) => cells.contains(key.cell()),
            Which::Tombstones => is_tombstone,
        }
    }
}

/// The answer to a [`Load`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// To [`Load::Item`]: what is under the key.
    Item(Option<Record>),
    /// To [`Load::Page`]: the items, and where to go on. A page of few wanted items among many
    /// ends early, perhaps without any.
    Page {
        /// In key order.
        items: Vec<Item>,
        /// There may be more after this key; none: that was all.
        next: Option<Key>,
    },
    /// To [`Load::Tree`].
    Tree {
        /// A snapshot that has every batch answered before, and none that is not durable.
        tree: Tree,
        /// Keys that were removed and not collected.
        tombstones: u64,
    },
}

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Stores the record unless the store holds one of an equal or newer version. Atomic with the
    /// comparison.
    Merge(Item),
    /// Drops the key's record for good (no tombstone) if its version is still the one given.
    Drop {
        /// Whose record.
        key: Key,
        /// Only this version.
        version: Version,
    },
    /// Sets (or with none removes) a named meta value.
    Meta {
        /// Short ASCII name.
        name: &'static str,
        /// Its bytes.
        value: Option<Bytes>,
    },
}

/// Changes that become durable together, with the hybrid clock's high-water mark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// In order.
    pub changes: Vec<Change>,
    /// The highest stamp drawn or seen; kept in the same commit, restored at start.
    pub high_water: Option<Stamp>,
}

/// What became of one [`Change`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable and is the newest (or was there already with the same version).
    Stored,
    /// The store held this newer version and kept it.
    Newer(Version),
}

/// Why a load or a batch failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Refused before anything was written: too little free space.
    #[error("the medium is nearly full: {free_bytes} bytes free, {needed_bytes} needed")]
    Full {
        /// What is free.
        free_bytes: u64,
        /// What must be.
        needed_bytes: u64,
    },
    /// Refused before anything was written: the store is not open, is read-only, or absent.
    #[error("the store takes no writes: {0}")]
    ReadOnly(String),
    /// The store is not open yet, or has no medium; nothing was read or written.
    #[error("the store is not open: {0}")]
    Closed(String),
    /// The commit failed part-way: whether it is durable is unknown.
    #[error("the commit failed and may or may not be durable: {0}")]
    Indeterminate(String),
    /// A record failed its checksum or could not be read.
    #[error("the record cannot be read: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// Nothing was written for certain.
    pub fn is_clean(&self) -> bool {
        !matches!(self, StoreError::Indeterminate(_))
    }
}
