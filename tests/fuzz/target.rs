//! What is fuzzed: a function for each kind of bytes that strangers or a failing card choose.
//!
//! A target panics when a parser does, or when what it read is not what it writes. The fuzz package
//! beside this file and the replay of the corpora (`tests/corpus`) share it. Service descriptions
//! are no target: the product only writes them. BSON is none: the product does not know it.

pub mod secret;
pub mod session;
pub mod store;

use bytes::{Bytes, BytesMut};
use roundel::base::limit;
use roundel::config::file::File;
use roundel::security::identity::Identity;
use roundel::security::key::ClusterKey;
use roundel::security::rnd1;
use roundel::service::exchange::Fields;
use roundel::wire::jsonrpc::{self, Json};
use roundel::wire::peer::Message as PeerMessage;
use roundel::wire::soap::Call;
use roundel::wire::ssdp::Message as SsdpMessage;
use roundel::wire::update::{HEAD_BYTES, Signed};
use roundel::wire::xml::Element;
use roundel::wire::{description, frame, gena, httpu};

/// A target's name, which is its corpus's, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("ssdp", ssdp),
    ("httpu", httpu),
    ("http_head", http_head),
    ("jsonrpc", jsonrpc),
    ("xml", xml),
    ("soap", soap),
    ("description", description),
    ("gena", gena),
    ("frame", frame),
    ("rnd1", rnd1),
    ("key", key),
    ("config", config),
    ("token", secret::token),
    ("update", update),
    ("keyring", secret::keyring),
    ("offer", secret::offer),
    ("session", session::session),
    ("swim", secret::swim),
    ("store", store::recover),
];

/// Heads of updates of the image.
pub fn update(bytes: &[u8]) {
    if let Ok(read) = Signed::parse(bytes) {
        assert_eq!(read.emit(), bytes[..HEAD_BYTES]);
    }
}

/// Advertisements, searches and answers.
pub fn ssdp(bytes: &[u8]) {
    let Ok(read) = SsdpMessage::parse(bytes) else {
        return;
    };
    let written = match &read {
        SsdpMessage::Search(it) => it.emit(),
        SsdpMessage::Answer(it) => it.emit(),
        SsdpMessage::Alive(it) => it.emit(),
        SsdpMessage::ByeBye(it) => it.emit(),
        SsdpMessage::Update(it) => it.emit(),
    };
    assert_eq!(SsdpMessage::parse(&written), Ok(read));
}

/// HTTP in datagrams. What is written has the length that a message may leave out: it is read as
/// it stands from then on.
pub fn httpu(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(read) = httpu::Request::parse(&bytes)
        && let Some(written) = within_limits(&read.headers, &read.body, read.emit())
    {
        let again = httpu::Request::parse(&written).expect("our own message");
        assert_eq!((&again.target, &again.body), (&read.target, &read.body));
        assert_eq!(httpu::Request::parse(&again.emit().into()), Ok(again));
    }
    if let Ok(read) = httpu::Response::parse(&bytes)
        && let Some(written) = within_limits(&read.headers, &read.body, read.emit())
    {
        let again = httpu::Response::parse(&written).expect("our own message");
        assert_eq!((again.status, &again.body), (read.status, &read.body));
        assert_eq!(httpu::Response::parse(&again.emit().into()), Ok(again));
    }
}

/// The message as written, unless the length that is always written, or the blanks and line ends,
/// took its head beyond what is read.
fn within_limits(headers: &httpu::Headers, body: &[u8], written: Vec<u8>) -> Option<Bytes> {
    let is_length = |name: &str| name.eq_ignore_ascii_case("content-length");
    let fields = headers
        .0
        .iter()
        .filter(|(name, _)| !is_length(name))
        .count()
        + 1;
    let head = written.len() - body.len();
    (fields <= limit::HEADERS_MAX && head <= limit::HEAD_BYTES_MAX).then(|| written.into())
}

/// The fields of a request's head, as both transports collect them.
pub fn http_head(bytes: &[u8]) {
    let fields = bytes.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = std::str::from_utf8(&line[..colon]).ok()?;
        Some((name, line[colon + 1..].trim_ascii()))
    });
    let _ = Fields::collect(fields);
}

/// Requests, answers and the query form; what is taken for JSON is JSON.
pub fn jsonrpc(bytes: &[u8]) {
    if Json::parse_bytes(bytes).is_ok() {
        let known: Result<&serde_json::value::RawValue, _> = serde_json::from_slice(bytes);
        assert!(known.is_ok(), "no JSON: {known:?}");
    }
    let _ = jsonrpc::Message::parse(bytes);
    let _ = jsonrpc::Response::parse(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = jsonrpc::Query::parse(text);
    }
}

/// Any XML document.
pub fn xml(bytes: &[u8]) {
    if let Ok(read) = Element::parse(bytes) {
        let written = read.emit();
        let again = Element::parse(&written);
        // Written, a document may be longer than what is read.
        if written.len() <= limit::XML_BYTES_MAX {
            assert_eq!(again, Ok(read));
        }
    }
    let _ = Element::parse_verbatim(bytes);
}

/// SOAPACTION on the first line, the body behind it.
pub fn soap(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (action, body) = bytes.split_at(end.unwrap_or(0));
    if let Ok(call) = Call::parse(std::str::from_utf8(action).ok(), body.trim_ascii_start()) {
        call.answer(&[("Result", call.action.clone())])
            .expect("what XML carried here it carries back");
    }
}

/// What a device says of itself.
pub fn description(bytes: &[u8]) {
    let _ = description::Description::parse(bytes);
    let _ = description::Summary::parse(bytes);
}

/// NT, CALLBACK, TIMEOUT and SID, a line each; an empty line stands for none.
pub fn gena(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let mut lines = text
        .lines()
        .map(|line| Some(line).filter(|it| !it.is_empty()));
    let mut next = || lines.next().flatten();
    let (nt, callback, timeout, sid) = (next(), next(), next(), next());
    let fields = || gena::Fields {
        nt,
        callback,
        timeout,
        sid,
    };
    let _ = gena::Request::subscribe(fields());
    let _ = gena::Request::unsubscribe(fields());
}

/// A stream of frames between boards, and their payloads; as a datagram too.
pub fn frame(bytes: &[u8]) {
    let _ = frame::Frame::from_datagram(bytes);
    let mut stream = BytesMut::from(bytes);
    while let Ok(Some(frame)) = frame::take(&mut stream) {
        let encoded = frame.encode();
        assert_eq!(frame::Frame::from_datagram(&encoded), Ok(frame.clone()));
        if let Ok(message) = PeerMessage::from_frame(&frame) {
            let mut again = BytesMut::from(&message.encode()[..]);
            let again = frame::take(&mut again).expect("our own frame");
            let again = again.expect("it is whole");
            let again = PeerMessage::from_frame(&again);
            assert!(again.is_ok(), "{message:?} became {again:?}");
        }
    }
    // Checksums are no secret: what a stranger chooses gets as far as its payload.
    if let [kind, payload @ ..] = bytes {
        let frame = frame::Frame {
            kind: *kind,
            payload: Bytes::copy_from_slice(payload),
        };
        let _ = PeerMessage::from_frame(&frame);
    }
}

/// The header that proves a key, and the member that may stand for it.
pub fn rnd1(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(read) = rnd1::Credentials::parse(text) {
        assert_eq!(read.to_string(), text);
    }
    if let Ok(read) = rnd1::Proof::parse(text) {
        assert_eq!(read.to_string(), text);
    }
    let _ = jsonrpc::digest_member(bytes);
}

/// Files with keys, as they may be after a power cut.
pub fn key(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(read) = ClusterKey::from_text(text)
    {
        let again = ClusterKey::from_text(&read.to_text()).expect("our own text");
        assert_eq!(again.kid(), read.kid());
    }
    let _ = Identity::from_pkcs8(bytes);
}

/// The configuration file.
pub fn config(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = File::parse(text);
    }
}
