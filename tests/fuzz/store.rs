//! Recovery of the store: bytes of its files are changed as a failing card changes them, and it is
//! opened. It may refuse; it must not panic, and must not serve what was never stored.
//!
//! An input is a list of changes, six bytes each: which file, where (three bytes), how (1: set to
//! the byte that follows, 2: cut the file there, others: flip the byte's bits).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bytes::Bytes;
use roundel::base::id::Id;
use roundel::base::item::{Item, Key, Record, Value};
use roundel::base::store::{Batch, Change, Load, LoadId, Loaded, StoreId};
use roundel::base::version::{Stamp, Version};
use roundel::runtime::store::{FreeSpaceLevels, Options, Store, StoreReply};
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const CHANGE_BYTES: usize = 6;
const CHANGES_MAX: usize = 16;
const ITEMS: u64 = 40;

fn key(number: u64) -> Key {
    Key::new(&format!("key{number}")).expect("a short key")
}

fn text(number: u64) -> String {
    format!("\"{}\"", "v".repeat(10 + number as usize * 20))
}

fn open(path: &Path) -> (Store, UnboundedReceiver<StoreReply>) {
    let (sender, replies) = unbounded_channel();
    let free_space = FreeSpaceLevels {
        put_bytes_min: 0,
        put_percent_min: 0,
        remove_bytes_min: 0,
    };
    let options = Options {
        free_space,
        keep_format: false,
    };
    (Store::open(path, options, sender), replies)
}

/// A store with items, made once.
fn template() -> &'static Path {
    static MADE: OnceLock<TempDir> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let directory = tempfile::tempdir().expect("there is room");
        let (store, mut replies) = open(directory.path());
        replies.blocking_recv().expect("it opens");
        for number in 0..ITEMS {
            let item = Item {
                key: key(number),
                record: Record {
                    version: Version {
                        stamp: Stamp(number + 1),
                        node: Id::ZERO,
                    },
                    value: Some(Value::Json(Bytes::from(text(number)))),
                },
            };
            let batch = Batch {
                changes: vec![Change::Merge(item)],
                high_water: Some(Stamp(number + 1)),
            };
            store.commit(StoreId(number), batch);
            let stored = replies.blocking_recv().expect("it answers");
            assert!(matches!(stored, StoreReply::Stored(_, Ok(_))));
        }
        store.close();
        directory
    });
    made.path()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

fn change(path: &Path, change: &[u8]) {
    let mut bytes = fs::read(path).expect("our file");
    let place = u32::from_be_bytes([0, change[1], change[2], change[3]]) as usize;
    if bytes.is_empty() {
        return;
    }
    let place = place % bytes.len();
    match change[4] {
        1 => bytes[place] = change[5],
        2 => bytes.truncate(place),
        bits => bytes[place] ^= bits,
    }
    fs::write(path, bytes).expect("our file");
}

/// See the module.
pub fn recover(input: &[u8]) {
    let from = template();
    let copy = tempfile::tempdir().expect("there is room");
    for file in files(from) {
        let to = copy
            .path()
            .join(file.strip_prefix(from).expect("it is below"));
        fs::create_dir_all(to.parent().expect("a directory")).expect("there is room");
        fs::copy(&file, to).expect("there is room");
    }
    let all = files(copy.path());
    for bytes in input.chunks_exact(CHANGE_BYTES).take(CHANGES_MAX) {
        change(&all[usize::from(bytes[0]) % all.len()], bytes);
    }
    let (store, mut replies) = open(copy.path());
    let opened = replies.blocking_recv().expect("it says whether it opened");
    if matches!(opened, StoreReply::Opened(Ok(_))) {
        for number in 0..ITEMS {
            store.load(LoadId(number), Load::Item(key(number)));
            let loaded = replies.blocking_recv().expect("it answers");
            if let StoreReply::Loaded(_, Ok(Loaded::Item(Some(record)))) = loaded {
                let value = record.value.expect("nothing was removed");
                assert_eq!(value.bytes(), text(number).as_bytes(), "of key{number}");
            }
        }
    }
    store.close();
}
