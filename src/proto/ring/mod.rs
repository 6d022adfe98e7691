//! The ring's pointers in mode `full`: computed from the live members, so that they are ideal as
//! soon as the roster has converged (Chord 2001 §4, with every node known).
//!
//! A board's place among the others is its id. Successor, predecessor and fingers are the live
//! boards; who *owns* a key is a matter of the roster (`proto/placement`), which does not shrink
//! when a board is absent. Mode `partial` (classical Chord, learned pointers) is the machine in
//! `partial/`.

pub mod partial;
pub mod structure;

use crate::base::id::Id;

/// The live boards around one board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointers {
    me: Id,
    /// In id order, this board among them.
    alive: Vec<Id>,
}

impl Pointers {
    /// Takes the live boards; this one is added when missing.
    pub fn new(me: Id, alive: impl IntoIterator<Item = Id>) -> Self {
        let mut alive: Vec<Id> = alive.into_iter().chain([me]).collect();
        alive.sort_unstable();
        alive.dedup();
        Pointers { me, alive }
    }

    /// The live boards in id order.
    pub fn alive(&self) -> &[Id] {
        &self.alive
    }

    /// The first live board at or clockwise after `point` (Chord's successor).
    pub fn successor_of(&self, point: &Id) -> Id {
        let at = self.alive.partition_point(|id| id < point);
        self.alive[at % self.alive.len()]
    }

    /// The last live board strictly before `point`.
    pub fn predecessor_of(&self, point: &Id) -> Id {
        let at = self.alive.partition_point(|id| id < point);
        self.alive[(at + self.alive.len() - 1) % self.alive.len()]
    }

    /// The k-th live board clockwise from this one; 0 and every full turn are this one.
    pub fn clockwise(&self, k: usize) -> Id {
        let here = self.alive.partition_point(|id| *id < self.me);
        self.alive[(here + k) % self.alive.len()]
    }

    /// The board's own predecessor; itself when alone.
    pub fn predecessor(&self) -> Id {
        self.clockwise(self.alive.len() - 1)
    }

    /// The nearest boards clockwise, at most `max`; itself when alone.
    pub fn successors(&self, max: usize) -> Vec<Id> {
        if self.alive.len() == 1 {
            return vec![self.me];
        }
        (1..self.alive.len())
            .take(max)
            .map(|k| self.clockwise(k))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(value: u8) -> Id {
        let mut bytes = [0; 32];
        bytes[0] = value;
        Id::from_bytes(bytes)
    }

    proptest! {
        #[test]
        fn successor_and_predecessor_enclose_the_point(
            ids in proptest::collection::btree_set(any::<u8>(), 1..12),
            point: u8,
        ) {
            let me = id(*ids.first().unwrap());
            let ring = Pointers::new(me, ids.iter().map(|v| id(*v)));
            let (before, after) = (ring.predecessor_of(&id(point)), ring.successor_of(&id(point)));
            prop_assert!(id(point).is_in_half_open(&before, &after));
            for other in &ids {
                let lone = ids.len() == 1 || before == after;
                prop_assert!(lone || !id(*other).is_in_open(&before, &after));
            }
        }
    }

    #[test]
    fn board_alone_is_its_own_neighbour() {
        let ring = Pointers::new(id(5), []);
        assert_eq!(ring.successors(8), vec![id(5)]);
        assert_eq!(ring.predecessor(), id(5));
        assert_eq!(ring.successor_of(&id(200)), id(5));
    }

    #[test]
    fn successors_go_clockwise_and_wrap() {
        let ring = Pointers::new(id(20), [id(10), id(30)]);
        assert_eq!(ring.successors(8), vec![id(30), id(10)]);
        assert_eq!(ring.predecessor(), id(10));
    }
}
