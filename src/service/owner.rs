//! The owner at the page: claims it, logs in and out, changes the password.
//!
//! Secrets are taken and sessions are honoured only where nobody on the LAN can read them: within
//! TLS, or from the board itself (`is_private`). The cookie is HttpOnly and
//! SameSite=Strict, Secure within TLS, and named after the board: cookies know no ports, and
//! several boards may run on one machine. Requests that change something are POSTs of JSON, which
//! no other site can send without asking first; the Origin is checked besides (`guard`).
//!
//! | path below `/presentation/` | takes | answers |
//! |---|---|---|
//! | `session` (GET) | – | [`SessionView`] |
//! | `claim` | `{"code", "password"}` | [`SessionView`], cookie |
//! | `login` | `{"password"}` | [`SessionView`], cookie |
//! | `password` | `{"password", "new_password"}`, in a session | [`SessionView`], new cookie |
//! | `logout` | `{}` | [`SessionView`] |
//! | `owner-code` | `{}`, from the board itself | `{"code"}` |
//!
//! Sources: RFC 6265 and its revision (SameSite); OWASP Session Management Cheat Sheet.

use std::pin::Pin;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::caller::is_here;
use super::exchange::{Answer, Fields, Request, Transport};
use super::guard::{Refusal, admit_json, refuse};
use super::web::PRESENTATION_PATH;
use super::{Board, Service};
use crate::base::access::Caller;
use crate::base::endpoint::IpAddr;
use crate::base::id::Id;
use crate::proto::owner::{Refused, Token};
use crate::security::password::PasswordError;

/// What whoever keeps the credential is asked; each counts as an attempt of its source.
#[derive(Clone, PartialEq, Eq)]
pub enum Ask {
    /// Set the first password, or a new one, with the code from the console.
    Claim {
        /// The code.
        code: String,
        /// The password.
        password: String,
    },
    /// Begin a session.
    LogIn {
        /// The password.
        password: String,
    },
    /// Set a new password with the old one.
    Change {
        /// The old one.
        password: String,
        /// The new one.
        new_password: String,
    },
}

/// Why the owner is not let in.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// By the rules.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// By the hash; the board is to blame.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// Too many others are waiting.
    #[error("other attempts are being checked; try again in a moment")]
    Busy,
    /// The password cannot be kept: nothing has changed.
    #[error("the password could not be kept ({0}); free some room or check the card")]
    Storage(std::io::ErrorKind),
    /// The system gave no random bytes.
    #[error("the system's random source failed; restart the board")]
    NoEntropy,
}

impl DeskError {
    fn status(&self) -> u16 {
        match self {
            DeskError::Refused(Refused::TooMany { .. }) => 429,
            DeskError::Refused(Refused::Length { .. }) => 400,
            DeskError::Refused(Refused::Unclaimed) => 409,
            DeskError::Refused(_) => 401,
            DeskError::Busy | DeskError::Storage(_) => 503,
            DeskError::Password(_) | DeskError::NoEntropy => 500,
        }
    }
}

/// A new session, when the hash is done.
pub type Begun = Pin<Box<dyn Future<Output = Result<Token, DeskError>> + Send>>;

/// Whoever keeps the credential and the sessions: the runtime, since that takes files and threads.
pub trait Desk: Send + Sync {
    /// Somebody owns the board.
    fn is_claimed(&self) -> bool;
    /// The token is of a session that lasts; asking prolongs it.
    fn is_in_session(&self, token: &Token) -> bool;
    /// Ends a session.
    fn log_out(&self, token: &Token);
    /// The code that claims the board; drawn when none holds.
    ///
    /// # Errors
    /// [`DeskError::NoEntropy`].
    fn code(&self) -> Result<String, DeskError>;
    /// Begins a session.
    fn ask(self: Arc<Self>, source: IpAddr, ask: Ask) -> Begun;
}

/// What the page is told of its reader.
#[derive(Debug, Serialize)]
struct SessionView {
    /// Somebody owns the board.
    claimed: bool,
    /// It is the reader.
    owner: bool,
    /// The scope of what the reader may call: `read`, `write` or `admin`.
    may: &'static str,
    /// How far the cluster keeps strangers out: `keyed`, `provisional` or `open`.
    access: &'static str,
    /// Secrets may be sent here.
    private: bool,
    /// Where the page is private.
    https: String,
    /// The board's id: the SHA-256 of its key, also of its certificate's.
    fingerprint: Id,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Claim {
    code: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogIn {
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    password: String,
    new_password: String,
}

impl<B: Board> Service<B> {
    /// The request comes in a session of the owner.
    pub(super) fn is_owner(&self, request: &Request, fields: &Fields) -> bool {
        let token = self.token(request, fields);
        token.is_some_and(|token| self.facts().owner.is_in_session(&token))
    }

    /// Answers a path of the owner's; none at another.
    pub(super) async fn owner(
        &self,
        request: &Request,
        name: &str,
        fields: &Fields,
    ) -> Option<Answer> {
        let method = request.method.as_str();
        let answered = match name {
            "session" if matches!(method, "GET" | "HEAD") => Ok(self.session(request, fields)),
            "session" => return Some(self.not_allowed("GET, HEAD")),
            "claim" | "login" | "password" | "logout" | "owner-code" => match method {
                "POST" => self.owner_asks(request, name, fields).await,
                _ => return Some(self.not_allowed("POST")),
            },
            _ => return None,
        };
        let answer =
            answered.unwrap_or_else(|refusal| self.refuse_with(refusal.status, &refusal.reason));
        Some(answer.with("Cache-Control", "no-store"))
    }

    async fn owner_asks(
        &self,
        request: &Request,
        name: &str,
        fields: &Fields,
    ) -> Result<Answer, Refusal> {
        admit_json(fields)?;
        if request.transport == Transport::Udp || !is_private(request) {
            let there = https(request, fields);
            return refuse(
                403,
                format!("secrets are taken only over TLS or on the board itself; open {there}"),
            );
        }
        let ask = match name {
            "logout" => {
                if let Some(token) = self.token(request, fields) {
                    self.facts().owner.log_out(&token);
                }
                let gone = format!("{}=; Max-Age=0", self.cookie_name());
                let view = self.view(request, fields, false);
                return Ok(view.with("Set-Cookie", cookie(request, &gone)));
            }
            "owner-code" => return self.owner_code(request),
            "claim" => {
                let Claim { code, password } = read(request, r#"{"code": …, "password": …}"#)?;
                Ask::Claim { code, password }
            }
            "login" => {
                let LogIn { password } = read(request, r#"{"password": …}"#)?;
                Ask::LogIn { password }
            }
            _ if !self.is_owner(request, fields) => return refused(Refused::NoSession.into()),
            _ => {
                let shape = r#"{"password": …, "new_password": …}"#;
                let Change {
                    password,
                    new_password,
                } = read(request, shape)?;
                Ask::Change {
                    password,
                    new_password,
                }
            }
        };
        match self.facts().owner.clone().ask(request.from.ip(), ask).await {
            Err(error) => refused(error),
            Ok(token) => {
                let pair = format!("{}={}", self.cookie_name(), URL_SAFE_NO_PAD.encode(token));
                let view = self.view(request, fields, true);
                Ok(view.with("Set-Cookie", cookie(request, &pair)))
            }
        }
    }

    /// The code is for who is on the board already.
    fn owner_code(&self, request: &Request) -> Result<Answer, Refusal> {
        if !is_here(request) {
            return refuse(
                403,
                "the code is shown on the board itself alone; run `roundel key owner-code` there",
            );
        }
        let code = self.facts().owner.code();
        code.map_or_else(refused, |code| {
            Ok(Answer::json(
                200,
                serde_json::json!({ "code": code }).to_string(),
            ))
        })
    }

    fn session(&self, request: &Request, fields: &Fields) -> Answer {
        self.view(request, fields, self.is_owner(request, fields))
    }

    fn view(&self, request: &Request, fields: &Fields, owner: bool) -> Answer {
        let caller = match owner {
            true => Caller::Owner,
            false => self.by_address(request).caller,
        };
        let view = SessionView {
            claimed: self.facts().owner.is_claimed(),
            owner,
            may: self.granted(caller).as_str(),
            access: self.keys().access.as_str(),
            private: is_private(request),
            https: https(request, fields),
            fingerprint: self.facts().id,
        };
        let text = serde_json::to_string(&view).expect("a view is JSON");
        Answer::json(200, text)
    }

    fn cookie_name(&self) -> String {
        format!("roundel-{}", self.facts().id.short())
    }

    /// The session's token, where it can be honoured.
    fn token(&self, request: &Request, fields: &Fields) -> Option<Token> {
        if !is_private(request) {
            return None;
        }
        let name = self.cookie_name();
        let mut pairs = fields.cookie.as_deref()?.split(';').map(str::trim);
        let value = pairs.find_map(|pair| pair.strip_prefix(&name)?.strip_prefix('='))?;
        URL_SAFE_NO_PAD.decode(value).ok()?.try_into().ok()
    }
}

/// Nobody on the LAN can read it: it came within TLS, or from this machine.
pub(super) fn is_private(request: &Request) -> bool {
    request.secure || is_here(request)
}

fn refused<T>(error: DeskError) -> Result<T, Refusal> {
    refuse(error.status(), error.to_string())
}

fn cookie(request: &Request, pair: &str) -> String {
    let secure = if request.secure { "; Secure" } else { "" };
    format!("{pair}; Path=/; HttpOnly; SameSite=Strict{secure}")
}

/// The page within TLS: at the same host and port.
fn https(request: &Request, fields: &Fields) -> String {
    let host = match &fields.host {
        Some(host) => host.clone(),
        None => request.local.to_string(),
    };
    format!("https://{host}{PRESENTATION_PATH}")
}

fn read<'r, T: Deserialize<'r>>(request: &'r Request, shape: &str) -> Result<T, Refusal> {
    // What was sent is a secret: the error does not repeat it.
    serde_json::from_slice(&request.body)
        .or_else(|_| refuse(400, format!("the body does not fit; send {shape} as JSON")))
}
