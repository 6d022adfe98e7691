//! SOAP control: an action is called, its JSON-RPC method carried out, the result written back.
//!
//! Arguments are checked against the service's variables before the method sees them; the method
//! runs as a JSON-RPC request for this board does, with the same refusals: what may be changed by
//! whom is decided there, for both. SOAP has no credentials, so an action that changes something is
//! carried out only where the configuration says `soap_writes = true`.
//!
//! Source: UDA 2.0 §3.2, table 3-3 (error codes).

use base64::Engine;
use serde_json::value::RawValue;
use ssdp_client::URN;

use crate::base::access::{Caller, Scope};
use crate::wire::jsonrpc::{Code, Json, Message, Request as RpcRequest};
use crate::wire::soap::{self, Call, SoapError};
use crate::wire::xml::XmlError;

use super::device::{self, Action, Kind, Out, Source, Variable};
use super::exchange::{Answer, Fields, Request};
use super::guard::{Refusal, admit_xml, refuse};
use super::method::Outcome;
use super::{Board, Failure, Service};

/// Content type of every document of UPnP.
pub(super) const XML: &str = "text/xml; charset=\"utf-8\"";

/// A UPnPError: its code, and a sentence that says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UpnpError {
    code: u16,
    reason: String,
}

/// Codes of UDA 2.0 table 3-3; those from 700 on are this product's. Three of the table are never
/// sent: 602, since no action is optional; 603 and 604, since what lacks room or needs a hand is
/// some board of the ring and seldom the device that was asked (701 says which and what to do).
mod code {
    pub const INVALID_ACTION: u16 = 401;
    pub const INVALID_ARGS: u16 = 402;
    pub const ACTION_FAILED: u16 = 501;
    pub const VALUE_INVALID: u16 = 600;
    pub const VALUE_OUT_OF_RANGE: u16 = 601;
    pub const TOO_LONG: u16 = 605;
    pub const NOT_AUTHORIZED: u16 = 606;
    pub const UNAVAILABLE: u16 = 701;
    pub const NOT_FOUND: u16 = 702;
    pub const ELSEWHERE: u16 = 703;
    pub const UNWRITABLE: u16 = 704;
}

fn refused<T>(code: u16, reason: impl Into<String>) -> Result<T, UpnpError> {
    let reason = reason.into();
    Err(UpnpError { code, reason })
}

impl From<Failure> for UpnpError {
    fn from(failure: Failure) -> Self {
        let data = failure.data.as_deref().map(Json::from_raw);
        let reason = data.and_then(|data| member(data, "reason")?.as_string());
        let known = |wanted: Code| failure.code == wanted.number();
        let code = match () {
            () if known(Code::InvalidParams) => code::VALUE_INVALID,
            () if known(Code::TooLarge) => code::TOO_LONG,
            () if known(Code::Unauthorized) => code::NOT_AUTHORIZED,
            () if known(Code::Unavailable) => code::UNAVAILABLE,
            () if known(Code::NotFound) => code::NOT_FOUND,
            () if known(Code::MovedPermanently) => code::ELSEWHERE,
            () => code::ACTION_FAILED,
        };
        UpnpError {
            code,
            reason: reason.map_or_else(|| failure.message.to_string(), |text| text.into_owned()),
        }
    }
}

impl<B: Board> Service<B> {
    /// Answers a control request at a service.
    ///
    /// # Errors
    /// What is no SOAP at all is refused as other requests are; faults are answers.
    pub(super) async fn control(
        &self,
        service: &'static device::Service,
        request: &Request,
        fields: &Fields,
        caller: Caller,
    ) -> Result<Answer, Refusal> {
        admit_xml(fields)?;
        let call = match Call::parse(fields.soap_action.as_deref(), &request.body) {
            Ok(call) => call,
            Err(SoapError::Xml(error @ XmlError::TooLong { .. })) => {
                return refuse(
                    413,
                    format!("{error}; larger ones can be put over JSON-RPC"),
                );
            }
            Err(SoapError::Action) => {
                return Ok(self.fault(&UpnpError {
                    code: code::INVALID_ACTION,
                    reason: format!("{}; send both alike", SoapError::Action),
                }));
            }
            Err(SoapError::MustUnderstand) => {
                return Ok(self.soap(500, soap::must_understand_fault()));
            }
            Err(error) => return refuse(400, format!("{error}; send a SOAP envelope")),
        };
        Ok(match self.act(service, &call, caller).await {
            Ok(text) => self.soap(200, text),
            Err(error) => self.fault(&error),
        })
    }

    async fn act(
        &self,
        service: &'static device::Service,
        call: &Call,
        caller: Caller,
    ) -> Result<String, UpnpError> {
        let action = match is_ours(service, &call.service) {
            true => service.action(&call.action),
            false => None,
        };
        let Some(action) = action else {
            let known: Vec<_> = service.actions.iter().map(|action| action.name).collect();
            return refused(
                code::INVALID_ACTION,
                format!(
                    "{}:{} has no such action; it has {}",
                    service.name,
                    service.version,
                    known.join(", ")
                ),
            );
        };
        let document = document(service, action, &call.arguments)?;
        let outcome = match Message::parse(document.as_bytes()) {
            Ok(Message::Single(Ok(request))) => {
                self.soap_may(&request)?;
                self.here(&request, caller).await
            }
            // Its nesting is the only thing that was not checked.
            _ => {
                return refused(
                    code::VALUE_INVALID,
                    "a value is nested too deeply; flatten it",
                );
            }
        };
        let arguments = results(service, action, outcome)?;
        call.answer(&arguments).or_else(|unwritable| {
            let reason = format!("{unwritable}; ask over JSON-RPC");
            refused(code::UNWRITABLE, reason)
        })
    }

    /// Refuses what would change something, where SOAP is not to.
    fn soap_may(&self, request: &RpcRequest<'_>) -> Result<(), UpnpError> {
        let changes = self
            .table()
            .find(&request.method)
            .is_some_and(|method| method.scope > Scope::Read);
        match changes && !self.facts().entrance.soap_writes {
            true => refused(
                code::NOT_AUTHORIZED,
                "SOAP changes nothing on this board; set soap_writes = true, or use JSON-RPC",
            ),
            false => Ok(()),
        }
    }

    fn soap(&self, status: u16, text: String) -> Answer {
        Answer::new(status, XML, text)
            .with("Ext", "")
            .with("Server", &self.facts().server)
    }

    fn fault(&self, error: &UpnpError) -> Answer {
        self.soap(500, soap::fault(error.code, &error.reason))
    }
}

/// The type is that of the service, in a version it knows.
fn is_ours(service: &device::Service, asked: &URN) -> bool {
    matches!(asked, URN::Service(domain, name, version)
        if domain == service.domain
            && name == service.name
            && (1..=service.version).contains(version))
}

/// The JSON-RPC request that an action is.
fn document(
    service: &device::Service,
    action: &Action,
    arguments: &[(String, String)],
) -> Result<String, UpnpError> {
    let mut params = String::new();
    for argument in action.takes {
        let mut given = arguments.iter().filter(|(name, _)| name == argument.name);
        let (Some((_, value)), None) = (given.next(), given.next()) else {
            let names: Vec<_> = action.takes.iter().map(|argument| argument.name).collect();
            return refused(
                code::INVALID_ARGS,
                format!(
                    "argument {} must be there once; {} takes {}",
                    argument.name,
                    action.name,
                    names.join(", ")
                ),
            );
        };
        let variable = service.variable(argument.variable);
        if let Some(json) = json_of(argument.name, variable, value)? {
            let comma = if params.is_empty() { "" } else { "," };
            params.push_str(&format!("{comma}\"{}\":{json}", argument.param));
        }
    }
    let known = |name: &str| action.takes.iter().any(|argument| argument.name == name);
    if let Some((name, _)) = arguments.iter().find(|(name, _)| !known(name)) {
        let shown: String = name.chars().take(64).collect();
        return refused(
            code::INVALID_ARGS,
            format!("{} has no argument '{shown}'; leave it out", action.name),
        );
    }
    Ok(format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"{}\",\"params\":{{{params}}}}}",
        action.method
    ))
}

/// A value in JSON; none when it stands for one left out.
fn json_of(name: &str, variable: &Variable, text: &str) -> Result<Option<String>, UpnpError> {
    let wrong = |kind| {
        let reason = format!("argument {name} is not {kind}; its type is in the description");
        refused(code::INVALID_ARGS, reason)
    };
    if !variable.allowed.is_empty() && !variable.allowed.contains(&text) {
        let all = variable.allowed.join(", ");
        return refused(
            code::VALUE_OUT_OF_RANGE,
            format!("argument {name} is one of {all}; choose one"),
        );
    }
    let trimmed = text.trim();
    Ok(match variable.kind {
        Kind::Text if text.is_empty() => None,
        Kind::Text => Some(quoted(text)),
        Kind::Json if trimmed.is_empty() => None,
        Kind::Json => match Json::parse(trimmed) {
            Ok(_) => Some(trimmed.to_owned()),
            Err(_) => {
                return refused(
                    code::VALUE_INVALID,
                    format!("argument {name} is JSON; put a text into quotes"),
                );
            }
        },
        Kind::Count | Kind::Port => {
            let Ok(number) = trimmed.parse::<u32>() else {
                return wrong("a whole number");
            };
            let (least, most) = variable.range.unwrap_or((0, u32::MAX));
            if !(least..=most).contains(&number) {
                return refused(
                    code::VALUE_OUT_OF_RANGE,
                    format!("argument {name} is {least} to {most}; choose one of these"),
                );
            }
            (number != 0).then(|| number.to_string())
        }
        Kind::Flag => match trimmed {
            "1" | "true" | "yes" => Some("true".to_owned()),
            "0" | "false" | "no" => Some("false".to_owned()),
            _ => return wrong("true or false"),
        },
        Kind::Bytes => {
            // Long values are broken into lines by some encoders (RFC 2045 §6.8).
            let packed: String = text.split_ascii_whitespace().collect();
            let engine = base64::engine::general_purpose::STANDARD;
            if engine.decode(&packed).is_err() {
                return wrong("bytes in base64");
            }
            (!packed.is_empty()).then(|| quoted(&packed))
        }
    })
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string can be written as JSON")
}

/// All out arguments, in order.
fn results(
    service: &device::Service,
    action: &Action,
    outcome: Outcome,
) -> Result<Vec<(&'static str, String)>, UpnpError> {
    let result: Box<RawValue> = outcome?;
    let result = Json::from_raw(&result);
    let value = |out: &Out| match out.source {
        Source::Fixed(text) => text.to_owned(),
        Source::Has(path) => u8::from(at(result, path).is_some()).to_string(),
        Source::Member(path) => {
            let kind = service.variable(out.variable).kind;
            text_of(kind, at(result, path).filter(|value| !value.is_null()))
        }
    };
    let gives = action.gives.iter();
    Ok(gives.map(|out| (out.name, value(out))).collect())
}

/// The value at a path.
fn at<'a>(value: Json<'a>, path: &str) -> Option<Json<'a>> {
    let mut names = path.split('/').filter(|name| !name.is_empty());
    names.try_fold(value, |value, name| member(value, name))
}

fn member<'a>(value: Json<'a>, name: &str) -> Option<Json<'a>> {
    let mut members = value.members()?.into_iter();
    members
        .find(|(known, _)| known == name)
        .map(|(_, value)| value)
}

fn text_of(kind: Kind, value: Option<Json<'_>>) -> String {
    let text = match (kind, value) {
        (Kind::Text | Kind::Bytes, Some(value)) => value.as_string().map(|text| text.into_owned()),
        (Kind::Json, Some(value)) => Some(value.text().to_owned()),
        (Kind::Count | Kind::Port, value) => {
            let number = value.and_then(|value| value.as_u64()).unwrap_or_default();
            Some(number.min(u32::MAX.into()).to_string())
        }
        (Kind::Flag, value) => {
            let flag = value.and_then(|value| value.as_bool()).unwrap_or_default();
            Some(u8::from(flag).to_string())
        }
        (_, None) => None,
    };
    text.unwrap_or_default()
}

/// The README's table of this product's own codes, in Markdown.
pub fn error_table() -> String {
    let mut page = String::from("| UPnPError | When |\n|---|---|\n");
    for (codes, when) in [
        (
            vec![code::INVALID_ACTION],
            "no such action, or SOAPACTION names another",
        ),
        (
            vec![code::INVALID_ARGS],
            "an argument is missing, unknown, there twice or not of its type",
        ),
        (vec![code::ACTION_FAILED], "a mistake of ours"),
        (vec![code::VALUE_INVALID], "a value cannot be used"),
        (
            vec![code::VALUE_OUT_OF_RANGE],
            "a value is not one of those allowed, or out of range",
        ),
        (
            vec![code::TOO_LONG, code::NOT_AUTHORIZED],
            "key or value too long; not allowed",
        ),
        (
            vec![code::UNAVAILABLE],
            "too few boards answered, or there is no ring: try again later",
        ),
        (
            vec![code::NOT_FOUND],
            "no value under that key, no such board",
        ),
        (vec![code::ELSEWHERE], "another board has to be asked"),
        (
            vec![code::UNWRITABLE],
            "the result has a character that XML cannot carry: ask over JSON-RPC",
        ),
    ] {
        let codes: Vec<_> = codes.iter().map(u16::to_string).collect();
        page.push_str(&format!("| {} | {when} |\n", codes.join(", ")));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_versions_of_a_service_are_answered_and_higher_ones_are_not() {
        let second = device::Service {
            owner: device::Owner::RingNode,
            domain: "roundel-org",
            name: "Ring",
            version: 2,
            path: "ring",
            variables: &[],
            actions: &[],
        };
        for (asked, ours) in [
            ("urn:roundel-org:service:Ring:1", true),
            ("urn:roundel-org:service:Ring:2", true),
            ("urn:roundel-org:service:Ring:3", false),
            ("urn:roundel-org:service:Ring:0", false),
            ("urn:roundel-org:device:Ring:1", false),
            ("urn:roundel-org:service:ring:1", false),
            ("urn:other-org:service:Ring:1", false),
        ] {
            assert_eq!(is_ours(&second, &asked.parse().unwrap()), ours, "{asked}");
        }
    }

    #[test]
    fn failures_that_only_other_boards_answer_have_their_codes() {
        let failure = |code| Failure {
            code,
            message: "told by another board".into(),
            data: None,
        };
        for (rpc, expected) in [
            (-32_002, code::NOT_AUTHORIZED),
            (-32_001, code::ELSEWHERE),
            (-32_603, code::ACTION_FAILED),
            (-1, code::ACTION_FAILED),
        ] {
            let error = UpnpError::from(failure(rpc));
            assert_eq!(error.code, expected, "{rpc}");
            assert_eq!(error.reason, "told by another board");
        }
    }
}
