//! One JSON-RPC document: a request or a batch in, the text of the answer out.
//!
//! The requests of a batch run one after the other, so that a get sees the put before it. `ts`
//! moves the Lamport clock only when the request carries one. Each request is judged by itself:
//! what its caller may not do is refused, and the rest of its batch runs.
//!
//! Source: JSON-RPC 2.0 §4 to §6.

use std::sync::PoisonError;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::base::access::{Caller, Scope};
use crate::base::limit;
use crate::security::rnd1::body_digest;
use crate::wire::jsonrpc::{Code, Invalid, Json, Message, Request, Response};

use super::caller::Visitor;
use super::method::{Args, Method, Outcome, Run};
use super::{Board, Failure, Service};

/// The answer to a document.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    /// The HTTP status.
    pub(super) status: u16,
    /// The text; none when nothing but notifications was asked.
    pub(super) text: Option<String>,
    /// Where to ask instead.
    pub(super) location: Option<String>,
}

impl Answered {
    /// One failure that answers the whole document, with a null id.
    pub(super) fn whole(failure: &Failure, ts: u64) -> Self {
        Answered {
            status: failure.status(),
            text: Some(emit(Json::NULL, ts, Err(failure))),
            location: None,
        }
    }
}

/// One request's answer.
struct Done<'a> {
    id: Option<Json<'a>>,
    ts: u64,
    outcome: Outcome,
}

impl Done<'_> {
    /// The text; none for a notification.
    fn text(&self) -> Option<String> {
        Some(emit(self.id?, self.ts, self.outcome.as_ref().map(|r| &**r)))
    }
}

fn emit(id: Json<'_>, ts: u64, outcome: Result<&RawValue, &Failure>) -> String {
    let outcome = match outcome {
        Ok(result) => Ok(Json::from_raw(result)),
        Err(failure) => Err(failure.error_object()),
    };
    let ts = Some(ts);
    Response { id, ts, outcome }.emit()
}

impl<B: Board> Service<B> {
    /// Answers a document of any client; `private` when nobody on the LAN can read along.
    pub(super) async fn rpc(&self, body: &[u8], visitor: &Visitor, private: bool) -> Answered {
        let message = match Message::parse(body) {
            Ok(message) => message,
            Err(fault) => {
                let failure = Failure::new(fault.code(), fault.to_string());
                return Answered::whole(&failure, self.clock().now());
            }
        };
        if !private && let Err(failure) = self.refuse_secrets(&message) {
            let id = match &message {
                Message::Single(Ok(request)) => request.id,
                _ => None,
            };
            let text = emit(id.unwrap_or(Json::NULL), self.clock().now(), Err(&failure));
            return Answered {
                status: failure.status(),
                text: Some(text),
                location: None,
            };
        }
        let session = visitor.seal.as_ref().map(|seal| seal.session());
        let Some(key) = session.zip(self.names_of_writes(&message)) else {
            return self.message(message, visitor.caller).await;
        };
        let place = {
            let now = (self.facts().entrance.now)().time;
            let retries = self.shared.retries.lock();
            let mut retries = retries.unwrap_or_else(PoisonError::into_inner);
            retries.place(now, key.clone(), body_digest(body))
        };
        let answered = place
            .get_or_init(|| self.message(message, visitor.caller))
            .await
            .clone();
        let bytes = answered.text.as_ref().map_or(0, String::len);
        if bytes > limit::RETRY_BYTES_MAX {
            let retries = self.shared.retries.lock();
            retries.unwrap_or_else(PoisonError::into_inner).forget(&key);
        }
        answered
    }

    fn refuse_secrets(&self, message: &Message<'_>) -> Result<(), Failure> {
        let mut requests = requests(message).iter().flatten();
        requests.try_for_each(|request| self.refuse_secret(&request.method))
    }

    /// A method that takes or tells a secret is not for where others can read along.
    ///
    /// # Errors
    /// -32002 with the next step.
    pub(super) fn refuse_secret(&self, method: &str) -> Result<(), Failure> {
        match self.table().find(method) {
            Some(method) if method.is_secret() => Err(Failure::new(
                Code::Unauthorized,
                format!(
                    "{} has to do with a secret, which others could read on its way; ask the \
                     board itself, on its own machine or over https://",
                    method.name
                ),
            )),
            _ => Ok(()),
        }
    }

    /// The ids of a document's requests, if one of them changes something and each that does has
    /// an id.
    fn names_of_writes(&self, message: &Message<'_>) -> Option<String> {
        let mut names = String::new();
        for request in requests(message).iter().flatten() {
            let method = self.table().find(&request.method);
            if method.is_some_and(|method| method.scope > Scope::Read) {
                names.push_str(request.id?.text());
                names.push(',');
            }
        }
        Some(names).filter(|names| !names.is_empty())
    }

    async fn message(&self, message: Message<'_>, caller: Caller) -> Answered {
        match message {
            Message::Single(request) => {
                let done = self.done(request, caller).await;
                let failure = done.outcome.as_ref().err();
                let text = done.text();
                Answered {
                    status: match (&text, failure) {
                        (None, _) => 204,
                        (_, None) => 200,
                        (_, Some(failure)) => failure.status(),
                    },
                    location: text.as_ref().and(failure).and_then(location),
                    text,
                }
            }
            Message::Batch(requests) => {
                let text = self.batch(requests, caller).await;
                Answered {
                    status: if text.is_some() { 200 } else { 204 },
                    text,
                    location: None,
                }
            }
        }
    }

    /// Answers a request that another board of the cluster passed on; none for a notification.
    ///
    /// Called by the driver when a relayed call arrives on a link, never for a client's bytes.
    pub async fn handle_relayed(&self, request: Bytes) -> Option<Bytes> {
        let done = match Message::parse(&request) {
            Ok(Message::Single(request)) => self.done_relayed(request).await,
            Ok(Message::Batch(_)) => {
                let reason = "a batch cannot be relayed; send its requests one by one";
                return Some(self.refusal(Code::InvalidRequest, reason));
            }
            Err(fault) => return Some(self.refusal(fault.code(), &fault.to_string())),
        };
        done.text().map(Bytes::from)
    }

    fn refusal(&self, code: Code, reason: &str) -> Bytes {
        let failure = Failure::new(code, reason);
        emit(Json::NULL, self.clock().now(), Err(&failure)).into()
    }

    async fn batch(
        &self,
        requests: Vec<Result<Request<'_>, Invalid<'_>>>,
        caller: Caller,
    ) -> Option<String> {
        let mut out = String::from("[");
        for request in requests {
            let done = if out.len() > limit::ANSWERS_BYTES_MAX {
                self.unanswered(request)
            } else {
                self.done(request, caller).await
            };
            if let Some(text) = done.text() {
                if out.len() > 1 {
                    out.push(',');
                }
                out.push_str(&text);
            }
        }
        out.push(']');
        (out.len() > 2).then_some(out)
    }

    /// A request of a batch whose answer is full already: it is not run.
    fn unanswered<'a>(&self, request: Result<Request<'a>, Invalid<'a>>) -> Done<'a> {
        Done {
            id: match request {
                Ok(request) => request.id,
                Err(invalid) => invalid.id,
            },
            ts: self.clock().now(),
            outcome: Err(Failure::new(
                Code::TooLarge,
                "the batch's answer is full, this request was not run; send fewer at a time",
            )),
        }
    }

    async fn done<'a>(
        &self,
        request: Result<Request<'a>, Invalid<'a>>,
        caller: Caller,
    ) -> Done<'a> {
        let request = match request {
            Ok(request) => request,
            Err(invalid) => return self.done_invalid(invalid),
        };
        self.receive(&request);
        let outcome = self.outcome(&request, caller).await;
        self.finish(&request, outcome)
    }

    async fn done_relayed<'a>(&self, request: Result<Request<'a>, Invalid<'a>>) -> Done<'a> {
        let request = match request {
            Ok(request) => request,
            Err(invalid) => return self.done_invalid(invalid),
        };
        self.receive(&request);
        let outcome = self.outcome_relayed(&request).await;
        self.finish(&request, outcome)
    }

    fn done_invalid<'a>(&self, invalid: Invalid<'a>) -> Done<'a> {
        Done {
            id: invalid.id,
            ts: self.clock().now(),
            outcome: Err(Failure::new(invalid.code, invalid.reason)),
        }
    }

    fn receive(&self, request: &Request<'_>) {
        if let Some(ts) = request.ts {
            self.clock().receive(ts);
        }
    }

    fn finish<'a>(&self, request: &Request<'a>, outcome: Outcome) -> Done<'a> {
        let mut clock = self.clock();
        Done {
            id: request.id,
            ts: match request.ts {
                Some(_) => clock.send(),
                None => clock.now(),
            },
            outcome,
        }
    }

    /// Decides whether a request may run, here or where it is passed on to. A method that is not
    /// known here is for the board that knows it to judge.
    ///
    /// # Errors
    /// -32002 with the next step.
    pub(super) fn permit_request(
        &self,
        request: &Request<'_>,
        caller: Caller,
    ) -> Result<(), Failure> {
        match self.table().find(&request.method) {
            Some(method) => self.permit(caller, method.scope),
            None => Ok(()),
        }
    }

    /// Runs a request on this board.
    pub(super) async fn here(&self, request: &Request<'_>, caller: Caller) -> Outcome {
        let Some(method) = self.table().find(&request.method) else {
            return Err(self.unknown_method(&request.method));
        };
        let outcome = match self.permit(caller, method.scope) {
            Ok(()) => self.run(method, request).await,
            Err(refused) => Err(refused),
        };
        let code = outcome.as_ref().err().map_or(0, |failure| failure.code);
        crate::telemetry::count_request(method.name, code);
        outcome
    }

    async fn run(&self, method: &Method, request: &Request<'_>) -> Outcome {
        let args = Args::bind(method, request)?;
        match method.run {
            Run::Here(answer) => answer(self.facts(), &args),
            Run::Later(begin) => begin(self.facts(), &args)?.await,
            Run::Board { call, result } => {
                let reply = self.board.call(call(&args)?).await?;
                result(self.facts(), &args, reply)
            }
        }
    }

    fn unknown_method(&self, name: &str) -> Failure {
        let shown: String = name.chars().take(64).collect();
        let hint = match self.table().nearest(name) {
            Some(known) => format!("did you mean '{known}'?"),
            None => "the README lists the methods".to_owned(),
        };
        Failure::new(
            Code::MethodNotFound,
            format!("no method '{shown}' is known; {hint}"),
        )
    }
}

fn requests<'m, 'a>(message: &'m Message<'a>) -> &'m [Result<Request<'a>, Invalid<'a>>] {
    match message {
        Message::Single(request) => std::slice::from_ref(request),
        Message::Batch(requests) => requests,
    }
}

/// The `location` of a failure that says to ask elsewhere.
fn location(failure: &Failure) -> Option<String> {
    if failure.code != Code::MovedPermanently.number() {
        return None;
    }
    let members = Json::from_raw(failure.data.as_deref()?).members()?;
    let (_, location) = members.into_iter().find(|(name, _)| name == "location")?;
    Some(location.as_string()?.into_owned())
}
