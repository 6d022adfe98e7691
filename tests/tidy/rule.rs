//! The rules, one function each: from sources to findings. What they are for is the style guide's
//! business; what is allowed to import what is in `layer`.

use std::collections::BTreeMap;

use crate::Source;
use crate::lexer::{self, Module};

/// Lines of a file, no exception.
const FILE_LINES_MAX: usize = 1_000;
/// Lines of a file above which it is worth another look.
pub const FILE_LINES_LOOK: usize = 600;
/// Lines of a function, unless it says why.
const FUNCTION_LINES_MAX: usize = 70;
/// Characters of a line.
const COLUMNS_MAX: usize = 100;
/// Allows a longer function; the reason follows on the line.
const LONG_FUNCTION_MARK: &str = "// Long function: ";
/// Characters of a reason.
const REASON_MIN: usize = 15;

/// Layers that touch no clock, socket, file, thread, process, terminal or entropy.
const PURE: [&str; 8] = [
    "base",
    "wire",
    "security",
    "telemetry",
    "config",
    "proto",
    "script",
    "service",
];
/// What they may not name.
const IMPURE: [&str; 17] = [
    "std::fs",
    "std::thread",
    "std::process",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::os::unix::net",
    "Instant::now",
    "SystemTime::now",
    "tokio::net",
    "tokio::time",
    "tokio::spawn",
    "tokio::task",
    "socket2",
    "getrandom",
    "rand::rng",
    "fjall",
];

/// A finding of one rule.
pub fn at(source: &Source, line: usize, what: impl std::fmt::Display) -> String {
    format!("{}:{line}: {what}", source.path)
}

pub fn header(source: &Source) -> Vec<String> {
    let first = source.text.lines().next().unwrap_or("");
    let text = first.strip_prefix("//! ").unwrap_or("");
    match text.is_empty() {
        true => vec![at(source, 1, "opens with `//! ` and says what it is")],
        false => Vec::new(),
    }
}

pub fn file_length(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    match lines > FILE_LINES_MAX {
        true => vec![at(
            source,
            lines,
            format!("{lines} lines; split it by noun"),
        )],
        false => Vec::new(),
    }
}

pub fn columns(source: &Source) -> Vec<String> {
    let long = |line: &&str| line.chars().count() > COLUMNS_MAX;
    let lines = source.text.lines().enumerate();
    lines
        .filter(|(_, line)| long(line))
        .map(|(index, _)| {
            at(
                source,
                index + 1,
                format!("longer than {COLUMNS_MAX} columns"),
            )
        })
        .collect()
}

pub fn function_length(source: &Source) -> Vec<String> {
    let code = &source.code;
    let mut findings = Vec::new();
    for start in lexer::words(code, "fn") {
        let Some(open) = body(code, start) else {
            continue;
        };
        let (first, last) = (
            lexer::line(code, start),
            lexer::line(code, lexer::closing(code, open)),
        );
        let lines = last - first + 1;
        if lines > FUNCTION_LINES_MAX && !has_reason(source, first) {
            let what = format!("a function of {lines} lines; at most {FUNCTION_LINES_MAX}");
            findings.push(at(source, first, what));
        }
    }
    findings
}

/// Where the body of the function at `start` opens; none for a declaration or a function type.
fn body(code: &str, start: usize) -> Option<usize> {
    let mut depth = 0i32;
    for (offset, byte) in code.bytes().enumerate().skip(start) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' if depth == 0 => return None,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(offset),
            // A comma or an equals sign may stand in a signature's generics.
            b';' | b'}' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

fn has_reason(source: &Source, line: usize) -> bool {
    let lines: Vec<_> = source.text.lines().collect();
    let above = lines[..line - 1].iter().rev();
    let attached = above
        .map(|line| line.trim())
        .take_while(|line| line.starts_with("//") || line.starts_with('#') || line.ends_with(','));
    let mut reasons = attached.filter_map(|line| line.strip_prefix(LONG_FUNCTION_MARK));
    reasons.any(|reason| reason.len() >= REASON_MIN)
}

pub fn leftovers(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    for mark in [concat!("TO", "DO"), concat!("FIX", "ME")] {
        for offset in lexer::words(&source.text, mark) {
            findings.push(at(source, lexer::line(&source.text, offset), mark));
        }
    }
    for mark in ["dbg!", "todo!", "unimplemented!"] {
        for (offset, _) in source.code.match_indices(mark) {
            if !lexer::in_word(source.code.as_bytes(), offset) {
                findings.push(at(source, lexer::line(&source.code, offset), mark));
            }
        }
    }
    findings
}

pub fn unwrap(source: &Source) -> Vec<String> {
    let what = "unwrap() outside tests; `expect` states why it cannot fail";
    product_matches(source, ".unwrap()")
        .map(|offset| at(source, lexer::line(&source.code, offset), what))
        .collect()
}

pub fn purity(source: &Source) -> Vec<String> {
    if !PURE.contains(&source.top()) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let what = |name: &str| format!("{name} belongs to runtime/ and what stands above it");
    // Machines tell of what happens by events and counters; their logs are for whoever debugs them.
    let loud = ["tracing::info!", "tracing::warn!", "tracing::error!"];
    for mark in ["println!", "print!"].into_iter().chain(loud) {
        for offset in product_matches(source, mark) {
            findings.push(at(source, lexer::line(&source.code, offset), what(mark)));
        }
    }
    for root in [
        "std",
        "tokio",
        "socket2",
        "getrandom",
        "rand",
        "fjall",
        "Instant",
        "SystemTime",
    ] {
        for offset in lexer::words(&source.code, root) {
            let clock = matches!(root, "Instant" | "SystemTime");
            let inner = preceded_by_path(&source.code, offset) && !clock;
            if source.is_test(offset) || inner {
                continue;
            }
            for path in lexer::paths(&source.code, offset) {
                let path = path.join("::");
                let banned =
                    |name: &&&str| path == ***name || path.starts_with(&format!("{name}::"));
                if let Some(name) = IMPURE.iter().find(banned) {
                    findings.push(at(source, lexer::line(&source.code, offset), what(name)));
                }
            }
        }
    }
    findings
}

fn preceded_by_path(code: &str, offset: usize) -> bool {
    code[..offset].trim_end().ends_with("::")
}

fn product_matches<'a>(source: &'a Source, what: &'a str) -> impl Iterator<Item = usize> + 'a {
    let all = source.code.match_indices(what).map(|(offset, _)| offset);
    all.filter(|offset| !source.path.starts_with("tests/") && !source.is_test(*offset))
}

/// Files that no `mod` declaration leads to. The roots are what Cargo compiles by itself.
pub fn dead_files(sources: &[Source]) -> Vec<String> {
    let by_path: BTreeMap<&str, &Source> = sources
        .iter()
        .map(|source| (source.path.as_str(), source))
        .collect();
    let is_root = |path: &str| {
        let parts: Vec<_> = path.split('/').collect();
        matches!(
            parts[..],
            ["src", "lib.rs" | "main.rs"]
                | ["tests", _]
                | ["tests", _, "main.rs"]
                | ["tests", "bench", "bench.rs"]
                // A package of its own, with what it shares with the replay of its corpora.
                | ["tests", "fuzz", _]
                | ["tests", "fuzz", "fuzz_targets", _]
        )
    };
    let mut waiting: Vec<&str> = by_path
        .keys()
        .copied()
        .filter(|path| is_root(path))
        .collect();
    let mut reached: Vec<&str> = Vec::new();
    while let Some(path) = waiting.pop() {
        if reached.contains(&path) {
            continue;
        }
        reached.push(path);
        for candidate in declared(by_path[path], is_root(path)) {
            if let Some((path, _)) = by_path.get_key_value(candidate.as_str()) {
                waiting.push(path);
            }
        }
    }
    let dead = sources
        .iter()
        .filter(|source| !reached.contains(&source.path.as_str()));
    dead.map(|source| at(source, 1, "no `mod` leads here: a dead file"))
        .collect()
}

/// Paths a file's `mod x;` declarations may stand for.
fn declared(source: &Source, root: bool) -> Vec<String> {
    let (directory, name) = source
        .path
        .rsplit_once('/')
        .expect("a source lies in a directory");
    let stem = name.strip_suffix(".rs").expect("a source ends in .rs");
    let directory = match root || stem == "mod" {
        true => directory.to_owned(),
        false => format!("{directory}/{stem}"),
    };
    let modules = lexer::modules(&source.code);
    let mut paths = Vec::new();
    for module in modules.iter().filter(|module| !module.inline) {
        let outer = |outer: &&Module| outer.inline && outer.span.contains(&module.span.start);
        let outer: String = modules
            .iter()
            .filter(outer)
            .map(|m| format!("{}/", m.name))
            .collect();
        paths.push(format!("{directory}/{outer}{}.rs", module.name));
        paths.push(format!("{directory}/{outer}{}/mod.rs", module.name));
    }
    paths
}
