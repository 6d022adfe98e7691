//! What boards that paired by themselves send each other for their common fingerprint
//! (`proto/fingerprint` says what is done with it).

use serde::{Deserialize, Serialize};

/// What a board adds to a fingerprint: random, and secret until every commitment is there.
pub type Mark = [u8; 16];

/// Payload of frame type 0x1d, a datagram between members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Digest of the ids of the members that the sender counts.
    pub set: [u8; 32],
    /// The name of their key.
    pub kid: [u8; 8],
    /// Counts the draws for this set and key, from 0.
    pub round: u32,
    /// To the sender's mark.
    pub commitment: [u8; 32],
    /// The mark, once it is revealed.
    pub mark: Option<Mark>,
    /// The hash over all marks, once they are there.
    pub outcome: Option<[u8; 32]>,
    /// The receiver is to answer with its own.
    pub want: bool,
}
