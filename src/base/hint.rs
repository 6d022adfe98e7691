//! What discovery tells the ring: a hint, believed by nobody until a signed hello confirms it.

use std::fmt;
use std::str::FromStr;

use super::endpoint::{Name, SocketAddr};
use super::id::Id;

/// Something of our kind was heard on the LAN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// The HTTP address its LOCATION names; always the datagram's own source address.
    pub endpoint: SocketAddr,
    /// `CLUSTER.ROUNDEL.ORG`.
    pub cluster: Name,
    /// `NODE.ROUNDEL.ORG`.
    pub node: Id,
    /// `BOOT.ROUNDEL.ORG`, when given.
    pub boot: Option<u64>,
    /// `HINT.ROUNDEL.ORG`, when given: who may be passed over early, and nothing more.
    pub mac: Option<HintMac>,
    /// What it said.
    pub kind: HintKind,
}

/// What a board says of its key in an announcement: a MAC over its id and cluster, cut to half.
/// It can be repeated by anybody who heard it. Text: 32 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HintMac(pub [u8; 16]);

impl fmt::Display for HintMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Text is no [`HintMac`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 32 hex digits")]
pub struct HintMacError;

impl FromStr for HintMac {
    type Err = HintMacError;

    fn from_str(text: &str) -> Result<Self, HintMacError> {
        let digits = text.as_bytes();
        if digits.len() != 32 {
            return Err(HintMacError);
        }
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16).ok_or(HintMacError);
            *byte = (digit(0)? * 16 + digit(1)?) as u8;
        }
        Ok(HintMac(bytes))
    }
}

/// Whether it came or said farewell (which is forgeable: the ring probes, it never evicts on it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HintKind {
    /// NOTIFY alive, update, or an answer to a search.
    Alive,
    /// NOTIFY byebye.
    ByeBye,
}
