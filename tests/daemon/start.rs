//! Starts that cannot be: each ends with what is wrong and what to do, and changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::client;
use crate::namespace::{alone, run};
use crate::process::{DEADLINE, Daemon, Ended, command, ends, until};

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
fn a_data_directory_that_is_none_is_refused() {
    let data = used();
    let file = data.path().join("lock").display().to_string();
    let ended = ends(command(Path::new(&file), &[]));
    assert_refused(&ended, 1, &[&file, "cannot be used"]);
}

/// A data directory a board has run in, on a medium that can only be read from here on. Root
/// writes through any mode, not through a mount; it goes with the namespace.
fn read_only() -> tempfile::TempDir {
    let data = used();
    let path = data.path().display().to_string();
    run("mount", &["--bind", &path, &path]);
    run("mount", &["-o", "remount,bind,ro", &path]);
    data
}

/// What `roundel status` of a board prints.
fn status(daemon: &Daemon) -> String {
    let mut asked = std::process::Command::new(env!("CARGO_BIN_EXE_roundel"));
    let output = asked.args(["status", "--node", &daemon.at.to_string()]);
    let output = output.output().expect("roundel runs");
    String::from_utf8(output.stdout).expect("it is text")
}

#[test]
fn without_a_data_partition_it_runs_and_keeps_nothing() {
    alone(|| {
        // As much as a small board has.
        run(
            "mount",
            &["-t", "tmpfs", "-o", "size=24m", "tmpfs", "/dev/shm"],
        );
        let data = read_only();
        let before = contents(data.path());
        let path = data.path().display().to_string();
        let mut diskless = Daemon::start(data.path(), &[]);
        diskless.logs("no data partition: this board keeps no copies");
        let health = client::get(diskless.at, "/healthz");
        assert_eq!(
            health.status, 503,
            "alone it founds nothing: {}",
            health.body
        );
        let said = status(&diskless);
        assert!(said.contains("founds none and waits for one"), "{said}");
        // A second process on the same directory is refused as ever.
        let ended = ends(command(data.path(), &[]));
        assert_refused(&ended, 1, &["in use by another roundel", &path]);

        let other = tempfile::tempdir().expect("a directory");
        let mut holder = Daemon::start(other.path(), &[]);
        until("it is in the ring", DEADLINE, || {
            let health = client::get(diskless.at, "/healthz");
            let ready = health.status == 200 && health.body.contains("\"store\":\"diskless\"");
            ready.then_some(()).ok_or(health.body)
        });
        diskless.assert_well();
        holder.assert_well();
        let said = status(&diskless);
        for hint in [
            "This board has no data partition",
            &path,
            "Read-only file system",
            "forgets everything",
            "restart the board",
            "Safe to unplug  yes",
        ] {
            assert!(said.contains(hint), "{hint:?} is not in {said}");
        }
        assert!(status(&holder).contains("without a data partition"));
        let metrics = client::get(diskless.at, "/metrics").body;
        assert!(metrics.contains("roundel_diskless 1\n") && metrics.contains("roundel_items 0\n"));

        // It is the same board as long as the machine stays up.
        let id = diskless.id;
        diskless.signal(nix::sys::signal::Signal::SIGKILL);
        diskless.wait_end();
        let mut again = Daemon::start(data.path(), &[]);
        assert_eq!(again.id, id);
        until("it is in the ring again", DEADLINE, || {
            let health = client::get(again.at, "/healthz");
            (health.status == 200).then_some(()).ok_or(health.body)
        });
        until("the other is back for it", DEADLINE, || {
            client::call(again.at, "put", serde_json::json!({"key": "k", "value": 1}))
                .map(|_| ())
                .map_err(|error| format!("{error:?}"))
        });
        again.assert_well();
        assert!(contents(data.path()) == before, "the directory was changed");
    });
}

#[test]
fn without_memory_either_it_says_what_is_wrong_with_both() {
    alone(|| {
        let data = read_only();
        let disk = tempfile::tempdir().expect("a directory");
        run(
            "mount",
            &["--bind", &disk.path().display().to_string(), "/dev/shm"],
        );
        let path = data.path().display().to_string();
        let ended = ends(command(data.path(), &[]));
        let hints = [
            path.as_str(),
            "Read-only file system",
            "/dev/shm/roundel-",
            "tmpfs",
        ];
        assert_refused(&ended, 1, &hints);
        run(
            "mount",
            &["-t", "tmpfs", "-o", "size=8m", "tmpfs", "/dev/shm"],
        );
        let ended = ends(command(data.path(), &[]));
        assert_refused(&ended, 1, &[&path, "bytes free"]);
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
