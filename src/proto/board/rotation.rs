//! Rotation: the cluster's key is replaced while everybody goes on, and a board is kept out.
//!
//! Start: the board that was asked draws the next key, keeps it, and gives it, sealed, to each
//! member that is there; members keep it, accept it from then on, and say so. Steady state: once
//! all have said so, or [`ROTATION_TIME_MAX`] has passed, the next key is the current one, and
//! whoever is linked is told; the replaced key is accepted for a day. A member that was away is
//! given the current key on its next link. Distress: should this board stop halfway, the members
//! hold a next key that nobody signs with, and another rotation replaces it.
//!
//! The owner's word for a ring that paired is a rotation, too: whoever was let in while boards
//! paired, or stood between two of them, may hold the key they agreed on. The next one is sealed
//! for the identities that belong at this moment, which are those that the fingerprint covers.
//!
//! A revocation is a rotation that leaves a board out: it is struck from the roster, its links end
//! at once, no hello of it is answered, and the replaced key goes after half a minute.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Board, Phase, Timer};
use crate::base::access::Access;
use crate::base::call::{CallError, CallId, Reply};
use crate::base::id::Id;
use crate::base::keys::{AskingView, Digits, KeyName, KeyView};
use crate::base::member::Entry;
use crate::base::rng::RngExt;
use crate::base::time::Now;
use crate::security::key::{ClusterKey, Kid};

/// Members that are there have this long to say that they hold the next key.
pub(super) const ROTATION_TIME_MAX: Duration = Duration::from_secs(4);

/// A rotation under way.
#[derive(Debug)]
pub(super) struct Rotation {
    /// The next key.
    kid: Kid,
    /// Members that have not said that they hold it.
    waiting: BTreeSet<Id>,
    call: CallId,
    /// It ends pairing, for these members.
    confirms: Option<Vec<Id>>,
}

fn invalid(text: &str) -> CallError {
    CallError::Invalid(text.to_owned())
}

fn under_way() -> CallError {
    CallError::unavailable("another rotation is under way; try again in a few seconds")
}

fn name(key: &ClusterKey) -> KeyName {
    KeyName {
        kid: key.kid().to_string(),
        epoch: key.epoch(),
    }
}

impl Board {
    /// The call that shows the keys.
    pub(super) fn key_state(&self, now: Now) -> Reply {
        let keyring = self.keys.keyring();
        let asking = self.keys.asking().map(|(id, asking)| AskingView {
            id: *id,
            name: asking.name.clone(),
            endpoint: asking.endpoint,
            ago: now.time.since(asking.at),
        });
        let waiting = self.rotation.iter().flat_map(|it| it.waiting.iter());
        Reply::Keys(Box::new(KeyView {
            access: match (self.keys.is_open(), self.keys.is_confirmed()) {
                (true, _) => Access::Open,
                (false, true) => Access::Keyed,
                (false, false) => Access::Provisional,
            },
            current: name(&keyring.current),
            previous: keyring.previous.as_ref().map(name),
            next: keyring.next.as_ref().map(name),
            window: self.keys.window_left(now.time),
            members: self.member_ids().len(),
            fingerprint: self.fingerprint_view(),
            asking: asking.collect(),
            code: self.keys.codes.view(now.time),
            revoked: self.keys.revoked().copied().collect(),
            waiting: waiting.copied().collect(),
        }))
    }

    /// The owner lets a board in that asks, or will.
    pub(super) fn accept(&mut self, now: Now, id: Id) -> Result<Reply, CallError> {
        if self.keys.is_open() {
            return Err(invalid("this cluster is open: every board may join"));
        }
        if self.keys.is_revoked(&id) {
            return Err(invalid(
                "this board was revoked, and its key may be known; give it a new identity: stop \
                 it, move its data directory away and start it",
            ));
        }
        if self.roster.as_ref().is_some_and(|roster| roster.has(&id)) {
            return Err(invalid("this board belongs to the ring already"));
        }
        if let Some(endpoint) = self.keys.accept(id) {
            self.open_link(now, endpoint, Some(id));
        }
        Ok(self.key_state(now))
    }

    /// The owner's word: the ring is theirs, and gets a key that nobody else has seen.
    pub(super) fn confirm(
        &mut self,
        now: Now,
        call: CallId,
        seen: Option<Digits>,
    ) -> Result<Option<Reply>, CallError> {
        if self.keys.is_open() {
            return Err(invalid("this cluster is open: it has no key to confirm"));
        }
        if self.keys.is_confirmed() {
            self.answer_once_kept(now, call);
            return Ok(None);
        }
        let shown = self.fingerprint_view().digits();
        if seen.is_some_and(|seen| shown != Some(seen)) {
            return Err(CallError::Invalid(format!(
                "the fingerprint has changed: it is {}, over {} boards; compare it on every board \
                 again",
                shown.map_or("not drawn yet".to_owned(), |digits| digits.to_string()),
                self.member_ids().len(),
            )));
        }
        if self.rotation.is_some() {
            return Err(under_way());
        }
        if self.phase != Phase::Joined {
            // Nobody else is in its ring.
            self.keys.confirm();
            self.keys_changed(now);
            self.answer_once_kept(now, call);
            return Ok(None);
        }
        let kid = self.keys.begin_closed(self.rng.random());
        let members = self.member_ids();
        self.begin_rotation(now, call, kid, Some(members));
        Ok(None)
    }

    /// Begins to replace the key, without `revoked` if that is given.
    pub(super) fn rotate(
        &mut self,
        now: Now,
        call: CallId,
        revoked: Option<Id>,
    ) -> Result<Option<Reply>, CallError> {
        self.check_ring()?;
        if self.keys.is_open() {
            return Err(invalid("this cluster is open: it has no key to replace"));
        }
        if self.rotation.is_some() {
            return Err(under_way());
        }
        if revoked == Some(self.me) {
            return Err(invalid(
                "a board cannot revoke itself: ask another board to, or let it leave",
            ));
        }
        if let Some(id) = revoked {
            self.strike(now, id)?;
        }
        let kid = self.keys.begin(self.rng.random(), revoked);
        self.begin_rotation(now, call, kid, None);
        Ok(None)
    }

    /// The next key, which this board holds, goes to the others.
    fn begin_rotation(&mut self, now: Now, call: CallId, kid: Kid, confirms: Option<Vec<Id>>) {
        self.rotation = Some(Rotation {
            kid,
            waiting: self.present_others().into_iter().collect(),
            call,
            confirms,
        });
        self.watch.count("rotations");
        self.expel(now);
        self.arm(now.time + ROTATION_TIME_MAX, Timer::Rotation);
        self.tell_next(now);
        self.rotate_if_held(now);
    }

    /// Strikes a board off, there or not.
    fn strike(&mut self, now: Now, id: Id) -> Result<(), CallError> {
        let entry = self.roster.as_ref().and_then(|roster| roster.entry(&id));
        let Some(entry) = entry.filter(|entry| entry.standing.belongs()).cloned() else {
            // It may hold the key all the same: it was here once, or was let in elsewhere.
            return Ok(());
        };
        let standing = entry.standing.struck_off();
        self.change_entry(now, Entry { standing, ..entry });
        Ok(())
    }

    /// Ends what goes on with boards that are not let in again.
    pub(super) fn expel(&mut self, now: Now) {
        let revoked: Vec<Id> = self.keys.revoked().copied().collect();
        for id in revoked {
            self.drop_link_to(now, &id);
            self.detector.remove(now.time, &id);
        }
    }

    /// Gives the next key to every member that has not said that it holds it.
    fn tell_next(&mut self, now: Now) {
        let waiting = self.rotation.iter().flat_map(|it| it.waiting.iter());
        let waiting: Vec<Id> = waiting.copied().collect();
        for id in waiting {
            let endpoint = self.roster.as_ref().and_then(|r| r.contact(&id));
            match (self.links.link_to(&id), endpoint.map(|c| c.endpoint)) {
                (Some(link), _) => self.tell_key(link, false),
                (None, Some(endpoint)) => self.open_link(now, endpoint, Some(id)),
                (None, None) => {}
            }
        }
    }

    /// A member holds this key, in its file.
    pub(super) fn rekey_held(&mut self, now: Now, from: Id, kid: [u8; 8]) {
        if let Some(rotation) = self.rotation.as_mut().filter(|it| it.kid.0 == kid) {
            rotation.waiting.remove(&from);
        }
        self.rotate_if_held(now);
    }

    fn rotate_if_held(&mut self, now: Now) {
        let held = self
            .rotation
            .as_ref()
            .is_some_and(|it| it.waiting.is_empty());
        if held && self.keeping.is_idle() {
            self.rotation_due(now);
        }
    }

    /// The next key is the current one from here on.
    pub(super) fn rotation_due(&mut self, now: Now) {
        let Some(rotation) = self.rotation.take() else {
            return;
        };
        self.timers.retain(|(_, timer)| *timer != Timer::Rotation);
        if let Some(members) = rotation.confirms {
            if self.member_ids() != members {
                // Whoever came in would be given the key, and nobody has counted it. The next
                // key is left as when this board stops halfway.
                let text = "boards came or went meanwhile; compare the fingerprint again";
                return self.out.answer(rotation.call, Err(invalid(text)));
            }
            self.keys.confirm();
        }
        if self.keys.advance(now.time) {
            self.keys_changed(now);
        }
        self.answer_once_kept(now, rotation.call);
    }

    /// This board's keys are others than before: whoever it is linked with hears of it, and those
    /// it could not speak with are met again once they are kept.
    pub(super) fn keys_changed(&mut self, now: Now) {
        self.pass_on_key();
        self.keys_moved(now);
    }

    /// As [`Board::keys_changed`], where others hear of it elsewhere.
    pub(super) fn keys_moved(&mut self, now: Now) {
        self.expel(now);
        self.arm_keys(now);
    }

    fn arm_keys(&mut self, now: Now) {
        if let Some(due) = self.keys.poll_timeout() {
            self.rearm(due.max(now.time + Duration::from_secs(1)), Timer::Keys);
        }
    }

    /// A replaced key may be due to go, and with it the links that were made under it.
    pub(super) fn keys_due(&mut self, now: Now) {
        if self.keys.handle_timeout(now.time) {
            self.drop_stale_links(now);
        }
        self.arm_keys(now);
    }
}
