//! Every method's names, parameters and result shape, what is left out of this version, and
//! requests for other boards.

use roundel::base::call::{Call, CallError, Consistency, LeaveMode, WriteOutcome};
use roundel::base::id::Id;
use roundel::base::item::Key;
use roundel::base::keys::Digits;
use roundel::base::problem::Problem;
use serde_json::{Value, json};

use crate::fake::{Served, Setup, error_of, member, served, served_with};

#[tokio::test]
async fn put_get_and_remove_answer_their_shapes() {
    let served = served().await;
    let id = Id::of(b"fake").to_string();
    let version = |n: u8| format!("{n:016x}-{id}");
    assert_eq!(
        served.result("put", json!({"key": "a", "value": 1})).await,
        json!({"key": "a", "node": id, "version": version(1), "acks": 1, "hinted": 0,
            "degraded": false})
    );
    assert_eq!(
        served.result("get", json!({"key": "a"})).await,
        json!({"key": "a", "value": 1, "version": version(1), "acks": 1, "hinted": 0,
            "degraded": false})
    );
    assert_eq!(
        served.result("remove", json!({"key": "a"})).await,
        json!({"key": "a", "node": id, "removed": true, "version": version(2), "acks": 1,
            "hinted": 0, "degraded": false})
    );
    let (status, code, reason) = served.error("get", json!({"key": "a"})).await;
    assert_eq!((status, code), (404, -32004));
    assert!(reason.contains("roundel scan"), "{reason}");
}

#[tokio::test]
async fn values_come_back_as_the_characters_that_were_sent() {
    let served = served().await;
    for value in [
        "1.50e+3",
        "123456789012345678901234567890",
        "{\"b\":1,  \"a\":[ ]}",
        "\"\\u00e9\\ud800\"",
        "null",
        "false",
    ] {
        let put = format!(
            r#"{{"jsonrpc":"2.0","method":"put","params":{{"key":"k","value": {value} }},"id":1}}"#
        );
        assert_eq!(served.rpc(&put).await.0, 200, "{value}");
        let get = r#"{"jsonrpc":"2.0","method":"get","params":["k"],"id":2}"#;
        let (_, text) = served.rpc(get).await;
        assert!(text.contains(&format!("\"value\":{value},")), "{text}");
    }
}

#[tokio::test]
async fn bytes_travel_as_base64() {
    let served = served().await;
    served
        .result("put", json!({"key": "b", "value_base64": "AP8="}))
        .await;
    let got = served.result("get", json!({"key": "b"})).await;
    assert_eq!(
        (&got["value_base64"], got.get("value")),
        (&json!("AP8="), None)
    );
    let page = served.result("list_items", json!({})).await;
    assert_eq!(page["items"][0]["value_base64"], "AP8=");
}

#[tokio::test]
async fn pages_follow_each_other() {
    let served = served().await;
    for key in ["a1", "a2", "a3", "b"] {
        served
            .result("put", json!({"key": key, "value": key}))
            .await;
    }
    let page = json!({"prefix": "a", "limit": 2});
    let first = served.result("list_items", page).await;
    assert_eq!(first["next"], "a2");
    let rest = json!({"prefix": "a", "limit": 2, "after": "a2"});
    let last = served.result("scan_items", rest).await;
    assert_eq!(last["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&last["next"], &last["degraded"]),
        (&Value::Null, &json!(false))
    );
    assert_eq!(first.get("degraded"), None, "only a scan can miss a board");
}

#[tokio::test]
async fn ring_methods_answer_their_shapes() {
    let served = served().await;
    let id = Id::of(b"fake").to_string();
    let node = json!({"id": id, "name": "fake", "address": served.at.to_string(), "alive": true});
    let start = Id::of(b"fake").plus_power_of_two(7).to_string();
    let finger = json!({"index": 7, "start": start, "id": id, "address": served.at.to_string()});
    let lookup = json!({"id": id, "name": "fake", "address": served.at.to_string(), "alive": true,
        "hops": 0, "path": [id]});
    let mut of_key = lookup.clone();
    of_key["copies"] = json!([node]);
    of_key["point"] = json!(Key::new("k").unwrap().point().to_string());
    for (method, params, expected) in [
        ("find_ring_successor", json!({}), lookup.clone()),
        ("find_ring_successor", json!({"id": id}), lookup.clone()),
        ("find_ring_successor", json!({"key": "k"}), of_key.clone()),
        ("find_ring_predecessor", json!({"key": "k"}), of_key),
        ("find_ring_predecessor", json!([]), lookup),
        (
            "stabilize_ring",
            json!({}),
            json!({"successor": node, "successors": [node], "changed": false}),
        ),
        ("init_ring_fingers", json!({}), json!({"count": 256})),
        (
            "fix_ring_fingers",
            json!({}),
            json!({"index": 7, "finger": finger}),
        ),
        (
            "ring_notify",
            json!({"node": served.at.to_string()}),
            json!({"accepted": true, "predecessor": node}),
        ),
        (
            "join_ring",
            json!({"sponsoring_node": "192.0.2.1:38400"}),
            json!({"id": id, "predecessor": node, "successors": [node]}),
        ),
        (
            "leave_ring",
            json!({"mode": "immediate"}),
            json!({"transferred": 3, "to": [id]}),
        ),
        (
            "leave_ring",
            json!({}),
            json!({"transferred": 3, "to": [id]}),
        ),
        (
            "remove_node",
            json!({"node": id.to_uppercase()}),
            json!({"forgotten": id}),
        ),
    ] {
        assert_eq!(served.result(method, params).await, expected, "{method}");
    }
    let calls = served.board.state().calls.clone();
    assert!(calls.contains(&Call::Leave(LeaveMode::Immediate)));
    assert!(calls.contains(&Call::Leave(LeaveMode::Orderly)));
    let fingers = served.result("get_ring_fingers", json!({})).await;
    assert_eq!(
        (&fingers["predecessor"], &fingers["fingers"][7]),
        (&node, &finger)
    );
    assert_eq!(fingers["fingers"].as_array().unwrap().len(), 256);
}

#[tokio::test]
async fn confirmation_names_the_digits_that_were_compared() {
    let served = served().await;
    for (params, seen) in [
        (json!({}), None),
        (json!({"fingerprint": "076 673"}), Some("076673")),
        (json!({"fingerprint": "076673"}), Some("076673")),
    ] {
        let _ = served.error("confirm_cluster", params).await;
        let seen = seen.and_then(Digits::parse);
        let calls = served.board.state().calls.clone();
        assert_eq!(calls.last(), Some(&Call::Confirm { seen }));
    }
    let before = served.board.state().calls.len();
    let params = json!({"fingerprint": "76673"});
    let (status, code, reason) = served.error("confirm_cluster", params).await;
    assert_eq!((status, code), (400, -32602));
    assert!(reason.contains("six digits"), "{reason}");
    assert_eq!(served.board.state().calls.len(), before);
}

#[tokio::test]
async fn state_methods_answer_rounds_shapes() {
    let served = served().await;
    let id = Id::of(b"fake").to_string();
    let (addr, port) = (served.at.ip().to_string(), served.at.port());
    let state = json!({"name": "fake", "version": "0.1.0", "cluster": "home", "hash": id,
        "addr": addr, "port": port, "state": "active"});
    let mut own = state.clone();
    own["access"] = json!("provisional");
    own["members"] = json!(1);
    own["fingerprint"] = json!("076 673");
    own["problems"] = json!([]);
    assert_eq!(served.result("get_node_state", json!({})).await, own);
    let mut node = state.clone();
    for (name, value) in [
        ("standing", json!("member")),
        ("alive", json!(true)),
        ("suspect", json!(false)),
        ("for_ms", json!(250)),
        ("boot", json!(4)),
        (
            "location",
            json!(format!("http://{}/description.xml", served.at)),
        ),
    ] {
        node[name] = value;
    }
    assert_eq!(
        served.result("get_cluster_state", json!({})).await,
        json!({"cluster": {"name": "home", "id": "07".repeat(16), "settled": true, "copies": 3,
            "points": 128, "mode": "full", "access": "provisional", "nodes": [node]}})
    );
    assert_eq!(
        served.result("get_network_state", json!({})).await,
        json!({"clusters": [{"name": "home", "nodes": [state]}, {"name": "barn", "nodes": [{
            "name": null, "version": null, "cluster": "barn", "hash": Id::of(b"far").to_string(),
            "addr": "192.0.2.9", "port": 38400, "state": "unknown"}]}]})
    );
    let mut stats = served.result("get_node_stats", json!({})).await;
    // They are counted where operations end, in the driver, for the whole process.
    assert_eq!(
        stats["operations"].take(),
        json!({"put": 0, "get": 0, "remove": 0, "failed": 0, "latency_us": []})
    );
    assert_eq!(
        stats,
        json!({"hash": id, "name": "fake", "uptime_ms": 1500, "state": "active", "items": 0,
            "tombstones": 0, "tree_digest": "0".repeat(32), "handover_pending": 0,
            "under_replicated": 0, "safe_to_unplug": true, "unplug_reason": "", "problems": [],
            "store": "open",
            "counters": {"frames_sent": 12}, "memory_bytes": 9_000_000, "written_bytes": 70_000,
            "operations": null})
    );
    assert_eq!(
        served.result("get_node_config", json!({})).await,
        json!({"cluster": "home"})
    );
    assert_eq!(
        served.result("echo", json!({"x": [1]})).await,
        json!({"x": [1]})
    );
}

#[tokio::test]
async fn the_seeds_hyphenated_names_and_rounds_underscore_are_understood() {
    let served = served().await;
    for name in [
        "get-ring-fingers",
        "_get_ring_fingers",
        "list-items",
        "_put",
    ] {
        let params = match name {
            "_put" => json!({"key": "k", "value": 1}),
            _ => json!({}),
        };
        served.result(name, params).await;
    }
}

/// Asks for each and expects that code, and a reason that contains the hint.
async fn refused(requests: Vec<(&str, Value, i64, &str)>) {
    let served = served().await;
    for (method, params, code, hint) in requests {
        let (_, got, reason) = served.error(method, params.clone()).await;
        assert_eq!(got, code, "{method} {params}: {reason}");
        assert!(reason.contains(hint), "{method} {params}: {reason}");
    }
    assert!(served.board.state().items.is_empty());
}

#[tokio::test]
async fn a_bad_put_is_refused_by_the_name_of_its_parameter() {
    refused(vec![
        ("put", json!({"key": "k"}), -32602, "value_base64"),
        ("put", json!({"value": 1}), -32602, "'key'"),
        ("put", json!({"key": null, "value": 1}), -32602, "null"),
        ("put", json!({"key": "", "value": 1}), -32602, "1 to 1024"),
        (
            "put",
            json!({"key": "k".repeat(1_025), "value": 1}),
            -32005,
            "1 to 1024",
        ),
        (
            "put",
            json!({"key": "k", "value": 1, "value_base64": "AA=="}),
            -32602,
            "not both",
        ),
        (
            "put",
            json!({"key": "k", "value_base64": "A"}),
            -32602,
            "base64",
        ),
        (
            "put",
            json!({"key": "k", "value": "v".repeat(512 * 1_024)}),
            -32005,
            "smaller",
        ),
        (
            "put",
            json!({"key": "k", "value": 1, "expect": "x"}),
            -32602,
            "not supported",
        ),
        ("put", json!({"key": "k", "valeu": 1}), -32602, "'value'"),
        (
            "put",
            json!(["k", 1, "one", "AA==", 5]),
            -32602,
            "at most 4",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_bad_read_is_refused_by_the_name_of_its_parameter() {
    refused(vec![
        ("get", json!({"key": 7}), -32602, "string"),
        (
            "get",
            json!({"key": "k", "consistency": "strong"}),
            -32602,
            "not supported",
        ),
        (
            "get",
            json!({"key": "k", "consistency": "most"}),
            -32602,
            "quorum",
        ),
        ("list_items", json!({"limit": 0}), -32602, "1 to 1000"),
        ("list_items", json!({"limit": 1_001}), -32602, "1 to 1000"),
        ("list_items", json!({"limit": 1.5}), -32602, "whole number"),
        (
            "list_items",
            json!({"prefix": "p".repeat(1_025)}),
            -32005,
            "shorten",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_bad_ring_call_is_refused_by_the_name_of_its_parameter() {
    refused(vec![
        ("find_ring_successor", json!({"id": "12"}), -32602, "64 hex"),
        (
            "find_ring_successor",
            json!({"id": "0".repeat(64), "key": "k"}),
            -32602,
            "not both",
        ),
        (
            "join_ring",
            json!({"sponsoring_node": "example.org:80"}),
            -32602,
            "numeric",
        ),
        ("leave_ring", json!({"mode": "quietly"}), -32602, "orderly"),
        ("remove_node", json!({}), -32602, "'node'"),
        (
            "remove_node",
            json!({"node": "1".repeat(64)}),
            -32004,
            "roundel nodes",
        ),
        ("get_node_state", json!({"x": 1}), -32602, "leave it out"),
        ("gett", json!({}), -32601, "'get'"),
    ])
    .await;
}

#[tokio::test]
async fn problems_of_the_start_are_in_state_figures_and_the_document() {
    let served = served_with(Setup {
        facts: Box::new(|facts| {
            let of_file =
                Problem::of_file("/boot/roundel.toml", Some(3), "<b> is wrong", "mend it");
            let of_script = Problem::from_line("data: it was repaired").unwrap();
            facts.problems = vec![of_file, of_script].into();
        }),
        ..Setup::default()
    })
    .await;
    let state = served.result("get_node_state", json!({})).await;
    assert_eq!(
        state["problems"],
        json!([
            {"file": "/boot/roundel.toml", "line": 3, "reason": "<b> is wrong",
                "remedy": "mend it"},
            {"file": null, "line": null, "reason": "data: it was repaired", "remedy": ""},
        ])
    );
    let stats = served.result("get_node_stats", json!({})).await;
    assert_eq!(
        stats["problems"][0],
        json!("/boot/roundel.toml, line 3: <b> is wrong; mend it")
    );
    let (status, page) = served.get("/presentation").await;
    assert_eq!(status, 200);
    let row = "<p>/boot/roundel.toml, line 3: &lt;b&gt; is wrong; mend it</p>";
    assert!(page.contains(row), "{page}");
}

#[tokio::test]
async fn what_this_version_leaves_out_is_refused_and_never_ignored() {
    let served = served().await;
    for method in [
        "set_method",
        "remove_method",
        "set_route",
        "remove_route",
        "set_timer",
        "remove_timer",
        "set_alias",
        "remove_alias",
        "post_job",
        "set_registry",
        "get_registry",
        "remove_registry",
        "add_node",
        "exec",
    ] {
        let (status, code, _) = served.error(method, json!({})).await;
        assert_eq!((status, code), (404, -32601), "{method}");
    }
    for member in ["cond", "quorum", "type"] {
        let request =
            format!(r#"{{"jsonrpc":"2.0","method":"put","params":["k",1],"{member}":"1","id":1}}"#);
        let (status, body) = served.rpc(&request).await;
        let (status, code, reason) = error_of(status, &body);
        assert_eq!((status, code), (400, -32602), "{member}");
        assert!(reason.contains("not supported"), "{reason}");
    }
    assert!(
        served.board.state().items.is_empty(),
        "nothing was carried out"
    );
}

#[tokio::test]
async fn consistency_reaches_the_board() {
    let served = served().await;
    for (text, consistency) in [
        ("one", Consistency::One),
        ("quorum", Consistency::Quorum),
        ("all", Consistency::All),
    ] {
        served
            .result("put", json!({"key": "k", "value": 1, "consistency": text}))
            .await;
        let last = served.board.state().calls.pop();
        assert!(matches!(last, Some(Call::Put { consistency: c, .. }) if c == consistency));
    }
}

#[tokio::test]
async fn an_unavailable_write_tells_its_outcome() {
    let served = served().await;
    let absent = Id::of(b"absent");
    served.board.state().failure = Some(CallError::Unavailable {
        reason: "one copy is absent; wait, or use consistency one".into(),
        outcome: Some(WriteOutcome::NotWritten),
        acks: 1,
        needed: 2,
        absent: vec![absent],
    });
    let put = r#"{"jsonrpc":"2.0","method":"put","params":{"key":"k","value":1},"id":1}"#;
    let (status, body) = served.rpc(put).await;
    let error: Value = serde_json::from_str::<Value>(&body).unwrap()["error"].take();
    assert_eq!(
        (status, &error["code"], &error["message"]),
        (503, &json!(-32003), &json!("Unavailable"))
    );
    assert_eq!(
        error["data"],
        json!({"reason": "one copy is absent; wait, or use consistency one",
            "outcome": "not_written", "acks": 1, "needed": 2, "absent": [absent.to_string()]})
    );
}

#[tokio::test]
async fn duplicate_keys_and_deep_documents_are_refused() {
    let served = served().await;
    let deep = format!("{}{}", "[".repeat(64), "]".repeat(64));
    for body in [
        r#"{"jsonrpc":"2.0","method":"echo","method":"put","id":1}"#.to_owned(),
        r#"{"jsonrpc":"2.0","method":"put","params":{"key":"a","key":"b","value":1},"id":1}"#
            .into(),
        format!(r#"{{"jsonrpc":"2.0","method":"echo","params":{deep},"id":1}}"#),
    ] {
        let (status, body) = served.rpc(&body).await;
        let (status, code, _) = error_of(status, &body);
        assert_eq!((status, code), (400, -32600), "{body}");
    }
}

/// Two boards that know each other, and one that is known to be absent.
async fn pair() -> (Served, Served, Id) {
    let near = served().await;
    let far_id = Id::of(b"far board");
    let far = served_with(Setup {
        id: far_id,
        ..Setup::default()
    })
    .await;
    let absent = Id::of(b"absent board");
    let mut members = vec![
        member(Id::of(b"fake"), near.at, true),
        member(far_id, far.at, true),
        member(absent, "192.0.2.77:38400".parse().unwrap(), false),
    ];
    members.sort_by_key(|member| member.id);
    near.board.state().members = members.clone();
    near.board
        .state()
        .others
        .insert(far_id, far.service.clone());
    far.board.state().members = members;
    (near, far, absent)
}

async fn ask(served: &Served, dest: &str, more: &str) -> (u16, Value) {
    let request =
        format!(r#"{{"jsonrpc":"2.0","method":"get_node_state","dest":"{dest}"{more},"id":1}}"#);
    let (status, body) = served.rpc(&request).await;
    (status, serde_json::from_str(&body).unwrap())
}

#[tokio::test]
async fn a_request_for_another_board_is_told_where_to_go() {
    let (near, far, absent) = pair().await;
    let far_id = Id::of(b"far board").to_string();
    let (status, answer) = ask(&near, &far_id, "").await;
    assert_eq!((status, &answer["error"]["code"]), (307, &json!(-32001)));
    let data = &answer["error"]["data"];
    assert_eq!(data["location"], format!("http://{}/rpc", far.at));
    assert_eq!(
        (&data["hash"], &data["port"]),
        (&json!(far_id), &json!(far.at.port()))
    );
    assert_eq!(data["addr"], far.at.ip().to_string());

    let (status, answer) = ask(&near, &absent.to_string(), "").await;
    assert_eq!((status, &answer["error"]["code"]), (503, &json!(-32003)));
    assert_eq!(
        answer["error"]["data"]["absent"],
        json!([absent.to_string()])
    );

    let (status, answer) = ask(&near, &"9".repeat(64), "").await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(-32000)));
    let (status, answer) = ask(&near, "somewhere", "").await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(-32000)));
}

#[tokio::test]
async fn a_request_is_passed_on_when_it_asks_for_it_and_not_for_ever() {
    let (near, _far, _) = pair().await;
    let far_id = Id::of(b"far board").to_string();
    let (status, answer) = ask(&near, &far_id, r#","forward":true,"ts":3"#).await;
    assert_eq!((status, &answer["result"]["hash"]), (200, &json!(far_id)));
    assert_eq!(answer["id"], 1);
    assert_eq!(
        answer["ts"], 9,
        "4 received, 5 sent on, 6 and 7 there, 8 back, 9 answered"
    );
    let (status, answer) = ask(&near, &far_id, r#","forward":true,"hops":8"#).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(-32000)));
    let (_, answer) = ask(&near, &Id::of(b"fake").to_string(), "").await;
    assert_eq!(answer["result"]["hash"], Id::of(b"fake").to_string());
}

#[tokio::test]
async fn all_boards_answer_as_one_and_silent_ones_are_named() {
    let (near, _far, absent) = pair().await;
    let silent = Id::of(b"silent board");
    let at = "192.0.2.78:38400".parse().unwrap();
    near.board.state().members.push(member(silent, at, true));
    near.board.state().silent.insert(silent);
    for dest in ["*", "all"] {
        let (status, answer) = ask(&near, dest, "").await;
        assert_eq!(status, 200);
        let entries = answer["result"].as_array().unwrap();
        assert_eq!(entries.len(), 4);
        for entry in entries {
            let dest = entry["dest"].as_str().unwrap();
            if [absent.to_string(), silent.to_string()].contains(&dest.to_owned()) {
                assert_eq!(entry["error"]["code"], -32003, "{entry}");
            } else {
                assert_eq!(entry["result"]["hash"], dest, "{entry}");
            }
        }
    }
}

#[tokio::test]
async fn a_random_board_is_one_that_is_alive() {
    let (near, _far, absent) = pair().await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let (status, answer) = ask(&near, "?", "").await;
        assert_eq!(status, 200);
        seen.insert(answer["result"]["hash"].as_str().unwrap().to_owned());
    }
    assert!(!seen.contains(&absent.to_string()));
    assert_eq!(seen.len(), 2, "both live boards are drawn in 40 tries");
}

#[tokio::test]
async fn a_relayed_request_is_for_one_board_only() {
    let (_, far, _) = pair().await;
    for dest in ["*", "?"] {
        let request = format!(r#"{{"jsonrpc":"2.0","method":"echo","dest":"{dest}","id":1}}"#);
        let answer = far.service.handle_relayed(request.into()).await.unwrap();
        let text = String::from_utf8(answer.to_vec()).unwrap();
        assert_eq!(error_of(0, &text).1, -32000);
    }
    let notification = r#"{"jsonrpc":"2.0","method":"echo"}"#;
    assert_eq!(far.service.handle_relayed(notification.into()).await, None);
}
