//! Requests, notifications and batches: read from bytes, written by clients and for relaying.
//!
//! A [`Request`] borrows from the bytes it was read from. Round's members that this product does
//! not carry out (`cond`, `quorum`, `type`) and members nobody knows are refused, never ignored: a
//! misspelt `forward` must not change what is done. What the member `digest` proves has been judged
//! before ([`digest_member`](super::digest_member)); a batch has no place for it.
//!
//! Source: JSON-RPC 2.0 §4 and §6; `dest`, `digest` and `ts` are Round's; `forward`, `hops` and
//! `granted` are ours.

use std::borrow::Cow;
use std::fmt::Write;

use crate::base::access::Scope;
use crate::base::id::Id;
use crate::base::limit;

use super::code::Code;
use super::scan::{Fault, Json, Scanner};

/// Lamport times above this are refused: JSON numbers are exact only up to 2^53.
const TS_MAX: u64 = 1 << 53;

/// Members a request may have.
const MEMBERS: [&str; 9] = [
    "jsonrpc", "method", "params", "id", "ts", "dest", "forward", "hops", "digest",
];
/// Round's members that are not carried out.
const MEMBERS_NOT_SUPPORTED: [&str; 3] = ["cond", "quorum", "type"];

impl Fault {
    /// The code it is answered with.
    pub fn code(&self) -> Code {
        match self {
            Fault::Encoding { .. } | Fault::Syntax { .. } => Code::ParseError,
            Fault::Depth | Fault::Duplicate { .. } | Fault::Batch => Code::InvalidRequest,
            Fault::Size { .. } => Code::TooLarge,
        }
    }
}

/// Which boards run a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Dest {
    /// The one that received it (absent or `.`).
    #[default]
    Here,
    /// One at random (`?`).
    Random,
    /// Every one (`*` or `all`).
    All,
    /// That one (64 hex digits).
    Node(Id),
}

impl Dest {
    /// Reads the text of a `dest` member.
    ///
    /// # Errors
    /// The sentence to answer with when it is none of the forms.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "." => Ok(Dest::Here),
            "?" => Ok(Dest::Random),
            "*" | "all" => Ok(Dest::All),
            id => id.parse().map(Dest::Node).map_err(|error| {
                format!(
                    "dest is \".\", \"?\", \"*\", \"all\" or an id: {error}; list ids with \
                    `roundel nodes`"
                )
            }),
        }
    }

    /// The text on the wire; none for the receiver itself.
    fn text(&self) -> Option<Cow<'static, str>> {
        match self {
            Dest::Here => None,
            Dest::Random => Some("?".into()),
            Dest::All => Some("*".into()),
            Dest::Node(id) => Some(id.to_string().into()),
        }
    }
}

/// The parameters, cut once into their members; the whole text is kept for echo and relays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Params<'a> {
    /// Left out.
    #[default]
    None,
    /// By name.
    Named(Vec<(Cow<'a, str>, Json<'a>)>),
    /// By position.
    Positional(Vec<Json<'a>>),
}

/// A request; without an id it is a notification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request<'a> {
    /// The method as it was named.
    pub method: Cow<'a, str>,
    /// Its parameters.
    pub params: Params<'a>,
    /// The text of `params`.
    pub params_text: Option<Json<'a>>,
    /// A string, a number or null, as sent; none for a notification.
    pub id: Option<Json<'a>>,
    /// Lamport time of the sender.
    pub ts: Option<u64>,
    /// Who runs it.
    pub dest: Dest,
    /// Pass it on rather than answer where to send it.
    pub forward: bool,
    /// Boards that have passed it on so far.
    pub hops: u8,
    /// What its caller may do, found by the board that passes it on; never of a client.
    pub granted: Option<Scope>,
}

/// A request that cannot be run, with what its answer needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid<'a> {
    /// The code to answer.
    pub code: Code,
    /// What was wrong and what to do.
    pub reason: String,
    /// The id to answer with; none for a notification, which is never answered.
    pub id: Option<Json<'a>>,
}

impl<'a> Invalid<'a> {
    fn request(reason: impl Into<String>, id: Option<Json<'a>>) -> Self {
        Invalid {
            code: Code::InvalidRequest,
            reason: reason.into(),
            id: Some(id.unwrap_or(Json::NULL)),
        }
    }
}

/// One document: a request or a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// One object; also an empty batch, which is an invalid request (§6).
    Single(Result<Request<'a>, Invalid<'a>>),
    /// 1 to 64 of them, in order.
    Batch(Vec<Result<Request<'a>, Invalid<'a>>>),
}

impl<'a> Message<'a> {
    /// Reads a whole document.
    ///
    /// # Errors
    /// [`Fault`] when the document as a whole is refused; it is answered once, with a null id.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        let mut scanner = Scanner::of_bytes(bytes)?;
        if scanner.peek() != b'[' {
            let request = element(&mut scanner, false)?;
            scanner.end()?;
            return Ok(Message::Single(request));
        }
        let mut requests = Vec::new();
        scanner.array(|scanner| {
            if requests.len() == limit::BATCH_MAX {
                return Err(Fault::Batch);
            }
            requests.push(element(scanner, true)?);
            Ok(())
        })?;
        scanner.end()?;
        Ok(if requests.is_empty() {
            let reason = "the batch is empty; put at least one request into it";
            Message::Single(Err(Invalid::request(reason, None)))
        } else {
            Message::Batch(requests)
        })
    }
}

impl<'a> Request<'a> {
    /// Writes the request. Reading it back gives the same request.
    pub fn emit(&self) -> String {
        let params = self.params_text.map_or("", |params| params.text());
        let mut out = String::with_capacity(64 + self.method.len() + params.len());
        out.push_str(r#"{"jsonrpc":"2.0","method":"#);
        push_string(&mut out, &self.method);
        if let Some(params) = self.params_text {
            out.push_str(r#","params":"#);
            out.push_str(params.text());
        }
        if let Some(dest) = self.dest.text() {
            out.push_str(r#","dest":"#);
            push_string(&mut out, &dest);
        }
        if self.forward {
            out.push_str(r#","forward":true"#);
        }
        if self.hops > 0 {
            push_number(&mut out, "hops", self.hops.into());
        }
        if let Some(scope) = self.granted {
            out.push_str(r#","granted":"#);
            push_string(&mut out, scope.as_str());
        }
        if let Some(ts) = self.ts {
            push_number(&mut out, "ts", ts);
        }
        if let Some(id) = self.id {
            out.push_str(r#","id":"#);
            out.push_str(id.text());
        }
        out.push('}');
        out
    }
}

/// Appends `text` as a JSON string.
pub(super) fn push_string(out: &mut String, text: &str) {
    out.push_str(&serde_json::to_string(text).expect("text can always be written as JSON"));
}

/// Appends a comma, a name and a number.
pub(super) fn push_number(out: &mut String, name: &str, number: u64) {
    write!(out, r#","{name}":{number}"#).expect("a String takes all that is written");
}

/// The members of a request as they stand, before they are judged.
#[derive(Default)]
struct Envelope<'a> {
    jsonrpc: Option<Json<'a>>,
    method: Option<Json<'a>>,
    params: Params<'a>,
    params_text: Option<Json<'a>>,
    id: Option<Json<'a>>,
    ts: Option<Json<'a>>,
    dest: Option<Json<'a>>,
    forward: Option<Json<'a>>,
    hops: Option<Json<'a>>,
    granted: Option<Json<'a>>,
    digest: Option<Json<'a>>,
    foreign: Option<Cow<'a, str>>,
}

/// One request of a document, or what is wrong with it.
fn element<'a>(
    scanner: &mut Scanner<'a>,
    in_batch: bool,
) -> Result<Result<Request<'a>, Invalid<'a>>, Fault> {
    if scanner.peek() != b'{' {
        scanner.value()?;
        let reason = "a request is a JSON object; send {\"jsonrpc\":\"2.0\",\"method\":…}";
        return Ok(Err(Invalid::request(reason, None)));
    }
    let mut envelope = Envelope::default();
    scanner.object(|scanner, name| {
        if name == "params" {
            return params(scanner, &mut envelope);
        }
        let value = scanner.value()?;
        match name.as_ref() {
            "jsonrpc" => envelope.jsonrpc = Some(value),
            "method" => envelope.method = Some(value),
            "id" => envelope.id = Some(value),
            "ts" => envelope.ts = Some(value),
            "dest" => envelope.dest = Some(value),
            "forward" => envelope.forward = Some(value),
            "hops" => envelope.hops = Some(value),
            "granted" => envelope.granted = Some(value),
            "digest" => envelope.digest = Some(value),
            _ => drop(envelope.foreign.get_or_insert(name.clone())),
        }
        Ok(())
    })?;
    // Of a single request it was judged before.
    envelope.digest = envelope.digest.filter(|_| in_batch);
    Ok(envelope.judge())
}

/// Takes the value of `params` and cuts it.
fn params<'a>(scanner: &mut Scanner<'a>, envelope: &mut Envelope<'a>) -> Result<(), Fault> {
    let before = scanner.mark();
    match scanner.peek() {
        b'{' => {
            let mut members = Vec::with_capacity(4);
            scanner.object(|scanner, name| {
                members.push((name.clone(), scanner.value()?));
                Ok(())
            })?;
            envelope.params = Params::Named(members);
        }
        b'[' => {
            let mut elements = Vec::new();
            scanner.array(|scanner| {
                elements.push(scanner.value()?);
                Ok(())
            })?;
            envelope.params = Params::Positional(elements);
        }
        _ => drop(scanner.value()?),
    }
    envelope.params_text = Some(scanner.since(before));
    Ok(())
}

impl<'a> Envelope<'a> {
    fn judge(self) -> Result<Request<'a>, Invalid<'a>> {
        let id = self
            .id
            .filter(|id| id.is_string() || id.is_number() || id.is_null());
        let invalid = |reason: &str| Err(Invalid::request(reason, id));
        if self.id.is_some() && id.is_none() {
            return invalid("id is a string, a number or null");
        }
        if self.jsonrpc.and_then(|v| v.as_string()).as_deref() != Some("2.0") {
            return invalid("member jsonrpc must be \"2.0\"; add it");
        }
        let Some(method) = self.method.and_then(|method| method.as_string()) else {
            return invalid("member method must be a string; name a method");
        };
        if self.params_text.is_some() && self.params == Params::None {
            return invalid("params is an object or an array; leave it out when there are none");
        }
        let refuse = |code, reason: String| Invalid { code, reason, id };
        if let Some(name) = self.foreign {
            return Err(refuse(Code::InvalidParams, foreign_member(&name, &MEMBERS)));
        }
        let wrong = |reason: &str| refuse(Code::InvalidParams, reason.to_owned());
        if self.digest.is_some() {
            return Err(wrong(
                "a batch has no member digest; send its credentials as a header",
            ));
        }
        Ok(Request {
            method,
            ts: read(self.ts, |ts| ts.as_u64().filter(|ts| *ts <= TS_MAX))
                .map_err(|()| wrong("ts is a whole number from 0 to 2^53"))?,
            dest: match self.dest {
                None => Dest::Here,
                Some(dest) => Dest::parse(&dest.as_string().unwrap_or_default())
                    .map_err(|reason| refuse(Code::BadDestination, reason))?,
            },
            forward: read(self.forward, |forward| forward.as_bool())
                .map_err(|()| wrong("forward is true or false"))?
                .unwrap_or(false),
            hops: read(self.hops, |hops| u8::try_from(hops.as_u64()?).ok())
                .map_err(|()| wrong("hops is a whole number from 0 to 255"))?
                .unwrap_or(0),
            granted: read(self.granted, |it| Scope::from_word(&it.as_string()?))
                .map_err(|()| wrong("granted is \"read\", \"write\" or \"admin\""))?,
            params: self.params,
            params_text: self.params_text,
            id,
        })
    }
}

/// Reads an optional member; an error when it is there and cannot be read.
fn read<'a, T>(
    member: Option<Json<'a>>,
    reader: impl FnOnce(Json<'a>) -> Option<T>,
) -> Result<Option<T>, ()> {
    match member {
        None => Ok(None),
        Some(json) => reader(json).map(Some).ok_or(()),
    }
}

/// Why a member outside `members` is refused.
pub(super) fn foreign_member(name: &str, members: &[&'static str]) -> String {
    let shown: String = name.chars().take(64).collect();
    if MEMBERS_NOT_SUPPORTED.contains(&name) {
        return format!("member '{shown}' is not supported by this version; leave it out");
    }
    match nearest(name, members.iter().copied()) {
        Some(known) => format!("no member '{shown}' is known; did you mean '{known}'?"),
        None => format!("no member '{shown}' is known; leave it out"),
    }
}

/// The known name that a misspelt one most resembles, when it is near enough to suggest.
pub fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if name.len() > 64 {
        return None;
    }
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn single(text: &str) -> Result<Request<'_>, Invalid<'_>> {
        match Message::parse(text.as_bytes()).unwrap() {
            Message::Single(request) => request,
            Message::Batch(_) => panic!("{text} is not a batch"),
        }
    }

    fn any_dest() -> impl Strategy<Value = Dest> {
        prop_oneof![
            Just(Dest::Here),
            Just(Dest::Random),
            Just(Dest::All),
            any::<[u8; 32]>().prop_map(|bytes| Dest::Node(Id::from_bytes(bytes))),
        ]
    }

    proptest! {
        #[test]
        fn a_request_written_is_read_back(
            method in ".*", dest in any_dest(), forward: bool, hops: u8,
            ts in prop::option::of(0..=TS_MAX),
            granted in prop::option::of(prop::sample::select(&Scope::ALL[..])),
            id in prop::option::of("(null|-?[1-9][0-9]{0,30}(\\.[0-9]+)?|\"[a-z\\\\n]{0,9}\")"),
            params in prop::option::of(prop::sample::select(
                vec![r#"{"k":  "v", "n":1e400}"#, "[ 1,2.50 ]", "{}", "[]"],
            )),
        ) {
            let Ok(id) = id.as_deref().map(Json::parse).transpose() else { return Ok(()); };
            let params_text = params.map(|p| Json::parse(p).unwrap());
            let params = match params_text.map(|p| (p.members(), p)) {
                None => Params::None,
                Some((Some(members), _)) => Params::Named(members),
                Some((None, p)) if p.text() == "[]" => Params::Positional(Vec::new()),
                Some((None, _)) => Params::Positional(
                    vec![Json::parse("1").unwrap(), Json::parse("2.50").unwrap()],
                ),
            };
            let request = Request {
                method: method.into(), params, params_text, id, ts, dest, forward, hops, granted,
            };
            let text = request.emit();
            prop_assert_eq!(single(&text).unwrap(), request);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Message::parse(&bytes);
        }

        #[test]
        fn arbitrary_near_requests_never_panic(
            text in r#"\[?\{("jsonrpc"|"id"|"method"|"params"|"dest"):("2.0"|1|null|\[\]),?\}?\]?"#
        ) {
            let _ = Message::parse(text.as_bytes());
        }
    }

    #[test]
    fn ids_come_back_as_they_were_sent() {
        for id in [
            "1e400",
            "1.0",
            "-0",
            "\"\\u0041\"",
            "null",
            "123456789012345678901234567890",
        ] {
            let text = format!(r#"{{"jsonrpc":"2.0","method":"m","id":{id}}}"#);
            assert_eq!(single(&text).unwrap().id.unwrap().text(), id);
        }
        for id in ["true", "[1]", "{}"] {
            let text = format!(r#"{{"jsonrpc":"2.0","method":"m","id":{id}}}"#);
            let invalid = single(&text).unwrap_err();
            assert_eq!(
                (invalid.code, invalid.id),
                (Code::InvalidRequest, Some(Json::NULL))
            );
        }
    }

    #[test]
    fn members_not_carried_out_are_refused_and_misspelt_ones_corrected() {
        for name in MEMBERS_NOT_SUPPORTED {
            let text = format!(r#"{{"jsonrpc":"2.0","method":"m","id":1,"{name}":1}}"#);
            let invalid = single(&text).unwrap_err();
            assert_eq!(invalid.code, Code::InvalidParams, "{name}");
            assert!(invalid.reason.contains("not supported"));
        }
        let text = r#"{"jsonrpc":"2.0","method":"m","id":1,"forwrad":true}"#;
        assert!(single(text).unwrap_err().reason.contains("'forward'"));
    }

    #[test]
    fn envelope_members_of_the_wrong_kind_are_refused() {
        for (member, code) in [
            (r#""ts":-1"#, Code::InvalidParams),
            (r#""ts":9007199254740993"#, Code::InvalidParams),
            (r#""forward":1"#, Code::InvalidParams),
            (r#""hops":256"#, Code::InvalidParams),
            (r#""dest":"nowhere""#, Code::BadDestination),
            (r#""dest":7"#, Code::BadDestination),
            (r#""params":7"#, Code::InvalidRequest),
        ] {
            let text = format!(r#"{{"jsonrpc":"2.0","method":"m","id":1,{member}}}"#);
            assert_eq!(single(&text).unwrap_err().code, code, "{member}");
        }
        let notification = r#"{"jsonrpc":"2.0","method":"m","ts":-1}"#;
        assert_eq!(single(notification).unwrap_err().id, None);
    }

    #[test]
    fn a_batch_of_64_is_read_and_of_65_refused() {
        let batch = |n: usize| {
            let one = r#"{"jsonrpc":"2.0","method":"m"}"#;
            format!("[{}]", vec![one; n].join(","))
        };
        assert!(
            matches!(Message::parse(batch(64).as_bytes()), Ok(Message::Batch(b)) if b.len() == 64)
        );
        assert_eq!(Message::parse(batch(65).as_bytes()), Err(Fault::Batch));
    }
}
