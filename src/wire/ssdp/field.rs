//! The values of SSDP header fields, each parsed into a type that cannot be wrong.
//!
//! Does not know which message carries which field: that is the parent module. Source: UDA 2.0
//! §1.1.4, §1.2.2, §1.3.2; the ST grammar is read by the `ssdp-client` crate.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ssdp_client::{SearchTarget, URN};

use crate::base::limit;

/// What NT and ST name: `ssdp:all`, `upnp:rootdevice`, `uuid:…`, a device or service type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(SearchTarget);

impl Target {
    /// `ssdp:all`.
    pub const ALL: Target = Target(SearchTarget::All);
    /// `upnp:rootdevice`.
    pub const ROOT_DEVICE: Target = Target(SearchTarget::RootDevice);

    /// `uuid:…`, from a UDN without its prefix.
    ///
    /// # Panics
    /// When `udn` is empty or has a colon or a character that a header cannot carry.
    pub fn uuid(udn: &str) -> Self {
        format!("uuid:{udn}")
            .parse()
            .expect("a UDN is graphic ASCII without colons")
    }

    /// A device or service type.
    pub const fn urn(urn: URN) -> Self {
        Target(SearchTarget::URN(urn))
    }

    /// The parsed value.
    pub fn kind(&self) -> &SearchTarget {
        &self.0
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text is not what the field allows; the sender is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a value of this field")]
pub struct FieldError;

impl FromStr for Target {
    type Err = FieldError;

    /// Reads by the crate's grammar and refuses what the crate reads as something else than was
    /// written (`uuidx` as `uuid:uuidx`, version `+1` as 1).
    fn from_str(text: &str) -> Result<Self, FieldError> {
        let graphic = text.bytes().all(|byte| byte.is_ascii_graphic());
        if !graphic || text.len() > limit::SSDP_FIELD_BYTES_MAX {
            return Err(FieldError);
        }
        let target: SearchTarget = text.parse().map_err(|_| FieldError)?;
        let complete = match &target {
            SearchTarget::All | SearchTarget::RootDevice => true,
            SearchTarget::UUID(uuid) => !uuid.is_empty() && !uuid.contains(':'),
            SearchTarget::URN(urn) => !urn.domain_name().is_empty() && !urn.typ().is_empty(),
            SearchTarget::Custom(key, value) => !key.is_empty() && !value.is_empty(),
        };
        if complete && target.to_string().eq_ignore_ascii_case(text) {
            Ok(Target(target))
        } else {
            Err(FieldError)
        }
    }
}

/// A unique service name: `uuid:X` or `uuid:X::target`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usn {
    uuid: String,
    target: Option<Target>,
}

impl Usn {
    /// The USN under which a device announces `target` (UDA 2.0 table 1-1): the UDN itself is
    /// announced as `uuid:X` alone.
    pub fn new(udn: &str, target: &Target) -> Self {
        let target = match target.kind() {
            SearchTarget::UUID(_) => None,
            _ => Some(target.clone()),
        };
        Usn {
            uuid: udn.to_owned(),
            target,
        }
    }

    /// The device's UDN, without `uuid:`.
    pub fn uuid(&self) -> &str {
        &self.uuid
    }
}

impl fmt::Display for Usn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uuid:{}", self.uuid)?;
        match &self.target {
            Some(target) => write!(f, "::{target}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Usn {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        let (device, target) = match text.split_once("::") {
            Some((device, target)) => (device, Some(target.parse()?)),
            None => (text, None),
        };
        match device.parse::<Target>()?.0 {
            SearchTarget::UUID(uuid) => Ok(Usn { uuid, target }),
            _ => Err(FieldError),
        }
    }
}

/// An `http` URL whose host is an IP literal: where a description is fetched from.
///
/// A host name, another scheme or an IPv6 zone is refused: nothing of ours is fetched from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    address: SocketAddr,
    path: String,
}

impl Location {
    /// The URL of `path` at `address`; an IPv6 zone of the address is left out.
    ///
    /// # Panics
    /// When `path` does not start with `/` or has a character that a URL cannot carry.
    pub fn new(address: SocketAddr, path: &str) -> Self {
        assert!(is_path(path), "a path is /… in graphic ASCII; got {path:?}");
        Location {
            address: SocketAddr::new(address.ip(), address.port()),
            path: path.to_owned(),
        }
    }

    /// Host and port; 80 when the URL named none.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything from the first slash on.
    pub fn path(&self) -> &str {
        &self.path
    }
}

fn is_path(path: &str) -> bool {
    path.starts_with('/')
        && path.len() <= limit::SSDP_FIELD_BYTES_MAX
        && path.bytes().all(|byte| byte.is_ascii_graphic())
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.address, self.path)
    }
}

impl FromStr for Location {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        const SCHEME: &str = "http://";
        let scheme = text.get(..SCHEME.len()).ok_or(FieldError)?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(FieldError);
        }
        let rest = &text[SCHEME.len()..];
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, "/"),
        };
        if !is_path(path) {
            return Err(FieldError);
        }
        let address = parse_host(authority, 80)?;
        Ok(Location {
            address,
            path: path.to_owned(),
        })
    }
}

/// Reads `address:port`, `[address]:port` or either without the port; zones are refused.
pub fn parse_host(text: &str, port_default: u16) -> Result<SocketAddr, FieldError> {
    if text.contains('%') {
        return Err(FieldError);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    let bracketed = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let ip: IpAddr = match bracketed {
        Some(inner) => IpAddr::V6(inner.parse().map_err(|_| FieldError)?),
        None => IpAddr::V4(text.parse().map_err(|_| FieldError)?),
    };
    Ok(SocketAddr::new(ip, port_default))
}

/// Free text of a header (SERVER, USER-AGENT, CPFN): 1 to 256 bytes, no control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(String);

impl Text {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Text {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        let sound = (1..=limit::SSDP_FIELD_BYTES_MAX).contains(&text.len())
            && !text.chars().any(char::is_control)
            && text.trim_matches(' ').len() == text.len();
        sound.then(|| Text(text.to_owned())).ok_or(FieldError)
    }
}

/// BOOTID.UPNP.ORG: 31 bits, rises at each start and each change of address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootId(u32);

impl BootId {
    /// The largest value (UDA 2.0 §1.2.2: a non-negative 31-bit integer).
    pub const MAX: u32 = i32::MAX as u32;

    /// Takes the low 31 bits.
    pub const fn new(value: u32) -> Self {
        BootId(value & BootId::MAX)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// CONFIGID.UPNP.ORG: 24 bits, changes with the description documents only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfigId(u32);

impl ConfigId {
    /// The largest value a device may choose (UDA 2.0 §1.2.2).
    pub const MAX: u32 = 16_777_215;

    /// Takes the low 24 bits.
    pub const fn new(value: u32) -> Self {
        ConfigId(value & ConfigId::MAX)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_the_crate_would_rewrite_is_refused() {
        let longest = format!("a:{}", "b".repeat(300));
        for text in [
            "",
            ":",
            "uuid",
            "uuid:",
            "uuidx",
            "uuid:a:b",
            "uuid:uuid:a",
            "urn:a:device:b:+1",
            "urn:a:device:b:01",
            "urn:a:device:b:-1",
            "urn:a:thing:b:1",
            "urn::device:b:1",
            "urn:a:device::1",
            "urn:a:device:b",
            "urn:a:device:b:1:2",
            "urn:a:device:b:99999999999",
            "ssdp:all x",
            "ssdp:a\u{e9}",
            &longest,
        ] {
            assert_eq!(text.parse::<Target>(), Err(FieldError), "{text}");
        }
    }

    #[test]
    fn target_is_read_as_written() {
        for text in [
            "ssdp:all",
            "upnp:rootdevice",
            "uuid:6f1d3c5e-8a1b-4c70-9d52-726f756e6465",
            "urn:schemas-upnp-org:device:MediaServer:4",
            "urn:dial-multiscreen-org:service:dial:1",
            "roku:ecp",
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn location_is_an_http_url_with_an_address() {
        for (text, expected) in [
            ("http://192.0.2.1:80/a", "http://192.0.2.1:80/a"),
            ("HTTP://192.0.2.1/a?b#c", "http://192.0.2.1:80/a?b#c"),
            ("http://192.0.2.1", "http://192.0.2.1:80/"),
            ("http://[fe80::1]:5/x", "http://[fe80::1]:5/x"),
            ("http://[fe80::1]/x", "http://[fe80::1]:80/x"),
        ] {
            assert_eq!(text.parse::<Location>().unwrap().to_string(), expected);
        }
        for text in [
            "",
            "http://",
            "http:///x",
            "https://192.0.2.1/",
            "http://board.local/x",
            "http://user@192.0.2.1/",
            "http://[fe80::1%2]:80/",
            "http://[fe80::1%25eth0]/",
            "http://fe80::1/",
            "http://192.0.2.1:99999/",
            "http://192.0.2.1/a b",
            "\u{e9}ttp://192.0.2.1/",
        ] {
            assert_eq!(text.parse::<Location>(), Err(FieldError), "{text}");
        }
    }

    #[test]
    fn location_never_shows_a_zone() {
        let address = SocketAddr::V6(std::net::SocketAddrV6::new(
            "fe80::1".parse().unwrap(),
            80,
            0,
            7,
        ));
        assert_eq!(
            Location::new(address, "/").to_string(),
            "http://[fe80::1]:80/"
        );
    }

    #[test]
    fn text_without_control_characters_only() {
        assert!("Linux/6 UPnP/2.0 r\u{f6}undel/1".parse::<Text>().is_ok());
        for text in ["", " a", "a ", "a\r\nb", "a\tb", "a\u{7f}"] {
            assert_eq!(text.parse::<Text>(), Err(FieldError), "{text:?}");
        }
    }
}
