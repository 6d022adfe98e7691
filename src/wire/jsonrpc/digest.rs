//! The member `digest` of a request's object, as its bytes stand in the document: the second
//! carrier of a message's credentials.
//!
//! Only where it is and what it says; what it proves is `security/rnd1`. Source: Round's `digest`.

use std::ops::Range;

use super::scan::Json;

/// What every document with the member has in it.
const NAME: &[u8] = b"\"digest\"";

/// The text of the member and where it stands in `body`, without its quotes.
///
/// None when the document is no object with that member, or cannot be read: reading it again says
/// why. A value that is no string, or is written with escapes, is returned as it stands, and is
/// then no credentials.
pub fn digest_member(body: &[u8]) -> Option<(Range<usize>, &str)> {
    if !body.windows(NAME.len()).any(|part| part == NAME) {
        return None;
    }
    let members = Json::parse_bytes(body).ok()?.members()?;
    let (_, value) = members.into_iter().find(|(name, _)| name == "digest")?;
    let written = value.text();
    let bare = written
        .strip_prefix('"')
        .and_then(|it| it.strip_suffix('"'));
    let text = bare.unwrap_or(written);
    // Both are parts of one text.
    let start = text.as_ptr() as usize - body.as_ptr() as usize;
    Some((start..start + text.len(), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_member_is_found_where_it_stands() {
        let body = br#" {"a":"\"digest\"", "digest" : "RND1 x", "id":1}"#;
        let (range, text) = digest_member(body).unwrap();
        assert_eq!((&body[range], text), (&b"RND1 x"[..], "RND1 x"));
    }

    #[test]
    fn members_elsewhere_are_no_digest() {
        for body in [
            &br#"{"params":{"digest":"x"}}"#[..],
            br#"[{"digest":"x"}]"#,
            br#"{"method":"\"digest\""}"#,
            br#"{"digest":"x","digest":"y"}"#,
            br#"{"digest":"#,
            b"",
        ] {
            assert_eq!(digest_member(body), None, "{}", body.escape_ascii());
        }
    }

    #[test]
    fn other_values_are_returned_as_they_stand() {
        for (body, text) in [
            (&br#"{"digest":5}"#[..], "5"),
            (br#"{"digest":"\u0052ND1"}"#, "\\u0052ND1"),
            (br#"{"digest":null}"#, "null"),
        ] {
            assert_eq!(digest_member(body).unwrap().1, text);
        }
    }
}
