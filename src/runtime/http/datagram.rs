//! HTTP over UDP: one request a datagram in, at most one response of 1,400 bytes out.
//!
//! The socket is the driver's. It must run each datagram as a task of its own: an answer may wait
//! for other boards or for the seed's reply delay.

use bytes::Bytes;

use crate::base::endpoint::SocketAddr;
use crate::base::limit;
use crate::service::exchange::{Answer, Fields, Post, Request, Transport};
use crate::service::web::PRESENTATION_PATH;
use crate::service::{Board, Service};
use crate::telemetry;
use crate::wire::httpu::{self, Headers, HttpuError};

/// What to send for a datagram.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// Back to the sender; none for notifications and for what is no request.
    pub answer: Option<Bytes>,
    /// A reply to be sent elsewhere, over TCP or as a datagram ([`post_datagram`]).
    pub post: Option<Post>,
}

/// Answers a datagram that starts with a letter.
///
/// `local` is the HTTP address of the interface it came in by; an answer too large for a datagram
/// is replaced by 413 and where to ask over TCP.
pub async fn handle_datagram<B: Board>(
    service: &Service<B>,
    datagram: &Bytes,
    from: SocketAddr,
    local: SocketAddr,
) -> Outgoing {
    let (answer, is_head, path) = match httpu::Request::parse(datagram) {
        Err(HttpuError::Foreign) => return Outgoing::default(),
        Err(error) => (service.refuse_with(400, &error.to_string()), false, "/rpc"),
        Ok(message) => {
            let is_head = message.method == "HEAD";
            let path = ["/chord", PRESENTATION_PATH]
                .into_iter()
                .find(|path| message.target.starts_with(path))
                .unwrap_or("/rpc");
            let answer = service.handle(&request(message, from, local)).await;
            (answer, is_head, path)
        }
    };
    if !answer.delay.is_zero() {
        service.sleep(answer.delay).await;
    }
    telemetry::count_http(true, answer.status);
    let post = answer.post.clone();
    if answer.silent_over_udp {
        return Outgoing { answer: None, post };
    }
    let body = answer.body.clone();
    let mut bytes = emit(answer, is_head);
    if bytes.len() > limit::DATAGRAM_BYTES_MAX {
        let location = format!("http://{local}{path}");
        bytes = emit(service.too_large(&body, location), is_head);
    }
    Outgoing {
        answer: Some(bytes.into()),
        post,
    }
}

/// The datagram that carries a reply elsewhere; none when it does not fit.
pub fn post_datagram(post: &Post) -> Option<Bytes> {
    let bytes = httpu::Request {
        method: "POST".into(),
        target: post.path.into(),
        minor: 1,
        headers: Headers(vec![
            ("Host".into(), post.to.to_string()),
            ("Content-Type".into(), "application/json".into()),
        ]),
        body: post.body.clone(),
    }
    .emit();
    (bytes.len() <= limit::DATAGRAM_BYTES_MAX).then(|| bytes.into())
}

fn request(message: httpu::Request, from: SocketAddr, local: SocketAddr) -> Request {
    let fields = message.headers.0.iter();
    Request {
        fields: Fields::collect(fields.map(|(name, value)| (name.as_str(), value.as_bytes()))),
        method: message.method,
        target: message.target,
        minor: message.minor,
        body: message.body,
        from,
        local,
        secure: false,
        transport: Transport::Udp,
    }
}

fn emit(answer: Answer, is_head: bool) -> Vec<u8> {
    let mut headers = Headers::default();
    let mut push = |name: &str, value: String| headers.0.push((name.to_owned(), value));
    if !answer.content_type.is_empty() {
        push("Content-Type", answer.content_type.to_owned());
    }
    for (name, value) in answer.headers {
        push(name, value);
    }
    httpu::Response {
        status: answer.status,
        headers,
        body: if is_head { Bytes::new() } else { answer.body },
    }
    .emit()
}
