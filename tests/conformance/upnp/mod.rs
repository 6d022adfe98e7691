//! UPnP's device side: documents, SOAP control and GENA events.
//!
//! Rules that need no connection are tried on the service alone, without any socket. Foreign
//! control points are in `tests/control_point`. Source: UDA 2.0 §2 to §4.

mod control;
mod document;
mod event;
mod fixture;
mod lint;

use bytes::Bytes;
use roundel::base::endpoint::SocketAddr;
use roundel::service::device::Service;
use roundel::service::exchange::{Answer, Fields, Request, Transport};
use roundel::wire::xml::Element;

use crate::fake::{Alone, Setup, alone};

/// Where the board without sockets is said to be.
pub const AT: &str = "192.0.2.1:38400";
/// Who asks it.
pub const FROM: &str = "192.0.2.7:40000";

pub fn board() -> Alone {
    alone(Setup::default(), AT.parse().unwrap())
}

/// A request over TCP with these header fields; Host is there unless it is given.
pub fn request(method: &str, target: &str, fields: &[(&str, &str)], body: &str) -> Request {
    let host = ("Host", AT);
    let given = fields.iter().any(|(name, _)| *name == "Host");
    let all = fields.iter().chain((!given).then_some(&host));
    Request {
        method: method.to_owned(),
        target: target.to_owned(),
        minor: 1,
        fields: Fields::collect(all.map(|(name, value)| (*name, value.as_bytes()))),
        body: Bytes::copy_from_slice(body.as_bytes()),
        from: FROM.parse::<SocketAddr>().unwrap(),
        local: AT.parse().unwrap(),
        secure: false,
        transport: Transport::Tcp,
    }
}

pub fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let found = answer.headers.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| value.as_str())
}

/// A service by its name in paths.
pub fn service(path: &str) -> &'static Service {
    Service::at(path).expect("there is such a service").1
}

pub fn service_type(service: &Service) -> String {
    let Service {
        domain,
        name,
        version,
        ..
    } = service;
    format!("urn:{domain}:service:{name}:{version}")
}

/// The first element of a SOAP body.
pub fn soap_body(text: &[u8]) -> Element {
    let root = Element::parse_verbatim(text).expect("an answer is XML");
    assert_eq!(root.namespace, "http://schemas.xmlsoap.org/soap/envelope/");
    let body = root.child("Body").expect("an envelope has a body");
    body.children[0].clone()
}
