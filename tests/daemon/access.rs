//! A board with a key: what the command line proves itself with, and what proving costs.
//!
//! The figures are printed by an ignored test, which wants a release build and a quiet machine:
//! `cargo test --release --test daemon -- --ignored --nocapture access`.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use roundel::security::hex;
use roundel::security::key::ClusterKey;
use roundel::security::rnd1::Carriage;
use roundel::security::rnd1::client::{ClientSession, Sent};
use serde_json::Value;
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
            // From the board's own keyring, as its owner would on the board.
            let data = place.directory.path().join("data");
            let args = ["key", "token", "--scope", scope, "--data", file(&data)];
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

/// What a board answers to every method, in its documents, through the verbs, and in its log.
fn everything_said(board: &Daemon) -> Vec<u8> {
    let mut said = Vec::new();
    let node = board.at.to_string();
    let mut asked = 0;
    for method in roundel::service::method::Table::standard().methods() {
        // These end the board, or the key that is looked for.
        if ["leave_ring", "rotate_key"].contains(&method.name) {
            continue;
        }
        for params in [serde_json::json!({}), serde_json::json!(["a"])] {
            let call = serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": method.name,
                    "params": params});
            said.extend(
                client::post(board.at, call.to_string().as_bytes())
                    .body
                    .into_bytes(),
            );
            asked += 1;
        }
    }
    let paths = [
        "/",
        "/ui",
        "/description.xml",
        "/metrics",
        "/healthz",
        "/readyz",
        "/rnd1",
    ];
    for path in paths {
        said.extend(client::get(board.at, path).body.into_bytes());
    }
    for verb in [
        &["status"][..],
        &["key", "show"],
        &["nodes"],
        &["log"],
        &["doctor"],
    ] {
        let output = roundel(&[verb, &["--node", &node]].concat(), &[]);
        said.extend(output.stdout);
    }
    said.extend(board.log().into_bytes());
    assert!(asked > 40 && said.len() > 10_000, "{asked}, {}", said.len());
    said
}

#[test]
fn no_method_and_no_document_tells_a_secret() {
    alone(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let key_file = directory.path().join("cluster.key");
        fs::write(&key_file, key().to_text()).expect("it is ours");
        let data = directory.path().join("data");
        let mut board = Daemon::start(&data, &["--key-file", file(&key_file)]);
        let told = roundel(
            &["key", "token", "--scope", "admin", "--data", file(&data)],
            &[],
        );
        let token = text(&told.stdout);
        let identity = fs::read(data.join("identity.pk8")).expect("the board made it");
        // Where PKCS#8 of this curve has the secret key.
        let secrets: Vec<(&str, Vec<u8>)> = vec![
            ("the cluster's key", key().secret().to_vec()),
            ("the secret key", identity[36..68].to_vec()),
            ("a token", token.into_bytes()),
        ];
        let said = everything_said(&board);
        let whole = String::from_utf8_lossy(&said).to_lowercase();
        assert!(whole.contains(&key().kid().to_string()), "its name is told");
        for (name, secret) in secrets {
            let raw = said.windows(secret.len()).any(|part| part == secret);
            assert!(!raw, "{name} is told");
            assert!(
                !whole.contains(&hex::encode(&secret)),
                "{name} is told in hex"
            );
            for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                let packed = engine.encode(&secret).to_lowercase();
                assert!(!whole.contains(&packed), "{name} is told in base64");
            }
        }
        board.assert_well();
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
        fs::write(place.config(), "open = true\n").expect("it is ours");
        let (data, config) = (place.directory.path().join("open"), place.config());
        let keyless = Daemon::start(&data, &["--config", file(&config)]);
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
#[derive(Default)]
struct Cost {
    wall: Duration,
    cpu: Duration,
    count: usize,
}

impl Cost {
    fn per_second(&self) -> f64 {
        self.count as f64 / self.wall.as_secs_f64()
    }

    fn print(&self, name: &str) {
        println!(
            "{name}: {:.0}/s, {:.0} a CPU second ({:.1} µs)",
            self.per_second(),
            self.per_cpu_second(),
            1e6 / self.per_cpu_second()
        );
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

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, more: Cost) {
        self.wall += more.wall;
        self.cpu += more.cpu;
        self.count += more.count;
    }
}

/// Calls of one number each, as their senders would make them.
struct Calls {
    plain: Vec<Vec<u8>>,
    proved: Vec<Vec<u8>>,
    /// Under a session that the board does not know.
    unknown: Vec<Vec<u8>>,
    /// With another body than was signed.
    forged: Vec<Vec<u8>>,
    /// Writes without credentials.
    forbidden: Vec<Vec<u8>>,
}

impl Calls {
    fn new(at: SocketAddr, client: &mut ClientSession, count: usize) -> Self {
        let body = |number: usize| {
            format!(r#"{{"jsonrpc":"2.0","id":{number},"method":"get","params":{{"key":"lamp"}}}}"#)
        };
        let put = |number: usize| body(number).replace("\"get\"", "\"put\"");
        let mut stranger = ClientSession::new(&key(), [0; 32], 1, [9; 16], [9; 16]);
        let proved: Vec<_> = (0..count).map(|n| signed(at, client, &body(n))).collect();
        let forge = |it: &Vec<u8>| {
            let text = String::from_utf8_lossy(it);
            text.replace("lamp", "limp").into_bytes()
        };
        Calls {
            plain: (0..count).map(|n| datagram(at, "", &body(n))).collect(),
            forged: proved.iter().map(forge).collect(),
            proved,
            unknown: (0..count)
                .map(|n| signed(at, &mut stranger, &body(n)))
                .collect(),
            forbidden: (0..count).map(|n| datagram(at, "", &put(n))).collect(),
        }
    }
}

#[test]
#[ignore = "figures: wants a release build and a quiet machine"]
fn proving_costs_little_and_refusing_less() {
    const CALLS: usize = 96_000;
    // By turns, so that what else the machine does weighs on both alike.
    const TURN: usize = CALLS / 16;
    alone(|| {
        let place = Place::new();
        let board = place.board();
        let mut client = session(board.at);
        let lamp = r#"{"jsonrpc":"2.0","id":0,"method":"put","params":{"key":"lamp","value":1}}"#;
        pump(&board, &[signed(board.at, &mut client, lamp)], "200");
        let calls = Calls::new(board.at, &mut client, CALLS);
        pump(&board, &calls.plain[..TURN], "200");
        let (mut plain, mut proved) = (Cost::default(), Cost::default());
        for (without, with) in calls.plain.chunks(TURN).zip(calls.proved.chunks(TURN)) {
            plain += pump(&board, without, "200");
            proved += pump(&board, with, "200");
        }
        let ratio = proved.per_cpu_second() / plain.per_cpu_second();
        plain.print("calls without a MAC");
        proved.print("calls with a MAC");
        println!("a call with a MAC has {ratio:.2} of the rate of one without");
        for (name, datagrams) in [
            ("replayed", &calls.proved),
            ("forged", &calls.forged),
            ("of an unknown session", &calls.unknown),
            ("without credentials", &calls.forbidden),
        ] {
            let refused = pump(&board, datagrams, "401");
            refused.print(&format!("refused: {name}"));
            assert!(refused.per_cpu_second() >= 40_000.0, "{name}");
        }
        assert!(ratio >= 0.8, "{ratio}");
        assert!(proved.per_cpu_second() >= 20_000.0);
    });
}
