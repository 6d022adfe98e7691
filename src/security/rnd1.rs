//! RND1: the message authentication of calls over HTTP and HTTPU, on requests and on answers.
//!
//! A client that holds the cluster's key asks a board for a challenge, adds 16 random bytes of its
//! own and derives the two keys of a session ([`SessionKeys`]); every request and every answer of
//! the session carries a tag over its canonical form ([`Canonical`]). Who keeps sessions and what
//! was seen is `proto/admission`; this module is arithmetic on values.
//!
//! # Canonical form
//!
//! Each field is its length in bytes (u32, big-endian) and its bytes, in this order:
//!
//! ```text
//! scheme        RND1                          method        POST
//! transport     http | httpu                  path?query    /rpc
//! direction     request | answer              host          192.168.1.7:38400, as in the request
//! kid           8 bytes                       content type  of this message, as sent; else empty
//! from          32 bytes: who sends this      digest        SHA-256 of this message's body
//! to            32 bytes: who is to read it   status        answers only: u16
//! boot          u64: starts of the board
//! seq           u64: the request's number
//! ```
//!
//! Numbers are big-endian. A client is named by its session, a board by its id. Method, path and
//! host of an answer are those of its request. `http` is HTTP over TCP, with TLS or without.
//!
//! # Carriers
//!
//! ```text
//! Authorization: RND1 kid=<16 hex>,from=<64 hex>,boot=<number>,seq=<number>,mac=<64 hex>
//! Authentication-Info: RND1 seq=<number>,mac=<64 hex>
//! ```
//!
//! in exactly this form: this order, no blanks, lower-case digits, no leading zeros. A request
//! that cannot have a header of its own carries the same credentials as the text of the member
//! `digest` of its JSON object; the digest is then of the body with each character of that text
//! replaced by `0` ([`body_digest_without`]). `tests/vectors/rnd1` has examples to check another
//! implementation against.
//!
//! Source: RFC 2104, RFC 5869, RFC 9110 §11 (fields); the scheme is this product's.

pub mod client;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::hex;
use super::hkdf;
use super::hmac::{MacKey, TAG_BYTES, Tag};
use super::key::{ClusterKey, Kid};

/// The scheme's name.
pub const SCHEME: &str = "RND1";
/// Bytes of the name of a session or of a board.
pub const PARTY_BYTES: usize = 32;
/// Bytes of a challenge: the first half of a session's name. The client draws the other half.
pub const CHALLENGE_BYTES: usize = 16;

/// A board's id or a session's name.
pub type Party = [u8; PARTY_BYTES];

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carriage {
    /// HTTP over TCP.
    Http,
    /// One HTTP message a datagram.
    Httpu,
}

impl Carriage {
    /// The word in the canonical form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Carriage::Http => "http",
            Carriage::Httpu => "httpu",
        }
    }
}

/// Everything a tag binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canonical<'a> {
    /// How it travels.
    pub carriage: Carriage,
    /// The cluster key of the session.
    pub kid: Kid,
    /// The session.
    pub session: Party,
    /// The board.
    pub board: Party,
    /// The board's count of starts.
    pub boot: u64,
    /// The number of the request.
    pub seq: u64,
    /// The method of the request.
    pub method: &'a str,
    /// Path and query of the request.
    pub target: &'a str,
    /// Its Host field.
    pub host: &'a str,
    /// Content-Type of this message; empty when there is none.
    pub content_type: &'a str,
    /// SHA-256 of the body of this message.
    pub digest: [u8; 32],
    /// Of an answer; none: this is a request.
    pub status: Option<u16>,
}

impl Canonical<'_> {
    /// The bytes that are authenticated.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head();
        bytes.extend_from_slice(&self.tail());
        bytes
    }

    /// All fields up to the host.
    fn head(&self) -> Vec<u8> {
        let (direction, from, to) = match self.status {
            None => ("request", &self.session, &self.board),
            Some(_) => ("answer", &self.board, &self.session),
        };
        let fields: [&[u8]; 11] = [
            SCHEME.as_bytes(),
            self.carriage.as_str().as_bytes(),
            direction.as_bytes(),
            &self.kid.0,
            from,
            to,
            &self.boot.to_be_bytes(),
            &self.seq.to_be_bytes(),
            self.method.as_bytes(),
            self.target.as_bytes(),
            self.host.as_bytes(),
        ];
        prefixed(fields.into_iter())
    }

    fn tail(&self) -> Vec<u8> {
        tail(self.content_type, &self.digest, self.status)
    }

    /// The tag of the message under the key of its direction.
    pub fn tag(&self, keys: &SessionKeys) -> Tag {
        self.key(keys).tag(&[&self.bytes()])
    }

    /// The tag is that of the message; compared in constant time.
    pub fn verify(&self, keys: &SessionKeys, tag: &Tag) -> bool {
        self.key(keys).verify(&[&self.bytes()], tag)
    }

    fn key<'k>(&self, keys: &'k SessionKeys) -> &'k MacKey {
        match self.status {
            None => &keys.request,
            Some(_) => &keys.answer,
        }
    }
}

/// The fields after the host.
fn tail(content_type: &str, digest: &[u8; 32], status: Option<u16>) -> Vec<u8> {
    let status = status.map(u16::to_be_bytes);
    let fields: [&[u8]; 2] = [content_type.as_bytes(), digest];
    prefixed(fields.into_iter().chain(status.as_ref().map(|it| &it[..])))
}

/// The fields, each after its length.
fn prefixed<'a>(fields: impl Iterator<Item = &'a [u8]> + Clone) -> Vec<u8> {
    let bytes = fields.clone().map(|field| 4 + field.len()).sum();
    let mut out = Vec::with_capacity(bytes);
    for field in fields {
        let length = u32::try_from(field.len()).expect("a head is at most 16 KiB");
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(field);
    }
    out
}

/// The keys of a client's session, one for each direction, made ready once.
#[derive(Clone, Debug)]
pub struct SessionKeys {
    request: MacKey,
    answer: MacKey,
}

impl SessionKeys {
    /// HKDF-SHA256 of the cluster key: salt = the session's name, info = "roundel rnd1" ‖ the
    /// board's id ‖ its boot (u64, big-endian) ‖ "request" or "answer".
    pub fn derive(key: &ClusterKey, session: &Party, board: &Party, boot: u64) -> Self {
        let boot = boot.to_be_bytes();
        let of = |direction: &[u8]| {
            let info: [&[u8]; 4] = [b"roundel rnd1", board, &boot, direction];
            MacKey::new(&hkdf::derive(key.secret(), session, &info))
        };
        SessionKeys {
            request: of(b"request"),
            answer: of(b"answer"),
        }
    }
}

/// An answer that is not made yet: what its tag binds of the request.
#[derive(Debug)]
pub struct Awaited {
    keys: Arc<SessionKeys>,
    /// Its canonical form up to the host.
    head: Vec<u8>,
    seq: u64,
}

impl Awaited {
    /// The answer to a request that was found genuine.
    pub fn new(request: &Canonical<'_>, keys: Arc<SessionKeys>) -> Self {
        let answer = Canonical {
            status: Some(0),
            ..*request
        };
        Awaited {
            keys,
            head: answer.head(),
            seq: request.seq,
        }
    }

    /// Proves the answer, as it is sent.
    pub fn proof(&self, status: u16, content_type: &str, body: &[u8]) -> Proof {
        let tail = tail(content_type, &body_digest(body), Some(status));
        Proof {
            seq: self.seq,
            mac: self.keys.answer.tag(&[&self.head, &tail]),
        }
    }
}

/// SHA-256 of a body.
pub fn body_digest(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

/// SHA-256 of a body with the bytes of `hole` replaced by `0`.
///
/// # Panics
/// When the hole is not within the body: a mistake of the caller.
pub fn body_digest_without(body: &[u8], hole: &Range<usize>) -> [u8; 32] {
    let mut digest = Sha256::new_with_prefix(&body[..hole.start]);
    for _ in hole.clone() {
        digest.update(b"0");
    }
    digest.chain_update(&body[hole.end..]).finalize().into()
}

/// Text that is not of the form; its sender is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "RND1 credentials are 'RND1 kid=<16 hex>,from=<64 hex>,boot=<n>,seq=<n>,mac=<64 hex>' exactly"
)]
pub struct Malformed;

/// What a request proves itself with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The cluster key.
    pub kid: Kid,
    /// The session.
    pub session: Party,
    /// The start of the board that the session is for.
    pub boot: u64,
    /// The number of the request within the session, from 1.
    pub seq: u64,
    /// The tag.
    pub mac: Tag,
}

impl Credentials {
    /// Reads them; only what [`fmt::Display`] writes is accepted.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut fields = Cut::of(text)?;
        let credentials = Credentials {
            kid: Kid(fields.bytes("kid=")?),
            session: fields.bytes("from=")?,
            boot: fields.number("boot=")?,
            seq: fields.number("seq=")?,
            mac: fields.bytes::<TAG_BYTES>("mac=")?,
        };
        fields.end()?;
        Ok(credentials)
    }
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (session, mac) = (hex::encode(&self.session), hex::encode(&self.mac));
        let Credentials { kid, boot, seq, .. } = self;
        write!(
            f,
            "{SCHEME} kid={kid},from={session},boot={boot},seq={seq},mac={mac}"
        )
    }
}

/// What an answer proves itself with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The number of the request it answers.
    pub seq: u64,
    /// The tag.
    pub mac: Tag,
}

impl Proof {
    /// Reads it; only what [`fmt::Display`] writes is accepted.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut fields = Cut::of(text)?;
        let proof = Proof {
            seq: fields.number("seq=")?,
            mac: fields.bytes::<TAG_BYTES>("mac=")?,
        };
        fields.end()?;
        Ok(proof)
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{SCHEME} seq={},mac={}",
            self.seq,
            hex::encode(&self.mac)
        )
    }
}

/// Cuts credentials into their fields, in order.
struct Cut<'a>(std::str::Split<'a, char>);

impl<'a> Cut<'a> {
    fn of(text: &'a str) -> Result<Self, Malformed> {
        let fields = text
            .strip_prefix(SCHEME)
            .and_then(|it| it.strip_prefix(' '));
        Ok(Cut(fields.ok_or(Malformed)?.split(',')))
    }

    fn next(&mut self, name: &str) -> Result<&'a str, Malformed> {
        let field = self.0.next().and_then(|field| field.strip_prefix(name));
        field.ok_or(Malformed)
    }

    fn bytes<const N: usize>(&mut self, name: &str) -> Result<[u8; N], Malformed> {
        let text = self.next(name)?;
        // One value has one text.
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(Malformed);
        }
        hex::decode(text).ok_or(Malformed)
    }

    fn number(&mut self, name: &str) -> Result<u64, Malformed> {
        let text = self.next(name)?;
        let canonical = text == "0" || !text.starts_with(['0', '+']);
        text.parse().ok().filter(|_| canonical).ok_or(Malformed)
    }

    fn end(mut self) -> Result<(), Malformed> {
        self.0.next().map_or(Ok(()), |_| Err(Malformed))
    }
}

#[cfg(test)]
mod tests;
