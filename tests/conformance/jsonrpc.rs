//! The examples of the JSON-RPC 2.0 specification, §7, each over HTTP and over HTTPU, with the
//! methods they suppose; and ids and batches beyond them.
//!
//! Answers are compared as they stand there; `ts` and `error.data`, which the specification
//! leaves open, are taken out first.

use bytes::Bytes;
use roundel::service::Failure;
use roundel::service::method::{Args, Method, Param, Run, Scope, Table, Takes};
use roundel::wire::httpu::{Headers, Request, Response};
use serde_json::Value;
use serde_json::value::to_raw_value;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::fake::{DEADLINE, Served, Setup, served_with};

/// A method that answers null.
fn method(name: &'static str, takes: Takes) -> Method {
    Method {
        name,
        aliases: &[],
        reads: false,
        scope: Scope::Read,
        takes,
        result: "",
        doc: "",
        run: Run::Here(|_, _| Ok(to_raw_value(&()).unwrap())),
    }
}

const NUMBERS: &[Param] = &[
    Param::required("minuend", "a number"),
    Param::required("subtrahend", "a number"),
];

/// The methods the specification's examples call; `foobar` and `foo.get` are not among them.
fn table() -> Table {
    fn number(args: &Args<'_>, name: &str) -> Result<i64, Failure> {
        let text = args.raw(name).expect("required").text();
        text.parse()
            .map_err(|_| Failure::params("a number, please"))
    }
    let subtract = Method {
        run: Run::Here(|_, args| {
            let difference = number(args, "minuend")? - number(args, "subtrahend")?;
            Ok(to_raw_value(&difference).unwrap())
        }),
        ..method("subtract", Takes::Params(NUMBERS))
    };
    let sum = Method {
        run: Run::Here(|_, args| {
            let terms: Vec<i64> = serde_json::from_str(args.text().unwrap().text()).unwrap();
            Ok(to_raw_value(&terms.iter().sum::<i64>()).unwrap())
        }),
        ..method("sum", Takes::Anything)
    };
    let get_data = Method {
        run: Run::Here(|_, _| Ok(to_raw_value(&("hello", 5)).unwrap())),
        ..method("get_data", Takes::Anything)
    };
    let silent = ["update", "notify_hello", "notify_sum"].map(|name| method(name, Takes::Anything));
    Table::of([subtract, sum, get_data].into_iter().chain(silent))
}

/// The two ways a document may travel.
#[derive(Clone, Copy, Debug)]
enum Way {
    Http,
    Httpu,
}

/// Sends a document; none when it was answered by nothing.
async fn ask(served: &Served, way: Way, document: &str) -> Option<Value> {
    let text = match way {
        Way::Http => {
            let (status, text) = served.rpc(document).await;
            assert_eq!(
                status == 204,
                text.is_empty(),
                "204 has no body, everything else has one"
            );
            text
        }
        Way::Httpu => ask_httpu(served, document).await,
    };
    (!text.is_empty()).then(|| serde_json::from_str(&text).unwrap())
}

/// Sends a document as a datagram, then one that is certainly answered: datagrams are taken in
/// order, so the first answer tells whether the document was answered.
async fn ask_httpu(served: &Served, document: &str) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let marker = r#"{"jsonrpc":"2.0","method":"get_data","id":"marker"}"#;
    for body in [document, marker] {
        let request = Request {
            method: "POST".into(),
            target: "/rpc".into(),
            minor: 1,
            headers: Headers(vec![
                ("Host".into(), served.at.to_string()),
                ("Content-Type".into(), "application/json-rpc".into()),
            ]),
            body: Bytes::copy_from_slice(body.as_bytes()),
        };
        socket.send_to(&request.emit(), served.at).await.unwrap();
    }
    let mut buffer = [0; 2_048];
    let received = timeout(DEADLINE, socket.recv(&mut buffer))
        .await
        .unwrap()
        .unwrap();
    let answer = Response::parse(&Bytes::copy_from_slice(&buffer[..received])).unwrap();
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    if text.contains("marker") {
        String::new()
    } else {
        text
    }
}

/// An answer without what the specification leaves open.
fn bare(mut answer: Value) -> Value {
    let responses = match &mut answer {
        Value::Array(responses) => responses.iter_mut().collect(),
        single => vec![single],
    };
    for response in responses {
        let response = response.as_object_mut().unwrap();
        assert!(
            response.remove("ts").is_some_and(|ts| ts.is_u64()),
            "every answer has ts"
        );
        if let Some(error) = response.get_mut("error") {
            error.as_object_mut().unwrap().remove("data");
        }
    }
    answer
}

/// Sends each document both ways and compares with what stands in the specification.
async fn examples(examples: &[(&str, Option<&str>)]) {
    let served = served_with(Setup {
        table: table(),
        ..Setup::default()
    })
    .await;
    for way in [Way::Http, Way::Httpu] {
        for (document, expected) in examples {
            let expected = expected.map(|text| serde_json::from_str::<Value>(text).unwrap());
            let answer = ask(&served, way, document).await.map(bare);
            assert_eq!(answer, expected, "{way:?}: {document}");
        }
    }
}

#[tokio::test]
async fn rpc_call_with_positional_parameters() {
    examples(&[
        (
            r#"{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}"#,
            Some(r#"{"jsonrpc": "2.0", "result": 19, "id": 1}"#),
        ),
        (
            r#"{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}"#,
            Some(r#"{"jsonrpc": "2.0", "result": -19, "id": 2}"#),
        ),
    ])
    .await;
}

#[tokio::test]
async fn rpc_call_with_named_parameters() {
    examples(&[
        (
            r#"{"jsonrpc": "2.0", "method": "subtract",
                "params": {"subtrahend": 23, "minuend": 42}, "id": 3}"#,
            Some(r#"{"jsonrpc": "2.0", "result": 19, "id": 3}"#),
        ),
        (
            r#"{"jsonrpc": "2.0", "method": "subtract",
                "params": {"minuend": 42, "subtrahend": 23}, "id": 4}"#,
            Some(r#"{"jsonrpc": "2.0", "result": 19, "id": 4}"#),
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_notification() {
    examples(&[
        (
            r#"{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}"#,
            None,
        ),
        (r#"{"jsonrpc": "2.0", "method": "foobar"}"#, None),
    ])
    .await;
}

#[tokio::test]
async fn rpc_call_of_non_existent_method() {
    examples(&[(
        r#"{"jsonrpc": "2.0", "method": "foobar", "id": "1"}"#,
        Some(
            r#"{"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"},
                "id": "1"}"#,
        ),
    )])
    .await;
}

#[tokio::test]
async fn rpc_call_with_invalid_json() {
    examples(&[(
        r#"{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]"#,
        Some(
            r#"{"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"},
                "id": null}"#,
        ),
    )])
    .await;
}

#[tokio::test]
async fn rpc_call_with_invalid_request_object() {
    examples(&[(
        r#"{"jsonrpc": "2.0", "method": 1, "params": "bar"}"#,
        Some(
            r#"{"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"},
                "id": null}"#,
        ),
    )])
    .await;
}

#[tokio::test]
async fn rpc_call_batch_invalid_json() {
    examples(&[(
        r#"[
  {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
  {"jsonrpc": "2.0", "method"
]"#,
        Some(
            r#"{"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"},
                "id": null}"#,
        ),
    )])
    .await;
}

#[tokio::test]
async fn rpc_call_with_an_empty_array() {
    examples(&[(
        "[]",
        Some(
            r#"{"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"},
                "id": null}"#,
        ),
    )])
    .await;
}

#[tokio::test]
async fn rpc_call_with_an_invalid_batch() {
    examples(&[
        (
            "[1]",
            Some(
                r#"[
  {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}
]"#,
            ),
        ),
        (
            "[1,2,3]",
            Some(
                r#"[
  {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null},
  {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null},
  {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}
]"#,
            ),
        ),
    ])
    .await;
}

#[tokio::test]
async fn rpc_call_batch() {
    examples(&[(
        r#"[
        {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
        {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
        {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},
        {"foo": "boo"},
        {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
        {"jsonrpc": "2.0", "method": "get_data", "id": "9"}
    ]"#,
        Some(
            r#"[
        {"jsonrpc": "2.0", "result": 7, "id": "1"},
        {"jsonrpc": "2.0", "result": 19, "id": "2"},
        {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null},
        {"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": "5"},
        {"jsonrpc": "2.0", "result": ["hello", 5], "id": "9"}
    ]"#,
        ),
    )])
    .await;
}

#[tokio::test]
async fn rpc_call_batch_all_notifications() {
    examples(&[(
        r#"[
        {"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},
        {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}
    ]"#,
        None,
    )])
    .await;
}

#[tokio::test]
async fn ids_come_back_character_for_character() {
    let served = served_with(Setup {
        table: table(),
        ..Setup::default()
    })
    .await;
    for id in [
        "1e400",
        "1.0",
        "-0",
        r#""\u0041\/""#,
        "12345678901234567890123",
        "null",
    ] {
        let request = format!(r#"{{"jsonrpc":"2.0","method":"get_data","id":{id}}}"#);
        let (status, text) = served.rpc(&request).await;
        assert_eq!(status, 200);
        assert!(text.contains(&format!("\"id\":{id},")), "{text}");
    }
}

#[tokio::test]
async fn single_errors_carry_their_status_and_batches_are_always_200() {
    let served = served_with(Setup {
        table: table(),
        ..Setup::default()
    })
    .await;
    let request = r#"{"jsonrpc":"2.0","method":"nothing","id":1}"#;
    assert_eq!(served.rpc(request).await.0, 404);
    assert_eq!(served.rpc(&format!("[{request}]")).await.0, 200);
    assert_eq!(served.rpc("{").await.0, 400);
    assert_eq!(served.rpc("[]").await.0, 400);
}

#[tokio::test]
async fn the_lamport_clock_moves_only_for_requests_with_ts() {
    let served = served_with(Setup {
        table: table(),
        ..Setup::default()
    })
    .await;
    let ts = async |member: &str| {
        let request = format!(r#"{{"jsonrpc":"2.0","method":"get_data","id":1{member}}}"#);
        let (_, text) = served.rpc(&request).await;
        serde_json::from_str::<Value>(&text).unwrap()["ts"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(ts("").await, 0);
    assert_eq!(ts(",\"ts\":5").await, 7, "received at 6, answered at 7");
    assert_eq!(ts("").await, 7);
    assert_eq!(ts(",\"ts\":2").await, 9);
}
