//! The machine: what it is, whether it is quiet, how fast its storage syncs.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};

use crate::fault::Fault;

/// Appends of the probe.
const PROBE_WRITES: usize = 300;
/// Bytes of each.
const PROBE_BYTES: usize = 4_096;
/// A probe below this is that of a quiet disk.
pub const PROBE_QUIET_MS: f64 = 0.5;
/// Runnable processes a core before the start, at most, on a quiet machine.
pub const LOAD_QUIET: f64 = 0.3;
/// Of all cores, used by others while a row ran, at most, on a quiet machine. The kernel's own work
/// for our sockets and files is among it.
pub const FOREIGN_QUIET: f64 = 0.15;
/// /proc/stat counts in these.
const TICKS_A_SECOND: f64 = 100.0;

/// What the machine is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Its cores.
    pub cores: usize,
    /// Memory, MB.
    pub memory_mb: u64,
    /// The kernel's release.
    pub kernel: String,
}

impl Machine {
    /// This machine.
    pub fn this() -> Result<Self, Fault> {
        let cpus = fs::read_to_string("/proc/cpuinfo")?;
        // ARM kernels name no model there.
        let model = cpus
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map(|line| line.trim_start_matches([' ', '\t', ':']).to_owned());
        let memory = fs::read_to_string("/proc/meminfo")?;
        let kib: u64 = memory
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))
            .and_then(|line| line.split_whitespace().next()?.parse().ok())
            .ok_or_else(|| Fault::new("/proc/meminfo has no MemTotal"))?;
        Ok(Machine {
            cpu: model.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism()?.get(),
            memory_mb: kib * 1_024 / 1_000_000,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
        })
    }
}

/// How long an append with fdatasync takes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Probe {
    /// The median, ms.
    pub median_ms: f64,
    /// Of a hundred, 99 are faster, ms.
    pub p99_ms: f64,
}

/// Appends 4 KiB and syncs, 300 times, in that directory.
pub fn probe(dir: &Path) -> Result<Probe, Fault> {
    let path = dir.join("probe");
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    let block = [0x5a; PROBE_BYTES];
    let mut times = Vec::with_capacity(PROBE_WRITES);
    for _ in 0..PROBE_WRITES {
        let start = Instant::now();
        file.write_all(&block)?;
        File::sync_data(&file)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    fs::remove_file(&path)?;
    times.sort_by(f64::total_cmp);
    Ok(Probe {
        median_ms: times[PROBE_WRITES / 2],
        p99_ms: times[PROBE_WRITES * 99 / 100],
    })
}

/// Processes that ran or waited to, in the mean of the last minute.
pub fn load_average() -> Result<f64, Fault> {
    let text = fs::read_to_string("/proc/loadavg")?;
    let first = text
        .split_whitespace()
        .next()
        .and_then(|it| it.parse().ok());
    first.ok_or_else(|| Fault::new("/proc/loadavg has another form"))
}

/// The processors' time from a moment on.
pub struct Conditions {
    busy_s: f64,
    own_s: f64,
    start: Instant,
}

impl Conditions {
    /// From this moment on.
    pub fn begin() -> Result<Self, Fault> {
        Ok(Conditions {
            busy_s: busy_s()?,
            own_s: own_s()?,
            start: Instant::now(),
        })
    }

    /// Which share of all cores was used by what is not ours; servers that still run count as
    /// others.
    pub fn foreign_share(&self) -> Result<f64, Fault> {
        let cores = std::thread::available_parallelism()?.get() as f64;
        let foreign = (busy_s()? - self.busy_s) - (own_s()? - self.own_s);
        Ok((foreign / self.start.elapsed().as_secs_f64() / cores).max(0.0))
    }
}

/// Seconds all cores were not idle since the boot (proc_stat(5)).
fn busy_s() -> Result<f64, Fault> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().unwrap_or("");
    let ticks: Vec<f64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|it| it.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal; guests are within user and nice.
    match ticks.get(..8) {
        Some(all) => Ok((all.iter().sum::<f64>() - all[3] - all[4]) / TICKS_A_SECOND),
        None => Err(Fault::new("/proc/stat has another form")),
    }
}

/// Seconds this process and those it has started and seen end have used.
fn own_s() -> Result<f64, Fault> {
    let mut seconds = 0.0;
    for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
        let usage = getrusage(who)?;
        let us = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        seconds += us as f64 / 1e6;
    }
    Ok(seconds)
}
