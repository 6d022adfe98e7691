//! The implementations a configuration may choose from, by name.

use crate::config::valid::Structure as Choice;
use crate::proto::detector::strategy::Strategy;
use crate::proto::detector::swim::Swim;
use crate::proto::ring::structure::{Chord, Mesh, Structure};

/// The routing strategy.
pub fn structure(choice: Choice) -> Box<dyn Structure> {
    match choice {
        Choice::Chord => Box::new(Chord),
        Choice::Mesh => Box::new(Mesh),
    }
}

/// When another board is taken for suspect.
pub fn suspicion() -> Box<dyn Strategy> {
    Box::new(Swim::default())
}
