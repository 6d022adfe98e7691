//! What an owner got wrong on the boot partition: the guest starts all the same and says so.

use serde_json::json;

use crate::boot::{self, RING_TIME_MAX};
use crate::guest::{self, Guest, Machine};
use crate::lab::Lab;
use crate::wait;

#[test]
fn a_guest_with_malformed_files_starts_and_says_what_is_wrong() {
    let lab = Lab::new("problem", 1);
    lab.board(0).ip("addr add 169.254.255.1/16 dev eth0\n");
    let card = guest::card(boot::image(), lab.directory());
    guest::write_boot_file(
        &card,
        "roundel.toml",
        "name = \"kitchen\"\nopen = true\nclutser = \"home\"\n",
    );
    guest::write_boot_file(&card, "cluster.key", "roundel-key-1 1 not-a-key\n");
    let boot = boot::boot_files(&card, lab.directory());
    let mut guest = Guest::start(
        &lab,
        &Machine {
            board: "aarch64-virt",
            card: &card,
            boot: &boot,
            number: 0,
        },
    );
    let ready = guest.wait_ready();
    println!(
        "power-on to ready without a DHCP server {ready:.1?}, then at {}",
        guest.wait_link_local()
    );
    let (state, _) = wait::until("it answers there", RING_TIME_MAX, || {
        let state = guest.call("get_node_state", json!({}));
        state.map_err(|error| format!("{error:?}"))
    });
    let problems = state["problems"].as_array().cloned().unwrap_or_default();
    let of = |file: &str| {
        let mut found = problems.iter();
        found
            .find(|it| it["file"].as_str().unwrap_or_default().ends_with(file))
            .unwrap_or_else(|| panic!("{file}: {state}"))
    };
    let setting = of("roundel.toml");
    assert_eq!(setting["line"], 3, "{setting}");
    let reason = setting["reason"].as_str().unwrap_or_default();
    assert!(
        reason.contains("'clutser'") && reason.contains("'cluster'"),
        "{reason}"
    );
    let key = of("cluster.key");
    assert_eq!(key["line"], 1, "{key}");
    assert!(!key.to_string().contains("not-a-key"), "{key}");
    assert_eq!(state["name"], "kitchen", "the other settings hold: {state}");
    assert_eq!(state["access"], "keyed", "it is not open: {state}");
    let console = guest.console();
    assert_eq!(
        console.matches("problem ").count(),
        problems.len(),
        "{console}"
    );
    let status = guest.shell("roundel status");
    assert!(status.contains("'clutser'"), "{status}");
}
