//! The listener: one TCP port for HTTP, HTTP within TLS and frames between boards, told apart by
//! the first byte.
//!
//! Start: [`serve`] is given a bound listener. Steady state: each connection is a task; a letter
//! first makes it HTTP (hyper: keep-alive, pipelining), 0x16 makes it TLS with HTTP within, 0x01 or
//! 0x02 makes it a link, handed over with nothing read from it. Distress: too many connections of
//! one source or in all are told so (503) and closed at once; a slow handshake, a slow head, a slow
//! body and an answer nobody reads end the connection; when the process has no descriptors left the
//! listener waits and goes on. End: told to stop, it accepts no more and lets exchanges under way
//! end. What a request means is `service`.
//!
//! Source: RFC 9112; limits of `base/limit.rs`.

mod body;
mod census;
mod datagram;
mod gate;
mod memory;
mod outgoing;

use std::convert::Infallible;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::socket::{MsgFlags, send};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

pub use census::{MemberSource, Place, Strangers};
pub use datagram::{
    Asked, Outgoing, answer_datagram, handle_datagram, names_a_key, post_datagram, read_datagram,
};
pub use gate::Gate;
pub use memory::Memory;

use crate::base::endpoint::{IpAddr, SocketAddr};
use crate::base::limit;
use crate::service::exchange::{Answer, Fields, Post, Request, Transport};
use crate::service::{Board, Service};
use crate::telemetry;

use super::opening;
use super::tls::{Channel, HANDSHAKE_BYTE, Terminator};

use body::{BodyError, Pace};
use census::Census;
use outgoing::Outbound;

/// A connection that speaks frames, nothing of it read yet.
pub struct FrameConnection {
    /// It.
    pub stream: TcpStream,
    /// The other end.
    pub from: SocketAddr,
    /// Its place among the strangers, to be held until the other end has proved who it is.
    pub place: Place,
}

/// What a [`serve`] may be told besides its listener.
#[derive(Clone)]
pub struct Options {
    /// Whether an address is that of a member of the ring, which is exempt from the limits.
    pub is_member: MemberSource,
    /// A client has this long for its head, and to send a next request.
    pub header_time_max: Duration,
    /// A client sends its body at least this fast, bytes a second.
    pub body_bytes_per_second_min: u64,
    /// Connections of one source.
    pub connections_per_source_max: usize,
    /// Connections of strangers in all.
    pub connections_max: usize,
    /// What answers TLS clients; without it they are closed.
    pub tls: Option<Terminator>,
    /// Treats loopback like any other source; for tests of the limits.
    pub loopback_is_exempt: bool,
    /// The strangers that are connected; clones of these options count together.
    pub strangers: Strangers,
    /// What requests and answers hold of the memory; clones share it.
    pub memory: Arc<Memory>,
}

impl Options {
    /// The product's limits.
    pub fn new(is_member: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Options {
            is_member: Arc::new(is_member),
            header_time_max: limit::HEADER_TIME_MAX,
            body_bytes_per_second_min: limit::BODY_BYTES_PER_SECOND_MIN,
            connections_per_source_max: limit::CONNECTIONS_PER_SOURCE_MAX,
            connections_max: limit::CONNECTIONS_MAX,
            tls: None,
            loopback_is_exempt: true,
            strangers: Strangers::default(),
            memory: Arc::default(),
        }
    }
}

/// Why a request is not carried out.
const STRANGERS_ARE_MANY: &str =
    "too many requests of strangers are under way; try again in a moment";
/// A body that is announced as longer is read only if it can be a member's.
const UNREAD_BODY_BYTES_MIN: u64 = 16 * 1_024;
/// Why a page gets no stream.
const FEED_IS_FULL: &str =
    "too many pages of this board are open, or it is stopping; close one, or try again later";

/// What every connection shares.
struct Shared<B> {
    service: Service<B>,
    options: Options,
    census: Census,
}

/// Serves one listener until `shutdown` is true or its sender is gone.
///
/// Connections that speak frames go to `frames`; when nobody takes them they are closed. Replies
/// that go elsewhere ([`Post`]) over UDP go to `posts` if there is one, since the datagram socket
/// is the driver's; those over TCP are sent from here.
pub async fn serve<B: Board>(
    listener: TcpListener,
    service: Service<B>,
    frames: mpsc::Sender<FrameConnection>,
    posts: Option<mpsc::Sender<Post>>,
    options: Options,
    mut shutdown: watch::Receiver<bool>,
) {
    let shared = Arc::new(Shared {
        service,
        census: Census::new(&options),
        options,
    });
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut shutdown) => return,
        };
        let (stream, from) = match accepted {
            Ok((stream, from)) => (stream, canonical(from)),
            Err(error) => {
                // Out of descriptors or memory: a busy loop would make it worse.
                tracing::debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Some(place) = shared.census.admit(from.ip()) else {
            telemetry::count_refused_connection();
            turn_away(&stream);
            continue;
        };
        let (shared, frames) = (shared.clone(), frames.clone());
        let (posts, shutdown) = (posts.clone(), shutdown.clone());
        tokio::spawn(async move {
            let deadline = Instant::now() + shared.options.header_time_max;
            let first = first_byte(&stream, deadline);
            let first = tokio::select! {
                first = first => first,
                () = place.leave() => return,
            };
            match first {
                None => {}
                Some(0x01 | 0x02) => hand_over(
                    FrameConnection {
                        stream,
                        from,
                        place,
                    },
                    &frames,
                ),
                Some(first) => {
                    let place = Arc::new(place);
                    let served = Box::pin(connection(
                        stream,
                        (first, deadline, from),
                        place.clone(),
                        shared,
                        posts,
                        shutdown,
                    ));
                    tokio::select! {
                        () = served => {}
                        () = place.leave() => {}
                    }
                }
            }
        });
    }
}

/// Opens a page's stream, and runs the feed while there are any.
async fn open_feed<B: Board>(
    shared: &Shared<B>,
    mut shutdown: watch::Receiver<bool>,
) -> Option<Outbound> {
    let subscription = shared.service.listen().await?;
    if subscription.first {
        let service = shared.service.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = service.feed() => {}
                () = stopped(&mut shutdown) => service.stop_feed(),
            }
        });
    }
    Some(Outbound::Feed(subscription.messages))
}

/// Answers a connection that is one too many without reading from it: best effort, since nothing
/// may be spent on it. To a board that meant to speak frames it is a foreign version.
fn turn_away(stream: &TcpStream) {
    const BODY: &str = concat!(
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32003,"message":"Unavailable","data":"#,
        r#"{"reason":"too many connections are open; close some, or try again in a second"}}}"#,
    );
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n{BODY}",
        BODY.len()
    );
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    // A client that is gone already needs no answer.
    let _ = send(stream.as_raw_fd(), answer.as_bytes(), flags);
}

/// An IPv4 address that a dual-stack listener shows as IPv6, as what it is.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip if ip == address.ip() => address,
        ip => SocketAddr::new(ip, address.port()),
    }
}

/// Ends when the listener is told to stop, or when nobody is left to tell it.
async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}

/// Where a connection comes from, at which of our addresses, and whether it is within TLS.
#[derive(Clone, Copy)]
struct Ends {
    from: SocketAddr,
    local: SocketAddr,
    secure: bool,
}

/// The first byte a connection brings, left where it is; none when it brings none in time.
async fn first_byte(stream: &TcpStream, deadline: Instant) -> Option<u8> {
    let mut first = [0];
    match timeout_at(deadline, stream.peek(&mut first)).await {
        Ok(Ok(1)) => Some(first[0]),
        _ => None,
    }
}

fn hand_over(connection: FrameConnection, frames: &mpsc::Sender<FrameConnection>) {
    let from = connection.from;
    if frames.try_send(connection).is_err() {
        tracing::debug!(%from, "a link was turned away: too many are being opened");
    }
}

/// Serves a client; its first byte tells whether it speaks TLS.
async fn connection<B: Board>(
    stream: TcpStream,
    (first, deadline, from): (u8, Instant, SocketAddr),
    place: Arc<Place>,
    shared: Arc<Shared<B>>,
    posts: Option<mpsc::Sender<Post>>,
    shutdown: watch::Receiver<bool>,
) {
    let Ok(local) = stream.local_addr().map(canonical) else {
        return;
    };
    prepare(&stream);
    let opened = match first {
        HANDSHAKE_BYTE => Box::pin(open_tls(stream, (deadline, from), &shared)).await,
        byte if byte.is_ascii_alphabetic() => {
            match timeout_at(deadline, opening::head(stream)).await {
                Ok(Ok(opened)) => Some(Channel::Plain(opened)),
                _ => None,
            }
        }
        byte => {
            tracing::trace!(%from, byte, "neither HTTP nor a frame");
            None
        }
    };
    if let Some(channel) = opened {
        let ends = Ends {
            from,
            local,
            secure: first == HANDSHAKE_BYTE,
        };
        // Boxed, as the others are: a stranger that asks for nothing takes the room of none.
        Box::pin(http(channel, (ends, place), shared, posts, shutdown)).await;
    }
}

/// Shakes hands with a client, and waits for the head of its first request.
async fn open_tls<B: Board>(
    stream: TcpStream,
    (deadline, from): (Instant, SocketAddr),
    shared: &Shared<B>,
) -> Option<Channel> {
    let tls = shared.options.tls.as_ref()?;
    let too_slow = |_| tracing::debug!(%from, "a TLS client was too slow");
    let opened = timeout_at(deadline, opening::record(stream)).await;
    let opened = opened.map_err(too_slow).ok()?.ok()?;
    if !shared.census.admit_handshake(Instant::now(), from.ip()) {
        telemetry::count_refused_connection();
        return None;
    }
    let shaken = timeout_at(deadline, tls.accept(opened)).await;
    let refused = |error| tracing::debug!(%from, %error, "a TLS client was refused");
    let shaken = shaken.map_err(too_slow).ok()?.map_err(refused).ok()?;
    let deadline = Instant::now() + shared.options.header_time_max;
    let opened = timeout_at(deadline, opening::head(shaken)).await;
    Some(Channel::Tls(Box::new(opened.ok()?.ok()?)))
}

/// Neither matters enough to refuse the client when the system will not do it.
fn prepare(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_user_timeout(Some(limit::UNREAD_TIME_MAX));
}

async fn http<B: Board>(
    channel: Channel,
    (ends, place): (Ends, Arc<Place>),
    shared: Arc<Shared<B>>,
    posts: Option<mpsc::Sender<Post>>,
    mut shutdown: watch::Receiver<bool>,
) {
    let header_time_max = shared.options.header_time_max;
    let told = shutdown.clone();
    let exchange = service_fn(move |request| {
        let (shared, posts, told) = (shared.clone(), posts.clone(), told.clone());
        let place = place.clone();
        async move {
            let _busy = place.busy();
            let (answer, whole) = exchange(request, (ends, &place), &shared, posts).await;
            let (answer, body) = match answer.feed {
                false => (answer, None),
                true => match open_feed(&shared, told).await {
                    Some(body) => (answer, Some(body)),
                    None => (shared.service.refuse_with(503, FEED_IS_FULL), None),
                },
            };
            let answer = match shared.options.memory.hold(answer, &place) {
                Ok(answer) => answer,
                Err(reason) => shared.service.refuse_with(503, reason),
            };
            telemetry::count_http(false, answer.status);
            Ok::<_, Infallible>(response(answer, body, whole))
        }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header_time_max)
            .max_headers(limit::HEADERS_MAX)
            .max_buf_size(limit::HEAD_BYTES_MAX)
            .title_case_headers(true)
            .half_close(true)
            .serve_connection(TokioIo::new(channel), exchange)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut shutdown) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(from = %ends.from, %error, "a connection ended early");
    }
}

/// One request, its answer, and whether all of the request was read.
async fn exchange<B: Board>(
    request: hyper::Request<Incoming>,
    (ends, place): (Ends, &Place),
    shared: &Shared<B>,
    posts: Option<mpsc::Sender<Post>>,
) -> (Answer, bool) {
    let (head, incoming) = request.into_parts();
    let fields = head.headers.iter();
    let mut fields = Fields::collect(fields.map(|(name, v)| (name.as_str(), v.as_bytes())));
    // The absolute form names the host in place of the header (RFC 9112 §3.2.2).
    if let (Ok(fields), Some(authority)) = (&mut fields, head.uri.authority()) {
        fields.host = Some(authority.as_str().to_owned());
    }
    let is_head = head.method == hyper::Method::HEAD;
    // A body that cannot be a member's is not worth holding; a short one keeps the connection.
    let large = incoming.size_hint().upper() > Some(UNREAD_BODY_BYTES_MIN)
        || incoming.size_hint().upper().is_none();
    if let (Ok(fields), true) = (&fields, large)
        && let Some(refusal) = shared.service.turn_away(fields)
    {
        return (refusal, false);
    }
    let pace = Pace {
        grace: shared.options.header_time_max,
        bytes_per_second_min: shared.options.body_bytes_per_second_min,
    };
    let read = body::read(incoming, &shared.options.memory.share(place).bodies, pace);
    let (answer, whole) = match read.await {
        Ok(held) => {
            let request = Request {
                method: head.method.as_str().to_owned(),
                target: head
                    .uri
                    .path_and_query()
                    .map_or_else(|| head.uri.path().to_owned(), ToString::to_string),
                minor: u8::from(head.version != hyper::Version::HTTP_10),
                fields,
                body: held.bytes.clone(),
                from: ends.from,
                local: ends.local,
                secure: ends.secure,
                transport: Transport::Tcp,
            };
            match shared.options.memory.work(place, &request).await {
                Some(_work) => (attend(request, shared).await, true),
                None => (shared.service.refuse_with(503, STRANGERS_ARE_MANY), true),
            }
        }
        Err(error) => (
            shared
                .service
                .refuse_with(error.status(), &error.to_string()),
            false,
        ),
    };
    if !answer.delay.is_zero() {
        shared.service.sleep(answer.delay).await;
    }
    if let Some(post) = answer.post.clone() {
        deliver(post, posts).await;
    }
    let answer = match answer.feed {
        true => answer,
        false => answer.sealed(is_head),
    };
    (answer, whole)
}

/// Answers a request. What a caller with the key asked for is carried out although it goes away
/// meanwhile: when it asks again, the answer is there and nothing runs twice.
async fn attend<B: Board>(request: Request, shared: &Shared<B>) -> Answer {
    let entry = shared.service.enter(&request);
    if !entry.is_proved() {
        return shared.service.attend(&request, entry).await;
    }
    let service = shared.service.clone();
    let attended = tokio::spawn(async move { service.attend(&request, entry).await });
    attended.await.unwrap_or_else(|_| {
        let reason = "the request ended half done; ask again with the same id";
        shared.service.refuse_with(500, reason)
    })
}

/// Sends a reply elsewhere; what becomes of it is that receiver's matter.
async fn deliver(post: Post, posts: Option<mpsc::Sender<Post>>) {
    match (post.transport, posts) {
        (Transport::Tcp, _) => {
            tokio::spawn(async move {
                let path = post.path;
                let sent = super::client::post(
                    post.to,
                    path,
                    "application/json",
                    post.body,
                    limit::OPERATION_TIME_MAX,
                );
                if let Err(error) = sent.await {
                    tracing::debug!(to = %post.to, %error, "a reply could not be posted");
                }
            });
        }
        (Transport::Udp, Some(posts)) => {
            if posts.try_send(post).is_err() {
                tracing::debug!("a reply was dropped: too many wait to be sent");
            }
        }
        (Transport::Udp, None) => tracing::debug!(to = %post.to, "no socket to post a reply from"),
    }
}

fn response(answer: Answer, body: Option<Outbound>, whole: bool) -> hyper::Response<Outbound> {
    let body = body.unwrap_or_else(|| Outbound::whole(answer.body));
    let mut response = hyper::Response::new(body);
    *response.status_mut() = hyper::StatusCode::from_u16(answer.status)
        .expect("the service answers statuses from 100 to 599");
    let headers = response.headers_mut();
    if !answer.content_type.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    }
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<hyper::header::HeaderName>(), value.parse()) {
            headers.insert(name, value);
        }
    }
    if !whole {
        // The rest of the body is not read: what follows is not a request.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

impl BodyError {
    fn status(&self) -> u16 {
        match self {
            BodyError::TooLarge => 413,
            BodyError::TooSlow => 408,
            BodyError::Broken => 400,
            BodyError::Busy => 503,
        }
    }
}
