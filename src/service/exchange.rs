//! HTTP requests and answers as plain values, whatever carried them.
//!
//! The runtime reads a [`Request`] from a connection or a datagram and carries out an [`Answer`]:
//! wait `delay`, then write it back, or post what `post` says. Nothing here writes bytes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::base::endpoint::SocketAddr;
use crate::security::rnd1::{Awaited, Credentials, Party};

pub use super::address::Transport;

/// The header fields the product looks at; each may occur once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// Host.
    pub host: Option<String>,
    /// Origin.
    pub origin: Option<String>,
    /// Authorization.
    pub authorization: Option<String>,
    /// Content-Type.
    pub content_type: Option<String>,
    /// Content-Encoding.
    pub content_encoding: Option<String>,
    /// Accept; several fields are joined with a comma.
    pub accept: Option<String>,
    /// If-None-Match; several fields are joined with a comma.
    pub if_none_match: Option<String>,
    /// X-Async-Location, or as Round also spells it.
    pub async_location: bool,
    /// Cookie; several fields are joined with a semicolon.
    pub cookie: Option<String>,
    /// SOAPACTION.
    pub soap_action: Option<String>,
    /// NT.
    pub nt: Option<String>,
    /// CALLBACK.
    pub callback: Option<String>,
    /// TIMEOUT.
    pub timeout: Option<String>,
    /// SID.
    pub sid: Option<String>,
}

/// A header field that cannot stand as it is; the client is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// It occurs twice.
    #[error("header {0} occurs twice; send it once")]
    Repeated(&'static str),
    /// It is not UTF-8.
    #[error("header {0} is not UTF-8; encode it anew")]
    Encoding(&'static str),
}

impl Fields {
    /// Picks the fields from all of a message.
    ///
    /// # Errors
    /// [`FieldError`].
    pub fn collect<'a>(
        all: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, FieldError> {
        let mut fields = Fields::default();
        for (name, value) in all {
            let (slot, known) = match name {
                n if n.eq_ignore_ascii_case("host") => (&mut fields.host, "Host"),
                n if n.eq_ignore_ascii_case("origin") => (&mut fields.origin, "Origin"),
                n if n.eq_ignore_ascii_case("authorization") => {
                    (&mut fields.authorization, "Authorization")
                }
                n if n.eq_ignore_ascii_case("content-type") => {
                    (&mut fields.content_type, "Content-Type")
                }
                n if n.eq_ignore_ascii_case("content-encoding") => {
                    (&mut fields.content_encoding, "Content-Encoding")
                }
                n if n.eq_ignore_ascii_case("accept") => (&mut fields.accept, "Accept"),
                n if n.eq_ignore_ascii_case("if-none-match") => {
                    (&mut fields.if_none_match, "If-None-Match")
                }
                n if n.eq_ignore_ascii_case("cookie") => (&mut fields.cookie, "Cookie"),
                n if n.eq_ignore_ascii_case("soapaction") => {
                    (&mut fields.soap_action, "SOAPACTION")
                }
                n if n.eq_ignore_ascii_case("nt") => (&mut fields.nt, "NT"),
                n if n.eq_ignore_ascii_case("callback") => (&mut fields.callback, "CALLBACK"),
                n if n.eq_ignore_ascii_case("timeout") => (&mut fields.timeout, "TIMEOUT"),
                n if n.eq_ignore_ascii_case("sid") => (&mut fields.sid, "SID"),
                n if n.eq_ignore_ascii_case("x-async-location")
                    || n.eq_ignore_ascii_case("x-aync-location") =>
                {
                    fields.async_location = true;
                    continue;
                }
                _ => continue,
            };
            let value = std::str::from_utf8(value).map_err(|_| FieldError::Encoding(known))?;
            match slot {
                None => *slot = Some(value.trim().to_owned()),
                Some(before) if matches!(known, "Accept" | "If-None-Match") => {
                    before.push(',');
                    before.push_str(value);
                }
                Some(before) if known == "Cookie" => {
                    before.push(';');
                    before.push_str(value);
                }
                Some(_) => return Err(FieldError::Repeated(known)),
            }
        }
        Ok(fields)
    }
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// GET, POST, …, as sent.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// 0 or 1: HTTP/1.0 or HTTP/1.1.
    pub minor: u8,
    /// The header fields that matter, or why they cannot be read.
    pub fields: Result<Fields, FieldError>,
    /// The body.
    pub body: Bytes,
    /// Who asks.
    pub from: SocketAddr,
    /// At which of our HTTP addresses.
    pub local: SocketAddr,
    /// It came within TLS.
    pub secure: bool,
    /// How it came.
    pub transport: Transport,
}

/// A reply to be sent somewhere else than to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// Where; checked already.
    pub to: SocketAddr,
    /// How.
    pub transport: Transport,
    /// The path there.
    pub path: &'static str,
    /// JSON.
    pub body: Bytes,
}

/// An answer, and what to do for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Content-Type of the body, when there is one.
    pub content_type: &'static str,
    /// More header fields.
    pub headers: Vec<(&'static str, String)>,
    /// The body; the transport leaves it out for HEAD.
    pub body: Bytes,
    /// Wait so long before anything is sent.
    pub delay: Duration,
    /// Send this as well.
    pub post: Option<Post>,
    /// Over UDP nothing is sent back.
    pub silent_over_udp: bool,
    /// The body goes on as the board's feed (`service/web/feed.rs`); over TCP alone.
    pub feed: bool,
    /// Proves the answer to a caller that proved itself.
    pub seal: Option<Arc<Seal>>,
}

/// What the answer to a genuine request is proved with, once the answer is known to the last byte.
#[derive(Debug)]
pub struct Seal {
    pub(super) awaited: Awaited,
    pub(super) shown: Credentials,
}

impl PartialEq for Seal {
    fn eq(&self, other: &Self) -> bool {
        self.shown == other.shown
    }
}

impl Eq for Seal {}

impl Seal {
    /// The header that carries the proof.
    pub const FIELD: &'static str = "Authentication-Info";

    /// The value of [`Seal::FIELD`] for an answer as it is sent; the body is empty for HEAD.
    pub fn proof(&self, status: u16, content_type: &str, body: &[u8]) -> String {
        self.awaited.proof(status, content_type, body).to_string()
    }

    /// The session of the request.
    pub(super) fn session(&self) -> Party {
        self.shown.session
    }
}

impl Answer {
    /// An answer with a body.
    pub fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Answer {
            status,
            content_type,
            headers: Vec::new(),
            body: body.into(),
            delay: Duration::ZERO,
            post: None,
            silent_over_udp: false,
            feed: false,
            seal: None,
        }
    }

    /// A JSON answer.
    pub fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Answer::new(status, "application/json", body)
    }

    /// An answer without a body, and over UDP none at all.
    pub fn silent(status: u16) -> Self {
        Answer {
            silent_over_udp: true,
            ..Answer::new(status, "", Bytes::new())
        }
    }

    /// The same with its proof, if it has one to show. Nothing of it may be changed from then on;
    /// of an answer to HEAD the body is not sent.
    pub fn sealed(mut self, is_head: bool) -> Self {
        let Some(seal) = self.seal.take() else {
            return self;
        };
        let body: &[u8] = if is_head { &[] } else { &self.body };
        let proof = seal.proof(self.status, self.content_type, body);
        self.with(Seal::FIELD, proof)
    }

    /// The same with one more header field.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}
