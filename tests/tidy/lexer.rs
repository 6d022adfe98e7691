//! Just enough of Rust's lexer to tell code from comments and literals, and to find modules,
//! functions and imports in it. It does not parse: what it cannot tell, `rustc` has refused.

/// The text with comments and the insides of literals blanked, line for line, byte for byte.
pub fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => find(bytes, at, b"\n"),
            b'/' if bytes.get(at + 1) == Some(&b'*') => block_comment(bytes, at),
            b'"' => string(bytes, at),
            b'r' | b'b' | b'c' if !in_word(bytes, at) => match raw_string(bytes, at) {
                Some(end) => end,
                None => at,
            },
            b'\'' => character(bytes, at),
            _ => at,
        };
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Whether the byte before `at` continues a word.
pub fn in_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> usize {
    let found = bytes[from..]
        .windows(what.len())
        .position(|window| window == what);
    found.map_or(bytes.len(), |position| from + position)
}

fn block_comment(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start + 2, 1);
    while at < bytes.len() && depth > 0 {
        match &bytes[at..bytes.len().min(at + 2)] {
            b"/*" => (at, depth) = (at + 2, depth + 1),
            b"*/" => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
    }
    at
}

fn string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

fn raw_string(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    while matches!(bytes.get(at), Some(b'b' | b'c')) {
        at += 1;
    }
    if bytes.get(at) != Some(&b'r') {
        return None;
    }
    let hashes = bytes[at + 1..]
        .iter()
        .take_while(|byte| **byte == b'#')
        .count();
    let open = at + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    Some((find(bytes, open + 1, &close) + close.len()).min(bytes.len()))
}

/// A character literal; a lifetime is left alone.
fn character(bytes: &[u8], start: usize) -> usize {
    match bytes.get(start + 1) {
        Some(b'\\') => (find(bytes, start + 3, b"'") + 1).min(bytes.len()),
        Some(_) => {
            let quote = find(bytes, start + 1, b"'");
            let inside = std::str::from_utf8(&bytes[start + 1..quote]);
            match inside {
                Ok(text) if text.chars().count() == 1 => quote + 1,
                _ => start,
            }
        }
        None => start,
    }
}

/// Where the brace that opens at `open` closes.
pub fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0usize;
    for (offset, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return offset,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// The line, from 1, a byte lies on.
pub fn line(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Offsets of a word that stands alone.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = code.as_bytes();
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| {
            let next = bytes.get(at + word.len());
            !in_word(bytes, *at) && !next.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_')
        })
}

/// A `mod` with a body or in a file of its own.
pub struct Module {
    /// Its name.
    pub name: String,
    /// From the keyword to the closing brace or semicolon.
    pub span: std::ops::Range<usize>,
    /// It has a body here.
    pub inline: bool,
    /// It is compiled for tests alone.
    pub test: bool,
}

/// Every module declared in the code.
pub fn modules(code: &str) -> Vec<Module> {
    let mut found = Vec::new();
    for at in words(code, "mod") {
        let rest = &code[at + 3..];
        let name: String = rest
            .trim_start()
            .chars()
            .take_while(|c| is_word(*c))
            .collect();
        let Some(end) = rest.find(['{', ';']).map(|end| at + 3 + end) else {
            continue;
        };
        let inline = code.as_bytes()[end] == b'{';
        let close = if inline { closing(code, end) } else { end };
        let before = code[..at].trim_end();
        let before = before.strip_suffix("pub").unwrap_or(before).trim_end();
        found.push(Module {
            name,
            span: at..close,
            inline,
            test: before.ends_with("#[cfg(test)]"),
        });
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Every path that begins at `at`, use trees spelt out: `a::{b, c::d}` gives `a::b`, `a::c::d`.
pub fn paths(code: &str, at: usize) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = &code[at..];
    tree(&mut rest, &mut Vec::new(), &mut found);
    found
}

fn tree(rest: &mut &str, stem: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let depth = stem.len();
    loop {
        *rest = rest.trim_start();
        if let Some(inside) = rest.strip_prefix('{') {
            *rest = inside;
            while !rest.trim_start().starts_with('}') && !rest.is_empty() {
                tree(rest, stem, found);
                let skip = rest.find([',', '}']).unwrap_or(rest.len());
                *rest = &rest[skip..];
                *rest = rest.strip_prefix(',').unwrap_or(rest);
            }
            *rest = rest.trim_start().strip_prefix('}').unwrap_or("");
            break;
        }
        let name: String = rest
            .chars()
            .take_while(|c| is_word(*c) || *c == '*')
            .collect();
        *rest = &rest[name.len()..];
        stem.push(name);
        match rest.trim_start().strip_prefix("::") {
            Some(after) => *rest = after,
            None => {
                found.push(stem.clone());
                break;
            }
        }
    }
    stem.truncate(depth);
}
