//! Joining: asking a member, being admitted, adopting its roster, and catching up until counted on.

use super::*;

impl Board {
    /// Asks a member to be admitted, unless another is being asked.
    pub(in crate::proto::board) fn ask_to_join(&mut self, now: Now, sponsor: &Id) {
        let busy = self
            .membership
            .joining
            .is_some_and(|(_, at)| now.time.since(at) < JOIN_PATIENCE);
        let settling = self.membership.founding
            || self.membership.is_leaving()
            || self.handover.is_discarding();
        if self.meets_ring_in_doubt()
            || busy
            || settling
            || !matches!(self.phase, Phase::Alone | Phase::Joined)
        {
            return;
        }
        self.membership.joining = Some((*sponsor, now.time));
        let mine = self
            .roster
            .as_ref()
            .and_then(|roster| roster.entry(&self.me));
        let generation = mine.map_or(0, |entry| entry.generation);
        let roster = self.roster.as_ref().filter(|_| self.phase == Phase::Joined);
        let body = RingCall::Join {
            generation,
            cluster: roster.map(|roster| roster.cluster().id),
            diskless: self.is_diskless(),
        };
        self.ring_call(now, sponsor, body, CallPurpose::Join);
    }

    /// A board asks to be admitted, whose last membership was of this generation; in the ring of
    /// that id, if it belongs to one.
    pub(in crate::proto::board) fn admit(
        &mut self,
        now: Now,
        from: Id,
        (generation, cluster): (u32, Option<ClusterId>),
        diskless: bool,
    ) -> RingReply {
        if diskless {
            self.note_diskless(now, &from);
        }
        let Some(roster) = self.roster.as_ref().filter(|_| self.phase == Phase::Joined) else {
            return RingReply::Refused("this board is in no ring itself; ask again".into());
        };
        if roster.members().count() >= limit::ROSTER_MAX && !roster.has(&from) {
            let reason = format!("the ring has {} boards, more do not fit", limit::ROSTER_MAX);
            return RingReply::Refused(reason);
        }
        if let Some(reason) = self.why_not_diskless(diskless) {
            return RingReply::Refused(reason);
        }
        if let Some(nearer) = self.nearer_to(&from) {
            return RingReply::Nearer(nearer);
        }
        let known = roster.entry(&from);
        let is_ours = known.is_some_and(|e| e.standing.belongs() && e.generation == generation);
        if is_ours && cluster == Some(roster.cluster().id) {
            // It asked while this board was in another ring, which the asker was about to join.
            return RingReply::Same;
        }
        let standing = match diskless {
            true => Standing::Diskless,
            false => Standing::Joining,
        };
        let same = |e: &Entry| e.standing.belongs() && e.standing.holds() != diskless;
        let again = known.is_some_and(|e| same(e) && e.generation > generation);
        if !again {
            let last = known.map_or(0, |entry| entry.generation);
            if known.is_none() && generation > 0 {
                self.note_strangers(now, &[from]);
            }
            let generation = last.max(generation) + 1;
            self.change_entry(
                now,
                Entry {
                    id: from,
                    generation,
                    standing,
                },
            );
        }
        let contact = self.links.contact(&from);
        if let (Some(roster), Some(contact)) = (self.roster.as_mut(), contact) {
            roster.note_contact(contact);
        }
        self.watch_member(now, &from);
        match &self.roster {
            Some(roster) => RingReply::Roster(roster.state()),
            None => RingReply::Refused("this board is in no ring itself; ask again".into()),
        }
    }

    pub(in crate::proto::board) fn join_answered(
        &mut self,
        now: Now,
        from: Id,
        reply: Option<RingReply>,
    ) {
        if self
            .membership
            .joining
            .is_none_or(|(sponsor, _)| sponsor != from)
        {
            return;
        }
        self.membership.joining = None;
        if !matches!(reply, Some(RingReply::Nearer(_))) {
            self.membership.join_hops = 0;
        }
        match reply {
            Some(RingReply::Roster(state)) => self.adopt(now, from, state),
            Some(RingReply::Nearer(contact)) => self.ask_nearer(now, contact),
            Some(RingReply::Refused(reason)) => {
                self.membership.refused = Some(reason.clone());
                if let Some(call) = self.membership.join_call.take() {
                    self.out.answer(call, Err(CallError::unavailable(reason)));
                }
            }
            _ => {}
        }
    }

    /// Sent on to a board nearer to this one's place.
    fn ask_nearer(&mut self, now: Now, contact: Contact) {
        self.membership.join_hops += 1;
        if contact.id != self.me && self.membership.join_hops <= limit::JOIN_HOPS_MAX {
            let sponsor = contact.id;
            self.routing.learn(contact);
            self.ask_to_join(now, &sponsor);
        } else {
            self.membership.join_hops = 0;
        }
    }

    /// Admitted: the sponsor's roster is this board's from here on.
    pub(super) fn adopt(&mut self, now: Now, sponsor: Id, state: RosterState) {
        let admitted = Roster::from_state(state).around(self.me);
        if !admitted.has(&self.me) || admitted.cluster().name != self.settings.cluster_name {
            return;
        }
        self.rise_above(admitted.contact(&self.me));
        let former = self.roster.take().filter(|_| self.phase == Phase::Joined);
        let cluster = admitted.cluster().id;
        let ended = former
            .as_ref()
            .map(|roster| roster.cluster().id)
            .filter(|id| *id != cluster);
        let changes = Changes {
            entries: admitted.state().entries,
            contacts: admitted.state().contacts,
        };
        self.roster = Some(admitted);
        self.view = None;
        self.phase = Phase::Joined;
        self.membership.establish(now);
        self.membership.join_address = None;
        self.membership.refused = None;
        self.join_ring_at(now, sponsor, ended.is_some());
        self.membership.answered.clear();
        self.membership.asked.clear();
        self.out.events.push_back(match ended {
            Some(ended) => Event::Merged {
                survivor: cluster,
                ended,
            },
            None => Event::Joined(cluster),
        });
        self.owner_joined();
        self.roster_changed(now, changes, false);
        self.contact_joined(now);
        if let (Some(_), Some(former)) = (ended, former) {
            let strangers = self.member_ids().into_iter().filter(|id| !former.has(id));
            let strangers: Vec<Id> = strangers.collect();
            self.note_strangers(now, &strangers);
            self.apart_from_ring(strangers);
            if self.is_diskless() {
                // A ring follows a board that holds its data.
                return self.answer_join_call();
            }
            // The others of the ring that ended follow.
            let others: Vec<Id> = former
                .members()
                .map(|e| e.id)
                .filter(|id| *id != self.me)
                .collect();
            for other in others {
                self.push_roster(now, &other, CallPurpose::Exchange);
            }
        }
        self.answer_join_call();
    }

    fn answer_join_call(&mut self) {
        if let Some(call) = self.membership.join_call.take() {
            let reply = self.joined_reply();
            self.out.answer(call, Ok(reply));
        }
    }

    pub(super) fn contact_joined(&mut self, now: Now) {
        let contact = self.my_contact();
        if let Some(roster) = self.roster.as_mut() {
            roster.note_contact(contact.clone());
            self.roster_changed(
                now,
                Changes {
                    entries: vec![],
                    contacts: vec![contact],
                },
                true,
            );
        }
        self.rearm(now.time, Timer::Ask);
    }

    /// What this board's own entry in the roster asks of it.
    pub(in crate::proto::board) fn own_standing(&mut self, now: Now) {
        let standing = self
            .roster
            .as_ref()
            .and_then(|r| r.entry(&self.me))
            .map(|e| e.standing);
        if standing.is_some_and(Standing::belongs) {
            self.is_back();
        }
        match standing {
            Some(Standing::Joining) => {
                // The roster changed, perhaps whom to ask as well.
                let soon = now.time + ASK_DELAY;
                let is_soon = |(at, timer): &(Time, Timer)| *timer == Timer::Ask && *at <= soon;
                if !self.timers.iter().any(is_soon) {
                    self.rearm(soon, Timer::Ask);
                }
            }
            Some(Standing::Forgotten | Standing::Left) | None
                if self.phase == Phase::Joined && self.membership.leaving == Leaving::No =>
            {
                self.come_back(now);
            }
            _ => {}
        }
    }

    /// Asks those who held this board's ranges so far for what it should have.
    pub(in crate::proto::board) fn ask_holders(&mut self, now: Now) {
        if self.phase != Phase::Joined || self.is_diskless() {
            return;
        }
        let Some(view) = self.view() else { return };
        let standing = self
            .roster
            .as_ref()
            .and_then(|r| r.entry(&self.me))
            .map(|e| e.standing);
        let joining = standing == Some(Standing::Joining);
        let mut open = false;
        for holder in view.old_boards().to_vec() {
            let heard = match joining {
                true => self.membership.answered.contains(&holder),
                false => !self.membership.unheard.contains(&holder),
            };
            if holder == self.me || heard || !self.is_present(&holder) {
                continue;
            }
            if self.membership.ask == 0 {
                self.membership.ask = self.out.draw();
            }
            open = true;
            let last = self.membership.asked.insert(holder, now.time);
            match last {
                // A holder that knows of this board refuses writers that do not.
                None => self.push_roster(now, &holder, CallPurpose::Exchange),
                Some(last) if now.time.since(last) < ASK_PERIOD => {
                    self.membership.asked.insert(holder, last);
                    continue;
                }
                Some(_) => {}
            }
            let ask = RangePage::Ask {
                operation: self.membership.ask,
            };
            self.send(now, &holder, &Message::RangePage(ask));
        }
        self.check_coverage(now);
        if open {
            self.rearm(now.time + ASK_PERIOD, Timer::Ask);
        }
    }

    /// A holder has confirmed everything this board should have of it.
    pub(in crate::proto::board) fn holder_done(&mut self, now: Now, from: Id, operation: u64) {
        if operation == self.membership.ask {
            self.membership.answered.insert(from);
            self.membership.unheard.remove(&from);
            self.heard_enough();
            self.end_apart();
            self.check_coverage(now);
        }
    }

    pub(in crate::proto::board) fn check_coverage(&mut self, now: Now) {
        let Some(view) = self.view() else { return };
        let mine = self
            .roster
            .as_ref()
            .and_then(|roster| roster.entry(&self.me))
            .cloned();
        let Some(mine) = mine.filter(|mine| mine.standing == Standing::Joining) else {
            return;
        };
        let mut heard = self.membership.answered.clone();
        heard.insert(self.me);
        if view.is_covered_for(&self.me, &heard) && self.is_in_ring() {
            self.change_entry(
                now,
                Entry {
                    standing: Standing::Member,
                    ..mine
                },
            );
        }
    }

    /// A link to an address that nobody was expected at could not be had.
    pub(in crate::proto::board) fn probe_failed(&mut self, now: Now, remote: SocketAddr) {
        if self.membership.clone_probe == Some(remote) {
            self.membership.clone_probe = None;
        }
        if self.membership.join_address == Some(remote) {
            self.join_failed("nothing answers there");
        }
        self.hint_failed(now, None);
    }

    /// A call to join comes to nothing.
    pub(super) fn join_failed(&mut self, why: &str) {
        let address = self.membership.join_address.take();
        if let (Some(address), Some(call)) = (address, self.membership.join_call.take()) {
            let cluster = &self.settings.cluster_name;
            let reason = format!(
                "no ring of cluster '{cluster}' can be joined at {address}: {why}; check the \
                 address and the cluster's name"
            );
            self.out.answer(call, Err(CallError::unavailable(reason)));
        }
    }

    /// The call to join.
    pub(in crate::proto::board) fn join(
        &mut self,
        now: Now,
        call: CallId,
        sponsor: SocketAddr,
    ) -> Result<Option<Reply>, CallError> {
        self.check_store()?;
        if self.phase == Phase::Departed {
            self.phase = Phase::Alone;
            if self.membership.leaving == Leaving::Done {
                self.discard_items();
            }
            self.membership.leaving = Leaving::No;
            self.membership.since = now.time;
            self.renew_detector(self.detector.me().renewal + 1);
            self.catch_up();
        }
        let known = self.roster.as_ref().filter(|_| self.phase == Phase::Joined);
        let member = known.and_then(|roster| {
            roster
                .state()
                .contacts
                .into_iter()
                .find(|c| c.endpoint == sponsor)
        });
        if sponsor == self.settings.endpoint || member.is_some_and(|c| self.is_present(&c.id)) {
            return Ok(Some(self.joined_reply()));
        }
        if self.membership.join_call.is_some() {
            return Err(CallError::unavailable(
                "another join is under way; try again",
            ));
        }
        self.membership.join_call = Some(call);
        self.membership.join_address = Some(sponsor);
        self.membership.join_until = now.time + JOIN_TIME_MAX;
        self.open_link(now, sponsor, None);
        self.rearm(now.time + CONSIDER_PERIOD, Timer::Consider);
        Ok(None)
    }

    pub(super) fn joined_reply(&mut self) -> Reply {
        let (mut predecessor, mut successors) = self.own_pointers();
        if !self.is_in_ring() {
            // The pointers follow within a moment; the roster names the same boards.
            let near = self.pointers();
            predecessor = near.predecessor();
            successors = near.successors(limit::SUCCESSORS_MAX);
        }
        Reply::Joined {
            id: self.me,
            predecessor: self.node_ref(&predecessor),
            successors: self.node_refs(&successors),
        }
    }
}
