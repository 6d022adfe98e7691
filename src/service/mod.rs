//! L3: requests to calls on the board, and back.
//!
//! A [`Service`] answers everything a client can ask over HTTP and HTTPU: JSON-RPC at `/rpc`, the
//! seed's form at `/chord`, health, metrics, and what UPnP asks (descriptions, SOAP, GENA). It owns
//! no socket, file or clock: a request is a value ([`exchange::Request`]), so is the answer with
//! what the runtime must do for it (wait, post a reply elsewhere), and everything about the ring is
//! asked of a [`Board`]. Who asks is found out once, before anything is dispatched ([`caller`]).
//!
//! `failure` errors to codes · `method/` the table · `rpc` one document · `destination` other
//! boards · `caller` who asks · `retry` what runs once · `chord` the seed's form · `device/` what
//! UPnP shows · `control` SOAP · `subscribe`
//! GENA · `guard` what is refused before it is read · `route` paths · `health` probes and metrics ·
//! `owner` the page's owner · `update` the image's updates · `journal` what happened lately ·
//! `web/` the page and its feed.

pub mod address;
pub mod caller;
mod chord;
pub mod control;
mod destination;
pub mod device;
pub mod exchange;
mod failure;
mod guard;
mod health;
pub mod journal;
pub mod method;
pub mod owner;
mod retry;
mod route;
mod rpc;
mod subscribe;
pub mod update;
pub mod web;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;

pub use failure::Failure;

use crate::base::call::{Call, CallError, Overview, Reply};
use crate::base::endpoint::{Name, SocketAddr};
use crate::base::id::Id;
use crate::base::place::Place;
use crate::base::problem::Problem;
use crate::base::rng::{Rng, seeded};
use crate::proto::clock::lamport::Lamport;
use crate::proto::gena::{Ask, Granted, Refused};
use crate::wire::ssdp::ConfigId;

use crate::proto::admission::Admission;
use caller::Entrance;
use journal::Journal;
use method::Table;
use web::feed::Feed;

/// What the service needs of a board: the driver's handle implements it, and so do tests.
pub trait Board: Clone + Send + Sync + 'static {
    /// Has the board carry out a call; every call ends within the limits of `base/limit.rs`.
    fn call(&self, call: Call) -> impl Future<Output = Result<Reply, CallError>> + Send;

    /// Waits; bounds the wait for other boards.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send;
}

/// What a board's own description is made of, by the local address it was asked at.
pub type DescriptionSource = Arc<dyn Fn(SocketAddr) -> Bytes + Send + Sync>;
/// The boards discovery hears of: cluster, id, address.
pub type DiscoverySource = Arc<dyn Fn() -> Vec<(Name, Id, SocketAddr)> + Send + Sync>;
/// Resident bytes of the process, when the system tells.
pub type MemorySource = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

/// Bytes the process has had written to storage since its start, when the system tells.
pub type WrittenSource = Arc<dyn Fn() -> Option<u64> + Send + Sync>;
/// The answer to a subscriber, when it is there.
pub type Granting = Pin<Box<dyn Future<Output = Result<Granted, Refused>> + Send>>;
/// Whoever keeps the subscriptions to events.
pub type Publisher = Arc<dyn Fn(Ask) -> Granting + Send + Sync>;

/// What does not change while the board runs, and where to read what others own.
#[derive(Clone)]
pub struct Facts {
    /// This board.
    pub id: Id,
    /// What people call it.
    pub name: Name,
    /// The software's version.
    pub version: String,
    /// Its HTTP address; for the `from` of the seed's form and the Host check.
    pub endpoint: SocketAddr,
    /// Its cluster's name.
    pub cluster_name: Name,
    /// Durable count of starts.
    pub boot: u64,
    /// The configuration, for get_node_config; holds no secret.
    pub config: Box<RawValue>,
    /// What was wrong at its start, and is until the next.
    pub problems: Arc<[Problem]>,
    /// Where its store lies; none: the system does not say.
    pub medium: Option<Place>,
    /// Host names a client may use besides our addresses, `localhost` and `*.local`.
    pub hosts: Vec<String>,
    /// `/description.xml`.
    pub description_xml: DescriptionSource,
    /// The configId of the descriptions.
    pub config_id: ConfigId,
    /// SERVER: OS/version UPnP/2.0 roundel/version.
    pub server: String,
    /// Where subscribers' requests go.
    pub publisher: Publisher,
    /// Who keeps the owner's credential.
    pub owner: Arc<dyn owner::Desk>,
    /// Who takes updates of the image.
    pub installer: Arc<dyn update::Installer>,
    /// For get_network_state.
    pub discovered: DiscoverySource,
    /// For get_node_stats.
    pub memory_bytes: MemorySource,
    /// For get_node_stats.
    pub written_bytes: WrittenSource,
    /// What happened lately.
    pub journal: Arc<Journal>,
    /// Who may come in.
    pub entrance: Entrance,
    /// Mean of the seed's reply delay, milliseconds; 0: none.
    pub reply_delay_mean_ms: u64,
    /// Of the reply delay and of the choice of a random board.
    pub seed: [u8; 32],
}

/// Answers requests for one board.
#[derive(Clone)]
pub struct Service<B> {
    board: B,
    shared: Arc<Shared>,
}

struct Shared {
    facts: Facts,
    table: Table,
    clock: Mutex<Lamport>,
    rng: Mutex<Rng>,
    feed: Feed,
    admission: Mutex<Admission>,
    retries: Mutex<retry::Retries>,
}

impl<B: Board> Service<B> {
    /// A service with the product's methods.
    pub fn new(board: B, facts: Facts) -> Self {
        Service::with_table(board, facts, Table::standard())
    }

    /// A service with these methods.
    pub fn with_table(board: B, facts: Facts, table: Table) -> Self {
        Service {
            board,
            shared: Arc::new(Shared {
                rng: Mutex::new(seeded(facts.seed, 0)),
                admission: Mutex::new(caller::admission(&facts)),
                retries: Mutex::default(),
                facts,
                table,
                clock: Mutex::default(),
                feed: Feed::default(),
            }),
        }
    }

    /// What the service was made with.
    pub fn facts(&self) -> &Facts {
        &self.shared.facts
    }

    /// The methods.
    pub fn table(&self) -> &Table {
        &self.shared.table
    }

    /// Waits by the board's clock.
    pub fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + '_ {
        self.board.sleep(duration)
    }

    async fn overview(&self) -> Result<Box<Overview>, Failure> {
        match self.board.call(Call::Overview).await? {
            Reply::Overview(overview) => Ok(overview),
            _ => Err(Failure::from(CallError::Internal(
                "the board answered no overview".into(),
            ))),
        }
    }

    /// The Lamport clock; a panic elsewhere leaves it as good as it was.
    fn clock(&self) -> MutexGuard<'_, Lamport> {
        self.shared
            .clock
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn rng(&self) -> MutexGuard<'_, Rng> {
        self.shared
            .rng
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
