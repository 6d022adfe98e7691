//! Boards are found by foreign control points, with every device and service, and no complaint.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::client::{Listening, json_lines, start_on_loopback, strict, upnp_client};
use crate::lab::Lab;
use crate::node::{Node, Start};

/// What a board is to announce beside its two UDNs.
const TYPES: [&str; 7] = [
    "upnp:rootdevice",
    "urn:roundel-org:device:RingNode:1",
    "urn:roundel-org:service:Ring:1",
    "urn:roundel-org:service:Bucket:1",
    "urn:roundel-org:service:Cluster:1",
    "urn:cybergarage-org:device:round:1",
    "urn:cybergarage-org:service:round:1",
];

/// The values of a header in lines of JSON, and that each line is whole.
fn targets(lines: &[Value], name: &str, address: &str) -> BTreeSet<String> {
    let target = |line: &Value| {
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            text("Location"),
            format!("http://{address}:38400/description.xml")
        );
        assert!(text("Server").contains(" UPnP/2.0 roundel/"), "{line}");
        assert!(text("USN").starts_with("uuid:"), "{line}");
        for counter in ["BOOTID.UPNP.ORG", "CONFIGID.UPNP.ORG"] {
            assert!(text(counter).parse::<u32>().is_ok(), "{counter}: {line}");
        }
        text(name)
    };
    lines.iter().map(target).collect()
}

fn all_are_there(found: &BTreeSet<String>) {
    for kind in TYPES {
        assert!(found.contains(kind), "{kind} in {found:?}");
    }
    let udns = found.iter().filter(|target| target.starts_with("uuid:"));
    assert_eq!((udns.count(), found.len()), (2, 9), "3+2d+k: {found:?}");
}

#[test]
fn strict_search_finds_every_device_and_service() {
    let lab = Lab::new("cp-search", 2);
    let node = Node::start(&lab, 0);
    let said = strict(
        lab.board(1),
        &["--timeout", "4", "search", "--bind", "10.77.0.2"],
    );
    all_are_there(&targets(&json_lines(&said), "ST", "10.77.0.1"));
    assert_eq!(
        said.lines().count(),
        json_lines(&said).len(),
        "nothing else is said: {said}"
    );
    let round = "urn:cybergarage-org:service:round:1";
    let arguments = [
        "--timeout",
        "3",
        "search",
        "--bind",
        "10.77.0.2",
        "--search_target",
        round,
    ];
    let said = strict(lab.board(1), &arguments);
    let found = targets(&json_lines(&said), "ST", "10.77.0.1");
    assert_eq!(found, [round.to_owned()].into(), "{said}");
    drop(node);
}

#[test]
fn strict_search_finds_everything_on_loopback() {
    let lab = Lab::unplugged("cp-lo", 1);
    let _node = start_on_loopback(&lab);
    let said = strict(
        lab.board(0),
        &["--timeout", "4", "search", "--bind", "127.0.0.1"],
    );
    all_are_there(&targets(&json_lines(&said), "ST", "127.0.0.1"));
}

#[test]
fn strict_client_hears_alive_and_farewell() {
    let lab = Lab::new("cp-advertise", 2);
    let arguments = [
        "--strict",
        "--timeout",
        "60",
        "advertisements",
        "--bind",
        "10.77.0.2",
    ];
    let client = upnp_client();
    let listening = Listening::start(&lab, 1, "advertisements", &client, &arguments);
    listens(&lab, 1);
    let mut node = Node::start(&lab, 0);
    let kind = |said: &str, nts: &str| {
        let lines = json_lines(whole_lines(said));
        let kind = |line: &&Value| line["NTS"] == nts;
        lines.iter().filter(kind).cloned().collect::<Vec<_>>()
    };
    let heard = |said: &str, nts: &str| {
        let lines = kind(said, nts);
        let names = lines.iter().filter_map(|line| line["NT"].as_str());
        names.collect::<BTreeSet<_>>().len() == 9
    };
    listening.until("every alive", |said| heard(said, "ssdp:alive"));
    let alive = kind(&listening.said(), "ssdp:alive");
    all_are_there(&targets(&alive, "NT", "10.77.0.1"));
    node.terminate();
    listening.until("every byebye", |said| heard(said, "ssdp:byebye"));
}

/// The client's socket is bound and in the group.
fn listens(lab: &Lab, board: usize) {
    let look = || {
        let said = lab.board(board).output("cat", &["/proc/net/igmp"]);
        // 239.255.255.250 as the kernel writes it.
        said.contains("FAFFFFEF").then_some(()).ok_or(said)
    };
    crate::wait::until("the client listens", crate::client::PATIENCE, look);
}

/// What is said up to the last line that is whole.
fn whole_lines(said: &str) -> &str {
    &said[..said.rfind('\n').map_or(0, |end| end + 1)]
}

#[test]
fn gssdp_finds_every_device_and_service() {
    let lab = Lab::unplugged("cp-gssdp", 2);
    lab.plug(0..2);
    let _node = Node::start(&lab, 0);
    gssdp(&lab, 1, "eth0", "10.77.0.1");
}

#[test]
fn gssdp_finds_everything_on_loopback() {
    let lab = Lab::unplugged("cp-gssdp-lo", 1);
    let _node = start_on_loopback(&lab);
    gssdp(&lab, 0, "lo", "127.0.0.1");
}

fn gssdp(lab: &Lab, board: usize, interface: &str, address: &str) {
    let arguments = ["-i", interface, "-n", "4", "-t", "ssdp:all"];
    let said = lab.board(board).output("gssdp-discover", &arguments);
    for kind in TYPES {
        assert!(said.contains(&format!("::{kind}\n")), "{kind} in {said}");
    }
    let location = format!("Location: http://{address}:38400/description.xml");
    assert!(said.matches(&location).count() >= 9, "{said}");
}

/// A board without any route announces itself and is found all the same.
#[test]
fn board_without_a_route_is_found() {
    let lab = Lab::new("cp-route", 2);
    lab.board(0).ip("route del default dev eth0\n");
    let mut node = Node::exec(&lab, 0, Start::on(0));
    node.wait_ready();
    let said = strict(
        lab.board(1),
        &["--timeout", "3", "search", "--bind", "10.77.0.2"],
    );
    all_are_there(&targets(&json_lines(&said), "ST", "10.77.0.1"));
}
