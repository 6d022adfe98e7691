//! A roundel process: started, watched and ended.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use roundel::base::id::Id;
use serde_json::json;
use tempfile::TempDir;

use crate::client;

/// Everything a board on its own does is done within this, even on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(15);
/// What a board may grow by while it is sent rubbish.
pub const GROWTH_BYTES_MAX: u64 = 24 * 1_024 * 1_024;
/// The cluster of every board here.
pub const CLUSTER: &str = "daemon";

/// Asks until `look` gives a value.
///
/// # Panics
/// At the deadline, with what was still missing.
pub fn until<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match look() {
            Ok(value) => return value,
            Err(missing) if start.elapsed() > deadline => {
                panic!("{what}: not within {deadline:?}: {missing}")
            }
            Err(_) => thread::park_timeout(Duration::from_millis(5)),
        }
    }
}

/// A running board.
pub struct Daemon {
    child: Child,
    output: PathBuf,
    log: PathBuf,
    /// Where it answers.
    pub at: SocketAddr,
    /// Who it is.
    pub id: Id,
    _logs: TempDir,
}

/// How a process ended that was not meant to run on.
#[derive(Debug)]
pub struct Ended {
    /// The exit code.
    pub code: Option<i32>,
    /// Standard error.
    pub said: String,
}

/// `roundel run` on a data directory, on `lo` unless told otherwise.
pub fn command(data: &Path, more: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_roundel"), "run"]);
    command.args(["--cluster", CLUSTER, "--name", "board", "--data"]);
    command.arg(data).args(more);
    if !more.contains(&"--interface") {
        command.args(["--interface", "lo"]);
    }
    command
        .env("RUST_LOG", "roundel=debug")
        .env_remove("XDG_RUNTIME_DIR")
        .stdin(Stdio::null());
    command
}

/// Starts a process that must end by itself.
pub fn ends(mut command: Command) -> Ended {
    let logs = tempfile::tempdir().expect("there is room for a log");
    let path = logs.path().join("log");
    let file = File::create(&path).expect("the directory is ours");
    let mut child = command
        .stdout(Stdio::null())
        .stderr(file)
        .spawn()
        .expect("setpriv runs (util-linux)");
    let start = Instant::now();
    let status = loop {
        match child.try_wait().expect("it is our child") {
            Some(status) => break status,
            None if start.elapsed() > DEADLINE => {
                child.kill().expect("it is our child");
                child.wait().expect("it is our child");
                let said = fs::read_to_string(&path).unwrap_or_default();
                panic!("it still runs after {DEADLINE:?}: {said}");
            }
            None => thread::park_timeout(Duration::from_millis(5)),
        }
    };
    Ended {
        code: status.code(),
        said: fs::read_to_string(&path).expect("the log is text"),
    }
}

impl Daemon {
    /// Starts a board and waits until it is ready.
    pub fn start(data: &Path, more: &[&str]) -> Self {
        let logs = tempfile::tempdir().expect("there is room for a log");
        let (output, log) = (logs.path().join("out"), logs.path().join("log"));
        let file = |path| File::create(path).expect("the directory is ours");
        let child = command(data, more)
            .stdout(file(&output))
            .stderr(file(&log))
            .spawn()
            .expect("setpriv runs (util-linux)");
        let mut daemon = Daemon {
            child,
            output,
            log,
            at: ([127, 0, 0, 1], 0).into(),
            id: Id::ZERO,
            _logs: logs,
        };
        let line = until("the board is ready", DEADLINE, || daemon.ready_line());
        let field = |name: &str| {
            let mut words = line.split_whitespace();
            let found = words.find_map(|word| word.strip_prefix(name));
            found
                .unwrap_or_else(|| panic!("{line:?} has no {name}"))
                .to_owned()
        };
        daemon.id = field("id=").parse().expect("an id");
        daemon.at = field("http=http://").parse().expect("an address");
        daemon
    }

    fn ready_line(&mut self) -> Result<String, String> {
        if let Some(status) = self.child.try_wait().expect("it is our child") {
            panic!("it ended with {status}: {}", self.log());
        }
        let text = fs::read_to_string(&self.output).unwrap_or_default();
        let whole = text.strip_suffix('\n');
        match whole.and_then(|whole| whole.lines().last()) {
            Some(line) if line.starts_with("ready ") => Ok(line.to_owned()),
            _ => Err(format!("it printed {text:?}")),
        }
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed.
    pub fn printed(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the log has this.
    pub fn logs(&self, what: &str) {
        until(&format!("{what:?} is logged"), DEADLINE, || {
            match self.log().contains(what) {
                true => Ok(()),
                false => Err("it is not".to_owned()),
            }
        });
    }

    /// How often the log has this.
    pub fn logged(&self, what: &str) -> usize {
        self.log().matches(what).count()
    }

    /// Its process.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Its resident memory.
    pub fn rss_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let word = line.and_then(|line| line.split_whitespace().next());
        let kib: u64 = word.expect("it has memory").parse().expect("a number");
        kib * 1_024
    }

    /// Processor time it has used, to 10 ms.
    pub fn cpu(&self) -> Duration {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = fs::read_to_string(path).expect("it runs");
        let (_, after) = stat.rsplit_once(") ").expect("a name in brackets");
        let mut fields = after.split_whitespace().skip(11);
        let mut ticks = || {
            fields
                .next()
                .expect("it is there")
                .parse::<u64>()
                .expect("a number")
        };
        Duration::from_millis(10 * (ticks() + ticks()))
    }

    /// It lives, says that it is well, takes a value and gives it back, and has logged no error.
    pub fn assert_well(&mut self) {
        if let Some(status) = self.child.try_wait().expect("it is our child") {
            panic!("it ended with {status}: {}", self.log());
        }
        let log = self.log();
        assert!(
            !log.contains(" ERROR ") && !log.contains("panicked"),
            "{log}"
        );
        let health = client::get(self.at, "/healthz");
        assert_eq!(health.status, 200, "{}: {log}", health.body);
        let value = json!(format!("value of {:?}", Instant::now()));
        client::call(self.at, "put", json!({"key": "well", "value": value})).expect("a put");
        let read = client::call(self.at, "get", json!({"key": "well"})).expect("a get");
        assert_eq!(read["value"], value);
    }

    /// It has not grown beyond bounds since `before_bytes` was measured.
    pub fn assert_small(&self, before_bytes: u64) {
        let rss_bytes = self.rss_bytes();
        assert!(
            rss_bytes < before_bytes + GROWTH_BYTES_MAX,
            "it grew from {before_bytes} to {rss_bytes} bytes"
        );
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("it is our child");
    }

    /// Waits until it has ended by itself.
    pub fn wait_end(&mut self) -> ExitStatus {
        until("the board ends", DEADLINE, || {
            let ended = self.child.try_wait().expect("it is our child");
            ended.ok_or_else(|| "it still runs".to_owned())
        })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(20).collect();
            eprintln!("the end of the board's log, last line first: {tail:#?}");
        }
    }
}
