//! Sessions between boards: hellos, the frames of links and datagrams, by an attacker that holds
//! everything that was ever sent and no key. What is believed must be what was sent, once.
//!
//! An input is a byte that chooses hellos, a link or datagrams, and orders of six bytes each: what
//! is done, with which message, where in it (two bytes), how (see [`Order::change`]), with which
//! byte. Genuine frames with other payloads are among what is sent, so that what comes after a tag
//! is reached: whoever holds the key may err.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use bytes::Bytes;
use roundel::base::id::Id;
use roundel::base::member::{Contact, Life};
use roundel::base::version::Stamp;
use roundel::proto::session::datagram::{Datagrams, Party};
use roundel::proto::session::link::LinkKeys;
use roundel::proto::session::{Handshake, Step, Terms, VERSIONS};
use roundel::security::identity::{Identity, Signer};
use roundel::security::key::{ClusterKey, Keyring};
use roundel::wire::frame::Frame;
use roundel::wire::peer::{Door, Hello, Message};

const ORDER_BYTES: usize = 6;
const ORDERS_MAX: usize = 64;
const WINDOW: u64 = roundel::base::limit::SEQUENCE_WINDOW;

/// One thing that the attacker, or a board, does.
#[derive(Clone, Copy)]
struct Order {
    what: u8,
    which: u8,
    place: u16,
    how: u8,
    byte: u8,
}

impl Order {
    fn read(bytes: &[u8]) -> Self {
        Order {
            what: bytes[0],
            which: bytes[1],
            place: u16::from_be_bytes([bytes[2], bytes[3]]),
            how: bytes[4],
            byte: bytes[5],
        }
    }

    /// One of a list that is not empty.
    fn choose<'a, T>(&self, from: &'a [T]) -> &'a T {
        &from[usize::from(self.which) % from.len()]
    }

    /// 0: as it is, 1: a byte set, 2: bits flipped, 3: cut, 4: a byte put in, 5: another type.
    fn change(&self, frame: &Frame) -> Frame {
        let mut bytes = frame.payload.to_vec();
        let mut kind = frame.kind;
        let place = usize::from(self.place);
        match self.how % 6 {
            1 if !bytes.is_empty() => {
                let place = place % bytes.len();
                bytes[place] = self.byte;
            }
            2 if !bytes.is_empty() => {
                let place = place % bytes.len();
                bytes[place] ^= self.byte;
            }
            3 => bytes.truncate(place % (bytes.len() + 1)),
            4 => bytes.insert(place % (bytes.len() + 1), self.byte),
            5 => kind = self.byte,
            _ => {}
        }
        Frame {
            kind,
            payload: bytes.into(),
        }
    }
}

fn key(number: u8) -> ClusterKey {
    ClusterKey::new(u32::from(number), [number; 32])
}

fn identities() -> &'static [Identity; 2] {
    static MADE: OnceLock<[Identity; 2]> = OnceLock::new();
    MADE.get_or_init(|| {
        [0, 1].map(|_| {
            let document = Identity::generate().expect("there is entropy");
            Identity::from_pkcs8(&document).expect("it was just made")
        })
    })
}

fn hello(board: usize, kids: &[u8], door: Door) -> Hello {
    let identity = &identities()[board];
    let number = board as u8 + 1;
    Hello {
        versions: VERSIONS.to_vec(),
        nonce: [number; 32],
        public_key: identity.public_key().to_vec(),
        cluster_name: "home".parse().expect("a name"),
        cluster: None,
        established_ms: 0,
        view: 0,
        doubtful: false,
        high_water: Stamp::default(),
        wall_ms: 0,
        kids: kids.iter().map(|number| key(*number).kid().0).collect(),
        share: [number; 32],
        door,
        contact: Contact {
            id: identity.id(),
            name: "board".parse().expect("a name"),
            boot: 1,
            life: Life([number; 16]),
            renewal: 0,
            endpoint: "192.0.2.1:38400".parse().expect("an address"),
            version: "0".into(),
        },
    }
}

fn frame_of(message: &Message) -> Frame {
    Frame::from_datagram(&message.encode()).expect("our own frame")
}

/// What boards send each other, a frame for each type.
fn genuine() -> &'static [Frame] {
    static MADE: OnceLock<Vec<Frame>> = OnceLock::new();
    MADE.get_or_init(|| {
        let swim = Message::Swim {
            view: 7,
            wall_ms: 8,
            packet: Bytes::from_static(b"packet"),
        };
        let mut made = vec![
            frame_of(&swim),
            frame_of(&Message::Hello(hello(0, &[1], Door::Shut))),
        ];
        let payload = Bytes::from_static(&[0; 24]);
        made.extend(
            [0x02, 0x03]
                .into_iter()
                .chain(0x10..0x20)
                .map(|kind| Frame {
                    kind,
                    payload: payload.clone(),
                }),
        );
        made
    })
}

/// See the module.
pub fn session(input: &[u8]) {
    let Some((mode, rest)) = input.split_first() else {
        return;
    };
    let orders = rest.chunks_exact(ORDER_BYTES).take(ORDERS_MAX);
    let orders: Vec<Order> = orders.map(Order::read).collect();
    match mode % 3 {
        0 => hellos(mode / 3, &orders),
        1 => link(&orders),
        _ => datagrams(&orders),
    }
}

/// Two boards meet through the attacker: keys in common by `keys`.
fn hellos(keys: u8, orders: &[Order]) {
    let (held, door): ([&[u8]; 2], Door) = match keys % 4 {
        0 => ([&[1], &[1]], Door::Shut),
        1 => ([&[2, 1], &[1]], Door::Shut),
        2 => ([&[1], &[2]], Door::Window),
        _ => ([&[1], &[2]], Door::Shut),
    };
    let ring = |numbers: &[u8]| Keyring {
        previous: numbers.get(1).map(|number| key(*number)),
        ..Keyring::new(key(numbers[0]))
    };
    let rings = held.map(ring);
    let mine = [hello(0, held[0], door), hello(1, held[1], door)];
    let mut sides = mine.clone().map(|it| Some(Handshake::new(it)));
    let mut sent: Vec<Frame> = mine
        .iter()
        .cloned()
        .map(Message::Hello)
        .map(|it| frame_of(&it))
        .collect();
    let mut up: Vec<[u8; 32]> = Vec::new();
    for order in orders {
        let Ok(message) = Message::from_frame(&order.change(order.choose(&sent))) else {
            continue;
        };
        let board = usize::from(order.what % 2);
        let Some(mut side) = sides[board].take() else {
            continue;
        };
        let terms = Terms {
            signer: &identities()[board],
            keyring: &rings[board],
            admits: &|hello, key| key.is_some() || hello.door == Door::Window,
        };
        match side.handle(message, &terms) {
            Ok(Step::Send(answer)) => {
                sent.push(frame_of(&answer));
                sides[board] = Some(side);
            }
            Ok(Step::Up(believed)) => {
                assert_eq!(
                    believed.hello,
                    mine[1 - board],
                    "a forged hello is believed"
                );
                assert_ne!(keys % 4, 3, "it holds no key");
                assert_eq!(believed.keys.is_some(), keys % 4 < 2);
                up.push(believed.context);
            }
            // The link is closed.
            Err(_) => {}
        }
    }
    assert!(up.windows(2).all(|pair| pair[0] == pair[1]));
}

/// One direction of a link: a frame is taken if it is the next as it was sent.
fn link(orders: &[Order]) {
    let hellos = [hello(0, &[1], Door::Shut), hello(1, &[1], Door::Shut)];
    let mut from = LinkKeys::new(&key(1), &hellos[0], &hellos[1]);
    let mut to = LinkKeys::new(&key(1), &hellos[1], &hellos[0]);
    let (mut plain, mut sealed): (Vec<Frame>, Vec<Frame>) = (vec![], vec![]);
    let mut next = 0;
    for order in orders {
        if order.what % 4 == 0 || sealed.is_empty() {
            let frame = order.change(order.choose(genuine()));
            let bytes = from.seal(&frame.encode());
            sealed.push(Frame::from_datagram(&bytes).expect("our own frame"));
            plain.push(frame);
            continue;
        }
        let frame = match order.what % 4 {
            1 => sealed.get(next).unwrap_or(&sealed[0]).clone(),
            _ => order.change(order.choose(&sealed)),
        };
        if order.what % 4 == 3 {
            assert!(from.open(frame).is_err(), "a frame came back and was taken");
            continue;
        }
        let expected = sealed.get(next) == Some(&frame);
        let opened = to.open(frame);
        assert_eq!(opened.is_ok(), expected, "frame {next}: {opened:?}");
        if let Ok(opened) = opened {
            assert_eq!(opened, plain[next]);
            let _ = Message::from_frame(&opened);
            next += 1;
        }
    }
}

/// A datagram that was sent, and what it takes to be believed.
struct Sent {
    plain: Frame,
    sealed: Frame,
    lives: [u8; 2],
    key: u8,
    number: u64,
}

/// Two boards, in their lives; what the first has sent, and which numbers the second took.
struct Pair {
    lives: [u8; 2],
    signed_with: u8,
    held: [u8; 2],
    from: Datagrams,
    to: Datagrams,
    sent: Vec<Sent>,
    count: u64,
    taken: BTreeSet<u64>,
}

fn party(board: u8, life: u8) -> Party {
    Party {
        id: Id::of(&[board]),
        life: Life([life; 16]),
    }
}

impl Pair {
    /// So many are lost before the one that arrives.
    fn send(&mut self, plain: Frame, lost: u64) {
        let (to, key) = (party(1, self.lives[1]), key(self.signed_with));
        let mut bytes = Bytes::new();
        for _ in 0..=lost {
            bytes = self.from.seal(to, &key, &plain.encode());
            self.count += 1;
        }
        self.sent.push(Sent {
            plain,
            sealed: Frame::from_datagram(&bytes).expect("our own frame"),
            lives: self.lives,
            key: self.signed_with,
            number: self.count - 1,
        });
    }

    fn deliver(&mut self, order: &Order) {
        let whole = order.choose(&self.sent);
        let frame = order.change(&whole.sealed);
        let ring = Keyring {
            previous: Some(key(self.held[1])),
            ..Keyring::new(key(self.held[0]))
        };
        let highest = self.taken.last().copied().unwrap_or(0);
        let expected = frame == whole.sealed
            && whole.lives == self.lives
            && self.held.contains(&whole.key)
            && !self.taken.contains(&whole.number)
            && whole.number + WINDOW > highest;
        let opened = self.to.open(party(0, self.lives[0]), &ring, frame);
        assert_eq!(opened.is_ok(), expected, "{}: {opened:?}", whole.number);
        if let Ok(opened) = opened {
            assert_eq!(opened, whole.plain);
            let _ = Message::from_frame(&opened);
            self.taken.insert(whole.number);
        }
    }

    /// None has as many lives as would repeat.
    fn restart(&mut self, board: usize) {
        let Some(life) = self.lives[board].checked_add(1) else {
            return;
        };
        self.lives[board] = life;
        self.taken.clear();
        let fresh = Datagrams::new(party(board as u8, life));
        match board {
            0 => (self.from, self.count) = (fresh, 0),
            _ => self.to = fresh,
        }
    }
}

/// From one board to another, with restarts, other keys and losses.
fn datagrams(orders: &[Order]) {
    let mut pair = Pair {
        lives: [1, 1],
        signed_with: 1,
        held: [1, 2],
        from: Datagrams::new(party(0, 1)),
        to: Datagrams::new(party(1, 1)),
        sent: vec![],
        count: 0,
        taken: BTreeSet::new(),
    };
    for order in orders {
        let lost = u64::from(order.place) % (2 * WINDOW);
        match order.what % 6 {
            0 => pair.send(order.change(order.choose(genuine())), 0),
            1 => pair.send(order.change(order.choose(genuine())), lost),
            2 | 3 if !pair.sent.is_empty() => pair.deliver(order),
            4 => pair.restart(usize::from(order.which % 2)),
            5 => match order.which % 3 {
                0 => pair.signed_with = order.byte % 4,
                place => pair.held[usize::from(place) - 1] = order.byte % 4,
            },
            _ => {}
        }
    }
}
