//! A verb that did not do what it was asked: what was wrong, what to do next, the exit code.
//!
//! Every failure a person sees comes through here, so that each ends with a next step. It is
//! not an error type for other layers to match on: theirs are turned into words here.

use std::io;

use serde_json::{Value, json};

use super::rpc::RpcError;

/// JSON-RPC's code of a method nobody has.
const CODE_METHOD_NOT_FOUND: i64 = -32_601;
/// JSON-RPC's code of parameters that make no sense.
const CODE_INVALID_PARAMS: i64 = -32_602;
/// The board is not the one asked for.
const CODE_MOVED: i64 = -32_001;
/// Not allowed.
const CODE_UNAUTHORIZED: i64 = -32_002;
/// Too few copies answered.
const CODE_UNAVAILABLE: i64 = -32_003;
/// No such key.
const CODE_NOT_FOUND: i64 = -32_004;
/// A value does not fit.
const CODE_TOO_LARGE: i64 = -32_005;

/// Which exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The reader of our output has gone; nobody needs to be told.
    Unread,
    /// Exit code 1.
    Failed,
    /// Exit code 2.
    Usage,
    /// Exit code 3.
    NotFound,
    /// Exit code 4.
    Unavailable,
    /// Exit code 5.
    Unauthorised,
    /// The node's own exit code; its message says what to do.
    Node(u8),
}

/// What went wrong and what to do.
#[derive(Clone, Debug)]
pub struct Failure {
    kind: Kind,
    what: String,
    next: String,
    /// The board's own error object, for machines.
    answer: Option<Value>,
}

impl Failure {
    /// A failure of a kind, with a sentence each for what was wrong and what to do.
    pub fn new(kind: Kind, what: impl Into<String>, next: impl Into<String>) -> Self {
        Failure {
            kind,
            what: what.into(),
            next: next.into(),
            answer: None,
        }
    }

    /// The environment is to blame and only the person can know why.
    pub fn failed(what: impl Into<String>) -> Self {
        let next = "try again; if it comes back, `roundel doctor` looks for the cause";
        Failure::new(Kind::Failed, what, next)
    }

    /// The arguments are to blame.
    pub fn usage(what: impl Into<String>, next: impl Into<String>) -> Self {
        Failure::new(Kind::Usage, what, next)
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Unread => 0,
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::NotFound => 3,
            Kind::Unavailable => 4,
            Kind::Unauthorised => 5,
            Kind::Node(code) => code,
        }
    }

    /// What was wrong, without the next step.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Which exit code it means.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The same, with the code that a board answered among the words.
    pub fn coded(mut self) -> Self {
        if let Some(code) = self
            .answer
            .as_ref()
            .and_then(|answer| answer["code"].as_i64())
        {
            self.what = format!("{} [{code}]", self.what);
        }
        self
    }

    /// The same with another next step.
    pub fn with_next(mut self, next: &str) -> Self {
        next.clone_into(&mut self.next);
        self
    }

    /// Says it on standard error: two lines for a person, one JSON object for a machine.
    pub fn report(&self, json: bool) {
        use std::io::Write;
        if self.kind == Kind::Unread {
            return;
        }
        let mut stderr = io::stderr().lock();
        // With standard error closed there is no place left to complain to.
        let _ = if json {
            let error = json!({"error": {
                "exit": self.exit_code(), "message": self.what, "next": self.next,
                "answer": self.answer,
            }});
            writeln!(stderr, "{error}")
        } else if self.next.is_empty() {
            writeln!(stderr, "roundel: {}", self.what)
        } else {
            writeln!(stderr, "roundel: {}\n  next: {}", self.what, self.next)
        };
    }
}

impl From<io::Error> for Failure {
    /// An error of writing our own output.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure::new(Kind::Unread, "", "");
        }
        Failure::new(
            Kind::Failed,
            format!("the output cannot be written: {error}"),
            "make room, or send the output elsewhere",
        )
    }
}

impl From<RpcError> for Failure {
    fn from(error: RpcError) -> Self {
        let what = error.to_string();
        match error {
            RpcError::Connect { .. } => Failure::new(
                Kind::Unavailable,
                what,
                "start one there with `roundel run`, or name another board: --node HOST:PORT",
            ),
            RpcError::OtherBoard { found, .. } => Failure::new(
                Kind::Unauthorised,
                what,
                format!(
                    "nothing was sent to it. `roundel status` on that board shows its id; if it \
                     is this one: --tls {found}, or ROUNDEL_TLS={found}"
                ),
            ),
            RpcError::NoTls { .. } => Failure::new(
                Kind::Unavailable,
                what,
                "nothing was sent; another program may have that port, or the board be older: \
                 update it, or leave --tls out",
            ),
            RpcError::Challenge { .. } => Failure::new(
                Kind::Unauthorised,
                what,
                "leave --key (ROUNDEL_KEY_FILE) out, or name another board: --node HOST:PORT",
            ),
            RpcError::Unproved { .. } => Failure::new(
                Kind::Unauthorised,
                what,
                "do not believe it: something between here and the board answers in its place; \
                 ask on the board itself",
            ),
            RpcError::Silent { .. } | RpcError::Broken { .. } => Failure::new(
                Kind::Unavailable,
                what,
                "ask again; a write may or may not have been done, and doing it twice is harmless",
            ),
            RpcError::Foreign { .. } => Failure::new(
                Kind::Failed,
                what,
                "another program may have that port; name a board with --node HOST:PORT \
                 (`roundel search` lists them)",
            ),
            RpcError::Answer(answer) => {
                let (kind, next) = next_of(answer.code, &answer.data);
                let mut failure = Failure::new(kind, what, next);
                failure.answer = Some(json!({
                    "code": answer.code, "message": answer.message, "data": answer.data,
                }));
                failure
            }
        }
    }
}

/// What a person does about an error a board answered with.
fn next_of(code: i64, data: &Value) -> (Kind, String) {
    let (kind, next) = match code {
        CODE_NOT_FOUND => (Kind::NotFound, "`roundel scan` lists the keys"),
        CODE_UNAVAILABLE => {
            let next = match data["outcome"].as_str() {
                Some("unknown") => {
                    "the write may or may not have been done: do it again (twice is harmless), \
                     or look with `roundel get`"
                }
                _ if data["absent"].as_array().is_some_and(|ids| !ids.is_empty()) => {
                    "`roundel nodes` shows who is absent: bring it back and try again, ask for \
                     less with --consistency one, or strike it off with `roundel nodes --forget`"
                }
                _ => "`roundel status` says how the board is and what to do",
            };
            (Kind::Unavailable, next)
        }
        CODE_UNAUTHORIZED => (
            Kind::Unauthorised,
            "use --key FILE with the cluster's key, --token with one of `roundel key token`, or \
             ask on the board itself",
        ),
        CODE_METHOD_NOT_FOUND => (
            Kind::Failed,
            "check the spelling against the README; the board may also be older than this program",
        ),
        CODE_INVALID_PARAMS => (
            Kind::Failed,
            "correct it and try again; the README shows every method with an example",
        ),
        CODE_MOVED => (
            Kind::Failed,
            "let the board pass the call on with --forward, or ask that board with --node",
        ),
        CODE_TOO_LARGE => (
            Kind::Failed,
            "a key has at most 1,024 bytes, a value 512 KiB: shorten it, or split it over several \
             keys",
        ),
        _ => (
            Kind::Failed,
            "`roundel status` says how the board is; its log has the details",
        ),
    };
    (kind, next.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::rpc::Answer;

    fn answered(code: i64, data: Value) -> Failure {
        Failure::from(RpcError::Answer(Answer {
            code,
            message: "Said".to_owned(),
            data,
        }))
    }

    #[test]
    fn codes_of_boards_become_exit_codes() {
        for (code, exit) in [
            (-32_004, 3),
            (-32_003, 4),
            (-32_002, 5),
            (-32_601, 1),
            (-32_602, 1),
            (-32_005, 1),
            (-1, 1),
        ] {
            let failure = answered(code, Value::Null);
            assert_eq!(failure.exit_code(), exit, "{code}");
            assert!(!failure.next.is_empty());
        }
    }

    #[test]
    fn absent_boards_are_blamed_only_when_there_are_some() {
        let of = |absent: Value| answered(-32_003, json!({"reason": "no", "absent": absent})).next;
        assert!(of(json!(["aa"])).contains("who is absent"));
        assert!(!of(json!([])).contains("absent"));
    }

    #[test]
    fn a_write_of_unknown_outcome_is_not_called_undone() {
        let failure = answered(
            -32_003,
            json!({"reason": "copies are silent", "outcome": "unknown"}),
        );
        assert!(failure.what.contains("copies are silent"));
        assert!(failure.next.contains("may or may not"));
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(failure.exit_code(), 0);
    }
}
