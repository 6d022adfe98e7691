//! The other end of a link: a key of its own and the hello, spoken over a blocking stream.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use bytes::{Bytes, BytesMut};
use roundel::base::member::{Contact, Life};
use roundel::proto::session::link::LinkKeys;
use roundel::proto::session::{Handshake, HandshakeError, Step, Terms, VERSIONS};
use roundel::security::identity::{Identity, Signer};
use roundel::security::key::{ClusterKey, Keyring};
use roundel::wire::frame::{self, Frame};
use roundel::wire::peer::{Door, Hello, Message};

use crate::client::connect;
use crate::process::CLUSTER;

/// A key nobody has seen before.
pub fn stranger() -> Identity {
    let document = Identity::generate().expect("there is entropy");
    Identity::from_pkcs8(&document).expect("a key just made is one")
}

/// The key of the cluster under test.
pub fn cluster_key() -> ClusterKey {
    ClusterKey::new(0, [7; 32])
}

/// Gives a board that has not started the cluster's key.
pub fn give_key(data: &Path) {
    std::fs::write(data.join("cluster.key"), cluster_key().to_text()).expect("there is room");
}

/// Hands a message of the other side to a hello under the cluster's key.
pub fn handle(
    handshake: &mut Handshake,
    message: Message,
    identity: &Identity,
) -> Result<Step, HandshakeError> {
    let terms = Terms {
        signer: identity,
        keyring: &Keyring::new(cluster_key()),
        admits: &|_, key| key.is_some(),
    };
    handshake.handle(message, &terms)
}

/// The hello a board of the same cluster sends that belongs to no ring.
pub fn hello(identity: &Identity) -> Hello {
    Hello {
        versions: VERSIONS.to_vec(),
        nonce: [7; 32],
        public_key: identity.public_key().to_vec(),
        cluster_name: CLUSTER.parse().expect("a name"),
        cluster: None,
        established_ms: 0,
        doubtful: false,
        high_water: roundel::base::version::Stamp::default(),
        wall_ms: 0,
        view: 0,
        kids: vec![cluster_key().kid().0],
        share: [9; 32],
        door: Door::Shut,
        contact: Contact {
            id: identity.id(),
            name: "stranger".parse().expect("a name"),
            boot: 1,
            life: Life([7; 16]),
            renewal: 0,
            // Nobody listens at the discard port.
            endpoint: ([127, 0, 0, 1], 9).into(),
            version: "0".into(),
        },
    }
}

/// One end of a stream of frames.
pub struct Peer {
    stream: TcpStream,
    buffer: BytesMut,
    /// Since the hello is over.
    keys: Option<LinkKeys>,
}

impl Peer {
    /// Connects and says nothing.
    pub fn connect(to: SocketAddr) -> Self {
        Peer {
            stream: connect(to),
            buffer: BytesMut::new(),
            keys: None,
        }
    }

    /// Connects and completes the hello.
    pub fn greet(to: SocketAddr, identity: &Identity, mine: Hello) -> Self {
        let mut peer = Peer::connect(to);
        let mut handshake = Handshake::new(mine);
        peer.send(&handshake.first());
        loop {
            let message = peer.receive().expect("the hello goes on");
            match handle(&mut handshake, message, identity).expect("its hello is good") {
                Step::Send(message) => peer.send(&message),
                Step::Up(believed) => {
                    peer.keys = believed.keys;
                    return peer;
                }
            }
        }
    }

    /// Sends a message.
    pub fn send(&mut self, message: &Message) {
        self.send_frame(&message.encode());
    }

    fn send_frame(&mut self, frame: &[u8]) {
        let sealed = self.keys.as_mut().map(|keys| keys.seal(frame));
        self.send_bytes(sealed.as_deref().unwrap_or(frame));
    }

    /// Sends a whole frame with any payload.
    pub fn send_payload(&mut self, kind: u8, payload: &[u8]) {
        let payload = Bytes::copy_from_slice(payload);
        self.send_frame(&Frame { kind, payload }.encode());
    }

    /// Sends any bytes; the board may have closed the stream.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The next message; none when the board has closed the stream.
    ///
    /// # Panics
    /// When neither comes in time, and on what is not a message.
    pub fn receive(&mut self) -> Option<Message> {
        loop {
            if let Some(frame) = frame::take(&mut self.buffer).expect("the board sends frames") {
                let frame = match &mut self.keys {
                    Some(keys) => keys.open(frame).expect("the board's tags verify"),
                    None => frame,
                };
                return Some(Message::from_frame(&frame).expect("the board sends messages"));
            }
            let mut bytes = [0; 4_096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(length) => self.buffer.extend_from_slice(&bytes[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    panic!("the board neither answered nor closed the link")
                }
                Err(_) => return None,
            }
        }
    }

    /// Receives until a message is the one wanted; what the board asks meanwhile is passed over.
    pub fn receive_until(&mut self, wanted: impl Fn(&Message) -> bool) -> Option<Message> {
        loop {
            let message = self.receive()?;
            if wanted(&message) {
                return Some(message);
            }
        }
    }

    /// Receives until the board closes the link.
    pub fn wait_closed(&mut self) {
        assert!(self.receive_until(|_| false).is_none());
    }
}
