//! A roundel process on a board of the lab: started, asked, measured and ended.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::http;
use crate::lab::{Board, Lab};
use crate::wait;

/// A node says that it is ready within this.
const READY_TIME_MAX: Duration = Duration::from_secs(30);
/// A node told to stop ends within this: a hand-over may take its time.
const STOP_TIME_MAX: Duration = Duration::from_secs(70);

/// How a node is started.
pub struct Start<'a> {
    /// Its name, and its log's.
    pub name: String,
    /// Its data directory, below the lab's.
    pub data: String,
    /// The cluster's name.
    pub cluster: &'a str,
    /// The interface, if it is told one.
    pub interface: Option<&'a str>,
    /// `--ring-mode`, if it is told one.
    pub ring_mode: Option<&'a str>,
}

impl Start<'_> {
    /// As board `board` usually starts.
    pub fn on(board: usize) -> Start<'static> {
        Start {
            name: format!("n{}", board + 1),
            data: format!("data{}", board + 1),
            cluster: "lab",
            interface: Some("eth0"),
            ring_mode: None,
        }
    }
}

/// A running node.
pub struct Node<'a> {
    lab: &'a Lab,
    board: usize,
    child: Child,
    started: Instant,
    /// What it was called.
    pub name: String,
    /// Its id, once it was ready.
    pub id: String,
    endpoint: Option<SocketAddr>,
    /// The line that said it was ready.
    pub ready: String,
    output: PathBuf,
    errors: PathBuf,
}

/// What a process has used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Resident, bytes.
    pub rss_bytes: u64,
    /// What of it is no part of a file: how much of the program the system maps is its own choice.
    pub anon_bytes: u64,
    /// Of one core, since its start.
    pub cpu: Duration,
    /// Written to a medium, bytes (`/proc/PID/io`).
    pub write_bytes: u64,
}

/// A JSON-RPC error.
#[derive(Clone, Debug, PartialEq)]
pub struct RpcError {
    /// 0: there was no JSON-RPC answer at all.
    pub code: i64,
    /// In words.
    pub message: String,
}

impl<'a> Node<'a> {
    /// Starts a node as usual and waits until it is ready.
    pub fn start(lab: &'a Lab, board: usize) -> Self {
        let mut node = Node::exec(lab, board, Start::on(board));
        node.wait_ready();
        node
    }

    /// Starts a process. It dies with the lab. A file NAME.toml in the lab's directory is its
    /// configuration.
    pub fn exec(lab: &'a Lab, board: usize, start: Start) -> Self {
        let path = |ending: &str| lab.directory().join(format!("{}.{ending}", start.name));
        let (output, errors) = (path("out"), path("log"));
        let file = |path: &Path| {
            let mut options = fs::OpenOptions::new();
            options
                .create(true)
                .append(true)
                .open(path)
                .expect("the lab's directory is there")
        };
        let data = lab.directory().join(&start.data);
        let configured = Some(path("toml")).filter(|path| path.exists());
        // What the node printed in an earlier start is not what it prints in this one.
        let _ = fs::remove_file(&output);
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(&lab.program)
            .arg("run")
            .args(["--cluster", start.cluster, "--name", &start.name, "--data"])
            .arg(data)
            .args(
                start
                    .interface
                    .iter()
                    .flat_map(|interface| ["--interface", interface]),
            )
            .args(
                start
                    .ring_mode
                    .iter()
                    .flat_map(|mode| ["--ring-mode", mode]),
            )
            .args(
                configured
                    .iter()
                    .flat_map(|path| [Path::new("--config"), path]),
            )
            .env_remove("ROUNDEL_NODE")
            .stdin(Stdio::null())
            .stdout(file(&output))
            .stderr(file(&errors));
        let started = Instant::now();
        let child = lab.board(board).agent().run(move || command.spawn());
        Node {
            lab,
            board,
            child: child.expect("setpriv runs (util-linux)"),
            started,
            name: start.name,
            id: String::new(),
            endpoint: None,
            ready: String::new(),
            output,
            errors,
        }
    }

    /// Waits for the line that says it is ready, and takes its id and address from it.
    pub fn wait_ready(&mut self) {
        let what = format!("{} is ready", self.name);
        let (line, _) = wait::until(&what, READY_TIME_MAX, || {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("{what}: it ended with {status}: {}", self.log());
            }
            let text = fs::read_to_string(&self.output).unwrap_or_default();
            let line = text
                .lines()
                .find(|line| line.starts_with("ready ") && text.ends_with('\n'));
            line.map(str::to_owned)
                .ok_or_else(|| format!("it printed {text:?}"))
        });
        let field = |name: &str| {
            let found = line
                .split_whitespace()
                .find_map(|word| word.strip_prefix(name));
            found
                .unwrap_or_else(|| panic!("{line:?} has no {name}"))
                .to_owned()
        };
        self.id = field("id=");
        let endpoint = field("http=http://").trim_end_matches('/').parse();
        self.endpoint = Some(endpoint.expect("the address in the ready line is one"));
        self.ready = line;
    }

    /// Since the process was started.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// The board it runs on.
    pub fn board(&self) -> &'a Board {
        self.lab.board(self.board)
    }

    /// The board's index.
    pub fn index(&self) -> usize {
        self.board
    }

    /// Where it answers.
    pub fn endpoint(&self) -> SocketAddr {
        self.endpoint.expect("the node was ready")
    }

    /// After its address has changed.
    pub fn set_endpoint(&mut self, endpoint: SocketAddr) {
        self.endpoint = Some(endpoint);
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.errors).unwrap_or_default()
    }

    /// Calls a method from its own board.
    ///
    /// # Errors
    /// The error it answers, or one of code 0.
    pub fn call(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        let to = self.endpoint();
        let method = method.to_owned();
        self.board().agent().run(move || call(to, &method, params))
    }

    /// Stores a value; what it answered.
    ///
    /// # Errors
    /// As for [`Node::call`].
    pub fn put(&self, key: &str, value: &str) -> Result<Value, RpcError> {
        self.call("put", json!({"key": key, "value": value}))
    }

    /// Reads a value.
    ///
    /// # Errors
    /// As for [`Node::call`].
    pub fn get(&self, key: &str) -> Result<String, RpcError> {
        let result = self.call("get", json!({"key": key}))?;
        Ok(result["value"].as_str().unwrap_or_default().to_owned())
    }

    /// Boards of the cluster as it sees them: (id, alive), in the order it gives.
    ///
    /// # Errors
    /// In words.
    pub fn members(&self) -> Result<Vec<(String, bool)>, String> {
        let state = self.call("get_cluster_state", json!({}));
        let state = state.map_err(|error| format!("{}: {error:?}", self.name))?;
        let nodes = state["cluster"]["nodes"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let member = |node: &Value| {
            let id = node["hash"].as_str().unwrap_or_default().to_owned();
            (id, node["alive"].as_bool().unwrap_or(false))
        };
        Ok(nodes.iter().map(member).collect())
    }

    /// The board has settled: it sees exactly these boards alive, nobody is on the way in or
    /// out, and its first successor is the next of them in id order.
    ///
    /// # Errors
    /// In words.
    pub fn sees_ring(&self, ids: &[String]) -> Result<(), String> {
        let mut alive: Vec<_> = self.members()?;
        alive.retain(|(_, alive)| *alive);
        let mut alive: Vec<_> = alive.into_iter().map(|(id, _)| id).collect();
        alive.sort();
        let mut expected = ids.to_vec();
        expected.sort();
        if alive != expected {
            return Err(format!(
                "{} sees {} of {} boards",
                self.name,
                alive.len(),
                ids.len()
            ));
        }
        let fingers = self.call("get_ring_fingers", json!({}));
        let fingers = fingers.map_err(|error| format!("{}: {error:?}", self.name))?;
        let at = expected.iter().position(|id| *id == self.id);
        let at = at.ok_or_else(|| format!("{} is not among those expected", self.name))?;
        let next = &expected[(at + 1) % expected.len()];
        let successor = fingers["successors"][0]["id"].as_str().unwrap_or(&self.id);
        match successor == next {
            true => Ok(()),
            false => Err(format!(
                "{}: the successor is {successor}, not {next}",
                self.name
            )),
        }
    }

    /// The process's id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Kills it: no farewell, no sync.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }

    /// Stops or continues it.
    pub fn set_paused(&self, paused: bool) {
        let signal = if paused {
            Signal::SIGSTOP
        } else {
            Signal::SIGCONT
        };
        kill(self.pid(), signal).expect("it is our child");
    }

    /// Asks it to end and waits for that.
    pub fn terminate(&mut self) -> ExitStatus {
        kill(self.pid(), Signal::SIGTERM).expect("it is our child");
        self.wait_exit(STOP_TIME_MAX)
    }

    /// Waits until it has ended by itself.
    pub fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("{} ends", self.name);
        let look = || match self.child.try_wait().expect("it is our child") {
            Some(status) => Ok(status),
            None => Err("it still runs".to_owned()),
        };
        wait::until(&what, deadline, look).0
    }

    /// It has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// What it has used so far.
    pub fn usage(&self) -> Usage {
        let read = |file: &str| {
            let path = format!("/proc/{}/{file}", self.child.id());
            fs::read_to_string(path).expect("the process runs")
        };
        let field = |text: &str, name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.and_then(|word| word.parse().ok())
                .unwrap_or_else(|| panic!("/proc has {name}"))
        };
        let stat = read("stat");
        let after_name = stat.rsplit_once(')').expect("stat has a name").1;
        let ticks = after_name.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks
            .map(|word| word.parse::<u64>().expect("a count of ticks"))
            .sum();
        Usage {
            rss_bytes: field(&read("status"), "VmRSS:") * 1_024,
            anon_bytes: field(&read("status"), "RssAnon:") * 1_024,
            // Linux shows ticks of 10 ms on every machine.
            cpu: Duration::from_millis(10 * ticks),
            write_bytes: field(&read("io"), "write_bytes:"),
        }
    }
}

impl Drop for Node<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program under test: the one just built, unless ROUNDEL_BINARY names another.
pub fn binary() -> OsString {
    let built = || env!("CARGO_BIN_EXE_roundel").into();
    std::env::var_os("ROUNDEL_BINARY").unwrap_or_else(built)
}

/// A JSON-RPC call from wherever this thread is.
///
/// # Errors
/// The error that is answered, or one of code 0.
pub fn call(to: SocketAddr, method: &str, params: Value) -> Result<Value, RpcError> {
    let none = |message: String| RpcError { code: 0, message };
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let answer = http::request(to, "POST", "/rpc", request.to_string().as_bytes());
    let answer = answer.map_err(|error| none(error.to_string()))?;
    let answer: Value = serde_json::from_slice(&answer.body).map_err(|error| {
        none(format!(
            "{error}: {:?}",
            String::from_utf8_lossy(&answer.body)
        ))
    })?;
    match answer.get("error") {
        Some(error) => Err(RpcError {
            code: error["code"].as_i64().unwrap_or(0),
            message: format!(
                "{}: {}",
                error["message"].as_str().unwrap_or_default(),
                error["data"]["reason"].as_str().unwrap_or_default()
            ),
        }),
        None => Ok(answer["result"].clone()),
    }
}
