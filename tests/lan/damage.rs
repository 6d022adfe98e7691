//! A record that rots on one board's flash: never served, fetched from a copy, reported.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::lab::Lab;
use crate::node::Node;
use crate::ring;
use crate::wait;

/// Fills the journals until the record lies in a table alone.
const FILLER_MAX: usize = 1_500;

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    let paths = entries.flatten().map(|entry| entry.path());
    let below = paths.flat_map(|path| match path.is_dir() {
        true => files_below(&path),
        false => vec![path],
    });
    below.collect()
}

/// Files that hold these bytes, and where.
fn holders(directory: &Path, bytes: &[u8]) -> Vec<(PathBuf, usize)> {
    let place = |path: PathBuf| {
        let content = fs::read(&path).ok()?;
        let at = content
            .windows(bytes.len())
            .position(|window| window == bytes)?;
        Some((path, at))
    };
    files_below(directory)
        .into_iter()
        .filter_map(place)
        .collect()
}

#[test]
fn corrupt_record_is_fetched_from_a_copy_and_reported_and_never_served() {
    let lab = Lab::new("damage", 3);
    let mut nodes = ring::form(&lab, 0..3);
    let value = "a value that is found on the medium";
    let put = json!({"key": "rotten", "value": value, "consistency": "all"});
    nodes[0].call("put", put).expect("all three are there");
    let store = lab.directory().join("data2/store/db");
    let filler = "x".repeat(100_000);
    let is_journal = |path: &Path| path.extension().is_some_and(|ending| ending == "jnl");
    for number in 0.. {
        nodes[0]
            .put(&format!("filler {}", number % 50), &filler)
            .expect("a put");
        if number % 100 == 99 {
            let held = holders(&store, value.as_bytes());
            if !held.is_empty() && !held.iter().any(|(path, _)| is_journal(path)) {
                break;
            }
        }
        assert!(number < FILLER_MAX, "the record stays in a journal");
    }
    nodes[1].kill();
    for (path, at) in holders(&store, value.as_bytes()) {
        println!("flips a byte of {}", path.display());
        let mut content = fs::read(&path).expect("our file");
        content[at + 3] ^= 1;
        fs::write(&path, content).expect("our file");
    }
    nodes[1] = Node::start(&lab, 1);
    ring::wait_for_ring(&nodes, ring::SETTLED_MAX);
    let alone = json!({"key": "rotten", "consistency": "one"});
    for _ in 0..3 {
        let got = wait::until("it is read", Duration::from_secs(20), || {
            nodes[1].get("rotten").map_err(|error| format!("{error:?}"))
        });
        assert_eq!(got.0, value);
    }
    assert!(
        nodes[1].log().contains("cannot be read"),
        "{}",
        nodes[1].log()
    );
    let stats = nodes[1]
        .call("get_node_stats", json!({}))
        .expect("it says how it is");
    assert!(
        stats["problems"].to_string().contains("failed their check"),
        "{stats}"
    );
    // Healed: the board has it with nobody else to ask.
    nodes[0].kill();
    nodes[2].kill();
    wait::until("it is read there alone", ring::SETTLED_MAX, || {
        let got = nodes[1].call("get", alone.clone());
        let got = got.map_err(|error| format!("{error:?}"))?;
        assert_eq!(got["value"], value);
        Ok(())
    });
}

#[test]
fn board_with_a_damaged_log_brings_nothing_back_and_is_filled_by_the_others() {
    let lab = Lab::new("damage", 3);
    let mut nodes = ring::form(&lab, 0..3);
    for number in 0..20 {
        let put = json!({
            "key": format!("k{number}"),
            "value": format!("value number {number} of the log"),
            "consistency": "all",
        });
        nodes[0].call("put", put).expect("all three are there");
    }
    nodes[1].kill();
    let store = lab.directory().join("data2/store/db");
    let held = holders(&store, b"value number 7 of the log");
    let (path, at) = held.first().expect("a young store has it in its journal");
    let mut content = fs::read(path).expect("our file");
    content[at + 3] ^= 1;
    fs::write(path, content).expect("our file");
    for number in 0..5 {
        let remove = json!({"key": format!("k{number}")});
        nodes[0]
            .call("remove", remove)
            .expect("two of three are there");
    }
    nodes[1] = Node::start(&lab, 1);
    ring::wait_for_ring(&nodes, ring::SETTLED_MAX);
    assert!(
        nodes[1].log().contains("the log of the store is damaged"),
        "{}",
        nodes[1].log()
    );
    let stats = nodes[1].call("get_node_stats", json!({}));
    let stats = stats.expect("it says how it is").to_string();
    assert!(stats.contains("stores_emptied"), "{stats}");
    // Filled: it has everything that is left with nobody else to ask.
    wait::until("it is filled", ring::SETTLED_MAX, || {
        let list = nodes[1].call("list_items", json!({}));
        let list = list.map_err(|error| format!("{error:?}"))?;
        let held = list["items"].as_array().map_or(0, Vec::len);
        (held == 15).then_some(()).ok_or(format!("{held} items"))
    });
    nodes[0].kill();
    nodes[2].kill();
    for number in 5..20 {
        let alone = json!({"key": format!("k{number}"), "consistency": "one"});
        wait::until("it is read there alone", ring::SETTLED_MAX, || {
            let got = nodes[1].call("get", alone.clone());
            let got = got.map_err(|error| format!("k{number}: {error:?}"))?;
            assert_eq!(got["value"], format!("value number {number} of the log"));
            Ok(())
        });
    }
    for number in 0..5 {
        let alone = json!({"key": format!("k{number}"), "consistency": "one"});
        let got = nodes[1].call("get", alone);
        assert!(got.is_err(), "k{number} came back: {got:?}");
    }
}
