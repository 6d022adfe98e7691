//! Discovery with real sockets, in namespaces: the boards see each other, and others see them.
//!
//! Rules that need no kernel are in `ssdp.rs`.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use roundel::base::hint::{Hint, HintKind};
use roundel::base::id::Id;
use roundel::runtime::discovery::{self, Discovery, Notice, Settings, search};
use roundel::runtime::probe::probe;
use roundel::wire::description::Description;
use roundel::wire::ssdp::Target;
use tokio::sync::{mpsc, oneshot};

use super::namespace::{Lan, command, enter, text, until};

const PATIENCE: Duration = Duration::from_secs(5);

fn id(number: usize) -> Id {
    Id::of(&number.to_be_bytes())
}

fn settings(number: usize) -> Settings {
    Settings {
        hint: None,
        interfaces: vec!["eth0".to_owned()],
        ipv6: false,
        http_port: 38_400,
        cluster: "lab".parse().unwrap(),
        node: id(number),
        boot: 1,
        bootid: 100,
        name: format!("board-{number}").parse().unwrap(),
        description: Description::of_board(
            &id(number),
            &format!("board-{number}").parse().unwrap(),
        ),
        listen: true,
        search: true,
        advertise: true,
    }
}

/// A discovery that runs inside a namespace.
struct Board {
    discovery: Option<Discovery>,
    notices: mpsc::Receiver<Notice>,
    hints: Vec<Hint>,
    drawn: Arc<AtomicU32>,
    _quit: oneshot::Sender<()>,
}

impl Board {
    fn start(namespace: &str, settings: Settings) -> Board {
        let (started, handle) = std::sync::mpsc::channel();
        let (quit, end) = oneshot::channel();
        let (sender, notices) = mpsc::channel(4_096);
        let drawn = Arc::new(AtomicU32::new(settings.bootid));
        let counter = Arc::clone(&drawn);
        let seed = *settings.node.as_bytes();
        enter(namespace, move || {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build().unwrap();
            runtime.block_on(async {
                let next = move || counter.fetch_add(1, Ordering::SeqCst) + 1;
                let discovery = discovery::start(settings, seed, sender, next).unwrap();
                started.send(discovery).unwrap();
                // It ends when the board is dropped, which is an error of the channel.
                let _ = end.await;
            });
        });
        Board {
            discovery: Some(handle.recv_timeout(PATIENCE).expect("discovery starts")),
            notices,
            hints: Vec::new(),
            drawn,
            _quit: quit,
        }
    }

    fn discovery(&self) -> &Discovery {
        self.discovery.as_ref().expect("it is not stopped")
    }

    fn hears(&self, number: usize) -> bool {
        let heard = self.discovery().heard();
        heard.iter().any(|heard| heard.node == id(number))
    }

    fn hinted(&mut self, wanted: impl Fn(&Hint) -> bool) -> bool {
        while let Ok(notice) = self.notices.try_recv() {
            if let Notice::Hint(hint) = notice {
                self.hints.push(hint);
            }
        }
        self.hints.iter().any(wanted)
    }

    fn stop(&mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        let discovery = self.discovery.take().expect("it is stopped once");
        runtime.block_on(discovery.stop());
    }
}

fn everyone_hears_everyone(boards: &[Board]) -> bool {
    boards.iter().enumerate().all(|(ours, board)| {
        (0..boards.len()).all(|theirs| board.hears(theirs) == (theirs != ours))
    })
}

fn start_all(lan: &Lan, count: usize) -> Vec<Board> {
    (0..count)
        .map(|number| Board::start(&lan.host(number), settings(number)))
        .collect()
}

#[test]
fn boards_on_one_lan_hear_each_other_and_the_farewell() {
    let lan = Lan::new(3);
    let mut boards = start_all(&lan, 3);
    let time = until("all hear all", PATIENCE, || {
        everyone_hears_everyone(&boards)
    });
    println!("3 boards heard each other after {time:?}");
    let heard = boards[0].discovery().heard();
    let one = heard.iter().find(|heard| heard.node == id(1)).unwrap();
    assert_eq!(one.endpoint, "192.0.2.2:38400".parse().unwrap());
    assert_eq!((one.cluster.as_str(), one.boot), ("lab", Some(1)));
    boards[1].stop();
    until("the farewell is heard", PATIENCE, || {
        boards[0].hinted(|hint| hint.node == id(1) && hint.kind == HintKind::ByeBye)
    });
    assert!(
        !boards[0].hinted(|hint| hint.node == id(0)),
        "its own voice"
    );
}

#[test]
fn thirty_boards_started_together_hear_each_other() {
    let lan = Lan::new(30);
    let boards = start_all(&lan, 30);
    let time = until("all hear all", PATIENCE, || {
        everyone_hears_everyone(&boards)
    });
    println!("30 boards heard each other after {time:?}");
}

/// A program that is ended with the test.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        Running(quiet.spawn().expect("iproute2 is installed"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.0.id() as i32);
        // It may have ended by itself.
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT);
        let _ = self.0.wait();
    }
}

#[test]
fn other_control_points_see_every_board_and_nothing_malformed() {
    let lan = Lan::new(3);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lan.pcapng");
    let mut capture = command(&lan.bridge(), "tshark");
    capture
        .args(["-q", "-i", "br0", "-f", "udp port 1900", "-w"])
        .arg(&file);
    let capture = Running::start(&mut capture);
    until("the capture runs", PATIENCE, || file.exists());
    let mut boards = start_all(&lan, 3);
    until("all hear all", PATIENCE, || {
        everyone_hears_everyone(&boards)
    });
    let output = command(&lan.host(2), "gssdp-discover")
        .args(["-i", "eth0", "-n", "4", "-t", "ssdp:all"])
        .output()
        .expect("gssdp-discover is installed (Debian: gssdp-tools)");
    let seen = text(&output);
    for (number, address) in ["192.0.2.1", "192.0.2.2", "192.0.2.3"].iter().enumerate() {
        let name = format!("board-{number}").parse().unwrap();
        let device = Description::of_board(&id(number), &name).device;
        for usn in [
            format!("uuid:{}::upnp:rootdevice", device.udn),
            format!("uuid:{}", device.devices[0].udn),
            format!("uuid:{}::urn:roundel-org:device:RingNode:1", device.udn),
            format!("http://{address}:38400/description.xml"),
        ] {
            assert!(seen.contains(&usn), "{usn} is missing in\n{seen}");
        }
    }
    boards.iter_mut().for_each(Board::stop);
    let read = |filter: &str| {
        let output = Command::new("tshark")
            .args(["-Y", filter, "-r"])
            .arg(&file)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).lines().count()
    };
    until("farewells are captured", PATIENCE, || {
        read("ssdp && frame contains \"ssdp:byebye\"") >= 3 * 5
    });
    drop(capture);
    assert!(
        read("ssdp") > 3 * 5 * 3,
        "the capture holds the advertisements"
    );
    assert_eq!(read("_ws.malformed || _ws.expert.severity == error"), 0);
    let odd = "ssdp && !http.request.method == \"NOTIFY\" && !http.request.method == \"M-SEARCH\" \
               && !http.response.code == 200";
    assert_eq!(read(odd), 0, "the dissector knows every message");
}

#[test]
fn answers_of_the_crate_alone_are_enough() {
    let lan = Lan::new(2);
    lan.ip(0, &["route", "add", "default", "via", "192.0.2.2"]);
    let neighbour = Board::start(&lan.host(1), settings(1));
    let mut deaf = settings(0);
    (deaf.interfaces, deaf.listen, deaf.advertise) = (Vec::new(), false, false);
    let mut deaf = Board::start(&lan.host(0), deaf);
    until("the crate finds it", PATIENCE, || {
        deaf.hinted(|hint| hint.node == id(1))
    });
    assert!(!neighbour.hears(0), "it is not announced");
}

#[test]
fn board_with_no_multicast_route_finds_and_is_found() {
    let lan = Lan::new(2);
    let mut unnamed = settings(0);
    unnamed.interfaces = Vec::new();
    let boards = [
        Board::start(&lan.host(0), unnamed),
        Board::start(&lan.host(1), settings(1)),
    ];
    until("both hear", PATIENCE, || everyone_hears_everyone(&boards));
}

#[test]
fn interface_that_comes_later_is_taken_up_and_a_changed_address_is_told() {
    let lan = Lan::new(2);
    lan.ip(0, &["address", "flush", "dev", "eth0"]);
    let mut boards = vec![
        Board::start(&lan.host(0), settings(0)),
        Board::start(&lan.host(1), settings(1)),
    ];
    assert!(boards[0].discovery().addresses().is_empty());
    lan.ip(0, &["address", "add", "192.0.2.1/24", "dev", "eth0"]);
    until("both hear", PATIENCE, || everyone_hears_everyone(&boards));
    assert_eq!(
        boards[0].drawn.load(Ordering::SeqCst),
        100,
        "nothing was announced before"
    );
    lan.ip(0, &["address", "add", "192.0.2.77/24", "dev", "eth0"]);
    lan.ip(0, &["address", "del", "192.0.2.1/24", "dev", "eth0"]);
    lan.ip(0, &["address", "replace", "192.0.2.77/24", "dev", "eth0"]);
    let moved = "192.0.2.77:38400".parse().unwrap();
    until("the new address is heard", PATIENCE, || {
        boards[1].hinted(|hint| hint.node == id(0) && hint.endpoint == moved)
    });
    assert!(boards[0].drawn.load(Ordering::SeqCst) > 100, "a new BOOTID");
    let addresses = boards[0].discovery().addresses();
    assert_eq!(addresses[0].address.to_string(), "192.0.2.77");
    assert_eq!(addresses[0].name, "eth0");
}

#[test]
fn carrier_that_comes_back_is_announced_on_anew() {
    let lan = Lan::new(2);
    lan.set_port(0, "down");
    let boards = start_all(&lan, 2);
    // Three searches and three sets of five are out; the next is many seconds away.
    until("both have said all", PATIENCE, || {
        boards
            .iter()
            .all(|board| board.discovery().stats().sent >= 18)
    });
    assert!(!boards[0].hears(1) && !boards[1].hears(0));
    lan.set_port(0, "up");
    until("both hear", PATIENCE, || everyone_hears_everyone(&boards));
    let drawn = boards[0].drawn.load(Ordering::SeqCst);
    assert_eq!(drawn, 100, "the same address needs no new BOOTID");
}

#[test]
fn ipv6_alone_is_enough() {
    let lan = Lan::new(2);
    let boards: Vec<_> = (0..2)
        .map(|number| {
            lan.ip(number, &["-4", "address", "flush", "dev", "eth0"]);
            let mut settings = settings(number);
            settings.ipv6 = true;
            Board::start(&lan.host(number), settings)
        })
        .collect();
    // Duplicate address detection takes up to two seconds.
    until("both hear", 2 * PATIENCE, || {
        everyone_hears_everyone(&boards)
    });
    let heard = boards[0].discovery().heard();
    assert!(
        heard
            .iter()
            .all(|heard| heard.endpoint.to_string().starts_with("[fe80::"))
    );
}

#[test]
fn boards_share_one_host_on_loopback() {
    let lan = Lan::new(1);
    let boards: Vec<_> = (0..3)
        .map(|number| {
            let mut settings = settings(number);
            settings.interfaces = vec!["lo".to_owned()];
            settings.http_port += number as u16;
            Board::start(&lan.host(0), settings)
        })
        .collect();
    until("all hear all", PATIENCE, || {
        everyone_hears_everyone(&boards)
    });
    let found = enter(&lan.host(0), || {
        // The wildcard can still be bound by a program started later.
        let late = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        late.set_reuse_address(true).unwrap();
        let wildcard: std::net::SocketAddr = "0.0.0.0:1900".parse().unwrap();
        late.bind(&wildcard.into())
            .expect("a later program may bind the wildcard");
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        let wait = Duration::from_secs(2);
        runtime.block_on(search(&["lo".to_owned()], &Target::ROOT_DEVICE, wait))
    });
    let found = found.join().unwrap().unwrap();
    let mut ports: Vec<_> = found
        .iter()
        .map(|one| one.location.address().port())
        .collect();
    ports.sort_unstable();
    assert_eq!(ports, [38_400, 38_401, 38_402]);
    assert!(
        found
            .iter()
            .all(|one| one.cluster.is_some() && one.node.is_some())
    );
}

#[test]
fn search_on_an_interface_that_is_not_there_says_so() {
    let lan = Lan::new(1);
    let error = enter(&lan.host(0), || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        let wait = Duration::from_secs(1);
        runtime.block_on(search(&["eth9".to_owned()], &Target::ALL, wait))
    });
    let error = error.join().unwrap().unwrap_err();
    assert!(error.to_string().contains("eth9"), "{error}");
}

#[test]
fn probe_reports_what_discovery_depends_on() {
    let lan = Lan::new(2);
    lan.ip(0, &["route", "add", "default", "via", "192.0.2.2"]);
    let _neighbour = Board::start(&lan.host(1), settings(1));
    let _ours = Board::start(&lan.host(0), settings(0));
    let report = enter(&lan.host(0), || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime
            .block_on(probe(&[], Duration::from_secs(2)))
            .unwrap()
    });
    let report = report.join().unwrap();
    let interface = |name| {
        let found = report
            .interfaces
            .iter()
            .find(|one| one.interface.name == name);
        found.unwrap()
    };
    assert!(!interface("lo").chosen);
    let link = interface("eth0")
        .links
        .iter()
        .find(|link| link.address.is_ipv4())
        .unwrap();
    assert_eq!(link.error, None);
    assert!(link.loops_back);
    let neighbour = "192.0.2.2".parse().unwrap();
    assert!(link.heard.contains_key(&neighbour) && link.answered.contains_key(&neighbour));
    assert_eq!(report.routes[0].interface, "eth0");
    assert_eq!(report.primary_address, Some("192.0.2.1".parse().unwrap()));
    assert_eq!(report.port_holders.len(), 2, "{:?}", report.port_holders);
    assert!(
        report
            .port_holders
            .iter()
            .all(|holder| holder.program.is_some())
    );
}
