//! Requests that are refused, each with a JSON body, a code and a sentence that helps.

use base64::Engine;
use serde_json::{Value, json};

use crate::client::{self, Answer};
use crate::namespace::alone;
use crate::process::Daemon;

fn with_board(work: impl FnOnce(&Daemon) + Send) {
    alone(|| {
        let data = tempfile::tempdir().expect("a directory");
        let mut daemon = Daemon::start(data.path(), &[]);
        let before_bytes = daemon.rss_bytes();
        work(&daemon);
        daemon.assert_small(before_bytes);
        daemon.assert_well();
    });
}

fn assert_refused(answer: &Answer, status: u16, code: i64, hint: &str) {
    let body = answer.json();
    assert_eq!(answer.status, status, "{body}");
    assert_eq!(body["error"]["code"], code, "{body}");
    let reason = body["error"]["data"]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains(hint), "{hint:?} is not in {body}");
}

fn request(method: &str, params: &Value) -> Vec<u8> {
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    request.to_string().into_bytes()
}

#[test]
fn documents_that_are_no_requests_are_refused() {
    with_board(|daemon| {
        let deep = "[".repeat(100_000);
        let nested = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"echo","params":{deep}"#);
        let twice = r#"{"jsonrpc":"2.0","method":"echo","method":"echo","id":1}"#;
        let twice_inside =
            r#"{"jsonrpc":"2.0","method":"put","params":{"key":"a","key":"b","value":1},"id":1}"#;
        let cases: [(&[u8], i64); 11] = [
            (b"", -32700),
            (b"{", -32700),
            (b"\xff\xfe", -32700),
            (b"{\"jsonrpc\":\"2.0\" \"method\":\"echo\"}", -32700),
            (b"{'jsonrpc':'2.0'}", -32700),
            (b"null", -32600),
            (b"[]", -32600),
            (
                b"{\"jsonrpc\":\"1.0\",\"method\":\"echo\",\"id\":1}",
                -32600,
            ),
            (b"{\"jsonrpc\":\"2.0\",\"method\":7,\"id\":1}", -32600),
            (twice.as_bytes(), -32600),
            (twice_inside.as_bytes(), -32600),
        ];
        for (body, code) in cases {
            let answer = client::post(daemon.at, body);
            assert_refused(&answer, 400, code, "");
        }
        for body in [deep.as_bytes(), nested.as_bytes()] {
            let answer = client::post(daemon.at, body);
            assert_eq!(answer.status, 400, "{answer:?}");
        }
        let whole_batch: Vec<Value> = (0..65).map(|_| json!({"jsonrpc": "2.0"})).collect();
        let answer = client::post(daemon.at, json!(whole_batch).to_string().as_bytes());
        assert_refused(&answer, 400, -32600, "64");
    });
}

#[test]
fn keys_and_values_out_of_bounds_are_refused_and_not_stored() {
    with_board(|daemon| {
        let put = |key: &str, value: Value| {
            let params = json!({"key": key, "value": value});
            client::post(daemon.at, &request("put", &params))
        };
        // Two bytes are the quotes of a string.
        let largest = "v".repeat(512 * 1_024 - 2);
        assert_eq!(put(&"k".repeat(1_024), json!(largest)).status, 200);
        assert_refused(
            &put("k", json!(format!("{largest}v"))),
            413,
            -32005,
            "524288",
        );
        assert_refused(&put(&"k".repeat(1_025), json!(1)), 413, -32005, "1024");
        assert_refused(&put("", json!(1)), 400, -32602, "key");
        let bytes = base64::engine::general_purpose::STANDARD.encode(vec![0; 512 * 1_024 + 1]);
        let params = json!({"key": "k", "value_base64": bytes});
        let answer = client::post(daemon.at, &request("put", &params));
        assert_refused(&answer, 413, -32005, "524288");
        let params = json!({"key": "k", "value": 1, "value_base64": "MQ=="});
        let answer = client::post(daemon.at, &request("put", &params));
        assert_refused(&answer, 400, -32602, "value");
        let params = json!({"key": "k", "value_base64": "not base64!"});
        let answer = client::post(daemon.at, &request("put", &params));
        assert_refused(&answer, 400, -32602, "base64");
        // The whole body has its limit as well.
        let answer = client::post(daemon.at, &vec![b' '; 1_024 * 1_024 + 1]);
        assert_eq!(answer.status, 413, "{answer:?}");
        let error = client::call(daemon.at, "get", json!({"key": "k"})).unwrap_err();
        assert_eq!(error["code"], -32004);
    });
}

#[test]
fn unknown_names_are_answered_with_the_nearest_known() {
    with_board(|daemon| {
        let ask = |method: &str, params: Value| client::post(daemon.at, &request(method, &params));
        assert_refused(&ask("putt", json!({})), 404, -32601, "'put'");
        assert_refused(
            &ask("find_ring_succesor", json!({})),
            404,
            -32601,
            "'find_ring_successor'",
        );
        assert_refused(
            &ask("\u{1F600}".repeat(500).as_str(), json!({})),
            404,
            -32601,
            "",
        );
        assert_refused(&ask("get", json!({"kye": "k"})), 400, -32602, "'key'");
        let params = json!({"key": "k", "consistency": "qourum"});
        assert_refused(&ask("get", params), 400, -32602, "quorum");
        let params = json!({"key": "k", "value": 1, "expect": "x"});
        assert_refused(&ask("put", params), 400, -32602, "expect");
        // Named on the protocol page, and not of this version.
        for method in [
            "exec",
            "set_method",
            "set_timer",
            "set_route",
            "set_alias",
            "post_job",
        ] {
            assert_refused(&ask(method, json!({})), 404, -32601, "");
        }
        for member in ["cond", "quorum", "type"] {
            let mut request = json!({"jsonrpc": "2.0", "id": 1, "method": "echo"});
            request[member] = json!("x");
            let answer = client::post(daemon.at, request.to_string().as_bytes());
            assert_refused(&answer, 400, -32602, member);
        }
    });
}

#[test]
fn foreign_types_hosts_and_origins_are_refused() {
    with_board(|daemon| {
        let host = format!("Host: {}", daemon.at);
        let body = request("echo", &json!([1]));
        let ask = |fields: &[&str]| client::request(daemon.at, "POST /rpc", fields, &body);
        let json = "Content-Type: application/json";
        assert_eq!(ask(&[&host, json]).status, 200);
        for kind in [
            "text/plain",
            "application/bson",
            "application/x-www-form-urlencoded",
        ] {
            let answer = ask(&[&host, &format!("Content-Type: {kind}")]);
            assert_refused(
                &answer,
                415,
                answer.json()["error"]["code"].as_i64().unwrap(),
                kind,
            );
        }
        assert_eq!(ask(&[&host]).status, 415);
        assert_eq!(ask(&[&host, json, "Content-Encoding: gzip"]).status, 415);
        assert_eq!(ask(&[&host, json, "Accept: application/bson"]).status, 406);
        assert_eq!(ask(&["Host: evil.example", json]).status, 421);
        assert_eq!(ask(&[json]).status, 400);
        for origin in ["http://evil.example", "null", "https://127.0.0.1:38400"] {
            let answer = ask(&[&host, json, &format!("Origin: {origin}")]);
            assert_eq!(answer.status, 403, "{origin}");
            assert!(answer.json()["error"]["data"]["reason"].is_string());
        }
        let own = format!("Origin: http://{}", daemon.at);
        assert_eq!(ask(&[&host, json, &own]).status, 200);
    });
}
