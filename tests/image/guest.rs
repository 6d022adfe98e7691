//! A machine of QEMU that boots an image, on a tap of the lab's bridge.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::lab::Lab;
use crate::netns;
use crate::node::{self, RpcError};
use crate::wait;

/// Power-on to `ready`: five times the goal of 15 s.
pub const READY_TIME_MAX: Duration = Duration::from_secs(75);
/// The size of the card that an image is written to.
const CARD_BYTES: u64 = 1 << 30;

/// Runs a script of `image/`; what it printed.
///
/// # Panics
/// When it fails, with what it said.
fn script<T: AsRef<OsStr>>(name: &str, arguments: &[T]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(root.join("image").join(name))
        .args(arguments)
        .output()
        .expect("the script runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "image/{name}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Scripts end with the path of what they made.
fn last(printed: &str) -> &str {
    printed.lines().last().unwrap_or_default()
}

/// What `image/cross.sh` builds; once for each architecture.
pub fn cross(arguments: &[&str]) -> PathBuf {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let build = || {
        let start = Instant::now();
        let printed = script("cross.sh", arguments);
        println!("{arguments:?} built in {:.0?}", start.elapsed());
        Path::new(env!("CARGO_MANIFEST_DIR")).join(last(&printed))
    };
    built
        .entry(arguments.join(" "))
        .or_insert_with(build)
        .clone()
}

/// The static binary of an architecture.
pub fn binary(architecture: &str) -> PathBuf {
    cross(&[architecture])
}

/// Runs `ip` beside the lab's bridge.
pub fn hub_ip(lab: &Lab, lines: &str) {
    let lines = lines.to_owned();
    lab.hub().run(move || netns::ip(None, &lines));
}

/// Builds an image and gives its path; the files beside it are those of `image/build.sh`.
pub fn build(board: &str, options: &[&str], out: &Path) -> PathBuf {
    let binary = binary(match board {
        "armv7-virt" | "rpi2" => "armv7",
        _ => "aarch64",
    });
    let start = Instant::now();
    let mut arguments: Vec<&OsStr> = vec![board.as_ref(), "--binary".as_ref(), binary.as_ref()];
    // What is tested is not flashed: a mirror that lags fails no test.
    arguments.push("--lagging-archive".as_ref());
    arguments.extend(options.iter().map(OsStr::new));
    arguments.extend(["--out".as_ref(), out.as_os_str()]);
    let image = script("build.sh", &arguments);
    println!("image of {board} built in {:.0?}", start.elapsed());
    Path::new(env!("CARGO_MANIFEST_DIR")).join(last(&image))
}

/// Checks an image as its owner would; what the check printed.
pub fn verify(image: &Path) -> String {
    script("verify.sh", &[image])
}

/// A card, written from an image.
pub fn card(image: &Path, to: &Path) -> PathBuf {
    let card = to.join("card.img");
    let status = Command::new("zstd")
        .args(["-q", "-d", "-f", "--sparse", "--long=27"])
        .arg(image)
        .arg("-o")
        .arg(&card)
        .status();
    assert!(status.expect("zstd runs").success(), "the image unpacks");
    let file = File::options().write(true).open(&card);
    file.and_then(|file| file.set_len(CARD_BYTES))
        .expect("there is room");
    card
}

/// Lays a file over the boot partition of a card, as its owner would on any computer.
pub fn write_boot_file(card: &Path, name: &str, text: &str) {
    let from = card.with_extension(name);
    fs::write(&from, text).expect("there is room");
    let status = Command::new("mcopy")
        .args(["-o", "-i", &format!("{}@@4M", card.display())])
        .arg(&from)
        .arg(format!("::/{name}"))
        .status();
    assert!(status.expect("mcopy runs").success(), "{name} is written");
}

/// A machine that runs.
pub struct Guest<'a> {
    lab: &'a Lab,
    number: usize,
    process: Child,
    console: PathBuf,
    started: Instant,
    ready_time_max: Duration,
    /// What it printed when it was ready.
    ready: Option<(String, SocketAddr)>,
}

/// A machine to be started.
pub struct Machine<'a> {
    /// Its folder below board/qemu.
    pub board: &'static str,
    /// Its card.
    pub card: &'a Path,
    /// Kernel, initramfs and command line, as the firmware would take them from the card.
    pub boot: &'a Path,
    /// Which of the lab's taps; its hardware address follows from it.
    pub number: usize,
}

impl Machine<'_> {
    /// The socket that takes QEMU's own commands.
    pub fn control(&self) -> PathBuf {
        self.card.with_extension("qmp")
    }

    fn arguments(&self) -> Vec<String> {
        let boot = |file: &str| self.boot.join(file).display().to_string();
        let line = fs::read_to_string(self.boot.join("cmdline.txt")).expect("the image has one");
        let mut arguments = vec![
            "-nographic".to_owned(),
            "-no-reboot".to_owned(),
            "-kernel".to_owned(),
            boot("vmlinuz"),
            "-initrd".to_owned(),
            boot("initrd"),
            "-append".to_owned(),
            line.trim().to_owned(),
        ];
        let number = self.number;
        let card = self.card.display();
        let mac = format!("52:54:00:77:00:{number:02x}");
        let tap = format!("tap,id=lan,ifname=tap{number},script=no,downscript=no");
        let drive = format!("if=none,id=card,format=raw,cache=directsync,file={card}");
        let qmp = format!("unix:{},server=on,wait=off", self.control().display());
        let tree = boot("bcm2837-rpi-3-b.dtb");
        let machine: &[&str] = match self.board {
            // Its console is the second UART.
            "raspi3b" => &[
                "-M",
                "raspi3b",
                "-dtb",
                &tree,
                "-serial",
                "null",
                "-serial",
                "mon:stdio",
            ],
            "aarch64-virt" => &["-M", "virt", "-cpu", "cortex-a53", "-smp", "2", "-m", "512"],
            "armv7-virt" => &[
                "-M",
                "virt,highmem=off",
                "-cpu",
                "cortex-a7",
                "-smp",
                "2",
                "-m",
                "512",
            ],
            other => panic!("no machine is known for {other}"),
        };
        arguments.extend(machine.iter().map(|&word| word.to_owned()));
        let sd = format!("if=sd,format=raw,cache=directsync,file={card}");
        let pairs: &[[&str; 2]] = match self.board {
            "raspi3b" => &[
                ["-drive", &sd],
                ["-netdev", &tap],
                ["-device", &format!("usb-net,netdev=lan,mac={mac}")],
            ],
            _ => &[
                ["-drive", &drive],
                ["-device", "virtio-blk-device,drive=card"],
                ["-netdev", &tap],
                [
                    "-device",
                    &format!("virtio-net-device,netdev=lan,mac={mac}"),
                ],
                ["-device", "qemu-xhci"],
            ],
        };
        for pair in pairs.iter().chain(&[["-qmp", &qmp]]) {
            arguments.extend(pair.map(ToOwned::to_owned));
        }
        arguments
    }
}

impl<'a> Guest<'a> {
    /// Powers it on.
    pub fn start(lab: &'a Lab, machine: &Machine<'_>) -> Self {
        let number = machine.number;
        let tap = format!("tap{number}");
        // What a machine before it left.
        hub_ip(
            lab,
            &format!("tuntap add {tap} mode tap\nlink set {tap} master br0\nlink set {tap} up\n"),
        );
        let console = lab.directory().join(format!("guest{number}.log"));
        let program = match machine.board {
            "armv7-virt" => "qemu-system-arm",
            _ => "qemu-system-aarch64",
        };
        let mut command = Command::new(program);
        command
            .args(machine.arguments())
            .stdin(Stdio::piped())
            .stdout(File::create(&console).expect("the lab's directory is there"))
            .stderr(Stdio::inherit());
        let process = lab.hub().run(move || command.spawn());
        Guest {
            lab,
            number,
            process: process.unwrap_or_else(|error| panic!("{program} runs ({error})")),
            console,
            started: Instant::now(),
            // A Raspberry Pi is emulated in full, its USB network included.
            ready_time_max: match machine.board {
                "raspi3b" => 6 * READY_TIME_MAX,
                _ => READY_TIME_MAX,
            },
            ready: None,
        }
    }

    /// Waits until roundel serves; how long after the power was switched on.
    pub fn wait_ready(&mut self) -> Duration {
        let (ready, _) = wait::until("the guest is ready", self.ready_time_max, || {
            let text = self.console();
            let line = text.lines().find_map(|line| line.split_once("ready name="));
            let words = line.map(|(_, rest)| rest.split_whitespace().collect::<Vec<_>>());
            let word = |name: &str| {
                let words = words.as_ref()?;
                words.iter().find_map(|word| word.strip_prefix(name))
            };
            let http = word("http=http://").and_then(|to| to.parse().ok());
            let (Some(id), Some(http)) = (word("id="), http) else {
                let from = text.len().saturating_sub(2_000);
                return Err(text.get(from..).unwrap_or(&text).to_owned());
            };
            Ok((id.to_owned(), http))
        });
        self.ready = Some(ready);
        self.started.elapsed()
    }

    /// Waits for the address it gives itself where no DHCP server answers, and is asked there from
    /// then on; a `ready` before that has none but the loopback's.
    pub fn wait_link_local(&mut self) -> SocketAddr {
        let deadline = Instant::now() + READY_TIME_MAX;
        loop {
            let said = self.shell("ip -4 -o addr");
            let mut words = said.split_whitespace();
            let address = words.find(|word| word.starts_with("169.254."));
            let address = address.and_then(|it| it.split('/').next()?.parse().ok());
            if let (Some(address), Some(ready)) = (address, &mut self.ready) {
                ready.1.set_ip(address);
                return ready.1;
            }
            assert!(Instant::now() < deadline, "no link-local address: {said}");
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// What came over its serial line.
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.console).unwrap_or_default()).into_owned()
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.ready.as_ref().expect("it is ready").0
    }

    /// Where it serves.
    pub fn endpoint(&self) -> SocketAddr {
        self.ready.as_ref().expect("it is ready").1
    }

    /// Calls a method from a board of the lab.
    ///
    /// # Errors
    /// As [`node::call`].
    pub fn call(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        let (to, method) = (self.endpoint(), method.to_owned());
        let agent = self.lab.board(0).agent();
        agent.run(move || node::call(to, &method, params))
    }

    /// Reads a value.
    ///
    /// # Errors
    /// As [`Guest::call`].
    pub fn get(&self, key: &str) -> Result<String, RpcError> {
        let result = self.call("get", json!({"key": key}))?;
        Ok(result["value"].as_str().unwrap_or_default().to_owned())
    }

    /// Runs a line in the shell of the serial console; what it printed.
    pub fn shell(&mut self, line: &str) -> String {
        let before = self.console().len();
        let input = self.process.stdin.as_mut().expect("it is piped");
        // The first Enter wakes the shell up; the marks are not in the line itself.
        write!(input, "\n{line}; echo end''ed\n").expect("it reads");
        let (output, _) = wait::until("the shell answers", Duration::from_secs(30), || {
            let text = self.console();
            let new = text.get(before..).unwrap_or_default();
            let end = new.rfind("\nended").or_else(|| new.rfind("ended\r"));
            end.map(|end| new[..end].to_owned())
                .ok_or_else(|| new.to_owned())
        });
        output
    }

    /// Whether it has restarted, which ends the machine.
    pub fn has_ended(&mut self) -> bool {
        self.process.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Waits until it restarts, which ends the machine: whoever waits powers it on again.
    pub fn wait_restart(&mut self, time_max: Duration) {
        wait::until("the guest restarts", time_max, || {
            match self.process.try_wait().expect("it is ours") {
                Some(_) => Ok(()),
                None => Err(self.console().lines().last().unwrap_or("").to_owned()),
            }
        });
        self.cut_power();
    }

    /// Cuts its power.
    pub fn cut_power(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        hub_ip(
            self.lab,
            &format!("tuntap del tap{} mode tap\n", self.number),
        );
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let text = self.console();
            let from = text.len().saturating_sub(4_000);
            println!(
                "guest {}: {}",
                self.number,
                text.get(from..).unwrap_or(&text)
            );
        }
    }
}
