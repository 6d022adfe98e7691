//! One read: whom to ask, and what the answers prove.
//!
//! Start: a read quorum of live copies is asked, this board first. Distress: a copy is absent,
//! fails or is late, and every other live copy is asked, and the boards that would keep hints. A
//! copy whose record is corrupt proves nothing and counts as stale: what the others hold is
//! written back to it.
//! End: R copies of each set have answered, or nobody is left to answer.
//!
//! A value that was found is returned, degraded if need be. *Not found* is said only when R copies
//! of each set say so **and** nobody else could have acknowledged a write meanwhile: an absent
//! copy together with enough other absent boards to take hints may be the other side of a
//! partition, so then the answer is *unavailable*.

use std::collections::{BTreeMap, BTreeSet};

use super::needed;
use crate::base::call::{Consistency, Coverage};
use crate::base::id::Id;
use crate::base::item::Record;

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Asked,
    Answered(Option<Record>),
    /// A copy that has not caught up since it was away.
    Behind(Option<Record>),
    Failed,
    /// A copy holds something, which failed its check.
    Corrupt,
}

impl State {
    /// The board was asked and has nothing to say.
    fn is_failure(&self) -> bool {
        matches!(self, State::Failed | State::Corrupt)
    }
}

/// How a read stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Answers are missing.
    Waiting,
    /// This is the newest version.
    Found {
        /// A value, never a tombstone.
        record: Record,
        /// How well it is covered.
        coverage: Coverage,
    },
    /// There is no value, for certain.
    NotFound,
    /// There may or may not be a value.
    Unavailable {
        /// Copies that answered.
        acks: usize,
        /// Answers that were needed.
        needed: usize,
    },
}

/// One read.
#[derive(Clone, Debug)]
pub struct Read {
    sets: Vec<Vec<Id>>,
    consistency: Consistency,
    substitutes: Vec<Id>,
    boards: BTreeMap<Id, State>,
    absent: BTreeSet<Id>,
    widened: bool,
}

impl Read {
    /// A read of the copies of `sets`. `substitutes` are live boards that may keep hints;
    /// `absent` are all boards of the roster that are not alive.
    pub fn new(
        sets: Vec<Vec<Id>>,
        consistency: Consistency,
        substitutes: Vec<Id>,
        absent: BTreeSet<Id>,
    ) -> Self {
        Read {
            sets,
            consistency,
            substitutes,
            boards: BTreeMap::new(),
            absent,
            widened: false,
        }
    }

    /// Whom to ask at the start; boards that were slow of late come last.
    pub fn start(&mut self, me: &Id, is_slow: impl Fn(&Id) -> bool) -> Vec<Id> {
        if self
            .sets
            .iter()
            .flatten()
            .any(|id| self.absent.contains(id))
        {
            return self.widen();
        }
        let mut asks = Vec::new();
        for set in &self.sets {
            let wanted = needed(set.len(), self.consistency);
            let mut order: Vec<&Id> = set.iter().collect();
            order.sort_by_key(|id| (is_slow(id), *id != me, !asks.contains(*id)));
            for id in order.into_iter().take(wanted) {
                if !asks.contains(id) {
                    asks.push(*id);
                }
            }
        }
        self.boards
            .extend(asks.iter().map(|id| (*id, State::Asked)));
        asks
    }

    /// Asks everybody who may know. Does so once; later calls return nobody.
    pub fn widen(&mut self) -> Vec<Id> {
        if std::mem::replace(&mut self.widened, true) {
            return Vec::new();
        }
        let everybody = self.sets.iter().flatten().chain(&self.substitutes);
        let mut asks: Vec<Id> = Vec::new();
        for id in everybody {
            if !self.absent.contains(id) && !self.boards.contains_key(id) {
                self.boards.insert(*id, State::Asked);
                asks.push(*id);
            }
        }
        asks
    }

    /// A board answered.
    pub fn answered(&mut self, from: &Id, record: Option<Record>) {
        if let Some(state) = self.boards.get_mut(from) {
            *state = State::Answered(record);
        }
    }

    /// A copy answered that was away and may have missed writes: what it holds counts, what it
    /// lacks does not. Returns whom to ask as well.
    pub fn answered_behind(&mut self, from: &Id, record: Option<Record>) -> Vec<Id> {
        if self.consistency == Consistency::One {
            self.answered(from, record);
            return Vec::new();
        }
        if let Some(state) = self.boards.get_mut(from) {
            *state = State::Behind(record);
        }
        self.widen()
    }

    /// A board cannot answer. Returns whom to ask as well.
    pub fn failed(&mut self, from: &Id) -> Vec<Id> {
        match self.boards.get_mut(from) {
            Some(state @ State::Asked) => *state = State::Failed,
            _ => return Vec::new(),
        }
        self.widen()
    }

    /// A copy's record is corrupt. Returns whom to ask as well.
    pub fn corrupt(&mut self, from: &Id) -> Vec<Id> {
        match self.boards.get_mut(from) {
            Some(state @ State::Asked) => *state = State::Corrupt,
            _ => return Vec::new(),
        }
        self.widen()
    }

    /// No more answers are awaited.
    pub fn give_up_waiting(&mut self) {
        for state in self
            .boards
            .values_mut()
            .filter(|state| **state == State::Asked)
        {
            *state = State::Failed;
        }
    }

    /// The board was asked and has not answered.
    pub fn is_outstanding(&self, id: &Id) -> bool {
        self.boards.get(id) == Some(&State::Asked)
    }

    /// How it stands.
    pub fn verdict(&self) -> Verdict {
        let quorum = self.sets.iter().all(|set| {
            let answers = set.iter().filter(|id| self.has_answered(id)).count();
            // Every acknowledged write is on one copy at least: with all of them heard, copies
            // that were away count as well.
            let all = set
                .iter()
                .all(|id| self.has_answered(id) || self.is_behind(id));
            all || answers >= needed(set.len(), self.consistency)
        });
        let outstanding = self.boards.values().any(|state| *state == State::Asked);
        // Once the read was widened some copy is absent, and a hint may be newer than the quorum.
        if outstanding && (!quorum || self.widened) {
            return Verdict::Waiting;
        }
        if !quorum && !self.widened {
            return Verdict::Waiting;
        }
        let newest = self.newest();
        let coverage = self.coverage();
        match newest {
            Some(record) if record.value.is_some() && (quorum || self.has_vote()) => {
                Verdict::Found {
                    record: record.clone(),
                    coverage,
                }
            }
            _ if quorum && !self.others_could_write() => Verdict::NotFound,
            _ => Verdict::Unavailable {
                acks: coverage.acks,
                needed: self
                    .sets
                    .iter()
                    .map(|s| needed(s.len(), self.consistency))
                    .max()
                    .unwrap_or(1),
            },
        }
    }

    /// Copies that answered with less than the newest version, or with a corrupt record.
    pub fn stale(&self) -> Vec<Id> {
        let newest = self.newest().map(|record| record.version);
        self.sets
            .iter()
            .flatten()
            .filter(|id| match self.boards.get(*id) {
                Some(State::Answered(record) | State::Behind(record)) => {
                    record.as_ref().map(|r| r.version) != newest
                }
                Some(State::Corrupt) => true,
                _ => false,
            })
            .copied()
            .collect::<BTreeSet<Id>>()
            .into_iter()
            .collect()
    }

    /// Somebody answered who has missed nothing.
    fn has_vote(&self) -> bool {
        let mut states = self.boards.values();
        states.any(|state| matches!(state, State::Answered(_)))
    }

    /// The newest version any board answered with, a tombstone perhaps.
    pub fn newest(&self) -> Option<&Record> {
        let records = self.boards.values().filter_map(|state| match state {
            State::Answered(record) | State::Behind(record) => record.as_ref(),
            _ => None,
        });
        records.max_by_key(|record| record.version)
    }

    fn coverage(&self) -> Coverage {
        let copies: BTreeSet<&Id> = self.sets.iter().flatten().collect();
        let failed = |id: &&Id| self.absent.contains(*id) || self.has_failed(id);
        Coverage {
            acks: copies.iter().filter(|id| self.has_answered(id)).count(),
            hinted: self
                .boards
                .iter()
                .filter(|(id, s)| matches!(s, State::Answered(Some(_))) && !copies.contains(id))
                .count(),
            degraded: copies.iter().any(failed),
        }
    }

    /// The absent boards are enough to have acknowledged a write without any board asked here.
    fn others_could_write(&self) -> bool {
        self.sets.iter().any(|set| {
            let silent = |id: &&Id| !self.has_answered(id);
            let absent_copy = set
                .iter()
                .filter(silent)
                .any(|id| self.absent.contains(id) || self.has_failed(id));
            let failed = self
                .boards
                .iter()
                .filter(|(id, s)| s.is_failure() && !self.absent.contains(*id))
                .count();
            absent_copy && self.absent.len() + failed >= needed(set.len(), Consistency::Quorum)
        })
    }

    fn has_failed(&self, id: &Id) -> bool {
        self.boards.get(id).is_some_and(State::is_failure)
    }

    fn is_behind(&self, id: &Id) -> bool {
        matches!(self.boards.get(id), Some(State::Behind(_)))
    }

    fn has_answered(&self, id: &Id) -> bool {
        matches!(self.boards.get(id), Some(State::Answered(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::item::Value;
    use crate::base::version::{Stamp, Version};

    fn id(value: u8) -> Id {
        Id::of(&[value])
    }

    fn ids(values: &[u8]) -> Vec<Id> {
        values.iter().map(|v| id(*v)).collect()
    }

    fn record(stamp: u64, value: Option<&'static str>) -> Option<Record> {
        Some(Record {
            version: Version {
                stamp: Stamp(stamp),
                node: id(0),
            },
            value: value.map(|text| Value::Json(text.into())),
        })
    }

    fn read(substitutes: &[u8], absent: &[u8]) -> Read {
        Read::new(
            vec![ids(&[1, 2, 3])],
            Consistency::Quorum,
            ids(substitutes),
            ids(absent).into_iter().collect(),
        )
    }

    #[test]
    fn corrupt_copy_is_no_answer_and_is_to_be_written_anew() {
        let mut it = read(&[4], &[]);
        assert_eq!(it.start(&id(3), |_| false)[0], id(3));
        assert_eq!(it.corrupt(&id(3)).len(), 2);
        it.answered(&id(1), record(2, Some("2")));
        it.answered(&id(4), None);
        assert_eq!(it.verdict(), Verdict::Waiting);
        it.answered(&id(2), record(2, Some("2")));
        let Verdict::Found { coverage, .. } = it.verdict() else {
            panic!("two whole copies are a quorum: {:?}", it.verdict())
        };
        assert_eq!((coverage.acks, coverage.degraded), (2, true));
        assert_eq!(it.stale(), [id(3)]);
    }

    #[test]
    fn corrupt_copy_alone_with_silent_ones_is_not_a_denial() {
        let mut it = read(&[4], &[2]);
        it.start(&id(3), |_| false);
        it.corrupt(&id(3));
        it.answered(&id(1), None);
        it.answered(&id(4), None);
        assert!(
            matches!(it.verdict(), Verdict::Unavailable { .. }),
            "{:?}",
            it.verdict()
        );
    }

    #[test]
    fn quorum_asks_two_and_returns_the_newest() {
        let mut it = read(&[4], &[]);
        let asked = it.start(&id(3), |_| false);
        assert_eq!(asked.len(), 2);
        assert!(asked.contains(&id(3)));
        it.answered(&asked[0], record(1, Some("1")));
        assert_eq!(it.verdict(), Verdict::Waiting);
        it.answered(&asked[1], record(2, Some("2")));
        let Verdict::Found {
            record: found,
            coverage,
        } = it.verdict()
        else {
            panic!()
        };
        assert_eq!(found, record(2, Some("2")).unwrap());
        assert!(!coverage.degraded);
        assert_eq!(it.stale(), vec![asked[0]]);
    }

    #[test]
    fn one_dead_board_does_not_hide_that_a_key_is_missing() {
        let mut it = read(&[4], &[3]);
        for board in it.start(&id(1), |_| false) {
            it.answered(&board, None);
        }
        assert_eq!(it.verdict(), Verdict::NotFound);
    }

    #[test]
    fn side_with_a_quorum_does_not_deny_what_the_other_side_may_hold() {
        let mut it = read(&[4], &[3, 5]);
        for board in it.start(&id(1), |_| false) {
            it.answered(&board, None);
        }
        assert!(matches!(it.verdict(), Verdict::Unavailable { .. }));
    }

    #[test]
    fn side_without_a_quorum_returns_what_it_finds_and_denies_nothing() {
        let mut it = read(&[4], &[1, 2]);
        assert_eq!(it.start(&id(4), |_| false), ids(&[3, 4]));
        it.answered(&id(3), None);
        it.answered(&id(4), None);
        assert!(matches!(
            it.verdict(),
            Verdict::Unavailable { acks: 1, needed: 2 }
        ));
        it.answered(&id(4), record(5, Some("5")));
        let Verdict::Found { coverage, .. } = it.verdict() else {
            panic!()
        };
        assert_eq!(
            coverage,
            Coverage {
                acks: 1,
                hinted: 1,
                degraded: true
            }
        );
    }

    #[test]
    fn newer_tombstone_wins_over_an_older_value() {
        let mut it = read(&[], &[]);
        let asked = it.start(&id(1), |_| false);
        it.answered(&asked[0], record(1, Some("1")));
        it.answered(&asked[1], record(2, None));
        assert_eq!(it.verdict(), Verdict::NotFound);
    }

    #[test]
    fn copies_that_were_away_prove_something_only_all_together() {
        let mut it = read(&[], &[]);
        let asked = it.start(&id(1), |_| false);
        assert_eq!(it.answered_behind(&asked[0], record(1, Some("1"))).len(), 1);
        it.answered_behind(&asked[1], record(1, Some("1")));
        assert_eq!(it.verdict(), Verdict::Waiting);
        let mut partial = it.clone();
        partial.give_up_waiting();
        assert!(matches!(partial.verdict(), Verdict::Unavailable { .. }));
        it.answered_behind(&id(3), record(2, Some("2")));
        assert!(matches!(it.verdict(), Verdict::Found { .. }));
    }

    #[test]
    fn failed_copy_makes_the_others_be_asked() {
        let mut it = read(&[4], &[]);
        let asked = it.start(&id(1), |_| false);
        let more = it.failed(&asked[1]);
        assert!(!more.is_empty());
        it.answered(&asked[0], record(1, Some("1")));
        assert_eq!(it.verdict(), Verdict::Waiting);
        for board in more {
            it.answered(&board, record(1, Some("1")));
        }
        assert!(matches!(it.verdict(), Verdict::Found { .. }));
    }
}
