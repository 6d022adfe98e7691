//! Responses: written by the service, read by clients and when another board has answered.
//!
//! The result and the error's data stay the characters that were sent. Which code goes with what
//! is `service`'s to decide.
//!
//! Source: JSON-RPC 2.0 §5; `ts` is Round's Lamport time.

use std::borrow::Cow;

use super::request::{push_number, push_string};
use super::scan::{Fault, Json, Scanner};

/// The error member of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorObject<'a> {
    /// The code; -32768 to -32000 are reserved.
    pub code: i64,
    /// A fixed short text.
    pub message: Cow<'a, str>,
    /// What exactly was wrong: an object with at least `reason` when it comes from a board.
    pub data: Option<Json<'a>>,
}

/// The answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// The request's id as sent; null when it could not be read.
    pub id: Json<'a>,
    /// Lamport time of the board that answered.
    pub ts: Option<u64>,
    /// What came of it.
    pub outcome: Result<Json<'a>, ErrorObject<'a>>,
}

/// Why bytes are not a response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// Not a document.
    #[error(transparent)]
    Document(#[from] Fault),
    /// A document of another shape.
    #[error("the answer is not a JSON-RPC 2.0 response; is this the address of a roundel board?")]
    Shape,
}

impl<'a> Response<'a> {
    /// Reads one response.
    ///
    /// # Errors
    /// [`ResponseError`]; a batch of responses is not one response.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ResponseError> {
        let mut scanner = Scanner::of_bytes(bytes)?;
        let document = scanner.value()?;
        scanner.end()?;
        Response::read(document).ok_or(ResponseError::Shape)
    }

    fn read(document: Json<'a>) -> Option<Self> {
        let (mut id, mut ts, mut result, mut error, mut version) = (None, None, None, None, None);
        for (name, value) in document.members()? {
            match name.as_ref() {
                "jsonrpc" => version = value.as_string(),
                "id" => id = Some(value),
                "ts" => ts = Some(value.as_u64()?),
                "result" => result = Some(value),
                "error" => error = Some(ErrorObject::read(value)?),
                _ => {}
            }
        }
        let outcome = match (result, error) {
            (Some(result), None) => Ok(result),
            (None, Some(error)) => Err(error),
            _ => return None,
        };
        (version.as_deref() == Some("2.0")).then_some(Response {
            id: id?,
            ts,
            outcome,
        })
    }

    /// Writes the response. Reading it back gives the same response.
    pub fn emit(&self) -> String {
        let size = match &self.outcome {
            Ok(result) => result.text().len(),
            Err(error) => 64 + error.data.map_or(0, |data| data.text().len()),
        };
        let mut out = String::with_capacity(64 + self.id.text().len() + size);
        self.emit_to(&mut out);
        out
    }

    /// Appends the response to `out`.
    pub fn emit_to(&self, out: &mut String) {
        out.push_str(r#"{"jsonrpc":"2.0","#);
        match &self.outcome {
            Ok(result) => {
                out.push_str(r#""result":"#);
                out.push_str(result.text());
            }
            Err(error) => {
                out.push_str(r#""error":"#);
                error.emit_to(out);
            }
        }
        out.push_str(r#","id":"#);
        out.push_str(self.id.text());
        if let Some(ts) = self.ts {
            push_number(out, "ts", ts);
        }
        out.push('}');
    }
}

impl<'a> ErrorObject<'a> {
    fn read(json: Json<'a>) -> Option<Self> {
        let (mut code, mut message, mut data) = (None, None, None);
        for (name, value) in json.members()? {
            match name.as_ref() {
                "code" => code = value.text().parse().ok(),
                "message" => message = value.as_string(),
                "data" => data = Some(value),
                _ => {}
            }
        }
        Some(ErrorObject {
            code: code?,
            message: message?,
            data,
        })
    }

    /// Appends the error object to `out`.
    pub fn emit_to(&self, out: &mut String) {
        out.push_str(r#"{"code":"#);
        out.push_str(&self.code.to_string());
        out.push_str(r#","message":"#);
        push_string(out, &self.message);
        if let Some(data) = self.data {
            out.push_str(r#","data":"#);
            out.push_str(data.text());
        }
        out.push('}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_response_written_is_read_back(
            id in "(null|[1-9][0-9]{0,30}|\"[a-z]{0,9}\")", ts in prop::option::of(any::<u64>()),
            result in prop::sample::select(vec!["null", r#"{"a": 1.50}"#, "[ ]", r#""x""#]),
            error in prop::option::of((any::<i64>(), ".*", any::<bool>())),
        ) {
            let result = Json::parse(result).unwrap();
            let response = Response {
                id: Json::parse(&id).unwrap(),
                ts,
                outcome: match &error {
                    None => Ok(result),
                    Some((code, message, data)) => Err(ErrorObject {
                        code: *code,
                        message: message.as_str().into(),
                        data: data.then_some(result),
                    }),
                },
            };
            let text = response.emit();
            prop_assert_eq!(Response::parse(text.as_bytes()).unwrap(), response);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Response::parse(&bytes);
        }
    }

    #[test]
    fn documents_of_another_shape_are_refused() {
        for text in [
            "[]",
            "{}",
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{"code":1,"message":""}}"#,
            r#"{"jsonrpc":"1.0","id":1,"result":1}"#,
            r#"{"jsonrpc":"2.0","result":1}"#,
        ] {
            assert_eq!(
                Response::parse(text.as_bytes()),
                Err(ResponseError::Shape),
                "{text}"
            );
        }
    }
}
