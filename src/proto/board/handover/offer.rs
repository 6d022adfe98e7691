//! Offering the items of a page: versions are compared first, what a board lacks is sent at a pace
//! that leaves clients theirs, and what it took is noted.

use super::*;

impl Board {
    pub(super) fn offer_page(&mut self, now: Now) {
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
    pub(in crate::proto::board) fn compared_there(
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
    pub(in crate::proto::board) fn handover_written(
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
    pub(in crate::proto::board) fn handover_failed(&mut self, now: Now, peer: &Id) {
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
    pub(in crate::proto::board) fn advance_pass(&mut self, now: Now) {
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
}
