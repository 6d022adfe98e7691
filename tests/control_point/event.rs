//! Events as a strict foreign client hears them.

use serde_json::Value;

use crate::client::{Listening, json_lines, location, upnp_client};
use crate::lab::Lab;
use crate::node::Node;

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
