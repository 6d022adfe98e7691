//! The hello: how two boards come to believe who the other is, before anything else is believed.
//!
//! Start: each side of a fresh link sends its [`Hello`], with a nonce of its own. Steady state:
//! on the other's hello it sends a signature over both hellos (nonces, ids, lives and clusters
//! among them). End: the other's signature verifies and the link is up. Distress: any departure
//! from this order, another cluster's name, or a bad signature ends the link.
//!
//! Because each signature covers both nonces, neither side can be replayed to a third. Keys of
//! the cluster and a MAC on later frames come on top of this; there is none yet.

use crate::base::id::Id;
use crate::security::identity::{self, Signer};
use crate::wire::peer::{Hello, Message};

/// The protocol versions this release speaks.
pub const VERSIONS: [u8; 1] = [1];

const DOMAIN: &[u8] = b"roundel hello 1";

/// One side of one link's hello.
#[derive(Debug)]
pub struct Handshake {
    mine: Hello,
    mine_digest: Id,
    theirs: Option<(Hello, Id)>,
}

/// What a message led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this and wait for more.
    Send(Box<Message>),
    /// The link is up; this is who is at the other end.
    Up(Box<Hello>),
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
    pub fn handle(
        &mut self,
        message: Message,
        signer: &dyn Signer,
    ) -> Result<Step, HandshakeError> {
        match (message, self.theirs.take()) {
            (Message::Hello(theirs), None) => {
                self.check(&theirs)?;
                let digest = Id::of(&Message::Hello(theirs.clone()).encode());
                let signature = signer.sign(&transcript(&self.mine_digest, &digest));
                self.theirs = Some((theirs, digest));
                Ok(Step::Send(Box::new(Message::HelloAck { signature })))
            }
            (Message::HelloAck { signature }, Some((theirs, digest))) => {
                let message = transcript(&digest, &self.mine_digest);
                if !identity::verify(&theirs.public_key, &message, &signature) {
                    return Err(HandshakeError::Signature);
                }
                Ok(Step::Up(Box::new(theirs)))
            }
            _ => Err(HandshakeError::Order),
        }
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
        if theirs.contact.id == self.mine.contact.id && theirs.life == self.mine.life {
            return Err(HandshakeError::Ourselves);
        }
        Ok(())
    }
}

fn transcript(signer: &Id, other: &Id) -> Vec<u8> {
    [DOMAIN, signer.as_bytes(), other.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::member::{Contact, Life};
    use crate::security::identity::Identity;

    fn identity() -> Identity {
        Identity::from_pkcs8(&Identity::generate().unwrap()).unwrap()
    }

    fn hello(identity: &Identity, life: u8) -> Hello {
        Hello {
            versions: VERSIONS.to_vec(),
            nonce: [life; 32],
            public_key: identity.public_key().to_vec(),
            life: Life([life; 16]),
            cluster_name: "home".parse().unwrap(),
            cluster: None,
            established_ms: 0,
            doubtful: false,
            high_water: crate::base::version::Stamp::default(),
            wall_ms: 0,
            view: 0,
            contact: Contact {
                id: identity.id(),
                name: "board".parse().unwrap(),
                boot: 1,
                renewal: 0,
                endpoint: "127.0.0.1:38400".parse().unwrap(),
                version: "0".into(),
            },
        }
    }

    /// Runs both sides and returns what each made of the other.
    fn run(a: (&Identity, Hello), b: (&Identity, Hello)) -> [Result<Step, HandshakeError>; 2] {
        let (mut left, mut right) = (Handshake::new(a.1), Handshake::new(b.1));
        let from_left = left.handle(right.first(), a.0);
        let from_right = right.handle(left.first(), b.0);
        let finish =
            |side: &mut Handshake, own: &Result<Step, _>, other: &Result<Step, _>, key| match (
                own, other,
            ) {
                (Ok(_), Ok(Step::Send(message))) => side.handle(*message.clone(), key),
                (Err(error), _) => Err(HandshakeError::clone(error)),
                (Ok(_), _) => Err(HandshakeError::Order),
            };
        [
            finish(&mut left, &from_left, &from_right, a.0),
            finish(&mut right, &from_right, &from_left, b.0),
        ]
    }

    #[test]
    fn two_boards_come_to_believe_each_other() {
        let (a, b) = (identity(), identity());
        let [left, right] = run((&a, hello(&a, 1)), (&b, hello(&b, 2)));
        assert_eq!(left, Ok(Step::Up(Box::new(hello(&b, 2)))));
        assert_eq!(right, Ok(Step::Up(Box::new(hello(&a, 1)))));
    }

    #[test]
    fn claiming_another_boards_id_is_refused() {
        let (a, b) = (identity(), identity());
        let mut forged = hello(&b, 2);
        forged.contact.id = a.id();
        let [left, _] = run((&a, hello(&a, 1)), (&b, forged));
        assert_eq!(left, Err(HandshakeError::Id));
        let stolen = hello(&a, 2);
        let c = identity();
        let [left, _] = run((&c, hello(&c, 1)), (&b, stolen));
        assert_eq!(left, Err(HandshakeError::Signature));
    }

    #[test]
    fn signature_of_another_link_is_refused() {
        let (a, b) = (identity(), identity());
        let mut first = Handshake::new(hello(&b, 2));
        let ack = first.handle(Message::Hello(hello(&a, 1)), &b).unwrap();
        let mut fresh = hello(&a, 1);
        fresh.nonce = [9; 32];
        let mut second = Handshake::new(fresh);
        second.handle(Message::Hello(hello(&b, 2)), &a).unwrap();
        let Step::Send(ack) = ack else {
            panic!("a hello is answered by a signature")
        };
        assert_eq!(second.handle(*ack, &a), Err(HandshakeError::Signature));
    }

    #[test]
    fn other_cluster_other_version_and_wrong_order_end_the_link() {
        let (a, b) = (identity(), identity());
        let mut other = hello(&b, 2);
        other.cluster_name = "work".parse().unwrap();
        let [left, _] = run((&a, hello(&a, 1)), (&b, other));
        assert!(matches!(left, Err(HandshakeError::OtherCluster { .. })));
        let mut newer = hello(&b, 2);
        newer.versions = vec![9];
        let [left, _] = run((&a, hello(&a, 1)), (&b, newer));
        assert!(matches!(left, Err(HandshakeError::Versions { .. })));
        let mut side = Handshake::new(hello(&a, 1));
        assert_eq!(
            side.handle(Message::HelloAck { signature: vec![] }, &a),
            Err(HandshakeError::Order)
        );
        assert_eq!(
            Handshake::new(hello(&a, 1)).handle(Message::Hello(hello(&a, 1)), &a),
            Err(HandshakeError::Ourselves)
        );
    }
}
