//! What can be told of a cluster's keys: names and figures, never a key.

use std::time::Duration;

use super::access::Access;
use super::endpoint::{Name, SocketAddr};
use super::id::Id;

/// A key, named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyName {
    /// 16 hex digits, which only this key has.
    pub kid: String,
    /// Counts the cluster's keys.
    pub epoch: u32,
}

/// A board that would come in and holds no key of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskingView {
    /// Its id.
    pub id: Id,
    /// What it calls itself.
    pub name: Name,
    /// Where it is.
    pub endpoint: SocketAddr,
    /// It last asked so long ago.
    pub ago: Duration,
}

/// A one-time code that a board made, but for the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeView {
    /// It is void after this.
    pub left: Duration,
    /// Attempts that are left; 0: it is used up.
    pub attempts: u8,
}

/// How a board stands with its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyView {
    /// How far the cluster keeps strangers out.
    pub access: Access,
    /// What is signed with.
    pub current: KeyName,
    /// What it replaced and is accepted still.
    pub previous: Option<KeyName>,
    /// What will replace it.
    pub next: Option<KeyName>,
    /// What is left of the pairing window.
    pub window: Duration,
    /// Boards of the ring, this one counted.
    pub members: usize,
    /// Boards that would come in.
    pub asking: Vec<AskingView>,
    /// The one-time code that this board made, while it is valid or known to be used up.
    pub code: Option<CodeView>,
    /// Boards that are not let in again.
    pub revoked: Vec<Id>,
    /// Boards that have not said yet that they hold the next key.
    pub waiting: Vec<Id>,
}
