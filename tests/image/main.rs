//! The image, booted: QEMU's machines on the bridge of the LAN lab, beside boards of this machine.
//! Needs root. `./tests/run` installs QEMU and what builds the image; the first test that boots one
//! builds it (`image/build.sh`). One machine boots in the usual run, all of them with ROUNDEL_LONG.

mod alone;
mod boot;
mod cut;
mod damage;
mod guest;
#[path = "../lan/http.rs"]
#[allow(dead_code)]
mod http;
#[path = "../lan/lab.rs"]
#[allow(dead_code)]
mod lab;
mod machines;
mod medium;
#[path = "../lan/netns.rs"]
#[allow(dead_code)]
mod netns;
#[path = "../lan/node.rs"]
#[allow(dead_code)]
mod node;
mod package;
mod problem;
mod rolling;
mod script;
#[path = "../lan/switch.rs"]
#[allow(dead_code)]
mod switch;
mod udev;
mod unit;
mod update;
#[path = "../lan/wait.rs"]
#[allow(dead_code)]
mod wait;
