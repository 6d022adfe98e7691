//! Boards of a test: processes on `lo` with a data directory each, and calls to them.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use roundel::security::key::ClusterKey;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Everything here is done within this, even on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(20);
const FIRST_PORT: u16 = 38_400;

/// Asks until `look` gives a value; answers it and how long that took.
///
/// # Panics
/// At the deadline, with what was still missing.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> (T, Duration) {
    let start = Instant::now();
    loop {
        match look() {
            Ok(value) => return (value, start.elapsed()),
            Err(missing) if start.elapsed() > DEADLINE => {
                panic!("{what}: not within {DEADLINE:?}: {missing}")
            }
            Err(_) => thread::park_timeout(Duration::from_millis(10)),
        }
    }
}

/// A board.
pub struct Board {
    child: Option<Child>,
    name: String,
    port: u16,
    directory: PathBuf,
    discovery: bool,
    interface: &'static str,
    /// Its configuration says `open = true`.
    open: bool,
    /// What is wrong with its configuration, which it tolerates.
    wrong: Option<&'static str>,
}

/// Some boards of one cluster.
pub struct Ring {
    boards: Vec<Board>,
    directory: TempDir,
}

impl Ring {
    /// Boards of these names, all members of one ring.
    pub fn of(names: &[&str]) -> Ring {
        let directory = tempfile::tempdir().expect("there is room for data");
        let mut ring = Ring {
            boards: Vec::new(),
            directory,
        };
        for name in names {
            ring.add(name);
        }
        ring.settle(names.len());
        ring
    }

    /// One board on that interface, a member of a ring of its own. With a key strangers may only
    /// read.
    pub fn reached_by(interface: &'static str, name: &str, key: Option<[u8; 32]>) -> Ring {
        let directory = tempfile::tempdir().expect("there is room for data");
        if let Some(key) = key {
            let data = directory.path().join("0/data");
            fs::create_dir_all(&data).expect("the directory is ours");
            let text = ClusterKey::new(1, key).to_text();
            fs::write(data.join("cluster.key"), text).expect("the directory is ours");
        }
        let mut ring = Ring {
            boards: Vec::new(),
            directory,
        };
        let mut board = ring.board_named(name, true);
        board.interface = interface;
        board.start();
        ring.boards.push(board);
        ring.settle(1);
        ring
    }

    /// One board that is open to everyone.
    pub fn open(name: &str) -> Ring {
        let mut ring = Ring::of(&[]);
        let mut board = ring.board_named(name, true);
        board.open = true;
        board.start();
        ring.boards.push(board);
        ring.settle(1);
        ring
    }

    /// One board whose configuration begins with what is wrong with it.
    pub fn tolerant(name: &str, wrong: &'static str) -> Ring {
        let mut ring = Ring::of(&[]);
        let mut board = ring.board_named(name, true);
        board.wrong = Some(wrong);
        board.start();
        ring.boards.push(board);
        ring.settle(1);
        ring
    }

    /// Starts one more board, and does not wait for it.
    pub fn add(&mut self, name: &str) {
        self.start_board(name, true);
    }

    /// Starts one more board that neither looks for others nor is found by them.
    pub fn add_alone(&mut self, name: &str) {
        self.start_board(name, false);
    }

    fn start_board(&mut self, name: &str, discovery: bool) {
        let mut board = self.board_named(name, discovery);
        board.start();
        self.boards.push(board);
    }

    fn board_named(&self, name: &str, discovery: bool) -> Board {
        let number = self.boards.len();
        Board {
            child: None,
            name: name.to_owned(),
            port: FIRST_PORT + u16::try_from(number).expect("there are few boards"),
            directory: self.directory.path().join(number.to_string()),
            discovery,
            interface: "lo",
            open: false,
            wrong: None,
        }
    }

    /// Waits until so many boards are members and all of them say so.
    pub fn settle(&self, boards: usize) {
        for board in self.boards.iter().filter(|board| board.child.is_some()) {
            until(&format!("{boards} boards at {}", board.name), || {
                let nodes = board.nodes().ok_or("it does not answer")?;
                let well = |node: &&Value| node["standing"] == "member" && node["alive"] == true;
                match nodes.iter().filter(well).count() == boards {
                    true => Ok(()),
                    false => Err(format!("{nodes:?}")),
                }
            });
        }
    }

    /// All of them.
    pub fn boards(&self) -> &[Board] {
        &self.boards
    }

    /// A board by its number.
    pub fn board(&mut self, number: usize) -> &mut Board {
        &mut self.boards[number]
    }
}

impl Board {
    /// Starts the process.
    pub fn start(&mut self) {
        fs::create_dir_all(&self.directory).expect("the directory is ours");
        let file = |name| File::create(self.directory.join(name)).expect("the directory is ours");
        let config = format!(
            "{2}open = {1}\n[ssdp]\nlisten = {0}\nsearch = {0}\nadvertise = {0}\n",
            self.discovery,
            self.open,
            self.wrong.unwrap_or_default()
        );
        let path = self.directory.join("config.toml");
        fs::write(&path, config).expect("the directory is ours");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_roundel"), "run"])
            .args([
                "--interface",
                self.interface,
                "--cluster",
                "home",
                "--name",
                &self.name,
            ])
            .args(["--port", &self.port.to_string(), "--data"])
            .arg(self.directory.join("data"))
            .arg("--config")
            .arg(path)
            .args(self.wrong.map(|_| "--tolerant"))
            .stdin(Stdio::null())
            .stdout(file("out"))
            .stderr(file("log"))
            .spawn();
        self.child = Some(child.expect("setpriv runs (util-linux)"));
    }

    /// Ends the process as a power cut would.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().expect("it runs").id();
        kill(Pid::from_raw(id as i32), signal).expect("it is our child");
    }

    /// The board's page.
    pub fn page(&self) -> String {
        format!("http://{}/presentation", self.at())
    }

    /// Where it answers.
    pub fn at(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// The lines of its cluster's state; none when it does not answer.
    pub fn nodes(&self) -> Option<Vec<Value>> {
        let state = self.call("get_cluster_state", json!({})).ok()?;
        state["cluster"]["nodes"].as_array().cloned()
    }

    /// Calls a method.
    ///
    /// # Errors
    /// The error object, or null when nobody answers.
    pub fn call(&self, method: &str, params: Value) -> Result<Value, Value> {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let body = request.to_string();
        let head = format!(
            "POST /rpc HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n",
            self.at(),
            body.len()
        );
        let text = exchange(self.at(), &(head + &body)).ok_or(Value::Null)?;
        let (_, answer) = text.split_once("\r\n\r\n").ok_or(Value::Null)?;
        let answer: Value = serde_json::from_str(answer).map_err(|_| Value::Null)?;
        match answer.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(answer["result"].clone()),
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            let tail: Vec<_> = log.lines().rev().take(5).collect();
            eprintln!(
                "the end of the log of {}, last line first: {tail:#?}",
                self.name
            );
        }
    }
}

/// Sends a request and reads its answer; the text of head and body.
pub fn exchange(to: SocketAddr, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&to, DEADLINE).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let start = head.len();
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
        if let Some((name, value)) = head[start..].split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
    }
    // Chromedriver keeps its connections open, so that the end is not waited for.
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(head + &String::from_utf8(body).ok()?)
}

/// Where artefacts are kept.
pub fn artefacts() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/browser");
    fs::create_dir_all(&path).expect("target is ours");
    path
}
