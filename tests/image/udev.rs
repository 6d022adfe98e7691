//! The rules of udev, the image's and the package's: their form, and what they do for a device that
//! comes.

use std::path::{Path, PathBuf};
use std::process::Command;

/// In namespaces of its own: the rules of one folder alone where udev looks for them, and an
/// interface.
const SCRIPT: &str = "set -eu
mount -t tmpfs tmpfs /run
mkdir -p /run/udev/rules.d
cp \"$1\"/*.rules /run/udev/rules.d
ip link add plugged type veth peer name other
mount -t sysfs sysfs /sys
udevadm test --action=add /sys/class/net/plugged
udevadm test --action=add /sys/class/net/lo
";
/// Of the image, and of the package.
const FOLDERS: [&str; 2] = ["udev", "udev/package"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rules of a folder, in the order of their names.
fn rules(folder: &str) -> Vec<PathBuf> {
    let entries = root().join(folder).read_dir().expect("there are rules");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("it is read").path())
        .filter(|path| path.extension().is_some_and(|it| it == "rules"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder}");
    paths
}

fn name(path: &Path) -> String {
    let name = path.file_name().expect("it has a name");
    name.to_string_lossy().into_owned()
}

/// What `udevadm test` says of an interface that comes and of the loopback's, with the rules of a
/// folder alone; their form is sound.
fn tested(folder: &str) -> String {
    let output = Command::new("unshare")
        .args(["--mount", "--net", "/bin/sh", "-c", SCRIPT, "sh", folder])
        .current_dir(root())
        .output()
        .expect("unshare runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(
        output.status.success(),
        "udevadm test, which is in the package udev: {said}"
    );
    for path in rules(folder) {
        let read = format!("rules.d/{}", name(&path));
        assert!(said.contains(&read), "{read}: {said}");
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
    said
}

#[test]
fn rules_are_well_formed_and_run_their_script() {
    let said = tested("udev");
    let run = |name: &str| said.contains(&format!("run: '/lib/roundel/interface {name}'"));
    assert!(run("plugged"), "{said}");
    assert!(!run("lo"), "{said}");
    let said = tested("udev/package");
    let sleeps = said.contains("power_save");
    assert!(!sleeps, "a wired interface is left alone: {said}");
    FOLDERS.iter().for_each(|folder| verify(folder));
}

/// `udevadm verify` is of systemd 254 and newer.
fn verify(folder: &str) {
    let known = Command::new("udevadm").args(["verify", "--help"]).output();
    if !known.expect("udevadm runs").status.success() {
        println!("this udevadm has no `verify`: the form was checked by `udevadm test` alone");
        return;
    }
    for path in rules(folder) {
        let output = Command::new("udevadm").arg("verify").arg(&path).output();
        let output = output.expect("udevadm runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", path.display());
    }
}

#[test]
fn each_rule_has_a_section_of_the_readme_and_programs_that_exist() {
    let read = |path: &Path| std::fs::read_to_string(path).expect("it is read");
    let readme = read(&root().join("udev/readme.md"));
    for path in FOLDERS.iter().flat_map(|folder| rules(folder)) {
        let from_root = path.strip_prefix(root().join("udev")).expect("it is there");
        let section = format!("## {}\n", from_root.display());
        assert!(readme.contains(&section), "{section}");
        let (name, text) = (name(&path), read(&path));
        assert!(!text.contains("/bin/sh"), "{name} has shell of its own");
        for program in text.split("RUN+=\"").skip(1) {
            let program = program.split([' ', '"']).next().unwrap_or_default();
            let ours = root().join("board/common/root").join(&program[1..]);
            let tested = text.contains(&format!("TEST==\"{program}\""));
            assert!(ours.is_file() || tested, "{name}: {program}");
        }
        for unit in text.split("{SYSTEMD_WANTS}+=\"").skip(1) {
            let unit = unit.split('"').next().unwrap_or_default().replace("%k", "");
            let file = root().join("image/deb").join(&unit);
            assert!(file.is_file(), "{name}: {unit}");
        }
    }
}
