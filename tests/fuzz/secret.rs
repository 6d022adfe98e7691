//! What else carries secrets: tokens, the keyring's file, keys that other boards offer, and the
//! packets of the failure detector, which come behind a tag.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use roundel::base::access::Scope;
use roundel::base::id::Id;
use roundel::base::rng::seeded;
use roundel::base::time::{Time, WallTime};
use roundel::proto::detector::swim::Swim;
use roundel::proto::detector::{Detector, Peer};
use roundel::proto::keyring::{Admission, Kept, Keys, Origin};
use roundel::security::key::{ClusterKey, Keyring};
use roundel::security::token::Token;

fn key(number: u8) -> ClusterKey {
    ClusterKey::new(u32::from(number), [number; 32])
}

/// A token's text; and changes of a genuine token's bytes, three bytes each: where, set or flip,
/// which byte. None but the genuine one grants anything.
pub fn token(bytes: &[u8]) {
    let (now, unset) = (WallTime(1_000_000), WallTime(1));
    let ring = Keyring::new(key(1));
    let genuine = Token::new(&key(1), [7; 8], Scope::Read, Some(2_000)).to_text();
    let granted = |text: &str| Token::check(text, &ring, now, unset);
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(text == genuine || granted(text).is_err(), "{text} grants");
    }
    let (mark, body) = genuine.split_at(genuine.len() - 76);
    let mut changed = URL_SAFE_NO_PAD.decode(body).expect("our own token");
    for change in bytes.chunks_exact(3) {
        let place = usize::from(change[0]) % changed.len();
        match change[1] % 2 {
            0 => changed[place] = change[2],
            _ => changed[place] ^= change[2],
        }
    }
    let text = format!("{mark}{}", URL_SAFE_NO_PAD.encode(&changed));
    match text == genuine {
        true => assert_eq!(granted(&text), Ok(Scope::Read)),
        false => assert!(granted(&text).is_err(), "{text} grants"),
    }
}

/// The keyring's file, as it may be after a power cut, or by another's hand.
pub fn keyring(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(read) = Kept::from_text(text)
    {
        let again = Kept::from_text(&read.to_text()).expect("our own text");
        assert_eq!(again, read);
    }
}

/// A key that another board offers, behind a byte that says how the board came in and how this one
/// stands. Nobody but a member replaces a key that the owner has confirmed.
pub fn offer(bytes: &[u8]) {
    let Some((how, offer)) = bytes.split_first() else {
        return;
    };
    let admission = [
        Admission::Member,
        Admission::Window,
        Admission::Asked,
        Admission::Accepted,
    ][usize::from(how % 4)];
    let (confirmed, settled) = (how & 4 != 0, how & 8 != 0);
    let origin = Origin {
        kept: Some(Kept {
            keyring: Keyring::new(key(3)),
            confirmed,
            revoked: vec![],
        }),
        window: Duration::from_secs(600),
        ..Origin::default()
    };
    let mut keys = Keys::new(origin, Time::ZERO, [[1; 32], [2; 32]]);
    keys.take(Time::ZERO, offer, admission, settled);
    let own = keys.keyring().current == key(3);
    assert!(
        own || admission != Admission::Accepted,
        "an invited board's key was taken"
    );
    assert!(
        own || admission == Admission::Member || !confirmed,
        "a stranger's key was taken"
    );
    assert!(
        keys.is_confirmed() || !confirmed,
        "a confirmation was taken back"
    );
    let again = keys.offer(settled, true);
    keys.take(Time::ZERO, &again, Admission::Member, settled);
}

fn peer(number: u8) -> Peer {
    Peer {
        id: Id::of(&[number]),
        boot: 1,
        renewal: 0,
        endpoint: format!("192.0.2.{}:38400", number + 1)
            .parse()
            .expect("an address"),
    }
}

/// Packets of the failure detector: from whom (one byte), so many bytes (two), and those; the
/// highest bit of the first has time pass instead.
pub fn swim(bytes: &[u8]) {
    let mut now = Time(3_000_000);
    let mut detector = Detector::new(peer(0), seeded([3; 32], 1), Box::new(Swim::default()));
    for number in 1..4 {
        detector.add(now, peer(number));
    }
    let mut rest = bytes;
    for _ in 0..64 {
        let [from, high, low, after @ ..] = rest else {
            return;
        };
        if from & 0x80 != 0 {
            now = now + Duration::from_millis(u64::from(*high) * 16);
            detector.handle_timeout(now);
            rest = &rest[2..];
        } else {
            let length = usize::from(u16::from_be_bytes([*high, *low])).min(after.len());
            let (packet, after) = after.split_at(length);
            let id = Id::of(&[from % 4]);
            match from & 0x40 {
                0 => detector.handle_packet(now, &id, packet),
                _ => detector.handle_packet_about(now, &id, packet, |id| id.as_bytes()[0] < 0x80),
            }
            rest = after;
        }
        while detector.poll_transmit().is_some() || detector.poll_finding().is_some() {}
    }
}
