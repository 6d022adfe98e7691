//! The fingerprint of a ring whose boards paired: what the machine (`proto/fingerprint`) is told of
//! the ring, and where its notes go.
//!
//! Notes are datagrams between members; an absent member is sent none.

use super::outbox::{Route, Transmit};
use super::{Board, Phase};
use crate::base::call::Event;
use crate::base::keys::Fingerprint;
use crate::base::limit;
use crate::base::time::Now;
use crate::proto::fingerprint::{Group, Progress};
use crate::security::key::Kid;
use crate::wire::peer::Message;

/// What decides whose fingerprint it is; the same: nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Basis {
    roster: u64,
    kid: Kid,
}

impl Board {
    /// Carries changes of the ring into the machine, and what it wants sent out of it.
    pub(super) fn settle_fingerprint(&mut self, now: Now) {
        let basis = self.needs_fingerprint().then(|| Basis {
            roster: self.roster_digest(),
            kid: self.keys.keyring().current.kid(),
        });
        if basis != self.fingerprint_basis {
            self.fingerprint_basis = basis;
            let group = basis.map(|basis| Group {
                members: self.member_ids(),
                kid: basis.kid,
            });
            let group = group.filter(|it| it.members.len() <= limit::FINGERPRINT_MEMBERS_MAX);
            self.fingerprint.handle_group(now.time, group);
        }
        while let Some((to, note)) = self.fingerprint.poll_transmit() {
            let contact = self.roster.as_ref().and_then(|it| it.contact(&to));
            let Some(endpoint) = contact.map(|it| it.endpoint) else {
                continue;
            };
            if self.is_present(&to) {
                self.out.transmits.push_back(Transmit {
                    to: Route::Datagram(endpoint, to),
                    bytes: Message::Mark(note).encode(),
                    after: None,
                });
            }
        }
        if let Some(digits) = self.fingerprint.poll_complete() {
            let members = self.member_ids().len();
            self.out
                .events
                .push_back(Event::Fingerprint { digits, members });
        }
    }

    /// What people are shown.
    pub(super) fn fingerprint_view(&self) -> Fingerprint {
        if self.keys.is_open() || self.keys.is_confirmed() || self.phase != Phase::Joined {
            return Fingerprint::Unneeded;
        }
        if self.is_partial() {
            return Fingerprint::Unavailable("in ring mode partial");
        }
        if self.member_ids().len() > limit::FINGERPRINT_MEMBERS_MAX {
            return Fingerprint::Unavailable("in a ring of so many boards");
        }
        match self.fingerprint.progress() {
            Progress::Idle => Fingerprint::Unneeded,
            Progress::Complete(digits) => Fingerprint::Complete(digits),
            Progress::Waiting(ids) => {
                let names = ids.iter().map(|id| self.name_of(id));
                Fingerprint::Waiting(names.collect())
            }
        }
    }

    /// The boards paired by themselves, and nobody has confirmed it.
    fn needs_fingerprint(&self) -> bool {
        let provisional = !self.keys.is_open() && !self.keys.is_confirmed();
        provisional && self.phase == Phase::Joined && !self.is_partial()
    }
}
