//! The task behind a [`super::Discovery`]: brings datagrams, time and interface changes to the
//! machine and carries out what it asks.
//!
//! Knows no message; keeps a pair of sockets for each of the machine's links. Source: UDA 2.0 §1.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::search::{self, Found};
use super::socket::Pair;
use super::{Clock, Command, Notice, Settings, Shared, first_of, lock};
use crate::base::limit;
use crate::base::rng::Rng;
use crate::base::time::Time;
use crate::proto::ssdp::link::{Link, LinkKey, Links};
use crate::proto::ssdp::{FoundBoard, Via};
use crate::runtime::link::{self, Interface, InterfaceAddress, Monitor};
use crate::wire::description::RING_NODE;
use crate::wire::ssdp::{BootId, Target};

/// Interface messages come in bursts; the interfaces are read once for each burst.
const BURST_TIME: Duration = Duration::from_millis(10);
/// A link whose sockets could not be opened is tried again after this.
const RETRY_DELAY: Duration = Duration::from_secs(2);
/// How long the primary route is searched.
const PRIMARY_SEARCH_TIME: Duration = Duration::from_secs(3);
/// Datagrams taken before time and commands are looked at again.
const DATAGRAMS_AT_ONCE: usize = 64;

type NextBootId = Box<dyn FnMut() -> u32 + Send>;

/// The state of the task.
pub(super) struct Worker {
    settings: Settings,
    rng: Rng,
    shared: Arc<Mutex<Shared>>,
    clock: Clock,
    notices: mpsc::Sender<Notice>,
    /// Out only while it runs on another thread.
    next_bootid: Option<NextBootId>,
    monitor: Monitor,
    pairs: BTreeMap<LinkKey, Pair>,
    /// Carriers, by interface index.
    running: BTreeMap<u32, bool>,
    /// Addresses nobody has been told of yet.
    untold: Option<Vec<InterfaceAddress>>,
    resync_at: Instant,
    rejoin_at: Instant,
    primary: Primary,
    said_waiting: bool,
    buffer: Vec<u8>,
}

/// The active search on the primary route.
struct Primary {
    at: Option<Instant>,
    running: Option<JoinHandle<()>>,
    sender: mpsc::Sender<Found>,
    found: mpsc::Receiver<Found>,
}

/// What woke the task.
enum Woken {
    Command(Option<Command>),
    Datagrams(Vec<(LinkKey, Via, SocketAddr, Vec<u8>)>),
    Interfaces(io::Result<()>),
    Found(Box<Found>),
    Told,
    Time,
}

impl Worker {
    pub(super) fn new(
        settings: Settings,
        rng: Rng,
        shared: Arc<Mutex<Shared>>,
        clock: Clock,
        notices: mpsc::Sender<Notice>,
        next_bootid: NextBootId,
    ) -> io::Result<Self> {
        let (sender, found) = mpsc::channel(64);
        let now = Instant::now();
        Ok(Worker {
            settings,
            rng,
            shared,
            clock,
            notices,
            next_bootid: Some(next_bootid),
            monitor: Monitor::open()?,
            pairs: BTreeMap::new(),
            running: BTreeMap::new(),
            untold: None,
            resync_at: now + limit::SSDP_REJOIN_INTERVAL,
            rejoin_at: now + limit::SSDP_REJOIN_INTERVAL,
            primary: Primary {
                at: None,
                running: None,
                sender,
                found,
            },
            said_waiting: false,
            buffer: vec![0; limit::HEAD_BYTES_MAX],
        })
    }

    /// Opens what there is; nothing was announced before, so that no new BOOTID is needed.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        let interfaces = link::list()?;
        let links = self.open_links(&interfaces);
        self.take_links(&interfaces, links, None);
        self.flush();
        Ok(())
    }

    /// Runs until it is told to stop or its handle is dropped.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let mut stopped: Option<oneshot::Sender<()>> = None;
        loop {
            match self.wait(&mut inbox).await {
                Woken::Command(Some(Command::Search)) => self.search(),
                Woken::Command(Some(Command::Stop(done))) => {
                    stopped = Some(done);
                    break;
                }
                Woken::Command(None) => break,
                Woken::Datagrams(datagrams) => {
                    let now = self.clock.now();
                    let ssdp = &mut lock(&self.shared).ssdp;
                    for (key, via, from, bytes) in datagrams {
                        ssdp.handle_datagram(now, (key, via), from, &bytes);
                    }
                }
                Woken::Interfaces(result) => self.handle_interfaces(result),
                Woken::Found(found) => self.handle_found(*found),
                Woken::Told => self.untold = None,
                Woken::Time => self.handle_time().await,
            }
            self.flush();
        }
        lock(&self.shared).ssdp.handle_stop();
        self.flush();
        if let Some(search) = self.primary.running.take() {
            search.abort();
        }
        if let Some(done) = stopped {
            // The caller may have given up waiting.
            let _ = done.send(());
        }
    }

    async fn wait(&mut self, inbox: &mut mpsc::Receiver<Command>) -> Woken {
        let deadline = self.deadline();
        let Worker {
            pairs,
            monitor,
            primary,
            notices,
            untold,
            buffer,
            ..
        } = self;
        let tell = async {
            match untold {
                Some(addresses) => {
                    let notice = Notice::AddressesChanged(addresses.clone());
                    // Nobody is left to be told when the receiver is gone.
                    let _ = notices.send(notice).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            command = inbox.recv() => Woken::Command(command),
            datagrams = receive(pairs, buffer) => Woken::Datagrams(datagrams),
            result = monitor.changed() => Woken::Interfaces(result),
            found = primary.found.recv() => {
                Woken::Found(Box::new(found.expect("the task holds a sender itself")))
            }
            () = tell => Woken::Told,
            () = tokio::time::sleep_until(deadline) => Woken::Time,
        }
    }

    fn deadline(&self) -> Instant {
        let machine = lock(&self.shared).ssdp.poll_timeout();
        let machine = machine.map(|time| self.clock.instant(time));
        let fixed = self.resync_at.min(self.rejoin_at);
        [machine, self.primary.at]
            .into_iter()
            .flatten()
            .fold(fixed, Instant::min)
    }

    fn handle_interfaces(&mut self, result: io::Result<()>) {
        let now = Instant::now();
        let delay = match result {
            Ok(()) => BURST_TIME,
            Err(error) => {
                tracing::debug!(%error, "netlink failed; it is opened again");
                match Monitor::open() {
                    Ok(monitor) => self.monitor = monitor,
                    Err(error) => tracing::warn!(%error, "netlink cannot be opened"),
                }
                RETRY_DELAY
            }
        };
        self.resync_at = self.resync_at.min(now + delay);
    }

    async fn handle_time(&mut self) {
        let now = Instant::now();
        if self.resync_at <= now {
            self.resync().await;
        }
        if self.rejoin_at <= now {
            self.rejoin_at = now + limit::SSDP_REJOIN_INTERVAL;
            self.pairs.values().for_each(Pair::rejoin);
        }
        if self.primary.at.is_some_and(|at| at <= now) {
            self.search_primary();
        }
        lock(&self.shared).ssdp.handle_timeout(self.clock.now());
    }

    /// Looks at the interfaces again and takes over what changed.
    async fn resync(&mut self) {
        self.resync_at = Instant::now() + limit::SSDP_REJOIN_INTERVAL;
        let interfaces = match link::list() {
            Ok(interfaces) => interfaces,
            Err(error) => {
                tracing::warn!(%error, "the interfaces cannot be read");
                self.resync_at = Instant::now() + RETRY_DELAY;
                return;
            }
        };
        self.drop_links(&interfaces);
        let links = self.open_links(&interfaces);
        let needs_boot_id = lock(&self.shared).ssdp.needs_boot_id(&links);
        let boot_id = match needs_boot_id {
            true => Some(self.draw_boot_id().await),
            false => None,
        };
        self.take_links(&interfaces, links, boot_id);
        self.handle_carriers(&interfaces);
    }

    /// Draws the next BOOTID off the event loop, since it waits for the flash.
    async fn draw_boot_id(&mut self) -> BootId {
        let mut draw = self.next_bootid.take().expect("it is put back below");
        let drawn = tokio::task::spawn_blocking(move || (draw(), draw)).await;
        let (next, draw) = drawn.expect("drawing a BOOTID does not panic");
        self.next_bootid = Some(draw);
        BootId::new(next)
    }

    /// The links the interfaces make, before any socket.
    fn wanted(&self, interfaces: &[Interface]) -> BTreeMap<LinkKey, Link> {
        let shared = lock(&self.shared);
        let current = |key: &LinkKey| shared.ssdp.links().get(key).map(|link| link.address);
        let by_crate = self.settings.search && self.settings.interfaces.is_empty();
        let primary = by_crate.then(search::primary_address).flatten();
        let mut wanted = BTreeMap::new();
        for interface in interfaces {
            if !interface.is_chosen(&self.settings.interfaces) {
                continue;
            }
            for (key, address) in interface.links(self.settings.ipv6, current) {
                let on_primary = |prefix: &crate::proto::ssdp::link::Prefix| {
                    address.is_ipv4() && Some(prefix.address) == primary
                };
                let link = Link {
                    address,
                    search_port: self.pairs.get(&key).and_then(|pair| pair.search_port),
                    prefixes: interface.addresses.clone(),
                    searches: self.settings.search && !interface.addresses.iter().any(on_primary),
                };
                wanted.insert(key, link);
            }
        }
        while wanted.len() > limit::SSDP_LINKS_MAX {
            wanted.pop_last();
        }
        wanted
    }

    /// Says farewell where an address went or changed, by the sockets that had it.
    fn drop_links(&mut self, interfaces: &[Interface]) {
        let wanted = self.wanted(interfaces);
        let mut kept = lock(&self.shared).ssdp.links().clone();
        kept.retain(|key, link| {
            let same = |wanted: &Link| wanted.address == link.address;
            wanted.get(key).is_some_and(same)
        });
        let now = self.clock.now();
        lock(&self.shared)
            .ssdp
            .handle_links(now, kept.clone(), None);
        self.flush();
        self.pairs.retain(|key, _| kept.contains_key(key));
    }

    /// Opens the sockets that are missing; the links whose sockets are open come out.
    fn open_links(&mut self, interfaces: &[Interface]) -> Links {
        let mut links = self.wanted(interfaces);
        let listens = self.settings.listen;
        links.retain(|key, link| {
            if self.pairs.contains_key(key) {
                return true;
            }
            match Pair::open(*key, link.address, listens, &mut self.rng) {
                Ok(pair) => {
                    link.search_port = pair.search_port;
                    self.pairs.insert(*key, pair);
                    true
                }
                Err(error) => {
                    tracing::debug!(%error, address = %link.address, "no socket; tried again");
                    self.resync_at = self.resync_at.min(Instant::now() + RETRY_DELAY);
                    false
                }
            }
        });
        for interface in interfaces {
            self.running
                .entry(interface.index)
                .or_insert(interface.running);
        }
        links
    }

    /// Hands the links to the machine and the addresses to whoever listens.
    fn take_links(&mut self, interfaces: &[Interface], links: Links, boot_id: Option<BootId>) {
        let name = |index| {
            let found = interfaces.iter().find(|interface| interface.index == index);
            found.map(|interface| interface.name.clone())
        };
        let addresses: Vec<_> = links
            .iter()
            .map(|(key, link)| InterfaceAddress {
                index: key.index,
                name: name(key.index).unwrap_or_default(),
                address: link.address,
            })
            .collect();
        let mut shared = lock(&self.shared);
        let before = shared.ssdp.links().len();
        shared.ssdp.handle_links(self.clock.now(), links, boot_id);
        let changed = shared.addresses != addresses;
        shared.addresses.clone_from(&addresses);
        drop(shared);
        if addresses.is_empty() && !self.said_waiting {
            let named = self.settings.interfaces.join(", ");
            tracing::info!(interfaces = named, "waiting for a network interface");
        }
        self.said_waiting = addresses.is_empty();
        if !changed {
            return;
        }
        for address in &addresses {
            tracing::info!(interface = address.name, address = %address.address, "discovery runs");
        }
        if addresses.len() > before || boot_id.is_some() {
            self.search_primary();
        }
        self.untold = Some(addresses);
    }

    /// Announces anew where a carrier came back.
    fn handle_carriers(&mut self, interfaces: &[Interface]) {
        let now = self.clock.now();
        let mut running = BTreeMap::new();
        for interface in interfaces {
            let before = self.running.get(&interface.index).copied();
            running.insert(interface.index, interface.running);
            if before != Some(false) || !interface.running {
                continue;
            }
            for (key, pair) in &self.pairs {
                if key.index == interface.index {
                    pair.rejoin();
                    lock(&self.shared).ssdp.handle_rejoin(now, *key);
                }
            }
        }
        self.running = running;
    }

    fn search(&mut self) {
        lock(&self.shared).ssdp.handle_search(self.clock.now());
        self.search_primary();
    }

    /// Searches by the `ssdp-client` crate, when no interface is named and there is a route.
    fn search_primary(&mut self) {
        if !self.settings.search || !self.settings.interfaces.is_empty() {
            return;
        }
        let interval = lock(&self.shared).ssdp.search_interval();
        self.primary.at = Some(Instant::now() + interval);
        let busy = self.primary.running.as_ref();
        if busy.is_some_and(|task| !task.is_finished()) || search::primary_address().is_none() {
            return;
        }
        let sender = self.primary.sender.clone();
        self.primary.running = Some(tokio::spawn(async move {
            let target = Target::urn(RING_NODE);
            let mut take = |found| {
                // When the task cannot keep up, the answer is one of many.
                let _ = sender.try_send(found);
            };
            search::search_primary(&target, PRIMARY_SEARCH_TIME, &mut take).await;
        }));
    }

    fn handle_found(&mut self, found: Found) {
        let (Some(node), Some(cluster)) = (found.node, found.cluster) else {
            return;
        };
        let board = FoundBoard {
            node,
            cluster,
            boot: found.boot,
            hint: found.hint,
            location: found.location,
            usn: found.usn,
        };
        let now: Time = self.clock.now();
        lock(&self.shared).ssdp.handle_found(now, board);
    }

    /// Sends what the machine has to send and hands on its hints.
    fn flush(&mut self) {
        let mut shared = lock(&self.shared);
        while let Some(transmit) = shared.ssdp.poll_transmit() {
            let Some(pair) = self.pairs.get(&transmit.key) else {
                continue;
            };
            if let Err(error) = pair.send(&transmit.bytes, transmit.to) {
                tracing::debug!(%error, to = %transmit.to, "a datagram could not be sent");
            }
        }
        while let Some(hint) = shared.ssdp.poll_event() {
            if self.notices.try_send(Notice::Hint(hint)).is_err() {
                tracing::debug!("nobody took a hint");
            }
        }
    }
}

/// Waits for datagrams on any link and takes those that are there.
async fn receive(
    pairs: &BTreeMap<LinkKey, Pair>,
    buffer: &mut [u8],
) -> Vec<(LinkKey, Via, SocketAddr, Vec<u8>)> {
    first_of(|cx| {
        let mut datagrams = Vec::new();
        for (key, pair) in pairs {
            // Each link has its share, so that a flood on one does not silence the others.
            for _ in 0..DATAGRAMS_AT_ONCE.div_ceil(pairs.len()) {
                let Poll::Ready((via, bytes, from)) = pair.poll_receive(cx, buffer) else {
                    break;
                };
                datagrams.push((*key, via, from, buffer[..bytes].to_vec()));
            }
        }
        if datagrams.is_empty() {
            Poll::Pending
        } else {
            Poll::Ready(datagrams)
        }
    })
    .await
}
