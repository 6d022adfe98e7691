//! JSON for people: indented, in the order and with the numbers it came with.
//!
//! Works on the text, since reading it into values would round long numbers.

use crate::cli::out::{Paint, shown};

/// Blanks of a level.
const INDENT: usize = 2;

/// Indents JSON; control characters that JSON allows within texts are escaped.
///
/// Text that is not JSON comes out in some shape, without a panic.
pub fn pretty(json: &str, paint: Paint) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0usize;
    let mut rest = json.trim_start();
    while let Some(c) = rest.chars().next() {
        let token = token(rest);
        rest = rest[token.len()..].trim_start();
        match c {
            '{' | '[' => {
                out.push(c);
                if let Some(after) = rest.strip_prefix(['}', ']']) {
                    out.push_str(&rest[..1]);
                    rest = after.trim_start();
                } else {
                    depth += 1;
                    line_end(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line_end(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line_end(&mut out, depth);
            }
            ':' => out.push_str(": "),
            '"' if rest.starts_with(':') => out.push_str(&paint.strong(&shown(token))),
            '"' => out.push_str(&paint.good(&shown(token))),
            _ => out.push_str(&shown(token)),
        }
    }
    out
}

fn line_end(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', depth * INDENT));
}

/// The first token of a text that begins with one.
fn token(text: &str) -> &str {
    let end = match text.as_bytes().first() {
        Some(b'"') => {
            let mut escaped = false;
            let closing = |c: char| {
                c == '"' && !escaped || {
                    escaped = c == '\\' && !escaped;
                    false
                }
            };
            text[1..].find(closing).map(|at| at + 2)
        }
        Some(b'{' | b'}' | b'[' | b']' | b',' | b':') => Some(1),
        _ => text.find(|c: char| c.is_whitespace() || "{}[],:\"".contains(c)),
    };
    &text[..end.unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn json_is_indented_and_numbers_stay() {
        let json = "{\"a\":[1.50,{}, [] ],\"b\":\"x\\\",y\" , \"c\":12345678901234567890123}";
        let lines = [
            "{",
            "  \"a\": [",
            "    1.50,",
            "    {},",
            "    []",
            "  ],",
            "  \"b\": \"x\\\",y\",",
            "  \"c\": 12345678901234567890123",
            "}",
        ];
        assert_eq!(pretty(json, Paint::PLAIN), lines.join("\n"));
        assert_eq!(pretty(" null ", Paint::PLAIN), "null");
    }

    #[test]
    fn texts_cannot_steer_the_terminal() {
        let printed = pretty("\"a\u{9b}2J\u{202e}\"", Paint::COLOURED);
        let steering = ['\u{9b}', '\u{202e}'];
        assert!(!printed.contains(steering), "{printed:?}");
    }

    proptest! {
        #[test]
        fn any_text_is_printed(text in "\\PC{0,60}") {
            pretty(&text, Paint::COLOURED);
        }

        #[test]
        fn json_means_the_same_afterwards(
            texts in proptest::collection::btree_map("[a-z\"\\\\]{0,5}", "[ -~é]{0,9}", 0..5),
        ) {
            let json = serde_json::to_string(&texts).unwrap();
            let again: std::collections::BTreeMap<String, String> =
                serde_json::from_str(&pretty(&json, Paint::PLAIN)).unwrap();
            prop_assert_eq!(again, texts);
        }
    }
}
