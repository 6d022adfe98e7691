//! A LAN of network namespaces: one with a bridge, one for each host; gone when it is dropped.
//!
//! Needs root and iproute2 and says so loudly without. Nothing leaves by a real interface.

use std::fs::File;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

static LANS: AtomicU32 = AtomicU32::new(0);

/// Hosts `0..hosts` with `eth0` = 192.0.2.(host+1)/24 on one bridge.
pub struct Lan {
    name: String,
    hosts: usize,
}

impl Lan {
    /// Makes the namespaces.
    pub fn new(hosts: usize) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "this test makes network namespaces and needs root: run it as root or in a container \
             with CAP_SYS_ADMIN and CAP_NET_ADMIN"
        );
        let count = LANS.fetch_add(1, Ordering::Relaxed);
        let name = format!("rdt{}-{count}", std::process::id());
        let lan = Lan { name, hosts };
        let bridge = lan.bridge();
        ip(&["netns", "add", &bridge]);
        ip(&["-n", &bridge, "link", "set", "lo", "up"]);
        ip(&[
            "-n",
            &bridge,
            "link",
            "add",
            "br0",
            "type",
            "bridge",
            "mcast_snooping",
            "0",
        ]);
        ip(&["-n", &bridge, "link", "set", "br0", "up"]);
        for host in 0..hosts {
            let name = lan.host(host);
            let port = format!("p{host}");
            ip(&["netns", "add", &name]);
            ip(&["-n", &name, "link", "set", "lo", "up"]);
            let peer = ["peer", "name", "eth0", "netns", &name];
            let link = ["-n", &bridge, "link", "add", &port, "type", "veth"];
            ip(&[&link[..], &peer[..]].concat());
            ip(&["-n", &bridge, "link", "set", &port, "master", "br0", "up"]);
            ip(&["-n", &name, "link", "set", "eth0", "up"]);
            let address = format!("192.0.2.{}/24", host + 1);
            lan.ip(host, &["address", "add", &address, "dev", "eth0"]);
        }
        lan
    }

    /// The namespace of a host.
    pub fn host(&self, host: usize) -> String {
        format!("{}-h{host}", self.name)
    }

    /// The namespace of the bridge.
    pub fn bridge(&self) -> String {
        format!("{}-sw", self.name)
    }

    /// Switches a host's port of the bridge `up` or `down`: its cable.
    pub fn set_port(&self, host: usize, state: &str) {
        let port = format!("p{host}");
        ip(&["-n", &self.bridge(), "link", "set", &port, state]);
    }

    /// Runs `ip` inside a host.
    pub fn ip(&self, host: usize, arguments: &[&str]) {
        let name = self.host(host);
        ip(&[&["-n", &name], arguments].concat());
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        let hosts = (0..self.hosts).map(|host| self.host(host));
        for name in hosts.chain([self.bridge()]) {
            // A namespace that was never made is no loss.
            let _ = Command::new("ip").args(["netns", "del", &name]).output();
        }
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .expect("iproute2 is installed");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments:?}: {error}");
}

/// Runs `work` on a thread of its own inside a namespace.
pub fn enter<T: Send + 'static>(
    namespace: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let path = format!("/run/netns/{namespace}");
    std::thread::spawn(move || {
        let file = File::open(&path).expect("the namespace was made");
        setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter a namespace");
        work()
    })
}

/// A program inside a namespace, not yet started.
pub fn command(namespace: &str, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, program]);
    command
}

/// What a finished program said.
pub fn text(output: &Output) -> String {
    let parts = [&output.stdout, &output.stderr];
    parts.map(|part| String::from_utf8_lossy(part)).concat()
}

/// Waits for a condition; panics with `what` when it does not come true within `patience`.
pub fn until(what: &str, patience: Duration, mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < patience,
            "{what}: not within {patience:?}"
        );
        std::thread::park_timeout(Duration::from_millis(5));
    }
    start.elapsed()
}
