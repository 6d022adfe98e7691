//! The vectors of `tests/vectors/rnd1`, and what no message may survive.

use std::path::PathBuf;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

/// A file of vectors; `tests/vectors/rnd1/README.md` says what is in it.
#[derive(Deserialize)]
struct Vector {
    key: String,
    kid: String,
    session: String,
    board: String,
    boot: u64,
    seq: u64,
    transport: String,
    method: String,
    target: String,
    host: String,
    content_type: String,
    body: String,
    /// The text of the `digest` member, when that is the carrier.
    member: Option<String>,
    status: Option<u16>,
    request_key: String,
    answer_key: String,
    digest: String,
    canonical: String,
    mac: String,
    credentials: String,
}

fn vectors() -> Vec<(PathBuf, Vector)> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/rnd1");
    let files = std::fs::read_dir(directory)
        .unwrap()
        .map(|it| it.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
    files
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let vector = serde_json::from_str(&text).unwrap();
            (path, vector)
        })
        .collect()
}

/// The two keys of a session before they are made ready.
fn session_keys(key: &ClusterKey, vector: &Vector) -> [String; 2] {
    let session: Party = hex::decode(&vector.session).unwrap();
    let board: Party = hex::decode(&vector.board).unwrap();
    ["request", "answer"].map(|direction| {
        let info: [&[u8]; 4] = [
            b"roundel rnd1",
            &board,
            &vector.boot.to_be_bytes(),
            direction.as_bytes(),
        ];
        hex::encode(&hkdf::derive(key.secret(), &session, &info))
    })
}

#[test]
fn the_vectors_hold() {
    let vectors = vectors();
    assert!(vectors.len() >= 5, "there are vectors");
    for (path, vector) in vectors {
        let name = path.display();
        let key = ClusterKey::new(0, hex::decode(&vector.key).unwrap());
        assert_eq!(key.kid().to_string(), vector.kid, "{name}");
        let [request_key, answer_key] = session_keys(&key, &vector);
        let body = vector.body.as_bytes();
        let digest = match vector.member.as_deref() {
            None => body_digest(body),
            Some(member) => {
                let start = vector.body.find(member).unwrap();
                body_digest_without(body, &(start..start + member.len()))
            }
        };
        let canonical = Canonical {
            carriage: match vector.transport.as_str() {
                "http" => Carriage::Http,
                "httpu" => Carriage::Httpu,
                other => panic!("{name}: {other}"),
            },
            kid: key.kid(),
            session: hex::decode(&vector.session).unwrap(),
            board: hex::decode(&vector.board).unwrap(),
            boot: vector.boot,
            seq: vector.seq,
            method: &vector.method,
            target: &vector.target,
            host: &vector.host,
            content_type: &vector.content_type,
            digest,
            status: vector.status,
        };
        let keys = SessionKeys::derive(&key, &canonical.session, &canonical.board, vector.boot);
        let mac = canonical.tag(&keys);
        assert_eq!(hex::encode(&canonical.digest), vector.digest, "{name}");
        assert_eq!(hex::encode(&canonical.bytes()), vector.canonical, "{name}");
        assert_eq!(
            (request_key, answer_key),
            (vector.request_key, vector.answer_key),
            "{name}"
        );
        assert_eq!(hex::encode(&mac), vector.mac, "{name}");
        let (kid, session, boot, seq) = (
            canonical.kid,
            canonical.session,
            canonical.boot,
            canonical.seq,
        );
        let credentials = match vector.status {
            None => Credentials {
                kid,
                session,
                boot,
                seq,
                mac,
            }
            .to_string(),
            Some(_) => Proof { seq, mac }.to_string(),
        };
        assert_eq!(credentials, vector.credentials, "{name}");
    }
}

/// A message with every field, as bytes so that each bit of each can be flipped.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Whole {
    numbers: [u8; 16],
    kid: [u8; 8],
    session: Party,
    board: Party,
    texts: [Vec<u8>; 4],
    digest: [u8; 32],
    status: [u8; 2],
}

impl Whole {
    fn parts(&mut self) -> Vec<&mut [u8]> {
        let mut parts: Vec<&mut [u8]> = vec![
            &mut self.numbers,
            &mut self.kid,
            &mut self.session,
            &mut self.board,
            &mut self.digest,
            &mut self.status,
        ];
        parts.extend(self.texts.iter_mut().map(|text| &mut text[..]));
        parts
    }

    fn tag(&self, carriage: Carriage, is_answer: bool) -> Tag {
        let [method, target, host, content_type] = self
            .texts
            .each_ref()
            .map(|text| text.escape_ascii().to_string());
        let number = |at: usize| u64::from_be_bytes(self.numbers[at..at + 8].try_into().unwrap());
        let canonical = Canonical {
            carriage,
            kid: Kid(self.kid),
            session: self.session,
            board: self.board,
            boot: number(0),
            seq: number(8),
            method: &method,
            target: &target,
            host: &host,
            content_type: &content_type,
            digest: self.digest,
            status: is_answer.then(|| u16::from_be_bytes(self.status)),
        };
        // The same keys for all: what is tried is the canonical form alone.
        let key = ClusterKey::new(0, [3; 32]);
        canonical.tag(&SessionKeys::derive(&key, &[1; 32], &[2; 32], 1))
    }
}

fn whole() -> impl Strategy<Value = Whole> {
    let text = || prop::collection::vec(any::<u8>(), 1..20);
    (
        any::<([u8; 16], [u8; 8], Party, Party)>(),
        [text(), text(), text(), text()],
        any::<([u8; 32], [u8; 2])>(),
    )
        .prop_map(
            |((numbers, kid, session, board), texts, (digest, status))| Whole {
                numbers,
                kid,
                session,
                board,
                texts,
                digest,
                status,
            },
        )
}

fn credentials() -> impl Strategy<Value = Credentials> {
    any::<([u8; 8], Party, u64, u64, Tag)>().prop_map(|(kid, session, boot, seq, mac)| {
        Credentials {
            kid: Kid(kid),
            session,
            boot,
            seq,
            mac,
        }
    })
}

proptest! {
    #[test]
    fn flipping_any_bit_of_any_canonical_field_changes_the_tag(
        whole in whole(), part in any::<prop::sample::Index>(), bit in any::<prop::sample::Index>(),
    ) {
        let mut forged = whole.clone();
        let mut parts = forged.parts();
        let count = parts.len();
        let part = &mut parts[part.index(count)];
        let bit = bit.index(8 * part.len());
        part[bit / 8] ^= 1 << (bit % 8);
        let tag = whole.tag(Carriage::Http, true);
        prop_assert_ne!(forged.tag(Carriage::Http, true), tag);
        prop_assert_ne!(whole.tag(Carriage::Httpu, true), tag);
        prop_assert_ne!(whole.tag(Carriage::Http, false), tag);
    }

    #[test]
    fn bytes_moved_between_fields_change_the_canonical_form(
        a in "[a-z]{1,8}", b in "[a-z]{1,8}",
    ) {
        let whole = |target: &str, host: &str| Whole {
            numbers: [0; 16], kid: [0; 8], session: [0; 32], board: [0; 32],
            texts: ["POST", target, host, ""].map(|text| text.as_bytes().to_vec()),
            digest: [0; 32], status: [0; 2],
        };
        let (joined, split) = (whole(&format!("{a}{b}"), ""), whole(&a, &b));
        prop_assert_ne!(joined.tag(Carriage::Http, false), split.tag(Carriage::Http, false));
    }

    #[test]
    fn credentials_written_are_read_back(credentials in credentials()) {
        prop_assert_eq!(Credentials::parse(&credentials.to_string()), Ok(credentials));
        let proof = Proof { seq: credentials.seq, mac: credentials.mac };
        prop_assert_eq!(Proof::parse(&proof.to_string()), Ok(proof));
    }

    #[test]
    fn credentials_have_one_text(credentials in credentials(), at in any::<prop::sample::Index>(),
        byte in 0x20_u8..0x7f) {
        let mut text = credentials.to_string().into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        let text = String::from_utf8(text).unwrap();
        if let Ok(read) = Credentials::parse(&text) {
            prop_assert_eq!(read.to_string(), text);
        }
    }
}

#[test]
fn credentials_of_another_form_are_refused() {
    let good = format!(
        "RND1 kid={},from={},boot=1,seq=2,mac={}",
        "0a".repeat(8),
        "0b".repeat(32),
        "0c".repeat(32)
    );
    assert!(Credentials::parse(&good).is_ok());
    for bad in [
        String::new(),
        good.replace("RND1", "rnd1"),
        good.replace("RND1 ", "RND1  "),
        good.replace("0a", "0A"),
        good.replace("seq=2", "seq=02"),
        good.replace("seq=2", "seq=+2"),
        good.replace("seq=2", "seq=18446744073709551616"),
        good.replace(",seq=2", ""),
        good.replace("boot=1,seq=2", "seq=2,boot=1"),
        good.replace(',', ", "),
        format!("{good},mac=00"),
        format!("{good} "),
    ] {
        assert_eq!(Credentials::parse(&bad), Err(Malformed), "{bad}");
    }
}

#[test]
fn a_hole_is_digested_as_zeros() {
    let digest = body_digest_without(b"{\"digest\":\"abc\"}", &(11..14));
    assert_eq!(digest, body_digest(b"{\"digest\":\"000\"}"));
}
