//! Every action called by a strict foreign client, with good arguments and with bad ones.

use roundel::service::device::SERVICES;
use serde_json::Value;

use crate::client::{json_lines, location, start_on_loopback, strict};
use crate::lab::{Board, Lab};
use crate::node::Node;

/// Runs an action; its out arguments.
///
/// # Errors
/// What the client said.
fn call(board: &Board, url: &str, action: &str, arguments: &[&str]) -> Result<Value, String> {
    let said = strict(board, &[&["call-action", url, action], arguments].concat());
    match json_lines(&said).pop() {
        Some(answer) => Ok(answer["out_parameters"].clone()),
        None => Err(said),
    }
}

/// Has the node of that name carry out actions that change something.
fn allow_writes(lab: &Lab, name: &str) {
    let path = lab.directory().join(format!("{name}.toml"));
    std::fs::write(path, "soap_writes = true\n").expect("the lab's directory is there");
}

const RING: &str = "urn:roundel-org:service:Ring:1";
const BUCKET: &str = "urn:roundel-org:service:Bucket:1";

fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name]
        .as_str()
        .unwrap_or_else(|| panic!("{name} in {answer}"))
}

/// Two boards of one ring that carry out every action.
fn ring_of_two(lab: &Lab) -> (Node<'_>, Node<'_>) {
    for name in ["n1", "n2"] {
        allow_writes(lab, name);
    }
    let (node, other) = (Node::start(lab, 0), Node::start(lab, 1));
    let ids = [node.id.clone(), other.id.clone()];
    let look = || node.sees_ring(&ids).and(other.sees_ring(&ids));
    crate::wait::until("a ring of two", crate::client::PATIENCE, look);
    (node, other)
}

#[test]
fn every_action_succeeds_with_good_arguments() {
    let lab = Lab::new("cp-actions", 3);
    let (node, other) = ring_of_two(&lab);
    // On the board itself: from elsewhere on the LAN nobody may change the ring.
    let (board, url) = (lab.board(0), location(&node));
    let other_at = format!("Sponsor={}", other.endpoint());
    let put = [
        "Key=lamp <b>",
        "Value={\"on\": true}",
        "ValueBytes=",
        "Consistency=quorum",
    ];
    let steps: [(&str, &[&str]); 12] = [
        ("Ring/GetState", &[]),
        ("Ring/GetFingers", &[]),
        ("Ring/FindSuccessor", &["Key=lamp", "Id="]),
        ("Ring/FindPredecessor", &["Key=", "Id="]),
        ("Ring/Join", &[&other_at]),
        ("Bucket/Put", &put),
        ("Bucket/Get", &["Key=lamp <b>", "Consistency=all"]),
        ("Bucket/ListItems", &["Prefix=", "After=", "Limit=10"]),
        ("Bucket/Remove", &["Key=lamp <b>", "Consistency=quorum"]),
        ("Cluster/GetNodes", &[]),
        ("Cluster/GetStats", &[]),
        ("Ring/Leave", &["Mode=orderly"]),
    ];
    let mut answers = Vec::new();
    for (action, arguments) in steps {
        let named = format!("urn:roundel-org:service:{}", action.replace('/', ":1/"));
        let answer = call(board, &url, &named, arguments);
        answers.push(answer.unwrap_or_else(|said| panic!("{action} {arguments:?}: {said}")));
    }
    assert_eq!(text(&answers[0], "Id"), node.id);
    assert_eq!(text(&answers[1], "Predecessor"), other.id);
    assert_eq!(text(&answers[3], "NodeId"), other.id, "the own predecessor");
    assert_eq!(text(&answers[6], "Value"), "{\"on\": true}");
    assert!(text(&answers[7], "Items").contains("lamp <b>"));
    assert_eq!(answers[8]["Removed"], true);
    assert_eq!(answers[9]["Cluster"], "lab");
    assert_eq!(answers[10]["State"], "active");
    let bytes = [
        "Key=photo",
        "Value=",
        "ValueBytes=AAEC/w==",
        "Consistency=one",
    ];
    let url = location(&other);
    let put = call(board, &url, &format!("{BUCKET}/Put"), &bytes).unwrap();
    assert_eq!(put["Acks"], 1);
    let get = ["Key=photo", "Consistency=one"];
    let got = call(board, &url, &format!("{BUCKET}/Get"), &get).unwrap();
    assert_eq!(
        (text(&got, "ValueBytes"), &got["IsBytes"]),
        ("AAEC/w==", &Value::Bool(true))
    );
    let round = "urn:cybergarage-org:service:round:1";
    let product = call(board, &url, &format!("{round}/GetProductInfo"), &[]).unwrap();
    assert_eq!(product["ProductName"], "roundel");
    let connection = call(board, &url, &format!("{round}/GetConnectionInfo"), &[]).unwrap();
    assert_eq!(connection["Address"], "10.77.0.2");
    assert_eq!(
        (&connection["Port"], &connection["Path"]),
        (&38_400.into(), &"/rpc".into())
    );
    let all: usize = SERVICES.iter().map(|service| service.actions.len()).sum();
    assert_eq!(all, steps.len() + 2, "every action was called");
}

#[test]
fn wrong_calls_get_the_error_of_the_standard() {
    let lab = Lab::unplugged("cp-errors", 1);
    allow_writes(&lab, "n1");
    let node = start_on_loopback(&lab);
    let (board, url) = (lab.board(0), location(&node));
    let put = |key: &'static str, value| vec![key, value, "ValueBytes=", "Consistency=quorum"];
    for (code, action, arguments) in [
        (600, format!("{BUCKET}/Put"), put("Key=", "Value=1")),
        (600, format!("{BUCKET}/Put"), put("Key=a", "Value=")),
        (600, format!("{BUCKET}/Put"), put("Key=a", "Value={on")),
        (600, format!("{RING}/Join"), vec!["Sponsor=kitchen"]),
        (600, format!("{RING}/FindSuccessor"), vec!["Key=", "Id=12"]),
        (
            600,
            format!("{RING}/FindPredecessor"),
            vec!["Key=a", "Id=12"],
        ),
        (701, format!("{RING}/Leave"), vec!["Mode=orderly"]),
        (
            702,
            format!("{BUCKET}/Get"),
            vec!["Key=nothing", "Consistency=quorum"],
        ),
    ] {
        let said = call(board, &url, &action, &arguments).expect_err(&action);
        let expected = format!("upnp error: {code} (");
        assert!(said.contains(&expected), "{action} {arguments:?}: {said}");
    }
    // The client knows the descriptions and refuses by itself what they do not allow.
    for (action, arguments) in [
        (format!("{BUCKET}/Get"), vec!["Key=a", "Consistency=most"]),
        (format!("{RING}/Leave"), vec!["Mode=loud"]),
        (
            format!("{BUCKET}/ListItems"),
            vec!["Prefix=", "After=", "Limit=1001"],
        ),
    ] {
        let said = call(board, &url, &action, &arguments).expect_err(&action);
        assert!(said.contains("UpnpValueError"), "{action}: {said}");
    }
}
