//! Journals that were torn by a power cut or damaged on the card, byte by byte.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::base::store::META_DAMAGE;
use crate::runtime::store::journal::{Mended, mend};

const GROUPS: u64 = 6;

/// A store with a key a group, closed; its journal and where it ended before each group.
fn written(path: &Path) -> (PathBuf, Vec<usize>) {
    let mut bench = Bench::open(path);
    let journal = journal_of(path);
    let mut ends = Vec::new();
    for group in 0..GROUPS {
        ends.push(data(&journal).len());
        let value = format!("\"value {group}\"");
        bench
            .commit(vec![put(&format!("k{group}"), group + 1, &value)])
            .unwrap();
    }
    drop(bench);
    (journal, ends)
}

fn journal_of(path: &Path) -> PathBuf {
    let files = fs::read_dir(path.join("db")).unwrap();
    let mut journals: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    journals.retain(|path| path.extension().is_some_and(|e| e == "jnl"));
    journals.sort();
    journals.pop().expect("an open database has a journal")
}

/// The journal up to the zeros behind what was written.
fn data(journal: &Path) -> Vec<u8> {
    let mut bytes = fs::read(journal).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0);
    bytes.truncate(end.map_or(0, |end| end + 1));
    bytes
}

/// Which of the keys can be read, and whether the store says that its log was damaged.
fn reopened(path: &Path) -> (Vec<u64>, bool) {
    let (mut bench, opened) = Bench::start(path, no_levels());
    let metas = opened.unwrap().metas;
    let marked = metas.iter().any(|(name, _)| name == META_DAMAGE);
    let held = (0..GROUPS).filter(|group| bench.get(&format!("k{group}")).is_some());
    let held: Vec<u64> = held.collect();
    let more = u64::from(bench.get("after").is_some());
    assert_eq!(bench.store.status().items, held.len() as u64 + more);
    bench.commit(vec![put("after", 99, "1")]).unwrap();
    (held, marked)
}

#[test]
fn wrong_sum_in_the_middle_loses_that_group_and_is_told() {
    let temp = tempfile::tempdir().unwrap();
    let (journal, ends) = written(temp.path());
    let mut bytes = data(&journal);
    let within = &bytes[ends[2]..ends[3]];
    let value = within.windows(7).position(|w| w == b"value 2").unwrap();
    bytes[ends[2] + value] ^= 1;
    fs::write(&journal, &bytes).unwrap();
    assert_eq!(reopened(temp.path()), (vec![0, 1, 3, 4, 5], true));
    let (mut bench, opened) = Bench::start(temp.path(), no_levels());
    let metas = opened.unwrap().metas;
    let (_, mark) = metas.iter().find(|(name, _)| name == META_DAMAGE).unwrap();
    println!("{}", String::from_utf8_lossy(mark));
    let unmark = Change::Meta {
        name: META_DAMAGE,
        value: None,
    };
    bench.commit(vec![unmark]).unwrap();
    drop(bench);
    assert_eq!(reopened(temp.path()), (vec![0, 1, 3, 4, 5], false));
}

#[test]
fn nonsense_in_the_middle_ends_the_log_and_is_told() {
    let temp = tempfile::tempdir().unwrap();
    let (journal, ends) = written(temp.path());
    let mut bytes = data(&journal);
    bytes[ends[2]] = 77;
    fs::write(&journal, &bytes).unwrap();
    assert_eq!(reopened(temp.path()), (vec![0, 1], true));
}

#[test]
fn torn_last_group_is_cut_off_and_is_no_damage() {
    for hole in [0..1, 5..30, 20..60] {
        let temp = tempfile::tempdir().unwrap();
        let (journal, ends) = written(temp.path());
        let mut bytes = data(&journal);
        bytes[ends[5]..][hole.clone()].fill(0);
        fs::write(&journal, &bytes).unwrap();
        assert_eq!(
            reopened(temp.path()),
            (vec![0, 1, 2, 3, 4], false),
            "{hole:?}"
        );
    }
}

#[test]
fn value_that_looks_like_a_batch_is_not_taken_for_one() {
    let temp = tempfile::tempdir().unwrap();
    let (journal, ends) = written(temp.path());
    let whole = data(&journal);
    // The last group, torn, within whose remains lies a copy of an earlier one.
    let mut bytes = whole[..ends[5]].to_vec();
    bytes.extend([1, 2, 3]);
    bytes.extend(&whole[ends[1]..ends[2]]);
    fs::write(&journal, &bytes).unwrap();
    let mended = mend(&temp.path().join("db"), |_| Ok(())).unwrap();
    assert_eq!(mended.damage, None, "its sequence is an older one");
    assert_eq!(data(&journal), whole[..ends[5]]);
}

#[test]
fn every_flipped_bit_is_noticed_and_costs_one_group_or_what_follows() {
    let temp = tempfile::tempdir().unwrap();
    let (journal, ends) = written(temp.path());
    let whole = data(&journal);
    let database = temp.path().join("db");
    let mut harmless = 0;
    for at in ends[0]..whole.len() {
        // Another bit of each byte.
        let bit = at * 5 % 8;
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << bit;
        fs::write(&journal, &bytes).unwrap();
        let mut told = 0;
        let mended = mend(&database, |_| {
            told += 1;
            Ok(())
        })
        .unwrap();
        let group = ends.iter().rposition(|end| *end <= at).unwrap();
        let is_last = group + 1 == ends.len();
        let what = format!("bit {bit} of byte {at}, group {group}: {mended:?}");
        let left = data(&journal);
        if (5..13).contains(&(at - ends[group])) {
            // A number that still rises changes nothing; of two out of order either may go.
            harmless += usize::from(mended == Mended::default());
            assert!(
                left.starts_with(&whole[..ends[group.saturating_sub(1)]]),
                "{what}"
            );
        } else {
            assert_eq!(mended.damage.is_some(), !is_last, "{what}");
            assert_eq!(mended.torn_bytes > 0, is_last, "{what}");
            assert_eq!(told, u32::from(!is_last), "{what}");
            assert!(left.starts_with(&whole[..ends[group]]), "{what}");
        }
        let again = mend(&database, |_| panic!("{what}: told twice")).unwrap();
        assert_eq!(again, Mended::default(), "{what}");
    }
    assert!(
        harmless <= 2 * ends.len(),
        "{harmless} flips in sequence numbers pass"
    );
}
