//! A kept connection to a board over which calls go that were written beforehand: what
//! [`crate::cli::rpc::Client`] does, without what costs a loader time.
//!
//! Whoever has the key signs each call and checks each answer, as that client does.

use std::io;
use std::net::SocketAddr;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::exchange::{self, Ask, Exchange};
use crate::cli::credential::{Credential, Session};
use crate::cli::rpc::{self, RpcError};
use crate::cli::tls::Tls;
use crate::runtime::tls::Channel;
use crate::security::rnd1::client::Received;
use crate::service::exchange::Seal;

/// How boards are reached.
#[derive(Clone, Debug)]
pub struct Way {
    /// Where.
    pub address: SocketAddr,
    /// In the clear or not.
    pub tls: Tls,
    /// With what to prove oneself.
    pub credential: Credential,
}

/// A connection, opened by the first call and again after it broke.
#[derive(Debug)]
pub struct Connection {
    way: Way,
    opened: Option<Opened>,
}

#[derive(Debug)]
struct Opened {
    exchange: Exchange<Channel>,
    session: Option<Session>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<rpc::Answer>,
}

impl Connection {
    /// Remembers where to connect.
    pub fn new(way: Way) -> Self {
        Connection { way, opened: None }
    }

    /// Sends a document of JSON-RPC, a call, which must have a result.
    ///
    /// # Errors
    /// [`RpcError`]; after `Broken` the call may have been carried out.
    pub async fn call(&mut self, document: &[u8]) -> Result<(), RpcError> {
        // Whoever drops this half-way finds the connection closed.
        let mut opened = match self.opened.take() {
            Some(opened) => opened,
            None => Opened::to(&self.way).await?,
        };
        let result = opened.call(&self.way, document).await;
        if matches!(result, Ok(()) | Err(RpcError::Answer(_))) {
            self.opened = Some(opened);
        }
        result
    }
}

impl Opened {
    async fn to(way: &Way) -> Result<Self, RpcError> {
        let address = way.address;
        let channel = rpc::open(address, way.tls).await?;
        let mut exchange = Exchange::new(channel, address.to_string());
        let session = match &way.credential {
            Credential::Key(key) => {
                let ask = Ask {
                    method: "GET",
                    target: rpc::CHALLENGE,
                    shown: None,
                    body: b"",
                };
                let answer = exchange.ask(ask).await.map_err(broken(address))?;
                let session = Session::begin(key, answer.body);
                Some(session.map_err(|source| RpcError::Challenge { address, source })?)
            }
            Credential::Token(_) | Credential::None => None,
        };
        Ok(Opened { exchange, session })
    }

    async fn call(&mut self, way: &Way, document: &[u8]) -> Result<(), RpcError> {
        let address = way.address;
        let signed = self.session.as_mut().map(|session| {
            let (shown, seq) = session.sign(rpc::RPC, self.exchange.host(), document);
            (shown, seq)
        });
        let shown = match (&signed, &way.credential) {
            (Some((shown, _)), _) => Some(shown.as_str()),
            (None, Credential::Token(token)) => token.to_str().ok(),
            (None, _) => None,
        };
        let ask = Ask {
            method: "POST",
            target: rpc::RPC,
            shown,
            body: document,
        };
        let host = match &signed {
            Some(_) => self.exchange.host().to_owned(),
            None => String::new(),
        };
        let answer = self.exchange.ask(ask).await.map_err(broken(address))?;
        if let (Some((_, seq)), Some(session)) = (signed, &self.session)
            && !proved(session, &host, seq, &answer)
        {
            return Err(RpcError::Unproved { address });
        }
        match serde_json::from_slice::<Envelope>(answer.body) {
            Ok(Envelope {
                error: Some(error), ..
            }) => Err(RpcError::Answer(error)),
            Ok(Envelope {
                result: Some(_), ..
            }) if answer.status == 200 => Ok(()),
            _ => Err(RpcError::Foreign {
                address,
                status: answer.status,
                excerpt: String::from_utf8_lossy(answer.body)
                    .chars()
                    .take(80)
                    .collect(),
            }),
        }
    }
}

/// The answer is the board's, or a refusal from before it has looked at the key.
fn proved(session: &Session, host: &str, seq: u64, answer: &exchange::Answer<'_>) -> bool {
    let received = Received {
        status: answer.status,
        content_type: answer.field("content-type"),
        body: answer.body,
        proof: answer.field(Seal::FIELD),
    };
    let refused = received.proof.is_empty() && rpc::UNPROVED.contains(&answer.status);
    refused || session.check(rpc::RPC, host, seq, &received)
}

fn broken(address: SocketAddr) -> impl Fn(io::Error) -> RpcError {
    move |source| RpcError::Broken {
        address,
        source: source.into(),
    }
}
