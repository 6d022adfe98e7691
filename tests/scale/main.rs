//! Rings in mode `partial`, many boards in one process: Zave's invariant under churn, and the
//! figures of a ring of 10,000 (release build; 300 with debug
//! assertions, which are slow).
//! The detector is an oracle: a question to a dead board is answered by silence at once.

mod churn;
mod large;
mod survey;
mod world;
