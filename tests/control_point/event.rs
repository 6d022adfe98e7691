//! Events as a strict foreign client hears them, and a subscriber that never answers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Listening, json_lines, location, upnp_client};
use crate::lab::Lab;
use crate::node::Node;
use crate::wait::{is_long, until};

/// The values of a variable, in the order they were told.
fn told(said: &str, variable: &str) -> Vec<Value> {
    let whole = &said[..said.rfind('\n').map_or(0, |end| end + 1)];
    let lines = json_lines(whole).into_iter();
    let values = lines.map(|line| line["state_variables"][variable].clone());
    values.filter(|value| !value.is_null()).collect()
}

#[test]
fn strict_client_hears_a_join_and_a_leave() {
    let lab = Lab::new("cp-events", 3);
    let node = Node::start(&lab, 0);
    let arguments = ["--strict", "subscribe", &location(&node), "*"];
    let listening = Listening::start(&lab, 2, "events", &upnp_client(), &arguments);
    let last = |said: &str, variable: &str| told(said, variable).pop();
    let first = listening.until("the first events", |said| {
        ["MemberCount", "State", "ItemCount", "Port"]
            .iter()
            .all(|variable| last(said, variable).is_some())
    });
    println!("every first event after {first:?}, the client's start included");
    assert_eq!(last(&listening.said(), "MemberCount"), Some(1.into()));
    assert_eq!(last(&listening.said(), "State"), Some("active".into()));
    let mut other = Node::start(&lab, 1);
    let joined = |said: &str| {
        last(said, "MemberCount") == Some(2.into())
            && last(said, "Successor") == Some(other.id.as_str().into())
            && last(said, "Predecessor") == Some(other.id.as_str().into())
    };
    let after = listening.until("the join is told", joined);
    println!("the join was told {after:?} after the other board was ready");
    node.put("lamp", "on").expect("a ring of two takes a put");
    listening.until("the item is counted", |said| {
        last(said, "ItemCount") == Some(1.into())
    });
    let layouts = told(&listening.said(), "Layout").len();
    other.terminate();
    let alone = |said: &str| {
        last(said, "MemberCount") == Some(1.into())
            && last(said, "Successor") == Some(node.id.as_str().into())
    };
    let after = listening.until("the leave is told", alone);
    println!("the leave was told {after:?} after the other board had ended");
    let said = listening.said();
    assert!(
        told(&said, "Layout").len() > layouts,
        "the layout changed with it"
    );
    for complaint in ["ERROR", "WARNING", "Traceback"] {
        assert!(!said.contains(complaint), "{said}");
    }
}

/// A subscriber that takes connections and never answers; how many it took.
fn silent_subscriber(lab: &Lab, board: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let (taken, address) = (Arc::new(AtomicUsize::new(0)), lab.board(board).address());
    let counted = taken.clone();
    let at = lab.board(board).agent().run(move || {
        let listener = TcpListener::bind((address, 0)).expect("the address is there");
        let at = listener.local_addr().expect("it is bound");
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming() {
                counted.fetch_add(1, Ordering::SeqCst);
                held.push(stream);
            }
        });
        at
    });
    (at, taken)
}

/// Sends SUBSCRIBE for the item count with these fields; the head of the answer.
fn subscribe(lab: &Lab, board: usize, to: SocketAddr, fields: String) -> String {
    lab.board(board).agent().run(move || {
        let mut stream = TcpStream::connect(to).expect("the board answers");
        let head = format!("SUBSCRIBE /service/bucket/event HTTP/1.1\r\nHost: {to}\r\n");
        let request = format!("{head}Connection: close\r\n{fields}\r\n");
        stream
            .write_all(request.as_bytes())
            .expect("the board reads");
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .expect("the board answers");
        answer
    })
}

#[test]
fn subscriber_that_never_answers_costs_one_connection_and_is_dropped() {
    let lab = Lab::new("cp-silent", 2);
    let node = Node::start(&lab, 0);
    let (at, taken) = silent_subscriber(&lab, 1);
    let fields = format!("NT: upnp:event\r\nCALLBACK: <http://{at}/>\r\n");
    let answer = subscribe(&lab, 1, node.endpoint(), fields);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let sid = answer.lines().find_map(|line| line.strip_prefix("Sid: "));
    let sid = sid.expect("a subscription has a name").to_owned();
    let url = location(&node);
    let arguments = [
        "--strict",
        "subscribe",
        &url,
        "urn:roundel-org:service:Bucket:1",
    ];
    let listening = Listening::start(&lab, 1, "beside", &upnp_client(), &arguments);
    listening.until("the other's first event", |said| {
        !told(said, "ItemCount").is_empty()
    });
    for key in 0..8 {
        node.put(&key.to_string(), "on")
            .expect("a lone board takes a put");
        std::thread::sleep(Duration::from_millis(250));
    }
    listening.until("the other hears them all", |said| {
        told(said, "ItemCount").last() == Some(&8.into())
    });
    assert_eq!(
        taken.load(Ordering::SeqCst),
        1,
        "one event at a time waits for it"
    );
    if !is_long() {
        return;
    }
    let dropped = || match taken.load(Ordering::SeqCst) {
        3 => Ok(()),
        taken => Err(format!("it took {taken} connections")),
    };
    until("three events were tried", Duration::from_secs(80), dropped);
    let renewed = || {
        let answer = subscribe(&lab, 1, node.endpoint(), format!("SID: {sid}\r\n"));
        let gone = answer.starts_with("HTTP/1.1 412");
        gone.then_some(()).ok_or(answer)
    };
    let (_, after) = until("it is dropped", Duration::from_secs(60), renewed);
    println!("dropped {after:?} after its third event");
    node.call("remove", json!({"key": "0"}))
        .expect("a lone board removes");
    listening.until("the other hears of it", |said| {
        told(said, "ItemCount").last() == Some(&7.into())
    });
    assert_eq!(taken.load(Ordering::SeqCst), 3, "nothing more is tried");
}
