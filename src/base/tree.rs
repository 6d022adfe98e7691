//! The hash tree over what a board holds: two copies find what differs without listing it.
//!
//! ```text
//! root   SHA-256(0x01 ‖ level 0 ‖ (block number ‖ block digest)…)   over blocks with items
//! block  SHA-256(0x01 ‖ level 1 ‖ (cell number ‖ cell digest)…)     over cells with items
//! cell   the sum, modulo 2^128, of its items' digests
//! item   SHA-256(0x00 ‖ key length u32be ‖ key ‖ stamp u64be ‖ node id), its first 128 bits
//! ```
//!
//! It is over state: the order in which items came does not show. A cell is a sum (an incremental
//! multiset hash: Bellare and Micciancio 1997, AdHASH), so a put moves one cell's sixteen bytes
//! and reads nothing else; these the store keeps on flash in the put's own commit. Blocks and root
//! are hashed when they are asked for, over those cells only that both boards should hold: which
//! those are changes with the roster, and no digest on flash does. A version names its value, so
//! the value itself is not hashed; the medium's own checksums answer for it.
//!
//! Sums give no protection from a member that forges items; members are trusted (SECURITY).

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::cell::{Cell, CellSet};
use super::item::Key;
use super::version::Version;

const ITEM: u8 = 0x00;
const NODE: u8 = 0x01;
const CELLS_PER_BLOCK: usize = 256;

/// Digest of a block or of the root.
pub type NodeDigest = [u8; 32];

/// The digest of one item; what a cell is the sum of.
pub fn item_digest(key: &Key, version: Version) -> u128 {
    let mut hash = Sha256::new();
    hash.update([ITEM]);
    hash.update((key.as_str().len() as u32).to_be_bytes());
    hash.update(key.as_str());
    hash.update(version.stamp.0.to_be_bytes());
    hash.update(version.node.as_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    u128::from_be_bytes(digest[..16].try_into().expect("sixteen bytes of a digest"))
}

/// The tree: 65,536 cells in blocks that are made when first used. A clone is a snapshot and
/// shares its blocks.
#[derive(Clone, Default)]
pub struct Tree {
    blocks: Vec<Option<Arc<[u128; CELLS_PER_BLOCK]>>>,
    total: u128,
}

impl Tree {
    /// A cell's digest; 0 when nothing is in it.
    pub fn cell(&self, cell: Cell) -> u128 {
        let block = self.blocks.get(usize::from(cell.block()));
        block
            .and_then(Option::as_ref)
            .map_or(0, |cells| cells[usize::from(cell.0 & 0xff)])
    }

    /// The sum over all cells: equal where exactly the same versions of the same keys are held.
    pub fn total(&self) -> u128 {
        self.total
    }

    /// Sets a cell's digest.
    pub fn set(&mut self, cell: Cell, digest: u128) {
        let before = self.cell(cell);
        if digest == before {
            return;
        }
        self.total = self.total.wrapping_sub(before).wrapping_add(digest);
        if self.blocks.is_empty() {
            self.blocks.resize(Cell::COUNT / CELLS_PER_BLOCK, None);
        }
        let block = &mut self.blocks[usize::from(cell.block())];
        let cells = block.get_or_insert_with(|| Arc::new([0; CELLS_PER_BLOCK]));
        Arc::make_mut(cells)[usize::from(cell.0 & 0xff)] = digest;
    }

    /// Puts an item in, and takes out the version of it that was there before. Returns the cell
    /// it lies in.
    pub fn replace(&mut self, key: &Key, before: Option<Version>, after: Option<Version>) -> Cell {
        let cell = key.cell();
        let digest = |version| item_digest(key, version);
        let sum = self
            .cell(cell)
            .wrapping_sub(before.map_or(0, digest))
            .wrapping_add(after.map_or(0, digest));
        self.set(cell, sum);
        cell
    }

    /// The digest of a block over those of its cells that are in `cells` and hold items; none
    /// when there are none.
    pub fn block(&self, block: u8, cells: &CellSet) -> Option<NodeDigest> {
        let sums = self.blocks.get(usize::from(block))?.as_ref()?;
        let mut hash = None;
        for (low, sum) in sums.iter().enumerate().filter(|(_, sum)| **sum != 0) {
            let cell = Cell(u16::from(block) << 8 | low as u16);
            if cells.contains(cell) {
                let hash = hash.get_or_insert_with(|| Sha256::new_with_prefix([NODE, 1]));
                hash.update([low as u8]);
                hash.update(sum.to_be_bytes());
            }
        }
        hash.map(|hash| hash.finalize().into())
    }

    /// The digests of all blocks with items in `cells`, ascending.
    pub fn blocks(&self, cells: &CellSet) -> Vec<(u8, NodeDigest)> {
        (0..=u8::MAX)
            .filter_map(|block| Some((block, self.block(block, cells)?)))
            .collect()
    }

    /// The root over `cells`, from [`Tree::blocks`] of them.
    pub fn root(blocks: &[(u8, NodeDigest)]) -> NodeDigest {
        let mut hash = Sha256::new_with_prefix([NODE, 0]);
        for (block, digest) in blocks {
            hash.update([*block]);
            hash.update(digest);
        }
        hash.finalize().into()
    }

    /// A block's cells that are in `cells` and hold items.
    pub fn cells_of(&self, block: u8, cells: &CellSet) -> Vec<(Cell, u128)> {
        (0..=u8::MAX)
            .map(|low| Cell(u16::from(block) << 8 | u16::from(low)))
            .map(|cell| (cell, self.cell(cell)))
            .filter(|(cell, sum)| *sum != 0 && cells.contains(*cell))
            .collect()
    }
}

impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        let mut cells = (0..=u16::MAX).map(Cell);
        self.total == other.total && cells.all(|cell| self.cell(cell) == other.cell(cell))
    }
}

impl Eq for Tree {}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tree {:032x}", self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Id;
    use crate::base::version::Stamp;
    use proptest::prelude::*;

    fn version(stamp: u64) -> Version {
        Version {
            stamp: Stamp(stamp),
            node: Id::of(b"board"),
        }
    }

    fn key(number: u8) -> Key {
        Key::new(&format!("key {number}")).unwrap()
    }

    fn root(tree: &Tree) -> NodeDigest {
        Tree::root(&tree.blocks(&CellSet::full()))
    }

    proptest! {
        #[test]
        fn tree_tells_state_and_not_the_way_there(
            writes in proptest::collection::vec((0u8..20, 1u64..50), 0..60),
        ) {
            let mut newest = std::collections::BTreeMap::<u8, u64>::new();
            let mut tree = Tree::default();
            for (number, stamp) in writes {
                let before = newest.get(&number).copied();
                if before.is_none_or(|held| held < stamp) {
                    tree.replace(&key(number), before.map(version), Some(version(stamp)));
                    newest.insert(number, stamp);
                }
            }
            let mut straight = Tree::default();
            for (number, stamp) in newest.iter().rev() {
                straight.replace(&key(*number), None, Some(version(*stamp)));
            }
            prop_assert_eq!(root(&tree), root(&straight));
            for (number, stamp) in newest {
                tree.replace(&key(number), Some(version(stamp)), None);
            }
            prop_assert_eq!(root(&tree), root(&Tree::default()));
        }
    }

    #[test]
    fn differing_cell_shows_in_its_block_and_in_the_root_alone() {
        let mut one = Tree::default();
        for number in 0..=255 {
            one.replace(&key(number), None, Some(version(1)));
        }
        let mut other = one.clone();
        let cell = other.replace(&key(7), Some(version(1)), Some(version(2)));
        let all = CellSet::full();
        assert_ne!(root(&one), root(&other));
        for block in 0..=255 {
            let same = one.block(block, &all) == other.block(block, &all);
            assert_eq!(same, block != cell.block());
        }
        let mut without = CellSet::full();
        without.remove(cell);
        assert_eq!(one.blocks(&without), other.blocks(&without));
    }

    #[test]
    fn snapshot_does_not_follow_later_writes() {
        let mut tree = Tree::default();
        tree.replace(&key(1), None, Some(version(1)));
        let snapshot = tree.clone();
        tree.replace(&key(1), Some(version(1)), Some(version(2)));
        assert_ne!(snapshot, tree);
        assert_eq!(
            snapshot.cell(key(1).cell()),
            item_digest(&key(1), version(1))
        );
    }
}
