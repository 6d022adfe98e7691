//! What boards of a ring in mode `partial` ask each other. Each request has one reply; a board
//! that does not answer in time counts as dead for the one who asked, for this one question.

use serde::{Deserialize, Serialize};

use super::id::Id;

/// Names a question until its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AskId(pub u64);

/// A question of one board to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Are you there?
    Ping,
    /// Your pointers, please.
    State,
    /// Where does a lookup of this point go on from you?
    Step(Id),
    /// Are you the successor of this point?
    Confirm(Id),
    /// The asker takes itself for your predecessor.
    Notify,
    /// The asker leaves in an orderly manner; these were its pointers.
    Leaving {
        /// Its predecessor.
        predecessor: Option<Id>,
        /// Its successors, nearest first.
        successors: Vec<Id>,
    },
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Done, or: here.
    Ok,
    /// The asked board belongs to no ring.
    NotMember,
    /// The asked board's pointers.
    State {
        /// Its predecessor, if it knows one.
        predecessor: Option<Id>,
        /// Its successors, nearest first.
        successors: Vec<Id>,
    },
    /// How a lookup goes on.
    Step {
        /// Successors of the asked board at or after the point, nearest first.
        owners: Vec<Id>,
        /// Boards strictly between the asked one and the point, nearest to the point first.
        closer: Vec<Id>,
    },
    /// The asked board is the point's successor; this is its predecessor.
    Mine(Option<Id>),
    /// A board between the point and the asked board: it is nearer.
    Earlier(Id),
}

impl Reply {
    /// The boards it names.
    pub fn boards(&self) -> Box<dyn Iterator<Item = &Id> + '_> {
        match self {
            Reply::Ok | Reply::NotMember => Box::new(std::iter::empty()),
            Reply::State {
                predecessor,
                successors,
            } => Box::new(predecessor.iter().chain(successors)),
            Reply::Step { owners, closer } => Box::new(owners.iter().chain(closer)),
            Reply::Mine(predecessor) => Box::new(predecessor.iter()),
            Reply::Earlier(nearer) => Box::new(std::iter::once(nearer)),
        }
    }
}
