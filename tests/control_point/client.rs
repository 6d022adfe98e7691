//! Foreign programs on a board of the lab: run to their end, or listening in the background.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::lab::{Board, Lab};
use crate::node::{Node, Start};
use crate::wait;

/// What a control point does takes less.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// async-upnp-client's program, from where `./tests/run` installs it.
pub fn upnp_client() -> String {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/upnp-client");
    match installed.exists() {
        true => installed.display().to_string(),
        false => "upnp-client".to_owned(),
    }
}

/// Where a node's description is.
pub fn location(node: &Node) -> String {
    format!("http://{}/description.xml", node.endpoint())
}

/// Runs the strict client; its output, both streams.
pub fn strict(board: &Board, arguments: &[&str]) -> String {
    board.output(&upnp_client(), &[&["--strict"], arguments].concat())
}

/// Starts a node on a board's loopback interface alone.
pub fn start_on_loopback(lab: &Lab) -> Node<'_> {
    let start = Start {
        interface: Some("lo"),
        ..Start::on(0)
    };
    let mut node = Node::exec(lab, 0, start);
    node.wait_ready();
    node
}

/// The lines of JSON in an output.
pub fn json_lines(text: &str) -> Vec<Value> {
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

/// A program that listens; ended when it is dropped.
pub struct Listening {
    child: Child,
    output: PathBuf,
}

impl Listening {
    /// Starts it on a board; its output goes to a file in the lab's directory.
    pub fn start(lab: &Lab, board: usize, name: &str, program: &str, arguments: &[&str]) -> Self {
        let output = lab.directory().join(format!("{name}.txt"));
        let file = File::create(&output).expect("the lab's directory is there");
        let errors = file.try_clone().expect("a file can be shared");
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", program])
            .args(arguments)
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors);
        let child = lab.board(board).agent().run(move || command.spawn());
        let child = child.expect("setpriv runs (util-linux)");
        Listening { child, output }
    }

    /// What it has said.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Waits until what it said is so; how long that took.
    pub fn until(&self, what: &str, is_so: impl Fn(&str) -> bool) -> Duration {
        let look = || match self.said() {
            said if is_so(&said) => Ok(()),
            said => Err(format!("it said {said}")),
        };
        wait::until(what, PATIENCE, look).1
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // It may have ended by itself. A shell may have it ignore SIGINT.
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}
