//! A JSON reader that checks a whole document and keeps it as text.
//!
//! It proves the grammar (RFC 8259), a depth of at most [`limit::JSON_DEPTH_MAX`] and that no
//! object names a member twice (compared after unescaping); it builds no tree. A piece of a
//! checked document is a [`Json`]. It does not check that `\u` surrogates come in pairs outside
//! member names: a stored value is kept as it was sent.

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;

use crate::base::limit;

/// Why bytes are not a document we take; whoever sent them is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not UTF-8 (RFC 8259 §8.1).
    #[error("the text is not UTF-8 from byte {at} on; encode it as UTF-8")]
    Encoding {
        /// Offset of the first bad byte.
        at: usize,
    },
    /// Not JSON.
    #[error("the text is not JSON from byte {at} on; check quotes, commas and brackets there")]
    Syntax {
        /// Offset of the byte that cannot follow.
        at: usize,
    },
    /// Nested too deeply.
    #[error("the document nests more than {max} levels; flatten it", max = limit::JSON_DEPTH_MAX)]
    Depth,
    /// One object names a member twice.
    #[error("member '{name}' occurs twice in one object; send it once")]
    Duplicate {
        /// The member, cut to 64 characters.
        name: String,
    },
    /// Too many requests in one batch.
    #[error("a batch has at most {max} requests; send several batches", max = limit::BATCH_MAX)]
    Batch,
    /// Too many bytes.
    #[error("the message has {got} bytes and at most {max} are taken; send less at a time",
        max = limit::MESSAGE_BYTES_MAX)]
    Size {
        /// Its bytes.
        got: usize,
    },
}

/// The text of one valid JSON value, without space around it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Json<'a>(&'a str);

impl<'a> Json<'a> {
    /// The value `null`.
    pub const NULL: Json<'static> = Json("null");

    /// Checks that `text` is one JSON value and nothing else.
    ///
    /// # Errors
    /// Any [`Fault`] but [`Fault::Batch`].
    pub fn parse(text: &'a str) -> Result<Self, Fault> {
        let mut scanner = Scanner::new(text);
        let value = scanner.value()?;
        scanner.end()?;
        Ok(value)
    }

    /// Checks that `bytes` are one JSON value of at most [`limit::MESSAGE_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// Any [`Fault`] but [`Fault::Batch`].
    pub fn parse_bytes(bytes: &'a [u8]) -> Result<Self, Fault> {
        let mut scanner = Scanner::of_bytes(bytes)?;
        let value = scanner.value()?;
        scanner.end()?;
        Ok(value)
    }

    /// Takes what serde_json has checked or written.
    pub fn from_raw(raw: &'a RawValue) -> Self {
        Json(raw.get())
    }

    /// The text.
    pub fn text(&self) -> &'a str {
        self.0
    }

    /// A copy that serde_json can embed.
    ///
    /// # Panics
    /// Never for a value of this type: its text has been checked.
    pub fn to_raw(self) -> Box<RawValue> {
        RawValue::from_string(self.0.to_owned()).expect("the text of a Json is valid JSON")
    }

    /// It is `null`.
    pub fn is_null(&self) -> bool {
        self.0 == "null"
    }

    /// It is a string.
    pub fn is_string(&self) -> bool {
        self.0.starts_with('"')
    }

    /// It is a number.
    pub fn is_number(&self) -> bool {
        self.0.starts_with(|c: char| c == '-' || c.is_ascii_digit())
    }

    /// The characters of a string; none when it is not one, or has an unpaired surrogate.
    pub fn as_string(&self) -> Option<Cow<'a, str>> {
        let inner = self.0.strip_prefix('"')?.strip_suffix('"')?;
        unescape(inner, self.0)
    }

    /// A whole number without sign, fraction or exponent; none when it is anything else.
    pub fn as_u64(&self) -> Option<u64> {
        self.0
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| self.0.parse().ok())?
    }

    /// `true` or `false`.
    pub fn as_bool(&self) -> Option<bool> {
        match self.0 {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// The members of an object, in order; none when it is not one.
    pub fn members(&self) -> Option<Vec<(Cow<'a, str>, Json<'a>)>> {
        if !self.0.starts_with('{') {
            return None;
        }
        let mut members = Vec::new();
        Scanner::new(self.0)
            .object(|scanner, name| {
                members.push((name.clone(), scanner.value()?));
                Ok(())
            })
            .ok()?;
        Some(members)
    }
}

impl fmt::Debug for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// `inner` without its escapes; `quoted` is the same with its quotes.
fn unescape<'a>(inner: &'a str, quoted: &'a str) -> Option<Cow<'a, str>> {
    if inner.bytes().any(|b| b == b'\\') {
        serde_json::from_str(quoted).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// Reads a document from its first to its last character.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// Member names of every object that is still open.
    names: Vec<Cow<'a, str>>,
}

impl<'a> Scanner<'a> {
    /// Starts before the first character.
    pub(super) fn new(text: &'a str) -> Self {
        Scanner {
            text,
            at: 0,
            depth: 0,
            names: Vec::with_capacity(16),
        }
    }

    /// Checks size and encoding, then starts.
    pub(super) fn of_bytes(bytes: &'a [u8]) -> Result<Self, Fault> {
        if bytes.len() > limit::MESSAGE_BYTES_MAX {
            return Err(Fault::Size { got: bytes.len() });
        }
        let text = std::str::from_utf8(bytes).map_err(|error| Fault::Encoding {
            at: error.valid_up_to(),
        })?;
        Ok(Scanner::new(text))
    }

    /// The next byte that is not space, without taking it; 0 at the end.
    pub(super) fn peek(&mut self) -> u8 {
        self.skip_space();
        self.byte()
    }

    /// Where the next value starts.
    pub(super) fn mark(&mut self) -> usize {
        self.skip_space();
        self.at
    }

    /// The value that was taken since `mark`.
    pub(super) fn since(&self, mark: usize) -> Json<'a> {
        Json(&self.text[mark..self.at])
    }

    /// Takes one value.
    pub(super) fn value(&mut self) -> Result<Json<'a>, Fault> {
        let start = self.mark();
        match self.byte() {
            b'{' => self.object(|scanner, _| scanner.value().map(drop))?,
            b'[' => self.array(|scanner| scanner.value().map(drop))?,
            b'"' => _ = self.string()?,
            b't' => self.word("true")?,
            b'f' => self.word("false")?,
            b'n' => self.word("null")?,
            _ => self.number()?,
        }
        Ok(self.since(start))
    }

    /// Takes an object; `member` takes exactly one value each time.
    pub(super) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, &Cow<'a, str>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.enter(b'{')?;
        let first = self.names.len();
        if self.peek() == b'}' {
            self.at += 1;
        } else {
            loop {
                self.skip_space();
                let start = self.at;
                let name = match self.string()? {
                    (inner, false) => Cow::Borrowed(inner),
                    (inner, true) => unescape(inner, &self.text[start..self.at])
                        .ok_or(Fault::Syntax { at: start })?,
                };
                self.take(b':')?;
                member(self, &name)?;
                self.names.push(name);
                if self.separator(b'}')? {
                    break;
                }
            }
        }
        self.depth -= 1;
        self.check_unique(first)
    }

    /// Takes an array; `element` takes exactly one value each time.
    pub(super) fn array(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.enter(b'[')?;
        if self.peek() == b']' {
            self.at += 1;
        } else {
            loop {
                element(self)?;
                if self.separator(b']')? {
                    break;
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Nothing but space may follow.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        self.skip_space();
        if self.at == self.text.len() {
            Ok(())
        } else {
            self.syntax()
        }
    }

    fn byte(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    fn skip_space(&mut self) {
        while matches!(self.byte(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    fn syntax<T>(&self) -> Result<T, Fault> {
        Err(Fault::Syntax { at: self.at })
    }

    fn take(&mut self, byte: u8) -> Result<(), Fault> {
        if self.peek() != byte {
            return self.syntax();
        }
        self.at += 1;
        Ok(())
    }

    fn enter(&mut self, bracket: u8) -> Result<(), Fault> {
        self.take(bracket)?;
        self.depth += 1;
        if self.depth > limit::JSON_DEPTH_MAX {
            return Err(Fault::Depth);
        }
        Ok(())
    }

    /// Takes a comma (false) or the closing bracket (true).
    fn separator(&mut self, close: u8) -> Result<bool, Fault> {
        let byte = self.peek();
        if byte != b',' && byte != close {
            return self.syntax();
        }
        self.at += 1;
        Ok(byte == close)
    }

    fn word(&mut self, word: &str) -> Result<(), Fault> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return self.syntax();
        }
        self.at += word.len();
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        if !self.byte().is_ascii_digit() {
            return self.syntax();
        }
        while self.byte().is_ascii_digit() {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Fault> {
        if self.byte() == b'-' {
            self.at += 1;
        }
        if self.byte() == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.byte(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// Takes a string and returns what is between its quotes, escapes as they are, and whether
    /// there are any.
    fn string(&mut self) -> Result<(&'a str, bool), Fault> {
        if self.byte() != b'"' {
            return self.syntax();
        }
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let (mut at, mut escaped) = (start, false);
        loop {
            let plain = |byte: &u8| *byte >= 0x20 && *byte != b'"' && *byte != b'\\';
            at += bytes[at..].iter().take_while(|byte| plain(byte)).count();
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => at += self.escape_length(at)?,
                _ => return Err(Fault::Syntax { at }),
            }
            escaped = true;
        }
        self.at = at + 1;
        Ok((&self.text[start..at], escaped))
    }

    /// Bytes of the escape at `at`.
    fn escape_length(&self, at: usize) -> Result<usize, Fault> {
        let bytes = self.text.as_bytes();
        let hex = |range| {
            bytes
                .get(range)
                .is_some_and(|digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit))
        };
        match bytes.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
            Some(b'u') if hex(at + 2..at + 6) => Ok(6),
            _ => Err(Fault::Syntax { at }),
        }
    }

    /// No name from `first` on occurs twice; forgets them.
    fn check_unique(&mut self, first: usize) -> Result<(), Fault> {
        let names = &mut self.names[first..];
        // Few names are compared each with each: cheaper than sorting.
        let twice = if names.len() <= 12 {
            (1..names.len()).find(|&i| names[..i].contains(&names[i]))
        } else {
            names.sort_unstable();
            (1..names.len()).find(|&i| names[i - 1] == names[i])
        };
        if let Some(index) = twice {
            let name = names[index].chars().take(64).collect();
            return Err(Fault::Duplicate { name });
        }
        self.names.truncate(first);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Any JSON document, as serde_json sees it.
    pub(crate) fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            ".*".prop_map(Into::into),
        ];
        leaf.prop_recursive(6, 48, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::btree_map(".*", inner, 0..6)
                    .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_serde_writes_is_read_and_kept_as_it_is(value in any_json()) {
            for text in [value.to_string(), format!(" {value:#}\n")] {
                prop_assert_eq!(Json::parse(&text).unwrap().text(), text.trim());
            }
        }

        #[test]
        fn agrees_with_serde_about_what_is_json(
            text in r#"[\[\]{}:,"a0-9.eE+\\u \-tfnrl]{0,12}"#
        ) {
            let ours = match Json::parse(&text) {
                Err(Fault::Duplicate { .. }) => return Ok(()),
                other => other.is_ok(),
            };
            prop_assert_eq!(ours, serde_json::from_str::<&RawValue>(&text).is_ok(), "{}", text);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(mut scanner) = Scanner::of_bytes(&bytes) {
                let _ = scanner.value();
            }
        }
    }

    #[test]
    fn a_member_named_twice_is_refused_at_any_depth_and_however_it_is_escaped() {
        for text in [
            r#"{"a":1,"a":2}"#,
            r#"[{"x":{"a":1,"b":2,"\u0061":3}}]"#,
            r#"{"":1,"":1}"#,
        ] {
            let fault = Json::parse(text).unwrap_err();
            assert!(
                matches!(fault, Fault::Duplicate { .. }),
                "{text}: {fault:?}"
            );
        }
        let many: Vec<String> = (0..40).map(|i| format!("\"{}\":0", i % 39)).collect();
        let text = format!("{{{}}}", many.join(","));
        assert_eq!(
            Json::parse(&text).unwrap_err(),
            Fault::Duplicate { name: "0".into() }
        );
        assert!(Json::parse(r#"{"a":{"a":1},"b":{"a":1}}"#).is_ok());
    }

    #[test]
    fn depth_64_is_read_and_depth_65_refused() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(Json::parse(&nested(64)).is_ok());
        assert_eq!(Json::parse(&nested(65)), Err(Fault::Depth));
        assert_eq!(Json::parse(&"[".repeat(100_000)), Err(Fault::Depth));
    }

    #[test]
    fn accessors_read_only_their_own_kind() {
        let json = |text| Json::parse(text).unwrap();
        assert_eq!(json(r#""a\u0062""#).as_string().unwrap(), "ab");
        assert_eq!(json(r#""\ud800""#).as_string(), None);
        assert_eq!(json("7").as_u64(), Some(7));
        for text in ["-7", "7.0", "1e3", "99999999999999999999", "\"7\"", "true"] {
            assert_eq!(json(text).as_u64(), None, "{text}");
        }
        assert_eq!(json("false").as_bool(), Some(false));
        let members = json(r#"{ "a" : [1, 2] , "b":null}"#).members().unwrap();
        assert_eq!(members[0].1.text(), "[1, 2]");
        assert!(members[1].1.is_null());
        assert!(json("[]").members().is_none());
    }
}
