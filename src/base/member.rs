//! Boards as the ring knows them: who belongs ([`Entry`]), how to reach it ([`Contact`]), and
//! the cluster both belong to.
//!
//! The rules by which two boards' knowledge is joined are `proto/roster`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::endpoint::{Name, SocketAddr};
use super::id::Id;
use super::limit;

/// How a board stands to the ring. The order is the order in which it may change within one
/// generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
}

impl Standing {
    /// It holds a place in the roster (present or absent).
    pub fn belongs(self) -> bool {
        self < Standing::Left
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
