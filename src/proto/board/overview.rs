//! What a board can say about itself: members, health in words, counters.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Board, Phase};
use crate::base::call::{Health, MemberView, NodeState, Overview, Reply};
use crate::base::id::Id;
use crate::base::limit;
use crate::base::member::Standing;
use crate::base::store::StoreError;
use crate::base::time::{Now, Time};

/// Counters and moments that nothing but people depends on.
#[derive(Debug, Default)]
pub(super) struct Watch {
    counters: BTreeMap<&'static str, u64>,
    since: BTreeMap<Id, Time>,
    alive: BTreeSet<Id>,
    roster_problem: Option<String>,
}

impl Watch {
    pub(super) fn count(&mut self, name: &'static str) {
        self.count_many(name, 1);
    }

    pub(super) fn count_many(&mut self, name: &'static str, by: u64) {
        *self.counters.entry(name).or_default() += by;
    }

    /// The board is not alive, and has not been for this long (or since this board's start).
    pub(super) fn is_down_for(&self, now: Time, id: &Id, time: Duration) -> bool {
        let since = self.since.get(id).copied().unwrap_or_default();
        !self.alive.contains(id) && now.since(since) >= time
    }

    pub(super) fn up(&mut self, now: Time, id: Id) {
        self.alive.insert(id);
        self.since.insert(id, now);
    }

    pub(super) fn down(&mut self, now: Time, id: Id) {
        self.alive.remove(&id);
        if self.since.len() >= limit::ROSTER_MAX * 2 {
            self.since.pop_first();
        }
        self.since.insert(id, now);
        self.count("members_down");
    }

    pub(super) fn problem_with_roster(&mut self, error: &StoreError) {
        self.roster_problem = Some(error.to_string());
    }

    pub(super) fn roster_is_stored(&mut self) {
        self.roster_problem = None;
    }
}

impl Board {
    pub(super) fn overview(&mut self, now: Now) -> Reply {
        let (predecessor, successors) = self.own_pointers();
        let roster = self.roster.as_ref().filter(|_| self.phase != Phase::Alone);
        let members: Vec<MemberView> = roster
            .iter()
            .flat_map(|roster| roster.members())
            .map(|entry| self.member_view(now, &entry.id, entry.standing))
            .collect();
        let settled = roster.is_some_and(|roster| roster.is_settled());
        let cluster = roster.map(|roster| roster.cluster().clone());
        let mut counters: Vec<(&'static str, u64)> = self
            .watch
            .counters
            .iter()
            .map(|(name, count)| (*name, *count))
            .collect();
        counters.push(("operations_running", self.operations.count() as u64));
        counters.push(("link_bytes_waiting", self.waiting_bytes() as u64));
        counters.push(("marks_refused", self.fingerprint.refused()));
        counters.push(("links_up", self.links.peers().len() as u64));
        let health = self.health(&members, settled);
        Reply::Overview(Box::new(Overview {
            id: self.me,
            name: self.settings.name.clone(),
            endpoint: self.settings.endpoint,
            cluster_name: self.settings.cluster_name.clone(),
            cluster,
            state: self.state(),
            boot: self.settings.boot,
            uptime: now.time.since(self.started),
            members,
            fingerprint: self.fingerprint_view(),
            settled,
            successors,
            predecessor,
            health,
            counters,
        }))
    }

    fn member_view(&self, now: Now, id: &Id, standing: Standing) -> MemberView {
        let contact = self.roster.as_ref().and_then(|roster| roster.contact(id));
        let node = self.node_ref(id);
        let since = self.watch.since.get(id).copied().unwrap_or(self.started);
        MemberView {
            id: *id,
            name: node.name,
            endpoint: node.endpoint,
            version: contact.map(|contact| contact.version.clone()),
            standing,
            alive: node.alive,
            suspect: self.detector.is_suspect(id),
            for_time: now.time.since(since),
            boot: contact.map_or(0, |contact| contact.boot),
            giving_up: self.giving_up(now, id),
        }
    }

    fn state(&self) -> NodeState {
        let standing = self
            .roster
            .as_ref()
            .and_then(|r| r.entry(&self.me))
            .map(|e| e.standing);
        match (&self.phase, standing) {
            (Phase::Starting | Phase::Alone, _) => NodeState::Activating,
            (Phase::Failed(_) | Phase::Departed, _) => NodeState::Stop,
            (Phase::Joined, Some(Standing::Member | Standing::Diskless)) => NodeState::Active,
            (Phase::Joined, Some(Standing::Leaving)) => NodeState::Terminating,
            (Phase::Joined, _) => NodeState::Activating,
        }
    }

    /// The store's own figures are filled in by the driver.
    fn health(&self, members: &[MemberView], settled: bool) -> Health {
        let (handover_pending, under_replicated) = self.handover.pending();
        let absent: Vec<String> = members
            .iter()
            .filter(|m| !m.alive)
            .map(|m| self.name_of(&m.id))
            .collect();
        let mut problems = Vec::new();
        match &self.phase {
            Phase::Failed(reason) => problems.push(format!(
                "The store cannot be used: {reason}. Put it right and start the board again."
            )),
            Phase::Alone if self.is_diskless() => problems.extend(self.why_waiting()),
            Phase::Alone if self.membership.is_in_doubt() => problems.push(
                "The log on its card was damaged: what it holds may be long overwritten. It drops \
                 that and takes its share anew once it meets the others; if there are none, it \
                 goes on with what it has after the grace time. Check the card (`dmesg`)."
                    .to_owned(),
            ),
            Phase::Alone => problems.push(
                "This board is in no ring yet; `roundel doctor` says what it hears.".to_owned(),
            ),
            Phase::Departed => problems.push(
                "This board has left. Bring it back with `roundel join ADDRESS`, or unplug it."
                    .to_owned(),
            ),
            Phase::Starting | Phase::Joined => {}
        }
        if !absent.is_empty() {
            problems.push(format!(
                "Absent: {}. Plug it in again, or strike it from the ring for good with \
                 `roundel nodes --forget ID`.{}",
                absent.join(", "),
                self.spoken_giving_up(members)
            ));
        }
        problems.extend(self.diskless_problems(members));
        if under_replicated > 0 {
            problems.push(format!(
                "{under_replicated} keys held here lack a copy until the absent are back."
            ));
        }
        if let Some(problem) = &self.watch.roster_problem {
            problems.push(format!(
                "The roster could not be stored: {problem}. Check the medium."
            ));
        }
        if let Some(problem) = self.keeping.problem() {
            problems.push(format!(
                "The cluster's keys could not be stored: {problem}. Check the medium; a restart \
                 now may lock this board out."
            ));
        }
        let unplug_reason = self.unplug_reason(members, settled);
        Health {
            items: 0,
            tombstones: 0,
            tree_digest: 0,
            handover_pending,
            under_replicated,
            safe_to_unplug: unplug_reason.is_empty(),
            unplug_reason,
            problems,
            store: match self.is_diskless() {
                true => "diskless".to_owned(),
                false => String::new(),
            },
        }
    }

    /// When the absent will be given up, or why not.
    fn spoken_giving_up(&self, members: &[MemberView]) -> String {
        let absent = members.iter().filter(|m| !m.alive);
        let first = absent.filter_map(|m| m.giving_up).min_by_key(|it| it.after);
        match first {
            None => String::new(),
            Some(it) if it.present < it.needed => format!(
                " Nobody is given up: {} of {} boards are there, {} would have to agree.",
                it.present,
                members.iter().filter(|m| m.standing.holds()).count(),
                it.needed
            ),
            Some(it) if it.after.is_zero() => format!(
                " It is being given up: {} of the {} boards needed agree.",
                it.votes, it.needed
            ),
            Some(it) => format!(" It will be given up in {} s.", it.after.as_secs().max(1)),
        }
    }

    fn unplug_reason(&self, members: &[MemberView], settled: bool) -> String {
        if self.is_diskless() {
            return String::new();
        }
        let (handover_pending, under_replicated) = self.handover.pending();
        let holders = members.iter().filter(|m| m.standing.holds());
        let absent = holders.clone().filter(|m| !m.alive);
        let absent: Vec<String> = absent.map(|m| self.name_of(&m.id)).collect();
        match self.phase {
            Phase::Departed => return String::new(),
            Phase::Joined => {}
            _ => return "the board is in no ring, so nobody else has its data".to_owned(),
        }
        if holders.count() < 2 {
            return "it is the only board that keeps copies, so nobody else has its data"
                .to_owned();
        }
        if !absent.is_empty() {
            return format!("another board is absent already: {}", absent.join(", "));
        }
        if !settled {
            return "boards are joining or leaving; wait until that is done".to_owned();
        }
        if self.handover.is_busy() || handover_pending + under_replicated > 0 {
            return format!(
                "copies are still being made ({} keys); wait a moment",
                handover_pending + under_replicated
            );
        }
        String::new()
    }
}
