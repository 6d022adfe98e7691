//! A switch in this process: it takes frames from the boards' cables, delays, reorders, doubles and
//! loses them by a plan drawn from a seed, and puts them out again.
//!
//! The kernel's bridge is out of the way meanwhile. The boards compute their checksums and cut
//! their segments themselves (`ethtool -K`), since a frame that is read here must be whole.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvfrom, send,
    setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// `PACKET_OUTGOING`: what was put out here.
const OUTGOING: u8 = 4;
/// More than any frame of these cables has.
const FRAME_BYTES_MAX: usize = 2_048;
/// A reader looks so often whether it is to end.
const LOOK_INTERVAL_MS: i64 = 100;

/// What happens to frames.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Equal seeds and equal frames make equal decisions.
    pub seed: u64,
    /// Each frame takes between these, drawn evenly, and stays behind those before it.
    pub delay: (Duration, Duration),
    /// So many of 100 take no time at all and overtake.
    pub overtaking_percent: u64,
    /// So many of 100 are lost.
    pub lost_percent: u64,
    /// So many of 100 arrive twice.
    pub doubled_percent: u64,
}

/// What happened to them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub passed: u64,
    pub overtook: u64,
    pub lost: u64,
    pub doubled: u64,
    /// Could not be put out.
    pub failed: u64,
}

/// A running switch; it ends when it is dropped.
pub struct Switch {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    counts: Arc<Mutex<Counts>>,
}

/// Opens a cable's end in the namespace this thread is in.
///
/// # Panics
/// When there is no such interface.
pub fn open_port(name: &str) -> OwnedFd {
    let interfaces = nix::ifaddrs::getifaddrs().expect("interfaces can be listed");
    let address = interfaces
        .filter(|interface| interface.interface_name == name)
        .find_map(|interface| interface.address?.as_link_addr().copied())
        .unwrap_or_else(|| panic!("there is an interface {name}"));
    let port = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::EthAll,
    )
    .expect("root may read frames");
    bind(port.as_raw_fd(), &address).expect("the interface is there");
    setsockopt(&port, sockopt::RcvBufForce, &(4 << 20)).expect("root may");
    let interval = TimeVal::milliseconds(LOOK_INTERVAL_MS);
    setsockopt(&port, sockopt::ReceiveTimeout, &interval).expect("it is not zero");
    port
}

impl Switch {
    /// Joins these ports.
    pub fn start(ports: Vec<OwnedFd>, plan: Plan) -> Self {
        let (stop, counts) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let ports = Arc::new(ports);
        let (frames, queue) = mpsc::channel();
        let mut threads = Vec::new();
        for from in 0..ports.len() {
            let (ports, frames, stop) = (ports.clone(), frames.clone(), stop.clone());
            threads.push(thread::spawn(move || {
                read(&ports[from], from, &frames, &stop)
            }));
        }
        let forwarder = Forwarder {
            ports,
            plan,
            dice: plan.seed,
            places: HashMap::new(),
            last_due: BTreeMap::new(),
            waiting: BinaryHeap::new(),
            number: 0,
            counts: Arc::clone(&counts),
        };
        threads.push(thread::spawn(move || forwarder.run(&queue)));
        Switch {
            stop,
            threads,
            counts,
        }
    }

    /// What it has done so far.
    pub fn counts(&self) -> Counts {
        *self
            .counts
            .lock()
            .expect("the forwarder does not panic with it")
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

type Frame = Arc<Vec<u8>>;

fn read(port: &OwnedFd, from: usize, frames: &mpsc::Sender<(usize, Frame)>, stop: &AtomicBool) {
    let mut bytes = [0; FRAME_BYTES_MAX];
    while !stop.load(Ordering::Relaxed) {
        // The interval passed, or the cable is pulled.
        let Ok((length, source)) = recvfrom::<LinkAddr>(port.as_raw_fd(), &mut bytes) else {
            continue;
        };
        if source.is_some_and(|source| source.pkttype() == OUTGOING) {
            continue;
        }
        if frames
            .send((from, Arc::new(bytes[..length].to_vec())))
            .is_err()
        {
            return;
        }
    }
}

struct Forwarder {
    ports: Arc<Vec<OwnedFd>>,
    plan: Plan,
    dice: u64,
    /// Behind which port an address was seen last.
    places: HashMap<[u8; 6], usize>,
    /// When the last frame from one port to another is put out.
    last_due: BTreeMap<(usize, usize), Instant>,
    /// By time, then in the order they came.
    waiting: BinaryHeap<Reverse<(Instant, u64, usize, Frame)>>,
    number: u64,
    counts: Arc<Mutex<Counts>>,
}

impl Forwarder {
    fn run(mut self, queue: &mpsc::Receiver<(usize, Frame)>) {
        loop {
            let now = Instant::now();
            while let Some(Reverse((due, ..))) = self.waiting.peek()
                && *due <= now
            {
                let Reverse((_, _, to, frame)) = self.waiting.pop().expect("it was just seen");
                let sent = send(self.ports[to].as_raw_fd(), &frame, MsgFlags::empty());
                self.count(|counts| match sent {
                    Ok(_) => counts.passed += 1,
                    Err(_) => counts.failed += 1,
                });
            }
            let due = self.waiting.peek().map(|Reverse((due, ..))| *due);
            let wait = due.map_or(Duration::from_secs(1), |due| {
                due.saturating_duration_since(now)
            });
            match queue.recv_timeout(wait) {
                Ok((from, frame)) => self.take(from, &frame),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Sends a frame on its way to each port it belongs to.
    fn take(&mut self, from: usize, frame: &Frame) {
        let (Some(to), Some(source)) = (frame.first_chunk::<6>(), frame[6..].first_chunk::<6>())
        else {
            return;
        };
        self.places.insert(*source, from);
        let known = self.places.get(to).copied().filter(|_| to[0] & 1 == 0);
        let ports: Vec<usize> = match known {
            Some(port) => vec![port],
            None => (0..self.ports.len()).collect(),
        };
        for to in ports.into_iter().filter(|to| *to != from) {
            if self.happens(self.plan.lost_percent) {
                self.count(|counts| counts.lost += 1);
                continue;
            }
            let copies = match self.happens(self.plan.doubled_percent) {
                true => {
                    self.count(|counts| counts.doubled += 1);
                    2
                }
                false => 1,
            };
            for _ in 0..copies {
                self.delay(from, to, frame);
            }
        }
    }

    fn delay(&mut self, from: usize, to: usize, frame: &Frame) {
        let now = Instant::now();
        let due = if self.happens(self.plan.overtaking_percent) {
            self.count(|counts| counts.overtook += 1);
            now
        } else {
            let (least, most) = self.plan.delay;
            let spread_us = (most - least).as_micros() as u64;
            let drawn = Duration::from_micros(self.draw() % (spread_us + 1));
            let last = self.last_due.entry((from, to)).or_insert(now);
            *last = (*last).max(now + least + drawn);
            *last
        };
        self.number += 1;
        let entry = (due, self.number, to, frame.clone());
        self.waiting.push(Reverse(entry));
    }

    fn happens(&mut self, percent: u64) -> bool {
        self.draw() % 100 < percent
    }

    /// splitmix64.
    fn draw(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.dice;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().expect("nobody panics with it"));
    }
}
