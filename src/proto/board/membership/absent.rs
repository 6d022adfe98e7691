//! Giving up absent boards: this board's vote, the others', and what a majority of them does.
//!
//! Nothing here costs anything while everybody is there: the timer runs only while somebody is
//! absent, and the first message is sent when the grace time is over.
//!
//! In mode `partial` nobody is given up: a majority of a neighbourhood is none of the ring, and
//! both sides of a split would have some. Absent boards are forgotten by their owner there.

use super::*;
use crate::base::call::GivingUp;
use crate::proto::roster::absence::majority;

impl Board {
    /// Members came, went, or changed their presence.
    pub(in crate::proto::board) fn count_absence(&mut self, now: Now) {
        let absent = match self.phase {
            Phase::Joined if !self.is_partial() => self.absent_members(),
            _ => BTreeSet::new(),
        };
        self.membership.absence.update(now.time, &absent);
        self.arm_give_up(now);
    }

    fn arm_give_up(&mut self, now: Now) {
        let grace = self.settings.grace_time;
        match self.membership.absence.next(now.time, grace) {
            Some(at) => self.rearm(at, Timer::GiveUp),
            None => self.timers.retain(|(_, timer)| *timer != Timer::GiveUp),
        }
    }

    /// A grace time is over: this board votes.
    pub(in crate::proto::board) fn give_up_due(&mut self, now: Now) {
        if self.phase != Phase::Joined {
            return;
        }
        let overdue = self
            .membership
            .absence
            .overdue(now.time, self.settings.grace_time);
        // Only boards that hold copies vote: the others lose nothing by it.
        let mine = !self.is_diskless();
        for board in overdue.into_iter().filter(|_| mine) {
            let Some(generation) = self.generation_of(&board) else {
                continue;
            };
            let me = self.me;
            self.membership
                .absence
                .vote(now.time, &board, generation, me);
            for other in self.present_others() {
                let body = RingCall::GiveUp { board, generation };
                self.ring_call(now, &other, body, CallPurpose::GiveUp);
            }
            self.count_votes(now, &board);
        }
        self.arm_give_up(now);
    }

    /// Another member votes to give a board up.
    pub(in crate::proto::board) fn give_up_voted(
        &mut self,
        now: Now,
        from: Id,
        board: Id,
        generation: u32,
    ) -> RingReply {
        let absence = &mut self.membership.absence;
        absence.vote(now.time, &board, generation, from);
        let grace = self.settings.grace_time;
        if absence.overdue(now.time, grace).contains(&board) {
            self.count_votes(now, &board);
        }
        RingReply::Same
    }

    /// A majority of those that hold copies gives the board up; the copies restore what it held.
    fn count_votes(&mut self, now: Now, board: &Id) {
        let entry = self.roster.as_ref().and_then(|roster| roster.entry(board));
        let Some(entry) = entry.filter(|entry| entry.standing.belongs()).cloned() else {
            return;
        };
        let (votes, needed) = self.give_up_votes(now, board);
        if votes < needed || self.is_last_word(&entry) {
            return;
        }
        self.watch.count("boards_given_up");
        self.change_entry(
            now,
            Entry {
                standing: entry.standing.struck_off(),
                ..entry
            },
        );
    }

    fn generation_of(&self, board: &Id) -> Option<u32> {
        let entry = self.roster.as_ref().and_then(|roster| roster.entry(board));
        entry.map(|entry| entry.generation)
    }

    fn give_up_votes(&self, now: Now, board: &Id) -> (usize, usize) {
        let holders = self.holder_ids();
        let generation = self.generation_of(board).unwrap_or(0);
        let absence = &self.membership.absence;
        let votes = absence.votes(now.time, board, generation, &holders);
        (votes, majority(holders.len()))
    }

    /// What an owner is told of an absent board.
    pub(in crate::proto::board) fn giving_up(&self, now: Now, board: &Id) -> Option<GivingUp> {
        let absent = self.membership.absence.absent_for(now.time, board)?;
        let (votes, needed) = self.give_up_votes(now, board);
        Some(GivingUp {
            after: self.settings.grace_time.saturating_sub(absent),
            votes,
            // Those that are there and would vote in time.
            present: self.present_holders().len() + usize::from(!self.is_diskless()),
            needed,
        })
    }
}
