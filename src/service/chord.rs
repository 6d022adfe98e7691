//! The seed's own form: `{"do": "put", "data": {…}, "reply-to": address}` and its reply
//! `{"reply": "put", "id": …, "status": "ok", "from": address, "data": {…}}`.
//!
//! The methods are those of the table, under their hyphenated names. A reply may be sent to
//! another address: only to a known member's, or over TCP to the sender's own, since anything
//! else would let a stranger aim this board at others. Each reply waits a drawn time when the
//! configuration says so; the wait is the transport's and holds up nothing else. A keyed cluster
//! sends no datagram elsewhere for a stranger, who may have forged where it comes from.
//!
//! Source: the Chord seed's messages; exponential delay by inversion.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::base::access::{Access, Caller};
use crate::base::endpoint::SocketAddr;
use crate::base::limit;
use crate::base::rng::RngExt;
use crate::wire::jsonrpc::{Code, Json, Params, Request as RpcRequest};

use super::address::Address;
use super::exchange::{Answer, Post, Request, Transport};
use super::method::Outcome;
use super::route::CHORD;
use super::{Board, Failure, Service};

/// A message of the seed's form.
#[derive(Debug, Default)]
struct Ask<'a> {
    method: Cow<'a, str>,
    id: Option<Json<'a>>,
    reply_to: Option<Cow<'a, str>>,
    params: Vec<(Cow<'a, str>, Json<'a>)>,
    data: Option<Json<'a>>,
}

/// The reply to it.
#[derive(Serialize)]
struct Reply<'a> {
    reply: &'a str,
    id: Box<RawValue>,
    status: &'static str,
    from: SocketAddr,
    data: &'a RawValue,
}

/// The data of a reply that is not ok.
#[derive(Serialize)]
struct Trouble<'a> {
    code: i64,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

impl<B: Board> Service<B> {
    /// Answers a message of the seed's form.
    pub(super) async fn chord(&self, request: &Request, caller: Caller) -> Answer {
        let ask = match read(&request.body) {
            // A reply that was sent here: nobody waits for it, and it must never be answered.
            Ok(None) => return Answer::silent(204),
            Ok(Some(ask)) => ask,
            Err(failure) => return self.chord_answer(&Ask::default(), &Err(failure)),
        };
        if let Err(refused) = self.refuse_secret(&ask.method) {
            return self.chord_answer(&ask, &Err(refused));
        }
        let to = match self.reply_address(&ask, request, caller).await {
            Ok(to) => to,
            Err(failure) => return self.chord_answer(&ask, &Err(failure)),
        };
        let params = match ask.params.is_empty() {
            true => Params::None,
            false => Params::Named(ask.params.clone()),
        };
        let outcome = self
            .here(
                &RpcRequest {
                    method: ask.method.clone(),
                    params,
                    params_text: ask.data,
                    ..RpcRequest::default()
                },
                caller,
            )
            .await;
        let mut answer = self.chord_answer(&ask, &outcome);
        if let Some(to) = to {
            let (delay, body) = (answer.delay, answer.body);
            answer = Answer::silent(202);
            answer.delay = delay;
            answer.post = Some(Post {
                to: to.endpoint,
                transport: to.transport.unwrap_or(request.transport),
                path: CHORD,
                body,
            });
        }
        answer
    }

    /// Where the reply goes; none: back to the sender on the same way.
    async fn reply_address(
        &self,
        ask: &Ask<'_>,
        request: &Request,
        caller: Caller,
    ) -> Result<Option<Address>, Failure> {
        let Some(text) = &ask.reply_to else {
            return Ok(None);
        };
        let address = Address::parse(text).ok_or_else(|| {
            Failure::params("reply-to is an address and port like 192.168.1.7:38400")
        })?;
        let own = request.transport == Transport::Tcp
            && address.endpoint.ip().to_canonical() == request.from.ip().to_canonical();
        if own {
            return Ok(Some(address));
        }
        if matches!(caller, Caller::Stranger { .. }) && self.keys().access == Access::Keyed {
            return Err(Failure::new(
                Code::Unauthorized,
                "a stranger is answered where it asks; leave reply-to out, or use --key FILE",
            ));
        }
        let overview = self.overview().await?;
        let member = overview
            .members
            .iter()
            .any(|member| member.endpoint == Some(address.endpoint));
        if !member {
            return Err(Failure::params(
                "reply-to is neither a member of the ring nor, over TCP, the sender; leave it \
                    out to get the reply here",
            ));
        }
        Ok(Some(address))
    }

    fn chord_answer(&self, ask: &Ask<'_>, outcome: &Outcome) -> Answer {
        let (status, http, data) = match outcome {
            Ok(result) => ("ok", 200, Ok(Cow::Borrowed(&**result))),
            Err(failure) => {
                let not_found = failure.code == Code::NotFound.number();
                let status = if not_found { "not-found" } else { "error" };
                let trouble = Trouble {
                    code: failure.code,
                    message: &failure.message,
                    data: failure.data.as_deref(),
                };
                let data = to_raw_value(&trouble).map(Cow::Owned);
                (status, failure.status(), data)
            }
        };
        let data = data.unwrap_or(Cow::Borrowed(RawValue::NULL));
        let reply = Reply {
            reply: &ask.method,
            id: ask.id.unwrap_or(Json::NULL).to_raw(),
            status,
            from: self.facts().endpoint,
            data: &data,
        };
        let text = serde_json::to_string(&reply).expect("a reply can be written as JSON");
        let mut answer = Answer::json(http, text);
        answer.delay = self.reply_delay();
        answer
    }

    /// Draws from the exponential distribution of the configured mean.
    fn reply_delay(&self) -> Duration {
        let mean_ms = self.facts().reply_delay_mean_ms;
        if mean_ms == 0 {
            return Duration::ZERO;
        }
        let uniform: f64 = self.rng().random();
        let seconds = -(1.0 - uniform).ln() * mean_ms as f64 / 1_000.0;
        Duration::try_from_secs_f64(seconds)
            .unwrap_or(limit::REPLY_DELAY_MAX)
            .min(limit::REPLY_DELAY_MAX)
    }
}

/// Reads a message; none when it is a reply.
fn read(body: &[u8]) -> Result<Option<Ask<'_>>, Failure> {
    let document =
        Json::parse_bytes(body).map_err(|fault| Failure::new(fault.code(), fault.to_string()))?;
    let members = document.members().ok_or_else(|| {
        Failure::new(
            Code::InvalidRequest,
            "the message is a JSON object; send {\"do\": \"get\", \"data\": {\"key\": …}}",
        )
    })?;
    if members.iter().any(|(name, _)| name == "reply") {
        return Ok(None);
    }
    let mut ask = Ask::default();
    let mut reply_to = None;
    for (name, value) in members {
        match name.as_ref() {
            "do" => {
                ask.method = value.as_string().ok_or_else(|| {
                    Failure::new(
                        Code::InvalidRequest,
                        "member 'do' is a string: a method's name",
                    )
                })?;
            }
            "reply-to" => {
                let address = value.as_string().ok_or_else(|| {
                    Failure::params("member 'reply-to' is a string: an address and port")
                })?;
                ask.reply_to = Some(address);
                reply_to = Some(value);
            }
            "id" => ask.id = Some(value),
            // Credentials: judged before the message was read.
            "digest" => {}
            "data" => {
                ask.data = Some(value);
                let data = value.members().ok_or_else(|| {
                    Failure::params("member 'data' is an object; put key and value into it")
                })?;
                for (name, value) in data {
                    ask.push(name, value)?;
                }
            }
            _ => ask.push(name, value)?,
        }
    }
    if ask.method.is_empty() {
        return Err(Failure::new(
            Code::InvalidRequest,
            "member 'do' is missing; name a method, as in {\"do\": \"get-ring-fingers\"}",
        ));
    }
    // The seed names the notifying board by the address it wants the reply at.
    if matches!(ask.method.as_ref(), "ring-notify" | "ring_notify")
        && let Some(value) = reply_to
        && !ask.params.iter().any(|(name, _)| name == "node")
    {
        ask.push("node".into(), value)?;
    }
    Ok(Some(ask))
}

impl<'a> Ask<'a> {
    /// Adds a parameter under its snake_case name.
    fn push(&mut self, name: Cow<'a, str>, value: Json<'a>) -> Result<(), Failure> {
        let name = match name.contains('-') {
            true => Cow::Owned(name.replace('-', "_")),
            false => name,
        };
        if self.params.iter().any(|(known, _)| *known == name) {
            let shown: String = name.chars().take(64).collect();
            let reason = format!("parameter '{shown}' is given twice; send it once");
            return Err(Failure::params(reason));
        }
        self.params.push((name, value));
        Ok(())
    }
}
