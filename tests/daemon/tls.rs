//! TLS on the board's port, as foreign clients see it: openssl, curl, and the product's own pin.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roundel::base::id::Id;
use serde_json::Value;

use crate::client::{connect, read_to_end};
use crate::namespace::alone;
use crate::process::{DEADLINE, Daemon, until};

/// Runs a program with that on its standard input.
fn output(program: &str, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} runs: {error}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    // It may end before it has read anything.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("it is our child")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// openssl's client, and what it says.
fn s_client(at: SocketAddr, more: &[&str]) -> Output {
    let at = at.to_string();
    let arguments = [&["s_client", "-connect", &at], more].concat();
    output("openssl", &arguments, b"")
}

/// What curl got: its exit code, and the body.
fn curl(at: SocketAddr, path: &str, more: &[&str]) -> (Option<i32>, String) {
    let url = format!("https://{at}{path}");
    let arguments = [&["--silent", "--insecure", "--max-time", "10", &url], more].concat();
    let got = output("curl", &arguments, b"");
    (got.status.code(), text(&got.stdout))
}

fn pin(id: &Id) -> String {
    format!("sha256//{}", STANDARD.encode(id.as_bytes()))
}

/// The PEM of the certificate that the board shows.
fn certificate(at: SocketAddr) -> Vec<u8> {
    let shown = s_client(at, &[]);
    output("openssl", &["x509"], &shown.stdout).stdout
}

#[test]
fn foreign_clients_speak_tls_1_3_with_the_key_that_is_the_boards_id() {
    alone(|| {
        let data = tempfile::tempdir().expect("a directory");
        let mut daemon = Daemon::start(data.path(), &[]);
        let (at, id) = (daemon.at, daemon.id);
        let shown = text(&s_client(at, &["-tls1_3", "-alpn", "h2,http/1.1"]).stdout);
        assert!(shown.contains("New, TLSv1.3"), "{shown}");
        assert!(shown.contains("ALPN protocol: http/1.1"), "{shown}");
        // A client without AES names ChaCha20 first, or alone.
        let (chacha, aes) = ("TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256");
        for offered in [format!("{chacha}:{aes}"), chacha.to_owned()] {
            let shown = text(&s_client(at, &["-ciphersuites", &offered]).stdout);
            assert!(shown.contains(&format!("Cipher is {chacha}")), "{shown}");
        }
        for old in ["-tls1_2", "-tls1_1"] {
            let refused = s_client(at, &[old]);
            assert!(!refused.status.success(), "{old} is refused");
            let shown = text(&refused.stdout);
            assert!(shown.contains("no peer certificate available"), "{shown}");
        }
        let pem = certificate(at);
        let key = output("openssl", &["x509", "-noout", "-pubkey"], &pem).stdout;
        let der = output("openssl", &["pkey", "-pubin", "-outform", "der"], &key).stdout;
        assert_eq!(Id::of(&der), id, "the key's hash is the board's id");
        let path = data.path().join("shown.pem");
        std::fs::write(&path, &pem).expect("the directory is ours");
        let path = path.to_str().expect("a plain path");
        let verify = ["verify", "-partial_chain", "-trusted", path];
        for more in [
            &["-verify_ip", "127.0.0.1"][..],
            &["-verify_hostname", "board.local"],
            &["-purpose", "sslserver"],
        ] {
            let verified = output("openssl", &[&verify, more, &[path]].concat(), b"");
            assert!(verified.status.success(), "{}", text(&verified.stderr));
        }
        daemon.assert_well();
    });
}

#[test]
fn certificate_is_the_same_after_a_restart() {
    alone(|| {
        let data = tempfile::tempdir().expect("a directory");
        let daemon = Daemon::start(data.path(), &[]);
        let before = certificate(daemon.at);
        drop(daemon);
        let daemon = Daemon::start(data.path(), &[]);
        assert!(before.starts_with(b"-----BEGIN CERTIFICATE"));
        assert_eq!(text(&certificate(daemon.at)), text(&before));
    });
}

#[test]
fn curl_with_the_pinned_key_is_served_and_with_another_sends_nothing() {
    alone(|| {
        let data = tempfile::tempdir().expect("a directory");
        let mut daemon = Daemon::start(data.path(), &[]);
        let at = daemon.at;
        let (code, body) = curl(at, "/healthz", &["--pinnedpubkey", &pin(&daemon.id)]);
        assert_eq!(code, Some(0), "{body}");
        let health: Value = serde_json::from_str(&body).expect("JSON");
        assert!(health.is_object(), "{health}");
        let other = pin(&Id::of(b"another"));
        // 90: the pinned public key does not match.
        let (code, body) = curl(at, "/healthz", &["--pinnedpubkey", &other]);
        assert_eq!((code, body.as_str()), (Some(90), ""));

        let call = [
            "--header",
            "Content-Type: application/json",
            "--data",
            r#"{"jsonrpc":"2.0","id":1,"method":"get_node_state"}"#,
            "--header",
        ];
        let origin = |scheme: &str| format!("Origin: {scheme}://{at}");
        let (_, same) = curl(at, "/rpc", &[&call[..], &[&origin("https")]].concat());
        assert!(same.contains(&daemon.id.to_string()), "{same}");
        let (_, other) = curl(at, "/rpc", &[&call[..], &[&origin("http")]].concat());
        assert!(other.contains("pages of other sites"), "{other}");
        daemon.assert_well();
    });
}

#[test]
fn verbs_speak_tls_with_the_pinned_board_alone() {
    alone(|| {
        let data = tempfile::tempdir().expect("a directory");
        let mut daemon = Daemon::start(data.path(), &[]);
        let node = daemon.at.to_string();
        let verb = |arguments: &[&str]| {
            let all = [arguments, &["--node", &node]].concat();
            output(env!("CARGO_BIN_EXE_roundel"), &all, b"")
        };
        let id = daemon.id.to_string();
        let put = verb(&["put", "greeting", "\"hello\"", "--tls", &id]);
        assert!(put.status.success(), "{}", text(&put.stderr));
        let got = verb(&["get", "greeting", "--tls", &pin(&daemon.id)]);
        assert_eq!(text(&got.stdout).trim(), "\"hello\"");
        let status = text(&verb(&["status", "--tls", &id]).stdout);
        assert!(status.contains(&id), "{status}");
        let told = text(&verb(&["key", "show"]).stdout);
        assert!(told.contains(&format!("--tls {id}")), "{told}");
        assert!(told.contains(&pin(&daemon.id)), "{told}");

        let unpinned = verb(&["remove", "greeting", "--tls"]);
        let said = text(&unpinned.stderr);
        assert_eq!(unpinned.status.code(), Some(5), "{said}");
        assert!(said.contains(&format!("--tls {id}")), "{said}");
        let other = verb(&["remove", "greeting", "--tls", &"ab".repeat(32)]);
        let said = text(&other.stderr);
        assert_eq!(other.status.code(), Some(5), "{said}");
        assert!(said.contains("not the one that --tls names"), "{said}");
        let got = verb(&["get", "greeting"]);
        assert_eq!(text(&got.stdout).trim(), "\"hello\"", "nothing was removed");
        daemon.assert_well();
    });
}

#[test]
fn slow_handshakes_are_cut_and_others_are_served_meanwhile() {
    alone(|| {
        let data = tempfile::tempdir().expect("a directory");
        let mut daemon = Daemon::start(data.path(), &[]);
        let before_bytes = daemon.rss_bytes();
        let start = Instant::now();
        let mut slow: Vec<_> = (0..200)
            .map(|_| {
                let mut stream = connect(daemon.at);
                // The start of a ClientHello of 196 bytes.
                let begun = b"\x16\x03\x01\x00\xc4\x01\x00\x00\xc0\x03\x03";
                stream.write_all(begun).expect("it is read");
                stream
            })
            .collect();
        let (code, _) = curl(daemon.at, "/healthz", &[]);
        assert_eq!(code, Some(0));
        assert!(start.elapsed() < Duration::from_secs(4), "while they wait");
        daemon.assert_small(before_bytes);
        for stream in &mut slow {
            assert_eq!(read_to_end(stream), b"");
        }
        let took = start.elapsed();
        assert!(
            took > Duration::from_secs(4) && took < Duration::from_secs(8),
            "{took:?}"
        );
        until("each is logged", DEADLINE, || {
            let logged = daemon.logged("a TLS client was too slow");
            (logged == slow.len())
                .then_some(())
                .ok_or_else(|| logged.to_string())
        });
        daemon.assert_well();
    });
}
