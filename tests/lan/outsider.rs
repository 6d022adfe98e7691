//! Programs that are not ours, on the same LAN: UPnP's own tools see every node, and Wireshark's
//! dissector finds nothing malformed.

use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::lab::Lab;
use crate::node::Node;
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

#[test]
fn upnp_client_search_and_advertisements_see_every_node() {
    let lab = Lab::new("upnp-client", 6);
    let nodes = ring::form(&lab, 0..3);
    let outsider = lab.board(5);
    let bind = outsider.address().to_string();
    let search = ["--timeout", "5", "search", "--bind", &bind];
    assert_sees_all(
        "upnp-client",
        &outsider.output(&upnp_client(), &search),
        &nodes,
    );

    let client = upnp_client();
    // It listens until it is interrupted.
    let listening = outsider.agent().begin(move || {
        let arguments = ["advertisements", "--bind", &bind];
        let mut command = Command::new("timeout");
        command
            .env("PYTHONUNBUFFERED", "1")
            .args(["-s", "INT", "8", &client]);
        command.args(arguments).output()
    });
    // Two more boards say that they are there; the others repeat themselves by and by.
    let mut late = ring::exec(&lab, 3..5);
    late.iter_mut().for_each(Node::wait_ready);
    let output = listening
        .recv()
        .expect("the agent lives")
        .expect("upnp-client runs");
    let output = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&output);
    assert_sees_all("upnp-client advertisements", &text, &late);
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
