//! Damaged manifests: the database would end the process over some of them.

use std::fs;
use std::path::PathBuf;

use super::*;

/// Of a table's bytes every so many-th is tried; no divisor of a field's length.
const STEP_BYTES: usize = 7;

/// A closed store of which a table and several versions are on the medium.
fn store_with_a_table() -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    Bench::open(temp.path())
        .commit(vec![put("a", 1, "1")])
        .unwrap();
    with_database(temp.path(), |medium| {
        medium.items.rotate_memtable_and_wait().unwrap();
    });
    temp
}

/// Which file the refusal to open names.
fn refused_file(path: &Path) -> PathBuf {
    let (_, opened) = Bench::start(path, no_levels());
    let error = opened.unwrap_err();
    assert!(error.to_string().contains("move the directory away"));
    match error {
        OpenError::DamagedFile { file, .. } => file,
        other => panic!("{other:?}"),
    }
}

fn files_of(path: &Path, is_meant: impl Fn(&str, &str) -> bool) -> Vec<PathBuf> {
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut files = files_below(path);
    files.retain(|file| is_meant(&name(file.parent().unwrap()), &name(file)));
    assert!(!files.is_empty());
    files
}

#[test]
fn every_changed_byte_of_a_version_is_noticed_and_named() {
    let temp = store_with_a_table();
    let is_version = |_: &str, name: &str| name.starts_with('v') && name != "version";
    let versions = files_of(temp.path(), is_version);
    let mut current = 0;
    for path in &versions {
        let whole = fs::read(path).unwrap();
        let keyspace = fs::read(path.with_file_name("current")).unwrap();
        let number = u64::from_le_bytes(*keyspace.first_chunk().unwrap());
        if !path.ends_with(format!("v{number}")) {
            continue;
        }
        current += 1;
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x80;
            fs::write(path, bytes).unwrap();
            assert_eq!(&refused_file(temp.path()), path, "byte {at}");
        }
        fs::write(path, &whole[..whole.len() / 2]).unwrap();
        assert_eq!(&refused_file(temp.path()), path);
        fs::write(path, whole).unwrap();
    }
    assert_eq!(current, 3, "one each of items, metas and the list of both");
    assert!(Bench::open(temp.path()).get("a").is_some());
}

#[test]
fn a_version_that_is_gone_or_named_wrongly_is_named() {
    let temp = store_with_a_table();
    for path in files_of(temp.path(), |_, name| name == "current") {
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..7]).unwrap();
        assert_eq!(refused_file(temp.path()), path);
        let mut bytes = whole.clone();
        bytes[7] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(refused_file(temp.path()), path);
        fs::write(&path, whole).unwrap();
    }
    assert!(Bench::open(temp.path()).get("a").is_some());
}

#[test]
fn every_changed_byte_of_a_tables_contents_and_trailer_is_survived() {
    let temp = store_with_a_table();
    for path in files_of(temp.path(), |parent, _| parent == "tables") {
        let whole = fs::read(&path).unwrap();
        let contents = whole
            .windows(4)
            .rposition(|bytes| bytes == b"TOC!")
            .unwrap();
        let trailer = whole
            .windows(4)
            .rposition(|bytes| bytes == b"SFA!")
            .unwrap();
        for at in contents..whole.len() - 8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x80;
            fs::write(&path, bytes).unwrap();
            let (_, opened) = Bench::start(temp.path(), no_levels());
            let error = opened.unwrap_err();
            // A magic that is wrong is the database's to refuse.
            if (contents + 4..trailer).contains(&at) {
                assert!(matches!(error, OpenError::DamagedFile { .. }), "byte {at}");
            }
        }
        fs::write(&path, whole).unwrap();
    }
    assert!(Bench::open(temp.path()).get("a").is_some());
}

#[test]
fn changed_bytes_of_a_table_are_refused_or_not_served() {
    let temp = store_with_a_table();
    let value = text(Bench::open(temp.path()).get("a"));
    // The journal would bring the value back.
    for path in files_of(temp.path(), |_, name| name.ends_with(".jnl")) {
        fs::write(path, []).unwrap();
    }
    let mut served = 0;
    for path in files_of(temp.path(), |parent, _| parent == "tables") {
        let whole = fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(STEP_BYTES) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x04;
            fs::write(&path, bytes).unwrap();
            let (mut bench, opened) = Bench::start(temp.path(), no_levels());
            if opened.is_err() {
                continue;
            }
            if let Ok(Loaded::Item(record)) = bench.load(Load::Item(key("a"))) {
                assert_eq!(text(record), value, "byte {at} of {}", path.display());
                served += 1;
            }
        }
        fs::write(&path, whole).unwrap();
    }
    assert!(served > 0, "some bytes concern this key not at all");
}

#[test]
fn half_a_table_that_a_power_cut_left_does_not_keep_the_store_shut() {
    let temp = store_with_a_table();
    for path in files_of(temp.path(), |parent, _| parent == "tables") {
        let whole = fs::read(&path).unwrap();
        let half = path.with_file_name("4000");
        fs::write(&half, &whole[..whole.len() / 2]).unwrap();
        assert!(Bench::open(temp.path()).get("a").is_some());
        assert!(!half.exists());
    }
}
