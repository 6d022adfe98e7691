//! L2: the machines. Plain values in, plain values out; no socket, file, clock, thread or random
//! source of their own. The contract is on the architecture page (`src/lib.rs`).

pub mod admission;
pub mod board;
pub mod clock;
pub mod detector;
pub mod fingerprint;
pub mod gena;
pub mod keyring;
pub mod owner;
pub mod placement;
pub mod replication;
pub mod ring;
pub mod roster;
pub mod session;
pub mod ssdp;
