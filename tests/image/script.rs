//! The scripts' refusals: each says what was wrong and what to do.

use std::path::Path;
use std::process::{Command, Output};

fn run(script: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output: Output = Command::new(root.join(script))
        .args(arguments)
        .output()
        .expect("the script runs");
    let both = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&both).into_owned(),
    )
}

#[test]
fn an_unknown_board_is_answered_with_the_boards_there_are() {
    let (code, said) = run("image/build.sh", &["rpi9"]);
    assert_eq!(code, Some(2), "{said}");
    for board in ["rpi9", "raspberrypi/rpi4", "qemu/aarch64-virt"] {
        assert!(said.contains(board), "{board}: {said}");
    }
}

#[test]
fn wrong_options_are_refused_before_anything_is_built() {
    for (arguments, part) in [
        (
            &["rpi4", "--key", "/nowhere"][..],
            "--key takes new, none or a file",
        ),
        (&["rpi4", "--hostname", "a b"], "a host name has letters"),
        (&["rpi4", "--wifi", "home"], "SSID:PSK-FILE"),
        (&["rpi4", "--wifi", "home:/nowhere"], "/nowhere"),
        (
            &["rpi4", "--sign", "/nowhere"],
            "--sign takes new or a file",
        ),
        (&["rpi4", "--colour", "red"], "no option --colour"),
        (&["rpi4", "rpi3"], "one board at a time"),
    ] {
        let (code, said) = run("image/build.sh", arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
}

#[test]
fn wireless_networks_are_checked_before_anything_is_built() {
    let directory = tempfile::tempdir().expect("a directory");
    let password = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("there is room");
        path.display().to_string()
    };
    let good = password("good", "eight or more\n");
    for (board, wifi, country, part) in [
        (
            "rpi2",
            format!("home:{good}"),
            "DE",
            "has no wireless network",
        ),
        ("rpi4", format!("home:{good}"), "de", "two capital letters"),
        ("rpi4", format!(":{good}"), "DE", "1 to 32 bytes"),
        (
            "rpi4",
            format!("{}:{good}", "x".repeat(33)),
            "DE",
            "1 to 32 bytes",
        ),
        (
            "rpi4",
            format!("home:{}", password("short", "seven77\n")),
            "DE",
            "8 to 63 characters",
        ),
        (
            "rpi4",
            format!("home:{}", password("long", &"x".repeat(64))),
            "DE",
            "8 to 63 characters",
        ),
        (
            "rpi4",
            format!("home:{}", password("umlaut", "pässwörter\n")),
            "DE",
            "printable ASCII",
        ),
    ] {
        let (code, said) = run(
            "image/build.sh",
            &[board, "--wifi", &wifi, "--country", country],
        );
        assert_eq!(code, Some(2), "{wifi}: {said}");
        assert!(said.contains(part), "{wifi}: {said}");
    }
}

#[test]
fn a_missing_program_is_named_with_its_package() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("/bin/sh")
        .arg(root.join("image/build.sh"))
        .arg("rpi4")
        // Nothing but what the script needs to look around.
        .env("PATH", "/nowhere")
        .output()
        .expect("a shell runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
}

#[test]
fn a_damaged_image_does_not_verify() {
    let directory = tempfile::tempdir().expect("a directory");
    let image = directory.path().join("roundel-rpi4-0.1.0.img.zst");
    std::fs::write(&image, b"not an image").expect("there is room");
    let path = image.display().to_string();
    let (code, said) = run("image/verify.sh", &[&path]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("SHA256SUMS is missing"), "{said}");
    std::fs::write(
        directory.path().join("SHA256SUMS"),
        format!("{}  roundel-rpi4-0.1.0.img.zst\n", "0".repeat(64)),
    )
    .expect("there is room");
    let (code, said) = run("image/verify.sh", &[&path]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("not what SHA256SUMS says"), "{said}");
}
