//! The implementations a configuration may choose from, by name.

use crate::config::valid::{Structure as Choice, Suspicion};
use crate::proto::detector::phi::Phi;
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
pub fn suspicion(choice: Suspicion) -> Box<dyn Strategy> {
    match choice {
        Suspicion::Swim => Box::new(Swim::default()),
        Suspicion::Phi => Box::new(Phi::default()),
    }
}
