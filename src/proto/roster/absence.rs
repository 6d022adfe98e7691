//! Giving up boards that stay away: how long each has been absent, and who votes to strike it off.
//!
//! Start: a board is seen to be absent; monotonic time, counted anew by each board and after each
//! start. Distress: after the grace time this board votes, and hears the votes of others. End: the
//! board is back, or a majority of the roster, the absent one counted, has voted: whoever counts
//! that majority and has waited for the grace time itself strikes it off. A minority never does.
//! Without anybody absent there is nothing here and nothing is due.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::id::Id;
use crate::base::limit;
use crate::base::time::Time;

/// Votes that give a board up in a roster of so many, the absent ones among them.
pub fn majority(members: usize) -> usize {
    members / 2 + 1
}

#[derive(Debug)]
struct Missing {
    since: Time,
    /// The membership the votes are about, and who cast them when.
    generation: u32,
    votes: BTreeMap<Id, Time>,
}

/// Who is absent, as one board counts it.
#[derive(Debug, Default)]
pub struct Absence {
    missing: BTreeMap<Id, Missing>,
}

impl Absence {
    /// These members are absent, and no others.
    pub fn update(&mut self, now: Time, absent: &BTreeSet<Id>) {
        self.missing.retain(|id, _| absent.contains(id));
        for id in absent {
            self.missing.entry(*id).or_insert_with(|| Missing {
                since: now,
                generation: 0,
                votes: BTreeMap::new(),
            });
        }
    }

    /// A vote to give the board up in this generation. One on a board that is not absent here, or
    /// on a generation that is over, counts nothing.
    pub fn vote(&mut self, now: Time, absent: &Id, generation: u32, voter: Id) {
        let Some(missing) = self.missing.get_mut(absent) else {
            return;
        };
        if missing.generation < generation {
            missing.generation = generation;
            missing.votes.clear();
        }
        if missing.generation == generation {
            missing.votes.insert(voter, now);
        }
    }

    /// Absent for at least the grace time.
    pub fn overdue(&self, now: Time, grace: Duration) -> Vec<Id> {
        let is_over = |(_, missing): &(&Id, &Missing)| now.since(missing.since) >= grace;
        let overdue = self.missing.iter().filter(is_over);
        overdue.map(|(id, _)| *id).collect()
    }

    /// Votes that count: in this generation, of members, not too old.
    pub fn votes(&self, now: Time, id: &Id, generation: u32, members: &[Id]) -> usize {
        let Some(missing) = self.missing.get(id).filter(|m| m.generation == generation) else {
            return 0;
        };
        let fresh = |(voter, at): &(&Id, &Time)| {
            now.since(**at) < limit::GIVE_UP_VOTE_TIME_MAX && members.contains(voter)
        };
        missing.votes.iter().filter(fresh).count()
    }

    /// How long it has been absent.
    pub fn absent_for(&self, now: Time, id: &Id) -> Option<Duration> {
        self.missing.get(id).map(|missing| now.since(missing.since))
    }

    /// When there is something to do: a grace time ends, or votes are cast again.
    pub fn next(&self, now: Time, grace: Duration) -> Option<Time> {
        let next = |missing: &Missing| match missing.since + grace {
            at if at > now => at,
            _ => now + limit::GIVE_UP_PERIOD,
        };
        self.missing.values().map(next).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(600);

    fn id(n: u8) -> Id {
        Id::of(&[n])
    }

    fn at(seconds: u64) -> Time {
        Time(seconds * 1_000_000)
    }

    fn absent(ids: &[u8]) -> BTreeSet<Id> {
        ids.iter().map(|n| id(*n)).collect()
    }

    #[test]
    fn a_board_that_is_back_for_a_moment_is_counted_anew() {
        let mut absence = Absence::default();
        assert_eq!(absence.next(at(0), GRACE), None, "nobody is absent");
        absence.update(at(0), &absent(&[1]));
        absence.update(at(300), &absent(&[1]));
        assert_eq!(absence.next(at(300), GRACE), Some(at(600)));
        assert_eq!(absence.overdue(at(599), GRACE), []);
        assert_eq!(absence.overdue(at(600), GRACE), [id(1)]);
        absence.update(at(601), &absent(&[]));
        absence.update(at(602), &absent(&[1]));
        assert_eq!(absence.overdue(at(1_201), GRACE), []);
        assert_eq!(absence.overdue(at(1_202), GRACE), [id(1)]);
    }

    #[test]
    fn votes_are_of_members_in_one_generation_and_expire() {
        let mut absence = Absence::default();
        let members = [id(1), id(2), id(3)];
        absence.vote(at(0), &id(1), 4, id(2));
        assert_eq!(absence.votes(at(0), &id(1), 4, &members), 0, "not absent");
        absence.update(at(0), &absent(&[1]));
        absence.vote(at(1), &id(1), 4, id(2));
        absence.vote(at(1), &id(1), 4, id(2));
        absence.vote(at(1), &id(1), 4, id(9));
        assert_eq!(absence.votes(at(1), &id(1), 4, &members), 1);
        absence.vote(at(2), &id(1), 5, id(3));
        absence.vote(at(2), &id(1), 4, id(2));
        assert_eq!(absence.votes(at(2), &id(1), 5, &members), 1);
        assert_eq!(absence.votes(at(2), &id(1), 4, &members), 0);
        let late = at(2) + limit::GIVE_UP_VOTE_TIME_MAX;
        assert_eq!(absence.votes(late, &id(1), 5, &members), 0);
    }

    #[test]
    fn the_absent_count_in_the_base_of_the_majority() {
        assert_eq!([1, 2, 3, 4, 5, 6].map(majority), [1, 2, 2, 3, 3, 4]);
    }
}
