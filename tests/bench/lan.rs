//! Rings on the LAN lab of `tests/lan`: boards in namespaces on one bridge, and what is told of
//! them by their logs. The lab panics where a test would fail; here that is a fault of the row.

use std::any::Any;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use roundel::security::key::ClusterKey;

use crate::fault::Fault;
use crate::lab::Lab;
use crate::node::Node;
use crate::ours;
use crate::ring;
use crate::row::Context;

/// Boards of a large ring.
pub const BOARDS: usize = 30;
/// A ring of them has formed within this, whoever they are.
pub const FORM_TIME_MAX: Duration = Duration::from_secs(90);
/// Between two looks at the logs.
const POLL: Duration = Duration::from_millis(5);

/// Does something with a lab.
///
/// # Errors
/// Its own, and what the lab panics with.
pub fn guarded<T>(job: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    let caught = catch_unwind(AssertUnwindSafe(job));
    caught.unwrap_or_else(|panic| Err(Fault::new(words(&*panic))))
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("the lab panicked").to_owned()
}

/// Where the data of the boards lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// On disk: what is written counts.
    Disk,
    /// In memory: thirty boards on one disk would time the disk.
    Memory,
}

/// A LAN for so many boards of ours, which hold the key of their cluster in a file, as an owner
/// gives it to them.
pub fn keyed(context: &Context, name: &str, boards: usize, medium: Medium) -> Lab {
    let mut lab = match medium {
        Medium::Disk => Lab::new(name, boards),
        Medium::Memory => Lab::in_memory(name, boards),
    };
    lab.program = context.binary.clone().into();
    let secret = ours::random().expect("the system draws random bytes");
    let key = ClusterKey::new(0, secret).to_text();
    for board in 1..=boards {
        let data = lab.directory().join(format!("data{board}"));
        fs::create_dir_all(&data).expect("the lab's directory is there");
        let file = data.join("cluster.key");
        ours::write_private(&file, &key).expect("the lab's directory is there");
    }
    lab
}

/// Nodes on all boards of a lab, in one ring, none of them joining any more.
pub fn formed(lab: &Lab, boards: usize) -> Vec<Node<'_>> {
    ring::form(lab, 0..boards)
}

/// A log that grows, read from where it was looked at last.
pub struct Log {
    path: PathBuf,
    seen: usize,
}

impl Log {
    /// Reads what is written from this moment on.
    pub fn from_here(path: PathBuf) -> Self {
        let seen = fs::metadata(&path).map_or(0, |it| it.len() as usize);
        Log { path, seen }
    }

    /// Reads all that is written.
    pub fn from_start(path: PathBuf) -> Self {
        Log { path, seen: 0 }
    }

    /// Whole lines that are new.
    pub fn lines(&mut self) -> Vec<String> {
        let Ok(length) = fs::metadata(&self.path).map(|it| it.len() as usize) else {
            return Vec::new();
        };
        if length == self.seen {
            return Vec::new();
        }
        let bytes = fs::read(&self.path).unwrap_or_default();
        let fresh = &bytes[self.seen.min(bytes.len())..];
        let whole = fresh
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        self.seen += whole;
        let text = String::from_utf8_lossy(&fresh[..whole]);
        text.lines().map(str::to_owned).collect()
    }
}

/// How long after `start` each of the logs had a line that is wanted.
///
/// # Errors
/// One has none by the deadline.
pub fn told_after(
    logs: &mut [Log],
    start: Instant,
    deadline: Duration,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Duration>, Fault> {
    let mut told = vec![None; logs.len()];
    loop {
        for (log, told) in logs.iter_mut().zip(&mut told) {
            if told.is_none() && log.lines().iter().any(|line| wanted(line)) {
                *told = Some(start.elapsed());
            }
        }
        if let Some(all) = told.iter().copied().collect::<Option<Vec<_>>>() {
            return Ok(all);
        }
        if start.elapsed() > deadline {
            let missing = told.iter().filter(|told| told.is_none()).count();
            return Err(Fault::new(format!(
                "{missing} of {} boards say nothing of it in {deadline:?}",
                told.len()
            )));
        }
        std::thread::sleep(POLL);
    }
}
