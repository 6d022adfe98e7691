//! What a person means by the VALUE of a put.
//!
//! `@file` and `-` are bytes and arrive as the same bytes. Anything else is JSON if it reads as
//! JSON, and a text otherwise, with a note when it looks like JSON gone wrong; `--string` and
//! `--json-value` settle what could be either.

use std::io::Read;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

use super::failure::{Failure, Kind};
use super::out::note;
use crate::base::limit;

/// How to read the VALUE.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// It is a text, whatever it looks like.
    pub string: bool,
    /// It is JSON, wherever it comes from.
    pub json: bool,
}

/// The value as a request carries it.
#[derive(Clone, Debug, Serialize)]
pub enum Sent {
    /// JSON text, sent as it is.
    #[serde(rename = "value")]
    Json(Box<RawValue>),
    /// Bytes in base64.
    #[serde(rename = "value_base64")]
    Base64(String),
}

/// Reads the VALUE of a put; files and standard input are read here, to their limit.
///
/// # Errors
/// [`Failure`] of usage for text that should be JSON and is not; of failure for a file that
/// cannot be read or does not fit.
pub fn read(argument: &str, reading: Reading) -> Result<Sent, Failure> {
    if reading.string {
        return Ok(text(argument));
    }
    let bytes = match argument.strip_prefix('@') {
        Some(path) => {
            let file = std::fs::File::open(path).map_err(|error| unreadable(path, &error))?;
            read_bounded(path, file)?
        }
        None if argument == "-" => read_bounded("standard input", std::io::stdin().lock())?,
        None => return word(argument, reading),
    };
    if !reading.json {
        return Ok(Sent::Base64(BASE64_STANDARD.encode(bytes)));
    }
    let text = String::from_utf8(bytes).map_err(|_| not_json("it is not UTF-8".to_owned()))?;
    json(&text)
}

fn word(argument: &str, reading: Reading) -> Result<Sent, Failure> {
    match json(argument) {
        Err(failure) if reading.json => Err(failure),
        Err(failure) => {
            if argument.trim_start().starts_with(['{', '[']) {
                note(&format!("{}; it is stored as a text", failure.what()));
            }
            Ok(text(argument))
        }
        sent => sent,
    }
}

fn json(text: &str) -> Result<Sent, Failure> {
    serde_json::from_str::<Box<RawValue>>(text)
        .map(Sent::Json)
        .map_err(|error| not_json(error.to_string()))
}

fn not_json(why: String) -> Failure {
    Failure::usage(
        format!("the value is not JSON: {why}"),
        "correct it, or leave out --json-value to store it as it is",
    )
}

fn text(argument: &str) -> Sent {
    Sent::Json(serde_json::value::to_raw_value(argument).expect("a text is JSON"))
}

fn unreadable(name: &str, error: &std::io::Error) -> Failure {
    Failure::new(
        Kind::Failed,
        format!("{name} cannot be read: {error}"),
        "check the name; to store a text that starts with '@', add --string",
    )
}

fn read_bounded(name: &str, from: impl Read) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    from.take(limit::VALUE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(name, &error))?;
    if bytes.len() > limit::VALUE_BYTES_MAX {
        return Err(Failure::new(
            Kind::Failed,
            format!(
                "{name} does not fit: a value has at most {} KiB",
                limit::VALUE_BYTES_MAX / 1_024
            ),
            "split it over several keys",
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sent(argument: &str, string: bool, json: bool) -> String {
        match read(argument, Reading { string, json }) {
            Ok(Sent::Json(raw)) => format!("json {}", raw.get()),
            Ok(Sent::Base64(text)) => format!("base64 {text}"),
            Err(failure) => format!("exit {}: {}", failure.exit_code(), failure.what()),
        }
    }

    #[test]
    fn json_goes_as_it_is_and_words_as_text() {
        assert_eq!(
            sent("{\"b\": 1.0,  \"a\":2}", false, false),
            "json {\"b\": 1.0,  \"a\":2}"
        );
        assert_eq!(
            sent("12345678901234567890123", false, false),
            "json 12345678901234567890123"
        );
        assert_eq!(sent("hello world", false, false), "json \"hello world\"");
        assert_eq!(sent("", false, false), "json \"\"");
        assert_eq!(sent("-5", false, false), "json -5");
    }

    #[test]
    fn string_takes_everything_as_text() {
        assert_eq!(sent("42", true, false), "json \"42\"");
        assert_eq!(sent("@home", true, false), "json \"@home\"");
        assert_eq!(sent("-", true, false), "json \"-\"");
    }

    #[test]
    fn json_value_refuses_words() {
        assert!(sent("hello", false, true).starts_with("exit 2: the value is not JSON"));
        assert_eq!(sent("true", false, true), "json true");
    }

    #[test]
    fn a_file_is_bytes_unless_json_is_asked_for() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"{\"a\":1}\n").unwrap();
        let at = format!("@{}", file.path().display());
        assert_eq!(sent(&at, false, false), "base64 eyJhIjoxfQo=");
        assert_eq!(sent(&at, false, true), "json {\"a\":1}");
        std::fs::write(file.path(), b"\xff").unwrap();
        assert!(sent(&at, false, true).starts_with("exit 2: "));
    }

    #[test]
    fn what_does_not_fit_is_refused_before_it_is_sent() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let at = format!("@{}", file.path().display());
        std::fs::write(file.path(), vec![0; limit::VALUE_BYTES_MAX]).unwrap();
        assert!(sent(&at, false, false).starts_with("base64"));
        std::fs::write(file.path(), vec![0; limit::VALUE_BYTES_MAX + 1]).unwrap();
        assert!(sent(&at, false, false).contains("at most 512 KiB"));
    }

    #[test]
    fn a_missing_file_is_named() {
        assert!(sent("@/no/such/file", false, false).starts_with("exit 1: /no/such/file"));
    }

    proptest! {
        #[test]
        fn every_word_is_sent_as_json_that_means_it(word in "[^@].*") {
            prop_assume!(word != "-");
            let Ok(Sent::Json(raw)) = read(&word, Reading::default()) else {
                panic!("a word is never bytes");
            };
            let is_json = serde_json::from_str::<&RawValue>(&word).is_ok();
            if is_json {
                prop_assert_eq!(raw.get(), word.trim_matches([' ', '\t', '\n', '\r']));
            } else {
                prop_assert_eq!(serde_json::from_str::<String>(raw.get()).unwrap(), word);
            }
        }
    }
}
