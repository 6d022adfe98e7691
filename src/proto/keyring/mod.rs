//! The keyring machine: which keys a board holds, whom it takes one from, whom it gives one to.
//!
//! ```text
//! first start, no key ──draws one──▶ provisional, window open ──10 min──▶ provisional, closed
//! provisional ──another board's key takes precedence──▶ provisional under that key
//! provisional ──the owner confirms──▶ confirmed ◀── a key from a file
//! ```
//!
//! Start: a board without a key draws one, so that it always has a ring, be it of one. Boards whose
//! pairing windows are open and that share no key tell each other theirs, sealed, and agree on the
//! one that takes precedence: the key of a board that is in a ring before that of one that is in
//! none, the higher epoch, the higher name. So a crowd of fresh boards ends under one key, and two
//! rings that meet in their windows likewise; each board passes on what it took.
//!
//! Steady state: a member that holds an older key of the ring is given the current one on its next
//! link. A replaced key is accepted for [`limit::PREVIOUS_KEY_TIME`], from members only.
//!
//! Distress: a board that shares no key and comes after the window is remembered as asking, and
//! given the key once a member let it in; it takes it if it is alone and unconfirmed. Nothing is
//! persisted here: [`Keys::poll_kept`] says what to keep.

pub mod code;
mod kept;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use self::code::Codes;
pub use self::kept::{Kept, KeptError};
use crate::base::endpoint::{Name, SocketAddr};
use crate::base::hint::HintMac;
use crate::base::id::Id;
use crate::base::limit;
use crate::base::time::Time;
use crate::security::hmac::MacKey;
use crate::security::key::{ClusterKey, Keyring, Kid};
use crate::security::seal::Secret;
use crate::wire::peer::{Door, Hello};

/// No key of a higher epoch is taken from a board without an owner's word: it could not be
/// replaced any more.
const EPOCH_MAX: u32 = u32::MAX / 2;
/// The key of clusters that are open is the SHA-256 of this: no secret, but keyed and open boards
/// have no key in common.
const OPEN: &[u8] = b"roundel: open cluster";

/// What a board starts with.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The configuration says that the cluster is open.
    pub open: bool,
    /// What the keyring's file held.
    pub kept: Option<Kept>,
    /// A key from a file.
    pub given: Option<ClusterKey>,
    /// What is left of the pairing window.
    pub window: Duration,
    /// A key was meant to be there and cannot be read. Without another the board draws one that no
    /// other gets; whatever it has, it keeps none, so that the file counts once it is mended.
    pub withheld: bool,
}

/// How a board came to be at the other end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It holds a key of this ring, or missed a rotation and is in the roster.
    Member,
    /// Both pairing windows are open.
    Window,
    /// This board asked and was let in.
    Asked,
    /// A member of this ring let it in.
    Accepted,
    /// One of the two would prove a one-time code: no key goes either way until it has.
    Code,
}

/// What became of a key that another board told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its name.
    pub kid: Kid,
    /// It is this board's from here on, or this board is confirmed by it.
    pub is_news: bool,
    /// The other board does not sign with it yet.
    pub is_next: bool,
}

/// A key on its way, before it is sealed.
#[derive(Clone, Serialize, Deserialize)]
pub struct Offer {
    epoch: u32,
    secret: [u8; 32],
    /// It is for accepting only so far.
    next: bool,
    confirmed: bool,
    /// The sender is in a ring.
    settled: bool,
    revoked: Vec<Id>,
}

impl Drop for Offer {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.secret);
    }
}

/// A board that would come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking {
    /// What it calls itself.
    pub name: Name,
    /// Where it is.
    pub endpoint: SocketAddr,
    /// When it last asked.
    pub at: Time,
}

/// The keys of one board.
#[derive(Debug)]
pub struct Keys {
    open: bool,
    withheld: bool,
    keyring: Keyring,
    confirmed: bool,
    window_until: Time,
    revoked: BTreeSet<Id>,
    /// The key that comes next leaves a board out.
    revoking: bool,
    previous_until: Time,
    /// It was replaced to leave somebody out that holds it.
    previous_left_out: bool,
    secret: Secret,
    asking: BTreeMap<Id, Asking>,
    accepted: BTreeSet<Id>,
    /// One-time codes, made and entered.
    pub codes: Codes,
    unkept: bool,
}

impl Keys {
    /// The keys at a start; two draws of 32 random bytes.
    pub fn new(origin: Origin, now: Time, drawn: [[u8; 32]; 2]) -> Self {
        let Origin {
            open,
            kept,
            given,
            window,
            withheld,
        } = origin;
        let before = kept.clone();
        let kept = match (open, kept, given) {
            (true, _, _) => Kept {
                keyring: Keyring::new(ClusterKey::new(0, *Id::of(OPEN).as_bytes())),
                confirmed: true,
                revoked: vec![],
            },
            (false, kept, Some(given)) => import(kept, given),
            (false, Some(kept), None) => kept,
            (false, None, None) => Kept {
                keyring: Keyring::new(ClusterKey::new(0, drawn[0])),
                // Whoever's key is withheld trusts nobody instead of everybody.
                confirmed: withheld,
                revoked: vec![],
            },
        };
        Keys {
            open,
            withheld,
            unkept: !open && before.as_ref() != Some(&kept),
            keyring: kept.keyring,
            confirmed: kept.confirmed,
            window_until: now + window,
            revoked: kept.revoked.into_iter().collect(),
            revoking: false,
            previous_until: now + limit::PREVIOUS_KEY_TIME,
            previous_left_out: false,
            secret: Secret::new(drawn[1]),
            asking: BTreeMap::new(),
            accepted: BTreeSet::new(),
            codes: Codes::default(),
        }
    }

    /// The keys.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// The keys by which callers prove themselves: not one that was replaced to leave somebody
    /// out, which only boards of the ring are to know a little longer.
    pub fn callers(&self) -> Keyring {
        let previous = self.keyring.previous.clone();
        Keyring {
            previous: previous.filter(|_| !self.previous_left_out),
            ..self.keyring.clone()
        }
    }

    /// The cluster is open: its key is known to everybody.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// The owner gave the key, or has confirmed it.
    pub fn is_confirmed(&self) -> bool {
        self.confirmed && !self.open
    }

    /// The secret that others seal for.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The pairing window is open for so long.
    pub fn window_left(&self, now: Time) -> Duration {
        match self.confirmed {
            true => Duration::ZERO,
            false => self.window_until.since(now),
        }
    }

    /// What it does with boards that hold none of its keys; `alone`: no other is in its ring.
    pub fn door(&self, now: Time, alone: bool) -> Door {
        if self.confirmed {
            Door::Shut
        } else if alone && self.codes.is_entered() {
            Door::Code
        } else if self.window_left(now) > Duration::ZERO {
            Door::Window
        } else if alone {
            Door::Asks
        } else {
            Door::Closed
        }
    }

    /// How the board of this hello may come in; none: not at all. `key` is the newest that both
    /// hold, `mine` this board's own door, `is_member` says that the roster has the other.
    pub fn admission(
        &self,
        hello: &Hello,
        key: Option<&ClusterKey>,
        mine: Door,
        is_member: bool,
    ) -> Option<Admission> {
        let id = hello.contact.id;
        if self.revoked.contains(&id) {
            return None;
        }
        let replaced = |key: &ClusterKey| Some(key) == self.keyring.previous.as_ref();
        if key.is_some_and(|key| !replaced(key)) || (is_member && !self.open) {
            return Some(Admission::Member);
        }
        match (mine, hello.door) {
            (Door::Code, Door::Code) => None,
            (Door::Code, _) if self.codes.proved() == Some(id) => Some(Admission::Asked),
            // A replaced key in common would have the link carry everything.
            (Door::Code, _) => key.is_none().then_some(Admission::Code),
            (Door::Window, Door::Window) => Some(Admission::Window),
            (_, Door::Window | Door::Asks | Door::Code) if self.accepted.contains(&id) => {
                Some(Admission::Accepted)
            }
            (_, Door::Code) if self.codes.is_open() && key.is_none() => Some(Admission::Code),
            (Door::Window | Door::Asks, Door::Closed | Door::Shut) => Some(Admission::Asked),
            _ => None,
        }
    }

    /// A board that was refused at the hello would come in.
    pub fn note_asking(&mut self, now: Time, hello: &Hello, endpoint: SocketAddr) {
        let id = hello.contact.id;
        let asks = matches!(hello.door, Door::Asks | Door::Window | Door::Code);
        if !asks || self.open || self.revoked.contains(&id) {
            return;
        }
        if self.asking.len() >= limit::ASKING_MAX && !self.asking.contains_key(&id) {
            let oldest = self.asking.iter().min_by_key(|(_, asking)| asking.at);
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                self.asking.remove(&oldest);
            }
        }
        let asking = Asking {
            name: hello.contact.name.clone(),
            endpoint,
            at: now,
        };
        self.asking.insert(id, asking);
    }

    /// Boards that asked and were not let in, in order of their ids.
    pub fn asking(&self) -> impl Iterator<Item = (&Id, &Asking)> {
        self.asking.iter()
    }

    /// A member lets a board in: where it was when it asked, if it did.
    pub fn accept(&mut self, id: Id) -> Option<SocketAddr> {
        if self.accepted.len() >= limit::ACCEPTED_MAX {
            self.accepted.pop_first();
        }
        self.accepted.insert(id);
        self.asking.get(&id).map(|asking| asking.endpoint)
    }

    /// A board that was let in has come.
    pub fn came_in(&mut self, id: &Id) {
        self.accepted.remove(id);
        self.asking.remove(id);
    }

    /// The owner's word: this key is the cluster's. False: it was already.
    pub fn confirm(&mut self) -> bool {
        let news = !self.confirmed;
        self.confirmed = true;
        self.unkept |= news;
        news
    }

    /// What another board is to be told, with no key it holds by that name.
    ///
    /// With `next`, it is the next key, if there is one.
    pub fn offer(&self, settled: bool, next: bool) -> Zeroizing<Vec<u8>> {
        let coming = self.keyring.next.as_ref().filter(|_| next);
        let key = coming.unwrap_or(&self.keyring.current);
        let offer = Offer {
            epoch: key.epoch(),
            secret: *key.secret(),
            next: coming.is_some(),
            confirmed: self.confirmed,
            settled,
            revoked: self.revoked.iter().copied().collect(),
        };
        Zeroizing::new(postcard::to_allocvec(&offer).expect("an offer's lengths are known"))
    }

    /// Another board's key. None: it is no key.
    pub fn take(
        &mut self,
        now: Time,
        offer: &[u8],
        how: Admission,
        settled: bool,
    ) -> Option<Taken> {
        let offer = postcard::from_bytes::<Offer>(offer).ok()?;
        let key = ClusterKey::new(offer.epoch, offer.secret);
        let kid = key.kid();
        Some(Taken {
            kid,
            is_news: self.weigh(now, key, &offer, how, settled),
            is_next: offer.next,
        })
    }

    fn weigh(
        &mut self,
        now: Time,
        key: ClusterKey,
        offer: &Offer,
        how: Admission,
        settled: bool,
    ) -> bool {
        if self.open || key.epoch() > EPOCH_MAX || offer.revoked.len() > limit::REVOKED_MAX {
            return false;
        }
        let member = how == Admission::Member;
        if member {
            self.note_revoked(now, &offer.revoked);
        }
        if offer.next {
            return member && self.note_next(key);
        }
        if key == self.keyring.current {
            let news = member && offer.confirmed && !self.confirmed;
            self.confirmed |= news;
            self.unkept |= news;
            return news;
        }
        let precedes = {
            let mine = &self.keyring.current;
            let theirs = (offer.confirmed, offer.settled, key.epoch(), key.kid());
            theirs > (self.confirmed, settled, mine.epoch(), mine.kid())
        };
        let takes = match how {
            Admission::Member => precedes,
            // The owner may have confirmed this board's since the hello.
            Admission::Window => precedes && !self.confirmed,
            Admission::Asked => !self.confirmed,
            Admission::Accepted | Admission::Code => false,
        };
        if takes {
            // Whoever was there while boards paired may hold the key.
            let closes = offer.confirmed && !self.confirmed;
            let leaves_out = std::mem::take(&mut self.revoking) || closes;
            let replaced = std::mem::replace(&mut self.keyring.current, key);
            self.keyring.previous = Some(replaced);
            self.keyring.next = None;
            self.confirmed = offer.confirmed;
            self.replaced(now, leaves_out);
        }
        takes
    }

    /// Boards that a member says are not to be let in again.
    fn note_revoked(&mut self, now: Time, told: &[Id]) {
        let before = self.revoked.len();
        self.revoked.extend(told.iter().copied());
        while self.revoked.len() > limit::REVOKED_MAX {
            self.revoked.pop_first();
        }
        if self.revoked.len() > before {
            self.revoking = true;
            self.unkept = true;
            if self.keyring.previous.is_some() {
                self.previous_until = self.previous_until.min(now + limit::REVOKED_KEY_TIME);
                self.previous_left_out = true;
            }
        }
    }

    fn note_next(&mut self, key: ClusterKey) -> bool {
        let above = |other: &ClusterKey| (key.epoch(), key.kid()) > (other.epoch(), other.kid());
        let news = above(&self.keyring.current) && self.keyring.next.as_ref().is_none_or(above);
        if news {
            self.keyring.next = Some(key);
            self.unkept = true;
        }
        news
    }

    /// Draws the next key, which `without` does not get.
    pub fn begin(&mut self, random: [u8; 32], without: Option<Id>) -> Kid {
        if let Some(id) = without {
            self.revoked.insert(id);
            self.revoking = true;
            self.asking.remove(&id);
            self.accepted.remove(&id);
        }
        let newest = self.keyring.keys().map(ClusterKey::epoch).max();
        let key = ClusterKey::new(newest.unwrap_or(0).saturating_add(1), random);
        let kid = key.kid();
        self.keyring.next = Some(key);
        self.unkept = true;
        kid
    }

    /// Draws the next key, for the boards that belong at this moment and for nobody that was let
    /// in besides.
    pub fn begin_closed(&mut self, random: [u8; 32]) -> Kid {
        self.revoking = true;
        self.accepted.clear();
        self.begin(random, None)
    }

    /// The key before the current one is accepted for a while.
    fn replaced(&mut self, now: Time, leaves_out: bool) {
        self.previous_until = now
            + match leaves_out {
                true => limit::REVOKED_KEY_TIME,
                false => limit::PREVIOUS_KEY_TIME,
            };
        self.previous_left_out = leaves_out;
        self.unkept = true;
    }

    /// The next key is the current one. False: there was none.
    pub fn advance(&mut self, now: Time) -> bool {
        let Some(next) = self.keyring.next.take() else {
            return false;
        };
        let leaves_out = std::mem::take(&mut self.revoking);
        self.keyring.previous = Some(std::mem::replace(&mut self.keyring.current, next));
        self.replaced(now, leaves_out);
        true
    }

    /// Boards that are not let in again, in order.
    pub fn revoked(&self) -> impl Iterator<Item = &Id> {
        self.revoked.iter()
    }

    /// The board is not let in again.
    pub fn is_revoked(&self, id: &Id) -> bool {
        self.revoked.contains(id)
    }

    /// Something is to be kept that [`Keys::poll_kept`] has not told yet.
    pub fn is_unkept(&self) -> bool {
        self.unkept && !self.withheld
    }

    /// What is to be kept could not be: [`Keys::poll_kept`] tells it once more.
    pub fn keep_again(&mut self) {
        self.unkept = true;
    }

    /// What is to be kept, if it has changed.
    pub fn poll_kept(&mut self) -> Option<Kept> {
        (std::mem::take(&mut self.unkept) && !self.withheld).then(|| self.kept())
    }

    /// What a file is to hold.
    fn kept(&self) -> Kept {
        Kept {
            keyring: self.keyring.clone(),
            confirmed: self.confirmed,
            revoked: self.revoked.iter().copied().collect(),
        }
    }

    /// Time passes: the replaced key goes. True: it has gone.
    pub fn handle_timeout(&mut self, now: Time) -> bool {
        let due = self.keyring.previous.is_some() && now >= self.previous_until;
        if due {
            self.keyring.previous = None;
            self.unkept = true;
        }
        due
    }

    /// When [`Keys::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        (self.keyring.previous.as_ref()).map(|_| self.previous_until)
    }
}

/// What a board of this cluster announces to show, as far as announcements can, that it holds the
/// key: half of HMAC(HKDF(key, "roundel hint 1"), id ‖ cluster).
pub fn hint_mac(key: &ClusterKey, node: &Id, cluster: &Name) -> HintMac {
    let mac = MacKey::new(&key.derive(&[b"roundel hint 1"]));
    let tag = mac.tag(&[node.as_bytes(), cluster.as_str().as_bytes()]);
    let mut half = [0; 16];
    half.copy_from_slice(&tag[..16]);
    HintMac(half)
}

/// A key from a file is the cluster's, unless it was replaced since: files stay where they are
/// while keys are rotated.
fn import(kept: Option<Kept>, given: ClusterKey) -> Kept {
    match kept {
        Some(kept) if kept.confirmed && kept.keyring.current.epoch() > given.epoch() => kept,
        Some(kept) if kept.keyring.current == given => Kept {
            confirmed: true,
            ..kept
        },
        _ => Kept {
            keyring: Keyring::new(given),
            confirmed: true,
            revoked: vec![],
        },
    }
}
