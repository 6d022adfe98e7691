//! What a board started as root has left once it serves, and the unit that starts it as nobody.

use std::fs;
use std::process::Command;

use crate::namespace::alone;
use crate::process::Daemon;

/// The capabilities of every thread, and whether it may gain some: fields of /proc/PID/status.
fn left(daemon: &Daemon, field: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).expect("it runs");
    let read = |path| fs::read_to_string(path).expect("it runs");
    let all = tasks.map(|task| read(task.expect("a task").path().join("status")));
    let value = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.expect("the kernel tells it").trim().to_owned()
    };
    all.map(value).collect()
}

#[test]
fn a_board_started_as_root_gives_up_every_capability() {
    alone(|| {
        let data = tempfile::tempdir().expect("a directory");
        let mut daemon = Daemon::start(data.path(), &[]);
        daemon.assert_well();
        for field in ["CapPrm:", "CapEff:", "CapInh:", "CapAmb:", "CapBnd:"] {
            let threads = left(&daemon, field);
            assert!(threads.len() > 1, "the store has threads of its own");
            for value in threads {
                let bits = u64::from_str_radix(&value, 16).expect("a bit set");
                assert_eq!(bits, 0, "{field} {value}");
            }
        }
        assert!(
            left(&daemon, "NoNewPrivs:")
                .iter()
                .all(|value| value == "1")
        );
    });
}

#[test]
fn with_another_users_directory_the_right_to_use_it_stays() {
    alone(|| {
        let data = tempfile::tempdir().expect("a directory");
        let nobody = Some(65_534);
        std::os::unix::fs::chown(data.path(), nobody, nobody).expect("we are root");
        let mut daemon = Daemon::start(data.path(), &[]);
        daemon.assert_well();
        // CAP_DAC_OVERRIDE and CAP_FOWNER.
        let kept = format!("{:016x}", (1 << 1) | (1 << 3));
        assert!(left(&daemon, "CapEff:").iter().all(|value| *value == kept));
    });
}

/// The unit is one that systemd takes, and leaves a board little beyond the network.
#[test]
fn the_systemd_unit_is_sound_and_tight() {
    let unit = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/board/common/systemd/roundel.service"
    );
    let directory = tempfile::tempdir().expect("a directory");
    let copy = directory.path().join("roundel.service");
    let text = fs::read_to_string(unit).expect("the unit");
    // The program need not be installed where the unit expects it.
    let here = text.replace("/usr/bin/roundel", env!("CARGO_BIN_EXE_roundel"));
    fs::write(&copy, here).expect("our file");
    let analyze = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze")
            .args(arguments)
            .arg(&copy)
            .env("SYSTEMD_PAGER", "cat")
            .output()
            .expect("systemd-analyze is there (Debian: systemd); ./tests/run installs it");
        let text = [output.stdout, output.stderr].concat();
        (output.status, String::from_utf8_lossy(&text).into_owned())
    };
    let (status, said) = analyze(&["verify", "--man=no"]);
    assert!(status.success() && said.is_empty(), "{said}");
    // 10 is no sandbox at all; the threshold is told in tenths.
    let (status, said) = analyze(&["security", "--offline=true", "--threshold=20"]);
    let overall = said.lines().find(|line| line.contains("Overall"));
    println!("{}", overall.unwrap_or_default());
    assert!(status.success(), "{said}");
}
