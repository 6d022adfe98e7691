//! Cells: the ring cut into 65,536 equal parts, the grain of placement and of comparisons.
//!
//! A key lies at the start of its cell, so that all keys of a cell have the same copies whatever
//! the roster: copies can compare cells by one digest each (`base/tree.rs`), and no digest has to
//! be computed anew when a board joins or leaves. Each cell is far smaller than what one point of
//! a board covers (131,072 points share the 65,536 cells in the largest ring of mode `full`).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::id::Id;

/// One part of the ring: the first two bytes of a point.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Cell(pub u16);

impl Cell {
    /// Cells of the ring.
    pub const COUNT: usize = 1 << 16;

    /// The cell a point of the ring lies in.
    pub fn of(point: &Id) -> Self {
        let bytes = point.as_bytes();
        Cell(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Its lowest point.
    pub fn start(self) -> Id {
        let mut bytes = [0; Id::BYTES];
        bytes[..2].copy_from_slice(&self.0.to_be_bytes());
        Id::from_bytes(bytes)
    }

    /// Which of the 256 blocks of 256 cells it is in.
    pub fn block(self) -> u8 {
        (self.0 >> 8) as u8
    }
}

/// A set of cells: one bit each.
#[derive(Clone, PartialEq, Eq)]
pub struct CellSet(Box<[u64; Cell::COUNT / 64]>);

impl CellSet {
    /// No cell.
    pub fn empty() -> Self {
        CellSet(Box::new([0; Cell::COUNT / 64]))
    }

    /// Every cell.
    pub fn full() -> Self {
        CellSet(Box::new([u64::MAX; Cell::COUNT / 64]))
    }

    /// Adds a cell.
    pub fn insert(&mut self, cell: Cell) {
        self.0[usize::from(cell.0 / 64)] |= 1 << (cell.0 % 64);
    }

    /// Takes a cell out.
    pub fn remove(&mut self, cell: Cell) {
        self.0[usize::from(cell.0 / 64)] &= !(1 << (cell.0 % 64));
    }

    /// The cell is in it.
    pub fn contains(&self, cell: Cell) -> bool {
        self.0[usize::from(cell.0 / 64)] & (1 << (cell.0 % 64)) != 0
    }

    /// No cell is in it.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// How many cells are in it.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Adds every cell of another set.
    pub fn extend(&mut self, other: &CellSet) {
        for (word, more) in self.0.iter_mut().zip(other.0.iter()) {
            *word |= more;
        }
    }

    /// Its cells, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Cell> + '_ {
        (0..=u16::MAX).map(Cell).filter(|cell| self.contains(*cell))
    }
}

impl FromIterator<Cell> for CellSet {
    fn from_iter<T: IntoIterator<Item = Cell>>(cells: T) -> Self {
        let mut set = CellSet::empty();
        for cell in cells {
            set.insert(cell);
        }
        set
    }
}

impl fmt::Debug for CellSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cells", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn point_lies_in_its_cell_and_not_before_its_start(bytes: [u8; 32]) {
            let point = Id::from_bytes(bytes);
            let cell = Cell::of(&point);
            prop_assert!(cell.start() <= point);
            prop_assert_eq!(Cell::of(&cell.start()), cell);
            let last = cell.0 == u16::MAX;
            prop_assert!(last || point < Cell(cell.0 + 1).start());
        }

        #[test]
        fn set_holds_what_was_put_in(
            cells in proptest::collection::btree_set(any::<u16>(), 0..50),
        ) {
            let set: CellSet = cells.iter().copied().map(Cell).collect();
            prop_assert_eq!(set.len(), cells.len());
            prop_assert_eq!(set.is_empty(), cells.is_empty());
            let listed: Vec<u16> = set.iter().map(|cell| cell.0).collect();
            prop_assert_eq!(listed, cells.into_iter().collect::<Vec<_>>());
        }
    }
}
