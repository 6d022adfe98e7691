//! Sessions: how two boards come to believe who the other is, and what they send each other after.
//!
//! Start: each side of a fresh link sends its [`Hello`], with a nonce of its own and the names of
//! its cluster keys. Steady state: on the other's hello it sends a signature over both hellos
//! (nonces, ids, lives, clusters and keys among them), and a MAC over them under the newest key
//! that both hold. End: the other's signature and MAC verify and the link is up; its frames carry
//! tags from then on ([`link`]). Distress: any departure from this order, another cluster's name,
//! a bad signature or MAC ends the link, without a word.
//!
//! Because each signature covers both nonces, neither side can be replayed to a third. Boards that
//! hold no key in common get past the hello only where the board lets them in (pairing, a member
//! that missed a rotation, a one-time code); such a link carries sealed keys and what proves a
//! code.
//!
//! Datagrams need no hello of their own: [`datagram`].

pub mod datagram;
pub mod link;

use self::link::LinkKeys;
use crate::base::id::Id;
use crate::security::hmac::{self, MacKey, Tag};
use crate::security::identity::{self, Signer};
use crate::security::key::{ClusterKey, Keyring, Kid};
use crate::wire::peer::{Hello, Message};

/// The protocol versions this release speaks: 2 authenticates every frame.
pub const VERSIONS: [u8; 1] = [2];

const DOMAIN: &[u8] = b"roundel hello 2";
const MAC_DOMAIN: &[u8] = b"roundel hello mac 2";

/// Why a frame of a session is not believed. The sender hears nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// It names a key that is not held here.
    #[error("unknown key")]
    Key,
    /// Its tag does not verify, or there is none.
    #[error("bad tag")]
    Tag,
    /// It was here before, or is older than what is remembered.
    #[error("out of sequence")]
    Replay,
    /// There are as many sessions as there may be.
    #[error("too many sessions")]
    Full,
}

/// One side of one link's hello.
#[derive(Debug)]
pub struct Handshake {
    mine: Hello,
    mine_digest: Id,
    theirs: Option<Met>,
}

/// The other side, not believed yet.
#[derive(Debug)]
struct Met {
    hello: Hello,
    digest: Id,
    key: Option<ClusterKey>,
}

/// What a side brings to a hello, and whom it lets in.
pub struct Terms<'a> {
    /// Signs for this board.
    pub signer: &'a dyn Signer,
    /// The cluster's keys.
    pub keyring: &'a Keyring,
    /// The other side may come in, with the newest key both hold, if there is any.
    pub admits: &'a dyn Fn(&Hello, Option<&ClusterKey>) -> bool,
}

/// Who is at the other end of a link that is up.
#[derive(Debug)]
pub struct Believed {
    /// As it introduced itself.
    pub hello: Hello,
    /// For the frames that follow; none: there is no key in common.
    pub keys: Option<LinkKeys>,
    /// Digest of both hellos, the same on both sides: what is sealed on this link is bound to it.
    pub context: [u8; 32],
}

/// What a message led to.
#[derive(Debug)]
pub enum Step {
    /// Send this and wait for more.
    Send(Box<Message>),
    /// The link is up; this is who is at the other end.
    Up(Box<Believed>),
}

/// Why a link cannot be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// A frame out of order; the peer is to blame.
    #[error("a frame came before the hello was complete")]
    Order,
    /// No common protocol version.
    #[error("it speaks versions {got:?}, this board {VERSIONS:?}; update the older of the two")]
    Versions {
        /// Theirs.
        got: Vec<u8>,
    },
    /// The id is not the hash of the key, or differs from the contact's.
    #[error("its id is not the hash of its public key")]
    Id,
    /// The signature does not verify.
    #[error("its signature does not verify")]
    Signature,
    /// It holds none of this cluster's keys, or one that was replaced, or only says that it does.
    #[error("it does not hold this cluster's key")]
    Key,
    /// It belongs to a cluster of another name: not an error of anyone's.
    #[error("it belongs to cluster '{got}'")]
    OtherCluster {
        /// The name.
        got: String,
    },
    /// The other end is this very process.
    #[error("the other end is this board itself")]
    Ourselves,
}

impl Handshake {
    /// Starts one side; send [`Handshake::first`] at once.
    pub fn new(mine: Hello) -> Self {
        let mine_digest = Id::of(&Message::Hello(mine.clone()).encode());
        Handshake {
            mine,
            mine_digest,
            theirs: None,
        }
    }

    /// The first message to send.
    pub fn first(&self) -> Message {
        Message::Hello(self.mine.clone())
    }

    /// How this side introduced itself.
    pub fn mine(&self) -> &Hello {
        &self.mine
    }

    /// Takes the next message of the other side.
    ///
    /// # Errors
    /// [`HandshakeError`]; the link is to be closed.
    pub fn handle(&mut self, message: Message, terms: &Terms) -> Result<Step, HandshakeError> {
        match (message, self.theirs.take()) {
            (Message::Hello(theirs), None) => {
                self.check(&theirs)?;
                // The other side knows of the keys that were named to it.
                let named = |kid: &&[u8; 8]| self.mine.kids.contains(*kid);
                let kids: Vec<[u8; 8]> = theirs.kids.iter().filter(named).copied().collect();
                let key = newest_common(terms.keyring, &kids).cloned();
                if !(terms.admits)(&theirs, key.as_ref()) {
                    return Err(HandshakeError::Key);
                }
                let digest = Id::of(&Message::Hello(theirs.clone()).encode());
                let (mine, other) = (&self.mine_digest, &digest);
                let signature = terms.signer.sign(&transcript(DOMAIN, mine, other));
                let mac = key.as_ref().map(|key| hello_mac(key, mine, other));
                self.theirs = Some(Met {
                    hello: theirs,
                    digest,
                    key,
                });
                Ok(Step::Send(Box::new(Message::HelloAck { signature, mac })))
            }
            (Message::HelloAck { signature, mac }, Some(met)) => self.believe(met, &signature, mac),
            _ => Err(HandshakeError::Order),
        }
    }

    fn believe(
        &self,
        met: Met,
        signature: &[u8],
        mac: Option<Tag>,
    ) -> Result<Step, HandshakeError> {
        let Met { hello, digest, key } = met;
        // The MAC first: it costs little, and whoever has no key is given no more work.
        let holds = match (&key, mac) {
            (Some(key), Some(mac)) => {
                hmac::equal(&hello_mac(key, &digest, &self.mine_digest), &mac)
            }
            (None, None) => true,
            _ => false,
        };
        if !holds {
            return Err(HandshakeError::Key);
        }
        let signed = transcript(DOMAIN, &digest, &self.mine_digest);
        if !identity::verify(&hello.public_key, &signed, signature) {
            return Err(HandshakeError::Signature);
        }
        let low = self.mine_digest.min(digest);
        let high = self.mine_digest.max(digest);
        let mut context = [0; 32];
        context.copy_from_slice(Id::of(&transcript(b"", &low, &high)).as_bytes());
        Ok(Step::Up(Box::new(Believed {
            keys: key.map(|key| LinkKeys::new(&key, &self.mine, &hello)),
            hello,
            context,
        })))
    }

    fn check(&self, theirs: &Hello) -> Result<(), HandshakeError> {
        if !theirs
            .versions
            .iter()
            .any(|version| VERSIONS.contains(version))
        {
            return Err(HandshakeError::Versions {
                got: theirs.versions.clone(),
            });
        }
        if theirs.cluster_name != self.mine.cluster_name {
            return Err(HandshakeError::OtherCluster {
                got: theirs.cluster_name.to_string(),
            });
        }
        if Id::of(&theirs.public_key) != theirs.contact.id {
            return Err(HandshakeError::Id);
        }
        let (mine, other) = (&self.mine.contact, &theirs.contact);
        if (other.id, other.life) == (mine.id, mine.life) {
            return Err(HandshakeError::Ourselves);
        }
        Ok(())
    }
}

/// Both sides choose the same: epochs travel with their keys.
fn newest_common<'a>(keyring: &'a Keyring, kids: &[[u8; 8]]) -> Option<&'a ClusterKey> {
    let held = |key: &&ClusterKey| kids.iter().any(|kid| Kid(*kid) == key.kid());
    let common = keyring.keys().filter(held);
    common.max_by_key(|key| (key.epoch(), key.kid()))
}

fn hello_mac(key: &ClusterKey, signer: &Id, other: &Id) -> Tag {
    let key = MacKey::new(&key.derive(&[MAC_DOMAIN]));
    key.tag(&[signer.as_bytes(), other.as_bytes()])
}

fn transcript(domain: &[u8], signer: &Id, other: &Id) -> Vec<u8> {
    [domain, signer.as_bytes(), other.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::member::{Contact, Life};
    use crate::security::identity::Identity;
    use crate::wire::peer::Door;

    pub(super) fn identity() -> Identity {
        Identity::from_pkcs8(&Identity::generate().unwrap()).unwrap()
    }

    pub(super) fn hello(identity: &Identity, life: u8) -> Hello {
        Hello {
            versions: VERSIONS.to_vec(),
            nonce: [life; 32],
            public_key: identity.public_key().to_vec(),
            cluster_name: "home".parse().unwrap(),
            cluster: None,
            established_ms: 0,
            doubtful: false,
            high_water: crate::base::version::Stamp::default(),
            wall_ms: 0,
            view: 0,
            kids: vec![key(1).kid().0],
            share: [life; 32],
            door: Door::Shut,
            contact: Contact {
                id: identity.id(),
                name: "board".parse().unwrap(),
                boot: 1,
                life: Life([life; 16]),
                renewal: 0,
                endpoint: "127.0.0.1:38400".parse().unwrap(),
                version: "0".into(),
            },
        }
    }

    fn key(number: u32) -> ClusterKey {
        ClusterKey::new(number, [number as u8; 32])
    }

    /// Hands a message to one side that holds these keys.
    fn give(
        side: &mut Handshake,
        identity: &Identity,
        keyring: &Keyring,
        message: Message,
    ) -> Result<Step, HandshakeError> {
        let terms = Terms {
            signer: identity,
            keyring,
            admits: &|hello, key| key.is_some() || hello.door == Door::Window,
        };
        side.handle(message, &terms)
    }

    type Ended = Result<Box<Believed>, HandshakeError>;

    /// Runs both sides, each with its keys, and returns what each made of the other.
    fn run(a: (&Identity, Hello, &Keyring), b: (&Identity, Hello, &Keyring)) -> [Ended; 2] {
        let (mut left, mut right) = (Handshake::new(a.1), Handshake::new(b.1));
        let from_left = give(&mut left, a.0, a.2, right.first());
        let from_right = give(&mut right, b.0, b.2, left.first());
        let finish = |side: &mut Handshake, own: &Result<Step, _>, other: &Result<Step, _>, who| {
            let (identity, keyring): (&Identity, &Keyring) = who;
            match (own, other) {
                (Ok(_), Ok(Step::Send(message))) => {
                    match give(side, identity, keyring, *message.clone())? {
                        Step::Up(believed) => Ok(believed),
                        Step::Send(_) => Err(HandshakeError::Order),
                    }
                }
                (Err(error), _) => Err(HandshakeError::clone(error)),
                (Ok(_), _) => Err(HandshakeError::Order),
            }
        };
        [
            finish(&mut left, &from_left, &from_right, (a.0, a.2)),
            finish(&mut right, &from_right, &from_left, (b.0, b.2)),
        ]
    }

    fn error(ended: &Ended) -> HandshakeError {
        ended.as_ref().unwrap_err().clone()
    }

    #[test]
    fn two_boards_with_one_key_come_to_believe_each_other() {
        let (a, b, ring) = (identity(), identity(), Keyring::new(key(1)));
        let [left, right] = run((&a, hello(&a, 1), &ring), (&b, hello(&b, 2), &ring));
        let (mut left, mut right) = (left.unwrap(), right.unwrap());
        assert_eq!((&left.hello, &right.hello), (&hello(&b, 2), &hello(&a, 1)));
        assert_eq!(left.context, right.context);
        let (from, to) = (left.keys.as_mut().unwrap(), right.keys.as_mut().unwrap());
        let frame = left_frame();
        let sealed = from.seal(&frame.encode());
        let received = crate::wire::frame::Frame::from_datagram(&sealed).unwrap();
        assert_eq!(to.open(received), Ok(frame));
    }

    fn left_frame() -> crate::wire::frame::Frame {
        crate::wire::frame::Frame {
            kind: 0x13,
            payload: bytes::Bytes::from_static(b"payload"),
        }
    }

    #[test]
    fn the_newest_common_key_is_used_and_a_stranger_is_refused() {
        let (a, b) = (identity(), identity());
        let behind = Keyring::new(key(1));
        let ahead = Keyring {
            previous: Some(key(1)),
            ..Keyring::new(key(2))
        };
        let mut newer = hello(&b, 2);
        newer.kids = vec![key(2).kid().0, key(1).kid().0];
        let [left, _] = run((&a, hello(&a, 1), &behind), (&b, newer.clone(), &ahead));
        assert_eq!(left.unwrap().keys.unwrap().kid(), key(1).kid());
        let stranger = Keyring::new(key(9));
        let mut other = hello(&a, 1);
        other.kids = vec![key(9).kid().0];
        let [left, right] = run((&a, other, &stranger), (&b, newer, &ahead));
        assert_eq!(error(&left), HandshakeError::Key);
        assert_eq!(error(&right), HandshakeError::Key);
    }

    #[test]
    fn naming_a_key_is_not_holding_it() {
        let (a, b) = (identity(), identity());
        let (ring, none) = (Keyring::new(key(1)), Keyring::new(key(9)));
        // It says in its hello that it holds the key, and that its window is open.
        let mut liar = hello(&b, 2);
        liar.door = Door::Window;
        let mut honest = hello(&a, 1);
        honest.door = Door::Window;
        let [left, _] = run((&a, honest.clone(), &ring), (&b, liar.clone(), &none));
        assert_eq!(error(&left), HandshakeError::Key);
        // A key of the same name and other bytes does not verify either.
        let mut side = Handshake::new(honest);
        give(&mut side, &a, &ring, Message::Hello(liar.clone())).unwrap();
        let mut forger = Handshake::new(liar);
        let forged = give(&mut forger, &b, &ring, side.first()).unwrap();
        let Step::Send(forged) = forged else {
            panic!("a hello is answered")
        };
        let Message::HelloAck { signature, mac } = *forged else {
            panic!("by a signature")
        };
        for bit in 0..256 {
            let mut mac = mac.unwrap();
            mac[bit / 8] ^= 1 << (bit % 8);
            let mut side = Handshake::new(side.mine().clone());
            give(&mut side, &a, &ring, forger.first()).unwrap();
            let ack = Message::HelloAck {
                signature: signature.clone(),
                mac: Some(mac),
            };
            assert_eq!(
                give(&mut side, &a, &ring, ack).unwrap_err(),
                HandshakeError::Key
            );
        }
    }

    #[test]
    fn boards_without_a_common_key_meet_where_both_let_them() {
        let (a, b) = (identity(), identity());
        let rings = [1, 2].map(|number| Keyring::new(key(number)));
        let mut hellos = [hello(&a, 1), hello(&b, 2)];
        hellos[1].kids = vec![key(2).kid().0];
        hellos.iter_mut().for_each(|it| it.door = Door::Window);
        let [one, two] = hellos.clone();
        let [left, right] = run((&a, one, &rings[0]), (&b, two, &rings[1]));
        assert!(left.unwrap().keys.is_none() && right.unwrap().keys.is_none());
        hellos[1].door = Door::Shut;
        let [one, two] = hellos;
        let [left, _] = run((&a, one, &rings[0]), (&b, two, &rings[1]));
        assert_eq!(error(&left), HandshakeError::Key);
    }

    #[test]
    fn claiming_another_boards_id_is_refused() {
        let (a, b, ring) = (identity(), identity(), Keyring::new(key(1)));
        let mut forged = hello(&b, 2);
        forged.contact.id = a.id();
        let [left, _] = run((&a, hello(&a, 1), &ring), (&b, forged, &ring));
        assert_eq!(error(&left), HandshakeError::Id);
        let stolen = hello(&a, 2);
        let c = identity();
        let [left, _] = run((&c, hello(&c, 1), &ring), (&b, stolen, &ring));
        assert_eq!(error(&left), HandshakeError::Signature);
    }

    #[test]
    fn acknowledgement_of_another_link_is_refused() {
        let (a, b, ring) = (identity(), identity(), Keyring::new(key(1)));
        let mut first = Handshake::new(hello(&b, 2));
        let ack = give(&mut first, &b, &ring, Message::Hello(hello(&a, 1))).unwrap();
        let mut fresh = hello(&a, 1);
        fresh.nonce = [9; 32];
        let mut second = Handshake::new(fresh);
        give(&mut second, &a, &ring, Message::Hello(hello(&b, 2))).unwrap();
        let Step::Send(ack) = ack else {
            panic!("a hello is answered by a signature")
        };
        let refused = give(&mut second, &a, &ring, *ack).unwrap_err();
        assert_eq!(refused, HandshakeError::Key);
    }

    #[test]
    fn other_cluster_other_version_and_wrong_order_end_the_link() {
        let (a, b, ring) = (identity(), identity(), Keyring::new(key(1)));
        let mut other = hello(&b, 2);
        other.cluster_name = "work".parse().unwrap();
        let [left, _] = run((&a, hello(&a, 1), &ring), (&b, other, &ring));
        assert!(matches!(error(&left), HandshakeError::OtherCluster { .. }));
        let mut older = hello(&b, 2);
        older.versions = vec![1];
        let [left, _] = run((&a, hello(&a, 1), &ring), (&b, older, &ring));
        assert!(matches!(error(&left), HandshakeError::Versions { .. }));
        let early = Message::HelloAck {
            signature: vec![],
            mac: None,
        };
        let mut side = Handshake::new(hello(&a, 1));
        let refused = give(&mut side, &a, &ring, early).unwrap_err();
        assert_eq!(refused, HandshakeError::Order);
        let mut side = Handshake::new(hello(&a, 1));
        let refused = give(&mut side, &a, &ring, Message::Hello(hello(&a, 1))).unwrap_err();
        assert_eq!(refused, HandshakeError::Ourselves);
    }
}
