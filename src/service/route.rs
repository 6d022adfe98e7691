//! Paths: which part of the service answers a request, and what every other one is told.
//!
//! The same table serves HTTP and HTTPU.

use crate::base::access::Caller;
use crate::wire::jsonrpc::{Code, Json, Message, Query, Response};

use super::caller::{CHALLENGE, Entry, Visitor};
use super::control::XML;
use super::exchange::{Answer, Fields, Request, Transport};
use super::guard::{Refusal, admit_accept, admit_json, refuse};
use super::owner::is_private;
use super::rpc::Answered;
use super::web::PRESENTATION_PATH;
use super::{Board, Failure, Service, device};

/// The JSON-RPC endpoint.
const RPC: &str = "/rpc";
/// A longer id would not leave room for the error in a datagram.
const ECHOED_ID_BYTES_MAX: usize = 256;
/// The seed's own form.
pub(super) const CHORD: &str = "/chord";

/// What a refused caller may prove itself with (RFC 9110 §11.6.1).
const CHALLENGE_FIELD: (&str, &str) = ("WWW-Authenticate", "RND1, Bearer");

/// Whether a request carries a JSON document: one that may have credentials in it.
pub(super) fn takes_documents(method: &str, target: &str) -> bool {
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    matches!(method, "POST" | "PUT") && matches!(path, RPC | CHORD)
}

impl<B: Board> Service<B> {
    /// Answers an HTTP request.
    ///
    /// The caller carries out the answer's delay and post. Nothing in a request makes this panic.
    pub async fn handle(&self, request: &Request) -> Answer {
        let entry = self.enter(request);
        self.attend(request, entry).await
    }

    /// As [`Service::handle`], once it was found out who asks.
    pub async fn attend(&self, request: &Request, entry: Entry) -> Answer {
        let visitor = match entry.visitor {
            Ok(visitor) => visitor,
            Err(refusal) => return self.refuse(&refusal),
        };
        let routed = self.route(request, &visitor).await;
        let mut answer = routed.unwrap_or_else(|refusal| self.refuse(&refusal));
        answer.seal = visitor.seal;
        let told = answer
            .headers
            .iter()
            .any(|field| field.0 == CHALLENGE_FIELD.0);
        match answer.status == 401 && !told {
            true => answer.with(CHALLENGE_FIELD.0, CHALLENGE_FIELD.1),
            false => answer,
        }
    }

    /// The refusal of a caller that is not let in, which nothing needs to be waited for.
    pub fn refused(&self, entry: &Entry) -> Option<Answer> {
        let refusal = entry.visitor.as_ref().err()?;
        Some(self.refuse(refusal))
    }

    /// A refusal as a JSON-RPC error, for transports that must refuse by themselves.
    pub fn refuse_with(&self, status: u16, reason: &str) -> Answer {
        self.refuse(&Refusal {
            status,
            reason: reason.to_owned(),
        })
    }

    /// What is sent in place of an answer with that body, which does not fit a datagram. It keeps
    /// the request's id, so that the client can tell what to ask again.
    pub fn too_large(&self, body: &[u8], location: String) -> Answer {
        let failure = Failure::new(
            Code::TooLarge,
            "the answer does not fit a datagram; ask over TCP at Location",
        );
        let id = Response::parse(body)
            .map(|response| response.id)
            .ok()
            .filter(|id| id.text().len() <= ECHOED_ID_BYTES_MAX);
        let text = Response {
            id: id.unwrap_or(Json::NULL),
            ts: Some(self.clock().now()),
            outcome: Err(failure.error_object()),
        }
        .emit();
        Answer::json(failure.status(), text).with("Location", location)
    }

    fn refuse(&self, refusal: &Refusal) -> Answer {
        let code = match refusal.status {
            401 => Code::Unauthorized,
            413 => Code::TooLarge,
            503 => Code::Unavailable,
            _ => Code::InvalidRequest,
        };
        let failure = Failure::new(code, &refusal.reason);
        let text = Answered::whole(&failure, self.clock().now()).text;
        let answer = Answer::json(refusal.status, text.unwrap_or_default());
        match refusal.status {
            401 => answer.with(CHALLENGE_FIELD.0, CHALLENGE_FIELD.1),
            415 => answer.with("Accept", "application/json, application/json-rpc"),
            _ => answer,
        }
    }

    async fn route(&self, request: &Request, visitor: &Visitor) -> Result<Answer, Refusal> {
        let fields = match &request.fields {
            Ok(fields) => fields,
            Err(error) => return refuse(400, error.to_string()),
        };
        let caller = visitor.caller;
        let (path, query) = match request.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (request.target.as_str(), None),
        };
        let method = request.method.as_str();
        let reads = matches!(method, "GET" | "HEAD");
        if fields.async_location && matches!(path, RPC | CHORD) {
            return Ok(self.fail(Failure::params(
                "header X-Async-Location is not supported by this version; leave it out and \
                    read the answer",
            )));
        }
        match path {
            RPC => {
                admit_accept(fields)?;
                match method {
                    "GET" | "HEAD" => Ok(self.get(query.unwrap_or_default(), caller).await),
                    "POST" | "PUT" => {
                        admit_json(fields)?;
                        let private = is_private(request);
                        Ok(answer(self.rpc(&request.body, visitor, private).await))
                    }
                    _ => Ok(self.not_allowed("GET, HEAD, POST, PUT")),
                }
            }
            CHORD if matches!(method, "POST" | "PUT") => {
                admit_json(fields)?;
                Ok(self.chord(request, caller).await)
            }
            CHORD => Ok(self.not_allowed("POST, PUT")),
            CHALLENGE if reads => Ok(self.challenge()),
            "/healthz" if reads => Ok(self.health().await),
            "/metrics" if reads => Ok(self.metrics().await),
            "/description.xml" if reads => {
                let document = (self.facts().description_xml)(request.local);
                Ok(Answer::new(200, XML, document))
            }
            CHALLENGE | "/healthz" | "/metrics" | "/description.xml" => {
                Ok(self.not_allowed("GET, HEAD"))
            }
            _ if is_page(path) => Ok(self.page(request, path, fields).await),
            _ => {
                if let Some(answer) = self.upnp(request, fields, path, caller).await {
                    return answer;
                }
                Ok(self.refuse_with(
                    404,
                    "nothing is served at this path; try /presentation, /rpc, /chord, /healthz, \
                     /metrics or /description.xml",
                ))
            }
        }
    }

    /// Answers what control points ask beside the device description; none at another path.
    async fn upnp(
        &self,
        request: &Request,
        fields: &Fields,
        path: &str,
        caller: Caller,
    ) -> Option<Result<Answer, Refusal>> {
        let method = request.method.as_str();
        let reads = matches!(method, "GET" | "HEAD");
        if let Some(icon) = device::icon(path) {
            return Some(Ok(match reads {
                true => Answer::new(200, "image/png", icon),
                false => self.not_allowed("GET, HEAD"),
            }));
        }
        let (name, part) = path.strip_prefix("/service/")?.split_once('/')?;
        let (topic, service) = device::Service::at(name)?;
        Some(match part {
            "description.xml" if reads => {
                let document = service.scpd(self.facts().config_id).emit();
                Ok(Answer::new(200, XML, document))
            }
            "description.xml" => Ok(self.not_allowed("GET, HEAD")),
            "control" | "event" if request.transport == Transport::Udp => refuse(
                400,
                "actions and events are asked for over TCP; a datagram's source can be forged",
            ),
            "control" if method == "POST" => self.control(service, request, fields, caller).await,
            "control" => Ok(self.not_allowed("POST")),
            "event" => match method {
                "SUBSCRIBE" | "UNSUBSCRIBE" => Ok(self.subscribe(topic, request, fields).await),
                _ => Ok(self.not_allowed("SUBSCRIBE, UNSUBSCRIBE")),
            },
            _ => return None,
        })
    }

    /// The GET form, for methods that only read.
    async fn get(&self, query: &str, caller: Caller) -> Answer {
        let query = match Query::parse(query) {
            Ok(query) => query,
            Err(error) => return self.fail(Failure::new(error.code(), error.to_string())),
        };
        if let Ok(Message::Single(Ok(request))) = Message::parse(query.request.as_bytes())
            && let Some(method) = self.table().find(&request.method)
            && !method.reads
        {
            return self.not_allowed("POST, PUT");
        }
        let visitor = Visitor { caller, seal: None };
        answer(self.rpc(query.request.as_bytes(), &visitor, false).await)
    }

    pub(super) fn not_allowed(&self, allow: &'static str) -> Answer {
        let reason = format!("this cannot be asked by that HTTP method; use one of {allow}");
        self.refuse_with(405, &reason).with("Allow", allow)
    }

    fn fail(&self, failure: Failure) -> Answer {
        answer(Answered::whole(&failure, self.clock().now()))
    }
}

/// The path is the page's, or below it, or the root, which leads to it.
fn is_page(path: &str) -> bool {
    let below = path.strip_prefix(PRESENTATION_PATH);
    path == "/" || below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn answer(answered: Answered) -> Answer {
    let Some(text) = answered.text else {
        return Answer::silent(answered.status);
    };
    let answer = Answer::json(answered.status, text);
    match answered.location {
        Some(location) => answer.with("Location", location),
        None => answer,
    }
}
