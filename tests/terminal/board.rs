//! Boards of one cluster on `lo`.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Everything here happens within this, even on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// The board that is asked listens here.
pub const ASKED: &str = "127.0.0.1:38400";

/// Asks until `look` is content.
///
/// # Panics
/// At the deadline, with what was still missing.
pub fn until(what: &str, mut look: impl FnMut() -> Result<(), String>) {
    let start = Instant::now();
    while let Err(missing) = look() {
        assert!(
            start.elapsed() < DEADLINE,
            "{what}: not within {DEADLINE:?}: {missing}"
        );
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A board that runs; killed when this goes out of scope.
pub struct Board {
    child: Child,
    name: &'static str,
    port: u16,
    dir: TempDir,
}

impl Board {
    /// Starts a board and waits until it is ready.
    pub fn start(name: &'static str, port: u16) -> Self {
        let dir = tempfile::tempdir().expect("there is room");
        let child = spawn(name, port, &dir);
        let board = Board {
            child,
            name,
            port,
            dir,
        };
        board.is_ready();
        board
    }

    fn is_ready(&self) {
        until(&format!("{} is ready", self.name), || {
            let text = fs::read_to_string(self.file("out")).unwrap_or_default();
            match text.starts_with("ready ") && text.ends_with('\n') {
                true => Ok(()),
                false => Err(fs::read_to_string(self.file("log")).unwrap_or_default()),
            }
        });
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Ends it as a power cut does.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }

    /// Starts it again with what it had.
    pub fn restart(&mut self) {
        self.child = spawn(self.name, self.port, &self.dir);
        self.is_ready();
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(name: &str, port: u16, dir: &TempDir) -> Child {
    let file = |name: &str| File::create(dir.path().join(name)).expect("the directory is ours");
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_roundel"), "run"])
        .args(["--cluster", "terminal", "--interface", "lo", "--name", name])
        .args(["--port", &port.to_string(), "--data"])
        .arg(dir.path().join("data"))
        .env_remove("XDG_RUNTIME_DIR")
        .stdin(Stdio::null())
        .stdout(file("out"))
        .stderr(file("log"));
    command.spawn().expect("setpriv runs (util-linux)")
}

/// Runs a verb without a terminal: exit code, standard output, standard error.
pub fn roundel(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_roundel"))
        .args(args)
        .env("ROUNDEL_NODE", ASKED)
        .stdin(Stdio::null())
        .output()
        .expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
    let code = output.status.code().expect("no signal ended it");
    (code, text(output.stdout), text(output.stderr))
}

/// Three boards that have become one ring: attic (which is asked), cellar and roof.
pub fn ring() -> [Board; 3] {
    let boards = [
        Board::start("attic", 38_400),
        Board::start("cellar", 38_401),
        Board::start("roof", 38_402),
    ];
    until("the boards are one ring", || {
        let (_, state, _) = roundel(&["call", "get_cluster_state"]);
        let state: Value = serde_json::from_str(&state).unwrap_or_default();
        let nodes = state["cluster"]["nodes"].as_array().map_or(0, Vec::len);
        match (nodes, state["cluster"]["settled"] == true) {
            (3, true) => Ok(()),
            _ => Err(state.to_string()),
        }
    });
    boards
}
