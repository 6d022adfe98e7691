//! A client's end of a session: signs its requests and checks their answers.

use super::{
    CHALLENGE_BYTES, Canonical, Carriage, Credentials, PARTY_BYTES, Party, Proof, SessionKeys,
    body_digest,
};
use crate::security::hmac::TAG_BYTES;
use crate::security::key::{ClusterKey, Kid};

/// A session with one start of one board.
#[derive(Debug)]
pub struct ClientSession {
    kid: Kid,
    board: Party,
    boot: u64,
    session: Party,
    keys: SessionKeys,
    seq: u64,
}

/// A request as it is sent: what its answer is checked against.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// How it travels.
    pub carriage: Carriage,
    /// Its method.
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// Its Host field.
    pub host: &'a str,
    /// Its Content-Type; empty when there is none.
    pub content_type: &'a str,
}

/// An answer as it came.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The status.
    pub status: u16,
    /// Its Content-Type; empty when there is none.
    pub content_type: &'a str,
    /// Its body.
    pub body: &'a [u8],
    /// Its Authentication-Info.
    pub proof: &'a str,
}

impl ClientSession {
    /// Begins a session with what the board's challenge says and 16 random bytes; the board learns
    /// of it by the first request.
    pub fn new(
        key: &ClusterKey,
        board: Party,
        boot: u64,
        challenge: [u8; CHALLENGE_BYTES],
        own: [u8; PARTY_BYTES - CHALLENGE_BYTES],
    ) -> Self {
        let mut session = [0; PARTY_BYTES];
        session[..CHALLENGE_BYTES].copy_from_slice(&challenge);
        session[CHALLENGE_BYTES..].copy_from_slice(&own);
        ClientSession {
            kid: key.kid(),
            board,
            boot,
            session,
            keys: SessionKeys::derive(key, &session, &board, boot),
            seq: 0,
        }
    }

    /// Bytes of the text of the next request's credentials: the room to leave for them in the
    /// member `digest`.
    pub fn text_bytes(&self) -> usize {
        let blank = Credentials {
            kid: self.kid,
            session: self.session,
            boot: self.boot,
            seq: self.seq + 1,
            mac: [0; TAG_BYTES],
        };
        blank.to_string().len()
    }

    /// The credentials of the next request.
    pub fn sign(&mut self, sent: &Sent<'_>, body: &[u8]) -> Credentials {
        self.seq += 1;
        let canonical = self.canonical(sent, self.seq, sent.content_type, body, None);
        Credentials {
            kid: self.kid,
            session: self.session,
            boot: self.boot,
            seq: self.seq,
            mac: canonical.tag(&self.keys),
        }
    }

    /// The answer is the board's to the request of that number.
    pub fn check(&self, sent: &Sent<'_>, seq: u64, answer: &Received<'_>) -> bool {
        let Ok(proof) = Proof::parse(answer.proof) else {
            return false;
        };
        let status = Some(answer.status);
        let canonical = self.canonical(sent, seq, answer.content_type, answer.body, status);
        proof.seq == seq && canonical.verify(&self.keys, &proof.mac)
    }

    fn canonical<'a>(
        &self,
        sent: &Sent<'a>,
        seq: u64,
        content_type: &'a str,
        body: &[u8],
        status: Option<u16>,
    ) -> Canonical<'a> {
        Canonical {
            carriage: sent.carriage,
            kid: self.kid,
            session: self.session,
            board: self.board,
            boot: self.boot,
            seq,
            method: sent.method,
            target: sent.target,
            host: sent.host,
            content_type,
            digest: body_digest(body),
            status,
        }
    }
}
