//! The LAN lab: real nodes in network namespaces on one bridge. Needs root; nothing leaves by the
//! host's own interfaces. `./tests/run` runs it against the release binary, one test at a time:
//! figures are of an otherwise idle machine, asserted at five times the goal, and printed.

mod absence;
mod campaign;
mod damage;
mod diskless;
mod failing;
mod flood;
mod forming;
mod harness;
mod http;
mod keys;
mod lab;
mod load;
mod netns;
mod network;
mod node;
mod outsider;
mod partial;
mod ring;
mod switch;
mod wait;
mod writer;
