//! SOAP control, on the service alone.

use roundel::base::call::{Call, CallError};
use roundel::base::item::Value;
use roundel::service::device::{Kind, SERVICES, Service};
use roundel::service::exchange::{Answer, Transport};

use super::{board, header, request, service, service_type, soap_body};
use crate::fake::Alone;

const XML: (&str, &str) = ("Content-Type", "text/xml; charset=\"utf-8\"");

fn envelope(service: &Service, action: &str, arguments: &[(&str, &str)]) -> String {
    let arguments: String = arguments
        .iter()
        .map(|(name, value)| {
            let value = value.replace('&', "&amp;").replace('<', "&lt;");
            format!("<{name}>{value}</{name}>")
        })
        .collect();
    format!(
        "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>\
         <u:{action} xmlns:u=\"{}\">{arguments}</u:{action}></s:Body></s:Envelope>",
        service_type(service)
    )
}

async fn call(board: &Alone, path: &str, action: &str, arguments: &[(&str, &str)]) -> Answer {
    let service = service(path);
    let named = format!("\"{}#{action}\"", service_type(service));
    let target = format!("/service/{path}/control");
    let body = envelope(service, action, arguments);
    let mut request = request("POST", &target, &[XML, ("SOAPACTION", &named)], &body);
    // A process on the board itself, which may call every action.
    request.from = request.local;
    board.service.handle(&request).await
}

/// The out arguments of a call that is expected to succeed.
async fn told(
    board: &Alone,
    path: &str,
    action: &str,
    arguments: &[(&str, &str)],
) -> Vec<(String, String)> {
    let answer = call(board, path, action, arguments).await;
    let body = soap_body(&answer.body);
    assert_eq!(answer.status, 200, "{body:?}");
    assert_eq!(answer.content_type, "text/xml; charset=\"utf-8\"");
    assert_eq!(header(&answer, "Ext"), Some(""));
    assert!(header(&answer, "Server").unwrap().contains("UPnP/2.0"));
    assert_eq!(body.name, format!("{action}Response"));
    assert_eq!(body.namespace, service_type(service(path)));
    let arguments = body.children.into_iter();
    arguments.map(|it| (it.name, it.text)).collect()
}

/// Code and description of a UPnPError.
fn fault(answer: &Answer) -> (u16, String) {
    let body = soap_body(&answer.body);
    assert_eq!(
        (answer.status, body.name.as_str()),
        (500, "Fault"),
        "{body:?}"
    );
    let named = |name: &str| body.children.iter().find(|child| child.name == name);
    assert_eq!(named("faultcode").unwrap().text, "s:Client");
    assert_eq!(named("faultstring").unwrap().text, "UPnPError");
    let error = &named("detail").unwrap().children[0];
    assert_eq!(error.namespace, "urn:schemas-upnp-org:control-1-0");
    let text = |name| error.child_text(name).unwrap().to_owned();
    (text("errorCode").parse().unwrap(), text("errorDescription"))
}

/// Arguments with which every action succeeds.
fn arguments(service: &Service, action: &str) -> Vec<(&'static str, &'static str)> {
    match (service.name, action) {
        ("Ring", "FindSuccessor" | "FindPredecessor") => vec![("Key", "lamp"), ("Id", "")],
        ("Ring", "Join") => vec![("Sponsor", "192.0.2.9:38400")],
        ("Ring", "Leave") => vec![("Mode", "orderly")],
        ("Bucket", "Put") => vec![
            ("Key", "lamp"),
            ("Value", "{\"on\": true}"),
            ("ValueBytes", ""),
            ("Consistency", "quorum"),
        ],
        ("Bucket", "Get" | "Remove") => vec![("Key", "lamp"), ("Consistency", "quorum")],
        ("Bucket", "ListItems") => vec![("Prefix", ""), ("After", ""), ("Limit", "0")],
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn every_action_answers_all_its_arguments_in_order() {
    let board = board();
    for service in SERVICES {
        for action in service.actions {
            let given = arguments(service, action.name);
            let told = told(&board, service.path, action.name, &given).await;
            let names: Vec<_> = told.iter().map(|(name, _)| name.as_str()).collect();
            let expected: Vec<_> = action.gives.iter().map(|out| out.name).collect();
            assert_eq!(names, expected, "{}", action.name);
            for (out, (_, text)) in action.gives.iter().zip(&told) {
                let what = format!("{} {}: {text}", action.name, out.name);
                let variable = service.variable(out.variable);
                match variable.kind {
                    Kind::Count => drop(text.parse::<u32>().expect(&what)),
                    Kind::Port => drop(text.parse::<u16>().expect(&what)),
                    Kind::Flag => assert!(text == "0" || text == "1", "{what}"),
                    Kind::Json if !text.is_empty() => {
                        drop(serde_json::from_str::<serde_json::Value>(text).expect(&what));
                    }
                    Kind::Text if !variable.allowed.is_empty() => {
                        assert!(variable.allowed.contains(&text.as_str()), "{what}");
                    }
                    _ => {}
                }
            }
        }
    }
}

#[tokio::test]
async fn round_asks_which_product_and_where_to_connect() {
    let board = board();
    let product = told(&board, "round", "GetProductInfo", &[]).await;
    assert_eq!(product[0], ("ProductName".into(), "roundel".into()));
    assert_eq!(product[1], ("ProductVersion".into(), "0.1.0".into()));
    let connection = told(&board, "round", "GetConnectionInfo", &[]).await;
    let texts: Vec<_> = connection.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["192.0.2.1", "38400", "http", "/rpc"]);
}

#[tokio::test]
async fn values_come_back_as_they_were_put() {
    let board = board();
    for (key, json, bytes, stored) in [
        (
            " white space ",
            " {\"b\":1, \"a\" : [ ]}",
            "",
            "{\"b\":1, \"a\" : [ ]}",
        ),
        ("text<&>", "\"<b>&amp;\"", "", "\"<b>&amp;\""),
        ("bytes", "", "AAEC\r\n /w==", ""),
    ] {
        let put = [
            ("Key", key),
            ("Value", json),
            ("ValueBytes", bytes),
            ("Consistency", "all"),
        ];
        told(&board, "bucket", "Put", &put).await;
        let key_known = board.board.state().items.keys().any(|k| k.as_str() == key);
        assert!(key_known, "{key:?} is kept as it is");
        let get = [("Key", key), ("Consistency", "one")];
        let got = told(&board, "bucket", "Get", &get).await;
        assert_eq!(got[0].1, stored);
        let expected = if json.is_empty() { "AAEC/w==" } else { "" };
        assert_eq!(got[1].1, expected);
        assert_eq!(
            got[2],
            ("IsBytes".into(), u8::from(json.is_empty()).to_string())
        );
    }
    let calls = board.board.state().calls.clone();
    let put = calls.into_iter().find_map(|call| match call {
        Call::Put { key, value, .. } if key.as_str() == "bytes" => Some(value),
        _ => None,
    });
    assert_eq!(put, Some(Value::Binary(vec![0, 1, 2, 255].into())));
}

#[tokio::test]
async fn pages_follow_each_other() {
    let board = board();
    for key in ["a/1", "a/2", "b/1"] {
        let put = [
            ("Key", key),
            ("Value", "1"),
            ("ValueBytes", ""),
            ("Consistency", "quorum"),
        ];
        told(&board, "bucket", "Put", &put).await;
    }
    let page = [("Prefix", "a/"), ("After", ""), ("Limit", "1")];
    let first = told(&board, "bucket", "ListItems", &page).await;
    assert!(first[0].1.contains("\"key\":\"a/1\""), "{first:?}");
    let page = [
        ("Prefix", "a/"),
        ("After", first[1].1.as_str()),
        ("Limit", "1"),
    ];
    let second = told(&board, "bucket", "ListItems", &page).await;
    assert!(second[0].1.contains("\"key\":\"a/2\""), "{second:?}");
    assert_eq!(second[1].1, "");
}

#[tokio::test]
async fn order_of_arguments_does_not_matter() {
    let board = board();
    let given = [("Id", ""), ("Key", "lamp")];
    told(&board, "ring", "FindSuccessor", &given).await;
}

#[tokio::test]
async fn wrong_arguments_get_the_error_of_the_standard() {
    let board = board();
    let long = "k".repeat(1_025);
    let deep = "[".repeat(63) + &"]".repeat(63);
    let put = |key, value, bytes, consistency| {
        let names = ["Key", "Value", "ValueBytes", "Consistency"];
        let values = [key, value, bytes, consistency];
        names.into_iter().zip(values).collect::<Vec<(&str, &str)>>()
    };
    for (code, path, action, given) in [
        (402, "bucket", "Get", vec![("Key", "lamp")]),
        (402, "bucket", "Get", vec![]),
        (402, "ring", "GetState", vec![("Key", "lamp")]),
        (
            402,
            "bucket",
            "Get",
            vec![("Key", "a"), ("Key", "b"), ("Consistency", "one")],
        ),
        (402, "bucket", "Put", put("a", "", "!!", "quorum")),
        (
            402,
            "bucket",
            "ListItems",
            vec![("Prefix", ""), ("After", ""), ("Limit", "many")],
        ),
        (
            402,
            "bucket",
            "ListItems",
            vec![("Prefix", ""), ("After", ""), ("Limit", "-1")],
        ),
        (600, "bucket", "Put", put("", "1", "", "quorum")),
        (600, "bucket", "Put", put("a", "", "", "quorum")),
        (600, "bucket", "Put", put("a", "1", "AA==", "quorum")),
        (600, "bucket", "Put", put("a", "{on", "", "quorum")),
        (600, "bucket", "Put", put("a", &deep, "", "quorum")),
        (600, "ring", "Join", vec![("Sponsor", "kitchen")]),
        (
            600,
            "ring",
            "FindSuccessor",
            vec![("Key", ""), ("Id", "12")],
        ),
        (601, "bucket", "Put", put("a", "1", "", "most")),
        (601, "bucket", "Put", put("a", "1", "", "")),
        (601, "ring", "Leave", vec![("Mode", "Orderly")]),
        (
            601,
            "bucket",
            "ListItems",
            vec![("Prefix", ""), ("After", ""), ("Limit", "1001")],
        ),
        (605, "bucket", "Put", put(&long, "1", "", "quorum")),
    ] {
        let (got, description) = fault(&call(&board, path, action, &given).await);
        assert_eq!(got, code, "{action} {given:?}: {description}");
        assert!(description.len() > 15, "{action}: {description}");
    }
    let calls = board.board.state().calls.clone();
    assert_eq!(calls, [], "nothing wrong reaches the board");
}

#[tokio::test]
async fn failures_of_the_board_become_errors_with_a_reason() {
    let board = board();
    let given = [("Key", "lamp"), ("Consistency", "quorum")];
    for (code, failure) in [
        (501, CallError::Internal("broken".into())),
        (
            701,
            CallError::unavailable("one of two copies is absent; wait"),
        ),
        (702, CallError::NotFound),
        (600, CallError::Invalid("no; say yes".into())),
    ] {
        board.board.state().failure = Some(failure.clone());
        let (got, description) = fault(&call(&board, "bucket", "Get", &given).await);
        assert_eq!(got, code, "{failure:?}");
        assert!(description.contains(&failure.to_string()), "{description}");
    }
}

#[tokio::test]
async fn result_that_xml_cannot_carry_is_an_error_of_its_own() {
    let board = board();
    let request = |key: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"put","params":{{"key":"{key}","value":1}}}}"#)
    };
    for key in [r"a\u0001", "b"] {
        let json = ("Content-Type", "application/json");
        let request = super::request("POST", "/rpc", &[json], &request(key));
        assert_eq!(board.service.handle(&request).await.status, 200);
    }
    let page = [("Prefix", ""), ("After", ""), ("Limit", "1")];
    let (code, description) = fault(&call(&board, "bucket", "ListItems", &page).await);
    assert_eq!(code, 704, "{description}");
    let whole = [("Prefix", ""), ("After", ""), ("Limit", "0")];
    let items = told(&board, "bucket", "ListItems", &whole).await;
    assert!(items[0].1.contains(r"a\u0001"), "JSON can: {items:?}");
}

#[tokio::test]
async fn action_that_is_not_there_is_401() {
    let board = board();
    let known = call(&board, "ring", "GetState", &[]).await;
    assert_eq!(known.status, 200);
    let (code, description) = fault(&call(&board, "ring", "Explode", &[]).await);
    assert_eq!(code, 401);
    assert!(
        description.contains("GetState, GetFingers"),
        "{description}"
    );
    let body = envelope(service("ring"), "GetState", &[]);
    let named = "urn:roundel-org:service:Ring:1#GetState";
    for (action, body) in [
        (
            Some("\"urn:roundel-org:service:Ring:1#Leave\""),
            body.clone(),
        ),
        (Some("urn:roundel-org:service:Ring:1"), body.clone()),
        (None, body.clone()),
        (
            Some("urn:roundel-org:service:Ring:2#GetState"),
            body.replace("Ring:1", "Ring:2"),
        ),
        (
            Some("urn:roundel-org:service:Bucket:1#GetState"),
            body.replace("Ring:1", "Bucket:1"),
        ),
        (
            Some("urn:other-org:service:Ring:1#GetState"),
            body.replace("roundel-org", "other-org"),
        ),
    ] {
        let fields = [Some(XML), action.map(|action| ("SOAPACTION", action))];
        let fields: Vec<_> = fields.into_iter().flatten().collect();
        let request = request("POST", "/service/ring/control", &fields, &body);
        let answer = board.service.handle(&request).await;
        assert_eq!(fault(&answer).0, 401, "{action:?} {body}");
    }
    let fields = [XML, ("SOAPACTION", named)];
    let request = request("POST", "/service/ring/control", &fields, &body);
    assert_eq!(
        board.service.handle(&request).await.status,
        200,
        "without quotes"
    );
}

#[tokio::test]
async fn a_header_entry_that_must_be_understood_gets_its_fault() {
    let board = board();
    let body = envelope(service("ring"), "GetState", &[]);
    let entry = |must: u8| {
        let header = format!(
            "<s:Header><t:Transaction xmlns:t=\"urn:t\" s:mustUnderstand=\"{must}\">5\
             </t:Transaction></s:Header><s:Body>"
        );
        body.replace("<s:Body>", &header)
    };
    let fields = [
        XML,
        ("SOAPACTION", "\"urn:roundel-org:service:Ring:1#GetState\""),
    ];
    let ask = |body: String| request("POST", "/service/ring/control", &fields, &body);
    let answer = board.service.handle(&ask(entry(1))).await;
    let told = soap_body(&answer.body);
    assert_eq!((answer.status, told.name.as_str()), (500, "Fault"));
    assert_eq!(told.children[0].text, "s:MustUnderstand");
    assert_eq!(board.service.handle(&ask(entry(0))).await.status, 200);
}

#[tokio::test]
async fn what_is_no_soap_is_refused_before_it_is_read() {
    let board = board();
    let target = "/service/ring/control";
    let good = envelope(service("ring"), "GetState", &[]);
    let action = ("SOAPACTION", "\"urn:roundel-org:service:Ring:1#GetState\"");
    let bomb = good.replace("?>", "?><!DOCTYPE s [<!ENTITY x \"y\">]>");
    let deep = good.replace("<u:", &("<a>".repeat(33) + "<u:"));
    let long = good.replace("</u:", &format!("{}</u:", " ".repeat(64 * 1_024)));
    for (status, fields, body) in [
        (400, vec![XML, action], "no XML".to_owned()),
        (400, vec![XML, action], String::new()),
        (400, vec![XML, action], "<a/>".to_owned()),
        (400, vec![XML, action], bomb),
        (400, vec![XML, action], deep),
        (413, vec![XML, action], long),
        (415, vec![action], good.clone()),
        (
            415,
            vec![("Content-Type", "application/json"), action],
            good.clone(),
        ),
        (
            415,
            vec![("Content-Type", "text/xml; charset=latin1"), action],
            good.clone(),
        ),
        (
            415,
            vec![XML, ("Content-Encoding", "gzip"), action],
            good.clone(),
        ),
        (
            421,
            vec![XML, action, ("Host", "evil.example")],
            good.clone(),
        ),
        (
            403,
            vec![XML, action, ("Origin", "http://evil.example")],
            good.clone(),
        ),
    ] {
        let request = request("POST", target, &fields, &body);
        let answer = board.service.handle(&request).await;
        assert_eq!(answer.status, status, "{fields:?} {body:.80}");
    }
    for (method, target) in [("GET", target), ("SUBSCRIBE", target), ("PUT", target)] {
        let request = request(method, target, &[XML, action], &good);
        let answer = board.service.handle(&request).await;
        assert_eq!(
            (answer.status, header(&answer, "Allow")),
            (405, Some("POST"))
        );
    }
    let mut datagram = request("POST", target, &[XML, action], &good);
    datagram.transport = Transport::Udp;
    assert_eq!(board.service.handle(&datagram).await.status, 400);
    assert_eq!(board.board.state().calls, [], "none reaches the board");
}
