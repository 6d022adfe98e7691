//! How a board addresses its neighbours: the routing strategy, behind one trait.
//!
//! `chord` keeps a finger at id + 2^i for each bit (Chord 2001 Table 1); `mesh` addresses the
//! others as +1, +2, … in ring order (pzog's full mesh). In mode `full` both reach any board in
//! one hop; they differ in the table a board shows and in whom it asks first.

use super::Pointers;
use crate::base::id::Id;

/// One row of a board's table of neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Chord: the exponent i, 0 to 255. Mesh: k for the board at +k, from 1.
    pub index: u32,
    /// Where on the ring the row begins.
    pub start: Id,
    /// The board there.
    pub node: Id,
}

/// A routing strategy.
pub trait Structure: Send + Sync {
    /// Its name in the configuration.
    fn name(&self) -> &'static str;
    /// The whole table.
    fn rows(&self, me: &Id, ring: &Pointers) -> Vec<Row>;
    /// The boards a lookup for `goal` passes, this one first, `goal` last.
    fn path(&self, me: &Id, goal: &Id) -> Vec<Id> {
        if me == goal {
            vec![*me]
        } else {
            vec![*me, *goal]
        }
    }
}

/// Chord's fingers.
pub struct Chord;

/// pzog's full mesh.
pub struct Mesh;

impl Structure for Chord {
    fn name(&self) -> &'static str {
        "chord"
    }

    fn rows(&self, me: &Id, ring: &Pointers) -> Vec<Row> {
        (0..Id::BITS)
            .map(|index| {
                let start = me.plus_power_of_two(index);
                Row {
                    index,
                    start,
                    node: ring.successor_of(&start),
                }
            })
            .collect()
    }
}

impl Structure for Mesh {
    fn name(&self) -> &'static str {
        "mesh"
    }

    fn rows(&self, _me: &Id, ring: &Pointers) -> Vec<Row> {
        (1..=ring.others())
            .map(|k| {
                let node = ring.clockwise(k);
                Row {
                    index: k as u32,
                    start: node,
                    node,
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingers_are_the_successors_of_their_starts() {
        let ids: Vec<Id> = (0..9u8).map(|i| Id::of(&[i])).collect();
        let ring = Pointers::new(ids[0], ids.clone());
        let rows = Chord.rows(&ids[0], &ring);
        assert_eq!(rows.len(), 256);
        for row in rows {
            assert_eq!(row.start, ids[0].plus_power_of_two(row.index));
            let nearest = ids
                .iter()
                .min_by_key(|id| (**id < row.start, **id))
                .unwrap();
            assert_eq!(row.node, *nearest);
        }
    }

    #[test]
    fn mesh_numbers_the_others_in_ring_order() {
        let ids: Vec<Id> = (0..5u8).map(|i| Id::of(&[i])).collect();
        let ring = Pointers::new(ids[0], ids.clone());
        let rows = Mesh.rows(&ids[0], &ring);
        assert_eq!(
            rows.iter().map(|r| r.index).collect::<Vec<_>>(),
            vec![1, 2, 3, 4]
        );
        assert_eq!(rows[0].node, ring.successors(1)[0]);
        assert_eq!(rows[3].node, ring.predecessor());
    }
}
