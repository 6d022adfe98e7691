//! Being apart from other members, and coming back after it.
//!
//! While every member is there and every copy is confirmed there is nothing to remember: whatever
//! this board holds the ring holds too. When members go missing the board notes since when, and
//! who; the note is on flash with the roster, and is cleared once everything here has been
//! confirmed by each of them. A board that starts has been apart from all since its last commit.
//!
//! The note answers one question: this board was given up or forgotten meanwhile, what may it
//! offer? Only writes newer than its last complete sync, and of those only the ones drawn on its
//! own side; the others are the ring's business, which may have removed them and forgotten that.
//!
//! ```text
//! member ──hears it was struck off──▶ Offering ──enough copies confirm──▶ Discarding
//!    ▲                                                                       │ store is empty
//!    ╰──────────────────── joins anew ◀── asks a member ◀────────────────────╯
//! ```
//!
//! A second note, in memory, tells writes of both sides of a split apart, so that a key written on
//! both is reported as a conflict: the later stands, the other is named.

use serde::{Deserialize, Serialize};

use super::*;
use crate::base::item::Key;
use crate::base::version::{Stamp, Version};

/// Writes up to this long before members were found missing may not have reached them.
const UNNOTICED_TIME: Duration = Duration::from_secs(5);
/// Conflicts that are remembered, so that each is told once.
const CONFLICTS_MAX: usize = 1_024;

/// From whom this board is apart, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Apart {
    since: u64,
    from: BTreeSet<Id>,
}

/// How far a board is that was struck off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Returning {
    #[default]
    No,
    Offering,
    Discarding,
}

/// When a board could write without this one, by stamp.
#[derive(Debug)]
struct Side {
    since: Stamp,
    until: Stamp,
}

/// What a board remembers of having been apart.
#[derive(Debug, Default)]
pub(super) struct Apartness {
    note: Option<Apart>,
    /// Boards that have not yet confirmed everything since.
    unconfirmed: BTreeSet<Id>,
    returning: Returning,
    sides: BTreeMap<Id, Side>,
    conflicts: BTreeSet<(Key, Stamp)>,
}

impl Apartness {
    /// The note, as it follows the roster on flash.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        postcard::to_allocvec(&self.note).expect("ids and a number have known lengths")
    }

    /// Reads the note; a roster of a release that had none has nothing there.
    pub(super) fn restore(&mut self, bytes: &[u8]) {
        let note: Option<Apart> = postcard::from_bytes(bytes).unwrap_or_default();
        self.unconfirmed = note.iter().flat_map(|note| note.from.clone()).collect();
        self.note = note;
    }

    /// Nothing of what is here may be offered.
    pub(super) fn forget(&mut self) {
        self.note = None;
        self.unconfirmed.clear();
    }

    /// It has yet to confirm what this board wrote while apart from it.
    pub(super) fn is_unconfirmed(&self, id: &Id) -> bool {
        self.unconfirmed.contains(id)
    }

    /// Struck off, and on its way back.
    pub(in crate::proto::board) fn is_returning(&self) -> bool {
        self.returning != Returning::No
    }
}

impl Board {
    /// This start's first look: writes from here on are made without the others.
    pub(super) fn apart_at_start(&mut self) {
        let others: BTreeSet<Id> = self.member_ids().into_iter().collect();
        let since = self.clock.high_water();
        self.note_apart(others, since);
    }

    /// A member is missing.
    pub(super) fn apart_from(&mut self, now: Now, id: Id) {
        let drawn = self.clock.high_water();
        // A clock that is behind its own stamps says nothing about when they were drawn.
        let wall_ms = now.wall.0.max(drawn.wall_ms());
        let unnoticed = UNNOTICED_TIME.as_millis() as u64;
        let since = drawn.min(Stamp::new(wall_ms.saturating_sub(unnoticed), 0));
        let without_copies = self.absent_members().into_iter();
        let mut from: BTreeSet<Id> = without_copies.filter(|id| !self.is_holder(id)).collect();
        from.insert(id);
        if self.note_apart(from, since) {
            self.persist_roster();
        }
        let since = Stamp::new(wall_ms, 0).max(drawn);
        self.note_side(id, since, Stamp(u64::MAX));
    }

    /// This board comes from another ring: all it holds is news to this one.
    pub(super) fn apart_from_ring(&mut self, members: Vec<Id>) {
        if self.note_apart(members.into_iter().collect(), Stamp(0)) {
            self.persist_roster();
        }
    }

    /// Whether that changed the note. Boards without copies confirm nothing, and being apart from
    /// them alone is being apart from nobody; what they write for others on their side is theirs.
    fn note_apart(&mut self, mut from: BTreeSet<Id>, since: Stamp) -> bool {
        from.remove(&self.me);
        let holders = from.iter().filter(|id| self.is_holder(id));
        let holders: Vec<Id> = holders.copied().collect();
        let begins = self.membership.apart.note.is_none();
        if self.is_diskless() || from.is_empty() || (begins && holders.is_empty()) {
            return false;
        }
        let apart = &mut self.membership.apart;
        apart.unconfirmed.extend(holders);
        let note = apart.note.get_or_insert_with(|| Apart {
            since: since.0,
            from: BTreeSet::new(),
        });
        let before = (note.since, note.from.len());
        note.since = note.since.min(since.0);
        note.from.extend(from);
        before != (note.since, note.from.len()) || before.1 == 0
    }

    /// A member is there again: what it writes from here on it writes knowing this side.
    pub(super) fn together_with(&mut self, now: Now, id: &Id) {
        let until = Stamp::new(now.wall.0, u16::MAX).max(self.clock.high_water());
        if let Some(side) = self.membership.apart.sides.get_mut(id) {
            side.until = side.until.min(until);
        }
    }

    /// These boards have confirmed everything they should hold of what is here.
    pub(in crate::proto::board) fn pass_confirmed(&mut self, by: &BTreeSet<Id>) {
        let apart = &mut self.membership.apart;
        apart.unconfirmed.retain(|id| !by.contains(id));
        self.end_apart();
    }

    /// The note is cleared when nothing here is unknown to any member.
    pub(super) fn end_apart(&mut self) {
        if self.membership.apart.note.is_none() || self.membership.apart.is_returning() {
            return;
        }
        let members: BTreeSet<Id> = self.member_ids().into_iter().collect();
        let apart = &mut self.membership.apart;
        apart.unconfirmed.retain(|id| members.contains(id));
        let whole = apart.unconfirmed.is_empty() && self.handover.pending().0 == 0;
        if whole && !self.is_behind() && self.absent_holders().is_empty() {
            self.membership.apart.note = None;
            self.persist_roster();
        }
    }

    /// A board that was struck off offers only what the ring cannot know.
    pub(in crate::proto::board) fn may_offer(&self, version: &Version) -> bool {
        let apart = &self.membership.apart;
        if apart.returning == Returning::No {
            return true;
        }
        apart
            .note
            .as_ref()
            .is_some_and(|note| version.stamp.0 > note.since && !note.from.contains(&version.node))
    }

    /// Copies that may be missing when a board that was struck off lets go of an item.
    pub(in crate::proto::board) fn may_lack(&self) -> usize {
        match self.membership.apart.is_returning() {
            true => {
                let roster = self.roster.as_ref();
                let copies = roster.map_or(1, |roster| usize::from(roster.cluster().copies));
                copies.min(self.holder_ids().len()) - self.write_quorum()
            }
            false => 0,
        }
    }

    /// This board was struck off: it goes through [`Returning`] and then asks to join anew.
    pub(super) fn come_back(&mut self, now: Now) {
        match self.membership.apart.returning {
            Returning::No => {
                self.watch.count("returns");
                if self.is_diskless() {
                    // It has nothing to offer.
                    self.membership.apart.returning = Returning::Discarding;
                    self.rearm(now.time, Timer::Consider);
                    return;
                }
                self.membership.apart.returning = Returning::Offering;
                self.abandon_pass();
                self.hurry_handover(now);
            }
            Returning::Offering => {}
            Returning::Discarding if self.handover.is_discarding() => {
                self.rearm(now.time + CONSIDER_PERIOD, Timer::Consider);
            }
            Returning::Discarding if !self.handover.is_emptied() => {
                self.discard_items();
                self.rearm(now.time + CONSIDER_PERIOD, Timer::Consider);
            }
            Returning::Discarding => {
                let roster = self.roster.as_ref();
                let belongs = |id: &Id| roster.is_some_and(|roster| roster.has(id));
                let sponsor = self.links.peers().into_iter().filter(belongs).min();
                if let Some(sponsor) = sponsor {
                    self.ask_to_join(now, &sponsor);
                }
                self.rearm(now.time + CONSIDER_PERIOD, Timer::Consider);
            }
        }
    }

    /// A pass of a board on its way back has ended; `clean` when enough copies confirmed what it
    /// offered. Whether there is nothing more to do for it.
    pub(in crate::proto::board) fn has_offered(&mut self, now: Now, clean: bool) -> bool {
        if self.membership.apart.returning == Returning::Offering && clean {
            self.membership.apart.returning = Returning::Discarding;
            self.discard_items();
            self.rearm(now.time + CONSIDER_PERIOD, Timer::Consider);
        }
        self.membership.apart.returning == Returning::Discarding
    }

    /// This board belongs: it has come back, or was never away.
    pub(super) fn is_back(&mut self) {
        if self.membership.apart.is_returning() {
            self.membership.apart.returning = Returning::No;
            self.membership.apart.note = None;
            self.membership.apart.unconfirmed.clear();
        }
    }

    /// Struck off as far as the roster on flash says. What the ring cannot know is offered first,
    /// the rest is dropped.
    pub(super) fn struck_off_at_start(&mut self, now: Now) {
        match self.membership.apart.note {
            Some(_) => {
                self.phase = Phase::Joined;
                self.own_standing(now);
            }
            None => self.discard_items(),
        }
    }

    /// These boards could write without this one until now, from that stamp on.
    pub(in crate::proto::board) fn note_strangers(&mut self, now: Now, strangers: &[Id]) {
        let until = Stamp::new(now.wall.0, u16::MAX).max(self.clock.high_water());
        for id in strangers {
            self.note_side(*id, Stamp(0), until);
        }
    }

    fn note_side(&mut self, id: Id, since: Stamp, until: Stamp) {
        let sides = &mut self.membership.apart.sides;
        if id != self.me && (sides.len() < limit::ROSTER_MAX * 2 || sides.contains_key(&id)) {
            sides.insert(id, Side { since, until });
        }
    }

    /// Two versions of a key met. They are in conflict when one was drawn on either side of a
    /// split while that lasted, so that neither writer can have known of the other's.
    pub(in crate::proto::board) fn note_versions(&mut self, key: &Key, a: Version, b: Version) {
        let sides = &self.membership.apart.sides;
        let within = |side: &Side, v: &Version| v.stamp > side.since && v.stamp <= side.until;
        let apart = |v: &Version| sides.get(&v.node).filter(|side| within(side, v));
        let is_conflict = match (apart(&a), apart(&b)) {
            (Some(side), None) => within(side, &b),
            (None, Some(side)) => within(side, &a),
            _ => false,
        };
        if !is_conflict {
            return;
        }
        let (kept, lost) = (a.max(b), a.min(b));
        let conflicts = &mut self.membership.apart.conflicts;
        if conflicts.len() >= CONFLICTS_MAX {
            conflicts.pop_first();
        }
        if conflicts.insert((key.clone(), lost.stamp)) {
            self.watch.count("conflicts");
            let key = key.clone();
            self.out
                .events
                .push_back(Event::Conflict { key, kept, lost });
        }
    }
}
