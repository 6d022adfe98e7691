//! Real UPnP control points against real boards, over a bridge and on `lo`: what they find, call
//! and hear. Needs root; the lab is that of `tests/lan`, and nothing leaves by the host's own
//! interfaces. `./tests/run` installs the control points and runs these against the release
//! binary, one at a time: figures are asserted at five times the goal, and printed.

mod action;
mod client;
mod device;
mod event;
mod finding;
#[path = "../lan/http.rs"]
#[allow(dead_code)]
mod http;
#[path = "../lan/lab.rs"]
#[allow(dead_code)]
mod lab;
#[path = "../lan/netns.rs"]
#[allow(dead_code)]
mod netns;
#[path = "../lan/node.rs"]
#[allow(dead_code)]
mod node;
mod search;
#[path = "../lan/switch.rs"]
#[allow(dead_code)]
mod switch;
mod timing;
#[path = "../lan/wait.rs"]
#[allow(dead_code)]
mod wait;
