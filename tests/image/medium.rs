//! A USB disk labelled ROUNDEL becomes the medium of the guest's store: plugged in while it runs,
//! pulled, missing at the start, there again.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::boot;
use crate::guest::{self, Guest, Machine};
use crate::lab::Lab;
use crate::wait;

/// roundel ends in order, the store is copied, roundel starts: five times what it takes here.
const MOVE_TIME_MAX: Duration = Duration::from_secs(60);
/// The disk's size: the store takes no values with less than 96 MiB free.
const DISK_BYTES: u64 = 256 << 20;

/// Gives QEMU a command of its own.
fn control(machine: &Machine<'_>, command: &str, arguments: &Value) {
    let mut socket = UnixStream::connect(machine.control()).expect("QEMU listens");
    let mut lines = BufReader::new(socket.try_clone().expect("a handle")).lines();
    let mut answer = || -> Value {
        let line = lines.next().expect("QEMU answers").expect("it is read");
        serde_json::from_str(&line).expect("QEMU answers in JSON")
    };
    answer();
    for line in [
        json!({"execute": "qmp_capabilities"}),
        json!({"execute": command, "arguments": arguments}),
    ] {
        writeln!(socket, "{line}").expect("QEMU reads");
        let said = std::iter::repeat_with(&mut answer).find(|said| said.get("event").is_none());
        let said = said.unwrap_or_default();
        assert!(said.get("return").is_some(), "{line}: {said}");
    }
}

fn disk(lab: &Lab) -> PathBuf {
    let path = lab.directory().join("usb.img");
    let file = File::create(&path).and_then(|file| file.set_len(DISK_BYTES));
    file.expect("there is room");
    let status = Command::new("mke2fs")
        .args(["-q", "-t", "ext4", "-L", "ROUNDEL"])
        .arg(&path)
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .status();
    assert!(status.expect("mke2fs runs").success(), "the disk is made");
    path
}

fn plug(machine: &Machine<'_>, disk: &Path) {
    let file = json!({"driver": "file", "filename": disk});
    let node = json!({"node-name": "usb", "driver": "raw", "file": file});
    control(machine, "blockdev-add", &node);
    let device = json!({"driver": "usb-storage", "id": "stick", "drive": "usb"});
    control(machine, "device_add", &device);
}

fn pull(machine: &Machine<'_>) {
    control(machine, "device_del", &json!({"id": "stick"}));
}

/// Waits until the store is on the disk and the guest answers again.
fn wait_on_disk(guest: &mut Guest<'_>) {
    let ((), took) = wait::until("the store is on the disk", MOVE_TIME_MAX, || {
        let said = guest.shell("cat /run/medium.device; grep store /proc/mounts");
        let on = said.contains("/dev/sd") && said.contains(" /data/roundel/store ext4");
        on.then_some(()).ok_or(said)
    });
    println!("on the disk after {took:.1?}");
}

fn wait_for_value(guest: &Guest<'_>, key: &str, value: &str) {
    let (got, _) = wait::until("the value is read", MOVE_TIME_MAX, || {
        guest.get(key).map_err(|error| format!("{key}: {error:?}"))
    });
    assert_eq!(got, value, "{key}");
}

fn put(guest: &Guest<'_>, key: &str, value: &str) {
    let put = json!({"key": key, "value": value});
    wait::until("the value is stored", MOVE_TIME_MAX, || {
        let done = guest.call("put", put.clone());
        done.map_err(|error| format!("{key}: {error:?}"))
    });
}

/// Waits until the guest is a diskless member, and says why.
fn wait_diskless(guest: &Guest<'_>, reason: &str) {
    wait::until("the guest is diskless", MOVE_TIME_MAX, || {
        let ask = |method| {
            let said = guest.call(method, json!({}));
            said.map_err(|error| format!("{error:?}"))
        };
        let problems = ask("get_node_state")?["problems"].to_string();
        let store = ask("get_node_stats")?["store"].to_string();
        match store.contains("diskless") && problems.contains(reason) {
            true => Ok(()),
            false => Err(format!("{problems} {store}")),
        }
    });
}

#[test]
fn a_usb_disk_is_the_medium_and_is_told_when_it_is_away() {
    let lab = Lab::new("medium", 1);
    lab.board(0).ip("addr add 169.254.255.1/16 dev eth0\n");
    let card = guest::card(boot::image(), lab.directory());
    let files = boot::boot_files(&card, lab.directory());
    let machine = Machine {
        board: "aarch64-virt",
        card: &card,
        boot: &files,
        number: 0,
    };
    let disk = disk(&lab);
    let mut guest = Guest::start(&lab, &machine);
    guest.wait_ready();
    let id = guest.id().to_owned();
    put(&guest, "a", "before");

    // The power goes while the store moves: it is here or there, and whole.
    plug(&machine, &disk);
    std::thread::sleep(Duration::from_millis(1_500));
    guest.cut_power();
    let mut guest = Guest::start(&lab, &machine);
    guest.wait_ready();
    plug(&machine, &disk);
    wait_on_disk(&mut guest);
    wait_for_value(&guest, "a", "before");
    put(&guest, "b", "on the disk");
    let own = guest.shell("ls -A /data/roundel; cat /data/medium");
    assert!(
        own.contains("identity.pk8") && own.contains("roundel-"),
        "{own}"
    );

    pull(&machine);
    wait_diskless(&guest, "was pulled");
    guest.cut_power();

    let mut guest = Guest::start(&lab, &machine);
    guest.wait_ready();
    wait_diskless(&guest, "is missing");
    plug(&machine, &disk);
    wait_on_disk(&mut guest);
    wait_for_value(&guest, "a", "before");
    wait_for_value(&guest, "b", "on the disk");
    let state = guest.call("get_node_state", json!({})).expect("it answers");
    assert_eq!(state["hash"], id, "it is the board it was: {state}");
    guest.cut_power();
}
