//! Handing over: every item ends up on its copies and nowhere else.
//!
//! One pass walks the board's own items in key order, a page at a time. An item that does not
//! belong here (a hint for an absent board, a range that moved, everything when leaving) is
//! offered to all of its copies; an item that does is offered to those copies that asked or are
//! known to lag. An offer is a list of keys and versions; the other names what it lacks; only
//! that is sent. What does not belong here is dropped once **every** copy has confirmed it.
//!
//! Start: a change of the roster, a board that is back, an ask, a hint kept. Steady state: no
//! pass, no timer, no disk. Distress: a copy does not answer, its items stay, and the pass is made
//! again when it is back. End: the asker is told that this was all ([`RangePage::Done`]), or the
//! leave is complete.
//!
//! [`RangePage::Done`]: crate::wire::peer::RangePage::Done

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::{Board, LoadPurpose, Phase, StorePurpose, Timer};
use crate::base::id::Id;
use crate::base::item::{Item, Key};
use crate::base::limit;
use crate::base::member::Standing;
use crate::base::store::{Batch, Change, Load, Loaded, StoreError};
use crate::base::time::{Now, Time};
use crate::proto::placement::View;
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
/// Items of one page: their offers fit a frame.
const PAGE_ITEMS: usize = 512;
/// After the last store of a leave, whoever has not heard of it is not waited for longer.
pub(super) const LEAVE_CONFIRM_TIME: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Offered {
    item: Item,
    displaced: bool,
    unconfirmed: BTreeSet<Id>,
}

#[derive(Debug)]
struct Pass {
    view: Arc<View>,
    after: Option<Key>,
    more: bool,
    targets: BTreeSet<Id>,
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
    lagging: BTreeSet<Id>,
    displaced_left: u64,
    under_replicated: u64,
    transferred: u64,
    takers: BTreeSet<Id>,
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

    pub(super) fn note_lagging(&mut self, copy: Id) {
        self.lagging.insert(copy);
        self.wanted = true;
    }

    /// Items that wait for their copies, and items one of whose copies is not known to hold them.
    pub(super) fn pending(&self) -> (u64, u64) {
        (self.displaced_left, self.under_replicated)
    }

    /// A pass is under way or asked for, so that the figures are about to change.
    pub(super) fn is_busy(&self) -> bool {
        self.wanted || self.pass.is_some()
    }

    pub(super) fn is_discarding(&self) -> bool {
        self.discarding
    }
}

impl Board {
    /// A board that went down may have left writes on some copies only: every copy is compared.
    pub(super) fn suspect_copies(&mut self) {
        let others = self.present_others();
        self.handover.lagging.extend(others);
    }

    /// Asks for a pass soon.
    pub(super) fn want_handover(&mut self, now: Now) {
        self.handover.wanted = true;
        if self.handover.pass.is_none() && !self.is_armed(Timer::Handover) {
            self.arm(now.time + GATHER_TIME, Timer::Handover);
        }
    }

    /// Asks for a pass as soon as may be: something changed that ends any waiting.
    pub(super) fn hurry_handover(&mut self, now: Now) {
        self.handover.wanted = true;
        self.handover.futile = 0;
        let soon = now.time + GATHER_TIME;
        // Changes that keep coming must not put the pass off for ever.
        let is_soon = |(at, timer): &(Time, Timer)| *timer == Timer::Handover && *at <= soon;
        if self.handover.pass.is_none() && !self.timers.iter().any(is_soon) {
            self.rearm(soon, Timer::Handover);
        }
    }

    /// A copy missed a write that nobody keeps a hint of.
    pub(super) fn copy_lags(&mut self, now: Now, copy: Id) {
        self.handover.note_lagging(copy);
        self.want_handover(now);
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
        if !std::mem::take(&mut self.handover.wanted) {
            return;
        }
        let Some(view) = self.view() else { return };
        self.handover
            .lagging
            .retain(|id| view.new_boards().contains(id));
        let lagging = self.handover.lagging.iter();
        let targets = lagging.filter(|id| self.is_present(id)).copied().collect();
        self.handover.pass = Some(Pass {
            view,
            after: None,
            more: true,
            targets,
            failed: BTreeSet::new(),
            other_view: false,
            page: Vec::new(),
            offers: BTreeMap::new(),
            queue: VecDeque::new(),
            pushes: BTreeMap::new(),
            dropping: false,
            displaced_left: 0,
            under_replicated: 0,
            moved: now.time,
        });
        if let Some(pass) = &self.handover.pass {
            // Whoever lags again while the pass is under way lags for the next one.
            let targets = &pass.targets;
            self.handover.lagging.retain(|id| !targets.contains(id));
        }
        self.load_handover_page(None);
        self.rearm(now.time + STALL_TIME, Timer::Handover);
    }

    /// The pass comes to nothing; whom it was for still lags.
    pub(super) fn abandon_pass(&mut self) {
        if let Some(pass) = self.handover.pass.take() {
            self.handover.lagging.extend(pass.targets);
        }
    }

    fn load_handover_page(&mut self, after: Option<Key>) {
        let load = self.out.load(Load::Page {
            after,
            prefix: String::new(),
            items_max: PAGE_ITEMS,
            bytes_max: limit::PAGE_BYTES_MAX,
        });
        self.loads.insert(load, LoadPurpose::HandoverPage);
    }

    pub(super) fn handover_page(&mut self, now: Now, result: Result<Loaded, StoreError>) {
        let (items, more) = match result {
            Ok(Loaded::Page { items, more }) => (items, more),
            Ok(Loaded::Item(_)) | Err(_) => {
                self.abandon_pass();
                self.handover.discarding = false;
                self.handover.wanted = true;
                self.rearm(now.time + STALL_TIME, Timer::Handover);
                return;
            }
        };
        if self.handover.discarding {
            self.discard_page(items, more);
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
        pass.more = more;
        pass.after = items.last().map(|item| item.key.clone());
        pass.page = items
            .into_iter()
            .map(|item| self.sort_item(&mut pass, item))
            .collect();
        self.handover.pass = Some(pass);
        self.offer_page(now);
        self.advance_pass(now);
    }

    fn discard_page(&mut self, items: Vec<Item>, more: bool) {
        let changes: Vec<Change> = items
            .iter()
            .map(|item| Change::Drop {
                key: item.key.clone(),
                version: item.record.version,
            })
            .collect();
        let after = items.last().map(|item| item.key.clone());
        if !changes.is_empty() {
            let store = self.out.store(Batch {
                changes,
                high_water: None,
            });
            self.stores.insert(store, StorePurpose::Dropped(0));
        }
        match more {
            true => self.load_handover_page(after),
            false => self.handover.discarding = false,
        }
    }

    /// Decides to whom an item of this board is to be offered.
    fn sort_item(&self, pass: &mut Pass, item: Item) -> Offered {
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
        let mut unconfirmed: BTreeSet<Id> =
            copies.into_iter().filter(|id| *id != self.me).collect();
        if !reached {
            unconfirmed.clear();
        } else if !displaced {
            unconfirmed.retain(|id| pass.targets.contains(id));
        }
        Offered {
            item,
            displaced,
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
    fn advance_pass(&mut self, now: Now) {
        loop {
            let Some(pass) = self.handover.pass.as_mut() else {
                return;
            };
            if pass.pushes.len() >= limit::HANDOVER_WINDOW {
                return;
            }
            let Some((peer, position)) = pass.queue.pop_front() else {
                break;
            };
            if pass.failed.contains(&peer) {
                continue;
            }
            let operation = self.out.draw() << 8;
            pass.pushes.insert(operation, (peer, position));
            let item = pass.page[position].item.clone();
            let view = pass.view.agreement([&item.key.point()]);
            let write = ReplicaWrite {
                operation,
                view,
                hint: false,
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
        let Some(pass) = self.handover.pass.as_mut() else {
            return;
        };
        let may_drop = pass.view.is_settled() && standing == Some(Standing::Member);
        let page = std::mem::take(&mut pass.page);
        let displaced = page.iter().filter(|offered| offered.displaced);
        let (confirmed, left): (Vec<&Offered>, Vec<&Offered>) =
            displaced.partition(|offered| offered.unconfirmed.is_empty());
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

    pub(super) fn dropped(&mut self, stored: bool, count: usize) {
        if stored {
            self.watch.count_many("items_dropped", count as u64);
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

    fn end_pass(&mut self, now: Now) {
        let Some(pass) = self.handover.pass.take() else {
            return;
        };
        self.handover.displaced_left = pass.displaced_left;
        self.handover.under_replicated = pass.under_replicated;
        for target in &pass.targets {
            if pass.failed.contains(target) {
                self.handover.lagging.insert(*target);
            } else if let Some(operation) = self.handover.askers.remove(target) {
                let done = RangePage::Done { operation };
                self.send(now, target, &Message::RangePage(done));
            }
        }
        let roster = self.roster.as_ref();
        let stays = |id: &Id| roster.is_some_and(|roster| roster.has(id));
        self.handover.askers.retain(|id, _| stays(id));
        let undone = pass.failed.iter().any(|id| self.is_present(id))
            || self.handover.askers.keys().any(|id| self.is_present(id));
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
        let again = self.handover.wanted || undone || (leaving && pass.displaced_left > 0);
        if again {
            self.handover.wanted = true;
            let wait = if pass.other_view {
                OTHER_VIEW_TIME
            } else if leaving {
                RETRY_TIME
            } else if undone {
                // A board that is there and refuses (its medium is full, say) is asked ever less.
                self.handover.futile = (self.handover.futile + 1).min(FUTILE_MAX);
                RETRY_TIME * (1 << (self.handover.futile - 1))
            } else {
                GATHER_TIME
            };
            self.rearm(now.time + wait, Timer::Handover);
        } else {
            self.handover.futile = 0;
            self.timers.retain(|(_, timer)| *timer != Timer::Handover);
        }
    }
}
