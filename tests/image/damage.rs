//! A data partition that is damaged: repaired where a copy of what was lost is left, and the board
//! has its own again; else it is a diskless member. Either way it says so.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::json;

use crate::boot::{self, RING_TIME_MAX};
use crate::guest::Guest;
use crate::lab::Lab;
use crate::medium::{put, wait_diskless, wait_for_value};
use crate::wait;

/// Where the entry of the data partition is in the card's table, and in it the start in sectors.
const DATA_START_AT: u64 = 446 + 3 * 16 + 8;
/// The first superblock of an ext4 begins there and has that length; its copies are elsewhere.
const SUPERBLOCK: (u64, usize) = (1_024, 1_024);

fn open(card: &Path) -> (File, u64) {
    let card = File::options().read(true).write(true).open(card);
    let card = card.expect("the card is a file");
    let mut sector = [0; 4];
    card.read_exact_at(&mut sector, DATA_START_AT)
        .expect("it has a table");
    (card, u64::from(u32::from_le_bytes(sector)) * 512)
}

/// Zeros over the first superblock.
fn lose_superblock(card: &Path) {
    let (card, start) = open(card);
    let (at, length) = SUPERBLOCK;
    let mut found = [0; 2];
    // The magic number: there is one to be lost.
    card.read_exact_at(&mut found, start + at + 56)
        .expect("it is on the card");
    assert_eq!(found, [0x53, 0xef], "the partition is an ext4");
    card.write_all_at(&vec![0; length], start + at)
        .expect("it is on the card");
}

/// Zeros all over the partition, the last one.
fn lose_everything(card: &Path) {
    let (card, start) = open(card);
    let length = card.metadata().expect("it is open").len();
    card.set_len(start)
        .and_then(|()| card.set_len(length))
        .expect("there is room");
}

fn problems(guest: &Guest<'_>) -> String {
    let (state, _) = wait::until("the guest answers", RING_TIME_MAX, || {
        let state = guest.call("get_node_state", json!({}));
        state.map_err(|error| format!("{error:?}"))
    });
    state["problems"].to_string()
}

#[test]
fn a_damaged_data_partition_is_repaired_and_a_lost_one_leaves_the_board_diskless() {
    let lab = Lab::new("damage", 1);
    lab.board(0).ip("addr add 169.254.255.1/16 dev eth0\n");
    let card = boot::card_of(&lab, boot::image(), 0);
    let mut guest = boot::power_on(&lab, 0, &card);
    guest.wait_ready();
    let id = guest.id().to_owned();
    put(&guest, "kept", "here");
    guest.cut_power();

    lose_superblock(&card.0);
    let mut guest = boot::power_on(&lab, 0, &card);
    let ready = guest.wait_ready();
    println!("ready {ready:.1?} after the power came, with the superblock lost");
    let told = problems(&guest);
    assert!(told.contains("was damaged and has been repaired"), "{told}");
    assert_eq!(guest.id(), id, "it is the board it was");
    wait_for_value(&guest, "kept", "here");
    put(&guest, "kept", "still");
    guest.cut_power();

    if !wait::is_long() {
        println!("left out: a partition that is lost; ./tests/run --long has one");
        return;
    }
    lose_everything(&card.0);
    let mut guest = boot::power_on(&lab, 0, &card);
    guest.wait_ready();
    wait_diskless(
        &guest,
        "data partition cannot be used, so this board keeps nothing",
    );
    let told = problems(&guest);
    assert!(told.contains("write the card anew"), "{told}");
    let console = guest.console();
    assert!(
        console.contains("cannot be used"),
        "the console says so: {console}"
    );
}
