//! HTTP/1.1 requests over one kept connection, as lean as they can be: the loader shares the
//! machine with what it measures.
//!
//! One request at a time; an answer has a Content-Length. Redirects, chunks and anything else that
//! boards do not send are refused. Source: RFC 9112 §§4, 5, 6.3.

use std::io::{self, Write};

use httparse::{EMPTY_HEADER, Response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::base::limit;

/// Fields of an answer's head.
const FIELDS_MAX: usize = 32;
/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 2 * limit::MESSAGE_BYTES_MAX;
/// Bytes read at once.
const READ_BYTES: usize = 4_096;

/// A connection and its buffers.
#[derive(Debug)]
pub struct Exchange<S> {
    stream: S,
    host: String,
    sent: Vec<u8>,
    received: Vec<u8>,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// `GET`, `POST`, …
    pub method: &'a str,
    /// The path.
    pub target: &'a str,
    /// Authorization, if any.
    pub shown: Option<&'a str>,
    /// JSON.
    pub body: &'a [u8],
}

/// An answer as it came.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The status.
    pub status: u16,
    /// What it carries.
    pub body: &'a [u8],
    head: &'a [u8],
}

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<S> {
    /// Speaks to `host` over this.
    pub fn new(stream: S, host: String) -> Self {
        Exchange {
            stream,
            host,
            sent: Vec::new(),
            received: Vec::new(),
        }
    }

    /// The Host field of each request.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// The system's; `InvalidData` for what is no answer, `UnexpectedEof` when the connection ended
    /// in it. The connection is of no use afterwards.
    pub async fn ask(&mut self, ask: Ask<'_>) -> io::Result<Answer<'_>> {
        self.sent.clear();
        let Ask { method, target, .. } = ask;
        write!(
            self.sent,
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n",
            self.host,
            ask.body.len()
        )?;
        if let Some(shown) = ask.shown {
            write!(self.sent, "Authorization: {shown}\r\n")?;
        }
        self.sent.extend_from_slice(b"\r\n");
        self.sent.extend_from_slice(ask.body);
        self.stream.write_all(&self.sent).await?;
        self.stream.flush().await?;
        self.received.clear();
        let (status, head_end, end) = loop {
            self.read_some().await?;
            if let Some(head) = parse(&self.received)? {
                break head;
            }
        };
        while self.received.len() < end {
            self.read_some().await?;
        }
        if self.received.len() > end {
            return Err(odd("more than one answer to one request"));
        }
        let (head, body) = self.received.split_at(head_end);
        Ok(Answer { status, body, head })
    }

    async fn read_some(&mut self) -> io::Result<()> {
        self.received.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ if self.received.len() > ANSWER_BYTES_MAX => Err(odd("an answer without an end")),
            _ => Ok(()),
        }
    }
}

impl<'a> Answer<'a> {
    /// A field of the head; empty when there is none.
    pub fn field(&self, name: &str) -> &'a str {
        let mut fields = [EMPTY_HEADER; FIELDS_MAX];
        let mut response = Response::new(&mut fields);
        // It was parsed before.
        let _ = response.parse(self.head);
        let found = response
            .headers
            .iter()
            .find(|field| field.name.eq_ignore_ascii_case(name));
        found.map_or("", |field| std::str::from_utf8(field.value).unwrap_or(""))
    }
}

/// Status, end of the head and end of the body; none: the head is not complete.
fn parse(received: &[u8]) -> io::Result<Option<(u16, usize, usize)>> {
    let mut fields = [EMPTY_HEADER; FIELDS_MAX];
    let mut response = Response::new(&mut fields);
    let parsed = response
        .parse(received)
        .map_err(|_| odd("what answers speaks no HTTP"))?;
    let httparse::Status::Complete(head_end) = parsed else {
        return Ok(None);
    };
    let status = response.code.unwrap_or(0);
    let length = response
        .headers
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|field| std::str::from_utf8(field.value).ok()?.parse().ok());
    let length: usize = length.ok_or_else(|| odd("an answer without a Content-Length"))?;
    match length <= ANSWER_BYTES_MAX {
        true => Ok(Some((status, head_end, head_end + length))),
        false => Err(odd("an answer too large")),
    }
}

fn odd(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(pieces: &'static [&'static str]) -> io::Result<(u16, String, String)> {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("an event loop").block_on(async {
            let (ours, mut theirs) = tokio::io::duplex(16);
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n{}") {
                    theirs.read_buf(&mut request).await.unwrap();
                }
                for piece in pieces {
                    theirs.write_all(piece.as_bytes()).await.unwrap();
                }
            });
            let mut exchange = Exchange::new(ours, "board".to_owned());
            let ask = Ask {
                method: "POST",
                target: "/rpc",
                shown: None,
                body: b"{}",
            };
            let answer = exchange.ask(ask).await?;
            let body = String::from_utf8_lossy(answer.body).into_owned();
            Ok((answer.status, body, answer.field("X-Proof").to_owned()))
        })
    }

    #[test]
    fn an_answer_may_come_in_pieces() {
        let pieces = &[
            "HTTP/1.1 200 OK\r\nx-pro",
            "of: p\r\ncontent-length: 3\r\n\r\na",
            "bc",
        ];
        let (status, body, proof) = answered(pieces).unwrap();
        assert_eq!((status, &*body, &*proof), (200, "abc", "p"));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for (pieces, kind) in [
            (&["SSH-2.0-x\r\n"][..], io::ErrorKind::InvalidData),
            (&["HTTP/1.1 200 OK\r\n\r\n"], io::ErrorKind::InvalidData),
            (
                &["HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab"],
                io::ErrorKind::InvalidData,
            ),
            (
                &["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na"],
                io::ErrorKind::UnexpectedEof,
            ),
        ] {
            assert_eq!(answered(pieces).unwrap_err().kind(), kind, "{pieces:?}");
        }
    }
}
