//! A board whose data directory can only be read: in the ring, of use, and never missed.

use std::fs;
use std::process::Command;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

use crate::lab::Lab;
use crate::node::{Node, Start};
use crate::ring;
use crate::wait;

/// The others hold a board to be absent within this.
const ABSENT_MAX: Duration = Duration::from_secs(15);

/// Gives a board of the lab a data directory that can only be read, and a small file system in
/// memory. The mounts are those of the board's own thread, and go with it.
fn make_read_only(lab: &Lab, board: usize) {
    let data = lab.directory().join(Start::on(board).data);
    fs::create_dir_all(&data).expect("the lab's directory is there");
    let data = data.display().to_string();
    lab.board(board).agent().run(move || {
        unshare(CloneFlags::CLONE_NEWNS).expect("root may make namespaces");
        for arguments in [
            vec!["--make-rprivate", "/"],
            vec!["-t", "tmpfs", "-o", "size=24m", "tmpfs", "/dev/shm"],
            vec!["--bind", &data, &data],
            vec!["-o", "remount,bind,ro", &data],
        ] {
            let status = Command::new("mount").args(&arguments).status();
            assert!(status.expect("mount runs").success(), "{arguments:?}");
        }
    });
}

/// How `node` sees the board of this id: its standing, and whether it is there.
fn seen(node: &Node, id: &str) -> Result<(String, bool), String> {
    let state = node.call("get_cluster_state", json!({}));
    let state = state.map_err(|error| format!("{}: {error:?}", node.name))?;
    let nodes = state["cluster"]["nodes"].as_array().cloned();
    let found = nodes.into_iter().flatten().find(|it| it["hash"] == id);
    let found = found.ok_or_else(|| format!("{} does not list it", node.name))?;
    let standing = found["standing"].as_str().unwrap_or_default().to_owned();
    Ok((standing, found["alive"] == true))
}

/// All of the nodes see it stand as diskless, and there or not.
fn wait_seen(nodes: &[Node], id: &str, there: bool, deadline: Duration) -> Duration {
    let look = || {
        nodes.iter().try_for_each(|node| match seen(node, id)? {
            (standing, alive) if standing == "diskless" && alive == there => Ok(()),
            other => Err(format!("{} sees {other:?}", node.name)),
        })
    };
    wait::until("it is seen as diskless", deadline, look).1
}

fn stats(node: &Node) -> Value {
    node.call("get_node_stats", json!({})).expect("stats")
}

#[test]
fn board_with_a_read_only_data_directory_serves_and_harms_nobody() {
    let lab = Lab::new("diskless", 4);
    let nodes = ring::form(&lab, 0..3);
    make_read_only(&lab, 3);
    let mut diskless = Node::start(&lab, 3);
    let took = wait_seen(&nodes, &diskless.id, true, ring::SETTLED_MAX);
    println!("in the ring {took:?} after it was ready");
    for i in 0..40 {
        diskless.put(&format!("k{i}"), "v").expect("three boards");
    }
    for i in 0..40 {
        assert_eq!(diskless.get(&format!("k{i}")).expect("a value"), "v");
    }
    for node in &nodes {
        wait::until("every board holds each", ring::SETTLED_MAX, || {
            let items = stats(node)["items"].clone();
            (items == 40).then_some(()).ok_or(items.to_string())
        });
    }
    let own = stats(&diskless);
    assert_eq!(
        (&own["items"], &own["store"]),
        (&json!(0), &json!("diskless"))
    );
    assert_eq!(own["safe_to_unplug"], true);
    // The board it was asked at says it, and so does any other.
    let at = nodes[0].endpoint().to_string();
    let binary = env!("CARGO_BIN_EXE_roundel");
    let said = lab.board(0).output(binary, &["nodes", "--node", &at]);
    let line = said.lines().find(|line| line.contains(&diskless.name));
    let line = line.unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains('!') && line.contains("diskless"), "{said}");
    let said = lab.board(0).output(binary, &["status", "--node", &at]);
    assert!(said.contains("runs without a data partition"), "{said}");

    let id = diskless.id.clone();
    diskless.kill();
    let took = wait_seen(&nodes, &id, false, ABSENT_MAX);
    println!("absent {took:?} after the kill");
    for (i, node) in nodes.iter().cycle().take(30).enumerate() {
        let put = json!({"key": format!("k{i}"), "value": "w", "consistency": "all"});
        let put = node.call("put", put).expect("nothing is missing");
        assert_ne!(put["degraded"], true, "{put}");
        let scan = node
            .call("scan_items", json!({"limit": 5}))
            .expect("a page");
        assert_ne!(scan["degraded"], true, "{scan}");
    }
    wait::until("it is not missed", ring::SETTLED_MAX, || {
        let reason = stats(&nodes[0])["unplug_reason"].clone();
        (reason == "").then_some(()).ok_or(reason.to_string())
    });

    let mut again = Node::start(&lab, 3);
    assert_eq!(again.id, id, "the machine was up all the time");
    wait_seen(&nodes, &id, true, ring::SETTLED_MAX);
    assert_eq!(again.get("k3").expect("a value"), "w");
    assert!(again.terminate().success());
    wait::until("it has left", ring::SETTLED_MAX, || {
        nodes.iter().try_for_each(|node| match seen(node, &id) {
            Ok(seen) => Err(format!("{} sees {seen:?}", node.name)),
            Err(_) => Ok(()),
        })
    });
    let data = lab.directory().join(Start::on(3).data);
    let left = fs::read_dir(&data).expect("a directory").count();
    assert_eq!(left, 0, "nothing is written to the directory");
}
