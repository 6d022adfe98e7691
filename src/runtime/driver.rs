//! The driver: owns the board's sockets, clock and store, hands it what arrives and carries out
//! what it asks.
//!
//! One task runs the board. Streams to other boards have a task each (`runtime/stream.rs`); the
//! store has its threads (`runtime/store`). After every input the board's queues are drained; a
//! transmit that must follow a store is held until that store has returned, and dropped if it
//! failed. How late the loop wakes is told to the board, so that its own stalls are not taken for
//! the others' deaths.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::http::{self, FrameConnection, Gate, Place};
use super::keyring;
use super::store::{State, Store, StoreReply};
use super::stream::{self, StreamEvent};
use super::udp::Udp;
use crate::base::access::Access;
use crate::base::call::{Call, CallError, CallId, Event, Reply};
use crate::base::endpoint::SocketAddr;
use crate::base::hint::Hint;
use crate::base::limit;
use crate::base::owner::Credential;
use crate::base::store::StoreId;
use crate::base::time::{Now, Time, WallTime};
use crate::proto::board::{Board, LinkCommand, LinkEvent, LinkId, Route, Transmit};
use crate::service::caller::Keys;
use crate::telemetry::operation::{self, Operation};

/// Inputs taken in one go before the queues are drained.
const INPUTS_PER_TURN: usize = 64;
/// Calls that wait for the driver's loop.
const CALLS_WAITING_MAX: usize = limit::OPERATIONS_MAX;

/// A way to put calls to the board; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    calls: mpsc::Sender<(Call, oneshot::Sender<Result<Reply, CallError>>)>,
    orders: mpsc::UnboundedSender<Order>,
    hints: mpsc::Sender<Hint>,
    changes: watch::Receiver<()>,
    keys: watch::Receiver<Arc<Keys>>,
}

/// The cluster's keys as this board holds them.
fn keys_of(board: &Board) -> Arc<Keys> {
    let keys = board.keys();
    let access = match (keys.is_open(), keys.is_confirmed()) {
        (true, _) => Access::Open,
        (false, true) => Access::Keyed,
        (false, false) => Access::Provisional,
    };
    let keyring = (!keys.is_open()).then(|| keys.callers());
    Arc::new(Keys { access, keyring })
}

/// What else the driver can be told.
enum Order {
    Endpoint(SocketAddr),
    Owner(Credential),
    Relayed(u64, Option<Bytes>),
    Stop(Duration),
}

/// What the driver tells the node.
#[derive(Debug)]
pub enum Report {
    /// Something happened to the board.
    Event(Event),
    /// The store is open, or why it is not.
    Store(Result<(), super::store::OpenError>),
    /// A JSON-RPC request for this board's service; answer with [`Handle::relayed`].
    Relayed {
        /// To be returned with the answer.
        token: u64,
        /// The request.
        request: Bytes,
    },
    /// A datagram that is an HTTP message.
    Httpu {
        /// Where it came from.
        from: SocketAddr,
        /// The message.
        datagram: HttpuDatagram,
    },
}

/// An HTTP message that came as a datagram.
#[derive(Debug)]
pub struct HttpuDatagram {
    /// It.
    pub bytes: Bytes,
    /// The gate let its source pass; it names a key otherwise.
    pub admitted: bool,
    /// What it holds of the memory for such messages, until it is answered.
    pub share: OwnedSemaphorePermit,
}

impl Handle {
    /// Puts a call to the board and waits for its reply.
    ///
    /// # Errors
    /// The board's [`CallError`]; unavailable when the driver has ended.
    pub fn call(
        &self,
        call: Call,
    ) -> impl Future<Output = Result<Reply, CallError>> + Send + use<> {
        let calls = self.calls.clone();
        async move {
            let (answer, reply) = oneshot::channel();
            let gone = || CallError::unavailable("the board is stopping");
            calls.send((call, answer)).await.map_err(|_| gone())?;
            reply.await.map_err(|_| gone())?
        }
    }

    /// Changes each time something happened that an overview may show: boards came or went, or
    /// something was stored. Costs nothing while nobody waits for it.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.clone()
    }

    /// The cluster's keys, and each change of them.
    pub fn keys(&self) -> watch::Receiver<Arc<Keys>> {
        self.keys.clone()
    }

    /// Discovery heard something. It is lost when many wait already: it will be heard again.
    pub fn hint(&self, hint: Hint) {
        let _ = self.hints.try_send(hint);
    }

    /// The board is reached at another address from here on.
    pub fn set_endpoint(&self, endpoint: SocketAddr) {
        let _ = self.orders.send(Order::Endpoint(endpoint));
    }

    /// The owner's credential that this board keeps.
    pub fn set_owner(&self, credential: Credential) {
        let _ = self.orders.send(Order::Owner(credential));
    }

    /// The service answered a relayed request.
    pub fn relayed(&self, token: u64, answer: Option<Bytes>) {
        let _ = self.orders.send(Order::Relayed(token, answer));
    }

    /// Leaves in order within `time_max`; [`Event::Departed`] says when that is done.
    pub fn stop(&self, time_max: Duration) {
        let _ = self.orders.send(Order::Stop(time_max));
    }
}

/// The clocks of this process.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Counts from here.
    pub fn start() -> Self {
        Clock {
            start: Instant::now(),
        }
    }

    /// Both clocks.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            time: Time(self.start.elapsed().as_micros() as u64),
            wall: WallTime(wall.as_millis() as u64),
        }
    }

    fn instant(&self, time: Time) -> Instant {
        self.start + Duration::from_micros(time.0)
    }
}

/// The driver of one board.
pub struct Driver {
    board: Board,
    clock: Clock,
    store: Store,
    udp: Arc<Udp>,
    calls: mpsc::Receiver<(Call, oneshot::Sender<Result<Reply, CallError>>)>,
    orders: mpsc::UnboundedReceiver<Order>,
    store_replies: mpsc::UnboundedReceiver<StoreReply>,
    hints: mpsc::Receiver<Hint>,
    accepted: mpsc::Receiver<FrameConnection>,
    streams: mpsc::Receiver<(LinkId, StreamEvent)>,
    stream_events: stream::Events,
    reports: mpsc::UnboundedSender<Report>,
    changed: watch::Sender<()>,
    keys: watch::Sender<Arc<Keys>>,
    keyrings: mpsc::UnboundedSender<Zeroizing<String>>,
    keyrings_written: mpsc::UnboundedReceiver<Result<(), String>>,
    writers: BTreeMap<LinkId, stream::Writer>,
    /// Places of streams whose other end has not proved who it is.
    unproved: BTreeMap<LinkId, Place>,
    gate: Arc<Mutex<Gate>>,
    /// KiB of HTTP messages in datagrams that may still be held.
    httpu: Arc<Semaphore>,
    next_incoming: u64,
    next_call: u64,
    waiting: BTreeMap<CallId, Waiting>,
    storing: BTreeSet<StoreId>,
    held: BTreeMap<StoreId, Vec<Transmit>>,
}

/// A call whose reply has not come.
struct Waiting {
    answer: oneshot::Sender<Result<Reply, CallError>>,
    /// An operation of the bucket, and since when it runs.
    operation: Option<(Operation, Instant)>,
}

impl Waiting {
    fn new(call: &Call, answer: oneshot::Sender<Result<Reply, CallError>>) -> Self {
        let operation = match call {
            Call::Put { .. } => Some(Operation::Put),
            Call::Get { .. } => Some(Operation::Get),
            Call::Remove { .. } => Some(Operation::Remove),
            _ => None,
        };
        Waiting {
            answer,
            operation: operation.map(|operation| (operation, Instant::now())),
        }
    }

    fn end(self, result: Result<Reply, CallError>) {
        if let Some((operation, since)) = self.operation {
            operation::count(operation, result.is_ok(), since.elapsed());
        }
        // A client that is gone needs no answer.
        let _ = self.answer.send(result);
    }
}

/// What a driver is made of.
pub struct Parts {
    /// The board, not yet opened.
    pub board: Board,
    /// The clock its `new` was given.
    pub clock: Clock,
    /// The store, opening.
    pub store: Store,
    /// Its replies.
    pub store_replies: mpsc::UnboundedReceiver<StoreReply>,
    /// The node's datagram sockets.
    pub udp: Arc<Udp>,
    /// Streams of other boards, as the HTTP listener hands them over.
    pub accepted: mpsc::Receiver<FrameConnection>,
    /// Whose HTTP messages in datagrams are read.
    pub gate: Arc<Mutex<Gate>>,
    /// Where reports go.
    pub reports: mpsc::UnboundedSender<Report>,
    /// Where the keyring is kept.
    pub keyring: PathBuf,
}

impl Driver {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> (Driver, Handle) {
        let (calls_in, calls) = mpsc::channel(CALLS_WAITING_MAX);
        let (orders_in, orders) = mpsc::unbounded_channel();
        let (hints_in, hints) = mpsc::channel(limit::HINTS_WAITING_MAX);
        let (stream_events, streams) = mpsc::channel(limit::STREAM_EVENTS_MAX);
        let (changed, changes) = watch::channel(());
        let (keys_in, keys) = watch::channel(keys_of(&parts.board));
        let (keyrings, keyrings_written) = keyring::writer(parts.keyring);
        let driver = Driver {
            board: parts.board,
            clock: parts.clock,
            store: parts.store,
            udp: parts.udp,
            calls,
            orders,
            store_replies: parts.store_replies,
            hints,
            accepted: parts.accepted,
            streams,
            stream_events,
            reports: parts.reports,
            changed,
            keys: keys_in,
            keyrings,
            keyrings_written,
            writers: BTreeMap::new(),
            unproved: BTreeMap::new(),
            gate: parts.gate,
            httpu: Arc::new(Semaphore::new(limit::HTTPU_BYTES_MAX / 1_024)),
            next_incoming: 0,
            next_call: 0,
            waiting: BTreeMap::new(),
            storing: BTreeSet::new(),
            held: BTreeMap::new(),
        };
        (
            driver,
            Handle {
                calls: calls_in,
                orders: orders_in,
                hints: hints_in,
                changes,
                keys,
            },
        )
    }

    /// Runs until every handle is gone; then the store is closed.
    pub async fn run(mut self) {
        let mut packet = vec![0; limit::DATAGRAM_RECEIVE_BYTES_MAX];
        loop {
            let due = self.board.poll_timeout();
            let sleep = async {
                match due {
                    Some(due) => tokio::time::sleep_until(self.clock.instant(due)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                reply = self.store_replies.recv() => match reply {
                    Some(reply) => self.store_replied(reply),
                    None => break,
                },
                Some((link, event)) = self.streams.recv() => self.stream_event(link, event),
                received = self.udp.receive(&mut packet) => {
                    if let Ok((length, from)) = received {
                        self.datagram(&packet[..length], from);
                    }
                }
                order = self.orders.recv() => match order {
                    Some(order) => self.order(order),
                    None => break,
                },
                Some((call, answer)) = self.calls.recv() => self.take_call(call, answer),
                Some(result) = self.keyrings_written.recv() => {
                    self.board.handle_keyring(self.clock.now(), result);
                }
                Some(hint) = self.hints.recv() => {
                    self.board.handle_hint(self.clock.now(), &hint);
                }
                Some(connection) = self.accepted.recv() => self.accept(connection),
                () = sleep => {}
            }
            self.take_more(&mut packet);
            self.tick(due);
            self.carry_out();
        }
        let store = self.store;
        let _ = tokio::task::spawn_blocking(move || store.close()).await;
    }

    /// Takes what is there already, so that the queues are drained once for many inputs.
    fn take_more(&mut self, packet: &mut [u8]) {
        for _ in 0..INPUTS_PER_TURN {
            let mut idle = true;
            if let Ok(reply) = self.store_replies.try_recv() {
                self.store_replied(reply);
                idle = false;
            }
            if let Ok((link, event)) = self.streams.try_recv() {
                self.stream_event(link, event);
                idle = false;
            }
            if let Ok((call, answer)) = self.calls.try_recv() {
                self.take_call(call, answer);
                idle = false;
            }
            if let Some((length, from)) = self.udp.try_receive(packet) {
                self.datagram(&packet[..length], from);
                idle = false;
            }
            if idle {
                return;
            }
        }
    }

    fn tick(&mut self, due: Option<Time>) {
        let now = self.clock.now();
        if let Some(due) = due.filter(|due| *due <= now.time) {
            self.board.handle_lag(now, now.time.since(due));
            self.board.handle_timeout(now);
        }
    }

    fn store_replied(&mut self, reply: StoreReply) {
        let now = self.clock.now();
        match reply {
            StoreReply::Opened(Ok(opened)) => {
                self.board
                    .handle_opened(now, opened.metas, opened.high_water);
                let _ = self.reports.send(Report::Store(Ok(())));
            }
            StoreReply::Opened(Err(error)) => {
                self.board.handle_open_failed(error.to_string());
                let _ = self.reports.send(Report::Store(Err(error)));
            }
            StoreReply::Loaded(id, result) => self.board.handle_loaded(now, id, result),
            StoreReply::Stored(id, result) => {
                self.storing.remove(&id);
                let held = self.held.remove(&id).unwrap_or_default();
                if result.is_ok() {
                    for transmit in held {
                        self.transmit(transmit);
                    }
                }
                self.board.handle_stored(now, id, result);
                self.changed.send_replace(());
            }
        }
    }

    fn datagram(&mut self, bytes: &[u8], from: SocketAddr) {
        match bytes.first() {
            Some(byte) if byte.is_ascii_alphabetic() => self.httpu(bytes, from),
            Some(_) => self.board.handle_datagram(self.clock.now(), bytes),
            None => {}
        }
    }

    /// Reports a message that is to be read, as far as there is room.
    fn httpu(&mut self, bytes: &[u8], from: SocketAddr) {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let admitted = gate.admit(Instant::now(), from.ip());
        drop(gate);
        if !admitted && !http::names_a_key(bytes) {
            return;
        }
        let kib = bytes.len().div_ceil(1_024) as u32;
        if let Ok(share) = self.httpu.clone().try_acquire_many_owned(kib) {
            let datagram = HttpuDatagram {
                bytes: Bytes::copy_from_slice(bytes),
                admitted,
                share,
            };
            let _ = self.reports.send(Report::Httpu { from, datagram });
        }
    }

    fn order(&mut self, order: Order) {
        let now = self.clock.now();
        match order {
            Order::Endpoint(endpoint) => self.board.handle_endpoint(now, endpoint),
            Order::Owner(credential) => self.board.handle_owner(now, credential),
            Order::Relayed(token, answer) => self.board.handle_relayed(now, token, answer),
            Order::Stop(time_max) => self.board.handle_stop(now, time_max),
        }
    }

    fn take_call(&mut self, call: Call, answer: oneshot::Sender<Result<Reply, CallError>>) {
        self.next_call += 1;
        let id = CallId(self.next_call);
        self.waiting.insert(id, Waiting::new(&call, answer));
        self.board.handle_call(self.clock.now(), id, call);
    }

    fn accept(&mut self, connection: FrameConnection) {
        self.next_incoming += 1;
        let id = LinkId(LinkId::INCOMING | self.next_incoming);
        let writer = stream::run(id, connection.stream, self.stream_events.clone());
        self.writers.insert(id, writer);
        self.unproved.insert(id, connection.place);
        let remote = connection.from;
        self.board
            .handle_link(self.clock.now(), id, LinkEvent::Accepted { remote });
    }

    fn stream_event(&mut self, id: LinkId, event: StreamEvent) {
        let now = self.clock.now();
        let event = match event {
            StreamEvent::Opened(socket) => {
                if !self.writers.contains_key(&id) {
                    return;
                }
                self.writers
                    .insert(id, stream::run(id, socket, self.stream_events.clone()));
                self.unproved.insert(id, Place::exempt());
                LinkEvent::Opened
            }
            StreamEvent::Frame(frame) => LinkEvent::Frame(frame),
            StreamEvent::Closed => {
                self.writers.remove(&id);
                self.unproved.remove(&id);
                LinkEvent::Closed
            }
        };
        self.board.handle_link(now, id, event);
        if self.unproved.contains_key(&id) && self.board.is_proved(id) {
            self.unproved.remove(&id);
            if let Some(writer) = self.writers.get(&id) {
                writer.trust();
            }
        }
    }

    /// Carries out everything the board has asked for.
    fn carry_out(&mut self) {
        loop {
            let mut idle = true;
            while let Some((id, batch)) = self.board.poll_store() {
                self.storing.insert(id);
                self.store.commit(id, batch);
                idle = false;
            }
            while let Some((id, load)) = self.board.poll_load() {
                self.store.load(id, load);
                idle = false;
            }
            while let Some(command) = self.board.poll_link() {
                self.link(command);
                idle = false;
            }
            while let Some(transmit) = self.board.poll_transmit() {
                match transmit.after.filter(|id| self.storing.contains(id)) {
                    Some(id) => self.held.entry(id).or_default().push(transmit),
                    None => self.transmit(transmit),
                }
                idle = false;
            }
            while let Some(kept) = self.board.poll_keyring() {
                // A writer that is gone has been told everything before.
                let _ = self.keyrings.send(kept.to_text());
                self.keys.send_replace(keys_of(&self.board));
                idle = false;
            }
            while let Some(answer) = self.board.poll_reply() {
                let result = answer.result.map(|reply| self.complete(reply));
                if let Some(waiting) = self.waiting.remove(&answer.call) {
                    waiting.end(result);
                }
                idle = false;
            }
            while let Some(relayed) = self.board.poll_relayed() {
                let report = Report::Relayed {
                    token: relayed.token,
                    request: relayed.request,
                };
                let _ = self.reports.send(report);
                idle = false;
            }
            while let Some(event) = self.board.poll_event() {
                self.changed.send_replace(());
                let _ = self.reports.send(Report::Event(event));
                idle = false;
            }
            if idle {
                return;
            }
        }
    }

    /// The board knows nothing of the medium's figures; they are filled in here.
    fn complete(&self, reply: Reply) -> Reply {
        let Reply::Overview(mut overview) = reply else {
            return reply;
        };
        let status = self.store.status();
        let health = &mut overview.health;
        health.items = status.items;
        health.tombstones = status.tombstones;
        health.tree_digest = self.store.tree_digest();
        // A board without a medium has said so; its store is open all the same.
        if health.store.is_empty() || status.state != State::Open {
            health.store = status.state.as_str().to_owned();
        }
        if !status.reason.is_empty() {
            let reason = &status.reason;
            health
                .problems
                .push(format!("The store is {}: {reason}", status.state.as_str()));
        }
        if status.corrupt > 0 {
            health.problems.push(format!(
                "{} records failed their check and are not served; a new write heals each.",
                status.corrupt
            ));
        }
        overview.counters.extend([
            ("store_disk_bytes", status.disk_bytes),
            ("store_free_bytes", status.free_bytes),
            ("store_commits", status.groups),
            ("store_batches", status.batches),
            ("store_reopened", status.reopened),
            ("store_corrupt", status.corrupt),
        ]);
        Reply::Overview(overview)
    }

    fn transmit(&mut self, transmit: Transmit) {
        let Some(bytes) = self.board.seal(&transmit) else {
            return;
        };
        match transmit.to {
            Route::Datagram(to, _) => self.udp.send(&bytes, to),
            Route::Link(id) => {
                let full = self.writers.get(&id).is_some_and(|w| !w.send(bytes));
                if full {
                    self.writers.remove(&id);
                    self.board
                        .handle_link(self.clock.now(), id, LinkEvent::Closed);
                }
            }
        }
    }

    fn link(&mut self, command: LinkCommand) {
        match command {
            LinkCommand::Open(id, to) => {
                self.writers
                    .insert(id, stream::open(id, to, self.stream_events.clone()));
            }
            LinkCommand::Close(id) => {
                self.writers.remove(&id);
                self.unproved.remove(&id);
            }
        }
    }
}
