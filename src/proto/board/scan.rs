//! Listing the own bucket, scanning the whole ring, and relaying requests between services.
//!
//! A scan asks every live board that keeps copies for its next page in key order and merges them:
//! of several versions of a key the newest counts, tombstones hide what they removed, and the page
//! ends where the shortest complete answer ends, so that no key is passed over. A board that is
//! absent makes the page `degraded`; with N copies of each item that loses nothing while fewer
//! than N are.
//!
//! In mode `partial` the boards are found first, by walking the ring from the last successor known
//! to its successors, until the walk is round; a ring of more boards than mode `full` allows is
//! too large to be scanned.

use std::collections::{BTreeMap, BTreeSet};

use super::gossip::CallPurpose;
use super::{Board, LoadPurpose};
use crate::base::call::{CallError, CallId, PageRequest, Reply};
use crate::base::id::Id;
use crate::base::item::{Item, Key};
use crate::base::limit;
use crate::base::pointer;
use crate::base::store::{Load, Loaded, StoreError, Which};
use crate::base::time::Now;
use crate::wire::peer::{RingCall, RingReply};

#[derive(Debug)]
struct Scan {
    call: CallId,
    limit: usize,
    waiting: BTreeSet<Id>,
    newest: BTreeMap<Key, Item>,
    /// Up to here every answer is complete; none: to the end.
    horizon: Option<Key>,
    degraded: bool,
}

/// A walk round the ring before a scan.
#[derive(Debug)]
struct Walk {
    call: CallId,
    page: PageRequest,
    /// In ring order from this board.
    boards: Vec<Id>,
    degraded: bool,
}

/// Scans and relays under way.
#[derive(Debug, Default)]
pub(super) struct Scans {
    running: BTreeMap<u64, Scan>,
    walks: BTreeMap<u64, Walk>,
    relays: BTreeMap<u64, (Id, u64)>,
    next_relay: u64,
}

impl Scans {
    pub(super) fn relayed(&mut self, from: Id, call: u64) -> u64 {
        self.next_relay += 1;
        if self.relays.len() >= limit::OPERATIONS_MAX {
            self.relays.pop_first();
        }
        self.relays.insert(self.next_relay, (from, call));
        self.next_relay
    }
}

fn page_of(request: &PageRequest) -> Load {
    Load::Page {
        after: request.after.clone(),
        prefix: request.prefix.clone(),
        which: Which::All,
        items_max: request.limit.clamp(1, limit::PAGE_ITEMS_MAX),
        bytes_max: limit::PAGE_BYTES_MAX,
    }
}

impl Board {
    pub(super) fn list(
        &mut self,
        call: CallId,
        page: PageRequest,
    ) -> Result<Option<Reply>, CallError> {
        self.check_store()?;
        let load = self.out.load(page_of(&page));
        self.loads.insert(load, LoadPurpose::List(call));
        Ok(None)
    }

    pub(super) fn listed(&mut self, call: CallId, result: Result<Loaded, StoreError>) {
        let result = match result {
            Ok(Loaded::Page { items, next }) => {
                let items = items
                    .into_iter()
                    .filter(|item| item.record.value.is_some())
                    .collect();
                Ok(Reply::Page {
                    items,
                    next,
                    degraded: false,
                })
            }
            Ok(Loaded::Item(_) | Loaded::Tree { .. }) => {
                Err(CallError::Internal("a page was asked for".into()))
            }
            Err(error) => Err(CallError::unavailable(error.to_string())),
        };
        self.out.answer(call, result);
    }

    pub(super) fn scan(
        &mut self,
        now: Now,
        call: CallId,
        page: PageRequest,
    ) -> Result<Option<Reply>, CallError> {
        self.check_ring()?;
        let id = self.out.draw();
        let degraded = !self.absent_holders().is_empty();
        if self.is_partial() {
            let (_, boards) = self.own_pointers();
            let walk = Walk {
                call,
                page,
                boards,
                degraded,
            };
            self.scans.walks.insert(id, walk);
            self.walk_on(now, id);
        } else {
            let others = self.present_holders();
            self.scan_of(now, id, call, &page, others, degraded);
        }
        Ok(None)
    }

    /// Asks the last board the walk has come to for its successors.
    fn walk_on(&mut self, now: Now, id: u64) {
        let Some(walk) = self.scans.walks.get(&id) else {
            return;
        };
        let too_many = walk.boards.len() > limit::ROSTER_MAX;
        match walk.boards.last().copied() {
            Some(last) if last != self.me && !too_many => {
                let purpose = CallPurpose::Walk { scan: id };
                self.ask_pointers(now, &last, pointer::Request::State, purpose);
            }
            Some(last) if last == self.me => self.end_walk(now, id),
            _ => {
                let reason = match too_many {
                    true => "the ring has too many boards to be scanned; list them one by one",
                    false => "no successor answers; try again in a second",
                };
                if let Some(walk) = self.scans.walks.remove(&id) {
                    self.out
                        .answer(walk.call, Err(CallError::unavailable(reason)));
                }
            }
        }
    }

    /// The walk heard from the board it had come to, or did not.
    pub(super) fn walked(&mut self, now: Now, from: Id, id: u64, reply: Option<RingReply>) {
        let reply = self.learn_told(reply);
        let me = self.me;
        let Some(walk) = self.scans.walks.get_mut(&id) else {
            return;
        };
        let Some(pointer::Reply::State { successors, .. }) = reply else {
            // It failed; the one before knows who follows it, if this board does not.
            walk.degraded = true;
            walk.boards.retain(|board| *board != from);
            return self.walk_on(now, id);
        };
        let before = walk.boards.len();
        let ahead = |board: &Id| board.is_in_open(&from, &me);
        walk.boards
            .extend(successors.iter().take_while(|board| ahead(board)));
        let round = successors.len() > walk.boards.len() - before;
        match round || walk.boards.len() == before {
            true => self.end_walk(now, id),
            false => self.walk_on(now, id),
        }
    }

    fn end_walk(&mut self, now: Now, id: u64) {
        if let Some(mut walk) = self.scans.walks.remove(&id) {
            walk.boards.retain(|board| *board != self.me);
            self.scan_of(now, id, walk.call, &walk.page, walk.boards, walk.degraded);
        }
    }

    /// Asks all of these boards, and this one, for their page.
    fn scan_of(
        &mut self,
        now: Now,
        id: u64,
        call: CallId,
        page: &PageRequest,
        others: Vec<Id>,
        degraded: bool,
    ) {
        let scan = Scan {
            call,
            limit: page.limit.clamp(1, limit::PAGE_ITEMS_MAX),
            waiting: others.iter().copied().chain([self.me]).collect(),
            newest: BTreeMap::new(),
            horizon: None,
            degraded,
        };
        self.scans.running.insert(id, scan);
        let load = self.out.load(page_of(page));
        self.loads.insert(load, LoadPurpose::ScanLocal(id));
        for other in others {
            let body = RingCall::List {
                prefix: page.prefix.clone(),
                after: page.after.clone(),
                limit: page.limit.clamp(1, limit::PAGE_ITEMS_MAX) as u32,
            };
            self.ring_call(now, &other, body, CallPurpose::List { scan: id });
        }
    }

    pub(super) fn scanned_here(
        &mut self,
        _now: Now,
        scan: u64,
        result: Result<Loaded, StoreError>,
    ) {
        let me = self.me;
        match result {
            Ok(Loaded::Page { items, next }) => {
                self.scanned(scan, me, Some((items, next.is_some())));
            }
            _ => self.scanned(scan, me, None),
        }
    }

    pub(super) fn scanned_there(
        &mut self,
        _now: Now,
        from: Id,
        scan: u64,
        reply: Option<RingReply>,
    ) {
        match reply {
            Some(RingReply::Items { items, more }) => self.scanned(scan, from, Some((items, more))),
            _ => self.scanned(scan, from, None),
        }
    }

    fn scanned(&mut self, id: u64, from: Id, page: Option<(Vec<Item>, bool)>) {
        let Some(scan) = self.scans.running.get_mut(&id) else {
            return;
        };
        if !scan.waiting.remove(&from) {
            return;
        }
        match page {
            Some((items, more)) => {
                let last = items.last().map(|item| item.key.clone()).filter(|_| more);
                if let Some(last) = last {
                    scan.horizon = Some(match scan.horizon.take() {
                        Some(horizon) => horizon.min(last),
                        None => last,
                    });
                }
                for item in items {
                    let held = scan.newest.get(&item.key);
                    if held.is_none_or(|held| held.record.version < item.record.version) {
                        scan.newest.insert(item.key.clone(), item);
                    }
                }
            }
            None => scan.degraded = true,
        }
        if scan.waiting.is_empty()
            && let Some(scan) = self.scans.running.remove(&id)
        {
            let reply = scan.page();
            self.out.answer(scan.call, Ok(reply));
        }
    }

    pub(super) fn load_list(
        &mut self,
        from: Id,
        call: u64,
        prefix: String,
        after: Option<Key>,
        limit: u32,
    ) {
        let page = PageRequest {
            prefix,
            after,
            limit: limit as usize,
        };
        let load = self.out.load(page_of(&page));
        self.loads
            .insert(load, LoadPurpose::PeerList { from, call });
    }

    pub(super) fn answer_list(
        &mut self,
        now: Now,
        from: Id,
        call: u64,
        result: Result<Loaded, StoreError>,
    ) {
        let body = match result {
            Ok(Loaded::Page { items, next }) => {
                let more = next.is_some();
                RingReply::Items { items, more }
            }
            Ok(Loaded::Item(_) | Loaded::Tree { .. }) => {
                RingReply::Refused("a page was asked for".into())
            }
            Err(error) => RingReply::Refused(error.to_string()),
        };
        self.send(
            now,
            &from,
            &crate::wire::peer::Message::RingReply { call, body },
        );
    }

    pub(super) fn relay(
        &mut self,
        now: Now,
        call: CallId,
        dest: Id,
        request: bytes::Bytes,
    ) -> Result<Option<Reply>, CallError> {
        self.check_ring()?;
        let beyond = self.is_partial() && self.routing.contact(&dest).is_some();
        if !self.is_neighbour(&dest) && !beyond {
            return Err(CallError::UnknownNode(dest));
        }
        let room = limit::MESSAGE_BYTES_MAX - 1_024;
        if request.len() > room {
            return Err(CallError::TooLarge {
                what: "the request",
                got: request.len(),
                max: room,
            });
        }
        if self.is_neighbour(&dest) && !self.is_present(&dest) {
            let name = self.name_of(&dest);
            return Err(CallError::unavailable(format!("board {name} is absent")));
        }
        self.ring_call(
            now,
            &dest,
            RingCall::Relay(request),
            CallPurpose::Relay(call),
        );
        Ok(None)
    }

    /// This board's service answered a request another board relayed.
    pub fn handle_relayed(&mut self, now: Now, token: u64, answer: Option<bytes::Bytes>) {
        if let Some((from, call)) = self.scans.relays.remove(&token) {
            let room = limit::MESSAGE_BYTES_MAX - 1_024;
            let answer = answer.filter(|bytes| bytes.len() <= room);
            self.send_relayed(now, &from, call, answer);
        }
        self.settle(now);
    }
}

impl Scan {
    fn page(&self) -> Reply {
        let within = |key: &Key| self.horizon.as_ref().is_none_or(|horizon| key <= horizon);
        let mut items = Vec::new();
        let mut bytes = 0;
        let mut last = None;
        let mut cut = false;
        for (key, item) in self.newest.iter().filter(|(key, _)| within(key)) {
            if let Some(value) = &item.record.value {
                let size = key.as_str().len() + value.bytes().len();
                cut = items.len() >= self.limit
                    || (!items.is_empty() && bytes + size > limit::PAGE_BYTES_MAX);
                if cut {
                    break;
                }
                bytes += size;
                items.push(item.clone());
            }
            last = Some(key.clone());
        }
        let next = if cut { last } else { self.horizon.clone() };
        Reply::Page {
            items,
            next,
            degraded: self.degraded,
        }
    }
}
