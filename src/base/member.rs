//! Boards as the ring knows them: who belongs ([`Entry`]), how to reach it ([`Contact`]), and
//! the cluster both belong to.
//!
//! The rules by which two boards' knowledge is joined are `proto/roster`.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::endpoint::{Name, SocketAddr};
use super::id::Id;
use super::limit;

/// How a board stands to the ring. The order is the order in which it may change within one
/// generation; it is not that of the variants, whose places are their encoding on flash and wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Standing {
    /// It is fetching its ranges: written to, not yet counted on.
    Joining,
    /// It holds its ranges.
    Member,
    /// It is handing its ranges over: still counted on, together with those who take over.
    Leaving,
    /// It left.
    Left,
    /// It was given up, or forgotten by hand.
    Forgotten,
    /// It belongs, but has nothing to keep copies on: it is never counted on, and ends as `Left`.
    Diskless,
}

impl Standing {
    /// It holds a place in the roster (present or absent).
    pub fn belongs(self) -> bool {
        self < Standing::Left
    }

    /// It belongs and holds copies, or is about to: it counts in quorums and majorities.
    pub fn holds(self) -> bool {
        self.belongs() && self != Standing::Diskless
    }

    /// What a board of this standing becomes when it is struck off. One that held nothing takes
    /// nothing with it, so nobody has to look for copies.
    pub fn struck_off(self) -> Standing {
        match self {
            Standing::Diskless => Standing::Left,
            _ => Standing::Forgotten,
        }
    }

    fn rank(self) -> u8 {
        match self {
            Standing::Joining => 0,
            Standing::Member => 1,
            Standing::Leaving => 2,
            Standing::Diskless => 3,
            Standing::Left => 4,
            Standing::Forgotten => 5,
        }
    }
}

impl Ord for Standing {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Standing {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// One board's line in the roster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// SHA-256 of the public key.
    pub id: Id,
    /// Rises each time the board joins anew.
    pub generation: u32,
    /// Where it stands in this generation.
    pub standing: Standing,
}

/// Where a board was last known to be; the newest (boot, renewal) wins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Whose.
    pub id: Id,
    /// What people call it.
    pub name: Name,
    /// Durable count of its starts.
    pub boot: u64,
    /// Drawn at that start: sessions of datagrams hang on it.
    pub life: Life,
    /// In-memory count within a start: refutes a suspicion, marks a new address.
    pub renewal: u32,
    /// Its HTTP, HTTPU and frame address.
    pub endpoint: SocketAddr,
    /// Its software version.
    pub version: String,
}

/// A cluster's random id, drawn by its founder; text: 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub [u8; 16]);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// How the ring is computed; a cluster parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RingMode {
    /// Every board knows the whole roster; up to 1,024 boards.
    Full,
    /// Classical Chord: a board knows its neighbourhood and asks its way further.
    Partial,
}

impl RingMode {
    /// As it is written in configurations and shown to people.
    pub fn as_str(self) -> &'static str {
        match self {
            RingMode::Full => "full",
            RingMode::Partial => "partial",
        }
    }

    /// Reads what [`RingMode::as_str`] writes.
    pub fn from_word(word: &str) -> Option<Self> {
        [RingMode::Full, RingMode::Partial]
            .into_iter()
            .find(|mode| mode.as_str() == word)
    }

    /// Points a board has on the ring.
    pub fn points(self) -> u32 {
        match self {
            RingMode::Full => limit::POINTS_PER_BOARD,
            RingMode::Partial => 1,
        }
    }
}

/// What the founder settled for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Random, drawn at founding.
    pub id: ClusterId,
    /// Only boards of one name meet.
    pub name: Name,
    /// N: copies of an item.
    pub copies: u8,
    /// Points a board has on the ring.
    pub points: u32,
    /// How the ring is computed.
    pub mode: RingMode,
}

/// The identity of a running board, ordered: a newer start or renewal wins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incarnation {
    /// Whose.
    pub id: Id,
    /// Durable count of its starts.
    pub boot: u64,
    /// In-memory count within a start.
    pub renewal: u32,
}

/// Random for each start: two boards with one id and different lives are a cloned card.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Life(pub [u8; 16]);

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4]
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IN_ORDER: [Standing; 6] = [
        Standing::Joining,
        Standing::Member,
        Standing::Leaving,
        Standing::Diskless,
        Standing::Left,
        Standing::Forgotten,
    ];

    #[test]
    fn standings_move_up_in_one_order_and_hold_below_diskless() {
        assert!(IN_ORDER.is_sorted_by(|a, b| a < b));
        let holds = IN_ORDER.map(Standing::holds);
        assert_eq!(holds, [true, true, true, false, false, false]);
        let belongs = IN_ORDER.map(Standing::belongs);
        assert_eq!(belongs, [true, true, true, true, false, false]);
        assert!(IN_ORDER.iter().all(|it| !it.struck_off().belongs()));
    }

    #[test]
    fn standings_on_flash_keep_their_bytes() {
        let bytes = IN_ORDER.map(|standing| postcard::to_allocvec(&standing).unwrap());
        assert_eq!(bytes, [[0], [1], [2], [5], [3], [4]]);
        let read = |byte: u8| postcard::from_bytes::<Standing>(&[byte]).unwrap();
        assert_eq!(
            [0, 1, 2, 3, 4].map(read),
            [
                Standing::Joining,
                Standing::Member,
                Standing::Leaving,
                Standing::Left,
                Standing::Forgotten
            ],
            "rosters of before there were diskless boards"
        );
    }
}
