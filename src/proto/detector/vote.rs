//! Failure votes (Round): a board is held suspect when enough boards say so, not when one does.
//!
//! Start: somebody votes that a board is suspect, another or itself. Steady state: nobody does and
//! there is nothing here. Distress: votes gather; [`needed`] of them make the suspicion the ring's.
//! End: the votes are refuted by a newer incarnation of the suspect, or expire.
//!
//! k of n: two votes, or a majority of the boards that can vote when those are fewer than three.
//! Who can vote is everybody present whom this board does not itself suspect: a board that hears
//! nobody at all decides alone, for itself, and a board that alone fails to hear one other decides
//! nothing. It is not known here how a suspicion comes about (`strategy.rs`), nor what follows.

use std::collections::BTreeMap;

use crate::base::id::Id;
use crate::base::limit;
use crate::base::member::Incarnation;
use crate::base::time::Time;

/// Votes that make a suspicion the ring's, of so many boards that can vote (the counting board
/// among them).
pub fn needed(voters: usize) -> usize {
    limit::SUSPECT_VOTES.min(voters / 2 + 1)
}

/// What is suspected: a start, a renewal of it, and how many suspicions it has refuted since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// Durable count of starts.
    pub boot: u64,
    /// In-memory count within a start.
    pub renewal: u32,
    /// Suspicions refuted within the renewal.
    pub refuted: u16,
}

impl Subject {
    /// As the messages name it.
    pub fn of(incarnation: &Incarnation, refuted: u16) -> Self {
        Subject {
            boot: incarnation.boot,
            renewal: incarnation.renewal,
            refuted,
        }
    }
}

#[derive(Debug)]
struct Ballot {
    subject: Subject,
    votes: BTreeMap<Id, Time>,
    /// A vote that was cast has had its time to be refuted.
    ripe: bool,
    said: bool,
}

/// The votes one board knows of.
#[derive(Debug, Default)]
pub struct Votes {
    ballots: BTreeMap<Id, Ballot>,
}

impl Votes {
    /// Nobody is under suspicion.
    pub fn is_empty(&self) -> bool {
        self.ballots.is_empty()
    }

    /// Boards somebody votes suspect.
    pub fn suspects(&self) -> Vec<Id> {
        self.ballots.keys().copied().collect()
    }

    /// A vote. One on an older incarnation than others were cast on counts nothing, one on a newer
    /// refutes those. Returns whether the voter had no vote there yet.
    pub fn cast(&mut self, now: Time, suspect: Id, subject: Subject, voter: Id) -> bool {
        if self.ballots.len() >= limit::ROSTER_MAX && !self.ballots.contains_key(&suspect) {
            return false;
        }
        let ballot = self.ballots.entry(suspect).or_insert_with(|| Ballot {
            subject,
            votes: BTreeMap::new(),
            ripe: false,
            said: false,
        });
        if ballot.subject < subject {
            *ballot = Ballot {
                subject,
                votes: BTreeMap::new(),
                ripe: false,
                said: false,
            };
        }
        ballot.subject == subject && ballot.votes.insert(voter, now).is_none()
    }

    /// A vote that was cast on this incarnation has had its time to be refuted.
    pub fn ripen(&mut self, suspect: &Id, subject: Subject) {
        if let Some(ballot) = self.ballots.get_mut(suspect) {
            ballot.ripe |= ballot.subject == subject;
        }
    }

    /// The board shows this incarnation: votes on older ones are refuted.
    pub fn refute(&mut self, suspect: &Id, shown: Subject) {
        if self
            .ballots
            .get(suspect)
            .is_some_and(|ballot| ballot.subject < shown)
        {
            self.ballots.remove(suspect);
        }
    }

    /// Everything about the board is settled: it is down, or is no member.
    pub fn close(&mut self, suspect: &Id) {
        self.ballots.remove(suspect);
    }

    /// Votes older than [`limit::SUSPECT_VOTE_TIME_MAX`] count no more.
    pub fn expire(&mut self, now: Time) {
        for ballot in self.ballots.values_mut() {
            ballot
                .votes
                .retain(|_, at| now.since(*at) < limit::SUSPECT_VOTE_TIME_MAX);
        }
        self.ballots.retain(|_, ballot| !ballot.votes.is_empty());
    }

    /// When the next vote expires.
    pub fn poll_timeout(&self) -> Option<Time> {
        let votes = self
            .ballots
            .values()
            .flat_map(|ballot| ballot.votes.values());
        votes.min().map(|at| *at + limit::SUSPECT_VOTE_TIME_MAX)
    }

    /// Votes on the board.
    pub fn count(&self, suspect: &Id) -> usize {
        self.ballots
            .get(suspect)
            .map_or(0, |ballot| ballot.votes.len())
    }

    /// Who votes the board suspect.
    pub fn voters(&self, suspect: &Id) -> Vec<Id> {
        self.ballots
            .get(suspect)
            .map(|ballot| ballot.votes.keys().copied().collect())
            .unwrap_or_default()
    }

    /// This board votes that one suspect.
    pub fn has_voted(&self, voter: &Id, suspect: &Id) -> bool {
        self.ballots
            .get(suspect)
            .is_some_and(|ballot| ballot.votes.contains_key(voter))
    }

    /// The incarnation under suspicion, once a vote on it has had its time to be refuted.
    pub fn ripe(&self, suspect: &Id) -> Option<Subject> {
        let ballot = self.ballots.get(suspect)?;
        ballot.ripe.then_some(ballot.subject)
    }

    /// True once for each ballot that has so many votes: then it is told.
    pub fn is_news(&mut self, suspect: &Id, needed: usize) -> bool {
        let Some(ballot) = self.ballots.get_mut(suspect) else {
            return false;
        };
        ballot.votes.len() >= needed && !std::mem::replace(&mut ballot.said, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> Id {
        Id::of(name.as_bytes())
    }

    fn subject(boot: u64, renewal: u32, refuted: u16) -> Subject {
        Subject {
            boot,
            renewal,
            refuted,
        }
    }

    #[test]
    fn two_votes_are_needed_or_a_majority_of_fewer() {
        let needs: Vec<usize> = (1..=6).map(needed).collect();
        assert_eq!(needs, [1, 2, 2, 2, 2, 2]);
    }

    #[test]
    fn a_voter_counts_once_and_may_be_the_suspect_itself() {
        let mut votes = Votes::default();
        let (suspect, first) = (id("suspect"), subject(1, 0, 0));
        assert!(votes.cast(Time(0), suspect, first, id("a")));
        assert!(!votes.cast(Time(1), suspect, first, id("a")));
        assert_eq!(votes.count(&suspect), 1);
        assert!(!votes.is_news(&suspect, 2));
        assert!(votes.cast(Time(2), suspect, first, suspect));
        assert_eq!(votes.count(&suspect), 2);
        assert!(votes.is_news(&suspect, 2));
        assert!(!votes.is_news(&suspect, 2), "it is told once");
        assert!(votes.has_voted(&id("a"), &suspect));
        assert!(!votes.has_voted(&id("b"), &suspect));
    }

    #[test]
    fn newer_incarnation_refutes_every_vote_on_the_older() {
        let newer = [subject(2, 0, 0), subject(1, 1, 0), subject(1, 0, 4)];
        for newer in newer {
            let mut votes = Votes::default();
            let (suspect, first) = (id("suspect"), subject(1, 0, 3));
            votes.cast(Time(0), suspect, first, id("a"));
            votes.cast(Time(0), suspect, first, id("b"));
            votes.refute(&suspect, first);
            assert_eq!(
                votes.count(&suspect),
                2,
                "the suspected one refutes nothing"
            );
            votes.refute(&suspect, newer);
            assert_eq!(votes.count(&suspect), 0, "{newer:?}");

            votes.cast(Time(0), suspect, first, id("a"));
            assert!(votes.cast(Time(1), suspect, newer, id("b")));
            assert_eq!(votes.voters(&suspect), [id("b")]);
            assert!(
                !votes.cast(Time(2), suspect, first, id("a")),
                "an old rumour"
            );
            assert_eq!(votes.count(&suspect), 1);
        }
    }

    #[test]
    fn votes_expire() {
        let mut votes = Votes::default();
        let (suspect, first) = (id("suspect"), subject(1, 0, 0));
        let late = Time(1_000_000);
        votes.cast(Time(0), suspect, first, id("a"));
        votes.cast(late, suspect, first, id("b"));
        assert_eq!(
            votes.poll_timeout(),
            Some(Time(0) + limit::SUSPECT_VOTE_TIME_MAX)
        );
        votes.expire(Time(0) + limit::SUSPECT_VOTE_TIME_MAX);
        assert_eq!(votes.voters(&suspect), [id("b")]);
        votes.expire(late + limit::SUSPECT_VOTE_TIME_MAX);
        assert!(votes.is_empty());
        assert_eq!(votes.poll_timeout(), None);
    }

    #[test]
    fn a_suspicion_is_ripe_only_for_the_incarnation_it_was_cast_on() {
        let mut votes = Votes::default();
        let (suspect, first) = (id("suspect"), subject(1, 0, 0));
        votes.cast(Time(0), suspect, first, id("a"));
        assert_eq!(votes.ripe(&suspect), None);
        votes.ripen(&suspect, subject(1, 0, 1));
        assert_eq!(votes.ripe(&suspect), None);
        votes.ripen(&suspect, first);
        assert_eq!(votes.ripe(&suspect), Some(first));
        votes.cast(Time(0), suspect, subject(1, 1, 0), id("a"));
        assert_eq!(votes.ripe(&suspect), None);
    }
}
