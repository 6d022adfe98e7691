//! One pass over what is held here: page by page, each item sorted, offered, and dropped when it is
//! somebody else's and safe there.

use super::*;

impl Board {
    pub(super) fn begin_pass(&mut self, now: Now, view: Arc<View>) {
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
    pub(super) fn pass_cells(&self) -> Option<CellSet> {
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
    pub(in crate::proto::board) fn abandon_pass(&mut self) {
        if let Some(pass) = self.handover.pass.take() {
            self.handover.lagging.extend(pass.targets.into_keys());
            self.handover.survey |= pass.survey;
        }
    }

    pub(super) fn load_handover_page(&mut self, after: Option<Key>) {
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

    pub(in crate::proto::board) fn handover_page(
        &mut self,
        now: Now,
        result: Result<Loaded, StoreError>,
    ) {
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

    pub(super) fn discard_page(&mut self, items: Vec<Item>, next: Option<Key>) {
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
    pub(super) fn sort_item(&self, pass: &mut Pass, item: Item) -> Offered {
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

    pub(super) fn end_page(&mut self, now: Now) {
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

    pub(in crate::proto::board) fn dropped(&mut self, now: Now, stored: bool, count: usize) {
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

    pub(super) fn next_page(&mut self, now: Now) {
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
    pub(super) fn wait_for_next(&mut self, other_view: bool, undone: bool) -> Duration {
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

    pub(super) fn end_pass(&mut self, now: Now) {
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
