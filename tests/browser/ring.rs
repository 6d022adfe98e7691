//! The ring, live: boards that are there, come, go and come back; lookups; a board's restart.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::driver::Browser;
use crate::namespace::alone;
use crate::process::{Board, DEADLINE, Ring, exchange, until};

/// What is done to the ring is seen within this.
const SEEN_MAX: Duration = Duration::from_secs(1);
/// First data on loopback; other work on the machine may take some of it.
const FIRST_DATA_MAX: Duration = Duration::from_millis(100 * 5);

/// Boards whose mark is not where their id says.
const ASTRAY: &str = "
    const circle = document.querySelector('.circle').getBoundingClientRect();
    const middle = [circle.x + circle.width / 2, circle.y + circle.height / 2];
    return [...document.querySelectorAll('#ring-picture .board')].filter((board) => {
      const box = board.querySelector('.shape').getBoundingClientRect();
      const [x, y] = [box.x + box.width / 2 - middle[0], box.y + box.height / 2 - middle[1]];
      const turn = parseInt(board.dataset.id.slice(0, 8), 16) / 2 ** 32;
      const away = (Math.atan2(x, -y) / (2 * Math.PI) - turn + 2) % 1;
      const off = Math.hypot(x, y) / (circle.width / 2);
      return off < 0.9 || off > 1.1 || Math.min(away, 1 - away) > 0.01;
    }).map((board) => board.dataset.id)";

/// How many boards the picture shows with that tone, or at all.
fn shown(tone: &str) -> String {
    format!("document.querySelectorAll('#ring-picture .board{tone}').length")
}

/// Waits until a board knows something and until the page shows it; answers how much later.
fn lag(
    browser: &Browser,
    ring: &mut Ring,
    what: &str,
    known: impl Fn(&[Value]) -> bool,
    expression: &str,
) -> Duration {
    let mut known_at = None;
    let mut shown_at = None;
    let (lag, _) = until(what, || {
        if known_at.is_none() && ring.board(0).nodes().is_some_and(|nodes| known(&nodes)) {
            known_at = Some(Instant::now());
        }
        let script = format!("return Boolean({expression})");
        if shown_at.is_none() && browser.run(&script) == Value::Bool(true) {
            shown_at = Some(Instant::now());
        }
        match (known_at, shown_at) {
            (Some(known), Some(shown)) => Ok(shown.saturating_duration_since(known)),
            _ => Err(format!(
                "known: {}, shown: {}",
                known_at.is_some(),
                shown_at.is_some()
            )),
        }
    });
    println!("{what}: on the page {lag:?} after the board knew");
    lag
}

/// The page has loaded and shows three boards, each with what it says of itself.
fn assert_shows_three(browser: &Browser) {
    browser.wait(
        "three boards",
        &format!("{} === 3", shown("[data-tone=good]")),
    );
    browser.wait(
        "a live feed",
        "document.getElementById('link').innerText === 'live'",
    );
    browser.wait(
        "figures",
        "document.querySelectorAll('#boards-rows tr').length === 3",
    );
    for name in ["calm-heron", "brave-otter", "attic"] {
        assert!(browser.text("#boards-rows").contains(name), "{name}");
    }
    browser.wait(
        "what the others say of themselves",
        "[...document.querySelectorAll('#boards-rows tr')].every((row) => \
         row.children[9].innerText.endsWith('MB') && row.children[6].innerText === '0')",
    );
    assert_eq!(
        browser.run("return document.querySelectorAll('.board.this').length"),
        1
    );
    browser.assert_quiet();
}

#[test]
fn the_page_shows_three_boards_then_a_fourth_then_its_absence_and_return() {
    alone(|| {
        let mut ring = Ring::of(&["calm-heron", "brave-otter", "attic"]);
        let browser = Browser::start();
        browser.open(&ring.board(0).page());
        assert_shows_three(&browser);
        ring.add("cellar");
        let came = lag(
            &browser,
            &mut ring,
            "a board that joins",
            |nodes| nodes.len() == 4,
            &format!("{} === 4", shown("")),
        );
        assert!(came <= SEEN_MAX);
        assert_eq!(
            browser.run(ASTRAY),
            json!([]),
            "a newcomer stands on the circle at once"
        );
        ring.settle(4);
        browser.wait(
            "it is a member",
            &format!("{} === 4", shown("[data-tone=good]")),
        );
        let log = browser.text("#events");
        assert!(
            log.contains("cellar asked to join and was taken in"),
            "{log}"
        );

        ring.board(3).kill();
        let away = |nodes: &[Value]| nodes.iter().any(|node| node["alive"] == false);
        let bad = format!("{} === 1", shown("[data-tone=bad]"));
        let went = lag(&browser, &mut ring, "a board that lost power", away, &bad);
        assert!(went <= SEEN_MAX);
        browser.wait(
            "words",
            "document.getElementById('health-wrong').innerText.includes('Absent')",
        );
        assert!(browser.text("#health-unplug").starts_with("no"));
        assert!(browser.text("#events").contains("cellar is absent"));
        browser.picture("absent", None);

        ring.board(3).start();
        let back = |nodes: &[Value]| nodes.iter().all(|node| node["alive"] == true);
        let good = format!("{} === 4", shown("[data-tone=good]"));
        let came = lag(&browser, &mut ring, "a board that is back", back, &good);
        assert!(came <= SEEN_MAX);
        browser.wait(
            "its event",
            "document.getElementById('events').innerText.includes('is back')",
        );
        browser.assert_quiet();
    });
}

#[test]
fn a_suspicion_its_end_and_a_farewell_are_seen_within_a_second() {
    alone(|| {
        let mut ring = Ring::of(&["calm-heron", "brave-otter", "attic", "cellar"]);
        let browser = Browser::start();
        browser.open(&ring.board(0).page());
        browser.wait(
            "four boards",
            &format!("{} === 4", shown("[data-tone=good]")),
        );
        ring.board(2).signal(Signal::SIGSTOP);
        let suspected = |nodes: &[Value]| nodes.iter().any(|node| node["suspect"] == true);
        let warn = format!("{} === 1", shown("[data-tone=warn]"));
        let seen = lag(
            &browser,
            &mut ring,
            "a board that is suspected",
            suspected,
            &warn,
        );
        ring.board(2).signal(Signal::SIGCONT);
        assert!(seen <= SEEN_MAX);
        let well = |nodes: &[Value]| {
            let fine = |node: &Value| node["alive"] == true && node["suspect"] == false;
            nodes.iter().all(fine)
        };
        let good = format!("{} === 4", shown("[data-tone=good]"));
        let seen = lag(
            &browser,
            &mut ring,
            "a board that answers again",
            well,
            &good,
        );
        assert!(seen <= SEEN_MAX);

        ring.board(3).signal(Signal::SIGTERM);
        let left = |nodes: &[Value]| nodes.len() == 3;
        let gone = format!("{} === 3", shown(""));
        let seen = lag(&browser, &mut ring, "a board that leaves", left, &gone);
        assert!(seen <= SEEN_MAX);
        browser.wait(
            "its event",
            "document.getElementById('events').innerText\
             .includes('cellar handed over what it held and left')",
        );
        browser.assert_quiet();
    });
}

#[test]
fn two_rings_that_meet_become_one_on_the_page() {
    alone(|| {
        let mut ring = Ring::of(&["calm-heron"]);
        ring.add_alone("attic");
        until("a ring of its own", || {
            match ring.board(1).nodes().map(|nodes| nodes.len()) {
                Some(1) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        let browser = Browser::start();
        browser.open(&ring.board(0).page());
        browser.wait("one board", &format!("{} === 1", shown("")));
        // The ring of the higher cluster id joins the other, whoever of the two is asked to.
        let meet = |from: &Board, to: &Board| {
            let sponsor = json!({"sponsoring_node": to.at().to_string()});
            from.call("join_ring", sponsor).is_ok()
        };
        let [first, second] = ring.boards() else {
            panic!("there are two boards");
        };
        assert!(meet(first, second) || meet(second, first), "they meet");
        let two = |nodes: &[Value]| nodes.len() == 2;
        let both = format!("{} === 2", shown(""));
        let seen = lag(&browser, &mut ring, "rings that merge", two, &both);
        assert!(seen <= SEEN_MAX);
        browser.wait(
            "its event",
            "/became one|attic asked to join/.test(document.getElementById('events').innerText)",
        );
        browser.assert_quiet();
    });
}

#[test]
fn a_lookup_marks_owner_and_copies_and_draws_the_way() {
    alone(|| {
        let mut ring = Ring::of(&["calm-heron", "brave-otter", "attic", "cellar"]);
        let browser = Browser::start();
        browser.open(&ring.board(0).page());
        browser.wait("four boards", &format!("{} === 4", shown("")));
        // A key that another board owns, so that there is a way to draw.
        let this = ring.board(0).call("get_node_state", json!({})).unwrap()["hash"].clone();
        let found = (0..100).find_map(|number| {
            let key = format!("key-{number}");
            let found = ring
                .board(0)
                .call("find_ring_successor", json!({"key": key}))
                .unwrap();
            (found["hops"] == 1 && found["copies"][0]["id"] != this).then_some((key, found))
        });
        let (key, found) = found.expect("another board owns one of a hundred keys");
        browser.write("#lookup-key", &key);
        browser.click("#lookup button");
        browser.wait("an owner", "document.querySelector('.board.owner')");
        let owner = browser.run("return document.querySelector('.board.owner').dataset.id");
        assert_eq!(owner, found["copies"][0]["id"]);
        let copies = browser.run("return document.querySelectorAll('.board.copy').length");
        assert_eq!(copies, 2);
        assert_eq!(
            browser.run("return document.querySelectorAll('.hop').length"),
            1
        );
        let answer = browser.text("#lookup-answer");
        let name = found["copies"][0]["name"].as_str().unwrap();
        assert!(answer.contains(&format!("lives on {name}")), "{answer}");
        assert!(
            answer.contains(&format!("1 hop: calm-heron → {name}")),
            "{answer}"
        );
        let running = "return document.querySelector('.hop').getAnimations()[0]?.effect\
            .getComputedTiming().duration";
        assert_eq!(browser.run(running), 500);

        // Without motion the way is there at once.
        browser.prefer("prefers-reduced-motion", "reduce");
        browser.click("#lookup button");
        browser.wait(
            "the way, at once",
            "getComputedStyle(document.querySelector('.hop')).strokeDashoffset === '0px'",
        );
        browser.click("#lookup-clear");
        browser.wait(
            "nothing marked",
            "!document.querySelector('.owner, .copy, .hop, .keypoint')",
        );
        browser.assert_quiet();
    });
}

#[test]
fn the_page_outlives_its_board() {
    alone(|| {
        let mut ring = Ring::of(&["calm-heron", "brave-otter", "attic"]);
        let browser = Browser::start();
        browser.open(&ring.board(0).page());
        browser.wait(
            "a live feed",
            "document.getElementById('link').innerText === 'live'",
        );
        browser.run("window.before = true");
        ring.board(0).kill();
        browser.wait(
            "it says so",
            "document.getElementById('link').innerText === 'reconnecting'",
        );
        browser.write("#browse-text", "anything");
        browser.click("#browse-get");
        browser.wait(
            "a clear fault",
            "!document.getElementById('bucket-fault').hidden",
        );
        let fault = browser.text("#bucket-fault");
        assert!(
            fault.contains("does not answer") && fault.contains("by itself"),
            "{fault}"
        );
        browser.picture("reconnecting", Some(900));
        ring.board(0).start();
        let took = browser.wait(
            "it goes on by itself",
            "document.getElementById('link').innerText === 'live'",
        );
        println!("the page was live again {took:?} after its board was started");
        browser.wait(
            "all boards",
            &format!("{} === 3", shown("[data-tone=good]")),
        );
        assert_eq!(
            browser.run("return window.before"),
            true,
            "it was not loaded anew"
        );
        let events = browser.text("#events");
        assert!(!events.is_empty(), "the events of the new start");
    });
}

#[test]
fn the_first_data_is_there_at_once() {
    alone(|| {
        let mut ring = Ring::of(&["calm-heron", "brave-otter", "attic"]);
        let at = ring.board(0).at();
        let start = Instant::now();
        let page = format!("GET /presentation HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
        let document = exchange(at, &page).expect("the page");
        let whole = start.elapsed();
        assert!(document.contains("brave-otter") && document.contains("3 boards, all present"));

        let start = Instant::now();
        let mut stream = TcpStream::connect(at).expect("the board listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        let events = format!("GET /presentation/events HTTP/1.1\r\nHost: {at}\r\n\r\n");
        stream.write_all(events.as_bytes()).expect("it is read");
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        let first = lines
            .skip_while(|line| !line.starts_with("event: cluster"))
            .nth(1);
        let fed = start.elapsed();
        assert!(first.expect("data").contains("attic"));
        println!("the document took {whole:?}, the feed's first data {fed:?}");
        assert!(whole <= FIRST_DATA_MAX && fed <= FIRST_DATA_MAX);

        let browser = Browser::start();
        browser.open(&ring.board(0).page());
        browser.wait("a picture", &format!("{} === 3", shown("")));
        let paint = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime";
        let paint = browser.run(paint).as_f64().expect("it was painted");
        let shift = browser.run_async(
            "const done = arguments[0]; new PerformanceObserver((list) => done(list.getEntries()\
             .reduce((sum, entry) => sum + entry.value, 0)))\
             .observe({type: 'layout-shift', buffered: true}); setTimeout(() => done(0), 300)",
        );
        println!("first paint after {paint:.0} ms in the browser, layout shift {shift}");
        assert!(
            shift.as_f64().expect("a number") < 0.1,
            "good, as the Web Vitals have it"
        );
    });
}
