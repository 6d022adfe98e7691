//! Mode `partial`: operations on keys whose copies are elsewhere.
//!
//! A board that holds a copy of a key knows all its copies and coordinates. Any other board looks
//! the key up and hands the operation to the board found, which is the owner or, when that is
//! silent, the first of its successors that answers; it coordinates over its own view of the
//! copies. Silence, or a board that turns out to hold no copy, means looking the key up again
//! until the operation's time is over; a write that was handed over and never answered is
//! *unknown*.

use super::*;
use crate::wire::peer::{Operate, Operated, RingCall, RingReply};

/// An operation that found nobody to coordinate it looks again after this.
const LOOK_AGAIN_TIME: Duration = Duration::from_millis(100);

/// Operations that run here for other boards: who asked, and under which number.
pub(super) type Guests = BTreeMap<CallId, (Id, u64)>;

/// Set in the ids of calls made here on behalf of another board.
const GUEST: u64 = 1 << 63;

impl Board {
    /// This board may lay out operations on the key: it holds a copy, or knows the whole roster.
    pub(in crate::proto::board) fn knows_copies(&mut self, key: &Key) -> bool {
        let me = self.me;
        self.view()
            .is_some_and(|view| view.is_known_to(&me, &key.point()))
    }

    /// The operation runs here for another board.
    pub(super) fn is_guest(&self, call: Option<CallId>) -> bool {
        call.is_some_and(|call| self.operations.guests.contains_key(&call))
    }

    /// Looks up who is to coordinate the operation.
    pub(super) fn start_elsewhere(&mut self, now: Now, id: u64) {
        let Some(operation) = self.operations.running.get_mut(&id) else {
            return;
        };
        operation.step = Step::Elsewhere { busy: true };
        let key = operation.key.clone();
        if !self.look_up_for(id, &key) {
            self.look_again(now, id);
        }
    }

    fn look_again(&mut self, now: Now, id: u64) {
        if let Some(operation) = self.operations.running.get_mut(&id) {
            operation.step = Step::Elsewhere { busy: false };
            self.arm(now.time + LOOK_AGAIN_TIME, Timer::Operation(id));
        }
    }

    /// The lookup for an operation ended.
    pub(in crate::proto::board) fn owner_found(&mut self, now: Now, id: u64, owner: Option<Id>) {
        let Some(operation) = self.operations.running.get_mut(&id) else {
            return;
        };
        if !matches!(operation.step, Step::Elsewhere { .. }) {
            return;
        }
        let Some(owner) = owner.filter(|owner| *owner != self.me) else {
            // Pointers and roster do not agree yet.
            return self.look_again(now, id);
        };
        let goal = match &operation.goal {
            Goal::Put(value) => wire::Goal::Put(value.clone()),
            Goal::Get => wire::Goal::Get,
            Goal::Remove => wire::Goal::Remove,
        };
        operation.exposed += 1;
        let operate = Operate {
            key: operation.key.clone(),
            goal,
            consistency: operation.consistency,
        };
        let body = RingCall::Operate(operate);
        self.ring_call(now, &owner, body, CallPurpose::Operate(id));
    }

    /// What became of an operation that was handed over.
    pub(in crate::proto::board) fn operated(
        &mut self,
        now: Now,
        id: u64,
        reply: Option<RingReply>,
    ) {
        let Some(operation) = self.operations.running.get_mut(&id) else {
            return;
        };
        let Some(RingReply::Operated(operated)) = reply else {
            return self.look_again(now, id);
        };
        let result = match operated {
            Operated::Elsewhere => {
                operation.exposed -= 1;
                return self.look_again(now, id);
            }
            Operated::Written {
                node,
                version,
                existed,
                coverage,
            } => Ok(Reply::Written {
                node,
                version,
                existed,
                coverage,
            }),
            Operated::Value {
                value,
                version,
                coverage,
            } => Ok(Reply::Value {
                value,
                version,
                coverage,
            }),
            Operated::NotFound => Err(CallError::NotFound),
            Operated::Unavailable {
                reason,
                outcome,
                acks,
                needed,
                absent,
            } => {
                // An earlier board may have begun a write before it fell silent.
                let earlier = outcome.is_some() && operation.exposed > 1;
                Err(CallError::Unavailable {
                    reason,
                    outcome: if earlier {
                        Some(WriteOutcome::Unknown)
                    } else {
                        outcome
                    },
                    acks: acks as usize,
                    needed: needed as usize,
                    absent,
                })
            }
        };
        self.end(id, result);
    }

    /// Another board hands an operation over. The answer, when there is one at once.
    pub(in crate::proto::board) fn operate_for(
        &mut self,
        now: Now,
        from: Id,
        call: u64,
        operate: Operate,
    ) -> Option<Operated> {
        if !self.is_partial() || self.check_ring().is_err() || !self.knows_copies(&operate.key) {
            return Some(Operated::Elsewhere);
        }
        let guest = CallId(GUEST | self.out.draw());
        self.operations.guests.insert(guest, (from, call));
        let (key, consistency) = (operate.key, operate.consistency);
        let begun = match operate.goal {
            wire::Goal::Put(value) => self.put(now, guest, key, Some(value), consistency),
            wire::Goal::Get => self.get(now, guest, key, consistency),
            wire::Goal::Remove => self.remove(now, guest, key, consistency),
        };
        match begun {
            Ok(_) => None,
            Err(error) => {
                self.operations.guests.remove(&guest);
                Some(told_of(Err(error)))
            }
        }
    }

    /// Sends what became of other boards' operations back to them.
    pub(in crate::proto::board) fn answer_guests(&mut self, now: Now) {
        if self.operations.guests.is_empty() {
            return;
        }
        let guests = &mut self.operations.guests;
        let mut done = Vec::new();
        self.out.answers.retain(|answer| {
            let guest = guests.remove(&answer.call);
            done.extend(guest.map(|guest| (guest, answer.result.clone())));
            guest.is_none()
        });
        for ((to, call), result) in done {
            let body = RingReply::Operated(told_of(result));
            self.send(now, &to, &Message::RingReply { call, body });
        }
    }
}

fn told_of(result: Result<Reply, CallError>) -> Operated {
    match result {
        Ok(Reply::Written {
            node,
            version,
            existed,
            coverage,
        }) => Operated::Written {
            node,
            version,
            existed,
            coverage,
        },
        Ok(Reply::Value {
            value,
            version,
            coverage,
        }) => Operated::Value {
            value,
            version,
            coverage,
        },
        Err(CallError::NotFound) => Operated::NotFound,
        Err(CallError::Unavailable {
            reason,
            outcome,
            acks,
            needed,
            absent,
        }) => Operated::Unavailable {
            reason,
            outcome,
            acks: acks as u32,
            needed: needed as u32,
            absent,
        },
        Ok(other) => unreachable!("an operation is not answered by {other:?}"),
        Err(error) => Operated::Unavailable {
            reason: error.to_string(),
            outcome: None,
            acks: 0,
            needed: 0,
            absent: vec![],
        },
    }
}
