//! Network namespaces: made and removed with `ip`, entered by a thread of their own.
//!
//! Names carry the process id, so that what a killed run left behind can be told from what
//! another run uses. The host's own interfaces are never named.

use std::fs::{self, File};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;

use nix::sched::{CloneFlags, setns};

/// What every namespace of ours begins with; the process id follows.
const PREFIX: &str = "rndl";

/// A name for namespace `name` of the lab number `lab` of this process.
pub fn name(lab: usize, name: &str) -> String {
    format!("{PREFIX}{}-{lab}-{name}", std::process::id())
}

/// Runs `ip -batch`, in a namespace if one is given.
///
/// # Panics
/// When a line fails.
pub fn ip(namespace: Option<&str>, lines: &str) {
    let arguments: &[&str] = match namespace {
        Some(namespace) => &["-n", namespace, "-batch", "-"],
        None => &["-batch", "-"],
    };
    feed("ip", arguments, lines);
}

/// Runs a program with this text as its input.
///
/// # Panics
/// When it fails.
pub fn feed(program: &str, arguments: &[&str], input: &str) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} runs ({error}); ./tests/run installs it"));
    child
        .stdin
        .take()
        .expect("it is piped")
        .write_all(input.as_bytes())
        .expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {errors}{input}"
    );
}

/// Removes namespaces of processes that are no more, and ends what still runs in them.
pub fn sweep() {
    let Ok(entries) = fs::read_dir("/run/netns") else {
        return;
    };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let owner = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next());
        let owner = owner.and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !fs::exists(format!("/proc/{pid}")).unwrap_or(true)) {
            end_all_in(&name);
            let _ = Command::new("ip").args(["netns", "del", &name]).status();
        }
    }
}

/// Kills what runs in a namespace of ours.
pub fn end_all_in(namespace: &str) {
    assert!(namespace.starts_with(PREFIX), "{namespace} is not ours");
    let Ok(output) = Command::new("ip")
        .args(["netns", "pids", namespace])
        .output()
    else {
        return;
    };
    for pid in String::from_utf8_lossy(&output.stdout).split_whitespace() {
        if let Ok(pid) = pid.parse::<i32>()
            && pid != std::process::id() as i32
        {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// A thread that lives in a namespace: sockets it opens and processes it starts belong there.
pub struct Agent {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    /// Enters the namespace.
    ///
    /// # Panics
    /// Without the privilege, or when there is no such namespace.
    pub fn enter(namespace: &str) -> Self {
        let file = File::open(format!("/run/netns/{namespace}")).expect("the namespace exists");
        let (jobs, queue) = mpsc::channel::<Job>();
        let run = move || {
            setns(&file, CloneFlags::CLONE_NEWNET).expect("entering a namespace needs root");
            queue.into_iter().for_each(|job| job());
        };
        Agent {
            jobs: Some(jobs),
            thread: Some(std::thread::spawn(run)),
        }
    }

    /// Has something done in the namespace and waits for it.
    ///
    /// # Panics
    /// When it panics there.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        self.begin(job)
            .recv()
            .expect("the job in the namespace succeeds")
    }

    /// Has something done in the namespace; its result comes over the channel.
    pub fn begin<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> mpsc::Receiver<T> {
        let (done, result) = mpsc::channel();
        let job = Box::new(move || {
            let _ = done.send(job());
        });
        let jobs = self.jobs.as_ref().expect("it is there until it is dropped");
        jobs.send(job).expect("the agent's thread lives");
        result
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
