//! Starts with files that cannot be used: the board is up, says what is wrong, and is no more open
//! than they might have said. Without `--tolerant` each is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::client;
use crate::namespace::{alone, run};
use crate::process::{DEADLINE, Daemon, command, ends, until};

const KEY_LINE: &str =
    "roundel-key-1 4 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A directory for data and what the owner wrote.
struct Card(tempfile::TempDir);

impl Card {
    fn new() -> Self {
        Card(tempfile::tempdir().expect("a directory"))
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("the directory is ours");
        path.display().to_string()
    }

    fn refuses(&self, arguments: &[&str]) {
        let ended = ends(command(&self.data(), arguments));
        assert!(matches!(ended.code, Some(1 | 2)), "{}", ended.said);
    }

    fn starts(&self, arguments: &[&str]) -> Daemon {
        Daemon::start(&self.data(), &[arguments, &["--tolerant"]].concat())
    }
}

fn answer(daemon: &Daemon, method: &str) -> Value {
    client::call(daemon.at, method, json!({})).expect("it answers")
}

fn state(daemon: &Daemon) -> Value {
    answer(daemon, "get_node_state")
}

fn door(daemon: &Daemon) -> Value {
    answer(daemon, "get_key_state")
}

fn status(daemon: &Daemon) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roundel"));
    let at = daemon.at.to_string();
    let output = command.args(["status", "--node", &at]).output();
    String::from_utf8_lossy(&output.expect("it runs").stdout).into_owned()
}

/// The problem is wherever an owner may look.
fn assert_told(daemon: &Daemon, said: &str) {
    daemon.logs("a problem at the start");
    let console = daemon.printed();
    assert!(
        console.starts_with("problem ") && console.contains(said),
        "{console}"
    );
    assert!(status(daemon).contains(said), "{}", status(daemon));
    let page = client::get(daemon.at, "/presentation").body;
    assert!(page.contains("<div data-tone=\"bad\"><p>"), "{page}");
}

#[test]
fn a_malformed_configuration_is_told_and_the_rest_of_it_holds() {
    alone(|| {
        let card = Card::new();
        let config = card.write("roundel.toml", "grace_time_s = 77\n\nport = \"x\"\n");
        card.refuses(&["--config", &config]);
        let mut daemon = card.starts(&["--config", &config]);
        let problems = state(&daemon)["problems"].clone();
        assert_eq!(problems.as_array().map(Vec::len), Some(1), "{problems}");
        assert_eq!(problems[0]["file"], json!(config));
        assert_eq!(problems[0]["line"], json!(3));
        assert_told(&daemon, &format!("{config}, line 3: port = "));
        let used = answer(&daemon, "get_node_config");
        assert_eq!(used["grace_time_s"], json!(77));
        assert_eq!(state(&daemon)["access"], json!("provisional"));
        daemon.assert_well();
    });
}

#[test]
fn a_doubtful_configuration_opens_nothing() {
    alone(|| {
        let card = Card::new();
        let config = card.write("roundel.toml", "open = true\nkeyfile = \"/k\"\n");
        let daemon = card.starts(&["--config", &config]);
        assert_told(
            &daemon,
            "line 2: 'keyfile' is not a setting; did you mean 'key_file'?",
        );
        assert_eq!(state(&daemon)["access"], json!("keyed"));
        let put = client::call(daemon.at, "put", json!({"key": "a", "value": 1}));
        put.expect_err("nobody without the key writes");
        drop(daemon);
        // Mended, it is what it says.
        card.write("roundel.toml", "open = true\n");
        let mut daemon = card.starts(&["--config", &config]);
        assert_eq!(state(&daemon)["access"], json!("open"));
        assert_eq!(state(&daemon)["problems"], json!([]));
        daemon.assert_well();
    });
}

#[test]
fn a_key_file_that_is_no_key_founds_nothing_with_strangers_and_counts_once_mended() {
    alone(|| {
        let card = Card::new();
        let key = card.write("cluster.key", "# the kitchen's\nroundel-key-1 4 0123\n");
        card.refuses(&["--key-file", &key]);
        let daemon = card.starts(&["--key-file", &key]);
        assert_told(
            &daemon,
            &format!("{key}, line 2: this is not 'roundel-key-1"),
        );
        assert_eq!(state(&daemon)["access"], json!("keyed"));
        let stand_in = door(&daemon)["kid"].clone();
        // A fresh board that pairs with whoever pairs comes not to it.
        let other = tempfile::tempdir().expect("a directory");
        let other = Daemon::start(other.path(), &[]);
        until("the boards meet, and part", DEADLINE, || {
            match door(&daemon)["asking"].as_array().map(Vec::len) {
                Some(1) => Ok(()),
                _ => Err(format!("{}", door(&daemon))),
            }
        });
        assert_eq!(state(&daemon)["members"], json!(1));
        assert_eq!(state(&other)["members"], json!(1));
        assert!(!card.data().join("keyring").exists(), "it is not kept");
        drop((daemon, other));
        card.write("cluster.key", KEY_LINE);
        let mut daemon = card.starts(&["--key-file", &key]);
        assert_eq!(state(&daemon)["problems"], json!([]));
        assert_ne!(door(&daemon)["kid"], stand_in);
        assert_eq!(door(&daemon)["epoch"], json!(4));
        daemon.assert_well();
    });
}

#[test]
fn a_damaged_keyring_is_left_as_it_is() {
    alone(|| {
        let card = Card::new();
        drop(card.starts(&[]));
        let keyring = card.data().join("keyring");
        fs::write(&keyring, "rubbish").expect("our file");
        card.refuses(&[]);
        let daemon = card.starts(&[]);
        assert_told(&daemon, "keyring");
        assert_eq!(state(&daemon)["access"], json!("keyed"));
        drop(daemon);
        assert_eq!(fs::read(&keyring).expect("our file"), b"rubbish");
    });
}

#[test]
fn problems_of_the_start_scripts_are_told_and_a_log_that_cannot_be_opened() {
    alone(|| {
        let card = Card::new();
        let found = card.write(
            "problem",
            "data: it was damaged and is repaired; watch it\n",
        );
        let config = card.write("roundel.toml", "[log]\nfile = \"/nowhere/log\"\n");
        card.refuses(&["--config", &config]);
        let mut daemon = card.starts(&["--config", &config, "--problems", &found]);
        assert_told(&daemon, "data: it was damaged and is repaired; watch it");
        assert_told(&daemon, "/nowhere/log cannot be opened");
        assert_eq!(state(&daemon)["problems"][0]["remedy"], json!("watch it"));
        daemon.assert_well();
    });
}

/// A directory that cannot be written, as a card that is worn out.
fn read_only(path: &Path) {
    fs::create_dir(path).expect("a directory");
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("ours");
    let path = path.display().to_string();
    run(
        "mount",
        &["-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", &path],
    );
}

#[test]
fn without_a_data_partition_it_meets_no_strangers_unless_it_has_a_key() {
    alone(|| {
        let card = Card::new();
        read_only(&card.data());
        let daemon = card.starts(&[]);
        assert_eq!(state(&daemon)["access"], json!("keyed"));
        assert_eq!(door(&daemon)["window_s"], json!(0));
        drop(daemon);
        let key = card.write("cluster.key", KEY_LINE);
        let daemon = card.starts(&["--key-file", &key]);
        assert_eq!(door(&daemon)["epoch"], json!(4));
    });
}
