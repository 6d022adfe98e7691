//! The other machines of QEMU boot their images and join boards of this machine.

use crate::boot::{self, Dhcp};
use crate::guest::{self, Guest, Machine};
use crate::lab::Lab;
use crate::node::{Node, Start};
use crate::wait;

fn boots_and_joins(board: &'static str) {
    let lab = Lab::new(board, 2);
    let _dhcp = Dhcp::start(&lab);
    let mut nodes: Vec<Node<'_>> = (0..2)
        .map(|board| Node::exec(&lab, board, Start::on(board)))
        .collect();
    nodes.iter_mut().for_each(Node::wait_ready);
    let image = guest::build(board, &[], &lab.directory().join("image"));
    let card = guest::card(&image, lab.directory());
    guest::write_boot_file(&card, "roundel.toml", &boot::settings());
    let boot = boot::boot_files(&card, lab.directory());
    let machine = Machine {
        board,
        card: &card,
        boot: &boot,
        number: 0,
    };
    let mut guest = Guest::start(&lab, &machine);
    let ready = guest.wait_ready();
    let ids = [nodes[0].id.as_str(), nodes[1].id.as_str(), guest.id()];
    let joined = boot::wait_for_members(&nodes, &ids);
    println!("{board}: power-on to ready {ready:.1?}, in the ring {joined:.1?} later");
    boot::both_ways(&nodes, &guest);
    boot::memory(&mut guest);
}

/// Whether the run is one that boots it.
fn is_run(board: &str) -> bool {
    if !wait::is_long() {
        println!("left out: {board}; ./tests/run --long boots it");
    }
    wait::is_long()
}

#[test]
fn a_board_of_32_bits_boots_and_joins_a_ring() {
    if is_run("armv7-virt") {
        boots_and_joins("armv7-virt");
    }
}

#[test]
fn a_raspberry_pi_boots_and_joins_a_ring() {
    if is_run("raspi3b") {
        boots_and_joins("raspi3b");
    }
}
