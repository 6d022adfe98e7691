//! Shows that each rule catches what it is for, and leaves alone what looks like it.

use crate::{Source, findings};

/// Findings in a tree of these files, each under a correct header, beside a root that declares
/// them. Paths are below src/.
fn plant(files: &[(&str, &str)]) -> Vec<String> {
    let mut root = "//! Root.\n".to_owned();
    let mut sources = Vec::new();
    for (path, text) in files {
        let top = path.split(['/', '.']).next().unwrap();
        if !root.contains(&format!("mod {top};")) && *path != "main.rs" {
            root += &format!("pub mod {top};\n");
        }
        sources.push(Source::new(
            &format!("src/{path}"),
            &format!("//! Planted.\n{text}"),
        ));
    }
    sources.push(Source::new("src/lib.rs", &root));
    findings(sources)
}

fn assert_found(files: &[(&str, &str)], what: &str) {
    let found = plant(files);
    assert_eq!(found.len(), 1, "{files:?} gives {found:?}");
    assert!(found[0].contains(what), "{found:?} does not say {what:?}");
}

fn assert_clean(files: &[(&str, &str)]) {
    let found = plant(files);
    assert!(found.is_empty(), "{files:?} gives {found:?}");
}

#[test]
fn upward_import_is_caught_however_it_is_written() {
    let what = "base/ imports wire/";
    assert_found(&[("base.rs", "use crate::wire::http;")], what);
    assert_found(&[("base.rs", "use crate::{\n  wire::{http},\n};")], what);
    assert_found(
        &[("base.rs", "fn f() { crate::wire::http::parse(); }")],
        what,
    );
    assert_found(&[("base.rs", "use super::wire;")], what);
    assert_found(
        &[
            ("base/mod.rs", "mod id;"),
            ("base/id.rs", "use super::super::wire;"),
        ],
        what,
    );
    assert_found(
        &[("base.rs", "mod tests { use super::super::wire; }")],
        what,
    );
    assert_found(
        &[("service.rs", "use crate::runtime::udp;")],
        "service/ imports runtime/",
    );
    assert_found(
        &[("proto.rs", "use crate::script;")],
        "proto/ imports script/",
    );
}

#[test]
fn neighbours_of_one_height_are_strangers() {
    assert_found(
        &[("wire.rs", "use crate::security::hmac;")],
        "wire/ imports security/",
    );
    assert_found(
        &[("config.rs", "use crate::telemetry;")],
        "config/ imports telemetry/",
    );
}

#[test]
fn unknown_layer_is_caught() {
    assert_found(&[("util.rs", "use crate::base;")], "util/ has no place");
}

#[test]
fn downward_imports_and_a_layers_own_are_allowed() {
    assert_clean(&[
        ("cli.rs", "use crate::node; use crate::base::{id, item};"),
        (
            "runtime.rs",
            "use crate::{wire::http, proto::board, service};",
        ),
        ("wire/mod.rs", "mod http; mod xml;"),
        (
            "wire/http.rs",
            "use super::xml; mod tests { use super::*; use super::super::xml; }",
        ),
        (
            "wire/xml.rs",
            "// use crate::node;\nconst A: &str = \"crate::node::x\";",
        ),
        ("main.rs", "fn main() { roundel::cli::run(); }"),
    ]);
}

#[test]
fn machines_know_only_their_friends() {
    let proto = (
        "proto/mod.rs",
        "mod ring; mod clock; mod board; mod roster;",
    );
    let planted = |ring: &'static str| {
        let others = [
            ("proto/clock.rs", ""),
            ("proto/roster.rs", ""),
            ("proto/board.rs", ""),
        ];
        let mut files = vec![proto, ("proto/ring.rs", ring)];
        files.extend(others);
        files
    };
    let what = "proto/ring does not know proto/clock";
    assert_found(&planted("use crate::proto::clock;"), what);
    assert_found(&planted("use super::clock::hybrid;"), what);
    assert_found(&planted("use super::{roster, clock};"), what);
    assert_clean(&planted("use super::roster; mod tests { use super::*; }"));
    let mut files = planted("");
    files.retain(|(path, _)| *path != "proto/board.rs");
    files.push(("proto/board.rs", "use super::{clock, ring, roster};"));
    assert_clean(&files);
}

#[test]
fn impure_calls_below_the_runtime_are_caught() {
    for call in [
        "use std::fs;",
        "use std::{io, fs::File};",
        "fn f() { std::thread::yield_now(); }",
        "use std::net::{IpAddr, UdpSocket};",
        "fn f() { std::time::Instant::now(); }",
        "use std::time::Instant; fn f() { Instant::now(); }",
        "use std::time::SystemTime; fn f() { SystemTime::now(); }",
        "use tokio::net::TcpStream;",
        "use tokio::time::sleep;",
        "fn f() { getrandom::fill(&mut []); }",
        "fn f() { rand::rng(); }",
        "use std::time; fn f() { time::Instant::now(); }",
    ] {
        assert_found(&[("proto.rs", call)], "belongs to runtime/");
    }
    for call in [
        "fn f() { println!(); }",
        "fn f() { eprintln!(); }",
        "fn f() { tracing::info!(1); }",
    ] {
        let found = plant(&[("wire.rs", call)]);
        assert!(!found.is_empty(), "{call}");
    }
}

#[test]
fn pure_names_tests_and_upper_layers_are_left_alone() {
    assert_clean(&[
        (
            "base.rs",
            "use std::net::{IpAddr, SocketAddr}; use std::time::{Duration, Instant};",
        ),
        (
            "proto.rs",
            "#[cfg(test)]\nmod tests { use std::fs; fn f() { x.unwrap(); } }",
        ),
        (
            "wire.rs",
            "// std::fs\nconst A: &str = \"std::thread\"; use rand::SeedableRng;",
        ),
        ("runtime.rs", "use std::fs; use tokio::net::UdpSocket;"),
        ("service/mod.rs", "#[cfg(test)]\nmod tests;"),
        ("service/tests.rs", "use std::fs; fn f() { x.unwrap(); }"),
    ]);
}

#[test]
fn missing_header_is_caught() {
    for text in ["", "// Not a header.\n", "//!\n", "use std::fmt;\n"] {
        let found = findings(vec![Source::new("src/lib.rs", text)]);
        assert_eq!(found.len(), 1, "{text:?} gives {found:?}");
        assert!(found[0].contains("says what it is"));
    }
}

#[test]
fn long_files_lines_and_functions_are_caught() {
    assert_found(&[("base.rs", &"// x\n".repeat(1_000))], "1001 lines");
    assert_clean(&[("base.rs", &"// x\n".repeat(999))]);
    assert_found(
        &[("base.rs", &format!("// {}\n", "ü".repeat(98)))],
        "100 columns",
    );
    assert_clean(&[("base.rs", &format!("// {}\n", "ü".repeat(97)))]);
    let function = |lines: usize| {
        format!(
            "fn f<T>(a: [u8; 2]) -> T {{\n{}}}\n",
            "a;\n".repeat(lines - 2)
        )
    };
    assert_found(&[("base.rs", &function(71))], "a function of 71 lines");
    assert_clean(&[("base.rs", &function(70))]);
    let marked = |reason: &str| format!("// Long function: {reason}\n#[test]\n{}", function(90));
    assert_found(&[("base.rs", &marked("no"))], "a function of 90 lines");
    assert_clean(&[("base.rs", &marked("a table that is read best as one."))]);
    // Braces in literals and comments do not count, nor do declarations and function types.
    let tricky = "trait A { fn a(); }\ntype B = fn(u8) -> u8;\nfn f() { '{'; \"{\"; r#\"{\"#; }\n";
    assert_clean(&[("base.rs", &format!("{tricky}{}", "// x\n".repeat(90)))]);
}

#[test]
fn leftovers_are_caught() {
    assert_found(
        &[("base.rs", concat!("// TO", "DO: later\n"))],
        concat!("TO", "DO"),
    );
    assert_found(
        &[("base.rs", concat!("// FIX", "ME\n"))],
        concat!("FIX", "ME"),
    );
    for call in ["dbg!(1)", "todo!()", "unimplemented!()"] {
        assert_found(&[("base.rs", &format!("fn f() {{ {call}; }}"))], &call[..4]);
    }
}

#[test]
fn unwrap_is_caught_outside_tests_only() {
    assert_found(&[("runtime.rs", "fn f() { a().unwrap(); }")], "unwrap()");
    assert_clean(&[("runtime.rs", "fn f() { a().unwrap_or(1); }")]);
    let test = Source::new("tests/a.rs", "//! Test.\nfn f() { a().unwrap(); }");
    assert!(findings(vec![test]).is_empty());
}

#[test]
fn dead_file_is_caught() {
    assert_found(
        &[
            ("base/mod.rs", "mod id;"),
            ("base/id.rs", ""),
            ("base/ix.rs", ""),
        ],
        "dead",
    );
    assert_found(
        &[("base/mod.rs", "// mod id;\n"), ("base/id.rs", "")],
        "dead",
    );
    assert_clean(&[
        ("base.rs", "mod id;"),
        ("base/id.rs", "mod a;"),
        ("base/id/a.rs", ""),
    ]);
    let target = || Source::new("tests/lan/main.rs", "//! Test.\nmod lab;\n");
    let lab = || Source::new("tests/lan/lab.rs", "//! Lab.\n");
    assert!(findings(vec![target(), lab()]).is_empty());
    assert_eq!(findings(vec![lab()]).len(), 1);
}
