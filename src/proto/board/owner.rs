//! The owner's credential travels: told to each member, sealed for it alone, so that the page of
//! every board lets the owner in.
//!
//! The newer credential stands, on every board alike. Who has one tells it to a member when their
//! link comes up, when it changes, and in a round of gossip to the member that the round is with;
//! on one link the same credential is told once. A board that joins a ring counts its own for less
//! than any that the ring has: whoever lets a board in does not let its owner in.
//!
//! A credential that came from elsewhere goes out as [`Event::OwnerChanged`]; whoever keeps it says
//! what it holds with [`Board::handle_owner`]. Nothing is kept here.

use super::outbox::{LinkId, Route, Transmit};
use super::{Board, Phase};
use crate::base::call::Event;
use crate::base::id::Id;
use crate::base::owner::Credential;
use crate::base::time::Now;
use crate::wire::peer::Message;

impl Board {
    /// This board keeps that credential: at the start, and when its password was changed here.
    pub fn handle_owner(&mut self, now: Now, credential: Credential) {
        if self.owner.as_ref().is_none_or(|ours| credential > *ours) {
            self.owner = Some(credential);
            self.tell_owner_to_all(now);
        }
        self.settle(now);
    }

    /// This board came into a ring that has, or may have, an owner of its own.
    pub(super) fn owner_joined(&mut self) {
        if let Some(ours) = &mut self.owner
            && ours.version > 0
        {
            ours.version = 0;
            self.out.events.push_back(Event::OwnerChanged(ours.clone()));
        }
    }

    fn tell_owner_to_all(&mut self, now: Now) {
        for member in self.present_others() {
            match self.links.link_to(&member) {
                Some(id) => self.tell_owner(id, &member),
                // The link tells it when it comes up.
                None => self.connect(now, &member),
            }
        }
    }

    /// Tells the credential on a link, to a member that may not have it.
    pub(super) fn tell_owner(&mut self, id: LinkId, peer: &Id) {
        if self.phase != Phase::Joined || !self.is_member(peer) {
            return;
        }
        let Some(credential) = &self.owner else {
            return;
        };
        let Some(talk) = self.links.talk(id) else {
            return;
        };
        if talk.owner.as_ref() == Some(credential) {
            return;
        }
        talk.owner = Some(credential.clone());
        let plain = zeroize::Zeroizing::new(
            postcard::to_allocvec(credential).expect("a credential has a layout"),
        );
        let Some((number, sealed)) = talk.seal(self.keys.secret(), &plain) else {
            return self.watch.count("shares_refused");
        };
        self.out.transmits.push_back(Transmit {
            to: Route::Link(id),
            bytes: Message::Owner { number, sealed }.encode(),
            after: None,
        });
    }

    /// Another board told the credential it has.
    pub(super) fn owner_heard(&mut self, now: Now, id: LinkId, peer: Id, told: (u64, &[u8])) {
        let (number, sealed) = told;
        let Some(talk) = self.links.talk(id) else {
            return;
        };
        let opened = talk.open_sealed(self.keys.secret(), number, sealed);
        let read = |plain: Vec<u8>| {
            let plain = zeroize::Zeroizing::new(plain);
            postcard::from_bytes::<Credential>(&plain).ok()
        };
        let theirs = opened.and_then(read).filter(Credential::is_bounded);
        let Some(theirs) = theirs else {
            self.watch.count("owners_malformed");
            return self.drop_link(now, id, true);
        };
        talk.owner = Some(theirs.clone());
        if self.phase != Phase::Joined || !self.is_member(&peer) {
            return;
        }
        if self.owner.as_ref().is_none_or(|ours| theirs > *ours) {
            self.owner = Some(theirs.clone());
            self.out.events.push_back(Event::OwnerChanged(theirs));
            self.tell_owner_to_all(now);
        } else {
            // It has an older one.
            self.tell_owner(id, &peer);
        }
    }
}
