//! The rules of udev: their form, and what they run for a device that comes.

use std::path::Path;
use std::process::Command;

/// In namespaces of its own: the rules alone where udev looks for them, and an interface.
const SCRIPT: &str = "set -eu
mount -t tmpfs tmpfs /run
mkdir -p /run/udev/rules.d
cp udev/*.rules /run/udev/rules.d
ip link add plugged type veth peer name other
mount -t sysfs sysfs /sys
udevadm test --action=add /sys/class/net/plugged
udevadm test --action=add /sys/class/net/lo
";

fn rules() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = root.join("udev").read_dir().expect("there are rules");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("it is read").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".rules"))
        .collect();
    names.sort();
    names
}

#[test]
fn rules_are_well_formed_and_run_their_script() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("unshare")
        .args(["--mount", "--net", "/bin/sh", "-c", SCRIPT])
        .current_dir(root)
        .output()
        .expect("unshare runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        output.status.success(),
        "udevadm test, which is in the package udev: {said}"
    );
    for name in rules() {
        assert!(said.contains(&format!("rules.d/{name}")), "{name}: {said}");
    }
    // What is wrong with a rule is told with its file and line, before any device is looked at.
    let wrong = said.lines().find(|line| {
        let of_ours = line.contains("-roundel-") && line.contains(".rules:");
        of_ours
            && ["nvalid", "nknown", "gnoring"]
                .iter()
                .any(|word| line.contains(word))
    });
    assert_eq!(wrong, None, "{said}");
    let run = |name: &str| said.contains(&format!("run: '/lib/roundel/interface {name}'"));
    assert!(run("plugged"), "{said}");
    assert!(!run("lo"), "{said}");
    verify();
}

/// `udevadm verify` is of systemd 254 and newer.
fn verify() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let known = Command::new("udevadm").args(["verify", "--help"]).output();
    if !known.expect("udevadm runs").status.success() {
        println!("this udevadm has no `verify`: the form was checked by `udevadm test` alone");
        return;
    }
    for name in rules() {
        let path = root.join("udev").join(&name);
        let output = Command::new("udevadm").arg("verify").arg(path).output();
        let output = output.expect("udevadm runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
    }
}

#[test]
fn each_rule_has_a_section_of_the_readme_and_scripts_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &Path| std::fs::read_to_string(path).expect("it is read");
    let readme = read(&root.join("udev/readme.md"));
    for name in rules() {
        assert!(readme.contains(&format!("## {name}\n")), "{name}");
        let text = read(&root.join("udev").join(&name));
        assert!(!text.contains("/bin/sh"), "{name} has shell of its own");
        for program in text.split("RUN+=\"").skip(1) {
            let path = program.split([' ', '"']).next().unwrap_or_default();
            let script = root.join("board/common/root").join(&path[1..]);
            assert!(script.is_file(), "{name}: {path}");
        }
    }
}
