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
    /// Boards at which a lookup ends, in id order; never empty.
    ring: Vec<Id>,
    /// The same and this board, in id order.
    round: Vec<Id>,
}

impl Pointers {
    /// Takes the live boards; this one is added when missing.
    pub fn new(me: Id, alive: impl IntoIterator<Item = Id>) -> Self {
        let mut round: Vec<Id> = alive.into_iter().chain([me]).collect();
        round.sort_unstable();
        round.dedup();
        Pointers {
            me,
            ring: round.clone(),
            round,
        }
    }

    /// The ring as a board sees it that holds nothing: its id has neighbours like any other, but
    /// no lookup ends at it, unless nobody else is alive.
    pub fn beside(me: Id, alive: impl IntoIterator<Item = Id>) -> Self {
        let mut pointers = Pointers::new(me, alive);
        if pointers.round.len() > 1 {
            pointers.ring.retain(|id| *id != me);
        }
        pointers
    }

    /// The first live board at or clockwise after `point` (Chord's successor).
    pub fn successor_of(&self, point: &Id) -> Id {
        let at = self.ring.partition_point(|id| id < point);
        self.ring[at % self.ring.len()]
    }

    /// The last live board strictly before `point`.
    pub fn predecessor_of(&self, point: &Id) -> Id {
        let at = self.ring.partition_point(|id| id < point);
        self.ring[(at + self.ring.len() - 1) % self.ring.len()]
    }

    /// The k-th live board clockwise from this one; 0 and every full turn are this one.
    pub fn clockwise(&self, k: usize) -> Id {
        let here = self.round.partition_point(|id| *id < self.me);
        self.round[(here + k) % self.round.len()]
    }

    /// Live boards other than this one.
    pub fn others(&self) -> usize {
        self.round.len() - 1
    }

    /// The board's own predecessor; itself when alone.
    pub fn predecessor(&self) -> Id {
        self.clockwise(self.others())
    }

    /// The nearest boards clockwise, at most `max`; itself when alone.
    pub fn successors(&self, max: usize) -> Vec<Id> {
        match self.others() {
            0 => vec![self.me],
            others => (1..=others).take(max).map(|k| self.clockwise(k)).collect(),
        }
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
    fn lookups_never_end_at_a_board_beside_the_ring() {
        let ring = Pointers::beside(id(20), [id(10), id(30)]);
        assert_eq!(ring.successor_of(&id(15)), id(30));
        assert_eq!(ring.predecessor_of(&id(25)), id(10));
        assert_eq!(ring.successors(8), vec![id(30), id(10)]);
        assert_eq!((ring.predecessor(), ring.others()), (id(10), 2));
        let alone = Pointers::beside(id(20), []);
        assert_eq!(alone.successor_of(&id(15)), id(20));
    }

    #[test]
    fn successors_go_clockwise_and_wrap() {
        let ring = Pointers::new(id(20), [id(10), id(30)]);
        assert_eq!(ring.successors(8), vec![id(30), id(10)]);
        assert_eq!(ring.predecessor(), id(10));
    }
}
