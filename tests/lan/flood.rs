//! Floods by hosts that hold nothing: slow connections, connections by the thousand, datagrams and
//! advertisements of forged sources, large requests and answers that nobody takes. The board that
//! is flooded has 128 MB of memory (a memory cgroup), which the system ends it for passing.
//!
//! Goals: an honest client's p99 is at most 200 ms, memory grows by at most 8 MB.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use roundel::base::id::Id;
use serde_json::json;
use socket2::{Domain, Protocol, Socket, Type};

use crate::lab::{Board, Lab};
use crate::netns::Agent;
use crate::node::{Node, call};
use crate::{ring, wait};

/// Boards of the ring; the first is flooded.
const RING: usize = 3;
/// Where the floods come from.
const ATTACKER: usize = RING;
/// A laptop of the owner's, which is no member.
const LAPTOP: usize = RING + 1;
/// The attacker's addresses: 10.77.8.1 and up.
const ADDRESSES: u8 = 64;
const P99_GOAL: Duration = Duration::from_millis(200);
/// The machine that runs this may be slow or busy.
const SLACK: u32 = 5;
/// What the memory of a flooded board may grow by. A slow machine needs no more than another.
const GROWTH_GOAL: u64 = 8_000_000;
/// The test allows so many times as much, for builds that are not optimised.
const GROWTH_SLACK: u64 = 2;
const MEMORY_MAX: u64 = 128 * 1_024 * 1_024;

/// A ring, an attacker with many addresses and a laptop.
fn lab(test: &str) -> Lab {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("it may be raised as far as that");
    let lab = Lab::new(test, RING + 2);
    let addresses: String = (1..=ADDRESSES)
        .map(|last| format!("addr add 10.77.8.{last}/16 dev eth0\n"))
        .collect();
    lab.board(ATTACKER).ip(&addresses);
    lab
}

/// A memory cgroup with one node in it; removed when this goes out of scope.
struct Cage(PathBuf);

impl Cage {
    fn around(node: &Node) -> Self {
        let name = format!("roundel-lab-{}", node.pid());
        let (root, limit) = match std::fs::exists("/sys/fs/cgroup/memory").unwrap_or(false) {
            true => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            false => ("/sys/fs/cgroup", "memory.max"),
        };
        let cage = Cage(PathBuf::from(root).join(name));
        let write = |file: &str, text: String| {
            let path = cage.0.join(file);
            std::fs::write(&path, text)
                .unwrap_or_else(|error| panic!("{} is needed: {error}", path.display()));
        };
        std::fs::create_dir(&cage.0)
            .unwrap_or_else(|error| panic!("a memory cgroup is needed in {root}: {error}"));
        write(limit, MEMORY_MAX.to_string());
        write("cgroup.procs", node.pid().to_string());
        cage
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        // Whoever lives in it moves out, and it can go.
        let inside = std::fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        for pid in inside.lines() {
            let _ = std::fs::write(self.0.with_file_name("cgroup.procs"), pid);
        }
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Resident bytes at present, and at most since the last call of [`forget_peak`].
fn resident(node: &Node) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid()));
    let status = status.expect("the node runs");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let word = line.and_then(|line| line.split_whitespace().next());
        1_024 * word.and_then(|kib| kib.parse::<u64>().ok()).expect("KiB")
    };
    (field("VmRSS:"), field("VmHWM:"))
}

fn forget_peak(node: &Node) {
    let path = format!("/proc/{}/clear_refs", node.pid());
    std::fs::write(path, "5").expect("the node runs");
}

/// A client that goes on asking until it is told to stop: a put and a get of its own key in turn,
/// each on a connection of its own.
struct Honest {
    stop: Arc<AtomicBool>,
    told: mpsc::Receiver<(Vec<Duration>, Vec<String>)>,
    _agent: Agent,
}

impl Honest {
    fn start(name: &'static str, at: &Board, to: SocketAddr) -> Self {
        let (stop, agent) = (Arc::new(AtomicBool::new(false)), at.visitor());
        let stopped = stop.clone();
        let told =
            agent.begin(move || {
                let (mut times, mut failures) = (Vec::new(), Vec::new());
                while !stopped.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    let put = call(to, "put", json!({"key": name, "value": times.len()}));
                    let between = Instant::now();
                    let got = call(to, "get", json!({"key": name}));
                    times.extend([between - start, between.elapsed()]);
                    failures.extend([put, got].into_iter().filter_map(Result::err).map(|error| {
                        format!("{name} after {:?}: {}", start.elapsed(), error.message)
                    }));
                    std::thread::sleep(Duration::from_millis(5));
                }
                (times, failures)
            });
        Honest {
            stop,
            told,
            _agent: agent,
        }
    }

    fn stop(self) -> (Vec<Duration>, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.told.recv().expect("the client lives")
    }
}

impl Drop for Honest {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Floods the first of a ring while a laptop and a program of the board itself use it; prints the
/// figures and holds them against the goals.
fn endures(test: &str, flood: impl FnOnce(&Lab, SocketAddr)) {
    let lab = lab(test);
    let mut nodes = ring::form(&lab, 0..RING);
    let _cage = Cage::around(&nodes[0]);
    let to = nodes[0].endpoint();
    let clients = || {
        let laptop = Honest::start("laptop", lab.board(LAPTOP), to);
        (laptop, Honest::start("local", lab.board(0), to))
    };
    let (laptop, local) = clients();
    std::thread::sleep(Duration::from_secs(3));
    let usual = wait::median_and_p99(laptop.stop().0).1;
    local.stop();
    forget_peak(&nodes[0]);
    let before = resident(&nodes[0]).0;
    let (laptop, local) = clients();
    let start = Instant::now();
    flood(&lab, to);
    let took = start.elapsed();
    let told = [("laptop", laptop.stop()), ("board itself", local.stop())];
    let (after, peak) = resident(&nodes[0]);
    let growth = peak.saturating_sub(before);
    for (name, (times, _)) in &told {
        let (median, p99) = wait::median_and_p99(times.clone());
        println!(
            "{test}: {} calls of the {name} in {took:.1?}: median {median:.1?}, p99 {p99:.1?} \
             (p99 of the laptop without a flood {usual:.1?})",
            times.len()
        );
    }
    println!(
        "{test}: resident {:.1} MB before, {:.1} MB at most, {:.1} MB after",
        before as f64 / 1e6,
        peak as f64 / 1e6,
        after as f64 / 1e6
    );
    println!("{test}: memory grew by {growth} bytes, the goal is {GROWTH_GOAL}");
    assert!(
        growth <= GROWTH_GOAL * GROWTH_SLACK,
        "memory grew by {growth} bytes"
    );
    for (name, (times, failures)) in told {
        assert!(
            failures.is_empty(),
            "calls of the {name} failed: {failures:?}"
        );
        let p99 = wait::median_and_p99(times).1;
        assert!(p99 <= P99_GOAL * SLACK, "{name}: p99 {p99:?}");
    }
    assert!(nodes[0].is_running(), "the flooded board ended");
    // Nobody was taken for dead meanwhile, and nobody came.
    ring::wait_for_ring(&nodes, ring::SETTLED_MAX);
}

/// Connects from one of the attacker's addresses; errors are the point.
fn connect(from: u8, to: SocketAddr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).ok()?;
    let from = SocketAddr::from((Ipv4Addr::new(10, 77, 8, from), 0));
    socket.bind(&from.into()).ok()?;
    socket
        .connect_timeout(&to.into(), Duration::from_millis(500))
        .ok()?;
    socket.set_nonblocking(true).ok()?;
    Some(socket.into())
}

/// Holds so many connections, each of which sends a byte of its head now and then, and takes a new
/// one for each that is closed.
fn hold_slowly(connections: usize, to: SocketAddr, stop: &AtomicBool) -> usize {
    let mut opened = 0;
    let mut held: Vec<TcpStream> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        held.retain_mut(|stream| {
            let gone = stream.read(&mut [0; 512]).is_ok();
            !gone && stream.write(b"X").is_ok()
        });
        for _ in held.len()..connections {
            opened += 1;
            let from = (opened % usize::from(ADDRESSES)) as u8 + 1;
            if let Some(mut stream) = connect(from, to) {
                let _ = stream.write(b"POST /rpc HTTP/1.1\r\nHost: ");
                held.push(stream);
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    opened
}

#[test]
fn a_thousand_slow_connections_and_a_flood_of_ten_thousand_keep_nobody_out() {
    endures("flood", |lab, to| {
        let stop = Arc::new(AtomicBool::new(false));
        let slow: Vec<_> = (0..4)
            .map(|_| {
                let (agent, stop) = (lab.board(ATTACKER).visitor(), stop.clone());
                let opened = agent.begin(move || hold_slowly(250, to, &stop));
                (agent, opened)
            })
            .collect();
        std::thread::sleep(Duration::from_secs(3));
        let flooding: Vec<_> = (0..8)
            .map(|thread| {
                let agent = lab.board(ATTACKER).visitor();
                let connected = agent.begin(move || {
                    let streams = (0..1_250).filter_map(|number: usize| {
                        let from = (number % usize::from(ADDRESSES)) as u8 + 1;
                        let mut stream = connect(from, to)?;
                        // Frames, TLS, HTTP and rubbish in turn.
                        let first: &[u8] =
                            [b"\x01\x10\0\0", b"\x16\x03\x01\0", b"GET ", b"\xff\0\0\0"]
                                [(number + thread) % 4];
                        let _ = stream.write(first);
                        Some(stream)
                    });
                    streams.count()
                });
                (agent, connected)
            })
            .collect();
        let connected: usize = flooding
            .iter()
            .map(|(_, connected)| connected.recv().expect("the flood ends"))
            .sum();
        std::thread::sleep(Duration::from_secs(2));
        stop.store(true, Ordering::Relaxed);
        let opened: usize = slow
            .iter()
            .map(|(_, opened)| opened.recv().expect("the slow ones end"))
            .sum();
        println!("flood: {connected} connections of 10000, {opened} slow ones for 1000 held");
        assert!(connected > 9_000 && opened >= 1_000);
    });
}

/// A raw socket of the attacker's, which sends as whoever it likes.
struct Forger(Socket);

impl Forger {
    fn new() -> Self {
        let protocol = Some(Protocol::from(255));
        let socket = Socket::new(Domain::IPV4, Type::RAW, protocol).expect("the lab runs as root");
        socket.set_header_included_v4(true).expect("a raw socket");
        Forger(socket)
    }

    /// Sends one UDP datagram (RFC 791, RFC 768; the checksum is left out, as IPv4 allows).
    fn send(&self, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) {
        let length = 28 + payload.len() as u16;
        let mut packet = vec![0x45, 0];
        packet.extend(length.to_be_bytes());
        packet.extend([0, 0, 0, 0, 2, 17, 0, 0]);
        packet.extend(from.ip().octets());
        packet.extend(to.ip().octets());
        packet.extend(from.port().to_be_bytes());
        packet.extend(to.port().to_be_bytes());
        packet.extend((length - 20).to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(payload);
        // A full queue loses it, as a network does.
        let _ = self.0.send_to(&packet, &SocketAddr::V4(to).into());
    }
}

const SSDP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 255, 255, 250), 1_900);

/// Another source for each number: on the LAN up to 65,000, beyond it from there on.
fn source(number: usize) -> Ipv4Addr {
    let [high, low] = (number as u16).to_be_bytes();
    Ipv4Addr::new(10, if number < 65_000 { 77 } else { 78 }, high, low)
}

fn v4(address: SocketAddr) -> SocketAddrV4 {
    match address {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(_) => panic!("the lab's nodes have IPv4 addresses"),
    }
}

#[test]
fn a_hundred_thousand_datagrams_of_as_many_sources_delay_nobody() {
    endures("datagrams", |lab, to| {
        let sent = Arc::new(AtomicUsize::new(0));
        let counted = sent.clone();
        lab.board(ATTACKER).agent().run(move || {
            let forger = Forger::new();
            let body = r#"{"jsonrpc":"2.0","id":1,"method":"get_cluster_state"}"#;
            let ask = format!(
                "POST /rpc HTTP/1.1\r\nHost: {to}\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let search = "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\
                          MAN: \"ssdp:discover\"\r\nMX: 1\r\nST: ssdp:all\r\n\r\n";
            for number in 0..100_000 {
                let from = SocketAddrV4::new(source(number), 40_000);
                match number % 4 {
                    0 => forger.send(from, SSDP, search.as_bytes()),
                    1 => forger.send(from, v4(to), b"\x01\x20\0\0\0\x04\0\0abcd"),
                    2 => forger.send(from, v4(to), &[0xff; 1_200]),
                    _ => forger.send(from, v4(to), ask.as_bytes()),
                }
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        assert_eq!(sent.load(Ordering::Relaxed), 100_000);
    });
}

#[test]
fn ten_thousand_forged_advertisements_add_no_member() {
    endures("forged", |lab, to| {
        lab.board(ATTACKER).agent().run(|| {
            let forger = Forger::new();
            for number in 0..10_000 {
                let ip = source(number + 3_000);
                let id: Id = format!("{number:064x}").parse().expect("64 digits");
                let udn = id.udn(false);
                let text = format!(
                    "NOTIFY * HTTP/1.1\r\nHost: 239.255.255.250:1900\r\n\
                     Cache-Control: max-age=1800\r\n\
                     Location: http://{ip}:38400/description.xml\r\nNT: upnp:rootdevice\r\n\
                     NTS: ssdp:alive\r\nServer: Linux/6 UPnP/2.0 roundel/0\r\n\
                     USN: uuid:{udn}::upnp:rootdevice\r\n\
                     BOOTID.UPNP.ORG: 1\r\nCONFIGID.UPNP.ORG: 1\r\nCLUSTER.ROUNDEL.ORG: lab\r\n\
                     NODE.ROUNDEL.ORG: {id}\r\nBOOT.ROUNDEL.ORG: 1\r\n\r\n"
                );
                forger.send(SocketAddrV4::new(ip, 1_900), SSDP, text.as_bytes());
            }
        });
        let laptop = lab.board(LAPTOP).agent();
        let state = laptop.run(move || call(to, "get_network_state", json!({})));
        let heard = state.expect("it answers").to_string();
        assert!(
            heard.contains("00000000000000000001"),
            "no forged advertisement was heard at all: {heard:.300}"
        );
        // What was believed is tried: nobody is there.
        std::thread::sleep(Duration::from_secs(10));
        let state = laptop.run(move || call(to, "get_cluster_state", json!({})));
        let state = state.expect("it answers");
        let members = state["cluster"]["nodes"].as_array().map_or(0, Vec::len);
        assert_eq!(members, RING, "{state}");
    });
}

/// Bodies of full size that end just before their end, answers of full size that nobody reads.
#[test]
fn large_requests_and_answers_that_nobody_reads_do_not_end_a_small_board() {
    let lab = lab("large");
    let mut nodes = ring::form(&lab, 0..RING);
    let _cage = Cage::around(&nodes[0]);
    let to = nodes[0].endpoint();
    let value = "x".repeat(200_000);
    for number in 0..10 {
        let stored = nodes[0].put(&format!("large{number}"), &value);
        stored.expect("the ring takes it");
    }
    let before = resident(&nodes[0]).0;
    forget_peak(&nodes[0]);
    let agent = lab.board(ATTACKER).visitor();
    let held = agent.run(move || {
        let get = |number: usize| {
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"get","params":{{"key":"large{number}"}}}}"#
            )
        };
        let batch = format!("[{}]", (0..10).map(get).collect::<Vec<_>>().join(","));
        let head = |length: usize| {
            format!(
                "POST /rpc HTTP/1.1\r\nHost: {to}\r\nContent-Type: application/json\r\n\
                 Content-Length: {length}\r\n\r\n"
            )
        };
        let unread = format!("{}{batch}", head(batch.len()));
        let unfinished = format!("{}{}", head(1_000_000), " ".repeat(999_000));
        let mut held = Vec::new();
        for number in 0..240_usize {
            let from = (number % usize::from(ADDRESSES)) as u8 + 1;
            let Some(mut stream) = connect(from, to) else {
                continue;
            };
            stream.set_nonblocking(false).expect("a socket");
            let wait = Some(Duration::from_millis(500));
            stream.set_write_timeout(wait).expect("a time");
            let text = [&unread, &unfinished][number % 2];
            // A refusal comes before the end of what is sent.
            let _ = stream.write_all(text.as_bytes());
            held.push(stream);
        }
        held
    });
    println!("large: {} connections hold what they can", held.len());
    let laptop = Honest::start("laptop", lab.board(LAPTOP), to);
    std::thread::sleep(Duration::from_secs(5));
    let (times, failures) = laptop.stop();
    let (median, p99) = wait::median_and_p99(times);
    let (after, peak) = resident(&nodes[0]);
    println!(
        "large: an honest client's median {median:.1?}, p99 {p99:.1?}; resident {:.1} MB before, \
         {:.1} MB at most, {:.1} MB after; {} refusals",
        before as f64 / 1e6,
        peak as f64 / 1e6,
        after as f64 / 1e6,
        failures.len()
    );
    assert!(nodes[0].is_running(), "128 MB were not enough");
    assert!(peak < MEMORY_MAX, "{peak} bytes");
    drop(held);
    wait::until("it serves as before", Duration::from_secs(30), || {
        let asked = nodes[0].get("large0").map_err(|error| error.message);
        asked.map(|got| assert_eq!(got.len(), value.len()))
    });
    ring::wait_for_ring(&nodes, ring::SETTLED_MAX);
}
