//! SSDP messages: a datagram is parsed once into a [`Message`] and written only from one.
//!
//! Deliberately knows nothing of when a message is sent, to whom or whether it is believed: that
//! is `proto/ssdp`. Header names are written in title case, acronyms and UDA's dotted names in
//! capitals, and read in any case. Source: UDA 2.0 §1.2 (advertisement), §1.3 (search).

use std::net::SocketAddr;
use std::num::NonZeroU32;

use crate::base::endpoint::Name;
use crate::base::hint::HintMac;
use crate::base::id::Id;

pub mod field;
pub mod head;

pub use field::{BootId, ConfigId, Location, Target, Text, Usn};
use head::{Field, Head, Start, Writer};

/// Any SSDP message this product acts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// M-SEARCH.
    Search(Search),
    /// NOTIFY with `ssdp:alive`.
    Alive(Alive),
    /// NOTIFY with `ssdp:byebye`.
    ByeBye(ByeBye),
    /// NOTIFY with `ssdp:update`.
    Update(Update),
    /// The answer to an M-SEARCH.
    Answer(Answer),
}

/// Why a datagram is not an SSDP message; the sender is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Longer than any head.
    #[error("a head of {got} bytes is too long")]
    TooLong {
        /// Its bytes.
        got: usize,
    },
    /// Not HTTP at all, or more than 64 fields.
    #[error("not an HTTP head")]
    NotHttp,
    /// The empty line is missing.
    #[error("the head has no end")]
    Incomplete,
    /// HTTP, but no message of SSDP.
    #[error("neither M-SEARCH *, NOTIFY * nor 200")]
    Start,
    /// A field the message must have.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field's text is not of its grammar.
    #[error("{0} is malformed")]
    Invalid(&'static str),
    /// A field was given twice.
    #[error("{0} is given twice")]
    Twice(&'static str),
}

/// The vendor fields of this product.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vendor {
    /// CLUSTER.ROUNDEL.ORG.
    pub cluster: Option<Name>,
    /// NODE.ROUNDEL.ORG.
    pub node: Option<Id>,
    /// BOOT.ROUNDEL.ORG.
    pub boot: Option<u64>,
    /// HINT.ROUNDEL.ORG.
    pub hint: Option<HintMac>,
}

/// The counters of UDA 2.0; an older device gives none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// BOOTID.UPNP.ORG.
    pub boot_id: Option<BootId>,
    /// CONFIGID.UPNP.ORG.
    pub config_id: Option<ConfigId>,
}

/// M-SEARCH (UDA 2.0 §1.3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// The group, or the device asked; some control points give none.
    pub host: Option<SocketAddr>,
    /// Seconds over which to spread answers; none when absent or not a positive number.
    pub mx: Option<NonZeroU32>,
    /// What is looked for.
    pub st: Target,
    /// The control point's friendly name.
    pub friendly_name: Option<Text>,
    /// The control point's software.
    pub user_agent: Option<Text>,
}

/// NOTIFY `ssdp:alive` (UDA 2.0 §1.2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alive {
    /// The group.
    pub host: SocketAddr,
    /// Seconds for which it holds.
    pub max_age: u32,
    /// Where the description is.
    pub location: Location,
    /// What is announced.
    pub nt: Target,
    /// OS/version UPnP/version product/version.
    pub server: Option<Text>,
    /// Under which name.
    pub usn: Usn,
    /// UDA 2.0's counters.
    pub counters: Counters,
    /// Where unicast searches go when not to 1900.
    pub search_port: Option<u16>,
    /// This product's fields.
    pub vendor: Vendor,
}

/// NOTIFY `ssdp:byebye` (UDA 2.0 §1.2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByeBye {
    /// The group.
    pub host: SocketAddr,
    /// What goes.
    pub nt: Target,
    /// Under which name.
    pub usn: Usn,
    /// UDA 2.0's counters.
    pub counters: Counters,
    /// This product's fields.
    pub vendor: Vendor,
}

/// NOTIFY `ssdp:update` (UDA 2.0 §1.2.4): the BOOTID is about to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The group.
    pub host: SocketAddr,
    /// Where the description is.
    pub location: Location,
    /// What is updated.
    pub nt: Target,
    /// Under which name.
    pub usn: Usn,
    /// The old BOOTID.
    pub counters: Counters,
    /// The BOOTID of every later message.
    pub next_boot_id: BootId,
    /// Where unicast searches go when not to 1900.
    pub search_port: Option<u16>,
    /// This product's fields.
    pub vendor: Vendor,
}

/// The answer to an M-SEARCH (UDA 2.0 §1.3.3). DATE is left out: a board has no clock to trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Seconds for which it holds.
    pub max_age: u32,
    /// Where the description is.
    pub location: Location,
    /// OS/version UPnP/version product/version.
    pub server: Option<Text>,
    /// What was asked for.
    pub st: Target,
    /// Under which name.
    pub usn: Usn,
    /// UDA 2.0's counters.
    pub counters: Counters,
    /// Where unicast searches go when not to 1900.
    pub search_port: Option<u16>,
    /// This product's fields.
    pub vendor: Vendor,
}

impl Message {
    /// Parses a datagram.
    ///
    /// # Errors
    /// Says what is wrong; a datagram that is not SSDP's at all is common on port 1900.
    pub fn parse(bytes: &[u8]) -> Result<Message, ParseError> {
        let head = Head::parse(bytes)?;
        match head.start {
            Start::Search => Search::read(&head).map(Message::Search),
            Start::Ok => Answer::read(&head).map(Message::Answer),
            Start::Notify => match head.need(Field::Nts)? {
                "ssdp:alive" => Alive::read(&head).map(Message::Alive),
                "ssdp:byebye" => ByeBye::read(&head).map(Message::ByeBye),
                "ssdp:update" => Update::read(&head).map(Message::Update),
                _ => Err(ParseError::Invalid(Field::Nts.name())),
            },
        }
    }

    /// The datagram.
    pub fn emit(&self) -> Vec<u8> {
        match self {
            Message::Search(message) => message.emit(),
            Message::Alive(message) => message.emit(),
            Message::ByeBye(message) => message.emit(),
            Message::Update(message) => message.emit(),
            Message::Answer(message) => message.emit(),
        }
    }
}

impl Search {
    /// The datagram.
    pub fn emit(&self) -> Vec<u8> {
        let mut writer = Writer::new(Start::Search);
        writer.put_some(Field::Host, self.host);
        writer.put(Field::Man, "\"ssdp:discover\"");
        writer.put_some(Field::Mx, self.mx);
        writer.put(Field::St, &self.st);
        writer.put_some(Field::UserAgent, self.user_agent.as_ref());
        writer.put_some(Field::FriendlyName, self.friendly_name.as_ref());
        writer.finish()
    }

    fn read(head: &Head<'_>) -> Result<Self, ParseError> {
        if head.need(Field::Man)? != "\"ssdp:discover\"" {
            return Err(ParseError::Invalid(Field::Man.name()));
        }
        let mx = head.get(Field::Mx).and_then(head::decimal);
        let mx = mx.map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX));
        Ok(Search {
            host: head.get(Field::Host).map(host).transpose()?,
            mx: mx.and_then(NonZeroU32::new),
            st: head.need_parsed(Field::St)?,
            friendly_name: head.parsed(Field::FriendlyName)?,
            user_agent: shown(head, Field::UserAgent),
        })
    }
}

impl Alive {
    /// The datagram.
    pub fn emit(&self) -> Vec<u8> {
        let mut writer = Writer::new(Start::Notify);
        writer.put(Field::Host, self.host);
        writer.put(
            Field::CacheControl,
            format_args!("max-age={}", self.max_age),
        );
        writer.put(Field::Location, &self.location);
        writer.put(Field::Nt, &self.nt);
        writer.put(Field::Nts, "ssdp:alive");
        writer.put_some(Field::Server, self.server.as_ref());
        writer.put(Field::Usn, &self.usn);
        put_tail(&mut writer, self.counters, self.search_port, &self.vendor);
        writer.finish()
    }

    fn read(head: &Head<'_>) -> Result<Self, ParseError> {
        Ok(Alive {
            host: host(head.need(Field::Host)?)?,
            max_age: max_age(head)?,
            location: head.need_parsed(Field::Location)?,
            nt: head.need_parsed(Field::Nt)?,
            server: shown(head, Field::Server),
            usn: head.need_parsed(Field::Usn)?,
            counters: counters(head)?,
            search_port: search_port(head)?,
            vendor: vendor(head)?,
        })
    }
}

impl ByeBye {
    /// The datagram.
    pub fn emit(&self) -> Vec<u8> {
        let mut writer = Writer::new(Start::Notify);
        writer.put(Field::Host, self.host);
        writer.put(Field::Nt, &self.nt);
        writer.put(Field::Nts, "ssdp:byebye");
        writer.put(Field::Usn, &self.usn);
        put_tail(&mut writer, self.counters, None, &self.vendor);
        writer.finish()
    }

    fn read(head: &Head<'_>) -> Result<Self, ParseError> {
        Ok(ByeBye {
            host: host(head.need(Field::Host)?)?,
            nt: head.need_parsed(Field::Nt)?,
            usn: head.need_parsed(Field::Usn)?,
            counters: counters(head)?,
            vendor: vendor(head)?,
        })
    }
}

impl Update {
    /// The datagram.
    pub fn emit(&self) -> Vec<u8> {
        let mut writer = Writer::new(Start::Notify);
        writer.put(Field::Host, self.host);
        writer.put(Field::Location, &self.location);
        writer.put(Field::Nt, &self.nt);
        writer.put(Field::Nts, "ssdp:update");
        writer.put(Field::Usn, &self.usn);
        writer.put(Field::NextBootId, self.next_boot_id.get());
        put_tail(&mut writer, self.counters, self.search_port, &self.vendor);
        writer.finish()
    }

    fn read(head: &Head<'_>) -> Result<Self, ParseError> {
        Ok(Update {
            host: host(head.need(Field::Host)?)?,
            location: head.need_parsed(Field::Location)?,
            nt: head.need_parsed(Field::Nt)?,
            usn: head.need_parsed(Field::Usn)?,
            counters: counters(head)?,
            next_boot_id: boot_id(head, Field::NextBootId)?
                .ok_or(ParseError::Missing(Field::NextBootId.name()))?,
            search_port: search_port(head)?,
            vendor: vendor(head)?,
        })
    }
}

impl Answer {
    /// The datagram.
    pub fn emit(&self) -> Vec<u8> {
        let mut writer = Writer::new(Start::Ok);
        writer.put(
            Field::CacheControl,
            format_args!("max-age={}", self.max_age),
        );
        writer.line("EXT", "");
        writer.put(Field::Location, &self.location);
        writer.put_some(Field::Server, self.server.as_ref());
        writer.put(Field::St, &self.st);
        writer.put(Field::Usn, &self.usn);
        put_tail(&mut writer, self.counters, self.search_port, &self.vendor);
        writer.finish()
    }

    fn read(head: &Head<'_>) -> Result<Self, ParseError> {
        Ok(Answer {
            max_age: max_age(head)?,
            location: head.need_parsed(Field::Location)?,
            server: shown(head, Field::Server),
            st: head.need_parsed(Field::St)?,
            usn: head.need_parsed(Field::Usn)?,
            counters: counters(head)?,
            search_port: search_port(head)?,
            vendor: vendor(head)?,
        })
    }
}

fn put_tail(writer: &mut Writer, counters: Counters, search_port: Option<u16>, vendor: &Vendor) {
    writer.put_some(Field::BootId, counters.boot_id.map(BootId::get));
    writer.put_some(Field::ConfigId, counters.config_id.map(ConfigId::get));
    writer.put_some(Field::SearchPort, search_port);
    writer.put_some(Field::Cluster, vendor.cluster.as_ref());
    writer.put_some(Field::Node, vendor.node);
    writer.put_some(Field::Boot, vendor.boot);
    writer.put_some(Field::Hint, vendor.hint);
}

fn host(text: &str) -> Result<SocketAddr, ParseError> {
    field::parse_host(text, 1900).map_err(|_| ParseError::Invalid(Field::Host.name()))
}

/// SERVER and USER-AGENT are only shown, so that a strange one costs the message nothing.
fn shown(head: &Head<'_>, field: Field) -> Option<Text> {
    head.get(field).and_then(|text| text.parse().ok())
}

/// Reads the max-age directive of CACHE-CONTROL (RFC 9111 §5.2.2.1) among any others.
fn max_age(head: &Head<'_>) -> Result<u32, ParseError> {
    head.need(Field::CacheControl)?
        .split(',')
        .filter_map(|directive| directive.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("max-age"))
        .and_then(|(_, value)| head::decimal(value.trim().trim_matches('"')))
        .map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX))
        .ok_or(ParseError::Invalid(Field::CacheControl.name()))
}

fn boot_id(head: &Head<'_>, field: Field) -> Result<Option<BootId>, ParseError> {
    let value = head.number(field, u64::from(BootId::MAX))?;
    Ok(value.map(|value| BootId::new(value as u32)))
}

fn counters(head: &Head<'_>) -> Result<Counters, ParseError> {
    let config_id = head.number(Field::ConfigId, u64::from(ConfigId::MAX))?;
    Ok(Counters {
        boot_id: boot_id(head, Field::BootId)?,
        config_id: config_id.map(|value| ConfigId::new(value as u32)),
    })
}

fn search_port(head: &Head<'_>) -> Result<Option<u16>, ParseError> {
    let port = head.number(Field::SearchPort, u64::from(u16::MAX))?;
    match port {
        Some(0) => Err(ParseError::Invalid(Field::SearchPort.name())),
        port => Ok(port.map(|port| port as u16)),
    }
}

fn vendor(head: &Head<'_>) -> Result<Vendor, ParseError> {
    Ok(Vendor {
        cluster: head.parsed(Field::Cluster)?,
        node: head.parsed(Field::Node)?,
        boot: head.number(Field::Boot, u64::MAX)?,
        hint: head.parsed(Field::Hint)?,
    })
}

#[cfg(test)]
mod tests;
