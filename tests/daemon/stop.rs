//! Ends and new starts: told to stop, killed, and after the card was damaged.

use std::path::Path;

use nix::sys::signal::Signal;
use roundel::base::store::{Batch, Change};
use roundel::proto::board::META_ROSTER;
use roundel::runtime::store::{Options, Store, StoreReply};
use serde_json::json;
use tokio::sync::mpsc;

use crate::client;
use crate::namespace::alone;
use crate::process::{DEADLINE, Daemon, until};

#[test]
fn told_to_stop_it_ends_with_success_and_comes_back() {
    alone(|| {
        let data = tempfile::tempdir().expect("a directory");
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let mut daemon = Daemon::start(data.path(), &[]);
            daemon.assert_well();
            daemon.signal(signal);
            let status = daemon.wait_end();
            assert_eq!(status.code(), Some(0), "{signal}: {}", daemon.log());
            assert!(!daemon.log().contains(" ERROR "), "{}", daemon.log());
        }
    });
}

#[test]
fn killed_it_comes_back_with_everything_it_acknowledged() {
    alone(|| {
        let data = tempfile::tempdir().expect("a directory");
        let mut id = None;
        for round in 0..3 {
            let mut daemon = Daemon::start(data.path(), &[]);
            assert_eq!(*id.get_or_insert(daemon.id), daemon.id);
            for before in 0..round {
                let read = client::call(daemon.at, "get", json!({"key": format!("k{before}")}));
                assert_eq!(read.expect("it is there")["value"], before);
            }
            let params = json!({"key": format!("k{round}"), "value": round});
            client::call(daemon.at, "put", params).expect("a put");
            daemon.assert_well();
            daemon.signal(Signal::SIGKILL);
            assert_eq!(daemon.wait_end().code(), None);
        }
    });
}

/// Writes another roster into a store that no board has open.
fn overwrite_roster(store: &Path, bytes: &'static [u8]) {
    let (replies, mut replied) = mpsc::unbounded_channel();
    let store = Store::open(store, Options::default(), replies);
    let batch = Batch {
        changes: vec![Change::Meta {
            name: META_ROSTER,
            value: Some(bytes.into()),
        }],
        high_water: None,
    };
    store.commit(roundel::base::store::StoreId(1), batch);
    until("the roster is overwritten", DEADLINE, || {
        match replied.try_recv() {
            Ok(StoreReply::Stored(_, result)) => Ok(result.expect("the store takes it")),
            _ => Err("no answer yet".into()),
        }
    });
    store.close();
}

#[test]
fn a_roster_that_cannot_be_read_is_never_taken_for_none() {
    alone(|| {
        for (bytes, reason) in [
            (&b"\x01\xff"[..], "damaged"),
            (b"\xc8\x01", "has layout 200"),
        ] {
            let data = tempfile::tempdir().expect("a directory");
            let mut daemon = Daemon::start(data.path(), &[]);
            daemon.assert_well();
            daemon.signal(Signal::SIGKILL);
            daemon.wait_end();
            overwrite_roster(&data.path().join("store"), bytes);
            let daemon = Daemon::start(data.path(), &[]);
            assert_eq!(client::get(daemon.at, "/healthz").status, 503);
            let error = client::call(daemon.at, "get", json!({"key": "well"})).unwrap_err();
            assert_eq!(error["code"], -32003, "{error}");
            assert!(error.to_string().contains(reason), "{error}");
        }
    });
}
