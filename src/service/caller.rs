//! Who asks: the one place where a request's credentials and address become a [`Caller`].
//!
//! Looked at after the Host and before anything of the body is interpreted. Credentials that are
//! not valid are refused whatever is asked and from wherever, in one way for all causes; a request
//! without any is judged by its address. What a caller may do is `base/access`; who says so is
//! [`Service::permit`], asked by `rpc` for each request before it runs or is passed on.
//!
//! Source: RFC 9110 §11 (Authorization, 401), RFC 6750 §5.3 (bearer tokens).

use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use serde::Serialize;
use tokio::sync::watch;

use crate::base::access::{Access, Caller, Scope, granted, may};
use crate::base::id::Id;
use crate::base::time::{Now, WallTime};
use crate::proto::admission::{Admission, Asked};
use crate::proto::clock::hybrid::UNSET_BELOW_MS;
use crate::security::hkdf;
use crate::security::key::{Keyring, Kid};
use crate::security::rnd1::{Carriage, Credentials, SCHEME, body_digest, body_digest_without};
use crate::security::token::Token;
use crate::wire::jsonrpc::{Code, digest_member};

use super::exchange::{Answer, Fields, Request, Seal, Transport};
use super::guard::{Refusal, admit, refuse};
use super::route::takes_documents;
use super::{Board, Facts, Failure, Service};

/// Where clients that hold the key ask for a challenge.
pub(super) const CHALLENGE: &str = "/rnd1";

/// Why credentials of the key are refused, whatever is wrong with them.
const NOT_VALID: &str = "the RND1 credentials are not valid here; ask /rnd1 for a challenge and \
                         sign with this cluster's key";

/// How far the cluster keeps strangers out, and the keys it does so with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The access state.
    pub access: Access,
    /// The keys; none in an open cluster, or before there are any.
    pub keyring: Option<Keyring>,
}

/// Whether an address is on one of this board's links.
pub type OnLinkSource = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;
/// The board's clocks.
pub type NowSource = Arc<dyn Fn() -> Now + Send + Sync>;

/// What callers are judged by.
#[derive(Clone)]
pub struct Entrance {
    /// The keys of this moment; whoever holds the sender changes them.
    pub keys: watch::Receiver<Arc<Keys>>,
    /// What a process on this board may do.
    pub loopback: Scope,
    /// SOAP actions may change something.
    pub soap_writes: bool,
    /// Who is on the LAN.
    pub on_link: OnLinkSource,
    /// For challenges and tokens.
    pub now: NowSource,
}

/// A caller, and what its answer is proved with.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub(super) caller: Caller,
    pub(super) seal: Option<Arc<Seal>>,
}

/// A request was looked at: who asks, or why it is refused.
#[derive(Debug)]
pub struct Entry {
    pub(super) visitor: Result<Visitor, Refusal>,
    is_bounded: bool,
}

impl Entry {
    /// The answer must not be larger than the request: it is a stranger's, over UDP.
    pub fn is_bounded(&self) -> bool {
        self.is_bounded
    }

    /// The caller proved who it is; limits for strangers are not for it.
    pub fn is_proved(&self) -> bool {
        matches!(&self.visitor, Ok(visitor) if visitor.seal.is_some())
    }
}

/// A fresh [`Admission`] of this board.
pub(super) fn admission(facts: &Facts) -> Admission {
    let secret = hkdf::derive(&facts.seed, &[], &[b"roundel rnd1 challenge"]);
    Admission::new(*facts.id.as_bytes(), facts.boot, &secret)
}

impl<B: Board> Service<B> {
    /// Finds out who asks; the first step of [`Service::handle`], to be taken once.
    pub fn enter(&self, request: &Request) -> Entry {
        let keys = self.keys();
        let visitor =
            admit(self.facts(), request).and_then(|fields| self.visitor(request, fields, &keys));
        let proved = matches!(&visitor,
            Ok(visitor) if !matches!(visitor.caller, Caller::Stranger { .. }));
        let is_bounded = request.transport == Transport::Udp
            && keys.access == Access::Keyed
            && !proved
            && !is_here(request);
        Entry {
            visitor,
            is_bounded,
        }
    }

    /// A datagram from there that could not be read is answered with no more bytes than it has.
    pub fn is_bounded(&self, from: IpAddr) -> bool {
        self.keys().access == Access::Keyed && !from.to_canonical().is_loopback()
    }

    /// The keys of this moment.
    pub(super) fn keys(&self) -> Arc<Keys> {
        self.facts().entrance.keys.borrow().clone()
    }

    /// Credentials that cannot be valid, by what is known before the body is there: it need not
    /// be read.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub fn turn_away(&self, fields: &Fields) -> Option<Answer> {
        let shown = fields.authorization.as_deref()?;
        if !shown.starts_with(SCHEME) {
            return None;
        }
        let keys = self.keys();
        let now = (self.facts().entrance.now)().time;
        let possible = Credentials::parse(shown).ok().zip(keys.keyring.as_ref());
        let possible = possible.is_some_and(|(shown, keyring)| {
            let admission = self.shared.admission.lock();
            let admission = admission.unwrap_or_else(PoisonError::into_inner);
            admission.may_admit(now, keyring, &shown)
        });
        (!possible).then(|| self.refuse_with(401, NOT_VALID))
    }

    fn visitor(&self, request: &Request, fields: &Fields, keys: &Keys) -> Result<Visitor, Refusal> {
        let documented = takes_documents(&request.method, &request.target);
        let member = documented.then(|| digest_member(&request.body)).flatten();
        match (&fields.authorization, member) {
            (None, None) if self.is_owner(request, fields) => Ok(Visitor {
                caller: Caller::Owner,
                seal: None,
            }),
            (None, None) => Ok(self.by_address(request)),
            (Some(_), Some(_)) => refuse(
                401,
                "the request has credentials twice; send either Authorization or digest",
            ),
            (None, Some((hole, shown))) => self.by_key(request, fields, keys, shown, || {
                body_digest_without(&request.body, &hole)
            }),
            (Some(shown), None) => match shown.split_once(' ') {
                Some((SCHEME, _)) => {
                    self.by_key(request, fields, keys, shown, || body_digest(&request.body))
                }
                Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                    self.by_token(request, keys, token.trim())
                }
                _ => refuse(
                    401,
                    "this Authorization is not supported; send RND1 or Bearer credentials",
                ),
            },
        }
    }

    /// Who asks without credentials.
    pub(super) fn by_address(&self, request: &Request) -> Visitor {
        let entrance = &self.facts().entrance;
        let caller = match is_here(request) {
            true => Caller::Loopback(entrance.loopback),
            false => Caller::Stranger {
                on_link: (entrance.on_link)(request.from.ip().to_canonical()),
            },
        };
        Visitor { caller, seal: None }
    }

    fn by_key(
        &self,
        request: &Request,
        fields: &Fields,
        keys: &Keys,
        shown: &str,
        digest: impl FnOnce() -> [u8; 32],
    ) -> Result<Visitor, Refusal> {
        let (Ok(shown), Some(keyring)) = (Credentials::parse(shown), &keys.keyring) else {
            return refuse(401, NOT_VALID);
        };
        let asked = Asked {
            carriage: match request.transport {
                Transport::Tcp => Carriage::Http,
                Transport::Udp => Carriage::Httpu,
            },
            method: &request.method,
            target: &request.target,
            host: fields.host.as_deref().unwrap_or_default(),
            content_type: fields.content_type.as_deref().unwrap_or_default(),
        };
        let now = (self.facts().entrance.now)().time;
        let admission = self.shared.admission.lock();
        let mut admission = admission.unwrap_or_else(PoisonError::into_inner);
        match admission.admit(now, keyring, &shown, &asked, digest) {
            Ok(awaited) => Ok(Visitor {
                caller: Caller::Member,
                seal: Some(Arc::new(Seal { awaited, shown })),
            }),
            Err(_) => refuse(401, NOT_VALID),
        }
    }

    fn by_token(&self, request: &Request, keys: &Keys, token: &str) -> Result<Visitor, Refusal> {
        if !request.secure && !is_here(request) {
            return refuse(
                401,
                "tokens are taken over TLS or on the board itself, others could read this one; \
                 use https:// and make a new token",
            );
        }
        let Some(keyring) = &keys.keyring else {
            return refuse(401, "this board has no key and so no tokens; leave it out");
        };
        let wall = (self.facts().entrance.now)().wall;
        match Token::check(token, keyring, wall, WallTime(UNSET_BELOW_MS)) {
            Ok(scope) => Ok(Visitor {
                caller: Caller::Token(scope),
                seal: None,
            }),
            Err(error) => refuse(401, error.to_string()),
        }
    }

    /// Decides whether a caller may make a call of that scope.
    ///
    /// # Errors
    /// -32002 with the next step.
    pub(super) fn permit(&self, caller: Caller, needed: Scope) -> Result<(), Failure> {
        may(caller, needed, self.keys().access)
            .map_err(|refusal| Failure::new(Code::Unauthorized, refusal.to_string()))
    }

    /// What a caller is granted at most on this board.
    pub(super) fn granted(&self, caller: Caller) -> Scope {
        granted(caller, self.keys().access)
    }

    /// A challenge, for whoever asks.
    pub(super) fn challenge(&self) -> Answer {
        #[derive(Serialize)]
        struct Challenge {
            scheme: &'static str,
            to: Id,
            boot: u64,
            kid: Option<String>,
            nonce: String,
        }
        let facts = self.facts();
        let now = (facts.entrance.now)().time;
        let admission = self.shared.admission.lock();
        let nonce = admission
            .unwrap_or_else(PoisonError::into_inner)
            .challenge(now);
        let kid: Option<Kid> = self.keys().keyring.as_ref().map(|it| it.current.kid());
        let challenge = Challenge {
            scheme: SCHEME,
            to: facts.id,
            boot: facts.boot,
            kid: kid.map(|kid| kid.to_string()),
            nonce: crate::security::hex::encode(&nonce),
        };
        let text = serde_json::to_string(&challenge).expect("a challenge can be written as JSON");
        Answer::json(200, text).with("Cache-Control", "no-store")
    }
}

/// The request comes from a process on this board: from loopback, or from the very address it was
/// sent to, which the system takes from no wire.
pub(super) fn is_here(request: &Request) -> bool {
    let from = request.from.ip().to_canonical();
    from.is_loopback() || from == request.local.ip().to_canonical()
}
