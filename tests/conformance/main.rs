//! Conformance: what the standards and the protocol page say, a test for each rule: against the
//! machines, over real sockets on loopback, and, where a kernel is needed, in network namespaces
//! made for the test. Not a place for product scenarios.

mod access;
mod chord;
mod discovery;
mod fake;
mod http;
mod httpu;
mod jsonrpc;
mod method;
mod namespace;
mod owner;
mod page;
mod ssdp;
mod upnp;
