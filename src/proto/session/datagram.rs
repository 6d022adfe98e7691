//! Sessions of datagrams between members: no handshake, since both lives are known already.
//!
//! ```text
//! [frame header][payload][sender's id 32][kid 8][sequence u64][tag 32]
//! tag    = HMAC(K, version ‖ type ‖ sender's id ‖ sequence ‖ payload)
//! K(a→b) = HKDF-SHA256(cluster key, salt = life a ‖ life b,
//!                      info = "roundel datagram 1" ‖ id a ‖ id b)
//! ```
//!
//! A life is drawn at each start and told in signed hellos and in rosters, which travel over
//! links; so both sides know the key of a session before its first datagram. A board that starts
//! anew has another life, and what was captured of the old one verifies under no key from then on;
//! a captured datagram can begin or end nothing. A datagram whose sender's life is not known yet
//! is dropped: the hello of a link tells it.
//!
//! One count for all receivers numbers what a board sends in its life, so that nothing about a
//! receiver need be remembered to go on. Of a sender the receiver remembers a window of
//! [`limit::SEQUENCE_WINDOW`] numbers for as long as the sender is a member, whatever key it used:
//! forgetting it would let replays in.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::SessionError;
use crate::base::id::Id;
use crate::base::limit;
use crate::base::member::Life;
use crate::security::hkdf;
use crate::security::hmac::{MacKey, TAG_BYTES};
use crate::security::key::{ClusterKey, Keyring, Kid};
use crate::wire::frame::{self, Frame};

const DOMAIN: &[u8] = b"roundel datagram 1";
const ID_BYTES: usize = 32;
const TRAILER_BYTES: usize = ID_BYTES + 8 + 8 + TAG_BYTES;
const WORDS: usize = (limit::SEQUENCE_WINDOW / 64) as usize;

/// A board in one start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Party {
    /// Which.
    pub id: Id,
    /// Of that start.
    pub life: Life,
}

/// All sessions of one board.
#[derive(Debug)]
pub struct Datagrams {
    me: Party,
    sent: u64,
    outgoing: BTreeMap<Id, Session>,
    incoming: BTreeMap<Id, Heard>,
}

/// A key made ready.
#[derive(Debug)]
struct Session {
    life: Life,
    kid: Kid,
    mac: MacKey,
}

/// What is remembered of a sender.
#[derive(Debug)]
struct Heard {
    session: Session,
    window: Window,
}

/// Which of the latest numbers were taken.
#[derive(Debug, Default)]
struct Window {
    /// The highest number taken, plus one.
    end: u64,
    taken: [u64; WORDS],
}

impl Datagrams {
    /// None yet.
    pub fn new(me: Party) -> Self {
        Datagrams {
            me,
            sent: 0,
            outgoing: BTreeMap::new(),
            incoming: BTreeMap::new(),
        }
    }

    /// A whole frame, as it goes out to a member.
    pub fn seal(&mut self, to: Party, key: &ClusterKey, frame: &[u8]) -> Bytes {
        let ready = |session: &Session| session.life == to.life && session.kid == key.kid();
        if !self.outgoing.get(&to.id).is_some_and(ready) {
            if self.outgoing.len() >= limit::SESSIONS_MAX {
                // They are derived anew when they are needed.
                self.outgoing.clear();
            }
            let session = Session::new(key, &self.me, &to, to.life);
            self.outgoing.insert(to.id, session);
        }
        let sequence = self.sent.to_be_bytes();
        self.sent += 1;
        let (head, payload) = (&frame[..2], &frame[frame::HEADER_BYTES..]);
        let mac = &self.outgoing[&to.id].mac;
        let tag = mac.tag(&[head, self.me.id.as_bytes(), &sequence, payload]);
        let mut trailer = [0; TRAILER_BYTES];
        trailer[..32].copy_from_slice(self.me.id.as_bytes());
        trailer[32..40].copy_from_slice(&key.kid().0);
        trailer[40..48].copy_from_slice(&sequence);
        trailer[48..].copy_from_slice(&tag);
        Frame::extend(frame, &trailer)
    }

    /// Who says that it sent this; none: nobody does.
    pub fn sender(frame: &Frame) -> Option<Id> {
        let start = frame.payload.len().checked_sub(TRAILER_BYTES)?;
        let bytes = frame.payload[start..start + ID_BYTES].try_into().ok()?;
        Some(Id::from_bytes(bytes))
    }

    /// The frame as the member that it names sent it. Nothing is remembered of one that does not
    /// verify.
    ///
    /// # Errors
    /// [`SessionError`]; the datagram is to be dropped.
    pub fn open(
        &mut self,
        from: Party,
        keyring: &Keyring,
        frame: Frame,
    ) -> Result<Frame, SessionError> {
        let Frame { kind, mut payload } = frame;
        let Some(length) = payload.len().checked_sub(TRAILER_BYTES) else {
            return Err(SessionError::Tag);
        };
        let trailer = payload.split_off(length);
        let (id, rest) = trailer.split_at(ID_BYTES);
        let (named, rest) = rest.split_at(8);
        let (sequence, tag) = rest.split_at(8);
        let mut kid = Kid([0; 8]);
        kid.0.copy_from_slice(named);
        let key = keyring.find(&kid).ok_or(SessionError::Key)?;
        let mut number = [0; 8];
        number.copy_from_slice(sequence);
        let number = u64::from_be_bytes(number);
        let known = self.incoming.get(&from.id);
        let known = known.filter(|heard| heard.session.life == from.life);
        if known.is_some_and(|heard| !heard.window.is_fresh(number)) {
            return Err(SessionError::Replay);
        }
        let ready = known.filter(|heard| heard.session.kid == kid);
        let derived = match ready {
            Some(_) => None,
            None => Some(Session::new(key, &from, &self.me, from.life)),
        };
        let head = [frame::VERSION, kind];
        let session = derived.as_ref().or(ready.map(|heard| &heard.session));
        if !session.is_some_and(|it| it.mac.verify(&[&head, id, sequence, &payload], tag)) {
            return Err(SessionError::Tag);
        }
        self.take(from, number, derived)?;
        Ok(Frame { kind, payload })
    }

    /// A datagram has verified.
    fn take(
        &mut self,
        from: Party,
        number: u64,
        derived: Option<Session>,
    ) -> Result<(), SessionError> {
        if let Some(session) = derived {
            let full = self.incoming.len() >= limit::SESSIONS_MAX;
            match self.incoming.get_mut(&from.id) {
                // The sender uses another key in the same life: its count goes on.
                Some(heard) if heard.session.life == from.life => heard.session = session,
                Some(heard) => {
                    *heard = Heard {
                        session,
                        window: Window::default(),
                    };
                }
                None if full => return Err(SessionError::Full),
                None => {
                    let window = Window::default();
                    self.incoming.insert(from.id, Heard { session, window });
                }
            }
        }
        if let Some(heard) = self.incoming.get_mut(&from.id) {
            heard.window.take(number);
        }
        Ok(())
    }

    /// Forgets senders that are no members any more, once there are many.
    pub fn retain(&mut self, is_member: impl Fn(&Id) -> bool) {
        if self.incoming.len() > limit::SESSIONS_MAX / 2 {
            self.incoming.retain(|id, _| is_member(id));
        }
    }

    /// Sessions in memory, both directions.
    pub fn count(&self) -> usize {
        self.outgoing.len() + self.incoming.len()
    }
}

impl Session {
    fn new(key: &ClusterKey, from: &Party, to: &Party, life: Life) -> Self {
        let salt = [from.life.0, to.life.0].concat();
        let info: [&[u8]; 3] = [DOMAIN, from.id.as_bytes(), to.id.as_bytes()];
        Session {
            life,
            kid: key.kid(),
            mac: MacKey::new(&hkdf::derive(key.secret(), &salt, &info)),
        }
    }
}

impl Window {
    /// Not taken yet, and not too old to know.
    fn is_fresh(&self, number: u64) -> bool {
        if number >= self.end {
            // The last number there is would leave no end.
            return number < u64::MAX;
        }
        self.end - number <= limit::SEQUENCE_WINDOW && !self.has(number)
    }

    fn has(&self, number: u64) -> bool {
        let place = number % limit::SEQUENCE_WINDOW;
        self.taken[(place / 64) as usize] >> (place % 64) & 1 == 1
    }

    fn take(&mut self, number: u64) {
        if number >= self.end {
            if number - self.end >= limit::SEQUENCE_WINDOW {
                self.taken = [0; WORDS];
            } else {
                for between in self.end..number {
                    let place = between % limit::SEQUENCE_WINDOW;
                    self.taken[(place / 64) as usize] &= !(1 << (place % 64));
                }
            }
            self.end = number + 1;
        }
        let place = number % limit::SEQUENCE_WINDOW;
        self.taken[(place / 64) as usize] |= 1 << (place % 64);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::peer::Message;

    fn party(number: u8, life: u8) -> Party {
        Party {
            id: Id::of(&[number]),
            life: Life([life; 16]),
        }
    }

    fn key(number: u32) -> ClusterKey {
        ClusterKey::new(number, [number as u8; 32])
    }

    fn swim(number: u64) -> Bytes {
        Message::Swim {
            view: number,
            wall_ms: 0,
            packet: Bytes::from_static(b"packet"),
        }
        .encode()
    }

    fn frame(bytes: &[u8]) -> Frame {
        Frame::from_datagram(bytes).unwrap()
    }

    #[test]
    fn datagrams_arrive_once_in_any_order() {
        let (a, b) = (party(1, 1), party(2, 2));
        let (mut from, mut to) = (Datagrams::new(a), Datagrams::new(b));
        let ring = Keyring::new(key(1));
        let mut sent: Vec<Bytes> = (0..50).map(|n| from.seal(b, &key(1), &swim(n))).collect();
        sent.reverse();
        for (n, bytes) in sent.iter().enumerate() {
            assert_eq!(
                to.open(a, &ring, frame(bytes)),
                Ok(frame(&swim(49 - n as u64)))
            );
        }
        for bytes in &sent {
            assert_eq!(to.open(a, &ring, frame(bytes)), Err(SessionError::Replay));
        }
    }

    #[test]
    fn what_was_captured_dies_with_either_life() {
        let (a, b) = (party(1, 1), party(2, 2));
        let mut from = Datagrams::new(a);
        let ring = Keyring::new(key(1));
        let captured = from.seal(b, &key(1), &swim(0));
        let mut reborn = Datagrams::new(party(2, 3));
        assert_eq!(
            reborn.open(a, &ring, frame(&captured)),
            Err(SessionError::Tag)
        );
        let mut to = Datagrams::new(b);
        to.open(a, &ring, frame(&captured)).unwrap();
        let later = party(1, 9);
        assert_eq!(
            to.open(later, &ring, frame(&captured)),
            Err(SessionError::Tag)
        );
        // The replay of the old life has not touched the session.
        let next = from.seal(b, &key(1), &swim(1));
        to.open(a, &ring, frame(&next)).unwrap();
        let fresh = Datagrams::new(later).seal(b, &key(1), &swim(0));
        to.open(later, &ring, frame(&fresh)).unwrap();
    }

    #[test]
    fn keys_change_without_opening_the_window_again() {
        let (a, b) = (party(1, 1), party(2, 2));
        let (mut from, mut to) = (Datagrams::new(a), Datagrams::new(b));
        let mut ring = Keyring::new(key(1));
        let old = from.seal(b, &key(1), &swim(0));
        to.open(a, &ring, frame(&old)).unwrap();
        let new = from.seal(b, &key(2), &swim(1));
        assert_eq!(to.open(a, &ring, frame(&new)), Err(SessionError::Key));
        ring = Keyring {
            previous: Some(key(1)),
            ..Keyring::new(key(2))
        };
        to.open(a, &ring, frame(&new)).unwrap();
        for replayed in [&old, &new] {
            assert_eq!(
                to.open(a, &ring, frame(replayed)),
                Err(SessionError::Replay)
            );
        }
        assert_eq!(to.count(), 1);
    }

    #[test]
    fn forgeries_leave_nothing_behind() {
        let (a, b) = (party(1, 1), party(2, 2));
        let (mut from, mut to) = (Datagrams::new(a), Datagrams::new(b));
        let ring = Keyring::new(key(1));
        let sealed = frame(&from.seal(b, &key(1), &swim(0)));
        for bit in 0..8 * sealed.payload.len() {
            let mut payload = sealed.payload.to_vec();
            payload[bit / 8] ^= 1 << (bit % 8);
            let forged = Frame {
                kind: sealed.kind,
                payload: payload.into(),
            };
            to.open(a, &ring, forged).unwrap_err();
        }
        for other in 3..100 {
            to.open(party(other, 1), &ring, sealed.clone()).unwrap_err();
        }
        to.open(a, &ring, frame(&swim(0))).unwrap_err();
        assert_eq!(to.count(), 0);
        to.open(a, &ring, sealed).unwrap();
    }

    #[test]
    fn as_many_senders_are_remembered_as_may_be_and_members_stay() {
        let ring = Keyring::new(key(1));
        let me = party(0, 1);
        let mut to = Datagrams::new(me);
        let sender = |number: usize| Party {
            id: Id::of(&number.to_be_bytes()),
            life: Life([1; 16]),
        };
        let hear = |to: &mut Datagrams, number: usize, key: &ClusterKey| {
            let bytes = Datagrams::new(sender(number)).seal(me, key, &swim(0));
            to.open(sender(number), &ring, frame(&bytes)).map(|_| ())
        };
        for number in 0..limit::SESSIONS_MAX {
            hear(&mut to, number, &key(1)).unwrap();
            let forged = hear(&mut to, limit::SESSIONS_MAX + number, &key(2));
            assert_eq!(forged, Err(SessionError::Key));
        }
        let one_more = hear(&mut to, limit::SESSIONS_MAX, &key(1));
        assert_eq!(one_more, Err(SessionError::Full));
        assert_eq!(to.count(), limit::SESSIONS_MAX);
        // What a member sent stays known: it is not taken again.
        assert_eq!(hear(&mut to, 0, &key(1)), Err(SessionError::Replay));
        let members: BTreeSet<Id> = (0..3).map(|number| sender(number).id).collect();
        to.retain(|id| members.contains(id));
        assert_eq!(to.count(), 3);
        assert_eq!(hear(&mut to, 0, &key(1)), Err(SessionError::Replay));
        hear(&mut to, limit::SESSIONS_MAX, &key(1)).unwrap();
    }

    proptest! {
        #[test]
        fn window_takes_each_number_once(
            numbers in proptest::collection::vec(0u64..4_000, 0..400),
        ) {
            let mut window = Window::default();
            let mut taken = BTreeSet::new();
            let mut highest = 0;
            for number in numbers {
                let expected = !taken.contains(&number)
                    && number + limit::SEQUENCE_WINDOW > highest;
                prop_assert_eq!(window.is_fresh(number), expected, "{}", number);
                if expected {
                    window.take(number);
                    taken.insert(number);
                    highest = highest.max(number);
                }
            }
        }
    }
}
