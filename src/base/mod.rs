//! L0: plain values that every layer may name.
//!
//! Nothing here owns a socket, a file, a clock or a random source, and nothing here imports
//! another layer.

pub mod access;
pub mod call;
pub mod cell;
pub mod code;
pub mod endpoint;
pub mod hint;
pub mod id;
pub mod item;
pub mod keys;
pub mod limit;
pub mod member;
pub mod owner;
pub mod place;
pub mod pointer;
pub mod problem;
pub mod rng;
pub mod store;
pub mod time;
pub mod tree;
pub mod version;
