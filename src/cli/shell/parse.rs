//! Reads a command of the shell: a plain verb with words, or a method in Round's manner.
//!
//! `method(object, params…)`: the object is the board that carries it out, by name, id or
//! address; `*` is every board, `.` or nothing the board in use, `?` any one. The params are JSON:
//! an object (named), an array, or values one after the other (in the method's order). Without
//! an object, an object or an array of params may stand alone:
//! `put({"key": "a", "value": 1})`.
//!
//! JSON is kept as it was typed.

use serde_json::value::RawValue;

use super::scan::{Word, words};

/// A command.
#[derive(Clone, Debug)]
pub enum Command {
    /// A word and its arguments.
    Plain(Vec<Word>),
    /// A method.
    Call(Call),
}

/// A method in Round's manner.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method's name.
    pub method: String,
    /// Who carries it out; none is the board in use.
    pub object: Option<String>,
    /// An object or an array.
    pub params: Box<RawValue>,
}

/// What cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {what}")]
pub struct ParseError {
    /// Where, in characters from 1.
    pub column: usize,
    /// What is wrong there.
    pub what: Wrong,
}

/// What is wrong with a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// The bracket of the call has no partner.
    #[error("the call is not closed; a ')' belongs at its end")]
    Unclosed,
    /// Something follows the call.
    #[error("nothing can follow the ')' of a call; separate commands with ';'")]
    Trailing,
    /// The object is neither a word nor a quoted text.
    #[error("a board's name, id or address, '*', '.' or '?' belongs here, or params as JSON")]
    Object,
    /// A value is not JSON.
    #[error("this is not JSON ({0}); texts are written in double quotes")]
    Json(String),
    /// Two values without a comma.
    #[error("a ',' or the ')' of the call belongs here")]
    Comma,
}

/// Reads one command, as [`super::scan::Splitter`] gives it; none for an empty one.
///
/// # Errors
/// [`ParseError`] with the place.
pub fn parse(text: &str) -> Result<Option<Command>, ParseError> {
    let name_end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(name_end);
    if name.is_empty() || !rest.trim_start().starts_with('(') {
        let words = words(text);
        return Ok((!words.is_empty()).then_some(Command::Plain(words)));
    }
    let open = name_end + rest.find('(').unwrap_or(0);
    let mut cursor = Cursor { text, at: open + 1 };
    let call = cursor.call(name)?;
    Ok(Some(Command::Call(call)))
}

struct Cursor<'a> {
    text: &'a str,
    /// Bytes that are read.
    at: usize,
}

impl<'a> Cursor<'a> {
    fn call(&mut self, method: &str) -> Result<Call, ParseError> {
        let mut call = Call {
            method: method.to_owned(),
            object: None,
            params: RawValue::from_string("{}".to_owned()).expect("it is JSON"),
        };
        self.blanks();
        if self.takes(')') {
            self.end()?;
            return Ok(call);
        }
        if self.rest().starts_with(['{', '[']) {
            call.params = self.value()?;
            self.close()?;
            return Ok(call);
        }
        call.object = Some(self.object()?).filter(|object| object != ".");
        let mut values: Vec<&str> = Vec::new();
        loop {
            self.blanks();
            if !self.takes(',') {
                break;
            }
            self.blanks();
            let start = self.at;
            self.value()?;
            values.push(self.text[start..self.at].trim());
        }
        self.close()?;
        let json = match values[..] {
            [] => return Ok(call),
            [one] if one.starts_with(['{', '[']) => one.to_owned(),
            _ => format!("[{}]", values.join(",")),
        };
        call.params = RawValue::from_string(json).expect("values between commas are an array");
        Ok(call)
    }

    /// The `)` and nothing after it.
    fn close(&mut self) -> Result<(), ParseError> {
        self.blanks();
        match self.takes(')') {
            true => self.end(),
            false if self.rest().is_empty() => Err(self.wrong(Wrong::Unclosed)),
            false => Err(self.wrong(Wrong::Comma)),
        }
    }

    fn end(&mut self) -> Result<(), ParseError> {
        self.blanks();
        match self.rest().is_empty() {
            true => Ok(()),
            false => Err(self.wrong(Wrong::Trailing)),
        }
    }

    fn object(&mut self) -> Result<String, ParseError> {
        if self.rest().starts_with('"') {
            let raw = self.value()?;
            return serde_json::from_str(raw.get()).map_err(|_| self.wrong(Wrong::Object));
        }
        let legal = |c: char| c.is_alphanumeric() || "*.?-_:[]%".contains(c);
        let end = self.rest().find(|c| !legal(c)).unwrap_or(self.rest().len());
        if end == 0 {
            let what = match self.rest().is_empty() {
                true => Wrong::Unclosed,
                false => Wrong::Object,
            };
            return Err(self.wrong(what));
        }
        let object = self.rest()[..end].to_owned();
        self.at += end;
        Ok(object)
    }

    /// One JSON value.
    fn value(&mut self) -> Result<Box<RawValue>, ParseError> {
        let rest = self.rest();
        // Texts, objects and arrays end by themselves; numbers and words do not.
        let text = match rest.starts_with(['"', '{', '[']) {
            true => rest,
            false => {
                let ends = |c: char| c.is_whitespace() || ",)]}".contains(c);
                &rest[..rest.find(ends).unwrap_or(rest.len())]
            }
        };
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<Box<RawValue>>();
        match values.next() {
            Some(Ok(value)) => {
                self.at += values.byte_offset();
                Ok(value)
            }
            Some(Err(error)) => {
                let lines = text
                    .split_inclusive('\n')
                    .take(error.line().saturating_sub(1));
                let offset = lines.map(str::len).sum::<usize>() + error.column().saturating_sub(1);
                let text = error.to_string();
                let text = text.split(" at line ").next().unwrap_or("").to_owned();
                self.at = (self.at + offset).min(self.text.len());
                Err(self.wrong(Wrong::Json(text)))
            }
            None if rest.is_empty() => Err(self.wrong(Wrong::Unclosed)),
            None => Err(self.wrong(Wrong::Json("expected value".to_owned()))),
        }
    }

    fn blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn takes(&mut self, c: char) -> bool {
        let there = self.rest().starts_with(c);
        self.at += if there { c.len_utf8() } else { 0 };
        there
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn wrong(&self, what: Wrong) -> ParseError {
        let before = self.text.char_indices().take_while(|(at, _)| *at < self.at);
        ParseError {
            column: before.count() + 1,
            what,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `method object params`, or what is wrong.
    fn call(text: &str) -> String {
        match parse(text) {
            Ok(Some(Command::Call(call))) => {
                let object = call.object.unwrap_or_else(|| "-".to_owned());
                format!("{} {object} {}", call.method, call.params.get())
            }
            Ok(other) => format!("{other:?}"),
            Err(error) => format!("{}: {:?}", error.column, error.what),
        }
    }

    #[test]
    fn methods_are_read_in_rounds_manner() {
        for (text, read) in [
            ("echo()", "echo - {}"),
            ("echo ( )", "echo - {}"),
            ("get_node_state(*)", "get_node_state * {}"),
            ("get_node_state(.)", "get_node_state - {}"),
            ("get-node-state(calm-heron)", "get-node-state calm-heron {}"),
            ("echo(10.0.0.1:38400, 1)", "echo 10.0.0.1:38400 [1]"),
            ("echo(\"two words\", [1, 2])", "echo two words [1, 2]"),
            (
                "put({\"key\":\"a\",\"value\": 1.50})",
                "put - {\"key\":\"a\",\"value\": 1.50}",
            ),
            ("put(., \"a\",  {\"n\": 1.0})", "put - [\"a\",{\"n\": 1.0}]"),
            (
                "put(attic, {\"key\":\"a,)\"})",
                "put attic {\"key\":\"a,)\"}",
            ),
            ("echo(*,\n{\n\"a\":1}\n)", "echo * {\n\"a\":1}"),
        ] {
            assert_eq!(call(text), read, "{text}");
        }
    }

    #[test]
    fn errors_say_where() {
        for (text, wrong) in [
            ("echo(", "6: Unclosed"),
            ("echo(a", "7: Unclosed"),
            ("echo(a b)", "8: Comma"),
            ("echo(ä,) x", "8: Json(\"expected value\")"),
            ("echo() x", "8: Trailing"),
            ("echo(!)", "6: Object"),
            ("put(., lamp)", "8: Json(\"expected value\")"),
            ("put(., {\"a\" 1})", "13: Json(\"expected `:`\")"),
        ] {
            assert_eq!(call(text), wrong, "{text}");
        }
    }

    #[test]
    fn other_commands_are_words() {
        let Ok(Some(Command::Plain(words))) = parse("put lamp (on)") else {
            panic!("a plain command");
        };
        let texts: Vec<_> = words.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(texts, ["put", "lamp", "(on)"]);
        assert!(matches!(parse("  "), Ok(None)));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_at_a_place_in_it(text in "\\PC{0,60}") {
            if let Err(error) = parse(&text) {
                prop_assert!((1..=text.chars().count() + 1).contains(&error.column));
            }
        }

        #[test]
        fn any_call_is_read_or_refused_at_a_place_in_it(
            args in "[-a*.,?:\"'{}\\[\\]()0-9 \n\\\\é]{0,40}",
        ) {
            let text = format!("echo({args}");
            if let Err(error) = parse(&text) {
                prop_assert!((1..=text.chars().count() + 1).contains(&error.column));
            }
        }

        #[test]
        fn params_are_kept_as_they_were_typed(
            object in "[a-z]{1,8}",
            texts in proptest::collection::vec("\\PC{0,20}", 1..4),
        ) {
            let values: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
            prop_assume!(values.iter().all(|v| serde_json::from_str::<String>(v).is_ok()));
            let read = call(&format!("echo({object}, {})", values.join(", ")));
            prop_assert_eq!(read, format!("echo {object} [{}]", values.join(",")));
        }
    }
}
