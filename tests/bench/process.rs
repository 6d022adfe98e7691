//! Server processes: started, watched, measured from /proc, ended.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::fault::Fault;

/// Every server here answers within this of its start.
pub const START_TIME_MAX: Duration = Duration::from_secs(30);
/// How long a server is left alone between two looks whether it answers.
pub const POLL: Duration = Duration::from_millis(1);
/// Processor time in /proc is counted in these.
const TICKS_A_SECOND: f64 = 100.0;

/// A running server; it ends with the value, or with this process.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
    output: PathBuf,
    /// When it was executed.
    pub started: Instant,
}

/// What processes have used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time, seconds.
    pub cpu_s: f64,
    /// Resident memory, bytes.
    pub rss_bytes: f64,
    /// Given to storage, bytes.
    pub written_bytes: f64,
}

impl Process {
    /// Starts a program; its output and its log go to files below `dir`.
    pub fn start(
        dir: &Path,
        name: &str,
        program: &Path,
        args: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>,
    ) -> Result<Self, Fault> {
        let (log, output) = (
            dir.join(format!("{name}.log")),
            dir.join(format!("{name}.out")),
        );
        let (log_file, output_file) = (File::create(&log)?, File::create(&output)?);
        let started = Instant::now();
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(args)
            .env_remove("RUST_LOG")
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(output_file)
            .stderr(log_file)
            .spawn()
            .map_err(|error| Fault::from(error).of("setpriv (util-linux) cannot be run"))?;
        Ok(Process {
            child,
            name: name.to_owned(),
            log,
            output,
            started,
        })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed.
    pub fn printed(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Looks until there is something, or the process has ended, or time is up.
    pub fn until<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&Self) -> Option<T>,
    ) -> Result<T, Fault> {
        let start = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return Ok(found);
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(self.fault(&format!("it ended with {status}")));
            }
            if start.elapsed() > START_TIME_MAX {
                let seconds = START_TIME_MAX.as_secs();
                return Err(self.fault(&format!("{what}: not within {seconds} s")));
            }
            thread::sleep(POLL);
        }
    }

    /// Waits until it takes TCP connections.
    pub fn until_open(&mut self, address: SocketAddr) -> Result<(), Fault> {
        self.until("it takes connections", |_| {
            TcpStream::connect(address).ok().map(drop)
        })
    }

    /// A fault of this process, with the end of its log.
    pub fn fault(&self, what: &str) -> Fault {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(4)..].join("\n    ");
        Fault::new(format!("{}: {what}\n    {end}", self.name))
    }

    /// What it has used so far.
    pub fn usage(&self) -> Result<Usage, Fault> {
        usage(self.pid()).map_err(|fault| fault.of(&self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process has used so far, by /proc.
pub fn usage(pid: u32) -> Result<Usage, Fault> {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}"));
    let odd = |name: &str| Fault::new(format!("/proc/{pid}/{name} has another form"));
    let stat = read("stat")?;
    let (_, after) = stat.rsplit_once(") ").ok_or_else(|| odd("stat"))?;
    // proc_pid_stat(5): utime and stime are fields 14 and 15, and the state is field 3.
    let ticks: Vec<f64> = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse().ok())
        .collect();
    let value = |text: &str, name: &str| -> Option<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let kib = value(&read("status")?, "VmRSS:").ok_or_else(|| odd("status"))?;
    let written = value(&read("io")?, "write_bytes:").ok_or_else(|| odd("io"))?;
    if ticks.len() != 2 {
        return Err(odd("stat"));
    }
    Ok(Usage {
        cpu_s: (ticks[0] + ticks[1]) / TICKS_A_SECOND,
        rss_bytes: kib * 1_024.0,
        written_bytes: written,
    })
}

/// What several have used together.
pub fn usage_of_all<'a>(processes: impl IntoIterator<Item = &'a Process>) -> Result<Usage, Fault> {
    let mut sum = Usage::default();
    for process in processes {
        let one = process.usage()?;
        sum.cpu_s += one.cpu_s;
        sum.rss_bytes += one.rss_bytes;
        sum.written_bytes += one.written_bytes;
    }
    Ok(sum)
}

/// Ports of loopback that nobody has at this moment, all different.
pub fn free_ports<const N: usize>() -> Result<[u16; N], Fault> {
    let mut kept = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        *port = listener.local_addr()?.port();
        kept.push(listener);
    }
    Ok(ports)
}

/// Where an installed program is.
///
/// # Errors
/// It is not installed.
pub fn installed(program: &str, package: &str) -> Result<PathBuf, Fault> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/bin"].map(PathBuf::from);
    let mut places = std::env::split_paths(&path)
        .chain(system)
        .map(|dir| dir.join(program));
    places.find(|place| place.is_file()).ok_or_else(|| {
        Fault::new(format!(
            "{program} is not installed; tests/bench/run installs it (Debian's {package})"
        ))
    })
}
