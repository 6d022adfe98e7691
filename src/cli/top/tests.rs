//! What the screen says of a ring, by content, on screens of every size.

use std::time::Duration;

use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;
use serde_json::{Value, json};

use super::draw::{Screen, draw};
use super::handle;
use super::model::Model;
use super::poll::Poll;
use super::view::{Column, Tone};

fn node(name: &str, digit: char) -> Value {
    json!({"name": name, "version": "0.1.0", "hash": digit.to_string().repeat(64),
        "addr": "10.0.0.1", "port": 38400, "state": "active", "standing": "member",
        "alive": true, "suspect": false, "for_ms": 61000})
}

fn stats(changes: &Value) -> Value {
    let mut stats = json!({"uptime_ms": 3_600_000, "items": 7, "handover_pending": 0,
        "under_replicated": 0, "safe_to_unplug": true, "unplug_reason": "", "problems": [],
        "store": "open", "memory_bytes": 9_437_184});
    for (name, value) in changes.as_object().unwrap() {
        stats[name] = value.clone();
    }
    stats
}

/// A poll of `attic`, whose id begins with 1.
fn poll(nodes: &[Value], own: &Value) -> Poll {
    let read = |value: Value| serde_json::from_value(value).unwrap();
    let node = json!({"name": "attic", "cluster": "home", "hash": "1".repeat(64),
        "addr": "10.0.0.1", "port": 38400, "state": "active"});
    let cluster = json!({"name": "home", "id": "ab", "settled": true, "copies": 3,
        "mode": "full", "nodes": nodes});
    let of = |node: &Value| (node["hash"].as_str().unwrap().to_owned(), stats(own));
    Poll {
        node: serde_json::from_value(node).unwrap(),
        cluster: serde_json::from_value(cluster).unwrap(),
        stats: read(stats(own)),
        boards: nodes
            .iter()
            .map(of)
            .map(|(id, stats)| (id, read(stats)))
            .collect(),
    }
}

fn three() -> Vec<Value> {
    vec![node("attic", '1'), node("cellar", '5'), node("roof", '9')]
}

fn second(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn terminal(model: &Model, now: Duration, size: (u16, u16), screen: &mut Screen) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    terminal
        .draw(|frame| draw(frame, &model.view(now), screen))
        .unwrap();
    terminal.backend().clone()
}

/// The screen as text.
fn seen(model: &Model, now: u64, size: (u16, u16)) -> String {
    terminal(model, second(now), size, &mut Screen::default()).to_string()
}

fn assert_says(screen: &str, texts: &[&str]) {
    for text in texts {
        assert!(screen.contains(text), "{text:?} is not in\n{screen}");
    }
}

#[test]
fn another_board_that_is_asked_is_told_and_its_problems_are_no_change() {
    let mut model = Model::new("10.0.0.1:38400");
    model.answered(second(0), poll(&three(), &json!({})));
    model.lost(second(1), "connection refused");
    let mut of_roof = poll(&three(), &json!({"problems": ["the card is worn out"]}));
    of_roof.node.hash = "9".repeat(64);
    of_roof.node.name = Some("roof".to_owned());
    model.moved(second(2), "10.0.0.9:38400".to_owned(), of_roof.clone());
    let screen = seen(&model, 2, (110, 36));
    assert_says(
        &screen,
        &[
            "seen from roof at 10.0.0.9:38400",
            "asking roof from now on",
            "wrong: the card is worn out",
        ],
    );
    assert_eq!(
        screen.matches("the card is worn out").count(),
        1,
        "{screen}"
    );
    assert!(!screen.contains("NO ANSWER"), "{screen}");
    // Without a move it is another board at the same address.
    of_roof.node.hash = "5".repeat(64);
    of_roof.node.name = Some("cellar".to_owned());
    model.answered(second(3), of_roof);
    assert_says(
        &seen(&model, 3, (110, 36)),
        &["cellar answers at this address"],
    );
}

#[test]
fn a_ring_that_is_well_is_shown_with_its_picture() {
    let mut model = Model::new("10.0.0.1:38400");
    model.answered(second(1), poll(&three(), &json!({})));
    let screen = seen(&model, 3, (110, 36));
    assert_says(
        &screen,
        &[
            "roundel  cluster home  seen from attic at 10.0.0.1:38400",
            "3 of 3 boards present",
            "safe to unplug: yes",
            "wrong: nothing",
            "7 keys here",
            "3 of 3 present",
            "@ attic",
            "NAME    STATE   KEYS  SINCE      ADDRESS         UP         MEMORY   VERSION",
            "o  cellar  active  7     1 min 1 s  10.0.0.1:38400  1 h 0 min  9.0 MiB  0.1.0",
            "2 s  began to watch",
            "q quit",
        ],
    );
    assert!(
        !screen.contains("operations/s"),
        "the board does not count\n{screen}"
    );
}

#[test]
fn what_is_wrong_is_said_on_the_smallest_screen() {
    let mut nodes = three();
    nodes[1]["alive"] = json!(false);
    nodes[2]["suspect"] = json!(true);
    let own = json!({"safe_to_unplug": false, "unplug_reason": "cellar is absent",
        "problems": ["cellar is absent; bring it back"]});
    let mut model = Model::new("10.0.0.1:38400");
    model.answered(second(1), poll(&nodes, &own));
    for size in [(40, 12), (80, 24), (200, 60)] {
        let screen = seen(&model, 1, size);
        assert_says(
            &screen,
            &[
                "2 of 3 boards present, 1 suspected",
                "safe to unplug: NO, cellar is absent",
                "wrong: cellar is absent; bring it back",
                "@  attic",
                "q quit",
            ],
        );
    }
    let low = seen(&model, 1, (40, 12));
    assert_says(
        &low,
        &["NAME", "STATE", "x  cellar  absent", "?  roof    suspected"],
    );
}

#[test]
fn changes_between_polls_are_told_the_newest_first() {
    let mut model = Model::new("here");
    model.answered(second(1), poll(&three(), &json!({})));
    let mut nodes = three();
    nodes[1]["alive"] = json!(false);
    let wrong = json!({"problems": ["cellar has been away for 3 s"], "safe_to_unplug": false});
    model.answered(second(2), poll(&nodes, &wrong));
    let later = json!({"problems": ["cellar has been away for 4 s"], "safe_to_unplug": false});
    model.answered(second(3), poll(&nodes, &later));
    nodes.remove(1);
    nodes.push(node("shed", 'c'));
    model.answered(second(4), poll(&nodes, &json!({"uptime_ms": 5})));
    let log: Vec<(String, String)> = model
        .view(second(4))
        .log
        .into_iter()
        .map(|(ago, said)| (ago, said.text))
        .collect();
    let at = |ago: &str| -> Vec<&str> {
        let then = log.iter().filter(|(when, _)| when == ago);
        then.map(|(_, text)| text.as_str()).collect()
    };
    assert_eq!(
        at("now"),
        [
            "it is safe to unplug",
            "no longer wrong: cellar has been away for 4 s",
            "cellar is out of the ring",
            "shed joined",
            "roof restarted",
            "attic restarted",
        ]
    );
    assert_eq!(at("1 s"), Vec::<&str>::new(), "only a number has changed");
    assert_eq!(
        at("2 s"),
        [
            "it is not safe to unplug",
            "wrong: cellar has been away for 3 s",
            "cellar is absent",
        ]
    );
    assert_eq!(at("3 s"), ["began to watch"]);
}

#[test]
fn a_lost_board_is_told_once_and_its_last_state_stays() {
    let mut model = Model::new("10.0.0.1:38400");
    assert_says(
        &seen(&model, 0, (80, 24)),
        &["waiting for the first answer"],
    );
    model.answered(second(1), poll(&three(), &json!({})));
    for now in 2..5 {
        model.lost(second(now), "the connection broke");
    }
    let screen = seen(&model, 12, (80, 24));
    assert_says(
        &screen,
        &[
            "NO ANSWER for 10 s, trying again: the connection broke",
            "cellar",
        ],
    );
    assert_eq!(screen.matches("no answer: ").count(), 1, "{screen}");
    model.answered(second(13), poll(&three(), &json!({})));
    let screen = seen(&model, 13, (80, 24));
    assert!(!screen.contains("NO ANSWER"), "{screen}");
    assert_says(&screen, &["the board answers again"]);
}

#[test]
fn operations_and_latency_are_shown_once_the_board_counts_them() {
    let counts = |put: u64| {
        json!({"operations": {"put": put, "get": 0, "remove": 0, "failed": 0,
            "latency_us": [[1600, put]]}, "written_bytes": 2_097_152})
    };
    let mut model = Model::new("here");
    model.answered(second(1), poll(&three(), &counts(10)));
    model.answered(second(3), poll(&three(), &counts(30)));
    let screen = seen(&model, 3, (120, 40));
    let figures = "30.0 operations/s · put 30.0 · p50 ≤ 1.6 ms · p99 ≤ 1.6 ms · 7 keys here · \
                   2.0 MiB written";
    assert_says(&screen, &[figures, "OPS/S", "10.0"]);
}

#[test]
fn boards_are_sorted_and_scrolled_by_keys() {
    let nodes: Vec<Value> = "fedcba9876543210"
        .chars()
        .map(|digit| node(&format!("board-{digit}"), digit))
        .collect();
    let mut model = Model::new("here");
    model.answered(second(1), poll(&nodes, &json!({})));
    let mut screen = Screen::default();
    let press = |model: &mut Model, screen: &mut Screen, code| {
        let key = Event::Key(KeyEvent::new(code, KeyModifiers::NONE));
        let on = handle(key, model, screen);
        (on, terminal(model, second(1), (60, 12), screen).to_string())
    };
    let (_, first) = press(&mut model, &mut screen, KeyCode::Home);
    assert!(
        first.contains("board-f") && !first.contains("board-0"),
        "{first}"
    );
    let (_, last) = press(&mut model, &mut screen, KeyCode::End);
    assert!(
        last.contains("board-0") && !last.contains("board-f"),
        "{last}"
    );
    let (_, up) = press(&mut model, &mut screen, KeyCode::Up);
    assert!(!up.contains("board-0") && up.contains("board-1"), "{up}");
    press(&mut model, &mut screen, KeyCode::Home);
    let (_, named) = press(&mut model, &mut screen, KeyCode::Char('s'));
    assert!(
        named.contains("s sort: name") && named.contains("board-0"),
        "{named}"
    );
    let (_, help) = press(&mut model, &mut screen, KeyCode::Char('?'));
    assert!(help.contains("q, Esc, Ctrl-C"), "{help}");
    let (on, closed) = press(&mut model, &mut screen, KeyCode::Esc);
    assert!(on && !closed.contains("q, Esc, Ctrl-C"), "{closed}");
    assert!(!press(&mut model, &mut screen, KeyCode::Esc).0);
    assert!(!press(&mut model, &mut screen, KeyCode::Char('q')).0);
    let interrupt = Event::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
    assert!(!handle(interrupt, &mut model, &mut screen));
}

#[test]
fn without_colours_nothing_is_coloured() {
    let mut nodes = three();
    nodes[1]["alive"] = json!(false);
    let mut model = Model::new("here");
    model.answered(second(1), poll(&nodes, &json!({"problems": ["disk full"]})));
    for colours in [false, true] {
        let mut screen = Screen {
            colours,
            ..Screen::default()
        };
        let backend = terminal(&model, second(1), (100, 40), &mut screen);
        let cells = &backend.buffer().content;
        let coloured = cells
            .iter()
            .any(|c| c.fg != Color::Reset || c.bg != Color::Reset);
        assert_eq!(coloured, colours);
    }
}

#[test]
fn names_from_the_network_cannot_steer_the_terminal() {
    let mut nodes = three();
    nodes[1]["name"] = json!("evil\u{1b}[2J");
    nodes[2]["version"] = json!("1\n2");
    let mut model = Model::new("here");
    model.answered(second(1), poll(&nodes, &json!({"problems": ["a\u{7}b"]})));
    model.lost(second(2), "\u{1b}]0;title");
    let view = model.view(second(2));
    let all = format!("{:?}", (view.title, view.health, view.rows, view.log));
    // Debug output of a control character has a backslash of its own.
    assert!(
        all.contains("evil\\\\u{1b}[2J") && !all.contains("evil\\u{1b}"),
        "{all}"
    );
    assert!(
        all.contains("a\\\\u{7}b") && all.contains("1\\\\n2"),
        "{all}"
    );
    assert!(all.contains("\\\\u{1b}]0;title"), "{all}");
}

#[test]
fn columns_without_content_are_left_out() {
    let mut nodes = three();
    for node in &mut nodes {
        node["version"] = Value::Null;
    }
    let mut model = Model::new("here");
    let mut poll = poll(&nodes, &json!({"memory_bytes": null}));
    poll.boards.clear();
    model.answered(second(1), poll);
    let view = model.view(second(1));
    let left = [Column::Name, Column::State, Column::Since, Column::Address];
    assert_eq!(view.columns, left);
    assert_eq!(view.health[0].tone, Tone::Good);
}

proptest! {
    #[test]
    fn any_ring_is_drawn_on_any_screen(
        names in proptest::collection::vec("\\PC{0,40}", 0..40),
        problem in "\\PC{0,300}",
        size in (0u16..130, 0u16..50),
        scroll in 0usize..100,
        help: bool,
    ) {
        let digits = "0123456789abcdef";
        let nodes: Vec<Value> = names
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let mut node = node(name, digits.chars().nth(index % 16).unwrap());
                node["alive"] = json!(index % 3 != 0);
                node["suspect"] = json!(index % 2 == 0);
                node
            })
            .collect();
        let mut model = Model::new("here");
        model.answered(second(1), poll(&nodes, &json!({"problems": [problem]})));
        model.lost(second(2), &problem);
        let mut screen = Screen { scroll, help, ..Screen::default() };
        terminal(&model, second(3), size, &mut screen);
    }
}
