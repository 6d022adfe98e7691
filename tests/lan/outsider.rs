//! Programs that are not ours, on the same LAN: UPnP's own tools see every node, and Wireshark's
//! dissector finds nothing malformed.

use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::lab::{Board, Lab};
use crate::node::{Node, Start};
use crate::ring;
use crate::wait;

/// `upnp-client` of async-upnp-client, where ./tests/run puts it.
fn upnp_client() -> String {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/target/venv/bin/upnp-client");
    assert!(
        std::path::Path::new(own).exists(),
        "{own} is missing; ./tests/run installs it"
    );
    own.to_owned()
}

/// Every node's LOCATION is in what a tool printed.
fn assert_sees_all(tool: &str, output: &str, nodes: &[Node]) {
    for node in nodes {
        let location = format!("http://{}/", node.endpoint());
        assert!(
            output.contains(&location),
            "{tool} does not see {location}:\n{output}"
        );
    }
}

#[test]
fn gssdp_discover_sees_every_node() {
    let lab = Lab::new("gssdp", 6);
    let nodes = ring::form(&lab, 0..5);
    let outsider = lab.board(5);
    let arguments = [
        "--interface=eth0",
        "--timeout=5",
        "--target=upnp:rootdevice",
    ];
    assert_sees_all(
        "gssdp-discover",
        &outsider.output("gssdp-discover", &arguments),
        &nodes,
    );
}

/// How many sockets of a board listen at SSDP's port.
fn ssdp_sockets(board: &Board) -> usize {
    let read = || std::fs::read_to_string("/proc/thread-self/net/udp");
    let table = board.agent().run(read).expect("/proc is there");
    let port = format!(":{:04X} ", 1900);
    table.lines().filter(|line| line.contains(&port)).count()
}

/// Runs `upnp-client advertisements` on a board while `late` starts more nodes; what it printed.
/// It listens until it is interrupted.
fn listen_while<'a>(
    outsider: &Board,
    bind: &str,
    late: impl FnOnce() -> Vec<Node<'a>>,
) -> (String, Vec<Node<'a>>) {
    let before = ssdp_sockets(outsider);
    let mut command = Command::new("timeout");
    command
        .env("PYTHONUNBUFFERED", "1")
        .args(["-s", "INT", "15", &upnp_client()])
        .args(["advertisements", "--bind", bind])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let client = outsider.agent().run(move || command.spawn());
    let client = client.expect("upnp-client runs");
    wait::until("upnp-client listens", Duration::from_secs(10), || {
        (ssdp_sockets(outsider) > before)
            .then_some(())
            .ok_or("not yet".to_owned())
    });
    let mut late = late();
    late.iter_mut().for_each(Node::wait_ready);
    let output = client.wait_with_output().expect("it is our child");
    let output = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&output).into_owned(), late)
}

#[test]
fn upnp_client_search_and_advertisements_see_every_node() {
    let lab = Lab::new("upnp-client", 6);
    let nodes = ring::form(&lab, 0..3);
    let outsider = lab.board(5);
    let bind = outsider.address().to_string();
    let search = ["--timeout", "5", "search", "--bind", &bind];
    let output = outsider.output(&upnp_client(), &search);
    assert_sees_all("upnp-client", &output, &nodes);

    // Two more boards say that they are there; the others repeat themselves by and by.
    let (heard, late) = listen_while(outsider, &bind, || ring::exec(&lab, 3..5));
    assert_sees_all("upnp-client advertisements", &heard, &late);
}

#[test]
fn tools_on_loopback_see_every_node() {
    let lab = Lab::unplugged("loopback", 1);
    let exec = |number: usize| {
        let start = Start {
            interface: Some("lo"),
            ..Start::on(number)
        };
        Node::exec(&lab, 0, start)
    };
    let mut nodes: Vec<Node> = (0..3).map(exec).collect();
    nodes.iter_mut().for_each(Node::wait_ready);
    ring::wait_for_ring(&nodes, ring::SETTLED_MAX);
    let board = lab.board(0);
    let arguments = ["--interface=lo", "--timeout=5", "--target=upnp:rootdevice"];
    let output = board.output("gssdp-discover", &arguments);
    assert_sees_all("gssdp-discover", &output, &nodes);

    let search = ["--timeout", "5", "search", "--bind", "127.0.0.1"];
    let output = board.output(&upnp_client(), &search);
    assert_sees_all("upnp-client", &output, &nodes);

    let (heard, late) = listen_while(board, "127.0.0.1", || (3..5).map(exec).collect());
    assert_sees_all("upnp-client advertisements", &heard, &late);
}

#[test]
fn tshark_finds_nothing_malformed() {
    let lab = Lab::new("tshark", 4);
    let outsider = lab.board(3);
    let file = lab.directory().join("lan.pcapng");
    let path = file.display().to_string();
    let mut capture = Command::new("tshark");
    capture.args(["-q", "-i", "eth0", "-w", &path, "-f", "udp"]);
    capture.stdout(Stdio::null()).stderr(Stdio::null());
    let capture = outsider.agent().run(move || capture.spawn());
    let mut capture = capture.expect("tshark runs; ./tests/run installs it");
    wait::until("tshark captures", Duration::from_secs(20), || {
        let length = std::fs::metadata(&file).map(|file| file.len());
        length
            .is_ok_and(|length| length > 0)
            .then_some(())
            .ok_or("no file yet".to_owned())
    });
    let mut nodes = ring::form(&lab, 0..3);
    outsider.output("gssdp-discover", &["--interface=eth0", "--timeout=3"]);
    nodes
        .iter_mut()
        .for_each(|node| assert!(node.terminate().success()));
    kill(Pid::from_raw(capture.id() as i32), Signal::SIGINT).expect("it is our child");
    capture.wait().expect("it is our child");
    let read = |filter: &str| {
        let output = Command::new("tshark")
            .args(["-r", &path, "-Y", filter])
            .output();
        let output = output.expect("tshark runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let messages = read("ssdp").lines().count();
    println!("tshark: {messages} SSDP messages");
    assert!(messages > 30, "{messages} messages were seen");
    let malformed = read("ssdp && (_ws.malformed || _ws.expert.severity >= warning)");
    assert_eq!(malformed, "");
}
