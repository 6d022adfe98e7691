//! What comes from the network is text: hostile keys and values on a real board, hostile names,
//! states and events in what a board says.

use serde_json::json;

use crate::canned::{Canned, Say};
use crate::driver::Browser;
use crate::namespace::alone;
use crate::process::Ring;

const HOSTILE: &str = "<img src=x onerror=\"window.hit=1\"><script>window.hit=2</script>'&amp;";

/// Nothing of it became an element or ran.
fn assert_harmless(browser: &Browser) {
    let found = browser.run("return document.querySelectorAll('img, body script').length");
    assert_eq!(found, 0);
    assert_eq!(browser.run("return window.hit ?? null"), json!(null));
    browser.assert_quiet();
}

#[test]
fn hostile_keys_and_values_are_shown_as_text() {
    alone(|| {
        let mut ring = Ring::of(&["calm-heron"]);
        let item = json!({"key": HOSTILE, "value": HOSTILE});
        ring.board(0).call("put", item).unwrap();
        let browser = Browser::start();
        browser.open(&ring.board(0).page());
        browser.wait(
            "its line",
            "document.querySelectorAll('#items tr').length === 1",
        );
        assert_eq!(browser.text("#items th"), HOSTILE);
        browser.click("#items .acts button");
        browser.wait("the item", "document.getElementById('editor').open");
        assert_eq!(
            browser.run("return document.getElementById('editor-value').value"),
            HOSTILE
        );
        browser.click("#editor-remove");
        assert_eq!(browser.text("#confirm-key"), HOSTILE);
        browser.click("#confirm-cancel");
        browser.click("#editor-cancel");
        browser.write("#lookup-key", HOSTILE);
        browser.click("#lookup button");
        browser.wait("an owner", "document.querySelector('.board.owner')");
        assert!(browser.text("#lookup-answer").contains("<img src=x"));
        assert_harmless(&browser);
    });
}

#[test]
fn names_states_and_events_that_nobody_foresaw_are_shown_as_text() {
    alone(|| {
        let mut say = Say::ring(5);
        say.node(1)["name"] = json!(HOSTILE);
        say.node(1)["addr"] = json!("javascript:window.hit=3//");
        say.node(2)["standing"] = json!("diskless");
        say.node(3)["state"] = json!(HOSTILE);
        say.stats["store"] = json!("<b>melted</b>");
        say.stats["problems"] = json!([HOSTILE]);
        let node = say.node(1)["hash"].clone();
        say.events(&[
            json!({"number": 1, "uptime_ms": 5, "time_ms": null, "event": "eclipse",
            "node": node, "text": HOSTILE}),
        ]);
        let canned = Canned::serve(say);
        let browser = Browser::start();
        browser.open(&canned.page());
        browser.wait(
            "five boards",
            "document.querySelectorAll('.board').length === 5",
        );
        browser.wait(
            "a fault",
            "document.getElementById('health-wrong').innerText.includes('img')",
        );
        assert!(browser.text("#boards-rows").contains("<img src=x"));
        assert!(browser.text("#boards-rows").contains("diskless"));
        assert_eq!(browser.text("#health-store"), "<b>melted</b>");
        assert!(browser.text("#events").contains("<script>"));
        let faults = "return document.querySelectorAll('.board[data-tone=bad]').length";
        assert_eq!(
            browser.run(faults),
            2,
            "an unknown standing or state is a fault"
        );
        let links = "return [...document.querySelectorAll('#boards-rows a')]\
            .every((link) => link.protocol === 'http:')";
        assert_eq!(browser.run(links), true);
        browser.picture("hostile", None);
        assert_harmless(&browser);
    });
}
