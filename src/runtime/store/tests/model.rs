//! The contract in memory, and random batches and restarts that must give the same.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::base::item::Value;
use crate::base::tree::Tree;

#[derive(Clone, Debug)]
enum Step {
    Merge(u8, u64, Option<u8>),
    Drop(u8, u64),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let step = prop_oneof![
        8 => (0u8..6, 1u64..8, proptest::option::of(any::<u8>()))
            .prop_map(|(key, stamp, value)| Step::Merge(key, stamp, value)),
        3 => (0u8..6, 1u64..8).prop_map(|(key, stamp)| Step::Drop(key, stamp)),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(proptest::collection::vec(step, 1..6), 1..12)
}

/// The contract in memory.
fn model(records: &mut BTreeMap<Key, Record>, change: &Change) -> Outcome {
    match change {
        Change::Merge(Item { key, record }) => match records.get(key).map(|held| held.version) {
            Some(held) if held > record.version => Outcome::Newer(held),
            Some(held) if held == record.version => Outcome::Stored,
            _ => {
                records.insert(key.clone(), record.clone());
                Outcome::Stored
            }
        },
        Change::Drop { key, version } => match records.get(key).map(|held| held.version) {
            Some(held) if held != *version => Outcome::Newer(held),
            _ => {
                records.remove(key);
                Outcome::Stored
            }
        },
        Change::Meta { .. } => Outcome::Stored,
    }
}

fn change_of(step: &Step) -> Option<Change> {
    Some(match step {
        Step::Merge(key, stamp, value) => {
            let value = value.map(|byte| Value::Binary(Bytes::copy_from_slice(&[byte; 3])));
            merge(&format!("k{key}"), *stamp, value)
        }
        Step::Drop(key, stamp) => drop_version(&format!("k{key}"), *stamp),
        Step::Restart => return None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn store_does_what_a_map_in_memory_does(batches in steps()) {
        let temp = tempfile::tempdir().unwrap();
        let mut bench = Bench::open(temp.path());
        let mut records = BTreeMap::new();
        for batch in batches {
            let changes: Vec<_> = batch.iter().filter_map(change_of).collect();
            let expected: Vec<_> = changes.iter().map(|c| model(&mut records, c)).collect();
            prop_assert_eq!(bench.commit(changes).unwrap(), expected);
            if batch.iter().any(|step| matches!(step, Step::Restart)) {
                drop(bench);
                bench = Bench::open(temp.path());
            }
            let (page, more) = bench.page(None, "", (100, 10_000));
            let held: Vec<_> = records.iter().map(|(key, record)| Item {
                key: key.clone(), record: record.clone()
            }).collect();
            prop_assert_eq!((page, more), (held, false));
            let live = records.values().filter(|record| record.value.is_some()).count() as u64;
            let mut tree = Tree::default();
            for (key, record) in &records {
                tree.replace(key, None, Some(record.version));
            }
            let removed = records.values().filter(|record| record.value.is_none()).count() as u64;
            prop_assert_eq!(
                bench.load(Load::Tree).unwrap(),
                Loaded::Tree { tree, tombstones: removed }
            );
            let status = bench.store.status();
            prop_assert_eq!(status.items, live);
            prop_assert_eq!(status.tombstones, records.len() as u64 - live);
        }
    }
}
