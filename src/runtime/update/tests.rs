//! Updates as they come and as they must not: signatures, parts, sums, and what is left behind.

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::security::identity::{Identity, Signer};
use crate::wire::update::Release;

/// A system started from an image, with a key of its own.
struct System {
    root: TempDir,
    key: Identity,
    images: Arc<Images>,
}

fn put(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn new_key() -> Identity {
    Identity::from_pkcs8(&Identity::generate().unwrap()).unwrap()
}

fn system() -> System {
    let root = tempfile::tempdir().unwrap();
    let key = new_key();
    put(root.path(), CARD, "vda vda a\n");
    let release = "BOARD=rpi4\nVERSION=0.1.0\nCOMMIT=c\nBUILT=900\nKERNEL=6.1\n";
    put(root.path(), RELEASE, release);
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        STANDARD.encode(key.public_key())
    );
    put(root.path(), PUBLIC_KEY, &pem);
    put(root.path(), "data/roundel/keep", "");
    let images = Images::new(root.path(), Some(&root.path().join("data/roundel")));
    System { root, key, images }
}

/// A head for that root, signed with that key.
fn head(root: &[u8], key: &Identity, change: impl FnOnce(&mut Update)) -> Vec<u8> {
    let mut update = Update {
        board: "rpi4".into(),
        version: Release(0, 2, 0),
        commit: "ab".repeat(20),
        built: 1_000,
        kernel: "6.1".into(),
        store: (STORE_FORMAT, STORE_FORMAT),
        length: root.len() as u64,
        sha256: Id::of(root),
    };
    change(&mut update);
    let signature = key.sign(update.emit().as_bytes());
    Signed { update, signature }.emit()
}

impl System {
    fn begin(&self, head: Vec<u8>) -> Result<Taken, Refused> {
        let head = Bytes::from(head);
        let downgrade = false;
        self.images.take(Ask::Begin { head, downgrade })
    }

    fn write(&self, offset: u64, bytes: &'static [u8]) -> Result<Taken, Refused> {
        let bytes = Bytes::from_static(bytes);
        self.images.take(Ask::Write { offset, bytes })
    }

    fn kept(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.root.path().join("data/roundel").join(name)).ok()
    }
}

#[test]
fn a_signed_update_is_kept_whole_for_root_to_take() {
    let system = system();
    let head = head(b"new root", &system.key, |_| {});
    assert_eq!(system.begin(head.clone()).unwrap().length, 8);
    assert_eq!(system.write(0, b"new ").unwrap().written, 4);
    let error = system.write(0, b"new ").unwrap_err().to_string();
    assert!(error.contains("begins at byte 4, not 0"), "{error}");
    let error = system.images.take(Ask::Finish).unwrap_err();
    assert!(matches!(
        error,
        Refused::Incomplete {
            written: 4,
            length: 8
        }
    ));
    let error = system.write(4, b"roots").unwrap_err();
    assert!(matches!(error, Refused::TooLong { length: 8 }));
    system.write(4, b"root").unwrap();
    system.images.take(Ask::Finish).unwrap();
    let file = system.kept(READY).expect("it waits");
    assert_eq!(file, [&head[..], b"new root"].concat());
    assert!(system.kept(NEW).is_none());
    let told = system.images.image().unwrap().last_update.unwrap();
    assert_eq!(
        (told.outcome.as_str(), told.version.as_str()),
        ("waiting", "0.2.0")
    );
    let checked = check(
        system.root.path(),
        &system.root.path().join("data/roundel").join(READY),
    );
    assert_eq!(checked.unwrap().version, Release(0, 2, 0));
    let error = system.begin(head).unwrap_err().to_string();
    assert!(error.contains("about to be tried"), "{error}");
}

#[test]
fn an_update_signed_with_another_key_is_refused_before_a_byte_is_written() {
    let system = system();
    let refused = system.begin(head(b"root", &new_key(), |_| {}));
    assert!(matches!(refused, Err(Refused::Signature)));
    // Signed for something else than it says.
    let mut changed = head(b"root", &system.key, |_| {});
    let at = changed.windows(3).position(|it| it == b"rpi").unwrap() + 3;
    changed[at] = b'5';
    assert!(matches!(system.begin(changed), Err(Refused::Signature)));
    assert!(system.kept(NEW).is_none());
}

#[test]
fn an_update_that_was_damaged_on_its_way_is_removed() {
    let system = system();
    system
        .begin(head(b"new root", &system.key, |_| {}))
        .unwrap();
    system.write(0, b"new rOOt").unwrap();
    let refused = system.images.take(Ask::Finish);
    assert!(matches!(refused, Err(Refused::Damaged)));
    assert!(system.kept(NEW).is_none() && system.kept(READY).is_none());
    assert!(matches!(system.write(8, b"x"), Err(Refused::NotBegun)));
}

#[test]
fn an_upload_under_way_is_not_displaced_and_an_old_one_is() {
    let system = system();
    system.begin(head(b"one", &system.key, |_| {})).unwrap();
    let refused = system.begin(head(b"two", &system.key, |_| {}));
    assert!(matches!(refused, Err(Refused::Busy(_))));
    let mut upload = system.images.upload.lock().unwrap();
    let long_ago = Instant::now() - limit::UPDATE_IDLE_MAX;
    upload.as_mut().unwrap().touched = long_ago;
    drop(upload);
    system.begin(head(b"two", &system.key, |_| {})).unwrap();
}

#[test]
fn a_board_that_takes_no_updates_says_why() {
    let empty = tempfile::tempdir().unwrap();
    let head = Bytes::from(vec![0; HEAD_BYTES]);
    let ask = |images: &Images| {
        let (head, downgrade) = (head.clone(), false);
        let refused = images.take(Ask::Begin { head, downgrade });
        refused.unwrap_err().to_string()
    };
    let said = ask(&Images::new(empty.path(), Some(empty.path())));
    assert!(said.contains("update its package"), "{said}");
    let system = system();
    let said = ask(&Images::new(system.root.path(), None));
    assert!(said.contains("no data partition"), "{said}");
    assert!(ask(&system.images).contains("no update file"));
    fs::remove_file(system.root.path().join(PUBLIC_KEY)).unwrap();
    let said = ask(&Images::new(system.root.path(), Some(empty.path())));
    assert!(said.contains("without a signing key"), "{said}");
}

#[test]
fn a_slot_is_checked_by_its_head_at_the_end_and_every_byte_of_its_root() {
    let system = system();
    let slot = system.root.path().join("slot");
    let write = |head: &[u8], root: &[u8]| {
        let mut file = File::create(&slot).unwrap();
        file.write_all(root).unwrap();
        file.seek(SeekFrom::Start(SLOT_BYTES - HEAD_BYTES as u64))
            .unwrap();
        file.write_all(head).unwrap();
    };
    let good = head(b"new root", &system.key, |_| {});
    write(&good, b"new root");
    assert!(check(system.root.path(), &slot).is_ok());
    write(&good, b"new r00t");
    let said = check(system.root.path(), &slot).unwrap_err().to_string();
    assert!(said.contains("damaged"), "{said}");
    write(&head(b"new root", &new_key(), |_| {}), b"new root");
    let said = check(system.root.path(), &slot).unwrap_err().to_string();
    assert!(said.contains("not signed"), "{said}");
    write(&[0; HEAD_BYTES], b"new root");
    assert!(check(system.root.path(), &slot).is_err());
    let older = head(b"new root", &system.key, |it| it.version = Release(0, 0, 1));
    write(&older, b"new root");
    assert!(
        check(system.root.path(), &slot).is_ok(),
        "the owner meant it"
    );
}

#[test]
fn what_runs_and_how_the_last_update_went_is_told() {
    let system = system();
    let image = system.images.image().unwrap();
    assert_eq!((image.slot.as_str(), image.trial), ("a", false));
    assert_eq!(image.last_update, None);
    put(system.root.path(), OUTCOME, "back 0.2.0 it crashed\n");
    put(system.root.path(), TRIAL, "");
    let tried = Images::new(system.root.path(), Some(system.root.path()));
    let image = tried.image().unwrap();
    assert!(image.trial);
    let said = image.last_update.unwrap();
    assert_eq!(
        (said.outcome.as_str(), said.version.as_str()),
        ("back", "0.2.0")
    );
    assert_eq!(said.reason.as_deref(), Some("it crashed"));
    let head = head(b"root", &system.key, |_| {}).into();
    let refused = tried.take(Ask::Begin {
        head,
        downgrade: false,
    });
    assert!(matches!(refused, Err(Refused::Busy(_))));
    fs::remove_file(system.root.path().join(TRIAL)).unwrap();
    assert!(!tried.image().unwrap().trial, "it was found good");
}
