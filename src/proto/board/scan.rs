//! Listing the own bucket, scanning the whole ring, and relaying requests between services.
//!
//! A scan asks every live board for its next page in key order and merges them: of several
//! versions of a key the newest counts, tombstones hide what they removed, and the page ends where
//! the shortest complete answer ends, so that no key is passed over. A board that is absent makes
//! the page `degraded`; with N copies of each item that loses nothing while fewer than N are.

use std::collections::{BTreeMap, BTreeSet};

use super::gossip::CallPurpose;
use super::{Board, LoadPurpose};
use crate::base::call::{CallError, CallId, PageRequest, Reply};
use crate::base::id::Id;
use crate::base::item::{Item, Key};
use crate::base::limit;
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

/// Scans and relays under way.
#[derive(Debug, Default)]
pub(super) struct Scans {
    running: BTreeMap<u64, Scan>,
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
        let others = self.present_others();
        let scan = Scan {
            call,
            limit: page.limit.clamp(1, limit::PAGE_ITEMS_MAX),
            waiting: others.iter().copied().chain([self.me]).collect(),
            newest: BTreeMap::new(),
            horizon: None,
            degraded: !self.absent_members().is_empty(),
        };
        self.scans.running.insert(id, scan);
        let load = self.out.load(page_of(&page));
        self.loads.insert(load, LoadPurpose::ScanLocal(id));
        for other in others {
            let body = RingCall::List {
                prefix: page.prefix.clone(),
                after: page.after.clone(),
                limit: page.limit.clamp(1, limit::PAGE_ITEMS_MAX) as u32,
            };
            self.ring_call(now, &other, body, CallPurpose::List { scan: id });
        }
        Ok(None)
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
        if !self.roster.as_ref().is_some_and(|roster| roster.has(&dest)) {
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
        if !self.is_present(&dest) {
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
