//! Discovery on a board: the sockets, the clock and the interfaces behind the SSDP machine.
//!
//! Decides nothing about messages (`proto/ssdp`) and believes nothing it hears: it hands on
//! hints. Start: the sockets of every chosen interface, or none yet. Steady state: datagrams and
//! time go to the machine, netlink says when to look at the interfaces again. Distress: an error
//! of a socket never ends it; a link whose sockets fail is tried again. End: farewells.
//! Source: UDA 2.0 §1.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub mod search;
pub(super) mod socket;
mod worker;

pub use search::{Found, FoundDevice, search, search_devices};

use super::link::InterfaceAddress;
use crate::base::endpoint::Name;
use crate::base::hint::{Hint, HintMac};
use crate::base::id::Id;
use crate::base::rng;
use crate::proto::ssdp::advertiser::Profile;
use crate::proto::ssdp::{self, Ssdp};
use crate::wire::description::{Description, PATH};
use crate::wire::ssdp::{BootId, Vendor};
use worker::Worker;

/// How discovery runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The interfaces by name; empty: those that a LAN is likely to be on.
    pub interfaces: Vec<String>,
    /// Whether IPv6 links are used too: the HTTP port must then answer on IPv6.
    pub ipv6: bool,
    /// The port of every LOCATION.
    pub http_port: u16,
    /// CLUSTER.ROUNDEL.ORG.
    pub cluster: Name,
    /// NODE.ROUNDEL.ORG, and what the UDNs are made of.
    pub node: Id,
    /// BOOT.ROUNDEL.ORG.
    pub boot: u64,
    /// BOOTID.UPNP.ORG of this start, already durable; 31 bits.
    pub bootid: u32,
    /// The friendly name.
    pub name: Name,
    /// What is announced.
    pub description: Description,
    /// Whether others' advertisements and answers are heeded.
    pub listen: bool,
    /// Whether boards are searched for.
    pub search: bool,
    /// HINT.ROUNDEL.ORG, until [`Discovery::set_hint`] says otherwise.
    pub hint: Option<HintMac>,
    /// Whether the board is announced and answers searches.
    pub advertise: bool,
}

/// What discovery tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A board was heard; dropped when nobody takes it.
    Hint(Hint),
    /// The addresses in use are these from here on.
    AddressesChanged(Vec<InterfaceAddress>),
}

/// A board that was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Its id.
    pub node: Id,
    /// Its cluster.
    pub cluster: Name,
    /// The count of its starts.
    pub boot: Option<u64>,
    /// Its HTTP address.
    pub endpoint: SocketAddr,
    /// The index of the interface it was heard on.
    pub interface: u32,
    /// How long ago it was heard last.
    pub age: Duration,
    /// It said farewell and nothing since.
    pub farewell: bool,
}

/// What a handle asks of the worker.
#[derive(Debug)]
enum Command {
    Search,
    Stop(oneshot::Sender<()>),
}

/// What the handle and the worker share.
#[derive(Debug)]
struct Shared {
    ssdp: Ssdp,
    addresses: Vec<InterfaceAddress>,
}

/// A running discovery. Dropped without [`Discovery::stop`] it says farewell in the background.
#[derive(Debug)]
pub struct Discovery {
    commands: mpsc::Sender<Command>,
    shared: Arc<Mutex<Shared>>,
    clock: Clock,
    description: Vec<u8>,
    worker: JoinHandle<()>,
}

/// Starts discovery; needs a tokio runtime with I/O and time.
///
/// `next_bootid` draws the next BOOTID and returns once it is durable; it is called off the event
/// loop, before an announcement under it. `seed` feeds every random choice.
///
/// # Errors
/// When the kernel's netlink or interface list cannot be had. Sockets that fail are no error:
/// they are tried again.
pub fn start(
    settings: Settings,
    seed: [u8; 32],
    notices: mpsc::Sender<Notice>,
    next_bootid: impl FnMut() -> u32 + Send + 'static,
) -> io::Result<Discovery> {
    let description = settings.description.clone();
    let text = "a fixed text without control characters";
    let server = software().parse().expect(text);
    let vendor = Vendor {
        cluster: Some(settings.cluster.clone()),
        node: Some(settings.node),
        boot: Some(settings.boot),
        hint: settings.hint,
    };
    let profile = Profile::new(&description, vendor, server, settings.http_port, PATH);
    let machine = ssdp::Settings {
        profile: settings.advertise.then_some(profile),
        boot_id: BootId::new(settings.bootid),
        listens: settings.listen,
        friendly_name: settings.name.as_str().parse().expect("a name is plain"),
        user_agent: software().parse().expect(text),
    };
    let shared = Arc::new(Mutex::new(Shared {
        ssdp: Ssdp::new(machine, rng::seeded(seed, 0)),
        addresses: Vec::new(),
    }));
    let clock = Clock::start();
    let (commands, inbox) = mpsc::channel(16);
    let mut worker = Worker::new(
        settings,
        rng::seeded(seed, 1),
        Arc::clone(&shared),
        clock,
        notices,
        Box::new(next_bootid),
    )?;
    worker.begin()?;
    Ok(Discovery {
        commands,
        shared,
        clock,
        description: description.emit(),
        worker: tokio::spawn(worker.run(inbox)),
    })
}

impl Discovery {
    /// Says farewell on every link, then returns.
    pub async fn stop(self) {
        let (done, stopped) = oneshot::channel();
        if self.commands.send(Command::Stop(done)).await.is_ok() {
            // An error means that the worker is gone already, which is what was wanted.
            let _ = stopped.await;
        }
        let _ = self.worker.await;
    }

    /// Every board heard, this one left out; a board heard on several links several times.
    pub fn heard(&self) -> Vec<Heard> {
        let now = self.clock.now();
        let shared = lock(&self.shared);
        let heard = shared.ssdp.heard().map(|(key, entry)| Heard {
            node: entry.sighting.node,
            cluster: entry.sighting.cluster.clone(),
            boot: entry.sighting.boot,
            endpoint: entry.sighting.endpoint,
            interface: key.index,
            age: now.since(entry.last_seen),
            farewell: entry.farewell,
        });
        heard.collect()
    }

    /// What announcements say of the board's key from here on.
    pub fn set_hint(&self, hint: Option<HintMac>) {
        lock(&self.shared).ssdp.set_hint(hint);
    }

    /// The addresses in use.
    pub fn addresses(&self) -> Vec<InterfaceAddress> {
        lock(&self.shared).addresses.clone()
    }

    /// Counters of the machine.
    pub fn stats(&self) -> ssdp::Stats {
        lock(&self.shared).ssdp.stats()
    }

    /// Begins a round of searches.
    pub fn search_now(&self) {
        // With sixteen commands waiting a search is about to be made anyway.
        let _ = self.commands.try_send(Command::Search);
    }

    /// The document to serve at `/description.xml`, `text/xml; charset="utf-8"`.
    pub fn description(&self) -> &[u8] {
        &self.description
    }
}

/// SERVER and USER-AGENT: OS/version UPnP/version product/version (UDA 2.0 §1.2.2).
pub fn software() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let sound = |c: &char| c.is_ascii_alphanumeric() || "._-+".contains(*c);
    let release: String = release.trim().chars().filter(sound).take(64).collect();
    let version = env!("CARGO_PKG_VERSION");
    match release.is_empty() {
        true => format!("Linux/0 UPnP/2.0 roundel/{version}"),
        false => format!("Linux/{release} UPnP/2.0 roundel/{version}"),
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // A panic under the lock aborts the release build; a test's other threads may go on.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The monotonic clock of one discovery.
#[derive(Clone, Copy, Debug)]
struct Clock(tokio::time::Instant);

impl Clock {
    fn start() -> Self {
        Clock(tokio::time::Instant::now())
    }

    fn now(self) -> crate::base::time::Time {
        crate::base::time::Time::ZERO + self.0.elapsed()
    }

    fn instant(self, time: crate::base::time::Time) -> tokio::time::Instant {
        self.0 + Duration::from_micros(time.0)
    }
}

/// Waits for the first of several sources that are polled in turn.
pub(super) async fn first_of<T>(mut poll: impl FnMut(&mut std::task::Context<'_>) -> Poll<T>) -> T {
    poll_fn(|cx| poll(cx)).await
}
