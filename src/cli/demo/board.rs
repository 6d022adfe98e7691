//! The boards of the demo: child processes, their directories, their key, their end.

use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::cli::failure::{Failure, Kind};
use crate::cli::rpc::Client;
use crate::security::key::ClusterKey;

/// A board serves within this of its start.
const READY_TIME_MAX: Duration = Duration::from_secs(15);
/// A board of the demo that is told to stop will be started again, or all of them end.
const CONFIG: &str = "on_terminate = \"stop\"\n";
/// The key that the boards of one demo share; it goes with their directory.
const KEY_FILE: &str = "cluster.key";

/// A running board.
pub struct Board {
    /// What the demo calls it.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Where it answers: `http://ADDR:PORT`.
    pub url: String,
    /// Asks it.
    pub client: Client,
    process: Child,
}

/// A process that has not said yet that it serves.
struct Starting {
    index: usize,
    name: String,
    log: PathBuf,
    lines: Lines<BufReader<ChildStdout>>,
    process: Child,
}

/// The temporary directory and every board that runs in it.
pub struct Site {
    dir: PathBuf,
    cluster: String,
    starting: VecDeque<Starting>,
    /// In order of their numbers; none: not running.
    pub boards: Vec<Option<Board>>,
}

impl Site {
    /// Makes the directory; no board runs yet.
    ///
    /// # Errors
    /// [`Failure`] when there is no place for it.
    pub fn new() -> Result<Self, Failure> {
        use std::os::unix::fs::DirBuilderExt;
        use std::os::unix::fs::OpenOptionsExt;
        let cluster = format!("demo-{:08x}", u32::from_be_bytes(random()?));
        let key = ClusterKey::new(0, random()?);
        let dir = std::env::temp_dir().join(format!("roundel-{cluster}"));
        let prepared = std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&dir)
            .and_then(|()| std::fs::write(dir.join("roundel.toml"), CONFIG))
            .and_then(|()| {
                let mut options = std::fs::OpenOptions::new();
                let options = options.create_new(true).write(true).mode(0o600);
                options
                    .open(dir.join(KEY_FILE))?
                    .write_all(key.to_text().as_bytes())
            });
        prepared.map_err(|error| {
            Failure::new(
                Kind::Failed,
                format!("{} cannot be made: {error}", dir.display()),
                "make room, or name another place with TMPDIR",
            )
        })?;
        Ok(Site {
            dir,
            cluster,
            starting: VecDeque::new(),
            boards: Vec::new(),
        })
    }

    /// The temporary directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The cluster's name, nobody else's.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Starts the process of board number `index`, with the data of an earlier life if it had
    /// one; [`Site::ready`] waits for it.
    ///
    /// # Errors
    /// [`Failure`] when the system does not let us.
    pub fn start(&mut self, index: usize) -> Result<(), Failure> {
        let name = format!("board-{}", index + 1);
        let log = self.dir.join(format!("{name}.log"));
        let broken = |error: std::io::Error| not_started(&name, &error.to_string());
        let stderr = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(broken)?;
        // In a group of its own, so that Ctrl-C reaches us alone; a closed standard input tells
        // it that we have gone, however we went.
        let mut process = Command::new(std::env::current_exe().map_err(broken)?)
            .args(["run", "--stop-with-stdin", "--interface", "lo", "--cluster"])
            .args([self.cluster.as_str(), "--name", &name, "--data"])
            .arg(self.dir.join(&name))
            .arg("--config")
            .arg(self.dir.join("roundel.toml"))
            .arg("--key-file")
            .arg(self.dir.join(KEY_FILE))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(broken)?;
        let stdout = process.stdout.take().expect("standard output is a pipe");
        self.starting.push_back(Starting {
            index,
            name,
            log,
            lines: BufReader::new(stdout).lines(),
            process,
        });
        Ok(())
    }

    /// Waits until the board that was started first, of those not ready, serves.
    ///
    /// # Errors
    /// [`Failure`] when it ends or stays silent.
    pub async fn ready(&mut self) -> Result<&mut Board, Failure> {
        let board = self.starting.front_mut().expect("a board was started");
        let said = tokio::time::timeout(READY_TIME_MAX, board.lines.next_line()).await;
        let line = match said {
            Ok(Ok(Some(line))) => Ok(line),
            Ok(Ok(None)) => Err(last_words(&board.log)),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("it did not say it was ready".to_owned()),
        };
        let line = line.map_err(|why| not_started(&board.name, &why))?;
        let (id, url, address) = parse_ready(&line)
            .ok_or_else(|| not_started(&board.name, &format!("it said {line:?}")))?;
        let Starting {
            index,
            name,
            mut lines,
            process,
            ..
        } = self.starting.pop_front().expect("it is still the first");
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        if self.boards.len() <= index {
            self.boards.resize_with(index + 1, || None);
        }
        Ok(self.boards[index].insert(Board {
            name,
            id: id.to_owned(),
            url: url.to_owned(),
            client: Client::new(address),
            process,
        }))
    }

    /// Every board that runs.
    pub fn running(&mut self) -> impl Iterator<Item = &mut Board> {
        self.boards.iter_mut().flatten()
    }

    /// Board number `index`, which must be running.
    pub fn board(&mut self, index: usize) -> &mut Board {
        self.boards[index]
            .as_mut()
            .expect("the story asks only boards that run")
    }

    /// Tells every board to stop and waits; those that do not are killed.
    pub async fn stop(&mut self, time_max: Duration) {
        let starting = self.starting.drain(..).map(|board| board.process);
        let boards = self.boards.drain(..).flatten().map(|board| board.process);
        let mut processes: Vec<Child> = starting.chain(boards).collect();
        for process in &processes {
            terminate(process);
        }
        let all = async {
            for process in &mut processes {
                // It may have ended before; either way it has ended.
                let _ = process.wait().await;
            }
        };
        let in_time = tokio::time::timeout(time_max, all).await.is_ok();
        if !in_time {
            for process in &mut processes {
                // As above.
                let _ = process.kill().await;
            }
        }
    }

    /// Removes the directory and everything in it.
    pub fn remove(&self) {
        // What cannot be removed from a temporary directory, the system removes.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Board {
    /// Ends it as a power cut would, and waits until it has gone.
    ///
    /// # Errors
    /// [`Failure`] when the system does not let us.
    pub async fn kill(mut self) -> Result<(), Failure> {
        self.process
            .kill()
            .await
            .map_err(|error| Failure::failed(format!("{} cannot be killed: {error}", self.name)))
    }
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::failed(format!("the system has no random numbers: {error}")))?;
    Ok(bytes)
}

/// Asks a process to stop.
fn terminate(process: &Child) {
    // A process that has not been waited for still owns its number.
    let pid = process.id().and_then(|pid| i32::try_from(pid).ok());
    if let Some(pid) = pid {
        // It may have ended by itself.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
}

fn not_started(name: &str, why: &str) -> Failure {
    Failure::failed(format!("{name} did not start: {why}"))
}

/// Id, URL and address of `ready name=… id=… http=http://ADDR:PORT`.
fn parse_ready(line: &str) -> Option<(&str, &str, SocketAddr)> {
    let words = line.strip_prefix("ready ")?;
    let of = |name: &str| words.split(' ').find_map(|word| word.strip_prefix(name));
    let url = of("http=")?;
    let address = url.strip_prefix("http://")?.parse().ok()?;
    Some((of("id=")?, url, address))
}

/// The end of a log, for a person to see what happened.
fn last_words(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    match lines[lines.len().saturating_sub(3)..].join(" / ") {
        words if words.is_empty() => "it ended without a word".to_owned(),
        words => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_names_id_and_url() {
        let line = "ready name=board-1 id=ab12 http=http://127.0.0.1:38400 access=provisional \
                    key=00 members=3 fingerprint=123456";
        let address = "127.0.0.1:38400".parse().unwrap();
        assert_eq!(
            parse_ready(line),
            Some(("ab12", "http://127.0.0.1:38400", address))
        );
        assert_eq!(parse_ready("ready id=ab12 http=http://nowhere"), None);
        assert_eq!(parse_ready("starting"), None);
        assert_eq!(parse_ready("ready name=a"), None);
    }
}
