//! What a request that failed is answered with: a code, its fixed text, and data that always has
//! a `reason`: a sentence that ends with what to do next.
//!
//! This is the only place where errors of the board become JSON-RPC codes.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::base::call::{CallError, WriteOutcome};
use crate::base::id::Id;
use crate::wire::jsonrpc::{Code, ErrorObject, Json};

/// A failed request.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The code; another board's may be unknown here.
    pub code: i64,
    /// The fixed text of the code.
    pub message: Cow<'static, str>,
    /// An object with at least `reason`.
    pub data: Option<Box<RawValue>>,
}

/// The data of most failures.
#[derive(Serialize)]
struct Reason<'a> {
    reason: &'a str,
}

/// The data of -32003.
#[derive(Serialize)]
struct Shortfall<'a> {
    reason: &'a str,
    outcome: Option<&'static str>,
    acks: usize,
    needed: usize,
    absent: &'a [Id],
}

impl Failure {
    /// A failure that is explained by a sentence.
    pub fn new(code: Code, reason: impl AsRef<str>) -> Self {
        let reason = reason.as_ref();
        Failure::with(code, &Reason { reason })
    }

    /// A failure with more data; `data` has a `reason`.
    pub fn with(code: Code, data: &impl Serialize) -> Self {
        Failure {
            code: code.number(),
            message: code.message().into(),
            data: to_raw_value(data).ok(),
        }
    }

    /// -32602 with a sentence.
    pub fn params(reason: impl AsRef<str>) -> Self {
        Failure::new(Code::InvalidParams, reason)
    }

    /// A board that does not answer.
    pub fn absent(reason: &str, absent: Id) -> Self {
        Failure::with(
            Code::Unavailable,
            &Shortfall {
                reason,
                outcome: None,
                acks: 0,
                needed: 1,
                absent: &[absent],
            },
        )
    }

    /// Takes over what another board answered.
    pub fn relayed(error: &ErrorObject<'_>) -> Self {
        Failure {
            code: error.code,
            message: error.message.clone().into_owned().into(),
            data: error.data.map(Json::to_raw),
        }
    }

    /// The HTTP status of a single request that failed so.
    pub fn status(&self) -> u16 {
        Code::status_of(self.code)
    }

    /// As it is written into a response.
    pub fn error_object(&self) -> ErrorObject<'_> {
        ErrorObject {
            code: self.code,
            message: self.message.as_ref().into(),
            data: self.data.as_deref().map(Json::from_raw),
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match &error {
            CallError::Unavailable {
                reason,
                outcome,
                acks,
                needed,
                absent,
            } => Failure::with(
                Code::Unavailable,
                &Shortfall {
                    reason,
                    outcome: outcome.map(|outcome| match outcome {
                        WriteOutcome::NotWritten => "not_written",
                        WriteOutcome::Unknown => "unknown",
                    }),
                    acks: *acks,
                    needed: *needed,
                    absent,
                },
            ),
            CallError::NotFound => Failure::new(
                Code::NotFound,
                format!("{error}; list the keys with `roundel scan`"),
            ),
            CallError::UnknownNode(_) => Failure::new(Code::NotFound, error.to_string()),
            CallError::Invalid(reason) => Failure::params(reason),
            CallError::TooLarge { .. } => Failure::new(
                Code::TooLarge,
                format!("{error}; store it in several smaller pieces"),
            ),
            CallError::Internal(reason) => Failure::new(
                Code::InternalError,
                format!("{reason}; please report this with the board's log"),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unavailable_write_says_what_became_of_it_and_who_was_absent() {
        let absent = Id::of(b"absent");
        let failure = Failure::from(CallError::Unavailable {
            reason: "one of two copies is absent; wait".into(),
            outcome: Some(WriteOutcome::Unknown),
            acks: 1,
            needed: 2,
            absent: vec![absent],
        });
        assert_eq!((failure.code, failure.status()), (-32003, 503));
        let data: serde_json::Value = serde_json::from_str(failure.data.unwrap().get()).unwrap();
        assert_eq!(
            data,
            serde_json::json!({
                "reason": "one of two copies is absent; wait", "outcome": "unknown",
                "acks": 1, "needed": 2, "absent": [absent.to_string()],
            })
        );
    }

    #[test]
    fn every_error_of_the_board_has_a_code_and_a_reason() {
        let id = Id::ZERO;
        for (error, code) in [
            (CallError::unavailable("starting; wait"), -32003),
            (CallError::NotFound, -32004),
            (CallError::UnknownNode(id), -32004),
            (CallError::Invalid("no; try yes".into()), -32602),
            (
                CallError::TooLarge {
                    what: "the value",
                    got: 9,
                    max: 1,
                },
                -32005,
            ),
            (CallError::Internal("broken".into()), -32603),
        ] {
            let failure = Failure::from(error);
            assert_eq!(failure.code, code);
            assert!(failure.data.unwrap().get().contains(r#""reason":""#));
        }
    }
}
