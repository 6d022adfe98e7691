//! serf's agents on the boards of a lab, which find each other by mDNS; its log says who sees whom.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::fault::Fault;
use crate::lab::Lab;
use crate::lan::Log;
use crate::process::{Usage, installed, usage};

const POLL: Duration = Duration::from_millis(5);

/// A running agent; it ends with the value, or with its lab.
pub struct Serf {
    child: Child,
    log: PathBuf,
    /// What it is called.
    pub name: String,
}

impl Serf {
    /// Starts an agent on a board.
    pub fn exec(lab: &Lab, board: usize) -> Result<Self, Fault> {
        let name = format!("s{}", board + 1);
        // Not `.log`: the lab reads those as ours.
        let log = lab.directory().join(format!("{name}.serf"));
        let file: File = OpenOptions::new().create(true).append(true).open(&log)?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(installed("serf", "serf")?)
            .args(["agent", "-iface=eth0", "-discover=bench", "-profile=lan"])
            .arg(format!("-bind={}", lab.board(board).address()))
            .arg(format!("-node={name}"))
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let child = lab.board(board).agent().run(move || command.spawn());
        let child = child.map_err(|it| Fault::from(it).of("setpriv (util-linux) cannot be run"))?;
        Ok(Serf { child, log, name })
    }

    /// Starts agents on so many boards at once.
    pub fn exec_all(lab: &Lab, boards: usize) -> Result<Vec<Self>, Fault> {
        (0..boards).map(|board| Serf::exec(lab, board)).collect()
    }

    /// What it writes to its log from here on.
    pub fn log(&self) -> Log {
        Log::from_here(self.log.clone())
    }

    /// What it has used so far.
    pub fn usage(&self) -> Result<Usage, Fault> {
        usage(self.child.id()).map_err(|fault| fault.of(&self.name))
    }

    /// Kills it: no farewell.
    pub fn kill(&mut self) -> Result<(), Fault> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Serf {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line says that a member came: its name.
fn joined(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("EventMemberJoin: ")?;
    rest.split_whitespace().next()
}

/// A line says that this member came.
pub fn says_joined(line: &str, name: &str) -> bool {
    joined(line) == Some(name)
}

/// A line says that this member failed.
pub fn says_failed(line: &str, name: &str) -> bool {
    let rest = line.split_once("EventMemberFailed: ");
    rest.is_some_and(|(_, rest)| rest.split_whitespace().next() == Some(name))
}

/// Waits until each agent has seen so many come, itself among them, reading logs from their start.
///
/// # Errors
/// They do not within `deadline` of `start`.
pub fn until_all_see(
    agents: &[Serf],
    count: usize,
    start: Instant,
    deadline: Duration,
) -> Result<Duration, Fault> {
    let mut logs: Vec<_> = agents
        .iter()
        .map(|it| Log::from_start(it.log.clone()))
        .collect();
    let mut seen = vec![BTreeSet::new(); agents.len()];
    loop {
        for (log, seen) in logs.iter_mut().zip(&mut seen) {
            if seen.len() < count {
                let lines = log.lines();
                seen.extend(
                    lines
                        .iter()
                        .filter_map(|line| Some(joined(line)?.to_owned())),
                );
            }
        }
        let least = seen.iter().map(BTreeSet::len).min().unwrap_or(0);
        if least >= count {
            return Ok(start.elapsed());
        }
        if start.elapsed() > deadline {
            return Err(Fault::new(format!(
                "serf: an agent sees {least} of {count} members after {deadline:?}"
            )));
        }
        thread::sleep(POLL);
    }
}
