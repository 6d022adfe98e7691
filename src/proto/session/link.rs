//! What comes after the hello of a link: every frame carries its place in the stream and a tag.
//!
//! ```text
//! [frame header][payload][sequence u64][tag 32]
//! tag = HMAC(K, version ‖ type ‖ sequence ‖ payload)
//! ```
//!
//! A stream neither loses nor reorders, so the sequence must be exactly the next one; the first
//! frame after the hello has 0. Each direction has a key of its own (see [`LinkKeys::new`]),
//! derived once a link. The payload is not looked at before its tag has been checked.

use bytes::Bytes;

use super::SessionError;
use crate::base::id::Id;
use crate::security::hkdf;
use crate::security::hmac::{MacKey, TAG_BYTES};
use crate::security::key::{ClusterKey, Kid};
use crate::wire::frame::{self, Frame};
use crate::wire::peer::Hello;

const DOMAIN: &[u8] = b"roundel link 1";
const TRAILER_BYTES: usize = 8 + TAG_BYTES;

/// The keys of a link that is up, and how far each direction is.
#[derive(Debug)]
pub struct LinkKeys {
    kid: Kid,
    send: MacKey,
    sent: u64,
    receive: MacKey,
    received: u64,
}

impl LinkKeys {
    /// Derives both directions:
    /// K(a→b) = HKDF-SHA256(cluster key, salt = nonce a ‖ nonce b,
    /// info = "roundel link 1" ‖ id a ‖ id b ‖ boot a ‖ boot b).
    pub fn new(key: &ClusterKey, mine: &Hello, theirs: &Hello) -> Self {
        LinkKeys {
            kid: key.kid(),
            send: direction(key, mine, theirs),
            sent: 0,
            receive: direction(key, theirs, mine),
            received: 0,
        }
    }

    /// Of which key.
    pub fn kid(&self) -> Kid {
        self.kid
    }

    /// A whole frame, as it goes out.
    pub fn seal(&mut self, frame: &[u8]) -> Bytes {
        let sequence = self.sent.to_be_bytes();
        self.sent += 1;
        let (head, payload) = (&frame[..2], &frame[frame::HEADER_BYTES..]);
        let tag = self.send.tag(&[head, &sequence, payload]);
        let mut trailer = [0; TRAILER_BYTES];
        trailer[..8].copy_from_slice(&sequence);
        trailer[8..].copy_from_slice(&tag);
        Frame::extend(frame, &trailer)
    }

    /// The frame as it was before it was sealed.
    ///
    /// # Errors
    /// [`SessionError`]; the link is to be closed.
    pub fn open(&mut self, frame: Frame) -> Result<Frame, SessionError> {
        let Frame { kind, mut payload } = frame;
        let Some(length) = payload.len().checked_sub(TRAILER_BYTES) else {
            return Err(SessionError::Tag);
        };
        let trailer = payload.split_off(length);
        let (sequence, tag) = trailer.split_at(8);
        let head = [frame::VERSION, kind];
        if !self.receive.verify(&[&head, sequence, &payload], tag) {
            return Err(SessionError::Tag);
        }
        if sequence != self.received.to_be_bytes() {
            return Err(SessionError::Replay);
        }
        self.received += 1;
        Ok(Frame { kind, payload })
    }
}

fn direction(key: &ClusterKey, from: &Hello, to: &Hello) -> MacKey {
    let boots = [from.contact.boot, to.contact.boot].map(u64::to_be_bytes);
    let ids: [&Id; 2] = [&from.contact.id, &to.contact.id];
    let info: [&[u8]; 5] = [
        DOMAIN,
        ids[0].as_bytes(),
        ids[1].as_bytes(),
        &boots[0],
        &boots[1],
    ];
    let salt = [from.nonce, to.nonce].concat();
    MacKey::new(&hkdf::derive(key.secret(), &salt, &info))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::session::tests::{hello, identity};
    use crate::wire::peer::Message;

    fn pair() -> (LinkKeys, LinkKeys) {
        let (a, b) = (hello(&identity(), 1), hello(&identity(), 2));
        let key = ClusterKey::new(0, [5; 32]);
        (LinkKeys::new(&key, &a, &b), LinkKeys::new(&key, &b, &a))
    }

    fn frame(bytes: &[u8]) -> Frame {
        Frame::from_datagram(bytes).unwrap()
    }

    fn message(number: u64) -> Bytes {
        let sealed = vec![7; 40];
        Message::Rekey { number, sealed }.encode()
    }

    #[test]
    fn frames_arrive_in_order_as_they_were() {
        let (mut a, mut b) = pair();
        for number in 0..5 {
            let plain = message(number);
            let sealed = a.seal(&plain);
            assert_eq!(sealed.len(), plain.len() + TRAILER_BYTES);
            assert_eq!(b.open(frame(&sealed)), Ok(frame(&plain)));
        }
        let back = b.seal(&message(9));
        assert_eq!(a.open(frame(&back)), Ok(frame(&message(9))));
    }

    #[test]
    fn frames_are_authenticated_and_not_secret() {
        let (mut a, _) = pair();
        let plain = message(1);
        let sealed = a.seal(&plain);
        let payload = &plain[frame::HEADER_BYTES..];
        assert!(sealed.windows(payload.len()).any(|part| part == payload));
    }

    #[test]
    fn replayed_skipped_reflected_and_plain_frames_are_refused() {
        let (mut a, mut b) = pair();
        let frames: Vec<Bytes> = (0..3).map(|number| a.seal(&message(number))).collect();
        b.open(frame(&frames[0])).unwrap();
        assert_eq!(b.open(frame(&frames[0])), Err(SessionError::Replay));
        assert_eq!(b.open(frame(&frames[2])), Err(SessionError::Replay));
        assert_eq!(a.open(frame(&frames[0])), Err(SessionError::Tag));
        assert_eq!(b.open(frame(&message(1))), Err(SessionError::Tag));
        let short = Frame {
            kind: 0x1a,
            payload: Bytes::from_static(&[0; 39]),
        };
        assert_eq!(b.open(short), Err(SessionError::Tag));
        assert_eq!(b.open(frame(&frames[1])), Ok(frame(&message(1))));
    }

    #[test]
    fn any_flipped_bit_is_refused() {
        let (mut a, mut b) = pair();
        let sealed = frame(&a.seal(&message(0)));
        for bit in 0..8 * sealed.payload.len() {
            let mut payload = sealed.payload.to_vec();
            payload[bit / 8] ^= 1 << (bit % 8);
            let forged = Frame {
                kind: sealed.kind,
                payload: payload.into(),
            };
            assert_eq!(b.open(forged), Err(SessionError::Tag), "bit {bit}");
        }
        for bit in 0..8 {
            let forged = Frame {
                kind: sealed.kind ^ 1 << bit,
                payload: sealed.payload.clone(),
            };
            assert_eq!(b.open(forged), Err(SessionError::Tag), "type bit {bit}");
        }
        b.open(sealed).unwrap();
    }

    #[test]
    fn another_links_frames_are_refused() {
        let (a, b) = (hello(&identity(), 1), hello(&identity(), 2));
        let key = ClusterKey::new(0, [5; 32]);
        let mut old = LinkKeys::new(&key, &a, &b);
        let mut fresh = b.clone();
        fresh.nonce = [9; 32];
        let mut new = LinkKeys::new(&key, &fresh, &a);
        let captured = old.seal(&message(0));
        assert_eq!(new.open(frame(&captured)), Err(SessionError::Tag));
    }
}
