//! A board under load on a disk that logs its writes, in User-Mode Linux: that kernel has a device
//! mapper where the host's may have none. This test program is started there once more, as its
//! first process, and does the guest's half; what it has to say is in the log's marks.
//!
//! The guest's root is the host's, read-only; nothing of it reaches a network.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::board::{self, Board};
use crate::namespace::run;
use crate::power::{self, Dice};
use crate::write_log::WriteLog;

/// Clients that write at the same time, so that groups form.
pub const CLIENTS: usize = 3;
/// Writes of each client: some tens of seconds.
const WRITES: usize = 3_000;
/// Keys of each client, written over and over.
const KEYS: u64 = 60;
/// The disk, and as much as the log could ever take; both are sparse files.
const DISK_MIB: u64 = 512;
const LOG_MIB: u64 = 8_192;
/// The guest is done within this.
const GUEST_TIME_MAX: Duration = Duration::from_secs(300);
/// Set for the guest alone, by the kernel's command line.
const GUEST: &str = "ROUNDEL_GUEST";
/// What the device mapper calls the disk.
const DEVICE: &str = "card";
/// The last mark: the guest's half went well.
const DONE: &str = "done";

/// This is the guest.
pub fn is_guest() -> bool {
    std::env::var_os(GUEST).is_some()
}

/// The write that a client sends as its `number`th: a key, and its value unless it removes it.
pub fn write(client: usize, number: usize) -> (String, Option<String>) {
    let mut dice = Dice((client * WRITES + number) as u64);
    let key = format!("client {client} key {}", dice.below(KEYS));
    let filler = "x".repeat(dice.below(4_000) as usize);
    let value = (dice.below(5) > 0).then(|| format!("{number} {filler}"));
    (key, value)
}

/// What a mark acknowledges: whose write, and its number.
pub fn acknowledged(mark: &str) -> Option<(usize, usize)> {
    let (client, number) = mark.strip_prefix("ack-")?.split_once('-')?;
    Some((client.parse().ok()?, number.parse().ok()?))
}

/// What was recorded.
pub struct Recording {
    /// The disk as it was before.
    pub disk: PathBuf,
    /// What happened to it.
    pub log: WriteLog,
}

impl Recording {
    /// Starts the guest with `test` as what it has to run, and waits for its end.
    ///
    /// # Panics
    /// When User-Mode Linux is not there, or the guest fails: with the end of its console.
    pub fn make(scratch: &Path, test: &str) -> Self {
        let [disk, log, console] = ["disk", "log", "console"].map(|name| scratch.join(name));
        for (path, mib) in [(&disk, DISK_MIB), (&log, LOG_MIB)] {
            let file = File::create(path).expect("our directory");
            file.set_len(mib << 20).expect("a sparse file");
        }
        // As on a card of the appliance; nothing is left to be written in the background.
        let eager = "lazy_itable_init=0,lazy_journal_init=0";
        let image = disk.display().to_string();
        run(
            "mkfs.ext4",
            &[
                "-q", "-F", "-b", "4096", "-J", "size=16", "-E", eager, &image,
            ],
        );
        let kept = scratch.join("before");
        run("cp", &["--sparse=always", &image, &text(&kept)]);
        start_guest(scratch, test, &console);
        let end = std::fs::read_to_string(&console).unwrap_or_default();
        let end: Vec<_> = end.lines().rev().take(40).collect();
        let end = end
            .iter()
            .rev()
            .fold(String::new(), |all, line| all + line + "\n");
        let log = WriteLog::open(&log).unwrap_or_else(|error| panic!("{error}:\n{end}"));
        let done = crate::write_log::Event::Mark(DONE.to_owned());
        assert!(log.events.contains(&done), "the guest failed:\n{end}");
        Recording { disk: kept, log }
    }
}

fn start_guest(scratch: &Path, test: &str, console: &Path) {
    let own = std::env::current_exe().expect("it is being run");
    let output = File::create(console).expect("our directory");
    let mut guest = Command::new("setpriv")
        .args(["--pdeathsig", "KILL"])
        // All that it starts goes with it: it leaves its threads behind when it is killed.
        .args(["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["linux.uml", "mem=512M"])
        .args([
            "rootfstype=hostfs",
            "rootflags=/",
            "ro",
            "con=null",
            "con0=null,fd:1",
        ])
        .arg(format!("uml_dir={}", scratch.display()))
        .arg(format!("ubda={}", scratch.join("disk").display()))
        .arg(format!("ubdb={}", scratch.join("log").display()))
        .arg(format!("init={}", own.display()))
        .args([&format!("{GUEST}=1"), "TMPDIR=/mnt", "RUST_BACKTRACE=1"])
        .arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .args(["--", test, "--exact", "--include-ignored", "--nocapture"])
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("a descriptor"))
        .stderr(output)
        .spawn()
        .expect("setpriv runs (util-linux)");
    let start = Instant::now();
    while guest.try_wait().expect("it is our child").is_none() {
        if start.elapsed() > GUEST_TIME_MAX {
            let _ = guest.kill();
            let _ = guest.wait();
            let said = std::fs::read_to_string(console).unwrap_or_default();
            panic!("the guest still runs after {GUEST_TIME_MAX:?}:\n{said}");
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// The guest's half: a board under load on the logged disk, then the power goes.
pub fn run_guest() {
    set_up();
    let (board, _) = power::boot(Path::new("/mnt/card/data"));
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let board = &board;
            scope.spawn(move || load(board, client));
        }
    });
    board.kill();
    run("umount", &["/mnt/card"]);
    mark(DONE);
    run("dmsetup", &["remove", "--noudevsync", DEVICE]);
    let mut request = File::create("/proc/sysrq-trigger").expect("we are root here");
    request.write_all(b"o").expect("it takes an o for off");
    thread::sleep(GUEST_TIME_MAX);
}

fn set_up() {
    run("mount", &["-t", "proc", "proc", "/proc"]);
    run("mount", &["-t", "sysfs", "sys", "/sys"]);
    run("mount", &["-t", "tmpfs", "scratch", "/mnt"]);
    run("ip", &["link", "set", "lo", "up"]);
    let version = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("proc is there");
    for module in ["dm-mod", "dm-log-writes"] {
        let path = format!(
            "/usr/lib/uml/modules/{}/kernel/drivers/md/{module}.ko",
            version.trim()
        );
        run("insmod", &[&path]);
    }
    let table = format!("0 {} log-writes /dev/ubda /dev/ubdb", DISK_MIB << 11);
    run(
        "dmsetup",
        &["create", "--noudevsync", DEVICE, "--table", &table],
    );
    std::fs::create_dir("/mnt/card").expect("our tmpfs");
    run(
        "mount",
        &["-t", "ext4", "-o", "noatime", "/dev/dm-0", "/mnt/card"],
    );
}

/// Sends every write of a client; each answer is marked before the next write is sent.
fn load(board: &Board, client: usize) {
    for number in 0..WRITES {
        let (key, value) = write(client, number);
        let is_put = value.is_some();
        let answer = match value {
            Some(value) => board.call("put", &json!({"key": key, "value": value})),
            None => board.call("remove", &json!({"key": key})),
        };
        let is_gone = |error: &Value| !is_put && error["code"] == board::NOT_FOUND;
        let is_done =
            matches!(&answer, Some(Ok(_))) || matches!(&answer, Some(Err(error)) if is_gone(error));
        assert!(is_done, "{key}: {answer:?}: {}", board.log());
        mark(&format!("ack-{client}-{number}"));
    }
}

/// `struct dm_ioctl` and, after it, `struct dm_target_msg` (Linux, `uapi/linux/dm-ioctl.h`).
#[repr(C)]
struct Message {
    version: [u32; 3],
    data_size: u32,
    data_start: u32,
    unused: [u32; 5],
    device: u64,
    name: [u8; 128],
    uuid: [u8; 129],
    padding: [u8; 7],
    sector: u64,
    text: [u8; 64],
}

mod request {
    // The size in its number is that of `struct dm_ioctl` alone.
    const TARGET_MESSAGE: nix::sys::ioctl::ioctl_num_type =
        nix::request_code_readwrite!(0xfd, 14, std::mem::offset_of!(super::Message, sector));
    nix::ioctl_readwrite_bad!(target_message, TARGET_MESSAGE, super::Message);
}

/// Puts a mark into the log: all that was synced before stands before it.
fn mark(said: &str) {
    let mut message = Message {
        version: [4, 0, 0],
        data_size: size_of::<Message>() as u32,
        data_start: std::mem::offset_of!(Message, sector) as u32,
        unused: [0; 5],
        device: 0,
        name: [0; 128],
        uuid: [0; 129],
        padding: [0; 7],
        sector: 0,
        text: [0; 64],
    };
    message.name[..DEVICE.len()].copy_from_slice(DEVICE.as_bytes());
    let said = format!("mark {said}\0");
    message.text[..said.len()].copy_from_slice(said.as_bytes());
    let control = File::open("/dev/mapper/control").expect("the device mapper is there");
    // SAFETY: the request reads and writes `data_size` bytes at the pointer, which is the size of
    // the message; it and the descriptor outlive the call.
    unsafe { request::target_message(control.as_raw_fd(), &mut message) }
        .expect("the target takes marks");
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
