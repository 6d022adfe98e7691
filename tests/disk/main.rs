//! Real boards on media that fail: killed at each write, also while they mend a damaged log or
//! keep a key, power cut under load, syncs that answer EIO, a file system that turns read-only.
//! Whatever was acknowledged is there afterwards.
//!
//! Each test runs in a network and a mount namespace of its own, which needs root; strace and
//! e2fsprogs are installed by `./tests/run`, which also runs these against the release binary, one
//! at a time. A card that fills up is in `tests/daemon`. `log_writes` also needs user-mode-linux;
//! `log_writes.sh` starts it.

mod board;
mod card;
mod crash;
mod distress;
mod key_file;
mod log_writes;
mod mending;
mod point;
mod power;
mod recording;
mod write_log;
// Shared with the tests of one board; these need less of it.
#[allow(dead_code)]
#[path = "../daemon/client.rs"]
mod client;
#[path = "../daemon/namespace.rs"]
mod namespace;
mod process {
    //! How long the shared client waits.
    pub const DEADLINE: std::time::Duration = std::time::Duration::from_secs(10);
}
