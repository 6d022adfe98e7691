//! The store against real directories: the contract and restarts here, refusals and failing media
//! in `distress`, a map in memory that does the same in `model`.

use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::base::id::Id;
use crate::base::item::{Item, Key, Record, Value};
use crate::base::store::{Change, Which};
use crate::base::version::Version;

mod distress;
mod journal;
mod manifest;
mod model;

/// No answer takes longer, on the slowest disk.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

struct Bench {
    store: Store,
    replies: UnboundedReceiver<StoreReply>,
    next: u64,
}

impl Bench {
    fn start(path: &Path, options: Options) -> (Self, Result<Opened, OpenError>) {
        let (sender, replies) = unbounded_channel();
        let store = Store::open(path, options, sender);
        let mut bench = Bench {
            store,
            replies,
            next: 0,
        };
        let StoreReply::Opened(opened) = bench.reply() else {
            panic!("the first reply says whether the store opened");
        };
        (bench, opened)
    }

    /// Free space of the machine that runs the test is not its subject.
    fn open(path: &Path) -> Self {
        let (bench, opened) = Bench::start(path, no_levels());
        opened.unwrap();
        bench
    }

    fn reply(&mut self) -> StoreReply {
        let deadline = std::time::Instant::now() + ANSWER_TIME_MAX;
        loop {
            match self.replies.try_recv() {
                Ok(reply) => return reply,
                Err(error) => assert!(std::time::Instant::now() < deadline, "no reply: {error}"),
            }
            std::thread::yield_now();
        }
    }

    fn send(&mut self, batch: Batch) -> StoreId {
        self.next += 1;
        self.store.commit(StoreId(self.next), batch);
        StoreId(self.next)
    }

    fn commit(&mut self, changes: Vec<Change>) -> Result<Vec<Outcome>, StoreError> {
        let batch = Batch {
            changes,
            high_water: None,
        };
        let id = self.send(batch);
        match self.reply() {
            StoreReply::Stored(got, stored) if got == id => stored,
            other => panic!("an answer to {id:?} was due, got {other:?}"),
        }
    }

    fn load(&mut self, load: Load) -> Result<Loaded, StoreError> {
        self.next += 1;
        self.store.load(LoadId(self.next), load);
        match self.reply() {
            StoreReply::Loaded(LoadId(got), loaded) if got == self.next => loaded,
            other => panic!("an answer to load {} was due, got {other:?}", self.next),
        }
    }

    fn get(&mut self, name: &str) -> Option<Record> {
        match self.load(Load::Item(key(name))).unwrap() {
            Loaded::Item(record) => record,
            other => panic!("an item was due, got {other:?}"),
        }
    }

    fn page(
        &mut self,
        after: Option<&str>,
        prefix: &str,
        max: (usize, usize),
    ) -> (Vec<Item>, bool) {
        let load = Load::Page {
            after: after.map(key),
            prefix: prefix.to_owned(),
            which: Which::All,
            items_max: max.0,
            bytes_max: max.1,
        };
        match self.load(load).unwrap() {
            Loaded::Page { items, next } => (items, next.is_some()),
            other => panic!("a page was due, got {other:?}"),
        }
    }

    fn names(&mut self, after: Option<&str>, prefix: &str, max: (usize, usize)) -> (String, bool) {
        let (items, more) = self.page(after, prefix, max);
        let names: Vec<_> = items.iter().map(|item| item.key.as_str()).collect();
        (names.join(" "), more)
    }
}

fn no_levels() -> Options {
    Options {
        free_space: FreeSpaceLevels {
            put_bytes_min: 0,
            put_percent_min: 0,
            remove_bytes_min: 0,
        },
        keep_format: false,
    }
}

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

fn version(stamp: u64) -> Version {
    Version {
        stamp: Stamp(stamp),
        node: Id::ZERO,
    }
}

fn put(name: &str, stamp: u64, value: &str) -> Change {
    merge(
        name,
        stamp,
        Some(Value::Json(Bytes::copy_from_slice(value.as_bytes()))),
    )
}

fn remove(name: &str, stamp: u64) -> Change {
    merge(name, stamp, None)
}

fn merge(name: &str, stamp: u64, value: Option<Value>) -> Change {
    Change::Merge(Item {
        key: key(name),
        record: Record {
            version: version(stamp),
            value,
        },
    })
}

fn drop_version(name: &str, stamp: u64) -> Change {
    Change::Drop {
        key: key(name),
        version: version(stamp),
    }
}

fn text(record: Option<Record>) -> Option<String> {
    let value = record?.value?;
    Some(String::from_utf8(value.bytes().to_vec()).unwrap())
}

/// A database put below `path` by hand, for what the store itself never writes.
fn with_database(path: &Path, change: impl FnOnce(&Medium)) {
    change(&Medium::open(path, false).unwrap());
}

/// Bytes of the files below a directory, as `du` counts them.
fn du(path: &Path) -> u64 {
    let output = std::process::Command::new("du")
        .args(["--summarize", "--block-size=1"])
        .arg(path)
        .output()
        .expect("coreutils are there");
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_young_store_says_what_its_files_take() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path());
    let before = bench.store.status().disk_bytes;
    assert!(before > 0, "the journal and the format file are there");
    const VALUE_BYTES: usize = 200_000;
    let value = format!("\"{}\"", "x".repeat(VALUE_BYTES));
    bench.commit(vec![put("lamp", 1, &value)]).unwrap();
    // The commit came soon after the last count: it is counted later, without another commit.
    let deadline = std::time::Instant::now() + ANSWER_TIME_MAX;
    while bench.store.status().disk_bytes < before + VALUE_BYTES as u64 {
        let told = bench.store.status().disk_bytes;
        assert!(std::time::Instant::now() < deadline, "{before} then {told}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    // `du` counts the directory itself as well.
    let (told, taken) = (bench.store.status().disk_bytes, du(dir.path()));
    assert!(
        told <= taken && taken - told <= 64 * 1_024,
        "{told} of {taken}"
    );
}

#[test]
fn newer_versions_win_and_older_ones_are_told_what_they_lost_to() {
    let temp = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(temp.path());
    assert_eq!(
        bench.commit(vec![put("k", 2, "two")]),
        Ok(vec![Outcome::Stored])
    );
    assert_eq!(
        bench.commit(vec![put("k", 1, "one")]),
        Ok(vec![Outcome::Newer(version(2))])
    );
    assert_eq!(
        bench.commit(vec![put("k", 2, "two")]),
        Ok(vec![Outcome::Stored])
    );
    assert_eq!(text(bench.get("k")).as_deref(), Some("two"));
    assert_eq!(
        bench.commit(vec![put("k", 3, "three")]),
        Ok(vec![Outcome::Stored])
    );
    assert_eq!(text(bench.get("k")).as_deref(), Some("three"));
}

#[test]
fn comparisons_see_earlier_changes_of_the_same_batch() {
    let temp = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(temp.path());
    let changes = vec![put("k", 5, "five"), put("k", 4, "four"), put("k", 6, "six")];
    let outcomes = vec![Outcome::Stored, Outcome::Newer(version(5)), Outcome::Stored];
    assert_eq!(bench.commit(changes), Ok(outcomes));
    assert_eq!(text(bench.get("k")).as_deref(), Some("six"));
    assert_eq!(bench.store.status().items, 1);
}

#[test]
fn what_changes_nothing_is_answered_without_a_sync() {
    let temp = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(temp.path());
    let meta = Change::Meta {
        name: "roster",
        value: Some(Bytes::from_static(b"r")),
    };
    bench
        .commit(vec![put("k", 2, "two"), meta.clone()])
        .unwrap();
    let groups = bench.store.status().groups;
    let same = vec![
        put("k", 1, "one"),
        put("k", 2, "two"),
        meta,
        drop_version("k", 1),
    ];
    let outcomes = bench.commit(same).unwrap();
    let newer = Outcome::Newer(version(2));
    assert_eq!(outcomes, [newer, Outcome::Stored, Outcome::Stored, newer]);
    assert_eq!(bench.store.status().groups, groups);
}

#[test]
fn tombstone_is_kept_served_and_dropped_only_at_its_own_version() {
    let temp = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(temp.path());
    bench
        .commit(vec![put("k", 1, "one"), remove("k", 2)])
        .unwrap();
    assert_eq!(bench.get("k").map(|record| record.value), Some(None));
    assert_eq!(bench.page(None, "", (9, 999)).0.len(), 1);
    let status = bench.store.status();
    assert_eq!((status.items, status.tombstones), (0, 1));
    let outcome = bench.commit(vec![drop_version("k", 1)]).unwrap();
    assert_eq!(outcome, [Outcome::Newer(version(2))]);
    assert_eq!(
        bench.commit(vec![drop_version("k", 2)]).unwrap(),
        [Outcome::Stored]
    );
    assert_eq!(bench.get("k"), None);
    assert_eq!(bench.store.status().tombstones, 0);
    assert_eq!(
        bench.commit(vec![drop_version("k", 2)]).unwrap(),
        [Outcome::Stored]
    );
}

#[test]
fn pages_follow_prefix_start_and_both_limits() {
    let temp = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(temp.path());
    let names = ["a", "b/1", "b/2", "b/3", "b0", "c"];
    bench
        .commit(names.iter().map(|name| put(name, 1, "12345678")).collect())
        .unwrap();
    let all = (100, 10_000);
    assert_eq!(
        bench.names(None, "", all),
        ("a b/1 b/2 b/3 b0 c".into(), false)
    );
    assert_eq!(bench.names(None, "b/", all), ("b/1 b/2 b/3".into(), false));
    assert_eq!(
        bench.names(Some("b/1"), "b/", all),
        ("b/2 b/3".into(), false)
    );
    assert_eq!(
        bench.names(Some("a"), "b/", all),
        ("b/1 b/2 b/3".into(), false)
    );
    assert_eq!(bench.names(Some("x"), "b/", all), (String::new(), false));
    assert_eq!(
        bench.names(None, "b/", (2, 10_000)),
        ("b/1 b/2".into(), true)
    );
    assert_eq!(
        bench.names(None, "b/", (3, 10_000)),
        ("b/1 b/2 b/3".into(), false)
    );
    // Each is 3 + 8 bytes.
    assert_eq!(bench.names(None, "b/", (100, 22)), ("b/1 b/2".into(), true));
    assert_eq!(bench.names(None, "b/", (100, 1)), ("b/1".into(), true));
}

#[test]
fn restart_keeps_items_tombstones_metas_counts_and_the_high_water_mark() {
    let temp = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(temp.path());
    let value = Some(Bytes::from_static(b"bytes"));
    let changes = vec![
        put("a", 1, "1"),
        remove("b", 2),
        Change::Meta { name: "m", value },
    ];
    let high_water = Some(Stamp(77));
    bench.send(Batch {
        changes,
        high_water,
    });
    let gone = Change::Meta {
        name: "gone",
        value: None,
    };
    bench.send(Batch {
        changes: vec![gone],
        high_water: None,
    });
    // What was asked is committed before the store closes.
    drop(bench);
    let (mut bench, opened) = Bench::start(temp.path(), no_levels());
    let opened = opened.unwrap();
    assert_eq!(opened.high_water, high_water);
    assert_eq!(
        opened.metas,
        [("m".to_owned(), Bytes::from_static(b"bytes"))]
    );
    let status = bench.store.status();
    assert_eq!(
        (status.items, status.tombstones, status.state),
        (1, 1, State::Open)
    );
    assert_eq!(text(bench.get("a")).as_deref(), Some("1"));
    assert!(bench.get("b").unwrap().value.is_none());
}

#[test]
fn high_water_mark_alone_is_kept_and_never_falls() {
    let temp = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(temp.path());
    for stamp in [9, 5] {
        bench.send(Batch {
            changes: Vec::new(),
            high_water: Some(Stamp(stamp)),
        });
        assert!(matches!(bench.reply(), StoreReply::Stored(_, Ok(_))));
    }
    assert_eq!(bench.store.status().groups, 1);
    drop(bench);
    assert_eq!(
        Bench::start(temp.path(), no_levels()).1.unwrap().high_water,
        Some(Stamp(9))
    );
}

#[test]
fn an_image_on_trial_leaves_a_store_of_an_older_format_alone() {
    let temp = tempfile::tempdir().unwrap();
    Bench::open(temp.path())
        .commit(vec![put("a", 1, "1")])
        .unwrap();
    let mark = temp.path().join("format");
    std::fs::write(&mark, "roundel store 1\n").unwrap();
    let refused = Medium::open(temp.path(), true).err();
    assert!(matches!(refused, Some(OpenError::OnTrial { got: 1, .. })));
    assert_eq!(std::fs::read(&mark).unwrap(), b"roundel store 1\n");
    assert!(Medium::open(temp.path(), false).is_ok(), "found good");
    assert!(Medium::open(temp.path(), true).is_ok(), "its own format");
}

#[test]
fn lost_counts_are_counted_anew() {
    let temp = tempfile::tempdir().unwrap();
    Bench::open(temp.path())
        .commit(vec![put("a", 1, "1"), remove("b", 1)])
        .unwrap();
    with_database(temp.path(), |medium| {
        medium.metas.remove(format::COUNTS).unwrap();
    });
    let status = Bench::open(temp.path()).store.status();
    assert_eq!((status.items, status.tombstones), (1, 1));
}

#[test]
fn group_commit_keeps_order_and_needs_fewer_syncs_than_batches() {
    let temp = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(temp.path());
    let ids: Vec<_> = (1..=500)
        .map(|stamp| {
            bench.send(Batch {
                changes: vec![put("k", stamp, &stamp.to_string())],
                high_water: Some(Stamp(stamp)),
            })
        })
        .collect();
    for id in ids {
        match bench.reply() {
            StoreReply::Stored(got, Ok(outcomes)) => {
                assert_eq!((got, outcomes), (id, vec![Outcome::Stored]));
            }
            other => panic!("{id:?} was due, got {other:?}"),
        }
    }
    assert_eq!(text(bench.get("k")).as_deref(), Some("500"));
    let status = bench.store.status();
    assert_eq!(status.batches, 500);
    assert!(status.groups < 400, "{} groups", status.groups);
}

#[test]
fn unreadable_record_is_never_served_hides_nothing_and_is_healed_by_a_write() {
    let temp = tempfile::tempdir().unwrap();
    Bench::open(temp.path())
        .commit(vec![put("a", 1, "1"), put("b", 1, "1")])
        .unwrap();
    with_database(temp.path(), |medium| {
        medium.items.insert("a", [9, 9, 9]).unwrap();
    });
    let mut bench = Bench::open(temp.path());
    let error = bench.load(Load::Item(key("a"))).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)));
    assert_eq!(bench.names(None, "", (9, 999)), ("b".into(), false));
    assert_eq!(bench.store.status().corrupt, 2);
    bench.commit(vec![put("a", 1, "again")]).unwrap();
    assert_eq!(text(bench.get("a")).as_deref(), Some("again"));
    assert_eq!(bench.store.status().items, 2);
}

#[test]
fn flipped_bits_in_a_table_are_never_served() {
    let temp = tempfile::tempdir().unwrap();
    let value = "recognisable".repeat(50);
    Bench::open(temp.path())
        .commit(vec![put("a", 1, &value)])
        .unwrap();
    with_database(temp.path(), |medium| {
        medium.items.rotate_memtable_and_wait().unwrap()
    });
    let mut flipped = 0;
    for path in files_below(temp.path()) {
        let mut bytes = std::fs::read(&path).unwrap();
        let found = bytes
            .windows(12)
            .position(|window| window == b"recognisable");
        if path.extension().is_some_and(|extension| extension == "jnl") {
            // The journal would bring the value back.
            bytes.clear();
        } else if let Some(at) = found {
            bytes[at] ^= 0x20;
            flipped += 1;
        }
        std::fs::write(&path, bytes).unwrap();
    }
    assert_eq!(flipped, 1, "the value lies in one table");
    let mut bench = Bench::open(temp.path());
    assert!(matches!(
        bench.load(Load::Item(key("a"))),
        Err(StoreError::Corrupt(_))
    ));
    bench.commit(vec![put("a", 1, "again")]).unwrap();
    assert_eq!(text(bench.get("a")).as_deref(), Some("again"));
}

fn files_below(path: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(path) else {
        return Vec::new();
    };
    let entries = entries.map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files_below(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}
