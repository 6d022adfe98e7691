//! One write: whom to ask, which hints to leave, and whether it is acknowledged.
//!
//! Start: every live copy is asked; each absent one is replaced by a hint on the next live board
//! that is no copy. Steady state: answers come. Distress: a copy fails or is late, and a hint is
//! asked for in its place (a late answer still counts). A hint *counts* only for a copy that the
//! detector holds to be down: a copy that is merely slow, full or hard to reach still answers
//! readers, who would take it for one of the quorum. End: the verdict is settled once; answers
//! that come after it only complete the picture, so that no copy is left without its hint.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::needed;
use crate::base::call::{Consistency, Coverage};
use crate::base::id::Id;

/// A board to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Whom.
    pub to: Id,
    /// It is no copy: it keeps the item for an absent one.
    pub hint: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Asked,
    Late,
    Stored,
    Failed,
}

/// How a write stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Answers are missing.
    Waiting,
    /// It is acknowledged.
    Done(Coverage),
    /// It cannot be acknowledged any more.
    Failed(Coverage),
}

/// One write under one version.
#[derive(Clone, Debug)]
pub struct Write {
    sets: Vec<Vec<Id>>,
    consistency: Consistency,
    copies: BTreeMap<Id, State>,
    /// Copies that have been down for so long that readers know: hints count in their place.
    absent: BTreeSet<Id>,
    /// Copies that are down, but perhaps not for every reader yet.
    going: BTreeSet<Id>,
    hints: BTreeMap<Id, State>,
    substitutes: VecDeque<Id>,
}

impl Write {
    /// A write to the copies of `sets`. `substitutes` are the live boards that may keep hints, in
    /// order of preference.
    pub fn new(sets: Vec<Vec<Id>>, consistency: Consistency, substitutes: Vec<Id>) -> Self {
        Write {
            sets,
            consistency,
            copies: BTreeMap::new(),
            absent: BTreeSet::new(),
            going: BTreeSet::new(),
            hints: BTreeMap::new(),
            substitutes: substitutes.into(),
        }
    }

    /// With every live copy storing it and every live substitute keeping a hint, would it be
    /// acknowledged? When not, it is to be refused before anything is written.
    pub fn is_possible(&self, is_alive: impl Fn(&Id) -> bool) -> bool {
        self.sets.iter().all(|set| {
            let alive = set.iter().filter(|id| is_alive(id)).count();
            let hinted = self.substitutes.len().min(set.len() - alive);
            self.suffices(set.len(), alive, hinted)
        })
    }

    /// Whom to ask at the start.
    pub fn start(&mut self, is_alive: impl Fn(&Id) -> bool) -> Vec<Ask> {
        let mut asks = Vec::new();
        for id in self.sets.iter().flatten() {
            let alive = is_alive(id);
            if !alive {
                self.going.insert(*id);
            }
            let state = if alive { State::Asked } else { State::Failed };
            if self.copies.insert(*id, state).is_none() && alive {
                asks.push(Ask {
                    to: *id,
                    hint: false,
                });
            }
        }
        asks.extend(self.fill_hints());
        asks
    }

    /// The board has it on stable storage.
    pub fn stored(&mut self, from: &Id) {
        if let Some(state) = self.state(from) {
            *state = State::Stored;
        }
    }

    /// The board did not, or cannot be reached. Returns whom to ask in its place.
    pub fn failed(&mut self, from: &Id) -> Vec<Ask> {
        match self.state(from) {
            Some(state) if *state != State::Stored => *state = State::Failed,
            _ => return Vec::new(),
        }
        self.fill_hints()
    }

    /// The detector declared the board down. Returns whom to ask in its place.
    pub fn gone(&mut self, id: &Id) -> Vec<Ask> {
        if self.copies.contains_key(id) {
            self.going.insert(*id);
        }
        self.failed(id)
    }

    /// Hints count from here on for the copies that are known to be down everywhere.
    pub fn count_hints(&mut self, is_down_for_all: impl Fn(&Id) -> bool) {
        let known = self.going.iter().filter(|id| is_down_for_all(id)).copied();
        self.absent.extend(known);
    }

    /// Some boards are slow: hints are asked for in their place, though they may still answer.
    pub fn hedge(&mut self) -> Vec<Ask> {
        for state in self.copies.values_mut().chain(self.hints.values_mut()) {
            if *state == State::Asked {
                *state = State::Late;
            }
        }
        self.fill_hints()
    }

    /// The board was asked and has not answered.
    pub fn is_outstanding(&self, id: &Id) -> bool {
        let state = self.copies.get(id).or_else(|| self.hints.get(id));
        matches!(state, Some(State::Asked | State::Late))
    }

    /// Everybody asked has answered or failed.
    pub fn is_complete(&self) -> bool {
        let mut states = self.copies.values().chain(self.hints.values());
        states.all(|state| matches!(state, State::Stored | State::Failed))
    }

    /// How it stands.
    pub fn verdict(&self) -> Verdict {
        let hinted = self.hints.values().filter(|s| **s == State::Stored).count();
        let stored = |set: &Vec<Id>| {
            set.iter()
                .filter(|id| self.copies.get(*id) == Some(&State::Stored))
                .count()
        };
        let coverage = Coverage {
            acks: self
                .copies
                .values()
                .filter(|s| **s == State::Stored)
                .count(),
            hinted,
            degraded: self
                .copies
                .values()
                .any(|s| matches!(s, State::Failed | State::Late)),
        };
        let enough = |absent: &BTreeSet<Id>| {
            self.sets.iter().all(|set| {
                let hints = hinted.min(set.iter().filter(|id| absent.contains(id)).count());
                self.suffices(set.len(), stored(set), hints)
            })
        };
        if enough(&self.absent) {
            Verdict::Done(coverage)
        } else if self.is_complete() && !enough(&self.going) {
            Verdict::Failed(coverage)
        } else {
            Verdict::Waiting
        }
    }

    /// Copies that have not stored it for certain and for which no hint is kept either.
    pub fn uncovered(&self) -> Vec<Id> {
        let hinted = self.hints.values().filter(|s| **s == State::Stored).count();
        let missing: Vec<Id> = self
            .copies
            .iter()
            .filter(|(_, s)| **s != State::Stored)
            .map(|(id, _)| *id)
            .collect();
        if missing.len() > hinted {
            missing
        } else {
            Vec::new()
        }
    }

    fn suffices(&self, copies: usize, stored: usize, hinted: usize) -> bool {
        let wanted = needed(copies, self.consistency);
        let hinted = if self.consistency == Consistency::Quorum {
            hinted
        } else {
            0
        };
        stored >= 1 && stored + hinted.min(copies - stored) >= wanted
    }

    fn fill_hints(&mut self) -> Vec<Ask> {
        let live = |state: &&State| matches!(state, State::Asked | State::Stored);
        let missing = self.copies.values().filter(|s| !live(s)).count();
        let mut kept = self.hints.values().filter(live).count();
        let mut asks = Vec::new();
        while kept < missing {
            let Some(to) = self.substitutes.pop_front() else {
                break;
            };
            self.hints.insert(to, State::Asked);
            asks.push(Ask { to, hint: true });
            kept += 1;
        }
        asks
    }

    fn state(&mut self, id: &Id) -> Option<&mut State> {
        match self.copies.get_mut(id) {
            Some(state) => Some(state),
            None => self.hints.get_mut(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(value: u8) -> Id {
        Id::of(&[value])
    }

    fn ids(values: &[u8]) -> Vec<Id> {
        values.iter().map(|v| id(*v)).collect()
    }

    fn write(sets: &[&[u8]], consistency: Consistency, substitutes: &[u8]) -> Write {
        Write::new(
            sets.iter().map(|s| ids(s)).collect(),
            consistency,
            ids(substitutes),
        )
    }

    #[test]
    fn two_of_three_copies_acknowledge() {
        let mut it = write(&[&[1, 2, 3]], Consistency::Quorum, &[4]);
        assert_eq!(it.start(|_| true).len(), 3);
        it.stored(&id(1));
        assert_eq!(it.verdict(), Verdict::Waiting);
        it.stored(&id(3));
        assert_eq!(
            it.verdict(),
            Verdict::Done(Coverage {
                acks: 2,
                hinted: 0,
                degraded: false
            })
        );
        assert!(!it.is_complete());
    }

    #[test]
    fn absent_copy_is_replaced_by_a_hint() {
        let mut it = write(&[&[1, 2, 3]], Consistency::Quorum, &[4, 5]);
        let asks = it.start(|i| *i == id(1));
        assert_eq!(asks.iter().filter(|a| a.hint).count(), 2);
        it.stored(&id(1));
        it.stored(&id(4));
        it.stored(&id(5));
        assert_eq!(it.verdict(), Verdict::Waiting);
        it.count_hints(|_| true);
        assert_eq!(
            it.verdict(),
            Verdict::Done(Coverage {
                acks: 1,
                hinted: 2,
                degraded: true
            })
        );
    }

    #[test]
    fn hints_alone_do_not_acknowledge() {
        let mut it = write(&[&[1, 2, 3]], Consistency::Quorum, &[4, 5, 6]);
        assert!(!it.is_possible(|i| ids(&[4, 5, 6]).contains(i)));
        it.start(|_| false);
        for holder in [4, 5, 6] {
            it.stored(&id(holder));
        }
        assert!(matches!(it.verdict(), Verdict::Failed(_)));
    }

    #[test]
    fn all_wants_every_copy_and_no_hint() {
        let mut it = write(&[&[1, 2, 3]], Consistency::All, &[4]);
        assert!(!it.is_possible(|i| *i != id(2)));
        it.start(|_| true);
        it.stored(&id(1));
        it.stored(&id(2));
        assert_eq!(
            it.failed(&id(3)),
            vec![Ask {
                to: id(4),
                hint: true
            }]
        );
        it.stored(&id(4));
        assert!(matches!(it.verdict(), Verdict::Failed(_)));
    }

    #[test]
    fn lone_board_of_two_refuses_before_it_writes() {
        let it = write(&[&[1, 2]], Consistency::Quorum, &[]);
        assert!(!it.is_possible(|i| *i == id(1)));
        let it = write(&[&[1, 2]], Consistency::One, &[]);
        assert!(it.is_possible(|i| *i == id(1)));
    }

    #[test]
    fn change_of_roster_needs_both_sets() {
        let mut it = write(&[&[1, 2, 3], &[4, 1, 2]], Consistency::Quorum, &[]);
        it.start(|_| true);
        it.stored(&id(1));
        it.stored(&id(3));
        assert_eq!(it.verdict(), Verdict::Waiting);
        it.stored(&id(4));
        assert!(matches!(it.verdict(), Verdict::Done(_)));
    }

    #[test]
    fn hint_counts_for_a_copy_that_is_down_and_for_none_that_is_slow() {
        let mut it = write(&[&[1, 2, 3]], Consistency::Quorum, &[4, 5]);
        it.start(|_| true);
        it.stored(&id(1));
        it.hedge();
        it.stored(&id(4));
        it.stored(&id(5));
        assert_eq!(it.verdict(), Verdict::Waiting);
        it.gone(&id(2));
        assert_eq!(it.verdict(), Verdict::Waiting);
        it.count_hints(|_| true);
        assert!(matches!(it.verdict(), Verdict::Done(_)));
    }

    #[test]
    fn late_copy_still_counts() {
        let mut it = write(&[&[1, 2, 3]], Consistency::Quorum, &[4]);
        it.start(|_| true);
        it.stored(&id(1));
        assert_eq!(
            it.hedge(),
            vec![Ask {
                to: id(4),
                hint: true
            }]
        );
        it.stored(&id(2));
        assert!(matches!(
            it.verdict(),
            Verdict::Done(Coverage { acks: 2, .. })
        ));
        assert_eq!(it.uncovered(), vec![id(3)]);
        it.stored(&id(4));
        assert!(it.uncovered().is_empty());
    }

    proptest! {
        /// Whatever order answers come in, an acknowledged write lies on W distinct boards, one
        /// copy of each set among them.
        #[test]
        fn acknowledged_write_is_on_enough_boards(
            alive in proptest::collection::vec(any::<bool>(), 7),
            answers in proptest::collection::vec((0u8..7, any::<bool>()), 0..14),
        ) {
            let mut it = write(&[&[0, 1, 2], &[1, 2, 3]], Consistency::Quorum, &[4, 5, 6]);
            let is_alive = |i: &Id| (0..7).any(|v| id(v) == *i && alive[v as usize]);
            let mut asked: Vec<Id> = it.start(is_alive).iter().map(|a| a.to).collect();
            let mut stored: Vec<Id> = Vec::new();
            for (board, ok) in answers {
                let board = id(board);
                if !asked.contains(&board) {
                    continue;
                }
                if ok {
                    it.stored(&board);
                    stored.push(board);
                } else {
                    asked.extend(it.failed(&board).iter().map(|a| a.to));
                }
                if let Verdict::Done(_) = it.verdict() {
                    stored.sort();
                    stored.dedup();
                    prop_assert!(stored.len() >= 2);
                    for set in [[0u8, 1, 2], [1, 2, 3]] {
                        prop_assert!(set.iter().any(|v| stored.contains(&id(*v))));
                    }
                }
            }
        }
    }
}
