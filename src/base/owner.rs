//! The owner's credential as it is kept and passed between boards: a hash, and which of two is
//! newer.

use serde::{Deserialize, Serialize};

use super::limit;

/// What the owner's password is checked against. The hash is a secret all the same: whoever has it
/// can try passwords at leisure.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Credential {
    /// Rises with each change of the password; equal versions are told apart by the text.
    pub version: u64,
    /// The password's hash with its parameters and salt, as a PHC string.
    pub phc: String,
}

impl Credential {
    /// No longer than any hash is.
    pub fn is_bounded(&self) -> bool {
        self.phc.len() <= limit::OWNER_HASH_BYTES_MAX
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
