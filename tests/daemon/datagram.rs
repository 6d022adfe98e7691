//! Datagrams that are nothing, nearly something, or forged: on the board's own port and on SSDP's.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use bytes::Bytes;
use roundel::base::id::Id;
use roundel::base::limit;
use roundel::base::rng::{RngExt, seeded};
use roundel::wire::frame::Frame;
use roundel::wire::peer::{Message, RingCall};
use serde_json::{Value, json};

use crate::client;
use crate::namespace::alone;
use crate::peer::{hello, stranger};
use crate::process::{CLUSTER, DEADLINE, Daemon, until};

const SSDP: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(Ipv4Addr::new(239, 255, 255, 250)),
    1900,
);

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("lo is up");
    socket.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    let group = socket2::SockRef::from(&socket);
    group
        .set_multicast_if_v4(&Ipv4Addr::LOCALHOST)
        .expect("lo is up");
    socket
}

/// Datagrams that wait in the sockets of a port, and those that found no room.
fn queue(port: u16) -> (u64, u64) {
    let table = fs::read_to_string("/proc/thread-self/net/udp").expect("the kernel has it");
    let hex = |text: &str| u64::from_str_radix(text, 16).expect("a hex number");
    let mut sum = (0, 0);
    for line in table.lines().skip(1) {
        let fields: Vec<_> = line.split_whitespace().collect();
        let local = fields[1].split_once(':').expect("address:port").1;
        if hex(local) == u64::from(port) {
            sum.0 += hex(fields[4].split_once(':').expect("tx:rx").1);
            sum.1 += fields[12].parse::<u64>().expect("a count");
        }
    }
    sum
}

/// Waits until the board has read what was sent.
fn drained(port: u16) {
    until("the datagrams are read", DEADLINE, || match queue(port) {
        (0, _) => Ok(()),
        (bytes, _) => Err(format!("{bytes} bytes wait")),
    });
}

fn httpu(head: &str, body: &str) -> Vec<u8> {
    format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

const ECHO: &str = r#"{"jsonrpc":"2.0","method":"echo","params":["still here"],"id":1}"#;

/// Sends a good HTTPU request and takes its answer, which must be the next datagram.
fn assert_answers(socket: &UdpSocket, at: SocketAddr) {
    let head = format!("POST /rpc HTTP/1.1\r\nHost: {at}\r\nContent-Type: application/json");
    let good = httpu(&head, ECHO);
    socket.send_to(&good, at).expect("lo is up");
    let mut answer = [0; 2_048];
    let length = socket.recv(&mut answer).expect("it answers");
    let answer = client::parse(&answer[..length]);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["result"][0], "still here");
}

#[test]
fn datagrams_that_are_no_message_are_dropped_in_silence() {
    alone(|| {
        let data = tempfile::tempdir().expect("a directory");
        let mut daemon = Daemon::start(data.path(), &[]);
        let before_bytes = daemon.rss_bytes();
        let socket = socket();
        let whole = Message::Hello(hello(&stranger())).encode();
        let mut damaged = whole.to_vec();
        damaged[20] ^= 0x40;
        let mut too_long = whole.to_vec();
        too_long[2..6].copy_from_slice(&u32::MAX.to_be_bytes());
        let frame = |kind, payload: &[u8]| {
            let payload = Bytes::copy_from_slice(payload);
            Frame { kind, payload }.encode().to_vec()
        };
        let body = RingCall::Join {
            generation: 1,
            cluster: None,
            diskless: false,
        };
        let mut cases = vec![
            vec![],
            vec![0],
            vec![1],
            vec![1, 0x12],
            b"\x16\x03\x01\x00\xc4".to_vec(),
            vec![2; 100],
            vec![0xff; 60_000],
            [&[1, 0x12][..], &[0; 60_000]].concat(),
            damaged,
            too_long,
            whole.to_vec(),
            frame(0x42, b"unknown"),
            frame(0x12, b""),
            frame(0x12, b"\x00garbage"),
            frame(0x12, b"\x01\xff\xff\xff\xff\x0f"),
            frame(0x15, b"\x00"),
            Message::RingCall { call: 1, body }.encode().to_vec(),
            // A letter first, but no request.
            b"x".to_vec(),
            b"hello, is anybody there?\r\n\r\n".to_vec(),
            b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
            vec![b'G'; 60_000],
        ];
        cases.extend((0..whole.len()).map(|length| whole[..length].to_vec()));
        let mut rng = seeded([2; 32], 1);
        cases.extend((0..2_000).map(|_| {
            let length = rng.random_range(1..300);
            let mut noise: Vec<u8> = (0..length).map(|_| rng.random()).collect();
            // Frames of the version that is spoken get further.
            noise[0] = if rng.random() { 1 } else { noise[0] & 0x3f };
            noise
        }));
        for case in cases {
            socket.send_to(&case, daemon.at).expect("lo is up");
            drained(daemon.at.port());
        }
        // The first datagram that comes back answers this.
        assert_answers(&socket, daemon.at);
        assert_eq!(queue(daemon.at.port()).1, 0, "every datagram was read");
        daemon.assert_small(before_bytes);
        daemon.assert_well();
    });
}

#[test]
fn requests_with_bad_heads_are_told_so_in_one_small_datagram() {
    alone(|| {
        let data = tempfile::tempdir().expect("a directory");
        let mut daemon = Daemon::start(data.path(), &[]);
        let before_bytes = daemon.rss_bytes();
        let socket = socket();
        let (at, json) = (daemon.at, "Content-Type: application/json");
        let post = format!("POST /rpc HTTP/1.1\r\nHost: {at}\r\n{json}");
        let many: String = (0..200).map(|i| format!("\r\nX-{i}: y")).collect();
        let long = "k".repeat(50_000);
        let put = format!(
            r#"{{"jsonrpc":"2.0","method":"put","params":{{"key":"{long}","value":1}},"id":1}}"#
        );
        let mut length_too_long = httpu(&post, ECHO);
        length_too_long.truncate(length_too_long.len() - 5);
        let cases = [
            (httpu(&format!("{post}{many}"), ECHO), 400),
            (length_too_long, 400),
            (httpu(&format!("{post}\r\nContent-Length: 1"), ECHO), 400),
            (httpu(&format!("{post}\r\nno colon"), ECHO), 400),
            (httpu(&format!("POST /rpc HTTP/1.1\r\n{json}"), ECHO), 400),
            (httpu(&format!("{post}\r\nHost: {at}"), ECHO), 400),
            (
                httpu(
                    &format!("POST /rpc HTTP/1.1\r\nHost: evil.example\r\n{json}"),
                    ECHO,
                ),
                421,
            ),
            (
                httpu(&format!("POST /rpc HTTP/1.1\r\nHost: {at}"), ECHO),
                415,
            ),
            (
                httpu(&format!("{post}\r\nOrigin: http://evil.example"), ECHO),
                403,
            ),
            (httpu(&post, "{"), 400),
            (httpu(&post, &put), 413),
        ];
        for (bytes, status) in cases {
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
            socket.send_to(&bytes, at).expect("lo is up");
            let mut answer = [0; 65_535];
            let length = socket
                .recv(&mut answer)
                .unwrap_or_else(|e| panic!("{e}: {shown}"));
            assert!(length <= limit::DATAGRAM_BYTES_MAX);
            let answer = client::parse(&answer[..length]);
            assert_eq!(answer.status, status, "{shown}: {answer:?}");
            assert!(answer.json()["error"]["code"].is_i64(), "{answer:?}");
        }
        assert_answers(&socket, at);
        daemon.assert_small(before_bytes);
        daemon.assert_well();
    });
}

fn notify(index: u32, more: &str) -> Vec<u8> {
    let node = Id::of(&index.to_be_bytes());
    let udn = node.udn(false);
    let target = "urn:roundel-org:device:RingNode:1";
    let port = 10_000 + index % 10_000;
    format!(
        "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nCACHE-CONTROL: max-age=1800\r\n\
         LOCATION: http://127.0.0.1:{port}/description.xml\r\nNT: {target}\r\nNTS: ssdp:alive\r\n\
         SERVER: Linux/6 UPnP/2.0 forged/1\r\nUSN: uuid:{udn}::{target}\r\n\
         BOOTID.UPNP.ORG: 1\r\nCONFIGID.UPNP.ORG: 1\r\nCLUSTER.ROUNDEL.ORG: {CLUSTER}\r\n\
         NODE.ROUNDEL.ORG: {node}\r\nBOOT.ROUNDEL.ORG: 1\r\n{more}\r\n"
    )
    .into_bytes()
}

fn members(at: SocketAddr) -> Value {
    let state = client::call(at, "get_cluster_state", json!({})).expect("a state");
    state["cluster"]["nodes"].clone()
}

#[test]
fn forged_announcements_make_no_member_and_fill_no_memory() {
    alone(|| {
        let data = tempfile::tempdir().expect("a directory");
        let mut daemon = Daemon::start(data.path(), &[]);
        let before_bytes = daemon.rss_bytes();
        let socket = socket();
        for index in 0..10_000 {
            socket.send_to(&notify(index, ""), SSDP).expect("lo is up");
            if index % 64 == 0 {
                drained(SSDP.port());
            }
        }
        drained(SSDP.port());
        assert_eq!(queue(SSDP.port()).1, 0, "every announcement was read");
        assert_eq!(members(daemon.at).as_array().map(Vec::len), Some(1));
        daemon.assert_small(before_bytes);
        daemon.assert_well();
    });
}

#[test]
fn rubbish_on_the_discovery_port_is_survived() {
    alone(|| {
        let data = tempfile::tempdir().expect("a directory");
        let mut daemon = Daemon::start(data.path(), &[]);
        let before_bytes = daemon.rss_bytes();
        let socket = socket();
        let good = notify(1, "");
        let mut cases: Vec<Vec<u8>> = vec![
            vec![],
            b"NOTIFY".to_vec(),
            b"M-SEARCH * HTTP/1.1\r\n\r\n".to_vec(),
            b"M-SEARCH * HTTP/1.1\r\nMAN: \"ssdp:discover\"\r\nMX: -1\r\nST: ssdp:all\r\n\r\n"
                .to_vec(),
            vec![b'N'; 60_000],
            vec![0; 60_000],
            notify(1, &"X: y\r\n".repeat(500)),
            notify(1, &format!("X: {}\r\n", "y".repeat(30_000))),
            notify(1, "LOCATION: http://127.0.0.1:9/other.xml\r\n"),
            notify(1, "NODE.ROUNDEL.ORG: \u{1F600}\r\n"),
        ];
        cases.extend((0..good.len()).map(|length| good[..length].to_vec()));
        let mut rng = seeded([3; 32], 1);
        cases.extend((0..2_000).map(|_| {
            let mut changed = good.clone();
            for _ in 0..rng.random_range(1..8) {
                let position = rng.random_range(0..changed.len());
                changed[position] = rng.random();
            }
            changed
        }));
        let own = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), SSDP.port());
        for (index, case) in cases.iter().enumerate() {
            for to in [SSDP, own] {
                socket.send_to(case, to).expect("lo is up");
            }
            if index % 16 == 0 || case.len() > 10_000 {
                drained(SSDP.port());
            }
        }
        drained(SSDP.port());
        assert_eq!(queue(SSDP.port()).1, 0, "every datagram was read");
        assert_eq!(members(daemon.at).as_array().map(Vec::len), Some(1));
        // Discovery itself is alive: it answers a search.
        let search = "M-SEARCH * HTTP/1.1\r\nHOST: 127.0.0.1:1900\r\nMAN: \"ssdp:discover\"\r\n\
                      ST: upnp:rootdevice\r\n\r\n";
        socket.send_to(search.as_bytes(), own).expect("lo is up");
        let udn = daemon.id.udn(false);
        until("the search is answered", DEADLINE, || {
            let mut answer = [0; 2_048];
            let length = socket
                .recv(&mut answer)
                .map_err(|error| error.to_string())?;
            let text = String::from_utf8_lossy(&answer[..length]).into_owned();
            let is_it = text.contains(&udn) && text.contains("ST: upnp:rootdevice");
            is_it.then_some(()).ok_or(text)
        });
        daemon.assert_small(before_bytes);
        daemon.assert_well();
    });
}
