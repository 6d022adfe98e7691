//! A USB disk labelled ROUNDEL becomes the medium of the guest's store: plugged in while it runs,
//! pulled, missing at the start, there again. One that is too small is left alone.

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
/// Of a disk that never has that.
const SMALL_DISK_BYTES: u64 = 96 << 20;

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

fn disk(lab: &Lab, name: &str, bytes: u64) -> PathBuf {
    let path = lab.directory().join(name);
    let file = File::create(&path).and_then(|file| file.set_len(bytes));
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
    let (name, file) = (name_of(disk), json!({"driver": "file", "filename": disk}));
    let node = json!({"node-name": name, "driver": "raw", "file": file});
    control(machine, "blockdev-add", &node);
    let device = json!({"driver": "usb-storage", "id": format!("stick-{name}"), "drive": name});
    control(machine, "device_add", &device);
}

fn pull(machine: &Machine<'_>, disk: &Path) {
    let stick = format!("stick-{}", name_of(disk));
    control(machine, "device_del", &json!({"id": stick}));
}

/// What QEMU calls it.
fn name_of(disk: &Path) -> &str {
    disk.file_name()
        .and_then(|name| name.to_str())
        .expect("it was named here")
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

/// The device that the guest says its store is on, once it answers.
fn device(guest: &Guest<'_>) -> String {
    let (medium, _) = wait::until("the guest says where its store is", MOVE_TIME_MAX, || {
        let state = guest.call("get_node_state", json!({}));
        state.map_err(|error| format!("{error:?}"))
    });
    let medium = &medium["medium"];
    assert_eq!(medium["path"], "/data/roundel/store", "{medium}");
    medium["device"].as_str().unwrap_or_default().to_owned()
}

/// A disk that has no room leaves the store on the card, and the guest says why.
fn try_small_disk(machine: &Machine<'_>, guest: &mut Guest<'_>, disk: &Path) {
    plug(machine, disk);
    let (problems, took) = wait::until("the guest tells of the disk", MOVE_TIME_MAX, || {
        let state = guest.call("get_node_state", json!({}));
        let problems = state.map_err(|error| format!("{error:?}"))?["problems"].to_string();
        problems
            .contains("too small")
            .then(|| problems.clone())
            .ok_or(problems)
    });
    println!("after {took:.1?}: {problems}");
    assert!(problems.contains("take a larger one"), "{problems}");
    assert!(device(guest).starts_with("/dev/vda"), "{}", device(guest));
    wait_for_value(guest, "a", "before");
    put(guest, "a", "after the small disk");
    let said = guest.shell("ls /data/medium; roundel status; roundel doctor");
    assert!(said.contains("/data/medium: No such file"), "{said}");
    assert_eq!(
        said.matches("on /dev/vda4 (ext4), /data/roundel/store")
            .count(),
        2,
        "{said}"
    );
    pull(machine, disk);
}

pub fn wait_for_value(guest: &Guest<'_>, key: &str, value: &str) {
    let (got, _) = wait::until("the value is read", MOVE_TIME_MAX, || {
        guest.get(key).map_err(|error| format!("{key}: {error:?}"))
    });
    assert_eq!(got, value, "{key}");
}

pub fn put(guest: &Guest<'_>, key: &str, value: &str) {
    let put = json!({"key": key, "value": value});
    wait::until("the value is stored", MOVE_TIME_MAX, || {
        let done = guest.call("put", put.clone());
        done.map_err(|error| format!("{key}: {error:?}"))
    });
}

/// Waits until the guest is a diskless member, and says why.
pub fn wait_diskless(guest: &Guest<'_>, reason: &str) {
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

/// What the package's rule would do under systemd for the disk that is in use.
fn package_rule(guest: &mut Guest<'_>) {
    guest.shell("mkdir -p /run/udev/rules.d; cp /boot/package.rules /run/udev/rules.d/61-it.rules");
    let device = guest.shell("basename $(cat /run/medium.device)");
    let said = guest.shell(
        "udevadm test -a add /sys/class/block/$(basename $(cat /run/medium.device)) 2>/dev/null | \
         grep -e WANTS -e UDISKS -e ^TAGS",
    );
    let device = device
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("sd"));
    let device = device.expect("it is a disk");
    assert!(
        said.contains(&format!("SYSTEMD_WANTS=roundel-medium@{device}.service")),
        "{said}"
    );
    assert!(said.contains("UDISKS_IGNORE=1"), "{said}");
    guest.shell("rm /run/udev/rules.d/61-it.rules");
}

#[test]
fn a_usb_disk_is_the_medium_and_is_told_when_it_is_away() {
    let lab = Lab::new("medium", 1);
    lab.board(0).ip("addr add 169.254.255.1/16 dev eth0\n");
    let card = guest::card(boot::image(), lab.directory());
    let rule = include_str!("../../udev/package/60-roundel-medium.rules");
    guest::write_boot_file(&card, "package.rules", rule);
    let files = boot::boot_files(&card, lab.directory());
    let machine = Machine {
        board: "aarch64-virt",
        card: &card,
        boot: &files,
        number: 0,
    };
    let small = disk(&lab, "small", SMALL_DISK_BYTES);
    let disk = disk(&lab, "usb", DISK_BYTES);
    let mut guest = Guest::start(&lab, &machine);
    guest.wait_ready();
    let id = guest.id().to_owned();
    put(&guest, "a", "before");
    try_small_disk(&machine, &mut guest, &small);

    // The power goes while the store moves: it is here or there, and whole.
    plug(&machine, &disk);
    std::thread::sleep(Duration::from_millis(1_500));
    guest.cut_power();
    let mut guest = Guest::start(&lab, &machine);
    guest.wait_ready();
    plug(&machine, &disk);
    wait_on_disk(&mut guest);
    wait_for_value(&guest, "a", "after the small disk");
    assert!(device(&guest).starts_with("/dev/sd"), "{}", device(&guest));
    put(&guest, "b", "on the disk");
    package_rule(&mut guest);
    let own = guest.shell("ls -A /data/roundel; cat /data/medium");
    assert!(
        own.contains("identity.pk8") && own.contains("roundel-"),
        "{own}"
    );

    pull(&machine, &disk);
    wait_diskless(&guest, "was pulled");
    guest.cut_power();

    let mut guest = Guest::start(&lab, &machine);
    guest.wait_ready();
    wait_diskless(&guest, "is missing");
    plug(&machine, &disk);
    wait_on_disk(&mut guest);
    wait_for_value(&guest, "a", "after the small disk");
    wait_for_value(&guest, "b", "on the disk");
    let state = guest.call("get_node_state", json!({})).expect("it answers");
    assert_eq!(state["hash"], id, "it is the board it was: {state}");
    guest.cut_power();
}
