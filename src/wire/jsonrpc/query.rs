//! The GET form of a request: `?jsonrpc&method=…&params=…&id=…&ts=…&dest=…`.
//!
//! `params` is URL-encoded base64 of JSON, or with `encode=none` URL-encoded JSON. A query is
//! turned into the text of the request it stands for, which is then read like any other; which
//! methods may be asked this way is the method table's to say.
//!
//! Source: Round's GET form; RFC 3986 §2.1; RFC 4648 §4 and §5 (both alphabets are taken).

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};

use super::code::Code;
use super::request::{foreign_member, push_string};
use super::scan::Json;

const CONFIG: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, CONFIG);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, CONFIG);

/// Names a query may have.
const NAMES: [&str; 9] = [
    "jsonrpc", "method", "params", "id", "ts", "dest", "encode", "forward", "hops",
];

/// Why a query stands for no request; the caller is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// `jsonrpc` or `method` is missing.
    #[error("a GET request needs ?jsonrpc&method=NAME; POST a JSON-RPC request otherwise")]
    Incomplete,
    /// A percent sign without two hex digits, or text that is not UTF-8.
    #[error("'{name}' is not URL-encoded UTF-8; encode it anew")]
    Encoding {
        /// Whose value.
        name: String,
    },
    /// A name nobody knows, or that is not carried out.
    #[error("{0}")]
    Unknown(String),
    /// A name given twice.
    #[error("query member '{name}' occurs twice; send it once")]
    Duplicate {
        /// The name.
        name: &'static str,
    },
    /// `params` is neither base64 of JSON nor, with `encode=none`, JSON.
    #[error("params is not base64 of JSON; for plain URL-encoded JSON add encode=none")]
    Params,
    /// `encode` is something else.
    #[error("encode is 'none' or 'base64'")]
    Encode,
}

impl QueryError {
    /// The code it is answered with.
    pub fn code(&self) -> Code {
        match self {
            QueryError::Incomplete | QueryError::Encoding { .. } | QueryError::Duplicate { .. } => {
                Code::InvalidRequest
            }
            QueryError::Unknown(_) | QueryError::Params | QueryError::Encode => Code::InvalidParams,
        }
    }
}

/// A query that stands for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The request as JSON text; it always has an id (null when none was given).
    pub request: String,
}

impl Query {
    /// Reads what follows the question mark.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn parse(query: &str) -> Result<Self, QueryError> {
        let mut values: [Option<Cow<'_, str>>; NAMES.len()] = Default::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(index) = NAMES.iter().position(|known| *known == name) else {
                return Err(QueryError::Unknown(foreign_member(name, &NAMES)));
            };
            if values[index].is_some() {
                return Err(QueryError::Duplicate { name: NAMES[index] });
            }
            values[index] = Some(value.into());
        }
        let [jsonrpc, method, params, id, ts, dest, encode, forward, hops] = values;
        let text = |name: &str, value: Option<Cow<'_, str>>| {
            value.map(|value| decode(name, &value, true)).transpose()
        };
        let method = text("method", method)?.filter(|method| !method.is_empty());
        let version = text("jsonrpc", jsonrpc)?;
        let (Some(method), Some("" | "2.0")) = (method, version.as_deref()) else {
            return Err(QueryError::Incomplete);
        };
        let mut request = String::from(r#"{"jsonrpc":"2.0","method":"#);
        push_string(&mut request, &method);
        if let Some(value) = params.filter(|params| !params.is_empty()) {
            request.push_str(r#","params":"#);
            request.push_str(&decode_params(&value, encode.as_deref())?);
        }
        if let Some(dest) = text("dest", dest)? {
            request.push_str(r#","dest":"#);
            push_string(&mut request, &dest);
        }
        for (name, value) in [("ts", ts), ("forward", forward), ("hops", hops)] {
            if let Some(value) = text(name, value)? {
                request.push_str(&format!(r#","{name}":"#));
                push_scalar(&mut request, &value);
            }
        }
        request.push_str(r#","id":"#);
        push_scalar(&mut request, &text("id", id)?.unwrap_or("null".into()));
        request.push('}');
        Ok(Query { request })
    }
}

/// Appends a number, string, literal or, for anything else, the text as a JSON string.
fn push_scalar(out: &mut String, text: &str) {
    match Json::parse(text) {
        Ok(json) if !text.starts_with(['{', '[']) => out.push_str(json.text()),
        _ => push_string(out, text),
    }
}

fn decode_params(value: &str, encode: Option<&str>) -> Result<String, QueryError> {
    let text = match encode {
        Some("none") => decode("params", value, true)?,
        // A plus sign is a digit of base64; an unescaped one is not a space.
        None | Some("base64") => {
            let text = decode("params", value, false)?;
            let bytes = STANDARD
                .decode(&text)
                .or_else(|_| URL_SAFE.decode(&text))
                .map_err(|_| QueryError::Params)?;
            String::from_utf8(bytes).map_err(|_| QueryError::Params)?
        }
        Some(_) => return Err(QueryError::Encode),
    };
    // The text is put into a larger one: it must be one whole value.
    Json::parse(text.trim()).map_err(|_| QueryError::Params)?;
    Ok(text)
}

/// Undoes percent-encoding; with `plus`, a plus sign is a space.
fn decode(name: &str, value: &str, plus: bool) -> Result<String, QueryError> {
    let error = || QueryError::Encoding {
        name: name.to_owned(),
    };
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' if plus => b' ',
            b'%' => {
                let mut digit = || (rest.next()? as char).to_digit(16);
                let (high, low) = digit().zip(digit()).ok_or_else(error)?;
                (high << 4 | low) as u8
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(query: &str) -> String {
        Query::parse(query).unwrap().request
    }

    #[test]
    fn both_forms_of_params_stand_for_the_same_request() {
        let expected = r#"{"jsonrpc":"2.0","method":"get","params":{"key":"a?"},"id":1}"#;
        assert_eq!(
            request("jsonrpc&method=get&params=eyJrZXkiOiJhPyJ9&id=1"),
            expected
        );
        assert_eq!(
            request("jsonrpc=2.0&method=get&params=%7B%22key%22%3A%22a?%22%7D&encode=none&id=1"),
            expected
        );
        assert_eq!(
            request("jsonrpc&method=get&params=eyJrZXkiOiJhPyJ9&id=1&encode=base64"),
            expected
        );
    }

    #[test]
    fn ids_keep_their_kind_and_a_missing_one_is_null() {
        for (query, id) in [
            ("", "null"),
            ("&id=7", "7"),
            ("&id=abc", "\"abc\""),
            ("&id=%22abc%22", "\"abc\""),
            ("&id=[1]", "\"[1]\""),
        ] {
            let text = request(&format!("jsonrpc&method=echo{query}"));
            assert!(text.ends_with(&format!("\"id\":{id}}}")), "{text}");
        }
    }

    #[test]
    fn params_cannot_break_out_of_their_place() {
        let query = "jsonrpc&method=get&encode=none&params=%7B%7D,%22id%22:9";
        assert_eq!(Query::parse(query), Err(QueryError::Params));
    }

    #[test]
    fn queries_that_stand_for_nothing_say_why() {
        for query in [
            "",
            "method=get",
            "jsonrpc",
            "jsonrpc=1.0&method=get",
            "jsonrpc&method=",
        ] {
            assert_eq!(Query::parse(query), Err(QueryError::Incomplete), "{query}");
        }
        let error = Query::parse("jsonrpc&metod=get").unwrap_err();
        assert!(error.to_string().contains("'method'"), "{error}");
        let error = Query::parse("jsonrpc&method=get&cond=1").unwrap_err();
        assert!(error.to_string().contains("not supported"), "{error}");
        assert_eq!(error.code(), Code::InvalidParams);
        assert_eq!(
            Query::parse("jsonrpc&method=a&method=b"),
            Err(QueryError::Duplicate { name: "method" })
        );
        assert_eq!(
            Query::parse("jsonrpc&method=%f"),
            Err(QueryError::Encoding {
                name: "method".into()
            })
        );
        assert_eq!(
            Query::parse("jsonrpc&method=get&params=%7B"),
            Err(QueryError::Params)
        );
        assert_eq!(
            Query::parse("jsonrpc&method=get&params=e30&encode=hex"),
            Err(QueryError::Encode)
        );
    }

    proptest! {
        #[test]
        fn any_params_survive_base64(text in ".*") {
            let params = serde_json::json!({ "key": text }).to_string();
            for engine in [STANDARD, URL_SAFE] {
                let query = format!("jsonrpc&method=get&params={}", engine.encode(&params));
                let request = request(&query);
                prop_assert!(request.contains(&params));
            }
        }

        #[test]
        fn arbitrary_queries_never_panic(query in "[a-z&=%+0-9]{0,40}") {
            let _ = Query::parse(&query);
        }
    }
}
