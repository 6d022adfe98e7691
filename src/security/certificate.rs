//! The X.509 certificate of a board: self-signed by its identity key, so that the SHA-256 of the
//! certificate's public key is the board's id.
//!
//! Nothing in it is believed by who pins the id; names and dates are there for browsers. Boards
//! have no clock that could be trusted, and a certificate that expires needs an owner who looks:
//! it is valid from 1970 until 9999-12-31, which stands for "no end" (RFC 5280 §4.1.2.5).
//!
//! Only what is written here is read here ([`fits`]); it is no X.509 parser. Source: RFC 5280,
//! RFC 5480, RFC 5758 §3.2, X.690.

use std::collections::BTreeSet;

use super::identity::{self, Signer};
use crate::base::endpoint::IpAddr;

/// Bytes of a serial number.
pub const SERIAL_BYTES: usize = 16;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT: u8 = 0x06;
const UTF8: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[2]` and `[7]` of GeneralName: a DNS name, an address.
const DNS_NAME: u8 = 0x82;
const ADDRESS: u8 = 0x87;
/// `[0]` and `[3]` of TBSCertificate: version, extensions.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const TRUE: [u8; 3] = [0x01, 0x01, 0xff];

/// ecdsa-with-SHA256, 1.2.840.10045.4.3.2.
const ECDSA_SHA256: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// 2.5.4.3, 2.5.4.10 and 2.5.4.11.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];
const ORGANIZATION: [u8; 3] = [0x55, 0x04, 0x0a];
const UNIT: [u8; 3] = [0x55, 0x04, 0x0b];
/// 2.5.29.15, 2.5.29.17, 2.5.29.19 and 2.5.29.37.
const KEY_USAGE: [u8; 3] = [0x55, 0x1d, 0x0f];
const ALTERNATIVE_NAME: [u8; 3] = [0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: [u8; 3] = [0x55, 0x1d, 0x13];
const EXTENDED_KEY_USAGE: [u8; 3] = [0x55, 0x1d, 0x25];
/// serverAuth, 1.3.6.1.5.5.7.3.1.
const SERVER_AUTH: [u8; 8] = [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];

/// Who a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// What people call the board; at most 64 characters (RFC 5280, ub-common-name).
    pub name: String,
    /// DNS names it answers to.
    pub hosts: BTreeSet<String>,
    /// Addresses it answers at.
    pub addresses: BTreeSet<IpAddr>,
}

/// The DER of a certificate that `signer` gives itself. `serial` must be fresh: browsers refuse two
/// certificates of one issuer that share it.
pub fn make(signer: &dyn Signer, subject: &Subject, serial: [u8; SERIAL_BYTES]) -> Vec<u8> {
    let body = body(signer, subject, &serial);
    let mut signature = vec![0];
    signature.extend(signer.sign(&body));
    let parts = [body, algorithm(), der(BIT_STRING, &signature)];
    der(SEQUENCE, &parts.concat())
}

/// The certificate is one that [`make`] made of this key and subject.
pub fn fits(certificate: &[u8], signer: &dyn Signer, subject: &Subject) -> bool {
    read(certificate).is_some_and(|(serial, signed, signature)| {
        signed == body(signer, subject, &serial)
            && identity::verify(signer.public_key(), signed, signature)
    })
}

/// Serial, signed part and signature.
fn read(certificate: &[u8]) -> Option<([u8; SERIAL_BYTES], &[u8], &[u8])> {
    let (inner, rest) = take(certificate, SEQUENCE)?;
    let (body, after) = take(inner, SEQUENCE)?;
    let signed = &inner[..inner.len() - after.len()];
    let after_algorithm = after.strip_prefix(&algorithm()[..])?;
    let (signature, end) = take(after_algorithm, BIT_STRING)?;
    let signature = signature.strip_prefix(&[0])?;
    let (_, after_version) = take(body, VERSION)?;
    let (serial, _) = take(after_version, INTEGER)?;
    let whole = rest.is_empty() && end.is_empty();
    whole.then_some((serial.try_into().ok()?, signed, signature))
}

/// TBSCertificate.
fn body(signer: &dyn Signer, subject: &Subject, serial: &[u8; SERIAL_BYTES]) -> Vec<u8> {
    let mut serial = *serial;
    // Positive, and of the same length whatever was drawn.
    serial[0] = serial[0] & 0x3f | 0x40;
    let attribute = |kind: &[u8], text: &str| {
        let pair = [der(OBJECT, kind), der(UTF8, text.as_bytes())].concat();
        der(SET, &der(SEQUENCE, &pair))
    };
    let name: String = subject.name.chars().take(64).collect();
    let whom = [
        attribute(&ORGANIZATION, "roundel"),
        attribute(&UNIT, &signer.id().short()),
        attribute(&COMMON_NAME, &name),
    ];
    let whom = der(SEQUENCE, &whom.concat());
    let validity = [
        der(UTC_TIME, b"700101000000Z"),
        der(GENERALIZED_TIME, b"99991231235959Z"),
    ];
    let parts = [
        der(VERSION, &der(INTEGER, &[2])),
        der(INTEGER, &serial),
        algorithm(),
        whom.clone(),
        der(SEQUENCE, &validity.concat()),
        whom,
        signer.public_key().to_vec(),
        der(EXTENSIONS, &der(SEQUENCE, &extensions(subject))),
    ];
    der(SEQUENCE, &parts.concat())
}

fn extensions(subject: &Subject) -> Vec<u8> {
    let extension = |kind: &[u8], critical: bool, value: &[u8]| {
        let critical = if critical { &TRUE[..] } else { &[] };
        let parts = [
            der(OBJECT, kind),
            critical.to_vec(),
            der(OCTET_STRING, value),
        ];
        der(SEQUENCE, &parts.concat())
    };
    let hosts = subject.hosts.iter();
    let mut names: Vec<u8> = hosts.flat_map(|it| der(DNS_NAME, it.as_bytes())).collect();
    for address in &subject.addresses {
        names.extend(match address {
            IpAddr::V4(v4) => der(ADDRESS, &v4.octets()),
            IpAddr::V6(v6) => der(ADDRESS, &v6.octets()),
        });
    }
    let digital_signature = der(BIT_STRING, &[7, 0x80]);
    let server = der(SEQUENCE, &der(OBJECT, &SERVER_AUTH));
    [
        extension(&BASIC_CONSTRAINTS, true, &der(SEQUENCE, &[])),
        extension(&KEY_USAGE, true, &digital_signature),
        extension(&EXTENDED_KEY_USAGE, false, &server),
        extension(&ALTERNATIVE_NAME, false, &der(SEQUENCE, &names)),
    ]
    .concat()
}

fn algorithm() -> Vec<u8> {
    der(SEQUENCE, &der(OBJECT, &ECDSA_SHA256))
}

/// Tag, length and content, of at most 64 KiB.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("names and addresses are few and short");
    let [high, low] = length.to_be_bytes();
    let mut bytes = match length {
        0..=0x7f => vec![tag, low],
        0x80..=0xff => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    bytes.extend_from_slice(content);
    bytes
}

/// The content of the element at the start, and what follows it.
fn take(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match *bytes {
        [found, ..] if found != tag => return None,
        [_, length @ 0..=0x7f, ref rest @ ..] => (usize::from(length), rest),
        [_, 0x81, length, ref rest @ ..] => (usize::from(length), rest),
        [_, 0x82, high, low, ref rest @ ..] => (usize::from(u16::from_be_bytes([high, low])), rest),
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::identity::Identity;

    fn identity() -> Identity {
        Identity::from_pkcs8(&Identity::generate().unwrap()).unwrap()
    }

    fn subject() -> Subject {
        Subject {
            name: "calm-heron".into(),
            hosts: ["localhost".into(), "calm-heron.local".into()].into(),
            addresses: ["192.0.2.1".parse().unwrap(), "::1".parse().unwrap()].into(),
        }
    }

    #[test]
    fn certificate_fits_its_key_and_subject_alone() {
        let (identity, other) = (identity(), self::identity());
        for serial in [[0; SERIAL_BYTES], [0xff; SERIAL_BYTES]] {
            let certificate = make(&identity, &subject(), serial);
            assert!(fits(&certificate, &identity, &subject()));
            assert!(!fits(&certificate, &other, &subject()));
            let renamed = Subject {
                hosts: BTreeSet::new(),
                ..subject()
            };
            assert!(!fits(&certificate, &identity, &renamed));
        }
    }

    #[test]
    fn certificate_with_any_bit_flipped_or_cut_short_does_not_fit() {
        let identity = identity();
        let certificate = make(&identity, &subject(), [7; SERIAL_BYTES]);
        for at in 0..certificate.len() {
            let mut damaged = certificate.clone();
            damaged[at] ^= 0x10;
            assert!(!fits(&damaged, &identity, &subject()), "byte {at}");
            assert!(!fits(&certificate[..at], &identity, &subject()));
        }
    }

    #[test]
    fn names_of_a_thousand_bytes_are_written_with_long_lengths() {
        let identity = identity();
        let hosts = (0..60).map(|n| format!("host-number-{n}.local")).collect();
        let subject = Subject { hosts, ..subject() };
        let certificate = make(&identity, &subject, [1; SERIAL_BYTES]);
        assert!(certificate.len() > 1_024 && fits(&certificate, &identity, &subject));
    }
}
