//! A board that is killed while it makes, replaces and confirms its key: at each call that changes
//! the medium. The next start has the old keyring or the new one, never none, never another
//! identity, and nothing that was answered is taken back.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::board::{Board, READY_TIME_MAX, until};
use crate::namespace::alone;
use crate::point::{self, Point};

/// Crash points that CI runs.
const POINTS_IN_CI: usize = 40;

/// A key: its epoch and name.
type Named = (u64, String);

/// What a board has told of itself, and what it was asked and did not answer.
#[derive(Debug, Default)]
struct Told {
    id: Option<String>,
    key: Option<Named>,
    confirmed: bool,
    asked: Option<&'static str>,
}

fn named(state: &Value) -> Named {
    let epoch = state["epoch"].as_u64().expect("every answer has it");
    (epoch, state["kid"].as_str().expect("likewise").to_owned())
}

impl Told {
    /// A life; true when it came to its end.
    fn live(&mut self, data: &Path, strace: &[&str]) -> bool {
        let mut board = Board::exec(data, strace);
        if !board.wait_ready() {
            return false;
        }
        self.id = board.said("id");
        self.key = board.said("key").map(|kid| (0, kid));
        let asks = [
            "get_key_state",
            "rotate_key",
            "put",
            "confirm_cluster",
            "rotate_key",
        ];
        for method in asks {
            self.asked = Some(method);
            let params = match method {
                "put" => json!({"key": "k", "value": "v"}),
                _ => json!({}),
            };
            let answer = board.call(method, &params);
            let Some(Ok(answer)) = answer else {
                until("the board has died", READY_TIME_MAX, || {
                    board
                        .has_ended()
                        .then_some(())
                        .ok_or_else(|| format!("{answer:?}"))
                });
                return false;
            };
            if method != "put" {
                self.key = Some(named(&answer));
                self.confirmed |= answer["access"] == "keyed";
            }
            self.asked = None;
        }
        board.kill();
        true
    }

    fn check(&self, board: &Board, what: &str) {
        let id = board.said("id");
        assert!(
            self.id.is_none() || self.id == id,
            "{what}: {self:?}, and then {id:?}"
        );
        let state = match board.call("get_key_state", &json!({})) {
            Some(Ok(state)) => state,
            other => panic!("{what}: {other:?}: {}", board.log()),
        };
        let found = named(&state);
        if let Some(key) = &self.key {
            let may_be_next = self.asked == Some("rotate_key") && found.0 == key.0 + 1;
            assert!(
                found == *key || may_be_next,
                "{what}: {self:?}, and then {found:?}"
            );
        }
        let confirmed = state["access"] == "keyed";
        let may_be = self.confirmed || self.asked == Some("confirm_cluster");
        let must_be = self.confirmed;
        assert!(
            confirmed <= may_be && confirmed >= must_be,
            "{what}: {self:?}: {state}"
        );
    }
}

fn try_point(point: &Point) -> bool {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    let mut told = Told::default();
    let whole = point.kill(|strace| told.live(&data, strace));
    let file = |name| fs::read(data.join(name)).ok();
    let (identity, keyring) = (file("identity.pk8"), file("keyring"));
    let board = Board::start(&data);
    let what = format!("{point:?}");
    told.check(&board, &what);
    assert!(
        identity.is_none() || file("identity.pk8") == identity,
        "{what}: another identity"
    );
    let text = keyring.map(|text| String::from_utf8(text).expect("a keyring is text"));
    if let Some(text) = text {
        let kid = board.said("key");
        let (code, shown) = board.ask(&["key", "show"]);
        assert_eq!(code, Some(0), "{what}: {shown}");
        let (epoch, _) = named(
            &board
                .call("get_key_state", &json!({}))
                .expect("it runs")
                .expect("it is asked"),
        );
        let line = format!("\ncurrent {epoch} ");
        assert!(
            text.contains(&line),
            "{what}: the keyring of before was not taken; now {kid:?}"
        );
    }
    let put = board.call("put", &json!({"key": "after", "value": "v"}));
    assert!(matches!(put, Some(Ok(_))), "{what}: {put:?}");
    !whole
}

#[test]
fn every_crash_point_of_a_keys_life_leaves_the_old_keyring_or_the_new_one() {
    let points = alone(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path().join("data");
        point::of_life(|strace| Told::default().live(&data, strace))
    });
    let all = points.len();
    let died = point::try_all(points, (POINTS_IN_CI, point::WORKERS), try_point);
    let count = died.iter().filter(|died| **died).count();
    println!(
        "{} of {all} crash points run, {count} died there",
        died.len()
    );
    assert!(count * 10 >= died.len() * 8, "most points are reached");
}
