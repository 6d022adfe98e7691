//! One board on a data directory, perhaps under strace, and what it was told to keep.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// A board is ready, or has ended, within this.
pub const READY_TIME_MAX: Duration = Duration::from_secs(30);
/// "The key has no value".
pub const NOT_FOUND: i64 = -32_004;
/// "Unavailable", with the reason.
pub const UNAVAILABLE: i64 = -32_003;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// The full campaign is asked for.
pub fn is_long() -> bool {
    std::env::var_os("ROUNDEL_LONG").is_some()
}

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
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// Copies a data directory whose board does not run.
pub fn copy(from: &Path, to: &Path) {
    let [from, to] = [from, to].map(|path| path.display().to_string());
    crate::namespace::run("cp", &["-a", &from, &to]);
}

/// A running board, alone in its ring unless others are started beside it.
pub struct Board {
    child: Child,
    started: Instant,
    /// Where it answers, once it was ready.
    pub at: SocketAddr,
    output: PathBuf,
    log: PathBuf,
    _logs: tempfile::TempDir,
}

impl Board {
    /// Starts a board and waits until it is ready.
    pub fn start(data: &Path) -> Self {
        let mut board = Board::exec(data, &[]);
        assert!(board.wait_ready(), "the board ended: {}", board.log());
        board
    }

    /// Starts a board behind a program, such as strace with its options.
    pub fn exec(data: &Path, before: &[&str]) -> Self {
        Board::exec_with(data, before, &[])
    }

    /// The same, with more options for the board.
    pub fn exec_with(data: &Path, before: &[&str], options: &[&str]) -> Self {
        let logs = tempfile::tempdir().expect("there is room for a log");
        let (output, log) = (logs.path().join("out"), logs.path().join("log"));
        let file = |path: &Path| File::create(path).expect("the directory is ours");
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .args(before)
            // The tracer's death is not that of what it traces.
            .args(["setpriv", "--pdeathsig", "KILL"])
            .arg(env!("CARGO_BIN_EXE_roundel"))
            .args(["run", "--cluster", "disk", "--name", "board"])
            .args(["--interface", "lo"])
            .args(options)
            .arg("--data")
            .arg(data)
            .stdin(Stdio::null())
            .stdout(file(&output))
            .stderr(file(&log));
        let started = Instant::now();
        let child = command.spawn().expect("setpriv runs (util-linux)");
        Board {
            child,
            started,
            at: ([127, 0, 0, 1], 0).into(),
            output,
            log,
            _logs: logs,
        }
    }

    /// Waits for the `ready` line; false when the board ended before.
    pub fn wait_ready(&mut self) -> bool {
        let output = self.output.clone();
        let line = until("the board is ready", READY_TIME_MAX, || {
            let text = fs::read_to_string(&output).unwrap_or_default();
            if text.starts_with("ready ") && text.ends_with('\n') {
                return Ok(Some(text));
            }
            match self.child.try_wait().expect("it is our child") {
                Some(_) => Ok(None),
                None => Err(format!("{text:?}: {}", self.log())),
            }
        });
        let Some(line) = line else {
            return false;
        };
        let at = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix("http=http://"));
        let at = at.and_then(|at| at.trim_end_matches('/').parse().ok());
        self.at = at.unwrap_or_else(|| panic!("{line:?} has no address"));
        true
    }

    /// Since it was started.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// It has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_some()
    }

    /// A word of its `ready` line, such as `id`; none before it was ready.
    pub fn said(&self, word: &str) -> Option<String> {
        let line = fs::read_to_string(&self.output).ok()?;
        let mut words = line.split_whitespace();
        let found = words.find_map(|it| it.strip_prefix(word)?.strip_prefix('='));
        found.map(str::to_owned)
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Calls a method; none when it no longer answers.
    pub fn call(&self, method: &str, params: &Value) -> Option<Result<Value, Value>> {
        call(self.at, method, params)
    }

    /// A command of the program that asks this board; its exit code, and both its outputs.
    pub fn ask(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_roundel"))
            .args(arguments)
            .args(["--node", &self.at.to_string()])
            .output()
            .expect("the program runs");
        let both = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&both).into_owned(),
        )
    }

    /// Kills it: no farewell, no sync. What traces it ends by itself then.
    pub fn kill(mut self) {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        match children
            .ok()
            .and_then(|children| children.trim().parse().ok())
        {
            Some(traced) => {
                // It may die of its own crash point meanwhile.
                let _ = kill(Pid::from_raw(traced), Signal::SIGKILL);
            }
            None => self.child.kill().expect("it is our child"),
        }
        self.child.wait().expect("it is our child");
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(20).collect();
            eprintln!("the end of the board's log, last line first: {tail:#?}");
        }
    }
}

/// Calls a method; none when nobody answers, or not to the end.
pub fn call(to: SocketAddr, method: &str, params: &Value) -> Option<Result<Value, Value>> {
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let body = request.to_string();
    let head = format!(
        "POST /rpc HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let bytes = exchange(to, &[head.as_bytes(), body.as_bytes()].concat()).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let answer: Value = serde_json::from_str(text.split_once("\r\n\r\n")?.1).ok()?;
    match answer.get("error") {
        Some(error) => Some(Err(error.clone())),
        None => Some(Ok(answer["result"].clone())),
    }
}

fn exchange(to: SocketAddr, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect_timeout(&to, READY_TIME_MAX)?;
    stream.set_read_timeout(Some(READY_TIME_MAX))?;
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// Enough of a value to tell it from others.
fn start_of(value: &str) -> &str {
    &value[..value.len().min(24)]
}

/// What a key may hold: the last acknowledged value, or one whose write was not answered.
#[derive(Clone, Debug, Default)]
struct Held {
    acknowledged: Option<String>,
    uncertain: Vec<Option<String>>,
}

/// Every key that was written, with what may be under it.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    keys: BTreeMap<String, Held>,
    /// Writes that were acknowledged.
    pub acknowledged: usize,
}

impl Kept {
    /// Puts, or with no value removes; false when the board does not answer any more.
    pub fn write(&mut self, to: SocketAddr, key: &str, value: Option<String>) -> bool {
        self.write_unless(to, key, value, "quorum", || false)
    }

    /// The same, on as many copies as `consistency` says.
    pub fn write_at(
        &mut self,
        to: SocketAddr,
        key: &str,
        value: Option<String>,
        consistency: &str,
    ) -> bool {
        self.write_unless(to, key, value, consistency, || false)
    }

    /// The same; an answer is no acknowledgement when `is_void` holds once it has come.
    pub fn write_unless(
        &mut self,
        to: SocketAddr,
        key: &str,
        value: Option<String>,
        consistency: &str,
        is_void: impl FnOnce() -> bool,
    ) -> bool {
        let answer = match &value {
            Some(value) => {
                let put = json!({"key": key, "value": value, "consistency": consistency});
                call(to, "put", &put)
            }
            None => call(
                to,
                "remove",
                &json!({"key": key, "consistency": consistency}),
            ),
        };
        let held = self.keys.entry(key.to_owned()).or_default();
        match answer {
            Some(Ok(_)) if !is_void() => {
                *held = Held {
                    acknowledged: value,
                    uncertain: Vec::new(),
                };
                self.acknowledged += 1;
                true
            }
            Some(Err(error)) if value.is_none() && error["code"] == NOT_FOUND => true,
            answer => {
                held.uncertain.push(value);
                answer.is_some()
            }
        }
    }

    /// The medium has lost what this key was last given: what it held before is there as well.
    pub fn may_have_lost(&mut self, key: &str) {
        let held = self.keys.get_mut(key).expect("it was written");
        held.uncertain.push(None);
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Reads every key; what is there is settled from then on.
    ///
    /// # Panics
    /// When one holds what it may not.
    pub fn check(&mut self, board: &Board, what: &str) {
        self.check_at(board, "quorum", what);
    }

    /// The same, of as many copies as `consistency` says.
    pub fn check_at(&mut self, board: &Board, consistency: &str, what: &str) {
        for (key, held) in &mut self.keys {
            let get = json!({"key": key, "consistency": consistency});
            let read = board.call("get", &get);
            let found = match read {
                Some(Ok(read)) => read["value"].as_str().map(str::to_owned),
                Some(Err(error)) if error["code"] == NOT_FOUND => None,
                other => panic!("{what}: {key}: {other:?}: {}", board.log()),
            };
            let allowed = held.acknowledged == found || held.uncertain.contains(&found);
            assert!(
                allowed,
                "{what}: LOST: {key} was acknowledged as {:?}, holds {found:?}; \
                 unanswered {:?}",
                held.acknowledged.as_deref().map(start_of),
                held.uncertain
                    .iter()
                    .map(|value| value.as_deref().map(start_of))
                    .collect::<Vec<_>>(),
                found = found.as_deref().map(start_of)
            );
            *held = Held {
                acknowledged: found,
                uncertain: Vec::new(),
            };
        }
    }
}
