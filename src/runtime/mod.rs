//! L4: the only owner of sockets, files, clocks, threads and processes.

pub mod allocator;
pub mod certificate;
pub mod client;
pub mod counters;
pub mod datadir;
pub mod discovery;
pub mod driver;
pub mod gena;
pub mod http;
pub mod identity;
pub mod keyring;
pub mod link;
pub mod memorydir;
pub mod opening;
pub mod owner;
pub mod privilege;
pub mod probe;
pub mod program;
pub mod store;
pub mod stream;
pub mod tls;
pub mod udp;
pub mod update;
