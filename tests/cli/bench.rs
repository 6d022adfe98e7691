//! `roundel bench` against a server that answers as a board would: what it stores it removes, what
//! fails is reported, and Ctrl-C ends it in order.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::{Fake, roundel};

/// A board that takes everything.
fn willing() -> Fake {
    Fake::new(|_, _| r#""result":{"key":"k","value":"v","acks":2}"#.to_owned())
}

/// Keys that calls of this method named.
fn keys(fake: &Fake, method: &str) -> BTreeSet<String> {
    let calls = fake.requests().into_iter().filter_map(|request| {
        let request: Value = serde_json::from_str(&request).ok()?;
        let key = request["params"]["key"].as_str()?.to_owned();
        (request["method"] == method).then_some(key)
    });
    calls.collect()
}

#[test]
fn bench_reports_puts_and_gets_and_removes_what_it_stored() {
    let fake = willing();
    let output = fake.run(&[
        "bench",
        "--seconds",
        "1",
        "--clients",
        "3",
        "--keys",
        "20",
        "--json",
    ]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a JSON object");
    for operation in ["put", "get"] {
        let facts = &report[operation];
        assert!(facts["count"].as_u64() > Some(0), "{report}");
        assert!(facts["p50_ms"].as_f64() <= facts["max_ms"].as_f64());
    }
    assert_eq!((&report["failed"], &report["left"]), (&0.into(), &0.into()));
    let put = keys(&fake, "put");
    assert_eq!(put.len(), 20);
    assert!(put.iter().all(|key| key.starts_with("bench/")));
    assert_eq!(put, keys(&fake, "remove"));
    assert!(keys(&fake, "get").is_subset(&put));
}

#[test]
fn bench_at_a_rate_sends_no_more_than_that() {
    let fake = willing();
    let output = fake.run(&[
        "bench",
        "--seconds",
        "1",
        "--rate",
        "20",
        "--operation",
        "put",
        "--json",
    ]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a JSON object");
    let sent = report["put"]["count"].as_u64().expect("a count");
    assert!((1..=20).contains(&sent), "{report}");
    assert!(report.get("get").is_none());
}

#[test]
fn bench_whose_requests_fail_reports_and_ends_with_their_code() {
    let fake = Fake::new(|method, _| match method {
        "put" => r#""error":{"code":-32003,"message":"Unavailable","data":"too few"}"#.to_owned(),
        _ => r#""result":{}"#.to_owned(),
    });
    let output = fake.run(&["bench", "--seconds", "1", "--operation", "put"]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("requests failed"), "{printed}");
    // What failed may have been done all the same.
    assert_eq!(keys(&fake, "put"), keys(&fake, "remove"));
}

#[test]
fn bench_without_a_board_is_unavailable_and_a_bad_number_is_usage() {
    let none = roundel(&["bench", "--node", "127.0.0.1:1"], b"");
    assert_eq!(none.status.code(), Some(4), "{none:?}");
    for wrong in [["--clients", "0"], ["--rate", "0"], ["--operation", "sing"]] {
        let output = roundel(&[&["bench"], &wrong[..]].concat(), b"");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
}

#[test]
fn bench_ends_in_order_on_an_interrupt() {
    let fake = willing();
    let address = fake.address.to_string();
    let child = Command::new(env!("CARGO_BIN_EXE_roundel"))
        .args(["bench", "--seconds", "600", "--keys", "10", "--node"])
        .args([&address, "--json", "--operation", "put"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let start = Instant::now();
    while keys(&fake, "put").is_empty() {
        assert!(start.elapsed() < Duration::from_secs(20), "it puts nothing");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let pid = Pid::from_raw(child.id().cast_signed());
    kill(pid, Signal::SIGINT).expect("it is our child");
    let output = child.wait_with_output().expect("it is our child");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a JSON object");
    assert_eq!(report["interrupted"], true);
    assert_eq!(report["left"], 0);
    assert_eq!(keys(&fake, "put"), keys(&fake, "remove"));
}
