//! Device and service descriptions read by a foreign library in Rust (rupnp), and an action called.

use std::collections::BTreeMap;

use roundel::service::device::SERVICES;
use rupnp::Device;

use crate::client::{location, start_on_loopback};
use crate::lab::{Board, Lab};
use crate::node::Node;

/// What rupnp made of a board: each service's actions, and what an action answered.
async fn read(url: String) -> (BTreeMap<String, Vec<String>>, BTreeMap<String, String>) {
    let device = Device::from_url(url.parse().expect("a URL"))
        .await
        .expect("a device");
    assert_eq!(
        device.device_type().to_string(),
        "urn:roundel-org:device:RingNode:1"
    );
    let mut actions = BTreeMap::new();
    for service in device.services_iter() {
        let scpd = service
            .scpd(device.url())
            .await
            .expect("a service description");
        let names = scpd.actions().iter().map(|action| action.name().to_owned());
        actions.insert(service.service_type().typ().to_owned(), names.collect());
    }
    let ring = rupnp::ssdp::URN::service("roundel-org", "Ring", 1);
    let ring = device.find_service(&ring).expect("the ring's service");
    let answer = ring
        .action(device.url(), "FindSuccessor", "<Key>lamp</Key><Id/>")
        .await;
    (actions, answer.expect("an answer").into_iter().collect())
}

#[test]
fn rupnp_reads_device_and_services_on_loopback() {
    let lab = Lab::unplugged("cp-rupnp-lo", 1);
    reads_everything(lab.board(0), &start_on_loopback(&lab));
}

#[test]
fn rupnp_reads_device_and_services_over_the_bridge() {
    let lab = Lab::new("cp-rupnp", 2);
    reads_everything(lab.board(1), &Node::start(&lab, 0));
}

fn reads_everything(from: &Board, node: &Node) {
    let url = location(node);
    let (actions, answer) = from.agent().run(move || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().expect("a runtime");
        runtime.block_on(read(url))
    });
    assert_eq!(actions.len(), SERVICES.len(), "{actions:?}");
    for service in SERVICES {
        let names: Vec<_> = service.actions.iter().map(|action| action.name).collect();
        assert_eq!(actions[service.name], names);
    }
    assert_eq!(answer["NodeId"], node.id);
}
