//! `roundel search --all`: boards, and devices of others that are sound, slow or hostile.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::json_lines;
use crate::lab::{Board, Lab};
use crate::node::Node;

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
/// Its name has the one control that colours terminals and that XML can carry (CSI in 8 bits).
const CAMERA: &str = "<root xmlns='urn:schemas-upnp-org:device-1-0'><device>\
     <deviceType>urn:example-com:device:Camera:1</deviceType>\
     <friendlyName>&lt;b&gt;garden&#x9b;31m</friendlyName></device></root>";

/// A device that answers every search with this LOCATION, for as long as the lab stands.
fn announce(board: &Board, udn: &'static str, location: String) {
    let address = board.address();
    board.agent().run(move || {
        let group = UdpSocket::bind((GROUP, 1_900)).expect("the port is free");
        let any = Ipv4Addr::UNSPECIFIED;
        group
            .join_multicast_v4(&GROUP, &any)
            .expect("there is a route");
        let own = UdpSocket::bind((address, 1_900)).expect("the address is there");
        std::thread::spawn(move || {
            let mut buffer = [0; 2_048];
            while let Ok((length, from)) = group.recv_from(&mut buffer) {
                if buffer[..length].starts_with(b"M-SEARCH") {
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=1800\r\nEXT:\r\n\
                         LOCATION: {location}\r\nSERVER: Camera/1 UPnP/1.0\r\n\
                         ST: upnp:rootdevice\r\nUSN: uuid:{udn}::upnp:rootdevice\r\n\r\n"
                    );
                    let _ = own.send_to(answer.as_bytes(), from);
                }
            }
        });
    });
}

/// A web server that answers every request so, or never; how many requests it had.
fn serve(board: &Board, port: u16, answer: Option<String>) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let (counted, address) = (count.clone(), board.address());
    board.agent().run(move || {
        let listener = TcpListener::bind((address, port)).expect("the port is free");
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for mut stream in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::SeqCst);
                if let Some(answer) = &answer {
                    let _ = stream.read(&mut [0; 2_048]);
                    let _ = stream.write_all(answer.as_bytes());
                } else {
                    open.push(stream);
                }
            }
        });
    });
    count
}

fn page(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn by_udn<'a>(devices: &'a [Value], udn: &str) -> &'a Value {
    let found = devices.iter().find(|device| device["udn"] == udn);
    found.unwrap_or_else(|| panic!("{udn} in {devices:?}"))
}

#[test]
fn nobody_on_the_lan_is_said_and_not_listed() {
    let lab = Lab::new("cp-nobody", 1);
    let said = lab
        .board(0)
        .output(&binary(), &["search", "--all", "--interface", "eth0"]);
    assert!(
        said.starts_with("roundel: no UPnP device answers on the LAN\n  next: "),
        "{said}"
    );
}

fn binary() -> String {
    let named = std::env::var("ROUNDEL_BINARY");
    named.unwrap_or_else(|_| env!("CARGO_BIN_EXE_roundel").to_owned())
}

#[test]
fn every_device_is_listed_and_only_fetched_from_where_it_answered() {
    let lab = Lab::new("cp-all", 7);
    let node = Node::start(&lab, 0);
    let url = |board: usize, port: u16| {
        let at = SocketAddr::from((lab.board(board).address(), port));
        format!("http://{at}/d.xml")
    };
    serve(lab.board(1), 80, Some(page(CAMERA)));
    announce(lab.board(1), "camera", url(1, 80));
    let victim = serve(lab.board(2), 80, Some(page(CAMERA)));
    announce(lab.board(2), "liar", url(1, 80));
    let moved = format!(
        "HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
        url(2, 80)
    );
    serve(lab.board(3), 80, Some(moved));
    announce(lab.board(3), "mover", url(3, 80));
    serve(lab.board(4), 80, Some(page(&"x".repeat(200_000))));
    announce(lab.board(4), "large", url(4, 80));
    serve(lab.board(5), 80, None);
    announce(lab.board(5), "silent", url(5, 80));
    let binary = binary();
    let start = Instant::now();
    let said = lab.board(6).output(
        &binary,
        &["search", "--all", "--interface", "eth0", "--json"],
    );
    let took = start.elapsed();
    println!("six devices, one of them silent, were listed after {took:?}");
    assert!(took < Duration::from_secs(15), "{took:?}");
    let devices = json_lines(&said);
    assert_eq!(devices.len(), 6, "{said}");
    let camera = by_udn(&devices, "camera");
    assert_eq!(camera["type"], "urn:example-com:device:Camera:1");
    assert_eq!(camera["server"], "Camera/1 UPnP/1.0");
    for (udn, problem) in [
        ("liar", "was not fetched"),
        ("mover", "status 302"),
        ("large", "more than 65536 bytes"),
        ("silent", "did not answer within 3s"),
    ] {
        let device = by_udn(&devices, udn);
        assert_eq!(
            (&device["type"], &device["name"]),
            (&Value::Null, &Value::Null)
        );
        let shown = device["problem"].as_str().unwrap_or_default();
        assert!(shown.contains(problem), "{device}");
    }
    assert_eq!(victim.load(Ordering::SeqCst), 0, "nothing was led there");
    let board = devices
        .iter()
        .find(|device| device["name"] == node.name.as_str());
    let board = board.expect("the board is listed by its name");
    assert_eq!(board["type"], "urn:roundel-org:device:RingNode:1");
    let said = lab
        .board(6)
        .output(&binary, &["search", "--all", "--interface", "eth0"]);
    assert!(said.contains("<b>garden\\u{9b}31m"), "it is text: {said}");
    assert!(said.starts_with("TYPE "), "{said}");
}
