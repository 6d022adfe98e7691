//! What copies answer, and what that makes the operation do next.

use super::*;

impl Board {
    pub(in crate::proto::board) fn local_read(
        &mut self,
        now: Now,
        id: u64,
        result: Result<Loaded, StoreError>,
    ) {
        let me = self.me;
        match result {
            Ok(Loaded::Item(record)) => {
                let result = self.vote(record);
                self.read_result(now, me, id, result);
            }
            Ok(_) => {}
            Err(StoreError::Corrupt(_)) => self.read_result(now, me, id, ReadResult::Corrupt),
            Err(error) => self.read_result(now, me, id, ReadResult::Failed(error.to_string())),
        }
    }

    pub(in crate::proto::board) fn read_answered(
        &mut self,
        now: Now,
        from: Id,
        id: u64,
        result: ReadResult,
    ) {
        self.read_result(now, from, id, result);
    }

    pub(super) fn read_result(&mut self, now: Now, from: Id, id: u64, result: ReadResult) {
        let Some(operation) = self.operations.running.get_mut(&id) else {
            return;
        };
        let Step::Reading(read) = &mut operation.step else {
            return;
        };
        if !read.is_outstanding(&from) {
            return;
        }
        let more = match result {
            ReadResult::Found(record) => {
                if let Some(record) = &record
                    && !self
                        .clock
                        .is_future(record.version.stamp, now, &self.others)
                {
                    self.clock.observe(record.version.stamp);
                }
                read.answered(&from, record);
                Vec::new()
            }
            ReadResult::Behind(record) => read.answered_behind(&from, record),
            ReadResult::Failed(_) => read.failed(&from),
            ReadResult::Corrupt => read.corrupt(&from),
            ReadResult::OtherView => {
                self.other_view(now, from, id);
                return;
            }
        };
        let key = operation.key.clone();
        self.ask_to_read(now, id, &key, more);
        self.judge(now, id);
    }

    pub(in crate::proto::board) fn local_write(
        &mut self,
        now: Now,
        id: u64,
        attempt: u32,
        result: Result<Outcome, StoreError>,
    ) {
        let result = told(result);
        let me = self.me;
        self.write_result(now, me, id, attempt, result);
    }

    pub(in crate::proto::board) fn write_answered(
        &mut self,
        now: Now,
        from: Id,
        tag: u64,
        result: WriteResult,
    ) {
        if self.handover_written(now, from, tag, &result) {
            return;
        }
        let (id, attempt) = untag(tag);
        self.write_result(now, from, id, attempt, result);
    }

    // Long function: one arm for each answer a copy can give.
    pub(super) fn write_result(
        &mut self,
        now: Now,
        from: Id,
        id: u64,
        attempt: u32,
        result: WriteResult,
    ) {
        let Some(operation) = self.operations.running.get_mut(&id) else {
            return;
        };
        if operation.attempt != attempt {
            return;
        }
        let Step::Writing(writing) = &mut operation.step else {
            return;
        };
        if !writing.write.is_outstanding(&from) {
            return;
        }
        let more = match result {
            WriteResult::Stored => {
                writing.write.stored(&from);
                if from != self.me {
                    self.stamp_taken(id);
                }
                Vec::new()
            }
            WriteResult::Newer(version) if writing.found.is_some() => {
                // Written back: that copy holds something newer still, which is as good.
                self.clock.observe(version.stamp);
                writing.write.stored(&from);
                Vec::new()
            }
            WriteResult::Newer(version) => {
                self.clock.observe(version.stamp);
                self.write_again(now, id);
                return;
            }
            WriteResult::OtherView if operation.call.is_none() => {
                // It is acknowledged without this copy: a hint takes its place.
                let more = writing.write.failed(&from);
                self.push_roster(now, &from, CallPurpose::Exchange);
                more
            }
            WriteResult::OtherView => {
                self.other_view(now, from, id);
                return;
            }
            // What a read found is written back under its own stamp or not at all.
            WriteResult::Future { .. } if writing.found.is_some() => writing.write.failed(&from),
            WriteResult::Future { wall_ms } => {
                writing.future_ms.push(wall_ms);
                if self.clock_was_refused(now, id) {
                    return;
                }
                match self.operations.running.get_mut(&id).map(|o| &mut o.step) {
                    Some(Step::Writing(writing)) => writing.write.failed(&from),
                    _ => return,
                }
            }
            WriteResult::Refused(reason) => {
                tracing::debug!(copy = %from.short(), reason, "write refused");
                operation.exposed -= 1;
                operation.refusal = Some(reason);
                writing.write.failed(&from)
            }
            WriteResult::Unknown => writing.write.failed(&from),
        };
        let item = match self.operations.running.get(&id).map(|o| &o.step) {
            Some(Step::Writing(writing)) => writing.item.clone(),
            _ => return,
        };
        self.ask_to_write(now, id, &item, more);
        self.judge(now, id);
    }

    /// So many other clocks together set this board's clock back.
    pub(super) fn clocks_that_correct(&self) -> usize {
        let needed = crate::proto::replication::needed(limit::COPIES_MAX, Consistency::Quorum);
        let boards = self.view.as_ref().map(|view| view.new_boards().len());
        needed
            .min(boards.unwrap_or(needed).saturating_sub(1))
            .max(1)
    }

    /// Two copies or more say this board's clock is ahead: it is set back to their median.
    pub(super) fn clock_was_refused(&mut self, now: Now, id: u64) -> bool {
        let enough = self.clocks_that_correct();
        let Some(operation) = self.operations.running.get_mut(&id) else {
            return false;
        };
        let Step::Writing(writing) = &mut operation.step else {
            return false;
        };
        let stamp = writing.item.record.version.stamp;
        // What another board has taken may be acknowledged: it is not taken back.
        if writing.future_ms.len() < enough || !self.clock.is_untested(stamp) {
            return false;
        }
        writing.future_ms.sort_unstable();
        let median = writing.future_ms[writing.future_ms.len() / 2];
        self.clock.correct(now.wall, median);
        self.watch.count("clock_corrections");
        self.write_again(now, id);
        true
    }

    pub(super) fn write_again(&mut self, now: Now, id: u64) {
        let Some(operation) = self.operations.running.get(&id) else {
            return;
        };
        if operation.attempt >= limit::RESTAMPS_MAX || operation.call.is_none() {
            self.end_write(id, Coverage::default());
            return;
        }
        self.watch.count("restamps");
        let value = match &operation.step {
            Step::Writing(writing) => writing.item.record.value.clone(),
            _ => return,
        };
        self.start_write(now, id, value, None);
    }

    /// A copy's roster differs: the two exchange, and then the operation starts again.
    pub(super) fn other_view(&mut self, now: Now, from: Id, id: u64) {
        if self.operations.running.contains_key(&id) {
            self.watch.count("views_exchanged");
            self.push_roster(now, &from, CallPurpose::ExchangeFor(id));
            self.operation_waits(now, id);
        }
    }

    pub(in crate::proto::board) fn operation_again(&mut self, now: Now, id: u64) {
        let waiting = self.operations.running.get(&id);
        if waiting.is_some_and(|operation| matches!(operation.step, Step::Waiting)) {
            self.start_operation(now, id);
        }
    }

    /// The roster changed: operations laid out over the old one start again as copies refuse
    /// them; those that wait start now.
    pub(in crate::proto::board) fn operations_again(&mut self, now: Now) {
        let waiting: Vec<u64> = self
            .operations
            .running
            .iter()
            .filter(|(_, operation)| matches!(operation.step, Step::Waiting))
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            self.operation_again(now, id);
        }
    }

    /// The detector declared a board down: hints count in its place from here on.
    pub(in crate::proto::board) fn copy_gone(&mut self, now: Now, peer: &Id) {
        let running: Vec<u64> = self.operations.running.keys().copied().collect();
        for id in running {
            let Some(operation) = self.operations.running.get_mut(&id) else {
                continue;
            };
            if let Step::Writing(writing) = &mut operation.step {
                let more = writing.write.gone(peer);
                let item = writing.item.clone();
                self.ask_to_write(now, id, &item, more);
                self.judge(now, id);
            }
        }
    }

    /// Hints of a write count for copies that have been down long enough.
    pub(super) fn count_hints(&mut self, now: Now, id: u64) {
        let watch = &self.watch;
        if let Some(operation) = self.operations.running.get_mut(&id)
            && let Step::Writing(writing) = &mut operation.step
        {
            let is_down = |id: &Id| watch.is_down_for(now.time, id, DOWN_EVERYWHERE_TIME);
            writing.write.count_hints(is_down);
        }
    }

    /// The board cannot be reached: whatever waits for it goes on without.
    pub(in crate::proto::board) fn peer_failed(&mut self, now: Now, peer: &Id) {
        self.hint_failed(now, Some(peer));
        self.fail_ring_calls(now, peer);
        self.fail_comparisons(now, peer);
        self.handover_failed(now, peer);
        let touched: Vec<u64> = self
            .operations
            .running
            .iter()
            .filter(|(_, operation)| match &operation.step {
                Step::Reading(read) => read.is_outstanding(peer),
                Step::Writing(writing) => writing.write.is_outstanding(peer),
                Step::Waiting | Step::Elsewhere { .. } => false,
            })
            .map(|(id, _)| *id)
            .collect();
        for id in touched {
            let Some(operation) = self.operations.running.get_mut(&id) else {
                continue;
            };
            let key = operation.key.clone();
            match &mut operation.step {
                Step::Reading(read) => {
                    let more = read.failed(peer);
                    self.ask_to_read(now, id, &key, more);
                }
                Step::Writing(writing) => {
                    let more = writing.write.failed(peer);
                    let item = writing.item.clone();
                    self.ask_to_write(now, id, &item, more);
                }
                Step::Waiting | Step::Elsewhere { .. } => {}
            }
            self.judge(now, id);
        }
    }
}
