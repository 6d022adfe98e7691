//! GENA: the header fields of SUBSCRIBE and UNSUBSCRIBE read, the property set of an event written.
//!
//! Does not know who subscribed or when it ends: that is `proto/gena`. Source: UDA 2.0 §4.1 and
//! §4.3.

use std::fmt;
use std::str::FromStr;

use super::ssdp::Location;
use super::xml::push_text;
use crate::base::limit;

/// Names a subscription: `uuid:…`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sid(String);

impl Sid {
    /// Of 16 random bytes (RFC 9562 §5.4).
    pub fn new(random: [u8; 16]) -> Self {
        let uuid = uuid::Builder::from_random_bytes(random).into_uuid();
        Sid(format!("uuid:{}", uuid.hyphenated()))
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The fields of a request as they were sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fields<'a> {
    /// NT.
    pub nt: Option<&'a str>,
    /// CALLBACK.
    pub callback: Option<&'a str>,
    /// TIMEOUT.
    pub timeout: Option<&'a str>,
    /// SID.
    pub sid: Option<&'a str>,
}

/// What a subscriber asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A new subscription.
    Subscribe {
        /// Where events go, in the order to try.
        callbacks: Vec<Location>,
        /// For how long it is wanted.
        timeout: Timeout,
    },
    /// A subscription is to go on.
    Renew {
        /// Which one.
        sid: Sid,
        /// For how much longer.
        timeout: Timeout,
    },
    /// A subscription is to end.
    Cancel {
        /// Which one.
        sid: Sid,
    },
}

/// Why a request is none; the subscriber is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenaError {
    /// SID beside NT or CALLBACK (400).
    #[error("SID stands beside NT or CALLBACK; renew by SID alone")]
    Incompatible,
    /// SID is missing, or not one (412).
    #[error("SID is missing or malformed; send the one of the subscription")]
    Sid,
    /// NT is not `upnp:event` (412).
    #[error("NT is missing or not upnp:event")]
    Nt,
    /// CALLBACK is missing or not one or two http URLs with addresses (412).
    #[error(
        "CALLBACK is missing or malformed; send 1 to {max} http URLs with an address for host, \
         each in <>",
        max = limit::GENA_CALLBACKS_MAX
    )]
    Callback,
    /// TIMEOUT is not `Second-N` (412).
    #[error("TIMEOUT is not Second-N")]
    Timeout,
}

impl Request {
    /// Reads the fields of a SUBSCRIBE.
    ///
    /// # Errors
    /// [`GenaError`] says which field.
    pub fn subscribe(fields: Fields<'_>) -> Result<Self, GenaError> {
        let timeout = fields.timeout.map_or(Ok(Timeout::DEFAULT), str::parse);
        match (fields.sid, fields.nt, fields.callback) {
            (Some(sid), None, None) => Ok(Request::Renew {
                sid: sid.parse()?,
                timeout: timeout?,
            }),
            (Some(_), _, _) => Err(GenaError::Incompatible),
            (None, Some("upnp:event"), Some(callback)) => Ok(Request::Subscribe {
                callbacks: callbacks(callback)?,
                timeout: timeout?,
            }),
            (None, None, None) => Err(GenaError::Sid),
            (None, Some("upnp:event"), None) => Err(GenaError::Callback),
            (None, _, _) => Err(GenaError::Nt),
        }
    }

    /// Reads the fields of an UNSUBSCRIBE.
    ///
    /// # Errors
    /// [`GenaError`] says which field.
    pub fn unsubscribe(fields: Fields<'_>) -> Result<Self, GenaError> {
        if fields.nt.is_some() || fields.callback.is_some() {
            return Err(GenaError::Incompatible);
        }
        let sid = fields.sid.ok_or(GenaError::Sid)?.parse()?;
        Ok(Request::Cancel { sid })
    }
}

impl FromStr for Sid {
    type Err = GenaError;

    fn from_str(text: &str) -> Result<Self, GenaError> {
        let uuid = text.trim().strip_prefix("uuid:").ok_or(GenaError::Sid)?;
        let uuid: uuid::Uuid = uuid.parse().map_err(|_| GenaError::Sid)?;
        Ok(Sid(format!("uuid:{}", uuid.hyphenated())))
    }
}

/// For how long a subscription is wanted, seconds; `infinite` counts as long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout(u32);

impl Timeout {
    /// What a request without the field gets.
    const DEFAULT: Timeout = Timeout(limit::GENA_SECONDS_MAX);

    /// For how long it holds: within the limits.
    pub fn seconds(self) -> u32 {
        self.0
            .clamp(limit::GENA_SECONDS_MIN, limit::GENA_SECONDS_MAX)
    }
}

impl FromStr for Timeout {
    type Err = GenaError;

    fn from_str(text: &str) -> Result<Self, GenaError> {
        let text = text.trim();
        let rest = text
            .get(.."Second-".len())
            .filter(|start| start.eq_ignore_ascii_case("Second-"))
            .map(|start| &text[start.len()..])
            .ok_or(GenaError::Timeout)?;
        if rest.eq_ignore_ascii_case("infinite") {
            return Ok(Timeout(u32::MAX));
        }
        if rest.is_empty() || !rest.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(GenaError::Timeout);
        }
        // More digits than a number has are a long time.
        Ok(Timeout(rest.parse().unwrap_or(u32::MAX)))
    }
}

/// Reads `<URL><URL>…`.
fn callbacks(text: &str) -> Result<Vec<Location>, GenaError> {
    if text.len() > limit::GENA_CALLBACK_BYTES_MAX {
        return Err(GenaError::Callback);
    }
    let mut rest = text.trim();
    let mut found = Vec::new();
    while !rest.is_empty() {
        let inner = rest.strip_prefix('<').ok_or(GenaError::Callback)?;
        let (url, after) = inner.split_once('>').ok_or(GenaError::Callback)?;
        found.push(url.parse().map_err(|_| GenaError::Callback)?);
        rest = after.trim_start();
    }
    match found.len() {
        1..=limit::GENA_CALLBACKS_MAX => Ok(found),
        _ => Err(GenaError::Callback),
    }
}

/// The body of an event: each variable and its value. What XML cannot carry is left out.
pub fn property_set<'a>(values: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <e:propertyset xmlns:e=\"urn:schemas-upnp-org:event-1-0\">\n",
    );
    for (name, value) in values {
        out.push_str(&format!("<e:property><{name}>"));
        for c in value.chars() {
            // An event must not fail.
            let _ = push_text(&mut out, c.encode_utf8(&mut [0; 4]));
        }
        out.push_str(&format!("</{name}></e:property>\n"));
    }
    out.push_str("</e:propertyset>\n");
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::xml::Element;

    const URL: &str = "<http://192.0.2.7:5000/notify>";
    const SID: &str = "uuid:6f1d3c5e-8a1b-4c70-9d52-726f756e6465";

    fn fresh(callback: &str) -> Result<Request, GenaError> {
        Request::subscribe(Fields {
            nt: Some("upnp:event"),
            callback: Some(callback),
            ..Fields::default()
        })
    }

    #[test]
    fn subscription_renewal_and_cancellation_are_told_apart() {
        let Ok(Request::Subscribe { callbacks, timeout }) = fresh(URL) else {
            panic!("a subscription");
        };
        assert_eq!(callbacks[0].to_string(), "http://192.0.2.7:5000/notify");
        assert_eq!(timeout.seconds(), 1_800);
        let sid = Fields {
            sid: Some(SID),
            timeout: Some("Second-300"),
            ..Fields::default()
        };
        let Ok(Request::Renew { sid: read, timeout }) = Request::subscribe(sid) else {
            panic!("a renewal");
        };
        assert_eq!((read.to_string().as_str(), timeout.seconds()), (SID, 300));
        assert_eq!(Request::unsubscribe(sid), Ok(Request::Cancel { sid: read }));
    }

    #[test]
    fn every_wrong_field_is_refused() {
        let fields = |nt, callback, sid, timeout| Fields {
            nt,
            callback,
            timeout,
            sid,
        };
        let (nt, url, sid) = (Some("upnp:event"), Some(URL), Some(SID));
        for (fields, expected) in [
            (fields(nt, None, sid, None), GenaError::Incompatible),
            (fields(None, url, sid, None), GenaError::Incompatible),
            (fields(nt, url, sid, None), GenaError::Incompatible),
            (fields(None, None, None, None), GenaError::Sid),
            (fields(None, None, Some("uuid:x"), None), GenaError::Sid),
            (fields(None, None, Some("x"), None), GenaError::Sid),
            (fields(None, url, None, None), GenaError::Nt),
            (
                fields(Some("upnp:propchange"), url, None, None),
                GenaError::Nt,
            ),
            (fields(nt, None, None, None), GenaError::Callback),
            (fields(nt, url, None, Some("300")), GenaError::Timeout),
            (fields(nt, url, None, Some("Second-")), GenaError::Timeout),
            (
                fields(None, None, sid, Some("Second--1")),
                GenaError::Timeout,
            ),
        ] {
            assert_eq!(Request::subscribe(fields), Err(expected), "{fields:?}");
        }
        for (fields, expected) in [
            (fields(nt, None, sid, None), GenaError::Incompatible),
            (fields(None, url, sid, None), GenaError::Incompatible),
            (fields(None, None, None, None), GenaError::Sid),
        ] {
            assert_eq!(Request::unsubscribe(fields), Err(expected), "{fields:?}");
        }
    }

    #[test]
    fn callbacks_are_one_or_two_http_urls_with_addresses() {
        assert!(fresh(&URL.repeat(2)).is_ok());
        assert!(fresh(" <http://192.0.2.7/a> <http://[fe80::1]:80/> ").is_ok());
        for text in [
            "",
            "<>",
            "http://192.0.2.7/",
            "<http://board.local/>",
            "<https://192.0.2.7/>",
            "<ftp://192.0.2.7/>",
            "<http://user@192.0.2.7/>",
            "<http://192.0.2.7/",
            "<http://192.0.2.7/> and more",
            "<http://192.0.2.7/a b>",
            &URL.repeat(3),
            &format!("<http://192.0.2.7/{}>", "x".repeat(2_000)),
        ] {
            assert_eq!(fresh(text), Err(GenaError::Callback), "{text:.60}");
        }
    }

    #[test]
    fn timeouts_are_brought_within_the_limits() {
        for (text, expected) in [
            ("Second-0", 30),
            ("second-60", 60),
            ("Second-1800", 1_800),
            ("Second-infinite", 1_800),
            ("Second-99999999999999", 1_800),
        ] {
            assert_eq!(text.parse::<Timeout>().unwrap().seconds(), expected);
        }
    }

    #[test]
    fn event_says_each_value_as_text() {
        let body = property_set([("State", "<a>&\u{1}"), ("MemberCount", "3")]);
        let root = Element::parse(&body).unwrap();
        assert_eq!(root.namespace, "urn:schemas-upnp-org:event-1-0");
        let values: Vec<_> = root
            .children
            .iter()
            .map(|property| (&*property.children[0].name, &*property.children[0].text))
            .collect();
        assert_eq!(values, [("State", "<a>&"), ("MemberCount", "3")]);
    }

    #[test]
    fn sids_of_other_random_bytes_differ_and_are_read_back() {
        let sid = Sid::new([7; 16]);
        assert_eq!(sid.to_string().parse(), Ok(sid.clone()));
        assert_ne!(sid, Sid::new([8; 16]));
    }
}
