//! HTTP over UDP: one request a datagram in, at most one response of 1,400 bytes out.
//!
//! The socket is the driver's. It must answer each datagram in a task of its own: an answer may
//! wait for other boards or for the seed's reply delay. In a keyed cluster a stranger, whose
//! address may be forged, is sent no more bytes than it sent: an answer that is larger becomes 413,
//! then a bare status, then nothing.

use bytes::Bytes;

use crate::base::endpoint::SocketAddr;
use crate::base::limit;
use crate::security::rnd1::SCHEME;
use crate::service::caller::Entry;
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

/// How an answer may be written.
#[derive(Debug)]
struct Form {
    /// Without its body.
    is_head: bool,
    /// Where the same can be asked over TCP.
    local: SocketAddr,
    path: &'static str,
    /// To a stranger of a keyed cluster: as many bytes as it sent.
    bytes_max: Option<usize>,
}

/// A datagram that is a request, of a caller that may be answered.
#[derive(Debug)]
pub struct Asked {
    request: Request,
    entry: Entry,
    form: Form,
}

/// The datagram names a key, so that it may be a member's: limits for strangers are not for it
/// unless [`read_datagram`] finds otherwise.
pub fn names_a_key(datagram: &[u8]) -> bool {
    let name = SCHEME.as_bytes();
    datagram.windows(name.len()).any(|part| part == name)
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
    match read_datagram(service, datagram, (from, local), true) {
        Ok(asked) => answer_datagram(service, asked).await,
        Err(outgoing) => outgoing,
    }
}

/// The first step of [`handle_datagram`], which waits for nothing: the datagram is read and its
/// caller found out. Strangers are heard only when `admitted`.
///
/// # Errors
/// What to send when it goes no further.
pub fn read_datagram<B: Board>(
    service: &Service<B>,
    datagram: &Bytes,
    (from, local): (SocketAddr, SocketAddr),
    admitted: bool,
) -> Result<Asked, Outgoing> {
    let message = match httpu::Request::parse(datagram) {
        Ok(message) => message,
        Err(error) => {
            if error == HttpuError::Foreign || !admitted {
                return Err(Outgoing::default());
            }
            let form = Form {
                is_head: false,
                local,
                path: "/rpc",
                bytes_max: service.is_bounded(from.ip()).then_some(datagram.len()),
            };
            let answer = service.refuse_with(400, &error.to_string());
            return Err(outgoing(service, answer, &form));
        }
    };
    let request = request(message, from, local);
    let entry = service.enter(&request);
    if !admitted && !entry.is_proved() {
        return Err(Outgoing::default());
    }
    let form = Form {
        is_head: request.method == "HEAD",
        local,
        path: ["/chord", PRESENTATION_PATH]
            .into_iter()
            .find(|path| request.target.starts_with(path))
            .unwrap_or("/rpc"),
        bytes_max: entry.is_bounded().then_some(datagram.len()),
    };
    match service.refused(&entry) {
        Some(answer) => Err(outgoing(service, answer, &form)),
        None => Ok(Asked {
            request,
            entry,
            form,
        }),
    }
}

/// The second step: the request is carried out.
pub async fn answer_datagram<B: Board>(service: &Service<B>, asked: Asked) -> Outgoing {
    let Asked {
        request,
        entry,
        form,
    } = asked;
    let answer = service.attend(&request, entry).await;
    if !answer.delay.is_zero() {
        service.sleep(answer.delay).await;
    }
    outgoing(service, answer, &form)
}

/// Writes an answer as large as it may be: else what says so, else its status alone, else nothing.
fn outgoing<B: Board>(service: &Service<B>, answer: Answer, form: &Form) -> Outgoing {
    telemetry::count_http(true, answer.status);
    let post = answer.post.clone();
    if answer.silent_over_udp {
        return Outgoing { answer: None, post };
    }
    let bytes_max = form.bytes_max.unwrap_or(limit::DATAGRAM_BYTES_MAX);
    let bytes_max = bytes_max.min(limit::DATAGRAM_BYTES_MAX);
    let (status, seal, body) = (answer.status, answer.seal.clone(), answer.body.clone());
    let fits = |bytes: &Vec<u8>| bytes.len() <= bytes_max;
    let bytes = Some(emit(answer, form.is_head))
        .filter(fits)
        .or_else(|| {
            let location = format!("http://{}{}", form.local, form.path);
            let mut larger = service.too_large(&body, location);
            larger.seal = seal;
            Some(emit(larger, form.is_head))
                .filter(|_| status < 400)
                .filter(fits)
        })
        .or_else(|| {
            let status = if status < 400 { 413 } else { status };
            Some(emit(Answer::new(status, "", ""), false)).filter(fits)
        });
    Outgoing {
        answer: bytes.map(Bytes::from),
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
    let answer = answer.sealed(is_head);
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
