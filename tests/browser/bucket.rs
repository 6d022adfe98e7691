//! The bucket by hand: put, get, edit and remove, as JSON, text and bytes; pages; clear faults.

use serde_json::json;

use crate::driver::Browser;
use crate::namespace::alone;
use crate::process::Ring;

const WRITES: &str = "!document.getElementById('browse-new').hidden";
const OPEN: &str = "document.getElementById('editor').open";

/// The editor has closed and the page says what was done.
fn done(browser: &Browser, words: &str) {
    let said = format!("document.getElementById('bucket-done').innerText === {words:?}");
    browser.wait(words, &format!("!{OPEN} && {said}"));
}

fn form(browser: &Browser, name: &str) {
    browser.click(&format!("#editor-form input[value={name}]"));
}

/// Removes the item that is named in the field, from its editor.
fn remove(browser: &Browser, ring: &mut Ring) {
    browser.click("#browse-get");
    browser.wait("the item", OPEN);
    browser.click("#editor-remove");
    browser.wait("the question", "document.getElementById('confirm').open");
    let asked = browser.run("return document.activeElement.id");
    assert_eq!(asked, "confirm-cancel", "Enter by mistake removes nothing");
    browser.click("#confirm-remove");
    done(browser, "Removed lamp.");
    let gone = ring
        .board(1)
        .call("get", json!({"key": "lamp"}))
        .unwrap_err();
    assert_eq!(gone["code"], -32004);
    browser.click("#browse-get");
    browser.wait("a fault", "!document.getElementById('bucket-fault').hidden");
    assert!(
        browser
            .text("#bucket-fault")
            .contains("Nothing is stored under lamp")
    );
}

#[test]
fn an_item_is_put_read_edited_and_removed() {
    alone(|| {
        let mut ring = Ring::of(&["calm-heron", "brave-otter", "attic"]);
        let browser = Browser::start();
        browser.open(&ring.board(0).page());
        browser.wait(
            "an empty bucket",
            "!document.getElementById('items-empty').hidden",
        );
        assert!(browser.text("#items-empty").contains("The bucket is empty"));

        browser.wait("who may write", WRITES);
        browser.click("#browse-new");
        browser.write("#editor-key", "lamp");
        form(&browser, "json");
        browser.write("#editor-value", "{\"on\": tru}");
        browser.click("#editor-save");
        let fault = browser.text("#editor-fault");
        assert!(
            fault.contains("This is not JSON") && fault.contains("choose Text"),
            "{fault}"
        );
        // A number that no double holds, and blanks, stay as they are.
        browser.write("#editor-value", "{\"on\":  12345678901234567890123}");
        browser.view("editor");
        browser.click("#editor-save");
        done(&browser, "Stored lamp.");
        let read = ring.board(1).call("get", json!({"key": "lamp"})).unwrap();
        assert!(read["value"]["on"].as_f64().unwrap() > 1e22);
        browser.wait(
            "its line",
            "document.getElementById('items').innerText.includes('lamp')",
        );

        browser.write("#browse-text", "lamp");
        browser.click("#browse-get");
        browser.wait("the item", OPEN);
        let value = "return document.getElementById('editor-value').value";
        assert_eq!(browser.run(value), "{\"on\":  12345678901234567890123}");
        browser.write("#editor-value", "off");
        form(&browser, "text");
        browser.click("#editor-save");
        done(&browser, "Stored lamp.");
        let read = ring.board(2).call("get", json!({"key": "lamp"})).unwrap();
        assert_eq!(read["value"], "off");

        remove(&browser, &mut ring);
        // What is not found is an HTTP status as well, which the console notes.
        let complaints = browser.complaints();
        assert!(
            complaints.iter().all(|it| it.contains("404")),
            "{complaints:?}"
        );
    });
}

#[test]
fn a_write_that_needs_an_absent_board_says_so_and_what_to_do() {
    alone(|| {
        let mut ring = Ring::of(&["calm-heron", "brave-otter"]);
        ring.board(1).kill();
        let browser = Browser::start();
        browser.open(&ring.board(0).page());
        browser.wait("who may write", WRITES);
        browser.click("#browse-new");
        browser.write("#editor-key", "lamp");
        browser.write("#editor-value", "on");
        browser.click("#editor-save");
        browser.wait("a fault", "!document.getElementById('editor-fault').hidden");
        let fault = browser.text("#editor-fault");
        assert!(
            fault.contains("absent") || fault.contains("brave-otter"),
            "{fault}"
        );
        assert_eq!(
            browser.run(&format!("return {OPEN}")),
            true,
            "what was typed is kept"
        );
        browser.run("document.getElementById('editor-copies').value = 'one'");
        browser.click("#editor-save");
        done(&browser, "Stored lamp.");
    });
}

#[test]
fn any_bytes_come_back_as_they_are() {
    alone(|| {
        let mut ring = Ring::of(&["calm-heron"]);
        let browser = Browser::start();
        browser.open(&ring.board(0).page());
        browser.wait("who may write", WRITES);
        browser.click("#browse-new");
        browser.write("#editor-key", "bytes");
        form(&browser, "hex");
        browser.write("#editor-value", "00 ff 8");
        browser.click("#editor-save");
        assert!(
            browser
                .text("#editor-fault")
                .contains("A byte has two hex digits")
        );
        browser.write("#editor-value", "00 ff 80\nc3 28");
        browser.click("#editor-save");
        done(&browser, "Stored bytes.");
        let read = ring.board(0).call("get", json!({"key": "bytes"})).unwrap();
        assert_eq!(read["value_base64"], "AP+Awyg=");
        browser.click("#items .acts button");
        browser.wait("the item", OPEN);
        let value = "return document.getElementById('editor-value').value";
        assert_eq!(browser.run(value), "00 ff 80 c3 28");
        form(&browser, "text");
        assert!(browser.text("#editor-fault").contains("no text in UTF-8"));
        assert_eq!(
            browser.run(value),
            "00 ff 80 c3 28",
            "nothing is lost by trying"
        );
        browser.assert_quiet();
    });
}

#[test]
fn items_are_browsed_by_prefix_and_page_by_page() {
    alone(|| {
        let mut ring = Ring::of(&["calm-heron", "brave-otter"]);
        for number in 0..45 {
            let item = json!({"key": format!("sensor/{number:02}"), "value": number});
            ring.board(0).call("put", item).unwrap();
        }
        ring.board(0)
            .call("put", json!({"key": "lamp", "value": 1}))
            .unwrap();
        let browser = Browser::start();
        browser.open(&ring.board(1).page());
        let lines = "document.querySelectorAll('#items tr').length";
        browser.wait("a page", &format!("{lines} === 20"));
        browser.write("#browse-text", "sensor/");
        browser.click("#browse button");
        let first =
            |key: &str| format!("document.querySelector('#items th')?.innerText === {key:?}");
        browser.wait("the first of them", &first("sensor/00"));
        browser.click("#items-on");
        browser.wait("the second page", &first("sensor/20"));
        browser.click("#items-on");
        browser.wait("the last page", &format!("{lines} === 5"));
        assert!(browser.text("#bucket-range").contains("items 41 to 45"));
        assert_eq!(
            browser.run("return document.getElementById('items-on').disabled"),
            true
        );
        browser.click("#items-back");
        browser.wait("back again", &first("sensor/20"));
        browser.write("#browse-text", "nothing/");
        browser.click("#browse button");
        browser.wait("nothing", "!document.getElementById('items-empty').hidden");
        assert!(
            browser
                .text("#items-empty")
                .contains("No key starts with nothing/")
        );
        browser.assert_quiet();
    });
}
