//! Our nodes, run as users run them.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use nix::unistd::getpid;
use roundel::security::key::ClusterKey;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fault::Fault;
use crate::process::{POLL, Process, START_TIME_MAX};
use crate::row::Context;

/// Whether a ring has a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// As users run them: a key, in a file.
    Keyed,
    /// `open = true`: nothing between boards is proved.
    Open,
}

/// Nodes of one ring, each with data of its own, on `lo`.
pub struct Ring {
    /// The nodes' processes.
    pub processes: Vec<Process>,
    /// Where they answer.
    pub addresses: Vec<SocketAddr>,
    /// The cluster's key, for a client that signs.
    pub key: ClusterKey,
    // After the processes, so that it is removed once they have ended.
    _dir: TempDir,
}

impl Ring {
    /// Starts so many nodes at once and waits for nothing; `ports` are theirs, or any.
    pub fn start(context: &Context, access: Access, ports: &[u16]) -> Result<Self, Fault> {
        let dir = context.fresh("roundel-")?;
        let key = ClusterKey::new(0, random()?);
        let open = match access {
            Access::Keyed => "",
            Access::Open => "open = true\n",
        };
        fs::write(
            dir.path().join("roundel.toml"),
            format!("on_terminate = \"stop\"\n{open}"),
        )?;
        write_private(&dir.path().join("cluster.key"), &key.to_text())?;
        // No ring of an earlier or another run is met.
        let cluster = format!("bench-{}-{:08x}", getpid(), u32::from_be_bytes(random()?));
        let mut processes = Vec::new();
        for (index, port) in ports.iter().enumerate() {
            let name = format!("node-{}", index + 1);
            let mut args: Vec<String> = [
                "run",
                "--interface",
                "lo",
                "--config",
                "roundel.toml",
                "--cluster",
                &cluster,
                "--name",
                &name,
                "--data",
                &name,
                "--port",
                &port.to_string(),
            ]
            .map(str::to_owned)
            .to_vec();
            if access == Access::Keyed {
                args.extend(["--key-file", "cluster.key"].map(str::to_owned));
            }
            processes.push(Process::start(dir.path(), &name, &context.binary, &args)?);
        }
        Ok(Ring {
            processes,
            addresses: ports
                .iter()
                .map(|port| SocketAddr::from(([127, 0, 0, 1], *port)))
                .collect(),
            key,
            _dir: dir,
        })
    }

    /// Starts three nodes and waits until they are one ring that has settled.
    pub fn of_three(context: &Context, access: Access) -> Result<Self, Fault> {
        let ports = crate::process::free_ports::<3>()?;
        let mut ring = Ring::start(context, access, &ports)?;
        ring.settle()?;
        Ok(ring)
    }

    /// Waits until every node sees all of them and nobody is joining.
    pub fn settle(&mut self) -> Result<(), Fault> {
        let count = self.processes.len();
        for (process, address) in self.processes.iter_mut().zip(&self.addresses) {
            process.until("it sees the whole ring, settled", |_| {
                let state = ask(*address, "get_cluster_state", &json!({})).ok()?;
                let nodes = state["cluster"]["nodes"].as_array()?;
                let alive = nodes.iter().filter(|node| node["alive"] == true).count();
                (alive == count && state["cluster"]["settled"] == true).then_some(())
            })?;
        }
        Ok(())
    }
}

pub fn random<const N: usize>() -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// Writes a file that its owner alone may read: a key in another one is refused.
pub fn write_private(path: &Path, text: &str) -> Result<(), Fault> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

/// Calls a method; the result.
///
/// # Errors
/// No connection, no answer within the time of a start, an error of the node.
pub fn ask(address: SocketAddr, method: &str, params: &Value) -> Result<Value, Fault> {
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let answer = crate::plain::post(address, "/rpc", call.to_string().as_bytes())?;
    let mut answer: Value = serde_json::from_slice(&answer)?;
    match answer.get("error") {
        Some(error) => Err(Fault::new(format!("{address} answers {method}: {error}"))),
        None => Ok(answer["result"].take()),
    }
}

/// Tries until a put is on the storage of two nodes.
pub fn until_durable(address: SocketAddr) -> Result<(), Fault> {
    let start = Instant::now();
    loop {
        let params = json!({"key": "bench/first", "value": "durable"});
        let why = match ask(address, "put", &params) {
            Ok(written) if written["acks"].as_u64() >= Some(2) => return Ok(()),
            Ok(written) => Fault::new(written.to_string()),
            Err(fault) => fault,
        };
        if start.elapsed() > START_TIME_MAX {
            return Err(why.of("no durable put since the start"));
        }
        std::thread::sleep(POLL);
    }
}
