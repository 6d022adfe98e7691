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

    fn begin_pass(&mut self, now: Now, view: Arc<View>) {
        let survey = std::mem::take(&mut self.handover.survey) || !view.is_comparable();
        let mut targets = BTreeMap::new();
        let not_compared = std::mem::take(&mut self.handover.not_compared);
        if view.is_comparable() {
            for peer in not_compared.keys() {
                targets.insert(*peer, Scope::Cells(CellSet::empty()));
            }
            for (peer, cells) in std::mem::take(&mut self.handover.differing) {
                targets.insert(peer, Scope::Cells(cells));
            }
        } else {
            let lagging = self.handover.lagging.iter().copied();
            let all = lagging.chain(self.handover.differing.keys().copied());
            let present = all.filter(|id| self.is_present(id));
            targets.extend(present.map(|id| (id, Scope::All)));
            self.handover.differing.clear();
        }
        // Whoever lags again while the pass is under way lags for the next one.
        let lagging = &mut self.handover.lagging;
        lagging.retain(|id| !targets.contains_key(id));
        let compared = std::mem::take(&mut self.handover.compared);
        let whole = match view.is_comparable() {
            true => compared,
            false => targets.keys().copied().collect(),
        };
        let other_view = not_compared.values().any(|w| *w == NoFinding::OtherView);
        self.handover.pass = Some(Pass {
            view,
            after: None,
            more: true,
            survey,
            targets,
            whole,
            failed: not_compared.into_keys().collect(),
            other_view,
            page: Vec::new(),
            offers: BTreeMap::new(),
            queue: VecDeque::new(),
            pushes: BTreeMap::new(),
            dropping: false,
            displaced_left: 0,
            under_replicated: 0,
            moved: now.time,
        });
        self.rearm(now.time + STALL_TIME, Timer::Handover);
        if self.pass_cells().is_some_and(|cells| cells.is_empty()) {
            self.end_pass(now);
            return;
        }
        if survey {
            self.handover.hints_kept = 0;
        }
        self.load_handover_page(None);
    }

    /// The cells the pass is about; none when it is about every item.
    fn pass_cells(&self) -> Option<CellSet> {
        let pass = self.handover.pass.as_ref().filter(|pass| !pass.survey)?;
        let mut all = CellSet::empty();
        for scope in pass.targets.values() {
            match scope {
                Scope::All => return None,
                Scope::Cells(cells) => all.extend(cells),
            }
        }
        Some(all)
    }

    /// The pass comes to nothing; whom it was for still lags.
    pub(super) fn abandon_pass(&mut self) {
        if let Some(pass) = self.handover.pass.take() {
            self.handover.lagging.extend(pass.targets.into_keys());
            self.handover.survey |= pass.survey;
        }
    }

    fn load_handover_page(&mut self, after: Option<Key>) {
        let which = self.pass_cells().map_or(Which::All, Which::Cells);
        let load = self.out.load(Load::Page {
            after,
            prefix: String::new(),
            which,
            items_max: PAGE_ITEMS,
            bytes_max: limit::PAGE_BYTES_MAX,
        });
        self.loads.insert(load, LoadPurpose::HandoverPage);
    }

    pub(super) fn handover_page(&mut self, now: Now, result: Result<Loaded, StoreError>) {
        let (items, next) = match result {
            Ok(Loaded::Page { items, next }) => (items, next),
            Ok(_) | Err(_) => {
                self.abandon_pass();
                self.handover.discarding = false;
                self.handover.wanted = true;
                self.rearm(now.time + STALL_TIME, Timer::Handover);
                return;
            }
        };
        if self.handover.discarding {
            self.discard_page(items, next);
            return;
        }
        let digest = self.roster_digest();
        let stale = self
            .handover
            .pass
            .as_ref()
            .is_some_and(|p| p.view.digest() != digest);
        if stale {
            self.abandon_pass();
            self.handover.wanted = true;
            self.rearm(now.time + GATHER_TIME, Timer::Handover);
            return;
        }
        let Some(mut pass) = self.handover.pass.take() else {
            return;
        };
        pass.moved = now.time;
        pass.more = next.is_some();
        pass.after = next;
        pass.page = items
            .into_iter()
            .map(|item| self.sort_item(&mut pass, item))
            .collect();
        self.handover.pass = Some(pass);
        self.offer_page(now);
        self.advance_pass(now);
    }

    fn discard_page(&mut self, items: Vec<Item>, next: Option<Key>) {
        let changes: Vec<Change> = items
            .iter()
            .map(|item| Change::Drop {
                key: item.key.clone(),
                version: item.record.version,
            })
            .collect();
        if !changes.is_empty() {
            let store = self.out.store(Batch {
                changes,
                high_water: None,
            });
            self.stores.insert(store, StorePurpose::Dropped(0));
        }
        match next {
            Some(_) => self.load_handover_page(next),
            None => {
                self.handover.discarding = false;
                self.handover.emptied = items.is_empty();
            }
        }
    }

    /// Decides to whom an item of this board is to be offered.
    fn sort_item(&self, pass: &mut Pass, item: Item) -> Offered {
        if !self.may_offer(&item.record.version) {
            return Offered {
                item,
                displaced: false,
                copies: 0,
                unconfirmed: BTreeSet::new(),
            };
        }
        let copies = pass.view.target(&item.key.point());
        // What nobody known here is to hold stays until the neighbourhood says otherwise.
        let reached = pass.view.reaches(&item.key.point());
        let displaced = reached && !copies.contains(&self.me);
        pass.displaced_left += u64::from(!reached);
        let present = |id: &Id| self.is_present(id);
        let whole = copies
            .iter()
            .all(|id| present(id) && !pass.failed.contains(id));
        if !whole && item.record.value.is_some() {
            pass.under_replicated += 1;
        }
        let count = copies.len();
        let mut unconfirmed: BTreeSet<Id> =
            copies.into_iter().filter(|id| *id != self.me).collect();
        if !reached {
            unconfirmed.clear();
        } else if !displaced {
            let wanted = |id: &Id| pass.targets.get(id).is_some_and(|s| s.covers(&item.key));
            unconfirmed.retain(wanted);
        }
        Offered {
            item,
            displaced,
            copies: count,
            unconfirmed,
        }
    }

    fn offer_page(&mut self, now: Now) {
        let Some(pass) = self.handover.pass.as_ref() else {
            return;
        };
        let view = pass.view.clone();
        let mut lists: BTreeMap<Id, Vec<usize>> = BTreeMap::new();
        for (position, offered) in pass.page.iter().enumerate() {
            for peer in &offered.unconfirmed {
                if self.is_present(peer) && !pass.failed.contains(peer) {
                    lists.entry(*peer).or_default().push(position);
                }
            }
        }
        for (peer, positions) in lists {
            let operation = self.out.draw();
            let Some(pass) = self.handover.pass.as_mut() else {
                return;
            };
            let items = positions
                .iter()
                .map(|at| {
                    (
                        pass.page[*at].item.key.clone(),
                        pass.page[*at].item.record.version,
                    )
                })
                .collect();
            let keys = positions.iter().map(|at| &pass.page[*at].item.key);
            let points: Vec<Id> = keys.map(Key::point).collect();
            pass.offers.insert(operation, (peer, positions));
            let message = RangePage::Versions {
                operation,
                view: view.agreement(&points),
                items,
            };
            self.send(now, &peer, &Message::RangePage(message));
        }
    }

    /// The other has compared: what it does not lack is confirmed, the rest is sent.
    pub(super) fn compared_there(
        &mut self,
        now: Now,
        from: Id,
        operation: u64,
        missing: Option<Vec<u32>>,
    ) {
        let Some(pass) = self.handover.pass.as_mut() else {
            return;
        };
        if pass
            .offers
            .get(&operation)
            .is_none_or(|(peer, _)| *peer != from)
        {
            return;
        }
        let Some((_, positions)) = pass.offers.remove(&operation) else {
            return;
        };
        pass.moved = now.time;
        match missing {
            None => {
                pass.failed.insert(from);
                pass.other_view = true;
            }
            Some(missing) => {
                for (index, position) in positions.into_iter().enumerate() {
                    if missing.binary_search(&(index as u32)).is_ok() {
                        pass.queue.push_back((from, position));
                    } else {
                        pass.page[position].unconfirmed.remove(&from);
                    }
                }
                self.handover.takers.insert(from);
            }
        }
        self.advance_pass(now);
    }

    /// A write of this pass was answered. False: the answer is not for a hand-over.
    pub(super) fn handover_written(
        &mut self,
        now: Now,
        from: Id,
        operation: u64,
        result: &WriteResult,
    ) -> bool {
        let Some(pass) = self.handover.pass.as_mut() else {
            return false;
        };
        let Some((peer, position)) = pass.pushes.remove(&operation) else {
            return false;
        };
        if peer != from {
            return true;
        }
        pass.moved = now.time;
        match result {
            WriteResult::Stored | WriteResult::Newer(_) => {
                pass.page[position].unconfirmed.remove(&from);
                self.watch.count("items_handed_over");
            }
            WriteResult::OtherView => {
                pass.failed.insert(from);
                pass.other_view = true;
            }
            WriteResult::Future { .. } => {
                // Stamped by a clock that ran ahead: it stays here, and everything else goes on.
                self.watch.count("stamps_quarantined");
            }
            _ => {
                pass.failed.insert(from);
            }
        }
        self.advance_pass(now);
        true
    }

    /// The board cannot be reached: the pass goes on without it.
    pub(super) fn handover_failed(&mut self, now: Now, peer: &Id) {
        let Some(pass) = self.handover.pass.as_mut() else {
            return;
        };
        pass.offers.retain(|_, (other, _)| other != peer);
        pass.pushes.retain(|_, (other, _)| other != peer);
        pass.queue.retain(|(other, _)| other != peer);
        pass.failed.insert(*peer);
        pass.moved = now.time;
        self.advance_pass(now);
    }

    /// Sends what may be sent; when the page is dealt with, drops, and goes on to the next.
    pub(super) fn advance_pass(&mut self, now: Now) {
        loop {
            let Some(pass) = self.handover.pass.as_mut() else {
                return;
            };
            let unconfirmed = pass
                .pushes
                .values()
                .map(|(_, at)| pass.page[*at].item.bytes());
            if pass.pushes.len() >= limit::HANDOVER_WINDOW
                || unconfirmed.sum::<usize>() >= limit::HANDOVER_WINDOW_BYTES
            {
                return;
            }
            let Some((peer, position)) = pass.queue.pop_front() else {
                break;
            };
            if pass.failed.contains(&peer) {
                continue;
            }
            let bytes = pass.page[position].item.bytes();
            if let Err(at) = self.pace.take(now.time, bytes) {
                // Clients come first: the rest follows at its share.
                pass.queue.push_front((peer, position));
                pass.moved = now.time;
                self.rearm(at, Timer::Pace);
                return;
            }
            let operation = self.out.draw() << 8;
            pass.pushes.insert(operation, (peer, position));
            let item = pass.page[position].item.clone();
            let view = pass.view.agreement([&item.key.point()]);
            let taken = self.is_taken(&item.record.version);
            let write = ReplicaWrite {
                operation,
                view,
                hint: false,
                taken,
                item,
            };
            self.send(now, &peer, &Message::ReplicaWrite(write));
        }
        let digest = self.roster_digest();
        let Some(pass) = self.handover.pass.as_ref() else {
            return;
        };
        let asked = self
            .loads
            .values()
            .any(|purpose| matches!(purpose, LoadPurpose::HandoverPage));
        if pass.offers.is_empty() && pass.pushes.is_empty() && !pass.dropping && !asked {
            match pass.view.digest() == digest {
                true => self.end_page(now),
                false => {
                    self.abandon_pass();
                    self.handover.wanted = true;
                    self.rearm(now.time + GATHER_TIME, Timer::Handover);
                }
            }
        }
    }

    fn end_page(&mut self, now: Now) {
        let standing = self
            .roster
            .as_ref()
            .and_then(|r| r.entry(&self.me))
            .map(|e| e.standing);
        let may_lack = self.may_lack();
        let Some(pass) = self.handover.pass.as_mut() else {
            return;
        };
        let may_drop = pass.view.is_settled() && standing == Some(Standing::Member);
        let page = std::mem::take(&mut pass.page);
        let newest_ms = self.clock.high_water().wall_ms();
        let is_old = |offered: &Offered| {
            let age_ms = newest_ms.saturating_sub(offered.item.record.version.stamp.wall_ms());
            age_ms >= limit::HINT_AGE_MAX.as_millis() as u64
        };
        let displaced = page.iter().filter(|offered| offered.displaced);
        let (confirmed, left): (Vec<&Offered>, Vec<&Offered>) = displaced.partition(|offered| {
            let old = may_drop && is_old(offered);
            offered.unconfirmed.len() <= may_lack || offered.may_drop(old)
        });
        pass.displaced_left += left.len() as u64;
        if standing == Some(Standing::Leaving) {
            self.handover.transferred += confirmed.len() as u64;
        }
        let changes: Vec<Change> = confirmed
            .iter()
            .filter(|_| may_drop)
            .map(|offered| Change::Drop {
                key: offered.item.key.clone(),
                version: offered.item.record.version,
            })
            .collect();
        if changes.is_empty() {
            self.next_page(now);
        } else {
            pass.dropping = true;
            let count = changes.len();
            let store = self.out.store(Batch {
                changes,
                high_water: None,
            });
            self.stores.insert(store, StorePurpose::Dropped(count));
            self.next_page(now);
        }
    }

    pub(super) fn dropped(&mut self, now: Now, stored: bool, count: usize) {
        if stored {
            self.watch.count_many("items_dropped", count as u64);
        } else {
            // Whether they are gone is not known: another pass looks.
            self.handover.wanted = true;
            self.handover.survey = true;
            if self.handover.pass.is_none() && !self.is_armed(Timer::Handover) {
                self.rearm(now.time + STALL_TIME, Timer::Handover);
            }
        }
        if let Some(pass) = self.handover.pass.as_mut() {
            pass.dropping = false;
        }
    }

    fn next_page(&mut self, now: Now) {
        let Some(pass) = self.handover.pass.as_mut() else {
            return;
        };
        pass.dropping = false;
        if pass.more {
            let after = pass.after.clone();
            self.load_handover_page(after);
        } else {
            self.end_pass(now);
        }
    }

    /// How long after a pass the next is made.
    fn wait_for_next(&mut self, other_view: bool, undone: bool) -> Duration {
        if other_view {
            OTHER_VIEW_TIME
        } else if self.membership.is_leaving() {
            RETRY_TIME
        } else if undone {
            // A board that is there and refuses (its medium is full, say) is asked ever less.
            self.handover.futile = (self.handover.futile + 1).min(FUTILE_MAX);
            RETRY_TIME * (1 << (self.handover.futile - 1))
        } else {
            GATHER_TIME
        }
    }

    fn end_pass(&mut self, now: Now) {
        let Some(pass) = self.handover.pass.take() else {
            return;
        };
        if pass.survey {
            self.handover.displaced_left = pass.displaced_left;
            self.handover.under_replicated = pass.under_replicated;
        }
        for target in pass.targets.keys() {
            if pass.failed.contains(target) {
                self.handover.lagging.insert(*target);
            } else if pass.whole.contains(target)
                && let Some(operation) = self.handover.askers.remove(target)
            {
                let done = RangePage::Done { operation };
                self.send(now, target, &Message::RangePage(done));
            }
        }
        let roster = self.roster.as_ref();
        let stays = |id: &Id| roster.is_some_and(|roster| roster.has(id));
        self.handover.askers.retain(|id, _| stays(id));
        let undone = pass.failed.iter().any(|id| self.is_present(id))
            || self.handover.askers.keys().any(|id| self.is_present(id));
        let confirmed = pass.whole.difference(&pass.failed).copied().collect();
        self.pass_confirmed(&confirmed);
        if self.has_offered(now, pass.survey && pass.displaced_left == 0) {
            return;
        }
        let leaving = self.membership.is_leaving();
        let standing = self
            .roster
            .as_ref()
            .and_then(|r| r.entry(&self.me))
            .map(|e| e.standing);
        if leaving && standing == Some(Standing::Leaving) {
            if !self.has_takers() {
                // Whoever was to take over is leaving as well, or is gone.
                self.leave_is_hopeless(now);
                return;
            }
            if pass.displaced_left == 0 && !self.handover.wanted {
                self.handed_over(now);
                return;
            }
            if !undone && !self.handover.wanted {
                // Only absent boards have not confirmed, and nobody knows when they will be back.
                self.leave_is_hopeless(now);
                return;
            }
        }
        let waits = leaving || self.membership.is_returning();
        let again = self.handover.wanted || undone || (waits && pass.displaced_left > 0);
        if again {
            self.handover.wanted = true;
            self.handover.survey |= pass.survey;
            let wait = self.wait_for_next(pass.other_view, undone || waits);
            self.rearm(now.time + wait, Timer::Handover);
        } else {
            self.handover.futile = 0;
            self.timers.retain(|(_, timer)| *timer != Timer::Handover);
            if self.handover.displaced_left + self.handover.hints_kept > 0 {
                self.rearm(now.time + HINT_REVIEW_TIME, Timer::HintReview);
            }
        }
    }
}
