//! A board with a key: what the command line proves itself with, and what proving costs.
//!
//! The figures are printed by an ignored test, which wants a release build and a quiet machine:
//! `cargo test --release --test daemon -- --ignored --nocapture access`.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use roundel::security::hex;
use roundel::security::key::ClusterKey;
use roundel::security::rnd1::Carriage;
use roundel::security::rnd1::client::{ClientSession, Sent};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client;
use crate::namespace::alone;
use crate::process::{DEADLINE, Daemon};

/// A directory with a key, and the configuration of a board that grants loopback only reads.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let place = Place { directory };
        fs::write(place.key_file(), key().to_text()).expect("it is ours");
        fs::write(place.config(), "loopback = \"read\"\n").expect("it is ours");
        place
    }

    fn key_file(&self) -> PathBuf {
        self.directory.path().join("cluster.key")
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("roundel.toml")
    }

    fn board(&self) -> Daemon {
        let text = |path: PathBuf| path.display().to_string();
        let (config, key) = (text(self.config()), text(self.key_file()));
        let data = self.directory.path().join("data");
        Daemon::start(&data, &["--config", &config, "--key-file", &key])
    }
}

fn key() -> ClusterKey {
    ClusterKey::new(3, [0x5a; 32])
}

fn roundel(args: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_roundel"))
        .args(args)
        .envs(environment.iter().copied())
        .output()
        .expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

fn file(path: &Path) -> &str {
    path.to_str().expect("the path is text")
}

#[test]
fn verbs_prove_themselves_with_a_key_or_a_token() {
    alone(|| {
        let place = Place::new();
        let mut board = place.board();
        let node = board.at.to_string();
        let put = |more: &[&str], environment: &[(&str, &str)]| {
            let args = [&["put", "lamp", "1", "--node", &node], more].concat();
            let output = roundel(&args, environment);
            (output.status.code(), text(&output.stderr))
        };
        let (code, said) = put(&[], &[]);
        assert!(code == Some(5) && said.contains("--key FILE"), "{said}");
        let status = text(&roundel(&["status", "--node", &node], &[]).stdout);
        assert!(status.contains("keyed: strangers may read"), "{status}");

        let key_file = place.key_file();
        assert_eq!(
            put(&["--key", file(&key_file)], &[]),
            (Some(0), String::new())
        );
        let named = [("ROUNDEL_KEY_FILE", file(&key_file))];
        assert_eq!(put(&[], &named), (Some(0), String::new()));
        let script = "put(., \"lamp\", 2); put a 1; remove a; get lamp";
        let shell = [
            "shell",
            "-c",
            script,
            "--node",
            &node,
            "--key",
            file(&key_file),
        ];
        let said = roundel(&shell, &[]);
        assert!(said.status.success(), "{}", text(&said.stderr));

        let token = |scope: &str| {
            let args = ["key", "token", "--scope", scope, "--key", file(&key_file)];
            text(&roundel(&args, &[]).stdout)
        };
        assert_eq!(
            put(&["--token", &token("write")], &[]),
            (Some(0), String::new())
        );
        let read = token("read");
        let (code, said) = put(&[], &[("ROUNDEL_TOKEN", &read)]);
        assert!(code == Some(5) && said.contains("has 'read'"), "{said}");
        let (code, said) = put(&["--token", &read, "--key", file(&key_file)], &[]);
        assert!(code == Some(2) && said.contains("keep one"), "{said}");
        let got = roundel(&["get", "lamp", "--node", &node, "--token", &read], &[]);
        assert_eq!(text(&got.stdout), "1");
        let far = roundel(
            &["get", "lamp", "--node", "192.0.2.1", "--token", &read],
            &[],
        );
        assert!(
            text(&far.stderr).contains("in the clear"),
            "{}",
            text(&far.stderr)
        );
        assert_eq!(board.logged(&token("read")[..40]), 0, "no token is logged");
        board.signal(nix::sys::signal::Signal::SIGTERM);
        board.wait_end();
    });
}

#[test]
fn a_key_of_another_cluster_is_refused_and_one_is_not_asked_for_where_there_is_none() {
    alone(|| {
        let place = Place::new();
        let other = place.directory.path().join("other.key");
        fs::write(&other, ClusterKey::new(3, [1; 32]).to_text()).expect("it is ours");
        let put = |board: &Daemon| {
            let node = board.at.to_string();
            let args = ["put", "lamp", "1", "--node", &node, "--key", file(&other)];
            let output = roundel(&args, &[]);
            (output.status.code(), text(&output.stderr))
        };
        let (code, said) = put(&place.board());
        assert!(
            code == Some(5) && said.contains("this cluster's key"),
            "{said}"
        );
        let keyless = Daemon::start(&place.directory.path().join("keyless"), &[]);
        let (code, said) = put(&keyless);
        assert!(code == Some(5) && said.contains("it has no key"), "{said}");
    });
}

#[test]
fn a_key_and_an_open_cluster_are_a_contradiction() {
    alone(|| {
        let place = Place::new();
        fs::write(place.config(), "open = true\n").expect("it is ours");
        let data = place.directory.path().join("data");
        let (config, key_file) = (place.config(), place.key_file());
        let more = ["--config", file(&config), "--key-file", file(&key_file)];
        let ended = crate::process::ends(crate::process::command(&data, &more));
        assert_eq!(ended.code, Some(1));
        assert!(
            ended.said.contains("open = true means no key"),
            "{}",
            ended.said
        );
    });
}

/// A datagram of a JSON-RPC call, with these header fields more.
fn datagram(at: SocketAddr, fields: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /rpc HTTP/1.1\r\nHost: {at}\r\nContent-Type: application/json\r\n{fields}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A session by the board's challenge.
fn session(at: SocketAddr) -> ClientSession {
    let said: Value = client::get(at, "/rnd1").json();
    let member = |name: &str| said[name].as_str().expect("a challenge has it");
    let (board, nonce) = (hex::decode(member("to")), hex::decode(member("nonce")));
    ClientSession::new(
        &key(),
        board.expect("an id"),
        said["boot"].as_u64().expect("a count"),
        nonce.expect("16 bytes"),
        [1; 16],
    )
}

fn signed(at: SocketAddr, session: &mut ClientSession, body: &str) -> Vec<u8> {
    let host = at.to_string();
    let sent = Sent {
        carriage: Carriage::Httpu,
        method: "POST",
        target: "/rpc",
        host: &host,
        content_type: "application/json",
    };
    let shown = session.sign(&sent, body.as_bytes());
    datagram(at, &format!("Authorization: {shown}\r\n"), body)
}

/// What a number of datagrams took.
struct Cost {
    wall: Duration,
    cpu: Duration,
    count: usize,
}

impl Cost {
    fn per_second(&self) -> f64 {
        self.count as f64 / self.wall.as_secs_f64()
    }

    fn per_cpu_second(&self) -> f64 {
        self.count as f64 / self.cpu.as_secs_f64()
    }
}

/// Sends all, with so many under way that none is lost, and takes an answer of that status to each.
fn pump(board: &Daemon, datagrams: &[Vec<u8>], status: &str) -> Cost {
    const UNDER_WAY_MAX: usize = 48;
    let socket = UdpSocket::bind("127.0.0.1:0").expect("lo is up");
    socket.connect(board.at).expect("lo is up");
    socket.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    let expected = format!("HTTP/1.1 {status} ");
    let (cpu, start) = (board.cpu(), Instant::now());
    let mut buffer = [0; 2_048];
    let mut answer = || {
        let length = socket.recv(&mut buffer).expect("each is answered");
        let text = &buffer[..length];
        assert!(
            text.starts_with(expected.as_bytes()),
            "{}",
            text.escape_ascii()
        );
    };
    for (number, datagram) in datagrams.iter().enumerate() {
        socket.send(datagram).expect("lo is up");
        if number >= UNDER_WAY_MAX {
            answer();
        }
    }
    for _ in 0..UNDER_WAY_MAX.min(datagrams.len()) {
        answer();
    }
    Cost {
        wall: start.elapsed(),
        cpu: board.cpu() - cpu,
        count: datagrams.len(),
    }
}

#[test]
#[ignore = "figures: wants a release build and a quiet machine"]
fn proving_costs_little_and_refusing_less() {
    const CALLS: usize = 60_000;
    alone(|| {
        let place = Place::new();
        let board = place.board();
        let mut client = session(board.at);
        let stored = signed(
            board.at,
            &mut client,
            &json!({"jsonrpc": "2.0", "id": 0, "method": "put",
                "params": {"key": "lamp", "value": {"on": true}}})
            .to_string(),
        );
        pump(&board, &[stored], "200");
        let body = |number: usize| {
            format!(r#"{{"jsonrpc":"2.0","id":{number},"method":"get","params":{{"key":"lamp"}}}}"#)
        };
        let plain: Vec<_> = (0..CALLS)
            .map(|n| datagram(board.at, "", &body(n)))
            .collect();
        let proved: Vec<_> = (0..CALLS)
            .map(|n| signed(board.at, &mut client, &body(n)))
            .collect();
        let mut stranger = ClientSession::new(&key(), [0; 32], 1, [9; 16], [9; 16]);
        let unknown: Vec<_> = (0..CALLS)
            .map(|n| signed(board.at, &mut stranger, &body(n)))
            .collect();
        let forged: Vec<_> = proved
            .iter()
            .map(|it| {
                let text = String::from_utf8_lossy(it);
                text.replace("lamp", "limp").into_bytes()
            })
            .collect();
        let put = |n: usize| body(n).replace("\"get\"", "\"put\"");
        let forbidden: Vec<_> = (0..CALLS)
            .map(|n| datagram(board.at, "", &put(n)))
            .collect();
        let mut figures = Vec::new();
        for (name, datagrams, status) in [
            ("calls without a MAC (warm-up)", &plain, "200"),
            ("calls without a MAC", &plain, "200"),
            ("calls with a MAC", &proved, "200"),
            ("refused: replayed", &proved, "401"),
            ("refused: forged", &forged, "401"),
            ("refused: unknown session", &unknown, "401"),
            ("refused: no credentials", &forbidden, "401"),
        ] {
            let cost = pump(&board, datagrams, status);
            println!(
                "{name}: {:.0}/s, {:.0} a CPU second ({:.1} µs)",
                cost.per_second(),
                cost.per_cpu_second(),
                1e6 / cost.per_cpu_second()
            );
            figures.push(cost);
        }
        let ratio = figures[2].per_cpu_second() / figures[1].per_cpu_second();
        println!("a call with a MAC has {ratio:.2} of the rate of one without");
        assert!(ratio >= 0.8, "{ratio}");
        assert!(figures[2].per_cpu_second() >= 20_000.0);
        for refused in &figures[3..] {
            assert!(refused.per_cpu_second() >= 40_000.0);
        }
    });
}
