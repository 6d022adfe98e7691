//! Logical clocks: they order by cause what wall clocks cannot.

pub mod hybrid;
pub mod lamport;
pub mod others;
