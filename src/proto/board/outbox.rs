//! What a board wants done: the queues behind its `poll_*` methods.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::base::call::{CallError, CallId, Event, Reply};
use crate::base::endpoint::SocketAddr;
use crate::base::id::Id;
use crate::base::store::{Batch, Load, LoadId, StoreId};

/// Names one stream to another board; drawn by the board for outgoing ones, by the driver (with
/// the top bit set) for incoming ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

impl LinkId {
    /// Set in the ids of streams the other side opened.
    pub const INCOMING: u64 = 1 << 63;
}

/// Where bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// One datagram from the node's port, for this board.
    Datagram(SocketAddr, Id),
    /// A stream that is open.
    Link(LinkId),
}

/// Bytes to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: Route,
    /// One frame; [`super::Board::seal`] authenticates it when it goes.
    pub bytes: Bytes,
    /// Held back until this store has returned (dropped if it failed).
    pub after: Option<StoreId>,
}

/// What to do with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkCommand {
    /// Connect; answered by opened or closed.
    Open(LinkId, SocketAddr),
    /// Close it after what was sent; no answer.
    Close(LinkId),
}

/// A reply to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whose.
    pub call: CallId,
    /// What.
    pub result: Result<Reply, CallError>,
}

/// A JSON-RPC request another board relayed to this one's service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayedRequest {
    /// To be returned with the answer.
    pub token: u64,
    /// The request.
    pub request: Bytes,
}

/// The queues.
#[derive(Debug, Default)]
pub struct Outbox {
    pub(super) loads: VecDeque<(LoadId, Load)>,
    pub(super) stores: VecDeque<(StoreId, Batch)>,
    pub(super) transmits: VecDeque<Transmit>,
    pub(super) links: VecDeque<LinkCommand>,
    pub(super) answers: VecDeque<Answer>,
    pub(super) events: VecDeque<Event>,
    pub(super) relayed: VecDeque<RelayedRequest>,
    next: u64,
}

impl Outbox {
    /// A number not used before.
    pub(super) fn draw(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn load(&mut self, load: Load) -> LoadId {
        let id = LoadId(self.draw());
        self.loads.push_back((id, load));
        id
    }

    pub(super) fn store(&mut self, batch: Batch) -> StoreId {
        let id = StoreId(self.draw());
        self.stores.push_back((id, batch));
        id
    }

    pub(super) fn answer(&mut self, call: CallId, result: Result<Reply, CallError>) {
        self.answers.push_back(Answer { call, result });
    }
}
