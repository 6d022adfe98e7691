//! Boards that keep no copies, because their data partition is missing or cannot be written.
//!
//! Such a board is a member like any other (it is gossiped, probed, listed, and coordinates for
//! clients) but no holder: placement, quorums, majorities and comparisons leave it out, so that
//! neither its presence nor its absence changes what the ring promises. The roster's standing
//! [`Standing::Diskless`] says so to everybody.
//!
//! Start: it hears of others and asks to join; it founds nothing, and tells boards that belong to
//! nothing so that they do not wait for it. A ring admits it at once: there is nothing to hand
//! over. Steady state: it draws stamps for the writes it coordinates; after a restart it waits
//! until enough holders have said in their hellos how far stamps have come. Distress: when no
//! holder of its ring is there it is *stranded*: it sponsors nobody, and follows any other ring.
//! End: it leaves at once; struck off, it is `Left`, since it took nothing with it.
//!
//! In mode `partial` it is refused: pointers and neighbourhoods take every board for a holder.

use super::*;
use crate::base::call::MemberView;

impl Board {
    /// This board has nothing to keep copies on.
    pub(in crate::proto::board) fn is_diskless(&self) -> bool {
        self.settings.diskless.is_some()
    }

    /// It keeps nothing, and none that does is there: it stands for no ring.
    pub(in crate::proto::board) fn is_stranded(&self) -> bool {
        self.is_diskless() && self.present_holders().is_empty()
    }

    pub(super) fn standing_of(&self, id: &Id) -> Option<Standing> {
        let entry = self.roster.as_ref().and_then(|roster| roster.entry(id));
        entry.map(|entry| entry.standing)
    }

    /// Tells a board that belongs to nothing that it need not wait for this one to found: asking
    /// to join says it.
    pub(super) fn tell_diskless(&mut self, now: Now, peer: &Id) {
        if self.is_diskless() {
            let body = RingCall::Join {
                generation: 0,
                cluster: None,
                diskless: true,
            };
            self.ring_call(now, peer, body, CallPurpose::Exchange);
        }
    }

    /// A board that asks to join has said that it keeps nothing.
    pub(super) fn note_diskless(&mut self, now: Now, id: &Id) {
        if let Some(heard) = self.membership.heard.get_mut(id) {
            heard.diskless = true;
        }
        if self.phase == Phase::Alone {
            self.rearm(now.time, Timer::Consider);
        }
    }

    /// Why the ring cannot take a board in through this one, for all that concerns copies.
    pub(super) fn why_not_diskless(&self, diskless: bool) -> Option<String> {
        if self.is_stranded() {
            let reason = "this board keeps no copies, and none of its ring that does is there";
            return Some(reason.to_owned());
        }
        (diskless && self.is_partial()).then(|| {
            "a ring of mode \"partial\" takes no board without a data partition, since every board \
             of it keeps what lies next to it"
                .to_owned()
        })
    }

    /// A member has said hello. A board that keeps no copies has nothing else to be told: it knows
    /// how far that holder's stamps have come.
    pub(super) fn hello_heard(&mut self, peer: &Id) {
        if self.is_diskless() && self.membership.unheard.remove(peer) {
            self.heard_enough();
        }
    }

    /// An orderly leave with nothing to hand over.
    pub(super) fn leave_with_nothing(
        &mut self,
        now: Now,
        call: Option<CallId>,
    ) -> Result<Option<Reply>, CallError> {
        let mine = self.roster.as_ref().and_then(|r| r.entry(&self.me));
        let Some(mine) = mine.cloned() else {
            return Err(CallError::unavailable("no ring yet"));
        };
        self.membership.leaving = Leaving::HandingOver(call);
        self.handover.begin_counting();
        let gone = Entry {
            standing: Standing::Left,
            ..mine
        };
        self.change_entry(now, gone);
        self.flush_changes(now);
        self.rearm(now.time + LEAVE_CONFIRM_TIME, Timer::LeaveDeadline);
        Ok(None)
    }

    /// Without this board no other has the ring's data: joiners have none yet.
    pub(super) fn is_last_word(&self, entry: &Entry) -> bool {
        let counted = |it: &Entry| it.standing.holds() && it.standing != Standing::Joining;
        let others = self.roster.iter().flat_map(Roster::holders);
        counted(entry)
            && !others
                .into_iter()
                .any(|it| it.id != entry.id && counted(it))
    }

    /// What an owner is told while no ring has admitted this board.
    pub(in crate::proto::board) fn why_waiting(&self) -> Vec<String> {
        let mut told = vec![
            "This board is in no ring: without a data partition it founds none and waits for one; \
             `roundel doctor` says what it hears."
                .to_owned(),
        ];
        if let Some(reason) = &self.membership.refused {
            told.push(format!(
                "The ring that was asked does not admit it: {reason}."
            ));
        }
        told
    }

    /// What an owner is told of boards without a data partition, this one and the others.
    pub(in crate::proto::board) fn diskless_problems(&self, members: &[MemberView]) -> Vec<String> {
        let mut told = Vec::new();
        if let Some(reason) = &self.settings.diskless {
            told.push(format!(
                "This board has no data partition: {reason}. It keeps no copies, and when the \
                 power goes it forgets everything, its identity too. Check the card (`dmesg`), \
                 replace it if it is worn out, and restart the board."
            ));
        }
        let others = members.iter().filter(|m| m.id != self.me && m.alive);
        for other in others.filter(|m| m.standing == Standing::Diskless) {
            told.push(format!(
                "{} runs without a data partition and keeps no copies. Check its card; its own \
                 `roundel status` says more.",
                self.name_of(&other.id)
            ));
        }
        told
    }
}
