//! Updates of a machine that runs an image: a good one is kept, and every other leaves the board as
//! it was, with all that it stored.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use roundel::base::id::Id;
use roundel::security::identity::{Identity, Signer};
use roundel::wire::update::{HEAD_BYTES, Signed};
use serde_json::{Value, json};

use crate::boot::{Dhcp, boot_files};
use crate::guest::{self, Guest, Machine};
use crate::lab::Lab;
use crate::netns::Agent;
use crate::wait;

const BOARD: &str = "aarch64-virt";
/// An update is sent, written, checked and the machine shut down within this.
pub const RESTART_TIME_MAX: Duration = Duration::from_secs(180);

/// The folder with the image, its cluster key, its signing key and its update; built once.
fn images() -> &'static Path {
    static IMAGES: OnceLock<PathBuf> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/image/signed");
        // Its key is never replaced.
        let _ = fs::remove_dir_all(&out);
        guest::build(BOARD, &["--key", "new", "--sign", "new"], &out);
        out
    })
}

/// A file of the image's folder.
pub fn name(ending: &str) -> PathBuf {
    let version = env!("CARGO_PKG_VERSION");
    images().join(format!("roundel-{BOARD}-{version}.{ending}"))
}

fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-euc", line]).output();
    let output = output.expect("a shell runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The private key that the image's updates are signed with, or another.
fn signer(file: &Path) -> Identity {
    let der = file.with_extension("der");
    let (file, to) = (file.display(), der.display());
    sh(&format!(
        "openssl pkcs8 -topk8 -nocrypt -in {file} -outform DER -out {to}"
    ));
    Identity::from_pkcs8(&fs::read(&der).expect("it was written")).expect("a key of P-256")
}

/// The key of `--sign new`.
pub fn signing_key() -> Identity {
    signer(&images().join(format!("roundel-{BOARD}.signing.key")))
}

/// An update with that root, signed with that key.
fn write_update(to: &Path, root: &[u8], key: &Identity) {
    let good = fs::read(name("update")).expect("it was built");
    let mut signed = Signed::parse(&good).expect("the script writes what the program reads");
    signed.update.length = root.len() as u64;
    signed.update.sha256 = Id::of(root);
    signed.signature = key.sign(signed.update.emit().as_bytes());
    fs::write(to, [&signed.emit(), root].concat()).expect("there is room");
}

/// A signed root in which `change`, lines of a shell in its folder, was done.
pub fn variant(lab: &Lab, called: &str, change: &str) -> PathBuf {
    let folder = lab.directory().join(called);
    let (shown, squashfs) = (folder.display(), folder.with_extension("squashfs"));
    let (packed, update) = (squashfs.display(), name("update"));
    sh(&format!(
        "tail -c +4097 {} >{packed}; unsquashfs -q -n -d {shown} {packed}; rm {packed}; \
         cd {shown}; {change}; mksquashfs . {packed} -comp gzip -Xcompression-level 1 -quiet \
         -no-progress",
        update.display()
    ));
    let root = fs::read(&squashfs).expect("it was packed");
    let to = folder.with_extension("update");
    write_update(&to, &root, &signing_key());
    to
}

/// A machine with the signed image on its card.
pub struct Bench<'a> {
    lab: &'a Lab,
    card: PathBuf,
    boot: PathBuf,
    /// Where the owner runs `roundel update` meanwhile.
    owner: Agent,
    _dhcp: Dhcp,
}

impl<'a> Bench<'a> {
    pub fn new(lab: &'a Lab) -> Self {
        let card = guest::card(&name("img.zst"), lab.directory());
        Bench {
            lab,
            boot: boot_files(&card, lab.directory()),
            card,
            owner: lab.board(0).visitor(),
            _dhcp: Dhcp::start(lab),
        }
    }

    /// Powers it on, and waits until it serves.
    pub fn start(&self) -> Guest<'a> {
        let mut guest = self.power_on();
        guest.wait_ready();
        guest
    }

    fn power_on(&self) -> Guest<'a> {
        let machine = Machine {
            board: BOARD,
            card: &self.card,
            boot: &self.boot,
            number: 0,
        };
        Guest::start(self.lab, &machine)
    }

    /// `roundel update` of a file, as its owner runs it elsewhere: exit code and what it said.
    pub fn update(&self, guest: &Guest<'_>, file: &Path) -> Receiver<(Option<i32>, String)> {
        let (file, to) = (file.to_owned(), guest.endpoint().to_string());
        let key = name("cluster.key");
        self.owner.begin(move || {
            let output = Command::new(env!("CARGO_BIN_EXE_roundel"))
                .arg("update")
                .arg(file)
                .args(["--node", &to, "--key"])
                .arg(key)
                .output()
                .expect("the program was built");
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said).into_owned();
            (output.status.code(), said)
        })
    }
}

/// What the board says of its image.
pub fn image(guest: &Guest<'_>) -> Value {
    guest.call("get_node_state", json!({})).expect("it answers")["image"].clone()
}

/// Checks the image in a folder, as its owner would: exit code and what it said.
fn verify(folder: &Path) -> (Option<i32>, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let image = folder.join(name("img.zst").file_name().expect("it has a name"));
    let output = Command::new(root.join("image/verify.sh"))
        .arg(image)
        .output();
    let output = output.expect("the script runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.code(), said)
}

#[test]
fn an_update_beside_its_image_is_verified_with_it() {
    let folder = tempfile::tempdir_in(images()).expect("a directory");
    for ending in ["img.zst", "bmap", "sbom.json"] {
        let from = name(ending);
        let to = folder.path().join(from.file_name().expect("it has a name"));
        fs::hard_link(from, to).expect("it is one file system");
    }
    let good = fs::read(name("update")).expect("it was built");
    let file = name("update")
        .file_name()
        .expect("it has a name")
        .to_owned();
    let path = folder.path().join(&file);
    let sums = fs::read_to_string(images().join("SHA256SUMS")).expect("it was built");
    let with_sum = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("there is room");
        let others = sums.lines().filter(|line| !line.ends_with(".update"));
        let own = format!("{}  {}", Id::of(bytes), file.display());
        let lines: Vec<&str> = others.chain([own.as_str()]).collect();
        fs::write(folder.path().join("SHA256SUMS"), lines.join("\n") + "\n").expect("room");
        verify(folder.path())
    };
    let (code, said) = with_sum(&good);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("update: signed with the image's key"),
        "{said}"
    );

    let other = Identity::from_pkcs8(&Identity::generate().expect("entropy")).expect("a key");
    write_update(&path, &good[HEAD_BYTES..], &other);
    let foreign = fs::read(&path).expect("it was written");
    let mut flipped = good.clone();
    flipped[5_000_000] ^= 1;
    write_update(&path, &flipped[HEAD_BYTES..], &signing_key());
    let another = fs::read(&path).expect("it was written");
    for (bytes, part) in [
        (&foreign, "not signed with the key"),
        (&flipped, "not what its head says"),
        (&another, "another than the image's"),
        (
            &good[..good.len() - 1].to_vec(),
            "not as long as its head says",
        ),
    ] {
        let (code, said) = with_sum(bytes);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(part), "{part}: {said}");
    }
    fs::write(&path, &flipped).expect("there is room");
    let (code, said) = verify(folder.path());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("not what SHA256SUMS says"), "{said}");
}

#[test]
fn a_good_update_is_kept_and_every_other_leaves_the_board_as_it_was() {
    let lab = Lab::new("update", 1);
    let bench = Bench::new(&lab);
    let mut guest = bench.start();
    let said = guest.shell("roundel put kept here 2>&1 | tail -n 1");
    assert!(said.contains("stored"), "{said}");
    assert_eq!(image(&guest)["slot"], "a");

    // A foreign key, and a byte that changed: refused before anything restarts.
    let good = fs::read(name("update")).expect("it was built");
    let foreign = lab.directory().join("foreign.update");
    let key = Identity::from_pkcs8(&Identity::generate().expect("entropy")).expect("a key");
    write_update(&foreign, &good[HEAD_BYTES..], &key);
    let (code, said) = bench.update(&guest, &foreign).recv().expect("it ends");
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("not signed with the key"), "{said}");
    let corrupt = lab.directory().join("corrupt.update");
    let mut bytes = good;
    bytes[5_000_000] ^= 1;
    fs::write(&corrupt, bytes).expect("there is room");
    let (code, said) = bench.update(&guest, &corrupt).recv().expect("it ends");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("damaged"), "{said}");

    // A good one.
    let told = bench.update(&guest, &name("update"));
    guest.wait_restart(RESTART_TIME_MAX);
    let mut guest = bench.start();
    let trial = image(&guest);
    assert_eq!(
        (&trial["slot"], &trial["trial"]),
        (&json!("b"), &json!(true))
    );
    let (code, said) = told.recv().expect("it ends");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("found good"), "{said}");
    let after = image(&guest);
    assert_eq!(
        (&after["slot"], &after["trial"]),
        (&json!("b"), &json!(false))
    );
    assert_eq!(guest.get("kept").expect("it is there"), "here");

    // One that panics as soon as it starts.
    let crash =
        "sed -i '2i mount -t proc proc /proc; echo c >/proc/sysrq-trigger' etc/init.d/start";
    let crashing = variant(&lab, "crashing", crash);
    let told = bench.update(&guest, &crashing);
    guest.wait_restart(RESTART_TIME_MAX);
    let mut trial = bench.power_on();
    trial.wait_restart(RESTART_TIME_MAX);
    assert!(trial.console().contains("sysrq"), "{}", trial.console());
    let guest = bench.start();
    let (code, said) = told.recv().expect("it ends");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("fell back"), "{said}");
    let after = image(&guest);
    assert_eq!(
        (&after["slot"], &after["trial"]),
        (&json!("b"), &json!(false))
    );
    assert_eq!(guest.get("kept").expect("it is there"), "here");
    println!("{after}");
}

#[test]
fn an_update_whose_program_ends_again_and_again_is_given_up() {
    if !wait::is_long() {
        println!("left out: it starts the machine three times; ./tests/run --long does");
        return;
    }
    let lab = Lab::new("update-ends", 1);
    let bench = Bench::new(&lab);
    let mut guest = bench.start();
    let ends = "rm bin/roundel; printf '#!/bin/sh\\nexit 1\\n' >bin/roundel; chmod 755 bin/roundel";
    let ending = variant(&lab, "ending", ends);
    let told = bench.update(&guest, &ending);
    guest.wait_restart(RESTART_TIME_MAX);
    let mut trial = bench.power_on();
    trial.wait_restart(RESTART_TIME_MAX);
    let guest = bench.start();
    let (code, said) = told.recv().expect("it ends");
    assert_eq!(code, Some(1), "{said}");
    let after = image(&guest);
    assert_eq!(
        (&after["slot"], &after["trial"]),
        (&json!("a"), &json!(false))
    );
    let last = &after["last_update"];
    assert_eq!(last["outcome"], "back", "{last}");
    assert_eq!(last["reason"], "roundel ended again and again", "{last}");
}
