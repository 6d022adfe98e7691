//! SSDP's rules, one test for each, against the machine alone: no socket, no clock.
//!
//! Source: UDA 2.0 §1.2 and §1.3. Sockets and interfaces are in `discovery.rs`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use roundel::base::hint::{Hint, HintKind};
use roundel::base::id::Id;
use roundel::base::limit;
use roundel::base::rng;
use roundel::base::time::Time;
use roundel::proto::ssdp::advertiser::Profile;
use roundel::proto::ssdp::link::{Group, Link, LinkKey, Links, Prefix};
use roundel::proto::ssdp::{Settings, Ssdp, Transmit, Via};
use roundel::wire::description::{Description, PATH, Service};
use roundel::wire::ssdp::{Alive, BootId, Counters, Message, Target, Usn, Vendor};

mod advertising;
mod hearing;
mod searching;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const KEY: LinkKey = LinkKey {
    index: 2,
    group: Group::V4,
};
const OTHER: LinkKey = LinkKey {
    index: 3,
    group: Group::V4,
};

fn id(name: &str) -> Id {
    Id::of(name.as_bytes())
}

fn link(address: &str) -> Link {
    let address = address.parse().unwrap();
    Link {
        address,
        search_port: None,
        prefixes: vec![Prefix { address, bits: 24 }],
        searches: true,
    }
}

fn description() -> Description {
    let mut description = Description::of_board(&id("we"), &"we".parse().unwrap());
    for version in [1, 2] {
        description.device.services.push(Service {
            service_type: format!("urn:roundel-org:service:Ring:{version}")
                .parse()
                .unwrap(),
            service_id: format!("urn:roundel-org:serviceId:Ring{version}"),
            scpd_path: "/s".to_owned(),
            control_path: "/c".to_owned(),
            event_path: "/e".to_owned(),
        });
    }
    description
}

fn vendor(node: &str) -> Vendor {
    Vendor {
        cluster: Some("lab".parse().unwrap()),
        node: Some(id(node)),
        boot: Some(7),
        hint: Some(roundel::base::hint::HintMac([9; 16])),
    }
}

/// The machine, the time, and what it sent when.
struct Bench {
    ssdp: Ssdp,
    now: Time,
    sent: Vec<(Time, Transmit, Message)>,
    hints: Vec<Hint>,
}

impl Bench {
    /// A machine without links.
    fn idle(seed: u8) -> Self {
        let server = "Linux/6 UPnP/2.0 roundel/0".parse().unwrap();
        let profile = Profile::new(&description(), vendor("we"), server, 38_400, PATH);
        let settings = Settings {
            profile: Some(profile),
            boot_id: BootId::new(10),
            listens: true,
            friendly_name: "we".parse().unwrap(),
            user_agent: "Linux/6 UPnP/2.0 roundel/0".parse().unwrap(),
        };
        Bench {
            ssdp: Ssdp::new(settings, rng::seeded([seed; 32], 0)),
            now: Time::ZERO + SECOND,
            sent: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// One with a link that has just come up.
    fn new(seed: u8) -> Self {
        let mut bench = Bench::idle(seed);
        bench.links(&[(KEY, "192.0.2.1")], None);
        bench
    }

    /// One whose first advertisements are over and forgotten.
    fn settled(seed: u8) -> Self {
        let mut bench = Bench::new(seed);
        bench.run(5 * SECOND);
        bench.sent.clear();
        bench
    }

    fn links(&mut self, links: &[(LinkKey, &str)], boot_id: Option<u32>) {
        let links: Links = links.iter().map(|(key, text)| (*key, link(text))).collect();
        self.ssdp
            .handle_links(self.now, links, boot_id.map(BootId::new));
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(transmit) = self.ssdp.poll_transmit() {
            assert!(transmit.bytes.len() <= limit::DATAGRAM_BYTES_MAX);
            let message = Message::parse(&transmit.bytes).expect("what we send can be read");
            self.sent.push((self.now, transmit, message));
        }
        self.hints
            .extend(std::iter::from_fn(|| self.ssdp.poll_event()));
        self.ssdp.check_invariants();
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.ssdp.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.ssdp.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn receive(&mut self, via: Via, from: &str, bytes: &[u8]) {
        let from = from.parse().unwrap();
        self.ssdp.handle_datagram(self.now, (KEY, via), from, bytes);
        self.drain();
    }

    fn search(&mut self, via: Via, from: &str, lines: &str) {
        let text = format!(
            "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\
             MAN: \"ssdp:discover\"\r\n{lines}\r\n"
        );
        self.receive(via, from, text.as_bytes());
    }

    /// (ST, USN) of the answers to a search, after the longest delay.
    fn answers(&mut self, via: Via, lines: &str) -> Vec<(String, String)> {
        self.sent.clear();
        self.search(via, "192.0.2.9:5000", lines);
        self.run(6 * SECOND);
        let answers = self.sent.iter().filter_map(|(_, transmit, message)| {
            let Message::Answer(answer) = message else {
                return None;
            };
            assert_eq!(transmit.to, "192.0.2.9:5000".parse().unwrap());
            Some((answer.st.to_string(), answer.usn.to_string()))
        });
        answers.collect()
    }

    fn alives(&self) -> Vec<(Time, &Alive)> {
        let alives = self
            .sent
            .iter()
            .filter_map(|(time, _, message)| match message {
                Message::Alive(alive) => Some((*time, alive)),
                _ => None,
            });
        alives.collect()
    }
}

/// What a neighbour announces.
fn alive(node: &str, address: &str) -> Alive {
    let udn = id(node).udn(false);
    let address: SocketAddr = address.parse().unwrap();
    Alive {
        host: "239.255.255.250:1900".parse().unwrap(),
        max_age: 1_800,
        location: roundel::wire::ssdp::Location::new(address, PATH),
        nt: Target::ROOT_DEVICE,
        server: None,
        usn: Usn::new(&udn, &Target::ROOT_DEVICE),
        counters: Counters::default(),
        search_port: None,
        vendor: vendor(node),
    }
}

fn usns_of_the_set() -> BTreeSet<String> {
    let root = id("we").udn(false);
    let round = id("we").udn(true);
    [
        format!("uuid:{root}::upnp:rootdevice"),
        format!("uuid:{root}"),
        format!("uuid:{root}::urn:roundel-org:device:RingNode:1"),
        format!("uuid:{root}::urn:roundel-org:service:Ring:2"),
        format!("uuid:{round}"),
        format!("uuid:{round}::urn:cybergarage-org:device:round:1"),
    ]
    .into()
}

proptest! {
    #[test]
    fn no_sequence_of_inputs_breaks_an_invariant(
        seed: u8,
        steps in prop::collection::vec((0u8..8, any::<u8>(), any::<u16>()), 1..60),
    ) {
        let mut bench = Bench::new(seed);
        for (kind, small, large) in steps {
            let from = format!("192.0.2.{}:{large}", small.max(2));
            let board = format!("board-{}", small % 8);
            match kind {
                0 => bench.run(Duration::from_millis(u64::from(large))),
                1 => bench.run(Duration::from_secs(u64::from(large) / 16)),
                2 => bench.search(Via::Multicast, &from, "MX: 3\r\nST: ssdp:all\r\n"),
                3 => bench.search(Via::Unicast, &from, "ST: ssdp:all\r\n"),
                4 => bench.receive(Via::Unicast, &from, &[small; 40]),
                5 => {
                    let message = Message::Alive(alive(&board, &from)).emit();
                    bench.receive(Via::Multicast, &from, &message);
                }
                6 => bench.ssdp.handle_rejoin(bench.now, KEY),
                _ => {
                    let ours = format!("192.0.2.{}", small % 2 + 1);
                    let all = [(KEY, ours.as_str()), (OTHER, "198.51.100.1")];
                    bench.links(&all[..usize::from(small % 3)], Some(u32::from(large)));
                }
            }
            bench.drain();
        }
        bench.ssdp.handle_stop();
        bench.drain();
    }
}
