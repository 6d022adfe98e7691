//! L5: the node composes a board from its configuration: data directory, identity, sockets, store,
//! driver, service and discovery; and it is the only place that knows them all.
//!
//! Start: the directory is locked (one in memory stands in where its medium cannot be written),
//! identity and counters are read, the port is bound, HTTP answers (`/healthz` says *starting*),
//! the store opens, discovery begins, and the `ready` line is printed. Steady state: reports of the
//! driver and notices of discovery are passed on. End: a termination signal is an orderly leave (or
//! a plain stop, if so configured); a second one stops at once.

pub mod access;
mod bind;
mod event;
mod failure;
mod registry;
mod signal;
mod start;
mod subject;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::base::access::Access;
use crate::base::call::{Call, CallError, Event, Reply};
use crate::base::endpoint::Name;
use crate::base::hint::HintMac;
use crate::base::id::Id;
use crate::base::member::Life;
use crate::base::owner::Credential;
use crate::base::place::Place;
use crate::base::rng::seeded;
use crate::config::{Config, spoken_name};
use crate::proto::board::{Board, Settings};
use crate::proto::keyring::{Origin, hint_mac};
use crate::runtime::allocator;
use crate::runtime::certificate::Issuer;
use crate::runtime::counters::{self, Counters};
use crate::runtime::datadir::DataDir;
use crate::runtime::discovery::{self, Discovery, Notice};
use crate::runtime::driver::{Clock, Driver, Handle, HttpuDatagram, Parts, Report};
use crate::runtime::gena;
use crate::runtime::http;
use crate::runtime::keyring;
use crate::runtime::link::{self, InterfaceAddress};
use crate::runtime::owner::Keeper;
use crate::runtime::privilege;
use crate::runtime::program;
use crate::runtime::store::{Options, Store};
use crate::runtime::tls::Terminator;
use crate::runtime::udp::Udp;
use crate::runtime::update::Images;
use crate::security::identity::{Identity, Signer};
use crate::service::caller::{Entrance, Keys};
use crate::service::owner::Desk;
use crate::service::update::Installer;
use crate::service::web::PRESENTATION_PATH;
use crate::service::{self, Facts, Publisher, Service, device};
use crate::telemetry;
use crate::wire::description::Description;

pub use failure::RunError;

use failure::system;
use signal::Signals;
use start::Start;

/// HTTPU requests answered at the same time; more are lost, as datagrams are.
const HTTPU_AT_ONCE: usize = 256;
/// Streams of other boards that wait for the driver.
const STREAMS_WAITING: usize = 64;
/// Notices of discovery that wait for the node.
const NOTICES_WAITING: usize = 1_024;
/// A board that finds no ring says that it is ready after this all the same.
const READY_TIME_MAX: Duration = Duration::from_secs(3);
/// A board that stops without leaving has this long to say farewell.
const FAREWELL_TIME: Duration = Duration::from_secs(2);

impl service::Board for Handle {
    fn call(&self, call: Call) -> impl Future<Output = Result<Reply, CallError>> + Send {
        Handle::call(self, call)
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(duration)
    }
}

/// Runs a board until it is told to stop.
///
/// # Errors
/// [`RunError`].
pub fn run(config: Config) -> Result<(), RunError> {
    allocator::give_back_large_blocks();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .build()
        .map_err(system("the event loop cannot be made"))?;
    let result = runtime.block_on(Node::start(config));
    // The store's threads have been joined; nothing else is worth waiting for.
    runtime.shutdown_background();
    result
}

fn random<const N: usize>() -> Result<[u8; N], RunError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| RunError::NoEntropy)?;
    Ok(bytes)
}

/// Who this board is, in this start.
struct Who {
    id: Id,
    name: Name,
    counters: Counters,
    seed: [u8; 32],
    endpoint: SocketAddr,
    description: Description,
}

impl Who {
    fn new(start: &Start, config: &Config, endpoint: SocketAddr, seed: [u8; 32]) -> Self {
        let id = start.identity.id();
        let name = config.name.clone().unwrap_or_else(|| spoken_name(&id));
        Who {
            id,
            description: device::describe(&id, &name),
            name,
            counters: start.counters,
            seed,
            endpoint,
        }
    }
}

/// The machine, before its store is open.
fn board(
    config: &Config,
    who: &Who,
    (identity, diskless, keys): (Identity, Option<String>, Origin),
) -> Result<(Board, Clock), RunError> {
    let clock = Clock::start();
    let settings = Settings {
        name: who.name.clone(),
        cluster_name: config.cluster.clone(),
        endpoint: who.endpoint,
        boot: who.counters.boot,
        life: Life(random::<16>()?),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        structure: registry::structure(config.structure),
        ring_mode: config.ring_mode,
        suspicion: registry::suspicion(config.detector),
        grace_time: config.grace_time,
        tombstone_age: config.tombstone_age,
        diskless,
        keys,
    };
    let rng = seeded(who.seed, 1);
    Ok((
        Board::new(settings, Box::new(identity), clock.now(), rng),
        clock,
    ))
}

/// Its driver, with the store opening.
fn drive(
    (board, clock): (Board, Clock),
    (store_path, options, keyring): (&Path, Options, PathBuf),
    udp: Arc<Udp>,
    (accepted, gate): (
        mpsc::Receiver<http::FrameConnection>,
        Arc<Mutex<http::Gate>>,
    ),
    reports: mpsc::UnboundedSender<Report>,
) -> (Driver, Handle) {
    let (store_in, store_replies) = mpsc::unbounded_channel();
    let store = Store::open(store_path, options, store_in);
    Driver::new(Parts {
        board,
        clock,
        store,
        store_replies,
        udp,
        accepted,
        gate,
        reports,
        keyring,
    })
}

/// Serves every listener until the sender that is returned is dropped.
fn serve_http(
    (listeners, tls): (Vec<TcpListener>, &Terminator),
    service: &Service<Handle>,
    members: &event::Members,
    frames: &mpsc::Sender<http::FrameConnection>,
    udp: &Arc<Udp>,
) -> watch::Sender<bool> {
    let (stop, stopped) = watch::channel(false);
    let (posts, posted) = mpsc::channel(STREAMS_WAITING);
    tokio::spawn(send_posts(posted, udp.clone()));
    let members = members.clone();
    let mut options = http::Options::new(move |address: IpAddr| members.has(&address));
    options.tls = Some(tls.clone());
    for listener in listeners {
        let options = options.clone();
        let (service, frames, posts) = (service.clone(), frames.clone(), Some(posts.clone()));
        tokio::spawn(http::serve(
            listener,
            service,
            frames,
            posts,
            options,
            stopped.clone(),
        ));
    }
    stop
}

/// What discovery hears, once it runs.
type Discovering = Arc<RwLock<Option<Arc<Discovery>>>>;

/// A running board.
struct Node {
    handle: Handle,
    config: Config,
    who: Who,
    clock: Clock,
    udp: Arc<Udp>,
    service: Service<Handle>,
    discovery: Discovering,
    owner: Arc<Keeper>,
    reports: mpsc::UnboundedReceiver<Report>,
    notices: mpsc::Receiver<Notice>,
    members: event::Members,
    gate: Arc<Mutex<http::Gate>>,
    on_link: access::OnLink,
    httpu: Arc<Semaphore>,
    issuer: Issuer,
    _stop_http: watch::Sender<bool>,
}

impl Node {
    // Long function: it is the composition, a line for each part, in the order of their start.
    async fn start(mut config: Config) -> Result<(), RunError> {
        telemetry::install();
        let signals = Signals::new()?;
        let start = Start::new(&config)?;
        config.problems.extend_from_slice(&start.problems);
        start::tell(&config.problems);
        if let Err(error) = privilege::raise_files() {
            tracing::warn!(%error, "the limit of open files cannot be raised");
        }
        let bound = bind::bind(&config)?;
        privilege::give_up(start.directory.path()).map_err(system("privileges stay"))?;
        let udp = Arc::new(bound.udp);
        let seed = random::<32>()?;
        let who = Who::new(&start, &config, bound.endpoint, seed);
        let issuer = subject::issuer(&start, &config, &who.name)?;
        let store_path = start.directory.store_path();
        let medium = start::medium(&store_path);
        let (frames, accepted) = mpsc::channel(STREAMS_WAITING);
        let members = event::Members::default();
        let gate = members.gate();
        let (reports_in, reports) = mpsc::unbounded_channel();
        let kept = start.diskless.is_none().then(|| start.directory.path());
        let images = Images::new(Path::new("/"), kept);
        let options = Options {
            keep_format: images.image().is_some_and(|image| image.trial),
            ..start.store_options()
        };
        let board = board(&config, &who, (start.identity, start.diskless, start.keys))?;
        let clock = board.1;
        let keyring = keyring::path(&start.directory);
        let store = (store_path.as_path(), options, keyring);
        let accepting = (accepted, gate.clone());
        let (driver, handle) = drive(board, store, udp.clone(), accepting, reports_in);
        let driver = tokio::spawn(driver.run());
        let discovery = Arc::new(RwLock::new(None::<Arc<Discovery>>));
        let publisher = gena::start(handle.clone(), handle.changes(), seeded(seed, 2));
        let on_link = access::OnLink::default();
        let entrance = access::entrance(&config, handle.keys(), &on_link, clock);
        let owner = Keeper::new(start.directory.path()).map_err(|_| RunError::NoEntropy)?;
        let others = (&discovery, publisher, owner.clone(), images);
        let facts = facts(&config, &who, others, entrance, medium);
        let service = Service::new(handle.clone(), facts);
        let listeners = (bound.listeners, issuer.terminator());
        let stop_http = serve_http(listeners, &service, &members, &frames, &udp);
        let (notices_in, notices) = mpsc::channel(NOTICES_WAITING);
        let mut node = Node {
            handle,
            who,
            clock,
            udp,
            service,
            discovery,
            owner,
            reports,
            notices,
            gate,
            on_link,
            members,
            httpu: Arc::new(Semaphore::new(HTTPU_AT_ONCE)),
            issuer,
            _stop_http: stop_http,
            config,
        };
        tokio::spawn(tell_owner(node.owner.changes(), node.handle.clone()));
        node.store_opens().await?;
        node.discover(start.directory, notices_in)?;
        let result = node.serve(signals).await;
        node.farewell().await;
        // The last handles go with the node and the service: then the driver closes the store.
        drop(node);
        let _ = tokio::time::timeout(FAREWELL_TIME, driver).await;
        result
    }

    /// Waits until the store is open; HTTP answers meanwhile.
    async fn store_opens(&mut self) -> Result<(), RunError> {
        loop {
            match self.reports.recv().await {
                Some(Report::Store(Ok(()))) => return Ok(()),
                Some(Report::Store(Err(error))) => return Err(error.into()),
                Some(report) => {
                    if let Some(error) = self.report(report) {
                        return Err(error);
                    }
                }
                None => return Ok(()),
            }
        }
    }

    fn discover(
        &mut self,
        directory: DataDir,
        notices: mpsc::Sender<Notice>,
    ) -> Result<(), RunError> {
        let mut counters = self.who.counters;
        let settings = discovery::Settings {
            interfaces: self.config.interfaces.clone(),
            ipv6: self.udp.has_v6(),
            http_port: self.who.endpoint.port(),
            cluster: self.config.cluster.clone(),
            node: self.who.id,
            boot: counters.boot,
            bootid: counters.bootid,
            hint: hint(&self.handle, &self.who.id, &self.config.cluster),
            name: self.who.name.clone(),
            description: self.who.description.clone(),
            listen: self.config.ssdp.listen,
            search: self.config.ssdp.search,
            advertise: self.config.ssdp.advertise,
        };
        let next_bootid = move || {
            match counters::next_bootid(&directory, counters) {
                Ok(next) => counters = next,
                Err(error) => {
                    tracing::warn!(%error, "the BOOTID could not be kept");
                    counters.bootid = counters.bootid % counters::BOOTID_MAX + 1;
                }
            }
            counters.bootid
        };
        let discovery = discovery::start(settings, self.who.seed, notices, next_bootid)
            .map_err(system("the network interfaces cannot be watched"))?;
        self.addresses(&discovery.addresses());
        tokio::spawn(announce_key(
            self.handle.keys(),
            self.discovery.clone(),
            (self.who.id, self.config.cluster.clone()),
        ));
        *self.discovery.write().expect("nobody panics with it") = Some(Arc::new(discovery));
        Ok(())
    }

    async fn ready(&self) {
        use std::io::Write;
        let (members, fingerprint) = self.counted().await;
        let mut out = std::io::stdout();
        // A reader that is gone is no reason to stop.
        let keys = self.handle.keys().borrow().clone();
        let key = keys.keyring.as_ref().map(|keyring| keyring.current.kid());
        let key = key.map_or_else(|| "none".to_owned(), |kid| kid.to_string());
        let _ = writeln!(
            out,
            "ready name={} id={} http=http://{} access={} key={key} members={members}{fingerprint}",
            self.who.name,
            self.who.id,
            self.who.endpoint,
            keys.access.as_str()
        );
        let _ = out.flush();
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        if let Some(period) = sd_notify::watchdog_enabled() {
            tokio::spawn(async move {
                loop {
                    let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
                    tokio::time::sleep(period / 3).await;
                }
            });
        }
        if let Err(error) = program::let_go_of_code() {
            tracing::debug!(%error, "what only the start needed stays in memory");
        }
        let (name, id, cluster) = (&self.who.name, &self.who.id, &self.config.cluster);
        tracing::info!(%name, %id, endpoint = %self.who.endpoint, %cluster, "serving");
        match self.handle.keys().borrow().access {
            Access::Keyed => {}
            Access::Provisional => {
                tracing::info!("no key is set: whoever is on this LAN can read and write");
            }
            Access::Open => {
                tracing::warn!("open = true: whoever is on this LAN can join, read and write");
            }
        }
        if !self.owner.is_claimed()
            && let Ok(code) = self.owner.code()
        {
            let page = format!("https://{}{PRESENTATION_PATH}", self.who.endpoint);
            tracing::info!(%code, %page, "nobody owns this board yet: claim it with the code");
        }
    }

    /// The node's own loop, until it has departed.
    async fn serve(&mut self, mut signals: Signals) -> Result<(), RunError> {
        let mut stopping = false;
        let mut waiting = true;
        let belated = tokio::time::sleep(READY_TIME_MAX);
        tokio::pin!(belated);
        if self.belongs().await {
            waiting = false;
            self.ready().await;
        }
        loop {
            tokio::select! {
                () = &mut belated, if waiting => {
                    waiting = false;
                    self.ready().await;
                }
                report = self.reports.recv() => match report {
                    Some(Report::Event(Event::Departed)) if stopping => return Ok(()),
                    Some(report) => {
                        let belongs =
                            matches!(report, Report::Event(Event::Founded(_) | Event::Joined(_)));
                        if let Some(error) = self.report(report) {
                            return Err(error);
                        }
                        if belongs && std::mem::take(&mut waiting) {
                            self.ready().await;
                        }
                    }
                    None => return Ok(()),
                },
                Some(notice) = self.notices.recv() => self.notice(notice),
                () = signals.next() => {
                    if stopping || !self.config.leaves() {
                        return Ok(());
                    }
                    stopping = true;
                    tracing::info!("leaving; a second signal stops at once");
                    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
                    self.handle.stop(self.config.leave_timeout);
                }
            }
        }
    }

    /// Boards of the ring, this one counted, and what `ready` says of their fingerprint.
    async fn counted(&self) -> (usize, String) {
        let Ok(Reply::Overview(overview)) = self.handle.call(Call::Overview).await else {
            return (1, String::new());
        };
        let digits = overview.fingerprint.digits();
        let spoken = digits.map(|digits| format!(" fingerprint={}", digits.plain()));
        (overview.members.len().max(1), spoken.unwrap_or_default())
    }

    /// The board is in a ring already: it was when it stopped.
    async fn belongs(&self) -> bool {
        match self.handle.call(Call::Overview).await {
            Ok(Reply::Overview(overview)) => overview.cluster.is_some(),
            _ => false,
        }
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Hint(hint) => self.handle.hint(hint),
            Notice::AddressesChanged(addresses) => self.addresses(&addresses),
        }
    }

    /// The board's own address is the first that discovery uses, IPv4 before IPv6.
    fn addresses(&mut self, addresses: &[InterfaceAddress]) {
        // An interface that is not discovery's is a link all the same.
        let interfaces = link::list().unwrap_or_default();
        self.issuer
            .set_addresses(subject::addresses(&self.config, &interfaces));
        let prefixes = interfaces.into_iter().flat_map(|it| it.addresses);
        let prefixes: Vec<_> = prefixes.collect();
        self.on_link.set(prefixes.clone());
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        gate.set_on_link(prefixes);
        drop(gate);
        let current = self.who.endpoint;
        if self.config.bind_addr.is_some() {
            return;
        }
        // An address of one link only is of no use to boards beyond it.
        let usable = addresses.iter().filter(|a| match a.address {
            IpAddr::V6(v6) => !v6.is_unicast_link_local(),
            IpAddr::V4(_) => true,
        });
        let best = usable.min_by_key(|a| (a.address.is_ipv6(), a.address != current.ip(), a.index));
        if let Some(best) = best.filter(|best| best.address != current.ip()) {
            let endpoint = SocketAddr::new(best.address, current.port());
            self.who.endpoint = endpoint;
            tracing::info!(%endpoint, interface = %best.name, "this board's address");
            self.handle.set_endpoint(endpoint);
        }
    }

    fn report(&mut self, report: Report) -> Option<RunError> {
        match report {
            Report::Event(event) => return self.event(event),
            Report::Store(Ok(())) => {}
            Report::Store(Err(error)) => return Some(error.into()),
            Report::Relayed { token, request } => {
                let (service, handle) = (self.service.clone(), self.handle.clone());
                tokio::spawn(async move {
                    let answer = service.handle_relayed(request).await;
                    handle.relayed(token, answer);
                });
            }
            Report::Httpu { from, datagram } => self.httpu(from, datagram),
        }
        None
    }

    fn event(&mut self, event: Event) -> Option<RunError> {
        event::log(&event);
        self.service.happened(self.clock.now(), &event);
        match event {
            Event::ClonedCard {
                endpoint,
                yields: true,
            } => {
                return Some(RunError::ClonedCard { endpoint });
            }
            Event::OwnerChanged(credential) => {
                let owner = self.owner.clone();
                tokio::task::spawn_blocking(move || {
                    if let Err(error) = owner.adopt(credential) {
                        tracing::warn!(%error, "the ring's owner cannot be kept here");
                    }
                });
            }
            Event::NodeUp(_) | Event::NodeRemoved(_) | Event::Merged { .. } => {
                self.members.refresh(self.handle.clone());
            }
            _ => {}
        }
        None
    }

    fn httpu(&mut self, from: SocketAddr, datagram: HttpuDatagram) {
        let HttpuDatagram {
            bytes,
            admitted,
            share,
        } = datagram;
        let at = (from, self.who.endpoint);
        let asked = match http::read_datagram(&self.service, &bytes, at, admitted) {
            Ok(asked) => asked,
            Err(outgoing) => return send_outgoing(&self.udp, outgoing, from),
        };
        let Ok(place) = self.httpu.clone().try_acquire_owned() else {
            return;
        };
        let (service, udp) = (self.service.clone(), self.udp.clone());
        tokio::spawn(async move {
            let outgoing = http::answer_datagram(&service, asked).await;
            send_outgoing(&udp, outgoing, from);
            drop((place, share));
        });
    }

    async fn farewell(&mut self) {
        let discovery = self
            .discovery
            .write()
            .expect("nobody panics with it")
            .take();
        if let Some(discovery) = discovery.and_then(Arc::into_inner) {
            let _ = tokio::time::timeout(FAREWELL_TIME, discovery.stop()).await;
        }
    }
}

/// Sends what a datagram is answered with.
fn send_outgoing(udp: &Udp, outgoing: http::Outgoing, from: SocketAddr) {
    if let Some(answer) = outgoing.answer {
        udp.send(&answer, from);
    }
    if let Some(post) = outgoing.post
        && let Some(bytes) = http::post_datagram(&post)
    {
        udp.send(&bytes, post.to);
    }
}

/// Tells the board which credential of the owner is kept, at the start and at each change.
async fn tell_owner(mut changes: watch::Receiver<Option<Credential>>, handle: Handle) {
    changes.mark_changed();
    while changes.changed().await.is_ok() {
        let kept = changes.borrow_and_update().clone();
        if let Some(credential) = kept {
            handle.set_owner(credential);
        }
    }
}

/// What announcements say of the key.
fn hint(handle: &Handle, node: &Id, cluster: &Name) -> Option<HintMac> {
    let keys = handle.keys().borrow().clone();
    let keyring = keys.keyring.as_ref();
    keyring.map(|keyring| hint_mac(&keyring.current, node, cluster))
}

/// Keeps announcements up to date with the key, for as long as there are any.
async fn announce_key(
    mut keys: watch::Receiver<Arc<Keys>>,
    discovery: Discovering,
    (node, cluster): (Id, Name),
) {
    while keys.changed().await.is_ok() {
        let current = keys.borrow_and_update().clone();
        let keyring = current.keyring.as_ref();
        let mac = keyring.map(|keyring| hint_mac(&keyring.current, &node, &cluster));
        match &*discovery.read().expect("nobody panics with it") {
            Some(discovery) => discovery.set_hint(mac),
            None => return,
        }
    }
}

/// Sends replies that go elsewhere over UDP.
async fn send_posts(mut posts: mpsc::Receiver<service::exchange::Post>, udp: Arc<Udp>) {
    while let Some(post) = posts.recv().await {
        if let Some(bytes) = http::post_datagram(&post) {
            udp.send(&bytes, post.to);
        }
    }
}

fn facts(
    config: &Config,
    who: &Who,
    (discovery, publisher, owner, installer): (&Discovering, Publisher, Arc<Keeper>, Arc<Images>),
    entrance: Entrance,
    medium: Option<Place>,
) -> Facts {
    let heard = discovery.clone();
    let description = Bytes::from(who.description.emit());
    Facts {
        id: who.id,
        name: who.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        endpoint: who.endpoint,
        cluster_name: config.cluster.clone(),
        boot: who.counters.boot,
        config: RawValue::from_string(config.to_json().to_string())
            .expect("a configuration is written as JSON"),
        problems: config.problems.as_slice().into(),
        medium,
        hosts: config.hosts.clone(),
        description_xml: Arc::new(move |_| description.clone()),
        config_id: who.description.config_id,
        server: discovery::software(),
        publisher,
        owner,
        installer,
        discovered: Arc::new(move || {
            let discovery = heard.read().expect("nobody panics with it");
            let heard = discovery.as_ref().map(|d| d.heard()).unwrap_or_default();
            let present = heard.into_iter().filter(|h| !h.farewell);
            present.map(|h| (h.cluster, h.node, h.endpoint)).collect()
        }),
        memory_bytes: Arc::new(event::resident_bytes),
        written_bytes: Arc::new(event::written_bytes),
        journal: Arc::default(),
        entrance,
        reply_delay_mean_ms: config.reply_delay_mean.as_millis() as u64,
        seed: who.seed,
    }
}
