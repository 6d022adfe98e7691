//! Starts that cannot be: each ends with what is wrong and what to do, and changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::client;
use crate::namespace::{alone, run};
use crate::process::{Daemon, Ended, command, ends};

fn assert_refused(ended: &Ended, code: i32, hints: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}", ended.said);
    for hint in hints {
        assert!(
            ended.said.contains(hint),
            "{hint:?} is not in {}",
            ended.said
        );
    }
    assert!(!ended.said.contains("panicked"), "{}", ended.said);
}

/// A data directory a board has run in.
fn used() -> tempfile::TempDir {
    let data = tempfile::tempdir().expect("a directory");
    Daemon::start(data.path(), &[]).assert_well();
    data
}

/// Every file below a directory, with its bytes.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => found.extend(contents(&path)),
            false => {
                let bytes = fs::read(&path).expect("a file of ours");
                found.insert(path, bytes);
            }
        }
    }
    found
}

#[test]
fn a_data_directory_in_use_is_refused() {
    alone(|| {
        let data = tempfile::tempdir().expect("a directory");
        let mut daemon = Daemon::start(data.path(), &[]);
        let ended = ends(command(data.path(), &[]));
        let path = data.path().display().to_string();
        assert_refused(&ended, 1, &["in use by another roundel", &path, "--data"]);
        daemon.assert_well();
    });
}

#[test]
fn an_identity_others_can_read_or_that_is_no_key_is_refused_and_kept() {
    alone(|| {
        let data = used();
        let path = data.path().join("identity.pk8");
        let whole = fs::read(&path).expect("the board has a key");
        let mode = |mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("our file");
        };
        mode(0o644);
        let ended = ends(command(data.path(), &[]));
        assert_refused(&ended, 1, &["identity.pk8 has mode 644", "chmod 600"]);
        mode(0o600);
        let mut flipped = whole.clone();
        flipped[20] ^= 0xff;
        for damaged in [&whole[..40], &flipped, b"", &[0; 10_000]] {
            fs::write(&path, damaged).expect("our file");
            let ended = ends(command(data.path(), &[]));
            assert_refused(&ended, 1, &["identity.pk8", "new"]);
            assert_eq!(fs::read(&path).expect("our file"), damaged);
        }
        fs::write(&path, whole).expect("our file");
        Daemon::start(data.path(), &[]).assert_well();
    });
}

#[test]
fn a_store_of_a_newer_format_is_left_untouched() {
    alone(|| {
        let data = used();
        let store = data.path().join("store");
        fs::write(store.join("format"), "roundel store 3\n").expect("our file");
        let before = contents(&store);
        let ended = ends(command(data.path(), &[]));
        let hints = [
            "has format 3, this roundel reads up to 2",
            "Nothing was changed",
        ];
        assert_refused(&ended, 1, &hints);
        fs::write(store.join("format"), "something else\n").expect("our file");
        let ended = ends(command(data.path(), &[]));
        assert_refused(
            &ended,
            1,
            &["is not a roundel store", "Nothing was changed"],
        );
        fs::write(store.join("format"), "roundel store 3\n").expect("our file");
        assert!(contents(&store) == before, "the store was changed");
        fs::write(store.join("format"), "roundel store 1\n").expect("our file");
        Daemon::start(data.path(), &[]).assert_well();
    });
}

#[test]
fn a_busy_port_is_an_error_when_it_was_asked_for_and_passed_over_when_not() {
    alone(|| {
        let data = tempfile::tempdir().expect("a directory");
        let _tcp = TcpListener::bind("0.0.0.0:38400").expect("a namespace of our own");
        let _udp = UdpSocket::bind("0.0.0.0:38401").expect("a namespace of our own");
        for port in ["38400", "38401"] {
            let ended = ends(command(data.path(), &["--port", port]));
            let said = format!("port {port} cannot be used");
            assert_refused(&ended, 1, &[&said, "--port"]);
        }
        let mut daemon = Daemon::start(data.path(), &[]);
        assert_eq!(daemon.at.port(), 38402);
        daemon.assert_well();
    });
}

#[test]
fn a_configuration_with_mistakes_is_a_usage_error() {
    alone(|| {
        let data = tempfile::tempdir().expect("a directory");
        let file = data.path().join("roundel.toml");
        let path = file.display().to_string();
        for (text, hint) in [
            ("clutser = \"x\"\n", "cluster"),
            ("[ssdp]\nserach = true\n", "search"),
            ("port = \"38400\"\n", "port"),
            ("port = 1900\n", "1900"),
            ("port = \n", "line 1"),
        ] {
            fs::write(&file, text).expect("our file");
            let ended = ends(command(data.path(), &["--config", &path]));
            assert_refused(&ended, 2, &[hint, &path, "line"]);
        }
        let ended = ends(command(data.path(), &["--config", "/nowhere/roundel.toml"]));
        assert_refused(&ended, 2, &["/nowhere/roundel.toml cannot be read"]);
        let ended = ends(command(data.path(), &["--prot", "38400"]));
        assert_refused(&ended, 2, &["--port"]);
        assert!(!data.path().join("identity.pk8").exists());
    });
}

#[test]
fn a_read_only_data_directory_is_refused() {
    alone(|| {
        let data = used();
        let path = data.path().display().to_string();
        // Root writes through any mode, not through a mount. It goes with the namespace.
        run("mount", &["--bind", &path, &path]);
        run("mount", &["-o", "remount,bind,ro", &path]);
        let before = contents(data.path());
        let ended = ends(command(data.path(), &[]));
        assert_refused(&ended, 1, &[&path, "Read-only file system"]);
        assert!(contents(data.path()) == before, "the directory was changed");
        let file = data.path().join("lock").display().to_string();
        let ended = ends(command(Path::new(&file), &[]));
        assert_refused(&ended, 1, &[&file, "cannot be used"]);
    });
}

#[test]
fn without_its_interface_it_waits_and_answers_on_loopback() {
    alone(|| {
        let data = tempfile::tempdir().expect("a directory");
        let mut daemon = Daemon::start(data.path(), &["--interface", "nosuch0"]);
        daemon.logs("waiting for a network interface");
        daemon.logs("nosuch0");
        assert_eq!(client::get(daemon.at, "/healthz").status, 200);
        daemon.assert_well();
        // It is there at last.
        run(
            "ip",
            &[
                "link", "add", "nosuch0", "type", "veth", "peer", "name", "far0",
            ],
        );
        run("ip", &["address", "add", "192.0.2.7/24", "dev", "nosuch0"]);
        for end in ["far0", "nosuch0"] {
            run("ip", &["link", "set", end, "up"]);
        }
        daemon.logs("this board's address endpoint=192.0.2.7:");
        daemon.assert_well();
    });
}
