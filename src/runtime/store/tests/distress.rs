//! What a store refuses, and what it does on a medium that is full or missing.

use super::*;

#[test]
fn directory_in_use_is_refused_and_says_what_to_do() {
    let temp = tempfile::tempdir().unwrap();
    let mut first = Bench::open(temp.path());
    let (mut second, opened) = Bench::start(temp.path(), no_levels());
    let error = opened.unwrap_err();
    assert!(matches!(error, OpenError::InUse(_)));
    assert!(
        error.to_string().contains(temp.path().to_str().unwrap()),
        "{error}"
    );
    assert!(matches!(
        second.commit(vec![put("k", 1, "1")]),
        Err(StoreError::Closed(_))
    ));
    assert!(matches!(
        second.load(Load::Item(key("k"))),
        Err(StoreError::Closed(_))
    ));
    assert_eq!(second.store.status().state, State::Closed);
    first.commit(vec![put("k", 1, "1")]).unwrap();
}

#[test]
fn store_of_a_newer_format_is_refused_untouched() {
    let temp = tempfile::tempdir().unwrap();
    Bench::open(temp.path())
        .commit(vec![put("k", 1, "1")])
        .unwrap();
    std::fs::write(temp.path().join("format"), "roundel store 3\n").unwrap();
    let snapshot = || -> Vec<_> {
        let read = |path: std::path::PathBuf| {
            let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
            (std::fs::read(&path).unwrap(), modified, path)
        };
        let mut files: Vec<_> = files_below(temp.path()).into_iter().map(read).collect();
        files.sort();
        files
    };
    let before = snapshot();
    let error = Bench::start(temp.path(), no_levels()).1.unwrap_err();
    assert!(
        matches!(error, OpenError::NewerFormat { got: 3, .. }),
        "{error}"
    );
    assert!(before == snapshot(), "the directory changed");
    std::fs::write(temp.path().join("format"), "something else").unwrap();
    let error = Bench::start(temp.path(), no_levels()).1.unwrap_err();
    assert!(matches!(error, OpenError::Foreign(_)), "{error}");
}

#[test]
fn database_half_made_at_a_power_cut_is_made_anew() {
    let temp = tempfile::tempdir().unwrap();
    // fjall itself does not open this: a journal without a version marker.
    std::fs::create_dir(temp.path().join("db.new")).unwrap();
    std::fs::write(temp.path().join("db.new/0.jnl"), b"").unwrap();
    std::fs::write(temp.path().join("format"), "roundel store 1\n").unwrap();
    let mut bench = Bench::open(temp.path());
    bench.commit(vec![put("k", 1, "1")]).unwrap();
    assert!(!temp.path().join("db.new").exists());
}

#[test]
fn board_without_a_medium_refuses_everything_and_says_why() {
    let (sender, mut replies) = unbounded_channel();
    let store = Store::absent(sender);
    let opened = replies.try_recv().unwrap();
    assert!(matches!(
        opened,
        StoreReply::Opened(Err(OpenError::NoMedium))
    ));
    store.load(LoadId(1), Load::Item(key("k")));
    let loaded = replies.try_recv().unwrap();
    assert!(matches!(
        loaded,
        StoreReply::Loaded(LoadId(1), Err(StoreError::Closed(_)))
    ));
    store.commit(StoreId(2), Batch::default());
    let stored = replies.try_recv().unwrap();
    let StoreReply::Stored(StoreId(2), Err(StoreError::Closed(reason))) = stored else {
        panic!("a refusal was due, got {stored:?}");
    };
    assert!(reason.contains("no data partition"), "{reason}");
}

#[test]
fn medium_with_too_little_room_refuses_puts_and_takes_removes() {
    let temp = tempfile::tempdir().unwrap();
    let mut options = no_levels();
    options.free_space.put_bytes_min = u64::MAX;
    let (mut bench, _) = Bench::start(temp.path(), options);
    let groups = bench.store.status().groups;
    let refused = bench.commit(vec![put("k", 1, "1")]);
    assert!(
        matches!(refused, Err(StoreError::Full { .. })),
        "{refused:?}"
    );
    assert_eq!(bench.store.status().groups, groups);
    assert_eq!(
        bench.commit(vec![remove("k", 2)]),
        Ok(vec![Outcome::Stored])
    );
}

/// A file system of its own of a few MiB, unmounted when dropped.
struct SmallMedium(tempfile::TempDir);

impl SmallMedium {
    fn mount(size: &str) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(temp.path())
            .status()
            .expect("the mount command runs");
        assert!(
            mounted.success(),
            "this test mounts a small tmpfs: run it as root"
        );
        SmallMedium(temp)
    }
}

impl Drop for SmallMedium {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(self.0.path())
            .status();
    }
}

#[test]
fn full_medium_stops_puts_before_it_is_full_and_removes_go_on() {
    let medium = SmallMedium::mount("24m");
    let mut options = no_levels();
    options.free_space.put_bytes_min = 12 << 20;
    options.free_space.remove_bytes_min = 4 << 20;
    let (mut bench, opened) = Bench::start(medium.0.path(), options);
    opened.unwrap();
    let value = "x".repeat(400_000);
    let mut stored = 0;
    let refused = loop {
        match bench.commit(vec![put(&format!("k{stored}"), 1, &value)]) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 100, "24 MiB cannot hold so much");
    };
    assert!(matches!(refused, StoreError::Full { .. }), "{refused}");
    assert!(stored > 5, "{stored} stored");
    assert_eq!(
        bench.commit(vec![remove("k0", 2)]),
        Ok(vec![Outcome::Stored])
    );
    assert_eq!(text(bench.get("k1")), Some(value));
    let status = bench.store.status();
    assert_eq!((status.state, status.degraded), (State::Open, false));
}

#[test]
fn store_that_ran_out_of_room_keeps_serving_and_comes_back_when_there_is_room() {
    let medium = SmallMedium::mount("24m");
    let (mut bench, opened) = Bench::start(medium.0.path(), no_levels());
    opened.unwrap();
    bench.commit(vec![put("kept", 1, "kept")]).unwrap();
    // Others fill the medium between two looks at it.
    let ballast = medium.0.path().join("ballast");
    let _ = std::fs::write(&ballast, vec![0; 40 << 20]);
    let value = "x".repeat(400_000);
    let failed = bench.commit(vec![put("lost", 1, &value)]).unwrap_err();
    assert!(matches!(failed, StoreError::Indeterminate(_)), "{failed}");
    assert!(!failed.is_clean());
    // Opened anew it may take one more: what it had half written is cut off.
    let again = bench.commit(vec![put("lost", 1, &value)]).unwrap_err();
    let refused = bench.commit(vec![put("lost", 1, &value)]).unwrap_err();
    assert!(refused.is_clean(), "{again}, then {refused}");
    assert_eq!(text(bench.get("kept")).as_deref(), Some("kept"));
    let status = bench.store.status();
    assert!(status.degraded && !status.reason.is_empty(), "{status:?}");
    std::fs::remove_file(&ballast).unwrap();
    let deadline = std::time::Instant::now() + ANSWER_TIME_MAX;
    while let Err(error) = bench.commit(vec![put("new", 1, &value)]) {
        assert!(
            std::time::Instant::now() < deadline,
            "still refused: {error}"
        );
        std::thread::yield_now();
    }
    assert_eq!(text(bench.get("kept")).as_deref(), Some("kept"));
    assert_eq!(text(bench.get("new")), Some(value));
    let status = bench.store.status();
    assert_eq!((status.state, status.degraded), (State::Open, false));
}
