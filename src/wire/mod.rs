//! L1: bytes to valid types and back; no state, no time.

pub mod description;
pub mod frame;
pub mod gena;
pub mod httpu;
pub mod jsonrpc;
pub mod peer;
pub mod scpd;
pub mod soap;
pub mod ssdp;
pub mod update;
pub mod xml;
