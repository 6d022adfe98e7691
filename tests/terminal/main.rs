//! `roundel top` and `roundel shell` on a terminal, with real boards.
//!
//! The tests hold the other end of a pseudo-terminal. Each runs in a network namespace of its own
//! with only `lo`, which needs root and says so.

mod board;
#[path = "../daemon/namespace.rs"]
mod namespace;
mod panic;
mod pty;
mod shell;
mod top;
