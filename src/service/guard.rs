//! What is refused before a body is read: a missing or foreign Host (DNS rebinding), an Origin
//! of another site, a content type that a web page can send unasked, and what is not supported.
//!
//! Every refusal has a status and a sentence; `route` makes a JSON body of it.
//!
//! Source: RFC 9110 §7.2, §15.5.20 (421); RFC 6454 §7 (Origin); RFC 9112 §3.2.

use std::net::IpAddr;

use super::Facts;
use super::exchange::{Fields, Request};

/// A request that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The status; 401 is -32002.
    pub(super) status: u16,
    /// What was wrong and what to do.
    pub(super) reason: String,
}

pub(super) fn refuse<T>(status: u16, reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal {
        status,
        reason: reason.into(),
    })
}

/// Checks who is addressed and who asks; returns the header fields.
pub(super) fn admit<'r>(facts: &Facts, request: &'r Request) -> Result<&'r Fields, Refusal> {
    let fields = match &request.fields {
        Ok(fields) => fields,
        Err(error) => return refuse(400, error.to_string()),
    };
    if !request.target.starts_with('/') {
        return refuse(400, "the request target starts with /; send a path");
    }
    match &fields.host {
        None if request.minor >= 1 => {
            return refuse(400, "an HTTP/1.1 request needs a Host header; add it");
        }
        Some(host) if !is_ours(facts, request.local.ip(), host) => {
            let shown: String = host.chars().take(64).collect();
            return refuse(
                421,
                format!(
                    "this board does not answer to '{shown}'; use its address, or add the name \
                        to `hosts` in its configuration"
                ),
            );
        }
        _ => {}
    }
    if let Some(origin) = &fields.origin {
        let scheme = if request.secure {
            "https://"
        } else {
            "http://"
        };
        let same = fields.host.as_ref().is_some_and(|host| {
            origin
                .strip_prefix(scheme)
                .is_some_and(|site| site.eq_ignore_ascii_case(host))
        });
        if !same {
            return refuse(
                403,
                "pages of other sites may not ask this board; open the page from the board itself",
            );
        }
    }
    Ok(fields)
}

/// Checks that a body is JSON and says so.
pub(super) fn admit_json(fields: &Fields) -> Result<(), Refusal> {
    const USE_JSON: &str = "send Content-Type: application/json";
    let Some(content_type) = &fields.content_type else {
        return refuse(415, format!("the body has no content type; {USE_JSON}"));
    };
    let mut parts = content_type.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    if !matches!(kind.as_str(), "application/json" | "application/json-rpc") {
        let shown: String = kind.chars().take(64).collect();
        return refuse(
            415,
            format!("content type '{shown}' is not supported; {USE_JSON}"),
        );
    }
    admit_utf8(fields, parts)
}

/// Checks that a body is XML and says so.
pub(super) fn admit_xml(fields: &Fields) -> Result<(), Refusal> {
    const USE_XML: &str = "send Content-Type: text/xml; charset=\"utf-8\"";
    let mut parts = fields.content_type.iter().flat_map(|text| text.split(';'));
    let kind = parts.next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("text/xml") {
        let shown: String = kind.chars().take(64).collect();
        return refuse(415, format!("content type '{shown}' is no SOAP; {USE_XML}"));
    }
    admit_utf8(fields, parts.map(str::trim))
}

/// Checks that a body is UTF-8, by the parameters of its content type, and not packed.
fn admit_utf8<'a>(
    fields: &Fields,
    mut parameters: impl Iterator<Item = &'a str>,
) -> Result<(), Refusal> {
    let charset = parameters.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        (name.trim().eq_ignore_ascii_case("charset")).then(|| value.trim().trim_matches('"'))
    });
    if charset.is_some_and(|charset| !charset.eq_ignore_ascii_case("utf-8")) {
        return refuse(415, "only UTF-8 is supported; send charset=utf-8 or none");
    }
    match &fields.content_encoding {
        Some(coding) if !coding.eq_ignore_ascii_case("identity") => {
            refuse(415, "compressed bodies are not supported; send it as it is")
        }
        _ => Ok(()),
    }
}

/// Checks that the client takes JSON.
pub(super) fn admit_accept(fields: &Fields) -> Result<(), Refusal> {
    let takes_json = |accept: &String| {
        accept.split(',').any(|range| {
            let range = range.split(';').next().unwrap_or_default().trim();
            [
                "*/*",
                "application/*",
                "application/json",
                "application/json-rpc",
            ]
            .iter()
            .any(|known| range.eq_ignore_ascii_case(known))
        })
    };
    match &fields.accept {
        Some(accept) if !accept.trim().is_empty() && !takes_json(accept) => refuse(
            406,
            "answers are JSON only; send Accept: application/json or no Accept",
        ),
        _ => Ok(()),
    }
}

/// `host` names this board: an address of ours, `localhost`, `*.local` or a configured name. The
/// port is not looked at: it may be that of a tunnel.
fn is_ours(facts: &Facts, local: IpAddr, host: &str) -> bool {
    let name = without_port(host);
    let name = name.strip_suffix('.').unwrap_or(name);
    let literal = name.split('%').next().unwrap_or_default();
    if let Ok(ip) = literal.parse::<IpAddr>() {
        let ip = ip.to_canonical();
        return ip.is_loopback()
            || ip == local.to_canonical()
            || ip == facts.endpoint.ip().to_canonical();
    }
    let is = |known: &str| name.eq_ignore_ascii_case(known.strip_suffix('.').unwrap_or(known));
    is("localhost")
        || is(facts.name.as_str())
        || facts.hosts.iter().any(|known| is(known))
        || (name.len() > ".local".len()
            && name
                .get(name.len() - ".local".len()..)
                .is_some_and(|end| end.eq_ignore_ascii_case(".local")))
}

/// The host part of `host`, `host:port`, `[v6]` or `[v6]:port`.
fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((address, "")) => address,
            Some((address, port)) if is_port(port.strip_prefix(':')) => address,
            _ => "",
        };
    }
    match host.split_once(':') {
        None => host,
        Some((name, port)) if is_port(Some(port)) => name,
        Some(_) => "",
    }
}

fn is_port(text: Option<&str>) -> bool {
    text.is_some_and(|text| text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_cut_from_their_ports() {
        for (host, name) in [
            ("a", "a"),
            ("a:80", "a"),
            ("a:", "a"),
            ("[::1]", "::1"),
            ("[::1]:80", "::1"),
            ("[::1]80", ""),
            ("a:80:90", ""),
            ("a:http", ""),
            ("user@a:80", "user@a"),
        ] {
            assert_eq!(without_port(host), name, "{host}");
        }
    }

    #[test]
    fn a_body_must_say_that_it_is_utf8_json() {
        let with = |content_type: &str| Fields {
            content_type: Some(content_type.into()),
            ..Fields::default()
        };
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json-rpc;charset=\"utf-8\"",
        ] {
            assert_eq!(admit_json(&with(good)), Ok(()), "{good}");
        }
        for bad in [
            "text/plain",
            "application/bson",
            "application/x-www-form-urlencoded",
            "application/json; charset=latin1",
            "",
        ] {
            assert_eq!(admit_json(&with(bad)).unwrap_err().status, 415, "{bad}");
        }
        assert_eq!(admit_json(&Fields::default()).unwrap_err().status, 415);
        let gzip = Fields {
            content_encoding: Some("gzip".into()),
            ..with("application/json")
        };
        assert_eq!(admit_json(&gzip).unwrap_err().status, 415);
    }

    #[test]
    fn a_client_that_takes_only_bson_is_told_so() {
        let with = |accept: &str| Fields {
            accept: Some(accept.into()),
            ..Fields::default()
        };
        for good in [
            "*/*",
            "application/bson, application/json;q=0.5",
            "application/*",
            "",
        ] {
            assert_eq!(admit_accept(&with(good)), Ok(()), "{good}");
        }
        assert_eq!(
            admit_accept(&with("application/bson")).unwrap_err().status,
            406
        );
    }
}
