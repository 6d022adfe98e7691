//! L1: bytes to valid types and back; no state, no time.

pub mod description;
pub mod frame;
pub mod httpu;
pub mod jsonrpc;
pub mod peer;
pub mod ssdp;
pub mod xml;
