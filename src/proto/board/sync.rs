//! Comparing copies: anti-entropy by hash tree (`base/tree.rs`).
//!
//! Two boards compare what both should hold: first one root, then the blocks, then the cells of
//! those blocks that differ. What comes out is a set of cells; each side then offers what it holds
//! in them, and only that (`handover.rs`). Equal copies cost two small frames, whatever they hold.
//!
//! Start: a board that is back or lags is compared at once ([`Aim::Repair`]). Steady state: each
//! other board is compared in passing once in [`ROUND_TIME`]; writes on their way make cells differ
//! for a moment, so only what differs twice in a row is repaired. This touches no flash. Distress:
//! another roster, a silent board or an unreadable store ends a comparison without a finding; it
//! is made again.
//!
//! While boards join or leave nothing is compared: the hand-over offers everything then. So it is
//! in mode `partial` at all times: two neighbours' rosters differ at the far ends, and with them
//! what each would take for shared.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Board, LoadPurpose, Phase, Timer};
use crate::base::cell::{Cell, CellSet};
use crate::base::id::Id;
use crate::base::limit;
use crate::base::store::{Load, Loaded, StoreError};
use crate::base::time::{Now, Time};
use crate::base::tree::{NodeDigest, Tree};
use crate::proto::placement::View;
use crate::wire::peer::{BlockCells, Message, SyncRequest, SyncResponse};

/// Every other board is compared in passing within this, in rings up to a few dozen boards.
const ROUND_TIME: Duration = Duration::from_secs(50);
/// Between two comparisons in passing lies at least this.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// And at most this, so that tombstones are looked after.
const INTERVAL_MAX: Duration = Duration::from_secs(10);
/// What differed in passing is looked at again after this.
const RECHECK_TIME: Duration = Duration::from_secs(1);
/// One step of a comparison is answered within this.
const STEP_TIME: Duration = Duration::from_secs(2);

/// Why two boards are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// The other lags or asked: whatever differs is repaired.
    Repair,
    /// To be sure.
    Passing,
}

/// Why a comparison ended without a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoFinding {
    /// The rosters differ, or boards are joining or leaving.
    OtherView,
    /// No answer, or a store that cannot be read.
    Failed,
}

#[derive(Debug)]
struct Comparison {
    peer: Id,
    aim: Aim,
    view: Arc<View>,
    /// What both should hold.
    shared: Arc<CellSet>,
    tree: Tree,
    /// Blocks whose cells have not been compared yet.
    left: Vec<u8>,
    differing: CellSet,
    moved: Time,
}

/// Comparisons of a board.
#[derive(Debug, Default)]
pub(super) struct Sync {
    running: BTreeMap<u64, Comparison>,
    /// What differed in passing, to be looked at again.
    suspected: Option<(Id, CellSet)>,
    /// What this board shares with others by the roster of this digest, as far as it was asked.
    shared: (u64, BTreeMap<Id, Arc<CellSet>>),
    /// Who was compared in passing last, and when: the next in id order follows.
    last: Option<(Id, Time)>,
}

impl Sync {
    pub(super) fn check_invariants(&self) {
        assert!(
            self.running.len() <= limit::ROSTER_MAX,
            "one comparison a board at most"
        );
    }
}

impl Board {
    /// Begins to compare with a board; ends in `compared_with` or `compared_in_passing`.
    pub(super) fn compare_with(&mut self, now: Now, peer: Id, aim: Aim) {
        let Some(view) = self.view() else { return };
        let operation = self.out.draw();
        let shared = self.shared_with(&view, &peer);
        let comparison = Comparison {
            peer,
            aim,
            view,
            shared,
            tree: Tree::default(),
            left: Vec::new(),
            differing: CellSet::empty(),
            moved: now.time,
        };
        self.sync.running.insert(operation, comparison);
        self.watch.count("syncs");
        let load = self.out.load(Load::Tree);
        self.loads.insert(load, LoadPurpose::SyncBegin(operation));
        self.arm(now.time + STEP_TIME, Timer::Comparison(operation));
    }

    /// The cells that both boards hold copies of.
    fn shared_with(&mut self, view: &View, peer: &Id) -> Arc<CellSet> {
        let (digest, known) = &mut self.sync.shared;
        if *digest != view.digest() || known.len() >= limit::SHARED_CELLS_KEPT_MAX {
            *digest = view.digest();
            known.clear();
        }
        let me = self.me;
        let shared = known
            .entry(*peer)
            .or_insert_with(|| Arc::new(view.shared_cells(&me, peer)));
        shared.clone()
    }

    /// The tree is here: the root goes out.
    pub(super) fn sync_begins(
        &mut self,
        now: Now,
        operation: u64,
        result: Result<Loaded, StoreError>,
    ) {
        let Some(comparison) = self.sync.running.get_mut(&operation) else {
            return;
        };
        let Ok(Loaded::Tree { tree, .. }) = result else {
            self.end_comparison(now, operation, Err(NoFinding::Failed));
            return;
        };
        comparison.tree = tree;
        let blocks = comparison.tree.blocks(&comparison.shared);
        let body = SyncRequest::Root {
            view: comparison.view.digest(),
            root: Tree::root(&blocks),
        };
        let peer = comparison.peer;
        self.send(now, &peer, &Message::SyncRequest { operation, body });
    }

    /// Another board compares itself with this one: its answer needs the tree.
    pub(super) fn sync_asked(&mut self, from: Id, operation: u64, body: SyncRequest) {
        let load = self.out.load(Load::Tree);
        let purpose = LoadPurpose::SyncAnswer {
            from,
            operation,
            body: Box::new(body),
        };
        self.loads.insert(load, purpose);
    }

    pub(super) fn answer_sync(
        &mut self,
        now: Now,
        from: Id,
        operation: u64,
        body: &SyncRequest,
        result: Result<Loaded, StoreError>,
    ) {
        let (SyncRequest::Root { view: theirs, .. } | SyncRequest::Cells { view: theirs, .. }) =
            body;
        let view = self.view().filter(|view| {
            self.phase == Phase::Joined && view.is_comparable() && view.digest() == *theirs
        });
        let body = match (view, result) {
            (None, _) => SyncResponse::OtherView,
            (Some(view), Ok(Loaded::Tree { tree, .. })) => {
                let shared = self.shared_with(&view, &from);
                match body {
                    SyncRequest::Root { root, .. } => compare_roots(&tree, &shared, root),
                    SyncRequest::Cells { repair, blocks, .. } => {
                        let differing = compare_cells(&tree, &shared, blocks);
                        if *repair && !differing.is_empty() {
                            self.repair_cells(now, from, &differing.iter().copied().collect());
                        }
                        SyncResponse::Differ(differing)
                    }
                }
            }
            (Some(_), Ok(_)) => SyncResponse::Failed("the store did not answer a tree".into()),
            (Some(_), Err(error)) => SyncResponse::Failed(error.to_string()),
        };
        self.send(now, &from, &Message::SyncResponse { operation, body });
    }

    pub(super) fn sync_answered(&mut self, now: Now, from: Id, operation: u64, body: SyncResponse) {
        let Some(comparison) = self.sync.running.get_mut(&operation) else {
            return;
        };
        if comparison.peer != from {
            return;
        }
        comparison.moved = now.time;
        match body {
            SyncResponse::Same => {
                self.watch.count("syncs_equal");
                self.end_comparison(now, operation, Ok(CellSet::empty()));
            }
            SyncResponse::Blocks(theirs) => {
                let mine = comparison.tree.blocks(&comparison.shared);
                comparison.left = differing_blocks(&mine, &theirs);
                self.compare_more(now, operation);
            }
            SyncResponse::Differ(cells) => {
                comparison.differing.extend(&cells.into_iter().collect());
                self.compare_more(now, operation);
            }
            SyncResponse::OtherView => {
                self.exchange(now, &from);
                self.end_comparison(now, operation, Err(NoFinding::OtherView));
            }
            SyncResponse::Failed(reason) => {
                tracing::debug!(peer = %from.short(), reason, "not compared");
                self.end_comparison(now, operation, Err(NoFinding::Failed));
            }
        }
    }

    /// Sends the cells of the next blocks, or ends.
    fn compare_more(&mut self, now: Now, operation: u64) {
        let suspected = self.sync.suspected.as_ref().map(|(peer, _)| *peer);
        let Some(comparison) = self.sync.running.get_mut(&operation) else {
            return;
        };
        let rest = comparison.left.len().saturating_sub(limit::SYNC_BLOCKS_MAX);
        let blocks = comparison.left.split_off(rest);
        if blocks.is_empty() {
            let differing = std::mem::replace(&mut comparison.differing, CellSet::empty());
            self.end_comparison(now, operation, Ok(differing));
            return;
        }
        let low = |(cell, sum): (Cell, u128)| (cell.0 as u8, short(&sum.to_be_bytes()));
        let cells = |block: u8| comparison.tree.cells_of(block, &comparison.shared);
        let peer = comparison.peer;
        let body = SyncRequest::Cells {
            view: comparison.view.digest(),
            repair: comparison.aim == Aim::Repair || suspected == Some(peer),
            blocks: blocks
                .into_iter()
                .map(|block| (block, cells(block).into_iter().map(low).collect()))
                .collect(),
        };
        self.send(now, &peer, &Message::SyncRequest { operation, body });
    }

    fn end_comparison(&mut self, now: Now, operation: u64, finding: Result<CellSet, NoFinding>) {
        let Some(comparison) = self.sync.running.remove(&operation) else {
            return;
        };
        if let Ok(cells) = &finding {
            self.watch.count_many("cells_differing", cells.len() as u64);
        }
        match comparison.aim {
            Aim::Repair => self.compared_with(now, comparison.peer, finding),
            Aim::Passing => self.compared_in_passing(now, comparison.peer, finding),
        }
    }

    fn compared_in_passing(&mut self, now: Now, peer: Id, finding: Result<CellSet, NoFinding>) {
        let before = self.sync.suspected.take();
        let Ok(cells) = finding else { return };
        if cells.is_empty() {
            return;
        }
        match before.filter(|(suspect, _)| *suspect == peer) {
            Some((_, before)) => {
                let twice: CellSet = cells.iter().filter(|c| before.contains(*c)).collect();
                if !twice.is_empty() {
                    self.repair_cells(now, peer, &twice);
                }
            }
            None => {
                self.sync.suspected = Some((peer, cells));
                self.rearm(now.time + RECHECK_TIME, Timer::AntiEntropy);
            }
        }
    }

    /// A step was not answered in time.
    pub(super) fn comparison_late(&mut self, now: Now, operation: u64) {
        let Some(comparison) = self.sync.running.get(&operation) else {
            return;
        };
        let due = comparison.moved + STEP_TIME;
        if due <= now.time {
            self.end_comparison(now, operation, Err(NoFinding::Failed));
        } else {
            self.arm(due, Timer::Comparison(operation));
        }
    }

    /// The board cannot be reached: nothing is found out about it.
    pub(super) fn fail_comparisons(&mut self, now: Now, peer: &Id) {
        let running = self.sync.running.iter();
        let with_it = running.filter(|(_, comparison)| comparison.peer == *peer);
        for operation in with_it.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.end_comparison(now, operation, Err(NoFinding::Failed));
        }
    }

    /// Compares with the next board in passing, when that is due.
    pub(super) fn sync_round(&mut self, now: Now) {
        let others = self.present_holders();
        let share = ROUND_TIME / others.len().max(1) as u32;
        let interval = share.clamp(INTERVAL_MIN, INTERVAL_MAX);
        let wait_ms = interval.as_millis() as u64;
        let wait = self.jitter_ms(wait_ms * 9 / 10, wait_ms);
        self.rearm(now.time + wait, Timer::AntiEntropy);
        let comparable = self.view().is_some_and(|view| view.is_comparable());
        if self.phase != Phase::Joined || !comparable || self.is_diskless() {
            self.sync.suspected = None;
            return;
        }
        self.collect_round(now);
        let again = self.sync.suspected.as_ref().map(|(peer, _)| *peer);
        if let Some(peer) = again.filter(|peer| others.contains(peer)) {
            self.compare_with(now, peer, Aim::Passing);
            return;
        }
        self.sync.suspected = None;
        let last = self.sync.last;
        if last.is_some_and(|(_, at)| now.time.since(at) < share * 9 / 10) {
            return;
        }
        let after = others
            .iter()
            .find(|id| last.is_none_or(|(last, _)| **id > last));
        if let Some(peer) = after.or(others.first()).copied() {
            self.sync.last = Some((peer, now.time));
            self.compare_with(now, peer, Aim::Passing);
        }
    }
}

/// What travels of a digest below the root: should two differ in what does not, the roots go on
/// differing, and a later write finds it out.
type Short = [u8; 8];

fn short(digest: &[u8]) -> Short {
    *digest.first_chunk().expect("a digest has eight bytes")
}

fn short_blocks(blocks: &[(u8, NodeDigest)]) -> Vec<(u8, Short)> {
    let shorten = |(block, digest): &(u8, NodeDigest)| (*block, short(digest));
    blocks.iter().map(shorten).collect()
}

fn compare_roots(tree: &Tree, shared: &CellSet, root: &NodeDigest) -> SyncResponse {
    let blocks = tree.blocks(shared);
    match Tree::root(&blocks) == *root {
        true => SyncResponse::Same,
        false => SyncResponse::Blocks(short_blocks(&blocks)),
    }
}

/// Cells of these blocks that are not the same here.
fn compare_cells(tree: &Tree, shared: &CellSet, theirs: &[BlockCells]) -> Vec<Cell> {
    let mut differing = Vec::new();
    for (block, cells) in theirs.iter().take(limit::SYNC_BLOCKS_MAX) {
        let cell = |low: u8| Cell(u16::from(*block) << 8 | u16::from(low));
        let theirs: BTreeMap<Cell, Short> =
            cells.iter().map(|(low, sum)| (cell(*low), *sum)).collect();
        let numbers = (0..=u8::MAX).map(cell);
        differing.extend(numbers.filter(|cell| {
            let theirs = theirs.get(cell).copied().unwrap_or_default();
            shared.contains(*cell) && theirs != short(&tree.cell(*cell).to_be_bytes())
        }));
    }
    differing
}

/// Blocks that one side lacks or has another digest of.
fn differing_blocks(mine: &[(u8, NodeDigest)], theirs: &[(u8, Short)]) -> Vec<u8> {
    let mine: BTreeMap<u8, Short> = short_blocks(mine).into_iter().collect();
    let theirs: BTreeMap<u8, Short> = theirs.iter().copied().collect();
    let all = 0..=u8::MAX;
    all.filter(|block| mine.get(block) != theirs.get(block))
        .collect()
}
