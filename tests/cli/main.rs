//! The program as a person or a script uses it: verbs, exit codes, bytes in and out.
//!
//! Every verb is run as a process against a small HTTP server of this file that answers as a
//! board would. Nothing here searches the network: each run names its board with `--node`.

mod bench;
mod shell;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

const VERBS: &[&str] = &[
    "key",
    "run",
    "demo",
    "put",
    "get",
    "remove",
    "list",
    "scan",
    "status",
    "ring",
    "nodes",
    "top",
    "call",
    "shell",
    "search",
    "join",
    "leave",
    "bench",
    "doctor",
    "export",
    "import",
    "completions",
    "man",
];

/// A server that answers JSON-RPC requests with what a function of (method, params) says.
struct Fake {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

type Answer = Box<dyn Fn(&str, &Value) -> String + Send + Sync>;

impl Fake {
    /// Answers with the `result` or `error` member the function gives, as text.
    fn new(answer: impl Fn(&str, &Value) -> String + Send + Sync + 'static) -> Self {
        Fake::with_headers("", answer)
    }

    fn with_headers(
        headers: &'static str,
        answer: impl Fn(&str, &Value) -> String + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let answer: Arc<Answer> = Arc::new(Box::new(answer));
        let seen = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, seen) = (answer.clone(), seen.clone());
                std::thread::spawn(move || serve(stream, headers, &answer, &seen));
            }
        });
        Fake { address, requests }
    }

    /// Runs a verb against this server.
    fn run(&self, args: &[&str]) -> Output {
        self.run_with(args, b"")
    }

    fn run_with(&self, args: &[&str], input: &[u8]) -> Output {
        let address = self.address.to_string();
        let args: Vec<&str> = args.iter().copied().chain(["--node", &address]).collect();
        roundel(&args, input)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, headers: &str, answer: &Answer, seen: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut length = 0;
        let mut first = true;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if std::mem::take(&mut first) {
                assert_eq!(line, "POST /rpc HTTP/1.1\r\n");
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let request: Value = serde_json::from_slice(&body).unwrap();
        seen.lock().unwrap().push(String::from_utf8(body).unwrap());
        let mut status = "200 OK";
        let mut answered = |request: &Value| {
            let member = answer(request["method"].as_str().unwrap(), &request["params"]);
            if member.starts_with("\"error\"") {
                status = "503 X";
            }
            format!("{{\"jsonrpc\":\"2.0\",\"id\":{},{member}}}", request["id"])
        };
        let body = match request.as_array() {
            Some(batch) => {
                let answers: Vec<String> = batch.iter().map(&mut answered).collect();
                status = "200 OK";
                format!("[{}]", answers.join(","))
            }
            None => answered(&request),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n",
            body.len()
        );
        // A client that has gone ends the loop at the next read.
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(body.as_bytes());
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roundel"));
    command
        .args(args)
        .env_remove("ROUNDEL_NODE")
        .env_remove("RUST_LOG")
        .env_remove("COLUMNS")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn roundel(args: &[&str], input: &[u8]) -> Output {
    let mut child = command(args).spawn().unwrap();
    // A verb that does not read its input may have closed it.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn error(code: i64, data: Value) -> String {
    format!(
        "\"error\":{}",
        json!({"code": code, "message": "Said", "data": data})
    )
}

fn result(value: Value) -> String {
    format!("\"result\":{value}")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[test]
fn every_verb_explains_itself() {
    let all = text(&roundel(&["--help"], b"").stdout);
    for verb in VERBS {
        let output = roundel(&[verb, "--help"], b"");
        let help = text(&output.stdout);
        assert_eq!(code(&output), 0, "{verb}");
        assert!(help.contains(&format!("Usage: roundel {verb}")), "{help}");
        assert!(
            help.lines().all(|line| line.chars().count() <= 110),
            "{help}"
        );
        assert!(all.contains(&format!("  {verb} ")), "{all}");
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    for args in [
        &["fly"][..],
        &["put", "k"],
        &["get", "k", "--node", "a b"],
        &["call", "echo", "{nope", "--node", "127.0.0.1:9"],
        &["call", "echo", "5", "--node", "127.0.0.1:9"],
        &["put", "k", "nope", "--json-value", "--node", "127.0.0.1:9"],
        &["demo", "--nodes", "2"],
        &["run", "--port", "1900", "--data", "/nonexistent"],
        &["run", "--name", "two words"],
        &["top", "--node", "127.0.0.1:9"],
        &["top", "--interval", "0", "--json", "--node", "127.0.0.1:9"],
        &["shell", "-c", "echo(", "--node", "127.0.0.1:9"],
        &["shell", "-c", "fly", "--node", "127.0.0.1:9"],
    ] {
        let output = roundel(args, b"");
        assert_eq!(code(&output), 2, "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn a_bad_configuration_names_line_and_nearest_setting() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "# a board\nclutser = \"home\"\n").unwrap();
    let path = file.path().to_str().unwrap();
    let output = roundel(&["run", "--config", path, "--data", "/nonexistent"], b"");
    let said = text(&output.stderr);
    assert_eq!(code(&output), 2);
    assert!(
        said.contains("line 2: 'clutser'") && said.contains("'cluster'"),
        "{said}"
    );
    assert!(said.contains("next: "), "{said}");
}

#[test]
fn errors_of_boards_become_exit_codes_with_a_next_step() {
    for (answer, exit) in [
        (-32_004, 3),
        (-32_003, 4),
        (-32_002, 5),
        (-32_601, 1),
        (-32_005, 1),
    ] {
        let fake = Fake::new(move |_, _| error(answer, json!({"reason": "Because."})));
        let output = fake.run(&["get", "k"]);
        let said = text(&output.stderr);
        assert_eq!(code(&output), exit, "{answer}");
        assert!(
            said.contains("Because (Said)") && said.contains("next: "),
            "{said}"
        );
        let output = fake.run(&["get", "k", "--json"]);
        let said: Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(said["error"]["exit"], exit);
        assert_eq!(said["error"]["answer"]["code"], answer);
    }
}

#[test]
fn nobody_at_the_address_is_unavailable() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let output = roundel(&["status", "--node", &free.to_string()], b"");
    assert_eq!(code(&output), 4);
    assert!(text(&output.stderr).contains("roundel run"));
}

#[test]
fn something_that_is_no_board_is_named_as_such() {
    let fake = Fake::new(|_, _| "\"hello\":\"world\"".to_owned());
    // Neither a result nor an error, and a shape that no verb expects.
    let output = fake.run(&["scan"]);
    assert_eq!(code(&output), 1);
    assert!(
        text(&output.stderr).contains("not a board"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn json_values_are_sent_as_they_were_written() {
    let fake = Fake::new(|_, _| {
        result(
            json!({"key": "k", "node": "ab".repeat(32), "version": "v", "acks": 2,
            "hinted": 0, "degraded": false}),
        )
    });
    for (args, sent) in [
        (
            &["put", "k", "{\"b\": 1.0,  \"a\":2}"][..],
            "\"value\":{\"b\": 1.0,  \"a\":2}",
        ),
        (&["put", "k", "-5"], "\"value\":-5"),
        (&["put", "k", "good morning"], "\"value\":\"good morning\""),
        (&["put", "--string", "k", "42"], "\"value\":\"42\""),
        (
            &["put", "--consistency", "all", "k", "1"],
            "\"consistency\":\"all\"",
        ),
    ] {
        let output = fake.run(args);
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
        let request = fake.requests().pop().unwrap();
        assert!(request.contains(sent), "{request}");
        assert!(!request.contains("value_base64"), "{request}");
        assert_eq!(
            text(&output.stdout),
            "stored k on 2 boards (owner abababab)\n"
        );
    }
}

#[test]
fn bytes_from_files_and_pipes_arrive_as_the_same_bytes() {
    let fake =
        Fake::new(|_, _| result(json!({"key": "k", "node": "n", "version": "v", "acks": 1})));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), [0, 255, 10]).unwrap();
    let at = format!("@{}", file.path().display());
    assert_eq!(code(&fake.run(&["put", "k", &at])), 0);
    assert_eq!(code(&fake.run_with(&["put", "k", "-"], &[0, 255, 10])), 0);
    assert_eq!(
        code(&fake.run_with(&["put", "--json-value", "k", "-"], b"[1, 2]\n")),
        0
    );
    let requests = fake.requests();
    assert!(
        requests[0].contains("\"value_base64\":\"AP8K\""),
        "{}",
        requests[0]
    );
    assert!(
        requests[1].contains("\"value_base64\":\"AP8K\""),
        "{}",
        requests[1]
    );
    assert!(requests[2].contains("\"value\":[1, 2]"), "{}", requests[2]);
}

#[test]
fn raw_values_come_out_as_the_same_bytes() {
    use base64::Engine;
    let all: Vec<u8> = (0..=255).collect();
    let encoded = base64::prelude::BASE64_STANDARD.encode(&all);
    let fake = Fake::new(move |_, params| match params["key"].as_str().unwrap() {
        "bytes" => result(json!({"key": "bytes", "value_base64": encoded})),
        "text" => result(json!({"key": "text", "value": "a\nb"})),
        "null" => result(json!({"key": "null", "value": null})),
        _ => "\"result\":{\"key\":\"k\",\"value\":{\"b\": 1.0,  \"a\":2}}".to_owned(),
    });
    let out = |args: &[&str]| {
        let output = fake.run(args);
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
        output.stdout
    };
    assert_eq!(out(&["get", "--raw", "bytes"]), all);
    assert_eq!(out(&["get", "bytes"]), all);
    assert_eq!(out(&["get", "--raw", "text"]), b"a\nb");
    assert_eq!(out(&["get", "text"]), b"\"a\\nb\"\n");
    assert_eq!(out(&["get", "null"]), b"null\n");
    assert_eq!(out(&["get", "any"]), b"{\"b\": 1.0,  \"a\":2}\n");
}

#[test]
fn removing_what_is_not_there_is_not_found() {
    let fake =
        Fake::new(|_, params| result(json!({"key": "k", "removed": params["key"] == "there"})));
    let output = fake.run(&["remove", "there"]);
    assert_eq!(
        (code(&output), text(&output.stdout)),
        (0, "removed there\n".to_owned())
    );
    assert_eq!(code(&fake.run(&["remove", "gone"])), 3);
}

/// A bucket of `count` items in pages of 100.
fn bucket(count: usize, degraded: bool) -> Fake {
    Fake::new(move |method, params| {
        assert!(["scan_items", "list_items"].contains(&method), "{method}");
        let after = params["after"]
            .as_str()
            .map_or(0, |key| key[1..].parse().unwrap());
        let limit = params["limit"].as_u64().unwrap() as usize;
        let end = count.min(after + limit.min(100));
        let items: Vec<Value> = (after..end)
            .map(|n| json!({"key": format!("k{:05}", n + 1), "value": "x".repeat(1_000)}))
            .collect();
        let next = (end < count).then(|| format!("k{end:05}"));
        result(json!({"items": items, "next": next, "degraded": degraded}))
    })
}

#[test]
fn pages_are_followed_to_the_end_or_the_limit() {
    let fake = bucket(250, false);
    let lines = |args: &[&str]| {
        let output = fake.run(args);
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
        text(&output.stdout)
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(lines(&["scan"]).len(), 250);
    let limited = lines(&["list", "--limit", "120", "--prefix", "k", "--json"]);
    assert_eq!(limited.len(), 120);
    let last: Value = serde_json::from_str(&limited[119]).unwrap();
    assert_eq!(last["key"], "k00120");
    assert!(fake.requests().pop().unwrap().contains("\"prefix\":\"k\""));
}

#[test]
fn an_export_is_whole_or_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("all.jsonl");
    let file = path.to_str().unwrap();
    assert_eq!(code(&bucket(250, false).run(&["export", file])), 0);
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 250);
    let output = bucket(5, true).run(&["export"]);
    assert_eq!(code(&output), 4);
    assert_eq!(text(&output.stdout).lines().count(), 5);
    let broken = Fake::new(|_, _| error(-32_003, Value::Null));
    assert_eq!(code(&broken.run(&["export", file])), 4);
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "no part of a file is left");
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 250);
}

#[test]
fn a_bad_line_of_an_import_is_named_and_the_others_are_stored() {
    let fake = Fake::new(|_, params| {
        if params["key"] == "refused" {
            return error(-32_602, json!("the key is refused"));
        }
        result(json!({"key": "k", "node": "n", "version": "v", "acks": 1}))
    });
    let input = b"{\"key\":\"a\",\"value\":{\"n\": 1.50},\"version\":\"v\"}\n\nnonsense\n\
        {\"key\":\"refused\",\"value\":1}\n{\"key\":\"b\",\"value_base64\":\"AP8=\"}";
    let output = fake.run_with(&["import"], input);
    let said = text(&output.stderr);
    assert_eq!(code(&output), 1);
    assert_eq!(text(&output.stdout), "2 items stored, 2 left out\n");
    assert!(said.contains("line 3 is left out"), "{said}");
    assert!(
        said.contains("line 4 is left out: the key is refused"),
        "{said}"
    );
    let requests = fake.requests();
    assert_eq!(requests.len(), 3);
    assert!(
        requests[0].contains("\"value\":{\"n\": 1.50}"),
        "{}",
        requests[0]
    );
    assert!(
        requests[2].contains("\"value_base64\":\"AP8=\""),
        "{}",
        requests[2]
    );
    let output = fake.run_with(&["import", "--json", "-"], b"{\"key\":\"a\",\"value\":1}\n");
    assert_eq!(text(&output.stdout), "{\"failed\":0,\"stored\":1}\n");
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let fake = bucket(5_000, false);
    let address = fake.address.to_string();
    let mut child = command(&["scan", "--node", &address]).spawn().unwrap();
    let mut first = [0; 1];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut first).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
}

#[test]
fn a_board_that_closes_connections_is_connected_to_again() {
    let fake = Fake::with_headers("Connection: close\r\n", |method, _| match method {
        "get_node_state" => result(node_state()),
        _ => result(cluster_state()),
    });
    assert_eq!(code(&fake.run(&["nodes"])), 0);
    assert_eq!(fake.requests().len(), 2);
}

fn node_state() -> Value {
    json!({"name": "attic", "version": "0.1.0", "cluster": "home", "hash": "11".repeat(32),
        "addr": "10.0.0.1", "port": 38400, "state": "active"})
}

fn cluster_state() -> Value {
    let node = |name: &str, digit: char, alive: bool| {
        json!({"name": name, "version": "0.1.0", "cluster": "home",
            "hash": digit.to_string().repeat(64), "addr": "10.0.0.1", "port": 38400,
            "state": if alive { "active" } else { "stop" }, "standing": "member",
            "alive": alive, "suspect": false, "for_ms": 61000, "boot": 1,
            "location": "http://10.0.0.1:38400/description.xml"})
    };
    json!({"cluster": {"name": "home", "id": "ab".repeat(16), "settled": true, "copies": 3,
        "points": 128, "mode": "full", "nodes":
        [node("cellar\u{1b}[31m", '9', false), node("attic", '1', true)]}})
}

fn home() -> Fake {
    Fake::new(|method, params| match method {
        "get_node_state" => result(node_state()),
        "get_cluster_state" => result(cluster_state()),
        "get_node_stats" => result(json!({"hash": "11".repeat(32), "name": "attic",
            "uptime_ms": 5000, "state": "active", "items": 9, "tombstones": 0,
            "handover_pending": 0, "under_replicated": 4, "safe_to_unplug": false,
            "unplug_reason": "cellar is absent", "problems": ["cellar is absent; bring it back"],
            "store": "open", "counters": {}})),
        "remove_node" => result(json!({"forgotten": params["node"]})),
        "join_ring" => result(json!({"id": "11".repeat(32),
            "predecessor": {"id": "99".repeat(32), "name": "cellar", "address": null,
                "alive": true},
            "successors": []})),
        "leave_ring" => result(json!({"transferred": 5, "to": ["9"]})),
        _ => error(-32_601, Value::Null),
    })
}

#[test]
fn status_says_what_an_owner_asks() {
    let said = text(&home().run(&["status"]).stdout);
    assert!(said.contains("no: 4 of 9 keys here lack a copy"), "{said}");
    assert!(
        said.contains("Safe to unplug  no: cellar is absent"),
        "{said}"
    );
    assert!(said.contains("bring it back"), "{said}");
    let json: Value = serde_json::from_slice(&home().run(&["status", "--json"]).stdout).unwrap();
    assert_eq!(json["stats"]["under_replicated"], 4);
}

#[test]
fn ring_and_nodes_mark_this_board_and_the_absent_without_colours() {
    for verb in ["ring", "nodes"] {
        let output = home().run(&[verb]);
        let said = text(&output.stdout);
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
        assert!(
            said.contains("@  attic") && said.contains("x  cellar"),
            "{said}"
        );
        assert!(!said.contains('\u{1b}'), "{said}");
    }
    let said = text(&home().run(&["ring"]).stdout);
    assert!(said.contains("1 of 2 present"), "{said}");
}

#[test]
fn a_board_is_forgotten_by_its_name() {
    let fake = home();
    let output = fake.run(&["nodes", "--forget", "attic"]);
    assert_eq!(code(&output), 0);
    assert!(fake.requests()[1].contains(&"1".repeat(64)));
    assert_eq!(code(&home().run(&["nodes", "--forget", "roof"])), 3);
}

#[test]
fn join_and_leave_say_what_came_of_it() {
    let fake = home();
    let said = text(&fake.run(&["join", "10.0.0.9"]).stdout);
    assert_eq!(said, "joined, between cellar and itself\n");
    assert!(fake.requests()[0].contains("\"sponsoring_node\":\"10.0.0.9:38400\""));
    let said = text(&fake.run(&["leave"]).stdout);
    assert_eq!(said, "left; 5 items handed to another board\n");
    assert!(fake.requests()[1].contains("\"mode\":\"orderly\""));
}

#[test]
fn any_method_can_be_called_and_sent_on() {
    let fake = Fake::new(|_, params| result(params.clone()));
    let output = fake.run(&["call", "echo", "{\"a\":1}", "--dest", "*", "--forward"]);
    assert_eq!(text(&output.stdout), "{\"a\":1}\n");
    let request: Value = serde_json::from_str(&fake.requests()[0]).unwrap();
    assert_eq!(
        (&request["dest"], &request["forward"]),
        (&json!("*"), &json!(true))
    );
}

#[test]
fn completions_and_manual_pages_know_every_verb() {
    for shell in ["bash", "zsh", "fish"] {
        let output = roundel(&["completions", shell], b"");
        assert!(text(&output.stdout).contains("export"), "{shell}");
    }
    assert!(text(&roundel(&["man"], b"").stdout).starts_with(".ie"));
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("man1");
    assert_eq!(
        code(&roundel(&["man", "--out", out.to_str().unwrap()], b"")),
        0
    );
    for verb in VERBS {
        assert!(out.join(format!("roundel-{verb}.1")).exists(), "{verb}");
    }
}

#[test]
fn top_needs_a_terminal_or_json() {
    let output = home().run(&["top"]);
    let said = text(&output.stderr);
    assert_eq!(code(&output), 2);
    assert!(
        said.contains("this is none") && said.contains("next: add --json"),
        "{said}"
    );
    let fake = home();
    let output = fake.run(&["top", "--json"]);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["node"]["name"], "attic");
    assert_eq!(
        json["cluster_state"]["cluster"]["nodes"][0]["for_ms"],
        61_000
    );
    assert_eq!(json["stats"]["items"], 9);
    let requests = fake.requests();
    assert_eq!(requests.len(), 2, "a batch each: {requests:?}");
    assert!(requests[1].contains("\"dest\":\"*\""), "{}", requests[1]);
    let broken = Fake::new(|_, _| error(-32_003, Value::Null));
    assert_eq!(code(&broken.run(&["top", "--json"])), 4);
}

const METHODS: &[&str] = &[
    "put",
    "get",
    "remove",
    "list_items",
    "scan_items",
    "join_ring",
    "leave_ring",
    "stabilize_ring",
    "init_ring_fingers",
    "fix_ring_fingers",
    "ring_notify",
    "get_ring_fingers",
    "find_ring_successor",
    "find_ring_predecessor",
    "remove_node",
    "echo",
    "get_node_state",
    "get_cluster_state",
    "get_network_state",
    "get_node_stats",
    "get_node_config",
];

#[test]
fn the_readme_shows_every_verb_and_every_method_with_its_answer() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    for verb in VERBS {
        assert!(readme.contains(&format!("`{verb}")), "{verb}");
    }
    let lines: Vec<&str> = readme.lines().collect();
    let calls: Vec<usize> = (0..lines.len())
        .filter(|n| lines[*n].starts_with("curl "))
        .collect();
    for call in &calls {
        assert!(
            lines[call + 1].starts_with("# → "),
            "line {}: no answer follows",
            call + 2
        );
        let json = lines[*call].contains("application/json");
        if let Some((_, body)) = lines[*call].split_once(" -d '").filter(|_| json) {
            let body = body.strip_suffix('\'').unwrap();
            serde_json::from_str::<Value>(body).unwrap();
        }
    }
    for method in METHODS {
        let member = format!("\"method\":\"{method}\"");
        assert!(
            calls.iter().any(|call| lines[*call].contains(&member)),
            "{method}"
        );
    }
}
