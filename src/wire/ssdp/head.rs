//! Reads the head of an SSDP datagram into the fields this product knows, and writes one.
//!
//! Unknown fields are skipped; a known one given twice is refused, since two readers could take
//! different ones. Meaning is the parent module's. Source: RFC 9112 §2 to §5, UDA 2.0 §1.

use std::fmt::Display;
use std::str::FromStr;

use super::ParseError;
use crate::base::limit;

/// The first line of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// `M-SEARCH * HTTP/1.1`.
    Search,
    /// `NOTIFY * HTTP/1.1`.
    Notify,
    /// `HTTP/1.1 200 …`.
    Ok,
}

/// A header field this product reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// HOST.
    Host,
    /// CACHE-CONTROL.
    CacheControl,
    /// LOCATION.
    Location,
    /// NT.
    Nt,
    /// NTS.
    Nts,
    /// SERVER.
    Server,
    /// USN.
    Usn,
    /// MAN.
    Man,
    /// MX.
    Mx,
    /// ST.
    St,
    /// USER-AGENT.
    UserAgent,
    /// BOOTID.UPNP.ORG.
    BootId,
    /// NEXTBOOTID.UPNP.ORG.
    NextBootId,
    /// CONFIGID.UPNP.ORG.
    ConfigId,
    /// SEARCHPORT.UPNP.ORG.
    SearchPort,
    /// CPFN.UPNP.ORG.
    FriendlyName,
    /// CLUSTER.ROUNDEL.ORG.
    Cluster,
    /// NODE.ROUNDEL.ORG.
    Node,
    /// BOOT.ROUNDEL.ORG.
    Boot,
    /// HINT.ROUNDEL.ORG.
    Hint,
}

/// The spelling on the wire, in the order of [`Field`].
const NAMES: [&str; 20] = [
    "Host",
    "Cache-Control",
    "Location",
    "NT",
    "NTS",
    "Server",
    "USN",
    "MAN",
    "MX",
    "ST",
    "User-Agent",
    "BOOTID.UPNP.ORG",
    "NEXTBOOTID.UPNP.ORG",
    "CONFIGID.UPNP.ORG",
    "SEARCHPORT.UPNP.ORG",
    "CPFN.UPNP.ORG",
    "CLUSTER.ROUNDEL.ORG",
    "NODE.ROUNDEL.ORG",
    "BOOT.ROUNDEL.ORG",
    "HINT.ROUNDEL.ORG",
];

impl Field {
    /// The spelling on the wire.
    pub fn name(self) -> &'static str {
        NAMES[self as usize]
    }
}

/// The known fields of a datagram's head.
pub struct Head<'a> {
    /// The first line.
    pub start: Start,
    values: [Option<&'a str>; NAMES.len()],
}

impl<'a> Head<'a> {
    /// Reads a head; what follows the empty line is not looked at.
    ///
    /// # Errors
    /// Says what is wrong with the datagram; the sender is to blame.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        if bytes.len() > limit::HEAD_BYTES_MAX {
            return Err(ParseError::TooLong { got: bytes.len() });
        }
        let mut headers = [httparse::EMPTY_HEADER; limit::HEADERS_MAX];
        let start = parse_start(bytes, &mut headers)?;
        let mut values = [None; NAMES.len()];
        for header in headers.iter().take_while(|header| !header.name.is_empty()) {
            let known = NAMES
                .iter()
                .position(|name| name.eq_ignore_ascii_case(header.name));
            let Some(index) = known else { continue };
            let text =
                std::str::from_utf8(header.value).map_err(|_| ParseError::Invalid(NAMES[index]))?;
            if values[index].replace(text).is_some() {
                return Err(ParseError::Twice(NAMES[index]));
            }
        }
        Ok(Head { start, values })
    }

    /// The field's text, when given.
    pub fn get(&self, field: Field) -> Option<&'a str> {
        self.values[field as usize]
    }

    /// The field's text.
    ///
    /// # Errors
    /// When it was not given.
    pub fn need(&self, field: Field) -> Result<&'a str, ParseError> {
        self.get(field).ok_or(ParseError::Missing(field.name()))
    }

    /// The field's value, when given.
    ///
    /// # Errors
    /// When the text is not one of the field.
    pub fn parsed<T: FromStr>(&self, field: Field) -> Result<Option<T>, ParseError> {
        self.get(field)
            .map(|text| text.parse().map_err(|_| ParseError::Invalid(field.name())))
            .transpose()
    }

    /// The field's value.
    ///
    /// # Errors
    /// When it was not given, or the text is not one of the field.
    pub fn need_parsed<T: FromStr>(&self, field: Field) -> Result<T, ParseError> {
        self.parsed(field)?.ok_or(ParseError::Missing(field.name()))
    }

    /// A decimal number of digits only, at most `max`, when given.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn number(&self, field: Field, max: u64) -> Result<Option<u64>, ParseError> {
        self.get(field)
            .map(|text| {
                decimal(text)
                    .filter(|value| *value <= max)
                    .ok_or(ParseError::Invalid(field.name()))
            })
            .transpose()
    }
}

/// Reads digits and nothing else.
pub fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn parse_start<'a>(
    bytes: &'a [u8],
    headers: &mut [httparse::Header<'a>],
) -> Result<Start, ParseError> {
    if bytes.starts_with(b"HTTP/") {
        let mut response = httparse::Response::new(headers);
        match response.parse(bytes) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err(ParseError::Incomplete),
            Err(_) => return Err(ParseError::NotHttp),
        }
        return match response.code {
            Some(200) => Ok(Start::Ok),
            _ => Err(ParseError::Start),
        };
    }
    let mut request = httparse::Request::new(headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(ParseError::Incomplete),
        Err(_) => return Err(ParseError::NotHttp),
    }
    match (request.method, request.path, request.version) {
        (Some("M-SEARCH"), Some("*"), Some(1)) => Ok(Start::Search),
        (Some("NOTIFY"), Some("*"), Some(1)) => Ok(Start::Notify),
        _ => Err(ParseError::Start),
    }
}

/// Writes a head field by field.
pub struct Writer(String);

impl Writer {
    /// Opens with the first line.
    pub fn new(start: Start) -> Self {
        let line = match start {
            Start::Search => "M-SEARCH * HTTP/1.1\r\n",
            Start::Notify => "NOTIFY * HTTP/1.1\r\n",
            Start::Ok => "HTTP/1.1 200 OK\r\n",
        };
        let mut text = String::with_capacity(768);
        text.push_str(line);
        Writer(text)
    }

    /// Adds a field.
    pub fn put(&mut self, field: Field, value: impl Display) {
        self.line(field.name(), value);
    }

    /// Adds a field when there is a value.
    pub fn put_some(&mut self, field: Field, value: Option<impl Display>) {
        if let Some(value) = value {
            self.put(field, value);
        }
    }

    /// Adds a line by its name.
    pub fn line(&mut self, name: &str, value: impl Display) {
        use std::fmt::Write;
        write!(self.0, "{name}: {value}\r\n").expect("a String takes all");
    }

    /// Closes the head.
    pub fn finish(mut self) -> Vec<u8> {
        self.0.push_str("\r\n");
        self.0.into_bytes()
    }
}
