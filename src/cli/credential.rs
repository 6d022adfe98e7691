//! What a verb proves itself with: the cluster's key (`--key`), a token (`--token`), or nothing.
//!
//! With the key every call is signed and every answer checked, by a session that is begun with the
//! first call (RND1, `security/rnd1.rs`). A token is shown as it is, so only to a process on this
//! machine or within TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use hyper::header::HeaderValue;
use serde::Deserialize;

use super::args::ClientArgs;
use super::failure::Failure;
use super::tls::Tls;
use crate::base::id::Id;
use crate::node::access::read_key;
use crate::security::hex;
use crate::security::key::ClusterKey;
use crate::security::rnd1::client::{ClientSession, Received, Sent};
use crate::security::rnd1::{CHALLENGE_BYTES, Carriage};

/// What to prove oneself with.
#[derive(Clone, Debug, Default)]
pub enum Credential {
    /// Nothing.
    #[default]
    None,
    /// The cluster's key.
    Key(Arc<ClusterKey>),
    /// A token.
    Token(HeaderValue),
}

/// A board's challenge.
#[derive(Debug, Deserialize)]
pub struct Challenge {
    to: Id,
    boot: u64,
    /// None: the board has no key.
    kid: Option<String>,
    nonce: String,
}

/// Why no session can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// It is none.
    #[error("it answers no challenge")]
    Form,
    /// There is nothing to prove to it.
    #[error("it has no key")]
    Keyless,
    /// The system gave no random bytes.
    #[error("the system's random source failed")]
    NoEntropy,
}

impl Credential {
    /// What the arguments name.
    ///
    /// # Errors
    /// [`Failure`] of usage when both are named, for a file that is no key or text that is no
    /// token.
    pub fn of(args: &ClientArgs) -> Result<Self, Failure> {
        match (
            &args.key_file,
            args.token.as_deref().filter(|it| !it.is_empty()),
        ) {
            (Some(_), Some(_)) => Err(Failure::usage(
                "--key and --token are two ways to prove oneself",
                "keep one of them; ROUNDEL_KEY_FILE and ROUNDEL_TOKEN count as well",
            )),
            (Some(path), None) => Ok(Credential::Key(Arc::new(key(path)?))),
            (None, Some(token)) => {
                let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
                    Failure::usage("the token has characters that no token has", NEXT_OF_TOKEN)
                })?;
                value.set_sensitive(true);
                Ok(Credential::Token(value))
            }
            (None, None) => Ok(Credential::None),
        }
    }

    /// Refuses to show a token where others could read it.
    ///
    /// # Errors
    /// [`Failure`] of usage.
    pub fn admit(&self, address: SocketAddr, tls: Tls) -> Result<(), Failure> {
        let in_the_clear = tls == Tls::Off && !address.ip().to_canonical().is_loopback();
        match self {
            Credential::Token(_) if in_the_clear => Err(Failure::usage(
                format!("a token is not sent in the clear, and {address} is another machine"),
                "add --tls ID (`roundel nodes` shows ids), or use --key FILE: it sends no secret",
            )),
            _ => Ok(()),
        }
    }
}

const NEXT_OF_TOKEN: &str = "copy it whole; `roundel key token` makes a new one";

/// Reads a key file.
///
/// # Errors
/// [`Failure`] of usage.
pub fn key(path: &Path) -> Result<ClusterKey, Failure> {
    read_key(path).map_err(|error| {
        Failure::usage(
            error.to_string(),
            "name the file that the boards have; as root, <data>/cluster.key",
        )
    })
}

/// The session of a client with its board.
#[derive(Debug)]
pub struct Session(ClientSession);

impl Session {
    /// Begins one with the answer to a challenge.
    ///
    /// # Errors
    /// [`ChallengeError`].
    pub fn begin(key: &ClusterKey, challenge: &[u8]) -> Result<Self, ChallengeError> {
        let challenge: Challenge =
            serde_json::from_slice(challenge).map_err(|_| ChallengeError::Form)?;
        let nonce = hex::decode::<CHALLENGE_BYTES>(&challenge.nonce);
        let nonce = nonce.ok_or(ChallengeError::Form)?;
        challenge.kid.ok_or(ChallengeError::Keyless)?;
        let mut own = [0; 16];
        getrandom::fill(&mut own).map_err(|_| ChallengeError::NoEntropy)?;
        let board = *challenge.to.as_bytes();
        Ok(Session(ClientSession::new(
            key,
            board,
            challenge.boot,
            nonce,
            own,
        )))
    }

    /// The Authorization of the next request, and its number.
    pub fn sign(&mut self, target: &str, host: &str, body: &[u8]) -> (String, u64) {
        let credentials = self.0.sign(&sent(target, host), body);
        (credentials.to_string(), credentials.seq)
    }

    /// The answer is the board's, to the request of that number.
    pub fn check(&self, target: &str, host: &str, seq: u64, answer: &Received<'_>) -> bool {
        self.0.check(&sent(target, host), seq, answer)
    }
}

fn sent<'a>(target: &'a str, host: &'a str) -> Sent<'a> {
    Sent {
        carriage: Carriage::Http,
        method: "POST",
        target,
        host,
        content_type: "application/json",
    }
}
