//! Handing over: every item ends up on its copies and nowhere else.
//!
//! One pass walks the board's own items in key order, a page at a time. An item that does not
//! belong here (a hint for an absent board, a range that moved, everything when leaving) is
//! offered to all of its copies; an item that does is offered to those copies that asked or are
//! known to lag. An offer is a list of keys and versions; the other names what it lacks; only
//! that is sent. What does not belong here is dropped once **every** copy has confirmed it; a hint
//! that is old also when a write quorum has (the absent copy is compared when it is back).
//!
//! A copy that lags or asks is first compared by hash tree (`sync.rs`), and then offered what lies
//! in cells that differ. A *survey* looks at every item; any other pass reads those cells only.
//! Where copies cannot be compared so (boards join or leave, or the ring's mode is `partial`) it is
//! offered everything it should hold.
//!
//! Start: a change of the roster, a board that is back, an ask, cells found to differ. Steady
//! state: no pass, no timer, no disk. Distress: a copy does not answer, its items stay, and the
//! pass is made again when it is back. End: the asker is told that this was all
//! ([`RangePage::Done`]), or the leave is complete.
//!
//! [`RangePage::Done`]: crate::wire::peer::RangePage::Done

mod offer;
mod pass;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::sync::{Aim, NoFinding};
use super::{Board, LoadPurpose, Phase, StorePurpose, Timer};
use crate::base::call::Consistency;
use crate::base::cell::CellSet;
use crate::base::id::Id;
use crate::base::item::{Item, Key};
use crate::base::limit;
use crate::base::member::Standing;
use crate::base::store::{Batch, Change, Load, Loaded, StoreError, Which};
use crate::base::time::{Now, Time};
use crate::proto::placement::View;
use crate::proto::replication::needed;
use crate::wire::peer::{Message, RangePage, ReplicaWrite, WriteResult};

/// Causes within this time make one pass.
const GATHER_TIME: Duration = Duration::from_millis(30);
/// A pass in which nothing moves for so long goes on without the silent boards.
const STALL_TIME: Duration = Duration::from_secs(2);
/// A pass that left something undone with boards that are there is made again after this.
const RETRY_TIME: Duration = Duration::from_millis(500);
/// A pass that met another roster is made again after this: rosters are exchanged meanwhile.
const OTHER_VIEW_TIME: Duration = Duration::from_millis(100);
/// The wait doubles up to this often: half a minute.
const FUTILE_MAX: u32 = 7;
/// Items kept for absent boards are looked at again after this: some may have become too old.
const HINT_REVIEW_TIME: Duration = Duration::from_secs(600);
/// Causes for a repair within this time make one pass: a copy that is slow once often is again.
const REPAIR_GATHER_TIME: Duration = Duration::from_millis(200);
/// Items of one page: their offers fit a frame.
const PAGE_ITEMS: usize = 512;
/// After the last store of a leave, whoever has not heard of it is not waited for longer.
pub(super) const LEAVE_CONFIRM_TIME: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Offered {
    item: Item,
    displaced: bool,
    /// How many copies it is to have.
    copies: usize,
    unconfirmed: BTreeSet<Id>,
}

impl Offered {
    /// It does not belong here and may be dropped, also when some copies are absent if it is `old`.
    fn may_drop(&self, old: bool) -> bool {
        let confirmed = self.copies - self.unconfirmed.len();
        self.unconfirmed.is_empty()
            || (old && confirmed >= needed(self.copies, Consistency::Quorum))
    }
}

/// What a board is offered of the items it should hold.
#[derive(Debug)]
enum Scope {
    All,
    Cells(CellSet),
}

impl Scope {
    fn covers(&self, key: &Key) -> bool {
        match self {
            Scope::All => true,
            Scope::Cells(cells) => cells.contains(key.cell()),
        }
    }
}

#[derive(Debug)]
struct Pass {
    view: Arc<View>,
    after: Option<Key>,
    more: bool,
    /// Every item is looked at, and the figures are made anew.
    survey: bool,
    targets: BTreeMap<Id, Scope>,
    /// Targets that have everything they should of this board once the pass has ended.
    whole: BTreeSet<Id>,
    failed: BTreeSet<Id>,
    /// Some board's roster differed: that passes soon.
    other_view: bool,
    page: Vec<Offered>,
    offers: BTreeMap<u64, (Id, Vec<usize>)>,
    queue: VecDeque<(Id, usize)>,
    pushes: BTreeMap<u64, (Id, usize)>,
    dropping: bool,
    displaced_left: u64,
    under_replicated: u64,
    moved: Time,
}

/// Hand-over of a board.
#[derive(Debug, Default)]
pub(super) struct Handover {
    wanted: bool,
    pass: Option<Pass>,
    discarding: bool,
    askers: BTreeMap<Id, u64>,
    /// Boards to be compared with.
    lagging: BTreeSet<Id>,
    /// Those that are being compared.
    comparing: BTreeSet<Id>,
    /// Those that could not be compared this time.
    not_compared: BTreeMap<Id, NoFinding>,
    /// Those that were compared, all cells of them, for the next pass.
    compared: BTreeSet<Id>,
    /// What boards were found to differ in.
    differing: BTreeMap<Id, CellSet>,
    /// The next pass is a survey.
    survey: bool,
    /// Items kept for absent boards since the last survey.
    hints_kept: u64,
    displaced_left: u64,
    under_replicated: u64,
    transferred: u64,
    takers: BTreeSet<Id>,
    /// The store was empty when it was last discarded.
    emptied: bool,
    /// Passes in a row that left something undone.
    futile: u32,
}

impl Handover {
    pub(super) fn transferred(&self) -> (u64, Vec<Id>) {
        (self.transferred, self.takers.iter().copied().collect())
    }

    /// Counts what is handed over from here on.
    pub(super) fn begin_counting(&mut self) {
        self.transferred = 0;
        self.takers.clear();
    }

    pub(super) fn is_full_of_hints(&self) -> bool {
        self.displaced_left + self.hints_kept >= limit::HINTS_KEPT_MAX
    }

    /// Items that wait for their copies, and items one of whose copies is not known to hold them.
    pub(super) fn pending(&self) -> (u64, u64) {
        (self.displaced_left + self.hints_kept, self.under_replicated)
    }

    /// A pass is under way or asked for, so that the figures are about to change.
    pub(super) fn is_busy(&self) -> bool {
        self.wanted || self.pass.is_some() || !self.comparing.is_empty()
    }

    pub(super) fn is_discarding(&self) -> bool {
        self.discarding
    }

    /// The board is compared with in the next pass.
    pub(super) fn note_lagging(&mut self, board: Id) {
        self.lagging.insert(board);
    }

    pub(super) fn is_emptied(&self) -> bool {
        self.emptied
    }
}

impl Board {
    /// A board that went down may have left writes on some copies only: every copy is compared.
    pub(super) fn suspect_copies(&mut self) {
        let others = self.present_holders();
        self.handover.lagging.extend(others);
    }

    /// Asks for a survey soon.
    pub(super) fn want_handover(&mut self, now: Now) {
        self.handover.wanted = true;
        self.handover.survey = true;
        if self.handover.pass.is_none() && !self.is_armed(Timer::Handover) {
            self.arm(now.time + GATHER_TIME, Timer::Handover);
        }
    }

    /// Asks for a pass as soon as may be: something changed that ends any waiting.
    pub(super) fn hurry_handover(&mut self, now: Now) {
        self.handover.wanted = true;
        self.handover.survey = true;
        self.handover.futile = 0;
        let soon = now.time + GATHER_TIME;
        // Changes that keep coming must not put the pass off for ever.
        let is_soon = |(at, timer): &(Time, Timer)| *timer == Timer::Handover && *at <= soon;
        if self.handover.pass.is_none() && !self.timers.iter().any(is_soon) {
            self.rearm(soon, Timer::Handover);
        }
    }

    /// A copy missed a write that nobody keeps a hint of: it is offered that key's cell.
    pub(super) fn copy_lags(&mut self, now: Now, copy: Id, key: &Key) {
        self.repair_cells(now, copy, &CellSet::from_iter([key.cell()]));
    }

    /// These cells differ from another board's: it is offered what is in them.
    pub(super) fn repair_cells(&mut self, now: Now, peer: Id, cells: &CellSet) {
        let differing = &mut self.handover.differing;
        let known = differing.entry(peer).or_insert_with(CellSet::empty);
        known.extend(cells);
        self.handover.wanted = true;
        if self.handover.pass.is_none() && !self.is_armed(Timer::Handover) {
            self.arm(now.time + REPAIR_GATHER_TIME, Timer::Handover);
        }
    }

    /// An item is kept here for an absent board. There is nothing to do until that is back, unless
    /// it is not absent to this board.
    pub(super) fn hint_kept(&mut self, now: Now, key: &Key) {
        self.watch.count("hints_kept");
        self.handover.hints_kept += 1;
        let Some(view) = self.view() else { return };
        let copies = view.target(&key.point());
        if copies.iter().all(|id| self.is_present(id)) {
            self.want_handover(now);
        }
    }

    /// What comparing with a board came to: it is offered what differs, or is up to date.
    pub(super) fn compared_with(
        &mut self,
        now: Now,
        peer: Id,
        finding: Result<CellSet, NoFinding>,
    ) {
        if !self.handover.comparing.remove(&peer) {
            return;
        }
        match finding {
            Ok(cells) => {
                self.handover.lagging.remove(&peer);
                self.handover.compared.insert(peer);
                let known = self.handover.differing.entry(peer);
                known.or_insert_with(CellSet::empty).extend(&cells);
            }
            Err(why) => {
                self.handover.not_compared.insert(peer, why);
            }
        }
        if self.handover.comparing.is_empty() && self.handover.pass.is_none() {
            self.handover.wanted = true;
            self.rearm(now.time, Timer::Handover);
        }
    }

    /// A member is alive again: what was kept for it can go.
    pub(super) fn copy_is_back(&mut self, now: Now, _copy: Id) {
        self.hurry_handover(now);
    }

    /// A copy asks for everything it should have.
    pub(super) fn asked(&mut self, now: Now, from: Id, operation: u64) {
        self.handover.askers.insert(from, operation);
        self.handover.lagging.insert(from);
        self.hurry_handover(now);
    }

    /// This board left its ring and comes back: what it held was handed over and is dropped
    /// before it joins, so that nothing removed meanwhile returns with it.
    pub(super) fn discard_items(&mut self) {
        self.handover.discarding = true;
        self.handover.emptied = false;
        self.load_handover_page(None);
    }

    pub(super) fn start_handover(&mut self, now: Now) {
        if self.handover.discarding || self.phase != Phase::Joined {
            return;
        }
        if let Some(pass) = &self.handover.pass {
            if now.time.since(pass.moved) >= STALL_TIME {
                let silent: BTreeSet<Id> = pass
                    .offers
                    .values()
                    .map(|(peer, _)| *peer)
                    .chain(pass.pushes.values().map(|(peer, _)| *peer))
                    .collect();
                for peer in silent {
                    self.handover_failed(now, &peer);
                }
            }
            self.rearm(now.time + STALL_TIME, Timer::Handover);
            return;
        }
        if !self.handover.wanted || !self.handover.comparing.is_empty() {
            return;
        }
        let Some(view) = self.view() else { return };
        let boards = view.new_boards();
        self.handover.lagging.retain(|id| boards.contains(id));
        self.handover.differing.retain(|id, _| boards.contains(id));
        if self.membership.is_returning() {
            // It is no copy of anything, so there is nobody to be compared with.
            self.handover.lagging.clear();
            self.handover.differing.clear();
            self.handover.not_compared.clear();
        }
        if view.is_comparable() && self.compare_lagging(now) {
            return;
        }
        self.handover.wanted = false;
        self.begin_pass(now, view);
    }

    /// Compares with the boards that lag and have not been compared; false when there are none.
    fn compare_lagging(&mut self, now: Now) -> bool {
        let lagging = self.handover.lagging.iter();
        let open = lagging.filter(|id| {
            self.is_present(id) && **id != self.me && !self.handover.not_compared.contains_key(id)
        });
        let open: Vec<Id> = open.copied().collect();
        self.handover.comparing.extend(open.iter().copied());
        for peer in &open {
            self.compare_with(now, *peer, Aim::Repair);
        }
        !open.is_empty()
    }
}
