//! Guests and nothing else on the bridge: no router, no DHCP server, no other board.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::boot::{self, RING_TIME_MAX};
use crate::guest::{self, Guest};
use crate::lab::Lab;
use crate::wait;

/// The key that `image/build.sh --key new` kept beside an image.
const KEY: &str = concat!(
    "roundel-aarch64-virt-",
    env!("CARGO_PKG_VERSION"),
    ".cluster.key"
);

/// Who the guest sees alive, in id order.
fn sees(guest: &Guest<'_>) -> Result<Vec<String>, String> {
    let state = guest.call("get_cluster_state", serde_json::json!({}));
    let state = state.map_err(|error| format!("{error:?}"))?;
    let nodes = state["cluster"]["nodes"].as_array().cloned();
    let mut ids: Vec<String> = nodes
        .unwrap_or_default()
        .iter()
        .filter(|node| node["alive"].as_bool() == Some(true))
        .map(|node| node["hash"].as_str().unwrap_or_default().to_owned())
        .collect();
    ids.sort();
    Ok(ids)
}

/// A key that no image has.
fn another_key(lab: &Lab) -> String {
    let path = lab.directory().join("another.key");
    let output = Command::new(env!("CARGO_BIN_EXE_roundel"))
        .args(["key", "new"])
        .arg(&path)
        .output()
        .expect("roundel runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    fs::read_to_string(path).expect("the key was written")
}

#[test]
fn guests_of_one_key_form_a_ring_by_link_local_addresses_and_another_stays_out() {
    if !wait::is_long() {
        println!("left out: four machines at once; ./tests/run --long boots them");
        return;
    }
    let lab = Lab::new("alone", 1);
    lab.board(0).ip("addr add 169.254.255.1/16 dev eth0\n");
    let out = lab.directory().join("image");
    let image = guest::build("aarch64-virt", &["--key", "new"], &out);
    assert!(Path::new(&out).join(KEY).exists(), "the key is kept");
    let cards: Vec<_> = (0..4)
        .map(|number| boot::card_of(&lab, &image, number))
        .collect();
    guest::write_boot_file(&cards[3].0, "cluster.key", &another_key(&lab));
    let mut guests: Vec<Guest<'_>> = (0..)
        .zip(&cards)
        .map(|(number, card)| boot::power_on(&lab, number, card))
        .collect();
    for guest in &mut guests {
        guest.wait_ready();
        guest.wait_link_local();
    }
    let mut ring: Vec<String> = guests[..3].iter().map(|it| it.id().to_owned()).collect();
    ring.sort();
    let look = || {
        for guest in &guests[..3] {
            let seen = sees(guest)?;
            if seen != ring {
                return Err(format!("{seen:?}"));
            }
        }
        Ok(())
    };
    let (_, took) = wait::until("three guests are one ring", RING_TIME_MAX, look);
    println!("three guests are one ring {took:.1?} after the last was ready");
    let said = guests[0].shell("roundel put between three");
    assert!(said.contains("stored between"), "{said}");
    assert_eq!(guests[2].get("between").expect("it is there"), "three");
    let alone = sees(&guests[3]).expect("it answers");
    assert_eq!(alone, [guests[3].id()], "another key's guest is by itself");
}
