//! The real program on its own, against everything that is not meant for it: damaged datagrams
//! and streams, strangers with a key, bad requests, unusable data directories, a full card.
//!
//! Each test runs in a network and a mount namespace of its own with only `lo`, which needs root
//! and says so. Rings of several boards are the lab's (`tests/lan`).

mod access;
mod client;
mod datagram;
mod disk;
mod hello;
mod link;
mod namespace;
mod owner;
mod peer;
mod privilege;
mod process;
mod request;
mod start;
mod stop;
mod tls;
mod tolerant;
