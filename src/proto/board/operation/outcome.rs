//! How an operation ends: in time or late, acknowledged, found, refused or unknown.

use super::*;

impl Board {
    pub(in crate::proto::board) fn operation_late(&mut self, now: Now, id: u64) {
        let Some(operation) = self.operations.running.get_mut(&id) else {
            return;
        };
        if now.time >= operation.deadline {
            self.end_late(now, id);
            return;
        }
        let key = operation.key.clone();
        let wait = match &mut operation.step {
            Step::Waiting | Step::Elsewhere { busy: false } => {
                self.start_operation(now, id);
                RETRY_TIME
            }
            Step::Elsewhere { busy: true } => limit::COPY_ANSWER_TIME_MAX,
            Step::Reading(read) => {
                if std::mem::replace(&mut operation.hedged, true) {
                    read.give_up_waiting();
                }
                let more = read.widen();
                self.ask_to_read(now, id, &key, more);
                limit::COPY_ANSWER_TIME_MAX
            }
            Step::Writing(writing) if operation.call.is_some() || operation.hedged => {
                operation.hedged = true;
                let more = writing.write.hedge();
                let item = writing.item.clone();
                let answered = operation.call.is_none();
                // With "one" this board alone will do when nobody says otherwise.
                let alone = operation.consistency == Consistency::One;
                let own = writing
                    .own_waits
                    .take_if(|_| alone && writing.future_ms.is_empty());
                let attempt = operation.attempt;
                if let Some(Ask { hint, .. }) = own {
                    self.write_own(id, attempt, item.clone(), hint);
                }
                self.ask_to_write(now, id, &item, more);
                if answered {
                    STRAGGLER_TIME
                } else {
                    limit::COPY_ANSWER_TIME_MAX
                }
            }
            Step::Writing(_) => {
                operation.hedged = true;
                STRAGGLER_TIME
            }
        };
        self.note_slow(now, id);
        self.count_hints(now, id);
        if let Some(operation) = self.operations.running.get(&id) {
            let at = (now.time + wait).min(operation.deadline);
            self.arm(at, Timer::Operation(id));
        }
        self.judge(now, id);
    }

    /// Boards that keep an operation waiting are asked last for a while.
    pub(super) fn note_slow(&mut self, now: Now, id: u64) {
        let Some(operation) = self.operations.running.get(&id) else {
            return;
        };
        let slow: Vec<Id> = match &operation.step {
            Step::Reading(read) => self
                .present_holders()
                .into_iter()
                .filter(|id| read.is_outstanding(id))
                .collect(),
            _ => Vec::new(),
        };
        for id in slow {
            self.operations.slow.insert(id, now.time + SLOW_TIME);
        }
    }

    /// Answers the operation if its machine has come to a verdict.
    pub(super) fn judge(&mut self, now: Now, id: u64) {
        let Some(operation) = self.operations.running.get(&id) else {
            return;
        };
        match &operation.step {
            Step::Waiting | Step::Elsewhere { .. } => {}
            Step::Reading(read) => match read.verdict() {
                read::Verdict::Waiting => {}
                read::Verdict::Found { record, coverage } => {
                    let stale = !read.stale().is_empty();
                    self.found_value(now, id, record, coverage, stale);
                }
                read::Verdict::NotFound => {
                    let coverage = Coverage::default();
                    match read.newest().cloned().filter(|_| !read.stale().is_empty()) {
                        // Half removed: the tombstone is written back before it is confirmed.
                        Some(tombstone) => {
                            self.start_write(now, id, None, Some((tombstone, coverage)));
                        }
                        None => {
                            let newest = read.newest().map(|tombstone| tombstone.version);
                            self.found_nothing(id, newest);
                        }
                    }
                }
                read::Verdict::Unavailable { acks, needed } => {
                    self.read_unavailable(id, acks, needed);
                }
            },
            Step::Writing(writing) => match writing.write.verdict() {
                write::Verdict::Waiting => {}
                write::Verdict::Done(coverage) => self.written(now, id, coverage),
                write::Verdict::Failed(coverage) => self.end_write(id, coverage),
            },
        }
    }

    pub(super) fn found_value(
        &mut self,
        now: Now,
        id: u64,
        record: Record,
        coverage: Coverage,
        stale: bool,
    ) {
        let Some(operation) = self.operations.running.get(&id) else {
            return;
        };
        match operation.goal {
            Goal::Remove => {
                self.start_write(now, id, None, None);
            }
            _ if stale && operation.consistency != Consistency::One => {
                self.watch.count("read_repairs");
                self.start_write(now, id, None, Some((record, coverage)));
            }
            _ => self.end_found(id, record, coverage),
        }
    }

    pub(super) fn end_found(&mut self, id: u64, record: Record, coverage: Coverage) {
        let result = match record.value {
            Some(value) => Ok(Reply::Value {
                value,
                version: record.version,
                coverage,
            }),
            // A tombstone that could not be written back: the removal is not certain.
            None => {
                self.fail(id, coverage.acks, 0);
                return;
            }
        };
        self.end(id, result);
    }

    pub(super) fn found_nothing(&mut self, id: u64, newest: Option<Version>) {
        let Some(operation) = self.operations.running.get(&id) else {
            return;
        };
        let result = match operation.goal {
            Goal::Remove => {
                let existed = newest.is_some_and(|newest| operation.tombstones.contains(&newest));
                let node = self.owner_of(&operation.key.clone());
                Ok(Reply::Written {
                    node,
                    version: newest.unwrap_or(Version {
                        stamp: Stamp::default(),
                        node: self.me,
                    }),
                    existed,
                    coverage: Coverage::default(),
                })
            }
            _ => Err(CallError::NotFound),
        };
        self.end(id, result);
    }

    pub(super) fn owner_of(&mut self, key: &Key) -> Id {
        self.view()
            .map_or(self.me, |view| view.copy_sets(&key.point()).owner())
    }

    /// Answers a write; it stays until every copy has answered or has a hint kept for it.
    pub(super) fn written(&mut self, now: Now, id: u64, coverage: Coverage) {
        let Some(operation) = self.operations.running.get_mut(&id) else {
            return;
        };
        let Step::Writing(writing) = &operation.step else {
            return;
        };
        let complete = writing.write.is_complete();
        let (record, found) = (writing.item.record.clone(), writing.found);
        let existed = operation.tombstones.contains(&record.version);
        let goal = operation.goal.clone();
        let key = operation.key.clone();
        if let Some(call) = operation.call.take() {
            operation.deadline = now.time + STRAGGLER_TIME * 2;
            operation.hedged = false;
            let result = match (found, record.value) {
                (Some(coverage), Some(value)) => Ok(Reply::Value {
                    value,
                    version: record.version,
                    coverage,
                }),
                (Some(_), None) if matches!(goal, Goal::Get) => Err(CallError::NotFound),
                (Some(coverage), None) => {
                    let (node, version) = (self.owner_of(&key), record.version);
                    Ok(Reply::Written {
                        node,
                        version,
                        existed,
                        coverage,
                    })
                }
                (None, _) => {
                    let (node, version) = (self.owner_of(&key), record.version);
                    Ok(Reply::Written {
                        node,
                        version,
                        existed,
                        coverage,
                    })
                }
            };
            self.out.answer(call, result);
            if !complete {
                self.arm(now.time + STRAGGLER_TIME, Timer::Operation(id));
            }
        }
        if complete {
            self.note_uncovered(now, id);
            self.operations.running.remove(&id);
        }
    }

    /// Copies without the write and without a hint are brought up to date by a hand-over.
    pub(super) fn note_uncovered(&mut self, now: Now, id: u64) {
        let Some(operation) = self.operations.running.get(&id) else {
            return;
        };
        let Step::Writing(writing) = &operation.step else {
            return;
        };
        let (key, copies) = (operation.key.clone(), writing.write.uncovered());
        for copy in copies {
            self.copy_lags(now, copy, &key);
        }
    }

    pub(super) fn end_late(&mut self, now: Now, id: u64) {
        let Some(operation) = self.operations.running.get(&id) else {
            return;
        };
        match &operation.step {
            Step::Writing(writing) => {
                let coverage = match writing.write.verdict() {
                    write::Verdict::Done(coverage) | write::Verdict::Failed(coverage) => coverage,
                    write::Verdict::Waiting => Coverage::default(),
                };
                let (key, copies) = (operation.key.clone(), writing.write.uncovered());
                for copy in copies {
                    self.copy_lags(now, copy, &key);
                }
                self.end_write(id, coverage);
            }
            Step::Reading(_) => self.read_unavailable(id, 0, 0),
            Step::Waiting | Step::Elsewhere { .. } => {
                let reason = match operation.step {
                    Step::Waiting => "the boards' rosters did not come to agree in time; try again",
                    _ => "the boards that hold this key do not answer; try again in a moment",
                };
                let outcome = self.outcome_of(id);
                self.end(
                    id,
                    Err(CallError::Unavailable {
                        reason: reason.into(),
                        outcome,
                        acks: 0,
                        needed: 0,
                        absent: vec![],
                    }),
                );
            }
        }
    }

    pub(super) fn outcome_of(&self, id: u64) -> Option<WriteOutcome> {
        let operation = self.operations.running.get(&id)?;
        match (&operation.goal, operation.exposed > 0) {
            (Goal::Get, _) => None,
            (_, true) => Some(WriteOutcome::Unknown),
            (_, false) => Some(WriteOutcome::NotWritten),
        }
    }

    pub(super) fn refuse_write(&mut self, id: u64) {
        self.fail(id, 0, 0);
    }

    pub(super) fn end_write(&mut self, id: u64, coverage: Coverage) {
        let found = match self.operations.running.get(&id).map(|o| &o.step) {
            Some(Step::Writing(writing)) => writing
                .found
                .map(|coverage| (writing.item.record.clone(), coverage)),
            _ => None,
        };
        match found {
            // The value was found; that it could not be written back everywhere is degraded.
            Some((record, coverage)) => {
                self.end_found(
                    id,
                    record,
                    Coverage {
                        degraded: true,
                        ..coverage
                    },
                );
            }
            None => self.fail(id, coverage.acks, coverage.hinted),
        }
    }

    pub(super) fn read_unavailable(&mut self, id: u64, acks: usize, _needed: usize) {
        self.fail(id, acks, 0);
    }

    /// Ends an operation that too few copies answered, naming the absent and the ways on.
    pub(super) fn fail(&mut self, id: u64, acks: usize, hinted: usize) {
        let Some(operation) = self.operations.running.get(&id) else {
            return;
        };
        let key = operation.key.clone();
        let consistency = operation.consistency;
        let refusal = operation.refusal.clone();
        let outcome = self.outcome_of(id);
        let sets = self.view().map(|view| view.copy_sets(&key.point()));
        let copies = sets
            .as_ref()
            .map(|sets| sets.target().to_vec())
            .unwrap_or_default();
        let absent: BTreeSet<Id> = sets
            .map(|sets| sets.all())
            .unwrap_or_default()
            .into_iter()
            .filter(|id| !self.is_present(id))
            .collect();
        let needed = crate::proto::replication::needed(copies.len(), consistency);
        let names: Vec<String> = absent.iter().map(|id| self.name_of(id)).collect();
        let what = match (outcome, absent.is_empty()) {
            (Some(WriteOutcome::Unknown), _) => {
                "the write was not confirmed by enough copies and may or may not be stored"
            }
            (_, true) => "too few copies answered",
            (_, false) => "too few of the key's copies are present",
        };
        let ways = match names.is_empty() {
            true => "try again in a moment".to_owned(),
            false => format!(
                "absent: {}. Wait for it, ask with consistency \"one\", or strike it from the ring \
                 for good with `roundel nodes --forget ID`",
                names.join(", ")
            ),
        };
        let error = CallError::Unavailable {
            reason: match refusal {
                Some(why) => format!(
                    "{what} ({} of {needed} needed): {why}; {ways}",
                    acks + hinted
                ),
                None => format!("{what} ({} of {needed} needed); {ways}", acks + hinted),
            },
            outcome,
            acks,
            needed,
            absent: absent.into_iter().collect(),
        };
        self.end(id, Err(error));
    }

    pub(super) fn end(&mut self, id: u64, result: Result<Reply, CallError>) {
        if let Some(call) = self.operations.running.remove(&id).and_then(|o| o.call) {
            self.out.answer(call, result);
        }
    }
}
