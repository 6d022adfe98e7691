//! A small HTTP client: numeric addresses, one request at a time, an optional kept connection.
//!
//! It follows no redirects and resolves no names. The command line, replies to elsewhere and events
//! for subscribers use it; boards speak frames to each other.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::base::endpoint::SocketAddr;
use crate::base::limit;

/// An answer may be this large: a page of items, or all boards' answers, and their envelope.
const ANSWER_BYTES_MAX: usize = limit::ANSWERS_BYTES_MAX + 2 * limit::MESSAGE_BYTES_MAX;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there, or the way is blocked: the environment.
    #[error("cannot connect to {0}: {1}")]
    Connect(SocketAddr, #[source] io::Error),
    /// The exchange took too long; whether it was carried out is unknown.
    #[error("{0} did not answer within {1:?}")]
    Timeout(SocketAddr, Duration),
    /// The other side broke off, or does not speak HTTP; whether it was carried out is unknown.
    #[error("{0} broke the exchange off: {1}")]
    Broken(SocketAddr, #[source] hyper::Error),
    /// The answer is larger than what was asked for can be.
    #[error("{0} answered more than {1} bytes")]
    TooLarge(SocketAddr, usize),
    /// The path or content type cannot stand in a request: the caller.
    #[error("the request cannot be written: {0}")]
    Request(#[from] hyper::http::Error),
}

/// A connection that is kept between requests and opened anew when it has ended.
#[derive(Debug)]
pub struct Connection {
    to: SocketAddr,
    answer_bytes_max: usize,
    sender: Option<http1::SendRequest<Full<Bytes>>>,
}

impl Connection {
    /// Remembers where to connect; connects with the first request.
    pub fn new(to: SocketAddr) -> Self {
        Connection::bounded(to, ANSWER_BYTES_MAX)
    }

    /// The same, for answers of so many bytes at most.
    pub fn bounded(to: SocketAddr, answer_bytes_max: usize) -> Self {
        Connection {
            to,
            answer_bytes_max,
            sender: None,
        }
    }

    /// Sends a request and waits for all of the answer.
    ///
    /// # Errors
    /// [`ClientError`]; the connection is closed then, and opened anew by the next request.
    pub async fn post(
        &mut self,
        path: &str,
        content_type: &str,
        body: Bytes,
        time_max: Duration,
    ) -> Result<(u16, Bytes), ClientError> {
        let request = self
            .request(Method::POST, path)
            .header(CONTENT_TYPE, content_type)
            .body(Full::new(body))?;
        self.send(request, time_max).await
    }

    /// As [`Connection::post`], without a body.
    ///
    /// # Errors
    /// As [`Connection::post`].
    pub async fn get(
        &mut self,
        path: &str,
        time_max: Duration,
    ) -> Result<(u16, Bytes), ClientError> {
        let request = self.request(Method::GET, path).body(Full::default())?;
        self.send(request, time_max).await
    }

    /// Sends a request of any method with these header fields.
    ///
    /// # Errors
    /// As [`Connection::post`].
    pub async fn ask(
        &mut self,
        method: Method,
        path: &str,
        fields: &[(&str, &str)],
        body: Bytes,
        time_max: Duration,
    ) -> Result<(u16, Bytes), ClientError> {
        let request = fields
            .iter()
            .fold(self.request(method, path), |request, (name, value)| {
                request.header(*name, *value)
            });
        self.send(request.body(Full::new(body))?, time_max).await
    }

    fn request(&self, method: Method, path: &str) -> hyper::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.to.to_string())
            .header(ACCEPT, "*/*")
    }

    async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
        time_max: Duration,
    ) -> Result<(u16, Bytes), ClientError> {
        let to = self.to;
        let outcome = match timeout(time_max, self.exchange(request)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ClientError::Timeout(to, time_max)),
        };
        if outcome.is_err() {
            self.sender = None;
        }
        outcome
    }

    async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<(u16, Bytes), ClientError> {
        let to = self.to;
        let broken = |error| ClientError::Broken(to, error);
        let mut kept = self.sender.take();
        if let Some(sender) = &mut kept
            && sender.ready().await.is_err()
        {
            kept = None;
        }
        let mut sender = match kept {
            Some(sender) => sender,
            None => connect(to).await?,
        };
        let mut response = sender.send_request(request).await.map_err(broken)?;
        let mut body = BytesMut::new();
        while let Some(frame) = response.body_mut().frame().await {
            if let Ok(data) = frame.map_err(broken)?.into_data() {
                if body.len() + data.len() > self.answer_bytes_max {
                    return Err(ClientError::TooLarge(to, self.answer_bytes_max));
                }
                body.extend_from_slice(&data);
            }
        }
        self.sender = Some(sender);
        Ok((response.status().as_u16(), body.freeze()))
    }
}

async fn connect(to: SocketAddr) -> Result<http1::SendRequest<Full<Bytes>>, ClientError> {
    let stream = TcpStream::connect(to)
        .await
        .map_err(|error| ClientError::Connect(to, error))?;
    // Without it small requests only wait longer.
    let _ = stream.set_nodelay(true);
    let (sender, connection) = http1::Builder::new()
        .title_case_headers(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| ClientError::Broken(to, error))?;
    // The task ends with the sender; its error is also the request's.
    tokio::spawn(connection);
    Ok(sender)
}

/// One POST on a connection of its own.
///
/// # Errors
/// [`ClientError`].
pub async fn post(
    to: SocketAddr,
    path: &str,
    content_type: &str,
    body: Bytes,
    time_max: Duration,
) -> Result<(u16, Bytes), ClientError> {
    let mut connection = Connection::new(to);
    connection.post(path, content_type, body, time_max).await
}

/// One GET on a connection of its own.
///
/// # Errors
/// [`ClientError`].
pub async fn get(
    to: SocketAddr,
    path: &str,
    time_max: Duration,
) -> Result<(u16, Bytes), ClientError> {
    Connection::new(to).get(path, time_max).await
}
