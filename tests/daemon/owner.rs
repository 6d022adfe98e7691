//! The owner of a real board: the code on its console, the claim over TLS with curl, the file.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::namespace::alone;
use crate::process::{DEADLINE, Daemon, until};

/// Posts JSON as curl does, with a jar of cookies.
fn post(url: &str, jar: &str, body: &Value) -> Value {
    let mut child = Command::new("curl")
        .args(["--silent", "--insecure", "--max-time", "20", "--json", "@-"])
        .args(["--cookie", jar, "--cookie-jar", jar, url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl runs");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(body.to_string().as_bytes()).expect("read");
    drop(stdin);
    let output = child.wait_with_output().expect("it is our child");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// `roundel key owner-code` for that board.
fn owner_code(daemon: &Daemon, more: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_roundel"))
        .args(["key", "owner-code", "--port", &daemon.at.port().to_string()])
        .args(more)
        .output()
        .expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).expect("text")
}

/// The process waits for work: nothing runs that would take its processor.
fn cpu_ticks(daemon: &Daemon) -> u64 {
    let path = format!("/proc/{}/stat", daemon.process_id());
    let stat = fs::read_to_string(path).expect("it runs");
    let (_, rest) = stat.rsplit_once(')').expect("a name stands in brackets");
    let fields: Vec<_> = rest.split_whitespace().collect();
    let tick = |at: usize| -> u64 { fields[at].parse().expect("a number") };
    tick(11) + tick(12)
}

#[test]
fn code_of_the_console_claims_the_page_and_the_cookie_is_the_owners() {
    alone(|| {
        let data = tempfile::tempdir().expect("a directory");
        let mut daemon = Daemon::start(data.path(), &[]);
        daemon.logs("nobody owns this board yet");
        let code = owner_code(&daemon, &[]).trim().to_owned();
        assert!(daemon.log().contains(&code), "it is the one of the log");
        let object: Value = serde_json::from_str(&owner_code(&daemon, &["--json"])).expect("JSON");
        assert_eq!(object["code"], code.as_str());

        let jar = data.path().join("jar");
        let jar = jar.to_str().expect("a plain path");
        let url = |name: &str| format!("https://{}/presentation/{name}", daemon.at);
        let body = json!({"code": code, "password": "correct horse"});
        let claimed = post(&url("claim"), jar, &body);
        assert_eq!(
            (&claimed["owner"], &claimed["may"]),
            (&json!(true), &json!("admin"))
        );
        let cookies = fs::read_to_string(jar).expect("a jar");
        assert!(cookies.contains("#HttpOnly_127.0.0.1"), "{cookies}");
        let file = data.path().join("owner");
        let mode = fs::metadata(&file).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let out = post(&url("logout"), jar, &json!({}));
        assert_eq!(out["owner"], false);
        let wrong = post(&url("login"), jar, &json!({"password": "battery staple"}));
        let reason = wrong["error"]["data"]["reason"].as_str().expect("a reason");
        assert!(
            reason.starts_with("the password is wrong; try again"),
            "{reason}"
        );
        let log_in = post(&url("login"), jar, &json!({"password": "correct horse"}));
        assert_eq!(log_in["owner"], true);
        assert_ne!(
            owner_code(&daemon, &[]).trim(),
            code,
            "a new one, to set a new password"
        );
        assert!(
            !daemon.log().contains("correct horse"),
            "no secret is logged"
        );
        daemon.assert_well();
    });
}

#[test]
fn attempts_of_strangers_neither_take_the_processor_nor_memory() {
    alone(|| {
        let data = tempfile::tempdir().expect("a directory");
        let mut daemon = Daemon::start(data.path(), &[]);
        let jar = data.path().join("jar");
        let jar = jar.to_str().expect("a plain path");
        let url = |name: &str| format!("http://{}/presentation/{name}", daemon.at);
        let code = owner_code(&daemon, &[]);
        let body = json!({"code": code.trim(), "password": "correct horse"});
        assert_eq!(post(&url("claim"), jar, &body)["owner"], true);
        let before_bytes = daemon.rss_bytes();
        let wrong = json!({"password": "battery staple"});
        let mut tries = 0;
        until("attempts are used up", DEADLINE, || {
            tries += 1;
            let code = post(&url("login"), jar, &wrong)["error"]["data"]["reason"].to_string();
            match code.contains("too many attempts") {
                true => Ok(()),
                false => Err(code),
            }
        });
        assert!(tries <= 7, "{tries}");
        let before_ticks = cpu_ticks(&daemon);
        for _ in 0..50 {
            post(&url("login"), jar, &wrong);
        }
        let took = cpu_ticks(&daemon) - before_ticks;
        assert!(took <= 50, "50 refusals took {took} hundredths of a second");
        let grown_bytes = daemon.rss_bytes().saturating_sub(before_bytes);
        println!("{tries} attempts grew it by {grown_bytes} bytes, 50 refusals took {took} ticks");
        assert!(
            grown_bytes <= 4 * 1_024 * 1_024,
            "a hash's memory is given back"
        );
        daemon.assert_well();
    });
}
