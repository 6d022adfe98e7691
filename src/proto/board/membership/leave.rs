//! Leaving in order or at once, and striking an absent board from the roster.

use super::*;

impl Board {
    /// An orderly leave; without a call the event [`Event::Departed`] says when it is done.
    pub fn handle_stop(&mut self, now: Now, time_max: Duration) {
        self.membership.leave_until = now.time + time_max;
        self.membership.stopping = true;
        if self.membership.is_leaving() {
            self.rearm(self.membership.leave_until, Timer::LeaveDeadline);
        } else if self.leave(now, None).is_err() {
            self.out.events.push_back(Event::Departed);
        }
        self.settle(now);
    }

    pub(in crate::proto::board) fn leave(
        &mut self,
        now: Now,
        call: Option<CallId>,
    ) -> Result<Option<Reply>, CallError> {
        self.check_ring()?;
        if self.membership.leaving != Leaving::No {
            return Err(CallError::unavailable("this board is leaving already"));
        }
        if self.is_diskless() {
            return self.leave_with_nothing(now, call);
        }
        if !self.has_takers() {
            return Err(CallError::unavailable(
                "no other board is there to take over; there is `roundel leave --immediate`",
            ));
        }
        let mine = self
            .roster
            .as_ref()
            .and_then(|roster| roster.entry(&self.me))
            .cloned();
        let Some(mine) = mine else {
            return Err(CallError::unavailable("no ring yet"));
        };
        self.membership.leaving = Leaving::HandingOver(call);
        self.handover.begin_counting();
        if call.is_some() {
            self.membership.leave_until = now.time + limit::LEAVE_TIME_MAX;
        }
        self.rearm(self.membership.leave_until, Timer::LeaveDeadline);
        self.change_entry(
            now,
            Entry {
                standing: Standing::Leaving,
                ..mine
            },
        );
        self.want_handover(now);
        Ok(None)
    }

    /// Another board is there that stays.
    pub(in crate::proto::board) fn has_takers(&self) -> bool {
        self.present_others().iter().any(|id| {
            let entry = self.roster.as_ref().and_then(|roster| roster.entry(id));
            entry.is_some_and(|e| matches!(e.standing, Standing::Member | Standing::Joining))
        })
    }

    /// Everything was handed over: this board's entry says so, and when that is on flash and sent
    /// it is gone.
    pub(in crate::proto::board) fn handed_over(&mut self, now: Now) {
        let mine = self
            .roster
            .as_ref()
            .and_then(|roster| roster.entry(&self.me))
            .cloned();
        let Some(mine) = mine.filter(|mine| mine.standing == Standing::Leaving) else {
            return;
        };
        self.change_entry(
            now,
            Entry {
                standing: Standing::Left,
                ..mine
            },
        );
        self.flush_changes(now);
        self.rearm(now.time + LEAVE_CONFIRM_TIME, Timer::LeaveDeadline);
    }

    /// After a store of the roster: a leave that is complete ends here.
    pub(super) fn finish_leave(&mut self, now: Now) {
        let left = self
            .roster
            .as_ref()
            .and_then(|r| r.entry(&self.me))
            .map(|e| e.standing);
        if let (Leaving::HandingOver(call), Some(Standing::Left)) = (self.membership.leaving, left)
        {
            // Its entry tells the others; a farewell by datagram would overtake it.
            self.depart(now, call);
        }
    }

    pub(super) fn depart(&mut self, now: Now, call: Option<CallId>) {
        self.membership.leaving = Leaving::Done;
        self.routing.leave(true);
        self.settle_ring_asks(now);
        self.membership.established = None;
        self.phase = Phase::Departed;
        self.abandon_pass();
        self.pointers = None;
        self.out.events.push_back(Event::Departed);
        if let Some(call) = call {
            let (transferred, to) = self.handover.transferred();
            self.out.answer(call, Ok(Reply::Left { transferred, to }));
        }
    }

    /// The hand-over took too long: the board stays in the roster, and is absent when it stops.
    pub(in crate::proto::board) fn leave_late(&mut self, now: Now) {
        let Leaving::HandingOver(call) = self.membership.leaving else {
            return;
        };
        let mine = self
            .roster
            .as_ref()
            .and_then(|roster| roster.entry(&self.me))
            .cloned();
        match mine {
            Some(mine) if mine.standing == Standing::Left => {
                // The store is slow, but everybody has been told.
                self.depart(now, call);
                return;
            }
            Some(mine) if mine.standing == Standing::Leaving => {
                let generation = mine.generation + 1;
                let back = Entry {
                    generation,
                    standing: Standing::Member,
                    ..mine
                };
                self.membership.leaving = Leaving::No;
                self.change_entry(now, back);
                self.flush_changes(now);
            }
            _ => self.membership.leaving = Leaving::No,
        }
        let reason = self.why_not_left();
        match call {
            Some(call) => self.out.answer(call, Err(CallError::unavailable(reason))),
            None => tracing::debug!(reason, "stopping without having left"),
        }
        if self.membership.stopping {
            self.out.events.push_back(Event::Departed);
        }
    }

    fn why_not_left(&self) -> String {
        let absent: Vec<String> = self
            .absent_holders()
            .iter()
            .map(|id| self.name_of(id))
            .collect();
        if absent.is_empty() {
            return "not everything was taken over in time; this board stays a member: see \
                    `roundel status`"
                .to_owned();
        }
        format!(
            "absent boards cannot confirm what they are to take over, so this board stays a \
             member. Absent: {}. Wait for them, strike them off with \
             `roundel nodes --forget ID`, or go without handing over: `roundel leave --immediate`",
            absent.join(", ")
        )
    }

    /// Nobody is left to take over: stop waiting for it.
    pub(in crate::proto::board) fn leave_is_hopeless(&mut self, now: Now) {
        if self.membership.is_leaving() {
            self.rearm(now.time, Timer::LeaveDeadline);
        }
    }

    pub(in crate::proto::board) fn leave_immediately(
        &mut self,
        now: Now,
    ) -> Result<Reply, CallError> {
        self.check_ring()?;
        self.phase = Phase::Departed;
        self.routing.leave(false);
        self.abandon_pass();
        self.membership.established = None;
        self.pointers = None;
        self.drop_links(now);
        Ok(Reply::Left {
            transferred: 0,
            to: vec![],
        })
    }

    pub(in crate::proto::board) fn forget(
        &mut self,
        now: Now,
        id: &Id,
    ) -> Result<Reply, CallError> {
        self.check_ring()?;
        let entry = self
            .roster
            .as_ref()
            .and_then(|roster| roster.entry(id))
            .cloned();
        let Some(entry) = entry.filter(|entry| entry.standing.belongs()) else {
            return Err(CallError::UnknownNode(*id));
        };
        if self.is_present(id) {
            let hint = "it is alive; make it leave with `roundel leave --node ITS-ADDRESS`";
            return Err(CallError::Invalid(format!(
                "board {} cannot be forgotten: {hint}",
                id.short()
            )));
        }
        if self.is_last_word(&entry) {
            return Err(CallError::Invalid(format!(
                "board {} cannot be forgotten: no other board has the data of this ring; plug it \
                 in again. If it is lost for good, begin a new ring: stop the boards that are \
                 left, move their data directories away (a board without a data partition loses \
                 power instead) and start them",
                id.short()
            )));
        }
        self.change_entry(
            now,
            Entry {
                standing: entry.standing.struck_off(),
                ..entry
            },
        );
        Ok(Reply::Done)
    }
}
