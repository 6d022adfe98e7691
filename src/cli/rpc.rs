//! The client's side of JSON-RPC 2.0 over HTTP/1.1: one board, one connection kept alive.
//!
//! Results are handed on as the bytes the board sent, so that nothing a client stored is
//! re-encoded on its way to the terminal. With the cluster's key requests are signed and answers
//! checked ([`super::credential`]). No redirects, no retries but one: a request that certainly was
//! not taken, since the board had closed an idle connection or was started anew.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::credential::{ChallengeError, Credential, Session};
use super::tls::Tls;
use crate::base::id::Id;
use crate::base::limit;
use crate::runtime::tls::{self, Channel, ConnectError};
use crate::security::rnd1::client::Received;
use crate::service::exchange::Seal;

/// A board answers within this: the longest operation and a slow network.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);
/// A connection on a LAN opens within this.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);
/// Where documents are posted.
pub(super) const RPC: &str = "/rpc";
/// Where a session begins.
pub(super) const CHALLENGE: &str = "/rnd1";
/// Statuses of refusals that a board may send before it has looked at the key: whoever forges one
/// says no, and nothing else.
pub(super) const UNPROVED: [u16; 7] = [400, 401, 403, 408, 413, 421, 503];
/// Bytes of an answer: the state of the largest ring, with room.
const ANSWER_BYTES_MAX: usize = 8 * limit::MESSAGE_BYTES_MAX;

/// The error member of an answer.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    /// JSON-RPC's, or one of -32000 to -32099.
    pub code: i64,
    /// The code in words.
    pub message: String,
    /// What the board adds.
    #[serde(default)]
    pub data: serde_json::Value,
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let detail = self.data.as_str().or(self.data["reason"].as_str());
        match detail {
            Some(detail) => write!(f, "{} ({})", detail.trim_end_matches('.'), self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// Nobody listens there; nothing was sent.
    #[error("no board answers at {address}: {source}")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Another board than the pinned one answers, or none was pinned; nothing was sent.
    #[error("the board at {address} has the id {found}, {}", if *.pinned {
        "which is not the one that --tls names"
    } else {
        "and --tls names none"
    })]
    OtherBoard {
        /// Where.
        address: SocketAddr,
        /// Its id.
        found: Id,
        /// An id was pinned.
        pinned: bool,
    },
    /// No TLS 1.3 is spoken there; nothing was sent.
    #[error("{address} does not speak TLS 1.3: {source}")]
    NoTls {
        /// Where.
        address: SocketAddr,
        /// What went wrong.
        source: ConnectError,
    },
    /// The board cannot be asked with the key; nothing but a challenge was sent.
    #[error("the board at {address} cannot be asked with a key: {source}")]
    Challenge {
        /// Who.
        address: SocketAddr,
        /// Why.
        source: ChallengeError,
    },
    /// Something answers without the cluster's key; whether the call was done is unknown.
    #[error("the answer of {address} is not proved with the cluster's key")]
    Unproved {
        /// Who.
        address: SocketAddr,
    },
    /// The board took the request and has not answered; whether it was done is unknown.
    #[error("{address} has not answered within {seconds} s")]
    Silent {
        /// Who.
        address: SocketAddr,
        /// How long we waited.
        seconds: u64,
    },
    /// The connection broke between request and answer; whether it was done is unknown.
    #[error("the connection to {address} broke: {source}")]
    Broken {
        /// Who.
        address: SocketAddr,
        /// What hyper says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer is not JSON-RPC.
    #[error("what answers at {address} is not a board (HTTP {status}: {excerpt:?})")]
    Foreign {
        /// Who.
        address: SocketAddr,
        /// The HTTP status.
        status: u16,
        /// The start of what it sent.
        excerpt: String,
    },
    /// The board refused or failed.
    #[error("{0}")]
    Answer(Answer),
}

#[derive(Serialize)]
struct Call<'a, P: ?Sized> {
    jsonrpc: &'static str,
    id: u64,
    method: &'a str,
    params: &'a P,
    #[serde(skip_serializing_if = "Option::is_none")]
    dest: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forward: Option<bool>,
}

#[derive(Deserialize)]
struct Envelope {
    result: Option<Box<RawValue>>,
    error: Option<Answer>,
}

impl Envelope {
    fn is_empty(&self) -> bool {
        self.result.is_none() && self.error.is_none()
    }

    /// A `null` result reads as none.
    fn result(self) -> Result<Box<RawValue>, Answer> {
        match (self.error, self.result) {
            (Some(error), _) => Err(error),
            (None, Some(result)) => Ok(result),
            (None, None) => Ok(RawValue::NULL.to_owned()),
        }
    }
}

/// An answer of a batch.
#[derive(Deserialize)]
struct Numbered {
    id: u64,
    result: Option<Box<RawValue>>,
    error: Option<Answer>,
}

/// Where a call goes beyond the board it is sent to.
#[derive(Clone, Debug, Default)]
pub struct Route {
    /// The `dest` member.
    pub dest: Option<String>,
    /// The `forward` member.
    pub forward: bool,
}

/// A board and the connection to it.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    tls: Tls,
    credential: Credential,
    session: Option<Session>,
    connection: Option<SendRequest<Full<Bytes>>>,
    calls: u64,
    answer_time_max: Duration,
}

impl Client {
    /// A client of the board at `address`; nothing is sent yet.
    pub fn new(address: SocketAddr) -> Self {
        Client {
            address,
            tls: Tls::Off,
            credential: Credential::None,
            session: None,
            connection: None,
            calls: 0,
            answer_time_max: ANSWER_TIME_MAX,
        }
    }

    /// Waits up to `time` for each answer.
    pub fn with_answer_time_max(mut self, time: Duration) -> Self {
        self.answer_time_max = time;
        self
    }

    /// Speaks TLS, or not.
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// Proves itself with this.
    pub fn with_credential(mut self, credential: Credential) -> Self {
        self.credential = credential;
        self
    }

    /// The board's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Calls a method of the board; the result is as the board sent it.
    ///
    /// # Errors
    /// [`RpcError`]; after `Silent` and `Broken` the call may have been carried out.
    pub async fn call<P: Serialize + ?Sized>(
        &mut self,
        method: &str,
        params: &P,
    ) -> Result<Box<RawValue>, RpcError> {
        self.call_routed(method, params, &Route::default()).await
    }

    /// Calls a method and reads its result.
    ///
    /// # Errors
    /// As [`Client::call`]; a result of another shape is [`RpcError::Foreign`].
    pub async fn call_as<T: DeserializeOwned, P: Serialize + ?Sized>(
        &mut self,
        method: &str,
        params: &P,
    ) -> Result<T, RpcError> {
        let result = self.call(method, params).await?;
        serde_json::from_str(result.get()).map_err(|_| self.foreign(200, result.get().as_bytes()))
    }

    /// Calls a method of the board or of the one `route` names.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn call_routed<P: Serialize + ?Sized>(
        &mut self,
        method: &str,
        params: &P,
        route: &Route,
    ) -> Result<Box<RawValue>, RpcError> {
        self.calls += 1;
        let call = Call {
            jsonrpc: "2.0",
            id: self.calls,
            method,
            params,
            dest: route.dest.as_deref(),
            forward: route.forward.then_some(true),
        };
        let body = serde_json::to_vec(&call).expect("our own requests are JSON");
        let (status, body) = self.post_in_time(Bytes::from(body)).await?;
        match serde_json::from_slice::<Envelope>(&body) {
            Ok(envelope) if status == 200 || !envelope.is_empty() => {
                envelope.result().map_err(RpcError::Answer)
            }
            _ => Err(self.foreign(status, &body)),
        }
    }

    async fn post_in_time(&mut self, body: Bytes) -> Result<(u16, Bytes), RpcError> {
        let limit = self.answer_time_max;
        match tokio::time::timeout(limit, self.post(body)).await {
            Ok(answer) => answer,
            Err(_) => {
                self.connection = None;
                Err(RpcError::Silent {
                    address: self.address,
                    seconds: limit.as_secs(),
                })
            }
        }
    }

    /// Sends several calls without parameters as one batch; the results are in the order of the
    /// calls.
    ///
    /// # Errors
    /// As [`Client::call`], when there is no answer to the batch. A call the board refused, or
    /// left without an answer, is an error of its own.
    pub async fn batch(
        &mut self,
        calls: &[(&str, Route)],
    ) -> Result<Vec<Result<Box<RawValue>, RpcError>>, RpcError> {
        let none = serde_json::Map::new();
        let first = self.calls + 1;
        self.calls += calls.len() as u64;
        let requests: Vec<_> = calls
            .iter()
            .zip(first..)
            .map(|((method, route), id)| Call {
                jsonrpc: "2.0",
                id,
                method,
                params: &none,
                dest: route.dest.as_deref(),
                forward: route.forward.then_some(true),
            })
            .collect();
        let body = serde_json::to_vec(&requests).expect("our own requests are JSON");
        let (status, body) = self.post_in_time(Bytes::from(body)).await?;
        let answers: Vec<Numbered> =
            serde_json::from_slice(&body).map_err(|_| self.foreign(status, &body))?;
        let mut results: Vec<_> = calls
            .iter()
            .map(|_| Err(self.foreign(status, b"a batch without an answer to each call")))
            .collect();
        for answer in answers {
            let index = answer.id.checked_sub(first).map(|index| index as usize);
            if let Some(slot) = index.and_then(|index| results.get_mut(index)) {
                let (result, error) = (answer.result, answer.error);
                *slot = Envelope { result, error }
                    .result()
                    .map_err(RpcError::Answer);
            }
        }
        Ok(results)
    }

    fn foreign(&self, status: u16, body: &[u8]) -> RpcError {
        RpcError::Foreign {
            address: self.address,
            status,
            excerpt: String::from_utf8_lossy(body).chars().take(80).collect(),
        }
    }

    /// Sends a document, and a second time when it certainly was not taken: the board had closed an
    /// idle connection, or has been started anew and knows nothing of the session.
    async fn post(&mut self, body: Bytes) -> Result<(u16, Bytes), RpcError> {
        let resumed = self.session.is_some();
        let (status, answer) = self.post_proved(body.clone()).await?;
        if status == 401 && resumed && self.session.is_none() {
            return self.post_proved(body).await;
        }
        Ok((status, answer))
    }

    async fn post_proved(&mut self, body: Bytes) -> Result<(u16, Bytes), RpcError> {
        let address = self.address;
        let host = address.to_string();
        if let (Credential::Key(key), None) = (&self.credential, &self.session) {
            let key = key.clone();
            let answer = self
                .exchange(Method::GET, CHALLENGE, None, Bytes::new())
                .await?;
            let session = Session::begin(&key, &answer.body);
            self.session = Some(session.map_err(|source| RpcError::Challenge { address, source })?);
        }
        let (shown, seq) = match (&self.credential, &mut self.session) {
            (Credential::Token(token), _) => (Some(token.clone()), 0),
            (Credential::Key(_), Some(session)) => {
                let (shown, seq) = session.sign(RPC, &host, &body);
                let shown = HeaderValue::try_from(shown);
                (Some(shown.expect("credentials are printable")), seq)
            }
            _ => (None, 0),
        };
        let answer = self.exchange(Method::POST, RPC, shown, body).await?;
        let Some(session) = &self.session else {
            return Ok((answer.status, answer.body));
        };
        let received = Received {
            status: answer.status,
            content_type: &answer.content_type,
            body: &answer.body,
            proof: &answer.proof,
        };
        let proved = session.check(RPC, &host, seq, &received);
        if answer.status == 401 && answer.proof.is_empty() {
            self.session = None;
        } else if !(proved || answer.proof.is_empty() && UNPROVED.contains(&answer.status)) {
            return Err(RpcError::Unproved { address });
        }
        Ok((answer.status, answer.body))
    }

    async fn exchange(
        &mut self,
        method: Method,
        target: &str,
        shown: Option<HeaderValue>,
        body: Bytes,
    ) -> Result<Came, RpcError> {
        let again = (method.clone(), shown.clone(), body.clone());
        match self.exchange_once(method, target, shown, body).await {
            Err(error) if error.unsent => {
                let (method, shown, body) = again;
                let second = self.exchange_once(method, target, shown, body).await;
                second.map_err(|error| error.error)
            }
            other => other.map_err(|error| error.error),
        }
    }

    async fn exchange_once(
        &mut self,
        method: Method,
        target: &str,
        shown: Option<HeaderValue>,
        body: Bytes,
    ) -> Result<Came, PostError> {
        let address = self.address;
        let broken =
            |source: Box<dyn std::error::Error + Send + Sync>| RpcError::Broken { address, source };
        let reused = self.connection.is_some();
        let mut connection = match self.connection.take().filter(|c| !c.is_closed()) {
            Some(connection) => connection,
            None => connect(address, self.tls).await?,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, address.to_string())
            .header(ACCEPT, "application/json");
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(shown) = shown {
            request = request.header(AUTHORIZATION, shown);
        }
        let request = request
            .body(Full::new(body))
            .expect("a request of fixed parts is well formed");
        connection.ready().await.map_err(|error| PostError {
            unsent: reused,
            error: broken(error.into()),
        })?;
        let response = connection
            .send_request(request)
            .await
            .map_err(|error| PostError {
                unsent: reused && error.is_canceled(),
                error: broken(error.into()),
            })?;
        let text = |name: &str| {
            let value = response.headers().get(name).and_then(|it| it.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let (content_type, proof) = (text("content-type"), text(Seal::FIELD));
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| PostError::from(broken(error)))?
            .to_bytes();
        self.connection = Some(connection);
        Ok(Came {
            status,
            content_type,
            proof,
            body,
        })
    }
}

/// An answer as it came.
struct Came {
    status: u16,
    content_type: String,
    /// Authentication-Info; empty when there is none.
    proof: String,
    body: Bytes,
}

struct PostError {
    /// The board certainly has not seen the request.
    unsent: bool,
    error: RpcError,
}

impl From<RpcError> for PostError {
    fn from(error: RpcError) -> Self {
        PostError {
            unsent: false,
            error,
        }
    }
}

/// Connects to a board, without a word of HTTP.
///
/// # Errors
/// [`RpcError`] of the connection; nothing was sent.
pub(super) async fn open(address: SocketAddr, tls: Tls) -> Result<Channel, RpcError> {
    let refused = |source: io::Error| RpcError::Connect { address, source };
    let pin = match tls {
        Tls::Pinned(pin) => Some(pin),
        Tls::Off | Tls::Unpinned => None,
    };
    let opened = async {
        match tls {
            Tls::Off => tls::connect_plain(address).await,
            Tls::Pinned(_) | Tls::Unpinned => tls::connect(address, pin).await,
        }
    };
    let opened: Result<Channel, ConnectError> = tokio::time::timeout(CONNECT_TIME_MAX, opened)
        .await
        .map_err(|_| refused(io::ErrorKind::TimedOut.into()))?;
    opened.map_err(|error| match error {
        ConnectError::Tcp(source) => refused(source),
        ConnectError::OtherKey { found } => RpcError::OtherBoard {
            address,
            found,
            pinned: pin.is_some(),
        },
        source => RpcError::NoTls { address, source },
    })
}

async fn connect(address: SocketAddr, tls: Tls) -> Result<SendRequest<Full<Bytes>>, RpcError> {
    let channel = open(address, tls).await?;
    let (sender, connection) =
        handshake(TokioIo::new(channel))
            .await
            .map_err(|error| RpcError::Broken {
                address,
                source: error.into(),
            })?;
    // The task ends with the connection; its errors come out of the requests.
    tokio::spawn(connection);
    Ok(sender)
}
