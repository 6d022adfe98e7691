//! What discovery tells the ring: a hint, believed by nobody until a signed hello confirms it.

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
    /// What it said.
    pub kind: HintKind,
}

/// Whether it came or said farewell (which is forgeable: the ring probes, it never evicts on it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HintKind {
    /// NOTIFY alive, update, or an answer to a search.
    Alive,
    /// NOTIFY byebye.
    ByeBye,
}
