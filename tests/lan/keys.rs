//! Keys: boards that pair, ones that are let in by id and by code, one of another key, rotation
//! under load, a board that is revoked.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::lab::Lab;
use crate::node::Node;
use crate::ring;
use crate::wait;
use crate::writer::Load;

const FORM_MAX: Duration = Duration::from_secs(15);
/// A revoked board is out within this.
const OUT_MAX: Duration = Duration::from_secs(60);

fn data(lab: &Lab, board: usize) -> PathBuf {
    let path = lab.directory().join(format!("data{}", board + 1));
    fs::create_dir_all(&path).expect("the lab's directory is there");
    path
}

/// Every board's file holds this key.
fn give_key(lab: &Lab, board: usize, key: u8) {
    let text = format!("roundel-key-1 0 {}\n", format!("{key:02x}").repeat(32));
    fs::write(data(lab, board).join("cluster.key"), text).expect("there is room");
}

/// The board's window was open in an earlier boot of the system.
fn end_window(lab: &Lab, board: usize) {
    fs::write(data(lab, board).join("pairing"), "another-boot 99999999\n").expect("there is room");
}

fn state(node: &Node) -> Value {
    node.call("get_key_state", json!({}))
        .expect("keys are told")
}

/// They have the same current key in their state and in their files, which are private.
fn assert_one_key(lab: &Lab, nodes: &[Node]) -> String {
    use std::os::unix::fs::PermissionsExt;
    let kids: Vec<Value> = nodes
        .iter()
        .map(|node| state(node)["kid"].clone())
        .collect();
    assert!(kids.iter().all(|kid| *kid == kids[0]), "{kids:?}");
    for node in nodes {
        let path = data(lab, node.index()).join("keyring");
        let mode = fs::metadata(&path)
            .expect("it is kept")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
    kids[0].as_str().expect("a key has a name").to_owned()
}

#[test]
fn boards_without_a_key_pair_and_go_on_after_a_restart() {
    let lab = Lab::in_memory("pair", 3);
    let mut nodes = ring::form(&lab, 0..3);
    let paired = assert_one_key(&lab, &nodes);
    assert_eq!(state(&nodes[0])["access"], "provisional");
    nodes[1]
        .call("confirm_cluster", json!({}))
        .expect("confirmed");
    wait::until("every board knows", Duration::from_secs(5), || {
        let open = nodes.iter().find(|node| state(node)["access"] != "keyed");
        open.map_or(Ok(()), |node| Err(node.name.clone()))
    });
    // Whoever listened while they paired does not have the key they go on with.
    let kid = assert_one_key(&lab, &nodes);
    assert_ne!(kid, paired);
    for node in &mut nodes {
        node.kill();
    }
    drop(nodes);
    let nodes = ring::form(&lab, 0..3);
    assert_eq!(assert_one_key(&lab, &nodes), kid);
    assert_eq!(state(&nodes[2])["access"], "keyed");
}

/// What the command line prints on this board.
fn said(node: &Node, words: &[&str]) -> String {
    let at = node.endpoint().to_string();
    let words = [words, &["--node", &at]].concat();
    node.board().output(env!("CARGO_BIN_EXE_roundel"), &words)
}

/// The fingerprint that every board shows, in its status, beside the number of boards.
fn wait_for_fingerprint(nodes: &[Node]) -> String {
    let (digits, took) = wait::until("every board shows the same digits", FORM_MAX, || {
        let shown = nodes.iter().map(|node| {
            let text = said(node, &["status", "--json"]);
            let status: Value = serde_json::from_str(&text).expect("it prints JSON");
            assert_eq!(status["node"]["members"], nodes.len(), "{text}");
            status["node"]["fingerprint"].clone()
        });
        let shown: Vec<Value> = shown.collect();
        match shown[0].as_str() {
            Some(digits) if shown.iter().all(|it| *it == shown[0]) => Ok(digits.to_owned()),
            _ => Err(format!("{shown:?}")),
        }
    });
    println!("{digits} on {} boards after {took:?}", nodes.len());
    digits
}

#[test]
fn boards_that_pair_show_one_fingerprint_until_it_is_confirmed() {
    let lab = Lab::in_memory("fingerprint", 4);
    let mut nodes = ring::form(&lab, 0..3);
    let first = wait_for_fingerprint(&nodes);
    for node in &nodes {
        let shown = said(node, &["key", "show"]);
        assert!(
            shown.contains(&format!("fingerprint: {first}, 3 boards")),
            "{shown}"
        );
        let status = said(node, &["status"]);
        assert!(
            status.contains(&format!("fingerprint {first}, 3 boards; compare")),
            "{status}"
        );
        let log = node.log();
        let line = format!("fingerprint {first} over 3 boards");
        assert!(log.contains(&line), "{log}");
    }
    // One starts again: it says `ready` with what it counts, and all show others.
    nodes[1].kill();
    nodes.remove(1);
    nodes.insert(1, Node::start(&lab, 1));
    let ready = &nodes[1].ready;
    assert!(ready.contains(" access=provisional key="), "{ready}");
    assert!(ready.ends_with(" members=3"), "{ready}");
    ring::wait_for_ring(&nodes, FORM_MAX);
    wait::until("there are other digits", FORM_MAX, || {
        let shown = state(&nodes[0])["fingerprint"].clone();
        match shown != first && !shown.is_null() {
            true => Ok(()),
            false => Err(shown.to_string()),
        }
    });
    let second = wait_for_fingerprint(&nodes);
    nodes.push(Node::start(&lab, 3));
    ring::wait_for_ring(&nodes, FORM_MAX);
    let third = wait_for_fingerprint(&nodes);
    assert!(
        first != second && second != third,
        "{first} {second} {third}"
    );
    let outdated = nodes[0].call("confirm_cluster", json!({"fingerprint": second}));
    let outdated = outdated.expect_err("a fourth board has come in");
    assert!(outdated.message.contains(&third), "{outdated:?}");
    let confirmed = said(&nodes[2], &["key", "confirm"]);
    assert!(
        confirmed.starts_with(&format!(
            "confirmed: fingerprint {third}, 4 boards\nkeyed: key "
        )),
        "{confirmed}"
    );
    wait::until("nobody shows any", FORM_MAX, || {
        let states: Vec<Value> = nodes.iter().map(state).collect();
        let done = |it: &Value| it["access"] == "keyed" && it["fingerprint"].is_null();
        match states.iter().all(done) {
            true => Ok(()),
            false => Err(format!("{states:?}")),
        }
    });
    assert_one_key(&lab, &nodes);
}

#[test]
fn board_that_comes_late_is_let_in_by_its_id() {
    let lab = Lab::in_memory("accept", 3);
    let mut nodes = ring::form(&lab, 0..2);
    nodes[0]
        .call("confirm_cluster", json!({}))
        .expect("confirmed");
    nodes.push(Node::start(&lab, 2));
    let id = nodes[2].id.clone();
    wait::until("it asks", FORM_MAX, || {
        let asking = state(&nodes[0])["asking"].to_string();
        asking.contains(&id).then_some(()).ok_or(asking)
    });
    let members = nodes[0].members().expect("it answers");
    assert_eq!(members.len(), 2, "{members:?}");
    nodes[0]
        .call("accept_node", json!({"node": id}))
        .expect("accepted");
    ring::wait_for_ring(&nodes, Duration::from_secs(30));
    assert_one_key(&lab, &nodes);
}

/// What `roundel key …` prints on a board, and its exit code.
fn key_verb(lab: &Lab, node: &Node, words: &str) -> (String, String) {
    let binary = env!("CARGO_BIN_EXE_roundel");
    let at = format!("127.0.0.1:{}", node.endpoint().port());
    let line = format!("{binary} {words} --node {at}; echo $?");
    let said = lab.board(node.index()).output("sh", &["-c", &line]);
    let code = said.lines().rfind(|line| line.parse::<u8>().is_ok());
    let code = code.unwrap_or_else(|| panic!("{said}")).to_owned();
    (said, code)
}

#[test]
fn board_whose_window_is_over_comes_in_by_a_code() {
    let lab = Lab::in_memory("code", 4);
    (0..3).for_each(|board| give_key(&lab, board, 7));
    end_window(&lab, 3);
    let mut nodes = ring::form(&lab, 0..3);
    nodes.push(Node::start(&lab, 3));
    let (said, exit) = key_verb(&lab, &nodes[1], "key code");
    let code = said
        .lines()
        .find(|line| line.contains('-'))
        .expect("a code");
    let code = code.to_owned();
    assert!(exit == "0" && code.len() == 9, "{said}");
    // A wrong one first.
    let wrong = code.replace(&code[8..], if code.ends_with('9') { "0" } else { "9" });
    let start = Instant::now();
    let (said, exit) = key_verb(&lab, &nodes[3], &format!("key enter {wrong}"));
    println!("a wrong code is told after {:?}: {said}", start.elapsed());
    assert_eq!(exit, "1", "{said}");
    assert!(said.contains("attempts left: 4"), "{said}");
    assert!(
        said.contains("`roundel key code` on a board of the ring"),
        "{said}"
    );
    for (words, expected) in [("key show", "attempts left: 4"), ("status", "Join code")] {
        let (said, _) = key_verb(&lab, &nodes[1], words);
        assert!(said.contains(expected), "{said}");
        assert!(!said.contains(&code), "{said}");
    }
    let members = nodes[0].members().expect("it answers");
    assert_eq!(members.len(), 3, "{members:?}");
    // Nobody is told a code over the LAN, not even with the key.
    let at = nodes[1].endpoint().to_string();
    let binary = env!("CARGO_BIN_EXE_roundel");
    let file = data(&lab, 1).join("cluster.key");
    let asked = ["call", "make_join_code", "--node", &at, "--key"];
    let asked = [&asked[..], &[file.to_str().expect("a path")]].concat();
    let said = lab.board(0).output(binary, &asked);
    assert!(said.contains("others could read"), "{said}");
    let start = Instant::now();
    let (said, exit) = key_verb(&lab, &nodes[3], &format!("key enter {code}"));
    println!(
        "a board is in by its code after {:?}: {said}",
        start.elapsed()
    );
    assert!(exit == "0" && said.starts_with("keyed"), "{said}");
    ring::wait_for_ring(&nodes, Duration::from_secs(30));
    println!("the ring is whole after {:?}", start.elapsed());
    assert_one_key(&lab, &nodes);
    assert_eq!(state(&nodes[1])["code"], Value::Null, "it is void");
    let (said, exit) = key_verb(&lab, &nodes[3], &format!("key enter {code}"));
    assert!(exit == "1" && said.contains("next:"), "{said}");
}

#[test]
fn board_of_another_key_or_of_an_ended_window_stays_outside() {
    let lab = Lab::in_memory("strange", 4);
    give_key(&lab, 0, 1);
    give_key(&lab, 1, 1);
    give_key(&lab, 2, 2);
    end_window(&lab, 3);
    let nodes = ring::form(&lab, 0..2);
    let others = [Node::start(&lab, 2), Node::start(&lab, 3)];
    let look = Duration::from_millis(200);
    wait::holds("nobody mixes", Duration::from_secs(10), look, || {
        for (node, count) in nodes
            .iter()
            .map(|n| (n, 2))
            .chain(others.iter().map(|n| (n, 1)))
        {
            let members = node.members()?;
            if members.len() != count {
                return Err(format!("{}: {members:?}", node.name));
            }
        }
        Ok(())
    });
    nodes[0].put("k", "v").expect("a board itself may write");
    let missing = others[0].get("k").expect_err("it is another ring's");
    assert_eq!(missing.code, -32004, "{missing:?}");
}

#[test]
fn key_is_rotated_under_load_without_a_failed_call_and_a_board_is_revoked() {
    let lab = Lab::in_memory("rotate", 5);
    (0..5).for_each(|board| give_key(&lab, board, 7));
    let mut nodes = ring::form(&lab, 0..5);
    ring::wait_until_settled(&nodes);
    let before = assert_one_key(&lab, &nodes);
    let load = Load::start("rotation", &nodes);
    std::thread::sleep(Duration::from_secs(1));
    for at in [0, 3] {
        let start = Instant::now();
        let told = nodes[at].call("rotate_key", json!({})).expect("rotated");
        println!("rotated over 5 boards in {:?}", start.elapsed());
        assert_eq!(told["waiting"], json!([]), "{told}");
        std::thread::sleep(Duration::from_secs(1));
    }
    let outcome = load.stop();
    println!("{} puts, refused {:?}", outcome.keys.len(), outcome.refused);
    assert!(outcome.refused.is_empty() && outcome.keys.len() > 50);
    assert_ne!(assert_one_key(&lab, &nodes), before);
    assert_eq!(state(&nodes[4])["epoch"], 2);
    // One is stolen.
    let stolen = nodes.remove(2);
    let start = Instant::now();
    nodes[0]
        .call("revoke_node", json!({"node": stolen.id}))
        .expect("revoked");
    ring::wait_for_ring(&nodes, OUT_MAX);
    println!("a board is revoked after {:?}", start.elapsed());
    let look = Duration::from_millis(200);
    wait::holds("it stays out", Duration::from_secs(10), look, || {
        let members = nodes[1].members()?;
        let inside = members.iter().any(|(id, _)| *id == stolen.id);
        (!inside && members.len() == 4)
            .then_some(())
            .ok_or(format!("{members:?}"))
    });
    assert_ne!(
        state(&stolen)["kid"].as_str(),
        Some(assert_one_key(&lab, &nodes).as_str())
    );
    outcome.check("after a rotation and a revocation", &nodes);
}
