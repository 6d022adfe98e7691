//! How soon a board is heard and answers. Asserted at five times the goal.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use crate::client::PATIENCE;
use crate::lab::Lab;
use crate::node::{Node, Start};
use crate::wait::median_and_p99;

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
const SECOND: Duration = Duration::from_secs(1);

fn receive(socket: &UdpSocket, deadline: Instant) -> Option<String> {
    let left = deadline.checked_duration_since(Instant::now())?;
    let left = left.max(Duration::from_millis(1));
    socket.set_read_timeout(Some(left)).expect("it is not zero");
    let mut buffer = [0; 2_048];
    let (length, _) = socket.recv_from(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

fn search(host: &str, mx: &str) -> String {
    format!(
        "M-SEARCH * HTTP/1.1\r\nHOST: {host}\r\nMAN: \"ssdp:discover\"\r\n{mx}\
         ST: urn:roundel-org:service:Bucket:1\r\n\r\n"
    )
}

#[test]
fn alive_is_heard_soon_after_exec() {
    const GOAL: Duration = Duration::from_millis(150);
    let lab = Lab::in_memory("cp-alive", 2);
    let mut times = Vec::new();
    for start in 0..5 {
        let socket = lab.board(1).agent().run(|| {
            let socket = UdpSocket::bind((GROUP, 1_900)).expect("the port is free");
            let any = Ipv4Addr::UNSPECIFIED;
            socket
                .join_multicast_v4(&GROUP, &any)
                .expect("there is a route");
            socket
        });
        let mut start = Start {
            name: format!("alive{start}"),
            data: format!("alive{start}"),
            ..Start::on(0)
        };
        start.cluster = "lab";
        let mut node = Node::exec(&lab, 0, start);
        let deadline = Instant::now() + PATIENCE;
        let heard = std::iter::from_fn(|| receive(&socket, deadline))
            .any(|text| text.contains("NTS: ssdp:alive"));
        let after = node.age();
        assert!(heard, "an alive within {PATIENCE:?}");
        times.push(after);
        node.kill();
    }
    let (median, worst) = median_and_p99(times);
    println!("ssdp:alive heard {median:?} after exec (worst of 5 {worst:?}; goal {GOAL:?})");
    assert!(median <= GOAL * 5, "{median:?}");
}

#[test]
fn searches_are_answered_in_time() {
    const GOAL: Duration = Duration::from_millis(20);
    let lab = Lab::new("cp-answers", 2);
    let _node = Node::start(&lab, 0);
    let address = lab.board(1).address();
    let socket = lab
        .board(1)
        .agent()
        .run(move || UdpSocket::bind((address, 0)));
    let socket = socket.expect("the address is there");
    let ask = |to: Ipv4Addr, text: String, patience| {
        // Answers to an earlier search are late for this one.
        while receive(&socket, Instant::now() + Duration::from_millis(5)).is_some() {}
        let start = Instant::now();
        socket
            .send_to(text.as_bytes(), (to, 1_900))
            .expect("there is a route");
        let answer = receive(&socket, start + patience);
        let answer = answer.unwrap_or_else(|| panic!("no answer within {patience:?} to {text}"));
        assert!(
            answer.contains("ST: urn:roundel-org:service:Bucket:1\r\n"),
            "{answer}"
        );
        start.elapsed()
    };
    let host = format!("{GROUP}:1900");
    let multicast = (0..5).map(|_| ask(GROUP, search(&host, "MX: 1\r\n"), SECOND * 5));
    let (median, worst) = median_and_p99(multicast.collect());
    println!("an M-SEARCH with MX 1 answered after {median:?} (worst of 5 {worst:?}; goal 1 s)");
    assert!(worst <= SECOND * 5);
    let board = lab.board(0).address();
    let unicast = (0..20).map(|_| ask(board, search(&format!("{board}:1900"), ""), SECOND * 5));
    let (median, worst) = median_and_p99(unicast.collect());
    println!("a unicast M-SEARCH answered after {median:?} (worst of 20 {worst:?}; goal {GOAL:?})");
    assert!(median <= GOAL * 5, "{median:?}");
}
