//! The package for Debian and Raspberry Pi OS: installed, started and removed in a root of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::guest;
use crate::lab::Lab;
use crate::wait;

/// Makes a package and gives its path.
fn make(architecture: &str, binary: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(root.join("image/deb.sh"))
        .arg(architecture)
        .arg("--binary")
        .arg(binary)
        .output()
        .expect("image/deb.sh runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let path = String::from_utf8_lossy(&output.stdout);
    root.join(path.trim())
}

/// A field of the package.
fn field(package: &Path, name: &str) -> String {
    let output = Command::new("dpkg-deb")
        .arg("-f")
        .arg(package)
        .arg(name)
        .output()
        .expect("dpkg-deb runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn the_package_is_installed_started_and_removed() {
    let package = make("amd64", Path::new(env!("CARGO_BIN_EXE_roundel")));
    assert_eq!(field(&package, "Architecture"), "amd64");
    assert_eq!(field(&package, "Version"), env!("CARGO_PKG_VERSION"));
    let lab = Lab::new("package", 1);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/image/package.sh");
    let said = lab.board(0).output(
        "unshare",
        &[
            "--mount",
            &script.display().to_string(),
            &package.display().to_string(),
        ],
    );
    assert!(
        said.contains("installed, started, removed and purged\n"),
        "{said}"
    );
}

#[test]
fn packages_for_the_boards_have_their_binary() {
    let mut wanted = vec![("arm64", "aarch64", "ARM aarch64")];
    if wait::is_long() {
        wanted.push(("armhf", "armv7", "ARM, EABI5"));
        wanted.push(("amd64", "x86_64", "x86-64"));
    }
    for (architecture, name, machine) in wanted {
        let package = make(architecture, &guest::binary(name));
        assert_eq!(field(&package, "Architecture"), architecture);
        let unpacked = tempfile::tempdir().expect("a directory");
        let status = Command::new("dpkg-deb")
            .arg("-x")
            .arg(&package)
            .arg(unpacked.path())
            .status();
        assert!(status.expect("dpkg-deb runs").success());
        let file = Command::new("file")
            .arg("-b")
            .arg(unpacked.path().join("usr/bin/roundel"))
            .output()
            .expect("file runs");
        let said = String::from_utf8_lossy(&file.stdout);
        assert!(said.contains(machine), "{said}");
        assert!(
            said.contains("statically linked") || said.contains("static-pie linked"),
            "{said}"
        );
        let bytes = std::fs::metadata(unpacked.path().join("usr/bin/roundel"))
            .expect("it is there")
            .len();
        println!("{name}: {:.2} MB, static (goal 6 MB)", bytes as f64 / 1e6);
        assert!(bytes <= 6_000_000, "{bytes} bytes");
    }
}
