//! A board whose log was damaged in the middle: its store opened in its past.
//!
//! What such a board holds may have been overwritten or removed since, and the tombstones that
//! would tell may be gone from everywhere; its vote would bring it back. To the ring it is as good
//! as lost (one of the boards that may be lost, `reliability` of an acknowledged write), so it
//! drops what it holds and is filled by the others. It keeps its id and its place in the roster.
//!
//! ```text
//! opens damaged ──▶ Doubting ──meets a board of a ring──▶ Discarding ──empty──▶ member, no vote
//!                      │  so many doubt that they may hold the           until everybody that may
//!                      │  only copies, or nobody is met for the          hold its items was heard
//!                      ▼  grace time
//!                   member with what it holds
//! ```
//!
//! While in doubt it belongs to its roster and answers nobody. A board that is alone in its roster
//! keeps what it has: nobody could fill it, and nobody collected anything without it.

use bytes::Bytes;

use super::*;
use crate::base::store::{Batch, Change, META_DAMAGE};
use crate::proto::board::StorePurpose;

/// So long a board in doubt listens for others that are, before it drops anything: a supply that
/// failed for all may have harmed many logs at once.
const LISTEN_TIME: Duration = Duration::from_secs(3);
/// Members are tried again after this.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// The mark of a store that was emptied and is not filled yet.
const EMPTIED: &[u8] = b"emptied";

/// How far a board is whose log was damaged.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Doubt {
    /// It was not, or all is well again.
    #[default]
    No,
    /// Looking for others.
    Doubting {
        since: Time,
        /// Members that are in doubt as well.
        others: BTreeSet<Id>,
        /// Somebody is in a ring.
        met: bool,
        /// Members are tried again then.
        look: Time,
    },
    /// Dropping what it holds.
    Discarding,
    /// A member that lacks what it should hold.
    Emptied,
}

impl Doubt {
    /// Nothing here is to be served or believed.
    pub(super) fn is_deep(&self) -> bool {
        matches!(self, Doubt::Doubting { .. } | Doubt::Discarding)
    }
}

impl Board {
    /// What this board holds is its past, and it says so in its hello.
    pub(in crate::proto::board) fn is_doubtful(&self) -> bool {
        matches!(self.membership.doubt, Doubt::Doubting { .. })
    }

    /// The roster on flash has this board as a member, and the store carries this mark.
    pub(super) fn resume_after_damage(&mut self, now: Now, mark: &[u8]) {
        self.watch.count("logs_damaged");
        if self.holder_ids() == [self.me] || self.is_diskless() {
            self.doubt_ends();
            self.resume(now);
        } else if mark == EMPTIED {
            self.membership.doubt = Doubt::Emptied;
            self.resume(now);
        } else {
            self.membership.doubt = Doubt::Doubting {
                since: now.time,
                others: BTreeSet::new(),
                met: false,
                look: now.time,
            };
        }
    }

    /// Struck off or gone by its own roster, and damaged: there is nothing it may offer.
    pub(super) fn damaged_while_gone(&mut self) {
        self.watch.count("logs_damaged");
        self.membership.apart.forget();
        self.persist_roster();
        self.note_damage(None);
        self.discard_items();
    }

    /// A board that is in no ring says that it is in doubt too.
    pub(super) fn meet_doubtful(&mut self, now: Now, peer: &Id) {
        let belongs = self.roster.as_ref().is_some_and(|r| r.has(peer));
        if let Doubt::Doubting { others, .. } = &mut self.membership.doubt
            && belongs
        {
            others.insert(*peer);
            self.rearm(now.time, Timer::Consider);
        }
    }

    /// A board that is in a ring was met. Whether this one is in doubt, and joins nothing yet.
    pub(super) fn meets_ring_in_doubt(&mut self) -> bool {
        if let Doubt::Doubting { met, .. } = &mut self.membership.doubt {
            *met = true;
        }
        self.membership.doubt.is_deep()
    }

    /// The next step of a board in doubt.
    pub(super) fn consider_doubt(&mut self, now: Now) {
        let lost_max = self.write_quorum().saturating_sub(1);
        match &self.membership.doubt {
            Doubt::No | Doubt::Emptied => return,
            Doubt::Doubting {
                since, others, met, ..
            } => {
                let waited = now.time.since(*since);
                if others.len() + 1 > lost_max.max(1) || waited >= self.settings.grace_time {
                    self.watch.count("doubts_dismissed");
                    self.doubt_ends();
                    self.resume_linked(now);
                    return;
                }
                if *met && waited >= LISTEN_TIME {
                    self.membership.doubt = Doubt::Discarding;
                    self.discard_items();
                }
            }
            Doubt::Discarding if self.handover.is_discarding() => {}
            Doubt::Discarding if !self.handover.is_emptied() => self.discard_items(),
            Doubt::Discarding => {
                self.watch.count("stores_emptied");
                self.membership.doubt = Doubt::Emptied;
                self.note_damage(Some(Bytes::from_static(EMPTIED)));
                self.resume_linked(now);
                return;
            }
        }
        self.look_for_members(now);
        self.rearm(now.time + CONSIDER_PERIOD, Timer::Consider);
    }

    /// Opens links to those who were heard of or belong.
    fn look_for_members(&mut self, now: Now) {
        match &mut self.membership.doubt {
            Doubt::Doubting { look, .. } if *look <= now.time => *look = now.time + LOOK_PERIOD,
            _ => return,
        }
        let heard = self.membership.heard.iter();
        let heard: Vec<(Id, SocketAddr)> = heard.map(|(id, h)| (*id, h.endpoint)).collect();
        let known = self
            .roster
            .iter()
            .flat_map(|roster| roster.state().contacts);
        let known: Vec<(Id, SocketAddr)> = known.map(|c| (c.id, c.endpoint)).collect();
        for (id, endpoint) in heard.into_iter().chain(known) {
            if id != self.me && !self.links.is_up(&id) && self.links.opening() < PROBES_MAX {
                self.open_link(now, endpoint, Some(id));
            }
        }
    }

    /// A member again, with links that are up already.
    fn resume_linked(&mut self, now: Now) {
        self.resume(now);
        for peer in self.links.peers() {
            self.push_roster(now, &peer, CallPurpose::Exchange);
        }
    }

    /// All that this board should hold was heard of.
    pub(super) fn doubt_ends(&mut self) {
        self.membership.doubt = Doubt::No;
        self.note_damage(None);
    }

    /// Whether this board was emptied and has not heard of everybody.
    pub(super) fn is_emptied_by_damage(&self) -> bool {
        self.membership.doubt == Doubt::Emptied
    }

    pub(super) fn note_damage(&mut self, value: Option<Bytes>) {
        let store = self.out.store(Batch {
            changes: vec![Change::Meta {
                name: META_DAMAGE,
                value,
            }],
            high_water: None,
        });
        self.stores.insert(store, StorePurpose::Mark);
    }
}
