//! What the node makes of the board's events: log lines, and the addresses of members.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use crate::base::call::{Call, Event, Reply};
use crate::runtime::driver::Handle;
use crate::runtime::http::Gate;

/// Changes within this time are looked up once.
const REFRESH_DELAY: Duration = Duration::from_millis(300);

/// The addresses of members, which the limits on connections exempt.
#[derive(Clone, Default)]
pub struct Members {
    addresses: Arc<RwLock<BTreeSet<IpAddr>>>,
    refreshing: Arc<AtomicBool>,
}

impl Members {
    /// The address is a member's.
    pub fn has(&self, address: &IpAddr) -> bool {
        self.addresses
            .read()
            .expect("nobody panics with it")
            .contains(address)
    }

    /// A gate for datagrams that these members pass.
    pub fn gate(&self) -> Arc<Mutex<Gate>> {
        let members = self.clone();
        let gate = Gate::new(Arc::new(move |address| members.has(&address)));
        Arc::new(Mutex::new(gate))
    }

    /// Looks the members up anew, soon.
    pub fn refresh(&self, handle: Handle) {
        if self.refreshing.swap(true, Ordering::Relaxed) {
            return;
        }
        let members = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(REFRESH_DELAY).await;
            members.refreshing.store(false, Ordering::Relaxed);
            if let Ok(Reply::Overview(overview)) = handle.call(Call::Overview).await {
                let addresses = overview.members.iter().filter_map(|m| m.endpoint);
                *members.addresses.write().expect("nobody panics with it") =
                    addresses.map(|endpoint| endpoint.ip()).collect();
            }
        });
    }
}

/// Writes an event to the log.
pub fn log(event: &Event) {
    match event {
        Event::Founded(cluster) => tracing::info!(%cluster, "founded a ring"),
        Event::Joined(cluster) => tracing::info!(%cluster, "joined a ring"),
        Event::ModeAdopted(mode) => {
            let mode = mode.as_str();
            tracing::info!(mode, "the ring's mode holds, not this board's ring_mode");
        }
        Event::Merged { survivor, ended } => {
            tracing::info!(%survivor, %ended, "two rings became one");
        }
        Event::NodeAdded(id) => tracing::info!(node = %id.short(), "board added"),
        Event::NodeRemoved(id) => tracing::info!(node = %id.short(), "board removed"),
        Event::NodeSuspected(id) => tracing::info!(node = %id.short(), "board suspected"),
        Event::NodeDown(id) => tracing::warn!(node = %id.short(), "board absent"),
        Event::NodeUp(id) => tracing::info!(node = %id.short(), "board present"),
        Event::ClonedCard { endpoint, yields } => {
            tracing::warn!(%endpoint, yields, "another board runs with this board's card");
        }
        Event::Conflict { key, kept, lost } => {
            tracing::warn!(%key, %kept, %lost, "written on both sides; the later write stands");
        }
        Event::OwnerChanged(_) => tracing::info!("the owner's password is that of the ring"),
        Event::Fingerprint { digits, members } => tracing::info!(
            "fingerprint {digits} over {members} boards: compare it on each of them, then: roundel \
             key confirm"
        ),
        Event::Departed => tracing::info!("left the ring"),
    }
}

/// Resident bytes of this process.
pub fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4_096)
}

/// Bytes this process has had written to storage since its start; none where the kernel does not
/// count them (CONFIG_TASK_IO_ACCOUNTING).
pub fn written_bytes() -> Option<u64> {
    let io = std::fs::read_to_string("/proc/self/io").ok()?;
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes:"));
    line?.trim().parse().ok()
}
