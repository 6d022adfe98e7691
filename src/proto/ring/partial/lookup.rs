//! Iterative lookups: the asker walks, the boards on the way only answer.
//!
//! Best-first over what has been heard: ask the board nearest before the point; when one names
//! successors at or after the point, the first of them that answers must confirm that it is the
//! owner, or name somebody nearer. A board that does not answer is remembered as dead for this
//! lookup alone, so a lookup finds its way while pointers still show boards that failed.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::id::Id;
use crate::base::pointer::{Reply, Request};

/// Questions of one lookup: the whole of a successor list and a table of fingers may be dead
/// several times over before a lookup is given up.
const QUESTIONS_MAX: u32 = 512;

/// What a lookup found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The point asked for.
    pub point: Id,
    /// Its successor.
    pub owner: Id,
    /// The owner's predecessor, as the owner knows it.
    pub predecessor: Option<Id>,
    /// The boards that answered, the asker first, the owner last.
    pub path: Vec<Id>,
}

impl Found {
    /// Boards passed after the asker.
    pub fn hops(&self) -> usize {
        self.path.len() - 1
    }
}

/// What the lookup wants next.
#[derive(Debug)]
pub(super) enum Next {
    Ask(Id, Request),

    Failed,
}

#[derive(Clone, Debug)]
pub(super) struct Lookup {
    point: Id,
    path: Vec<Id>,
    /// Not asked yet, by the distance from it to the point.
    frontier: BTreeMap<Id, Id>,
    seen: BTreeSet<Id>,
    dead: BTreeSet<Id>,
    /// Candidates for owner, the next to be asked last.
    owners: Vec<Id>,
    /// It answered that somebody nearer is the owner: right if that one is dead.
    fallback: Option<Id>,
    asking: Option<(Id, bool)>,
    questions: u32,
}

impl Lookup {
    pub(super) fn new(asker: Id, point: Id, from: impl IntoIterator<Item = Id>) -> Self {
        let mut lookup = Lookup {
            point,
            path: vec![asker],
            frontier: BTreeMap::new(),
            seen: BTreeSet::new(),
            dead: BTreeSet::new(),
            owners: Vec::new(),
            fallback: None,
            asking: None,
            questions: 0,
        };
        from.into_iter().for_each(|id| lookup.learn(id));
        lookup
    }

    fn learn(&mut self, id: Id) {
        if self.seen.insert(id) {
            self.frontier.insert(distance(&id, &self.point), id);
        }
    }

    pub(super) fn next(&mut self) -> Next {
        if self.questions >= QUESTIONS_MAX {
            return Next::Failed;
        }
        self.questions += 1;
        if let Some(owner) = self.owners.pop() {
            self.asking = Some((owner, true));
            return Next::Ask(owner, Request::Confirm(self.point));
        }
        match self.frontier.pop_first() {
            Some((_, id)) => {
                self.asking = Some((id, false));
                Next::Ask(id, Request::Step(self.point))
            }
            None => Next::Failed,
        }
    }

    /// Takes the answer to what [`Lookup::next`] wanted; none: no answer came.
    pub(super) fn handle(&mut self, reply: Option<Reply>) -> Option<Found> {
        let (asked, confirming) = self.asking.take()?;
        match reply {
            Some(Reply::Step { owners, closer }) if !confirming => {
                self.pass(asked);
                closer.into_iter().for_each(|id| self.learn(id));
                let alive = owners.into_iter().filter(|id| !self.dead.contains(id));
                self.owners = alive.collect();
                self.owners.reverse();
                None
            }
            Some(Reply::Mine(predecessor)) if confirming => Some(self.found(asked, predecessor)),
            Some(Reply::Earlier(nearer)) if confirming => {
                if self.dead.contains(&nearer) || !self.is_nearer(&nearer, &asked) {
                    return Some(self.found(asked, None));
                }
                self.fallback = Some(asked);
                self.owners = vec![nearer];
                None
            }
            _ => {
                self.dead.insert(asked);
                let fallback = self.fallback.take().filter(|_| confirming)?;
                Some(self.found(fallback, None))
            }
        }
    }

    fn is_nearer(&self, id: &Id, than: &Id) -> bool {
        distance(&self.point, id) < distance(&self.point, than)
    }

    fn pass(&mut self, id: Id) {
        if self.path.last() != Some(&id) {
            self.path.push(id);
        }
    }

    fn found(&mut self, owner: Id, predecessor: Option<Id>) -> Found {
        self.pass(owner);
        Found {
            point: self.point,
            owner,
            predecessor,
            path: std::mem::take(&mut self.path),
        }
    }
}

/// How far it is clockwise from `a` to `b`.
pub(super) fn distance(a: &Id, b: &Id) -> Id {
    let mut bytes = [0; Id::BYTES];
    let mut borrow = 0;
    for position in (0..Id::BYTES).rev() {
        let left = i16::from(b.as_bytes()[position]);
        let difference = left - i16::from(a.as_bytes()[position]) - borrow;
        borrow = i16::from(difference < 0);
        bytes[position] = difference as u8;
    }
    Id::from_bytes(bytes)
}
