//! Replication: when is a write safe, and what does a read know?
//!
//! Two pure decision machines, one per operation, that are told who answered what and say whom to
//! ask next and what the outcome is. They send nothing themselves; `proto/board/operation.rs`
//! carries their questions to the copies.
//!
//! A write needs W copies of **each** set of the placement (old and new while boards join or
//! leave). A copy that is absent may be replaced by a durable hint on another board, but at least
//! one copy of each set must have the write itself: so a side of a partition that holds no copy
//! of a key writes nothing under it, and the side that holds a read quorum knows when it cannot
//! speak for the other (see [`read`]).

pub mod read;
pub mod write;

use crate::base::call::Consistency;

/// Copies of a set of `copies` that must agree.
pub fn needed(copies: usize, consistency: Consistency) -> usize {
    match consistency {
        Consistency::One => 1.min(copies),
        Consistency::Quorum => copies / 2 + 1,
        Consistency::All => copies,
    }
}
