//! The owner: a stranger on the LAN reads, the console's code claims the page over https, and the
//! password lets its owner in and nobody else.

use std::process::Command;

use serde_json::{Value, json};

use crate::driver::Browser;
use crate::namespace::alone;
use crate::process::{Ring, exchange, until};

const KEY: [u8; 32] = [7; 32];
const PASSWORD: &str = "correct horse";
const WRITES: &str = "!document.getElementById('browse-new').hidden";
const DOOR: &str = "document.getElementById('door').open";
const FAULT: &str = "!document.getElementById('door-fault').hidden";

/// A board at 10.0.0.1, which is reached from 10.0.0.2, as from another machine of the LAN.
fn lan() {
    for line in [
        "link add lan0 type veth peer name lan1",
        "address add 10.0.0.1/24 dev lan0",
        "address add 10.0.0.2/24 dev lan0",
        // No address that comes a second later: the browser takes that for another network.
        "link set lan0 addrgenmode none",
        "link set lan0 up",
        "link set lan1 up",
        "route replace local 10.0.0.1 dev lo src 10.0.0.2 table local",
    ] {
        let output = Command::new("ip").args(line.split(' ')).output();
        let output = output.expect("ip runs (iproute2)");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ip {line}: {errors}");
    }
}

fn reader(word: &str) -> String {
    format!("document.getElementById('reader-word').textContent === {word:?}")
}

/// The code that a board logged at its start.
fn code_of(ring: &mut Ring) -> String {
    let log = ring.board(0).log();
    let plain: String = log.replace("\u{1b}[3mcode\u{1b}[0m\u{1b}[2m=\u{1b}[0m", "code=");
    let (_, rest) = plain.split_once("code=").expect("a code is logged");
    rest.chars().take(9).collect()
}

/// What a put of the page's own script is answered with.
fn put(browser: &Browser) -> Value {
    let answer = browser.run_async(
        "const done = arguments[0]; fetch('/rpc', {method: 'POST', \
         headers: {'Content-Type': 'application/json'}, body: JSON.stringify({jsonrpc: '2.0', \
         id: 1, method: 'put', params: {key: 'lamp', value: 'on'}})})\
         .then((it) => it.text()).then(done, (error) => done(String(error)))",
    );
    serde_json::from_str(answer.as_str().expect("a text")).expect("an answer of JSON-RPC")
}

fn claim(browser: &Browser, ring: &mut Ring) {
    browser.click("#reader-act");
    browser.wait("the door", DOOR);
    browser.write("#door-code", "0000-0000");
    browser.write("#door-new", PASSWORD);
    browser.write("#door-again", "correct hose");
    browser.click("#door-go");
    assert!(
        browser
            .text("#door-fault")
            .contains("two new passwords differ")
    );
    browser.write("#door-again", PASSWORD);
    browser.click("#door-go");
    let wrong = "document.getElementById('door-fault').innerText.includes('code is wrong')";
    browser.wait("a wrong code", wrong);
    browser.view("claim");
    browser.write("#door-code", &code_of(ring).to_lowercase());
    browser.click("#door-go");
    browser.wait("the owner", &format!("!{DOOR} && {}", reader("owner")));
}

#[test]
fn a_stranger_reads_and_the_owner_claims_logs_out_and_in_over_https() {
    alone(|| {
        lan();
        let mut ring = Ring::reached_by("lan0", "attic", Some(KEY));
        let browser = Browser::start();
        browser.open("http://10.0.0.1:38400/presentation");
        browser.wait("a stranger", &reader("read only"));
        assert_eq!(browser.run(&format!("return {WRITES}")), false);
        assert_eq!(put(&browser)["error"]["code"], -32002);
        browser.picture("stranger", Some(700));
        let act = "return document.getElementById('reader-act').checkVisibility()";
        assert_eq!(
            browser.run(act),
            false,
            "no secret is asked for in the clear"
        );
        browser.click("#reader-https");
        browser.wait("https", "location.protocol === 'https:'");
        browser.wait("it is claimed here", &reader("read only"));
        assert_eq!(browser.run(act), true);

        claim(&browser, &mut ring);
        browser.wait("what the owner may", WRITES);
        assert!(put(&browser)["result"].is_object());
        assert_eq!(
            browser.run("return document.cookie"),
            "",
            "no script reads it"
        );
        browser.command("POST", "/refresh", &json!({}));
        browser.wait("the owner, still", &reader("owner"));
        browser.wait("what the owner may", WRITES);
        browser.picture("owner", Some(700));

        browser.click("#reader-act");
        browser.wait("the account", DOOR);
        browser.view("account");
        browser.click("#door-other");
        browser.wait("logged out", &reader("read only"));
        assert_eq!(browser.run(&format!("return {WRITES}")), false);
        assert_eq!(put(&browser)["error"]["code"], -32002);

        browser.click("#reader-act");
        browser.wait("the door", DOOR);
        browser.write("#door-password", "battery staple");
        browser.click("#door-go");
        browser.wait("a fault", FAULT);
        let fault = browser.text("#door-fault");
        assert!(
            fault.contains("The password is wrong; try again"),
            "{fault}"
        );
        browser.view("login");
        browser.write("#door-password", PASSWORD);
        browser.click("#door-go");
        browser.wait("the owner", &format!("!{DOOR} && {}", reader("owner")));
        browser.size(360, 740);
        browser.picture("owner-phone", Some(740));
        // Refusals are HTTP statuses as well, which the console notes.
        let complaints = browser.complaints();
        assert!(
            complaints.iter().all(|it| it.contains("401")),
            "{complaints:?}"
        );
    });
}

/// Claims a board from its own machine, as the page does.
fn claim_here(ring: &mut Ring) {
    let body = json!({"code": code_of(ring), "password": PASSWORD}).to_string();
    let at = ring.board(0).at();
    let request = format!(
        "POST /presentation/claim HTTP/1.1\r\nHost: {at}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(at, &request).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn the_owner_of_one_board_is_that_of_all_and_confirms_the_ring() {
    alone(|| {
        let mut ring = Ring::of(&["attic", "cellar", "kitchen"]);
        claim_here(&mut ring);
        let browser = Browser::start();
        browser.open(&ring.board(1).page());
        let known = "document.getElementById('reader-act').innerText === 'Log in'";
        browser.wait("the owner is known here", known);
        browser.click("#reader-act");
        browser.wait("the door", DOOR);
        browser.write("#door-password", PASSWORD);
        browser.click("#door-go");
        browser.wait("the owner", &format!("!{DOOR} && {}", reader("owner")));
        let told = "document.getElementById('banner').innerText";
        let digits = r"/Fingerprint \d{3} \d{3}, 3 boards: compare on every board/";
        browser.wait("the fingerprint", &format!("{digits}.test({told})"));
        browser.picture("confirm-banner", Some(600));
        browser.click("#banner button");
        browser.wait("the question", "document.getElementById('sure').open");
        browser.view("confirm-ring");
        browser.click("#sure-go");
        browser.wait("no banner", "document.getElementById('banner').hidden");
        for index in 0..3 {
            until("the board is keyed", || {
                let state = ring.board(index).call("get_key_state", json!({}));
                match state {
                    Ok(state) if state["access"] == "keyed" => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            });
        }
        browser.assert_quiet();
    });
}

#[test]
fn a_board_that_asks_is_let_in_from_the_page() {
    alone(|| {
        let mut ring = Ring::reached_by("lo", "attic", Some(KEY));
        claim_here(&mut ring);
        ring.add("newcomer");
        let browser = Browser::start();
        browser.open(&ring.board(0).page());
        let asks = "document.getElementById('banner').innerText.includes('newcomer asks')";
        browser.wait("it asks", asks);
        assert_eq!(ring.board(0).nodes().expect("it answers").len(), 1);
        browser.picture("asks", Some(600));
        browser.click("#banner button");
        browser.wait("the question", "document.getElementById('sure').open");
        browser.click("#sure-go");
        let shown = "document.querySelectorAll('#ring-picture .board').length === 2";
        browser.wait("it is in", shown);
        browser.wait("nobody asks", "document.getElementById('banner').hidden");
        ring.settle(2);
        browser.assert_quiet();
    });
}

#[test]
fn a_code_that_the_page_makes_lets_the_board_in_that_it_is_entered_on() {
    alone(|| {
        let mut ring = Ring::reached_by("lo", "attic", Some(KEY));
        claim_here(&mut ring);
        ring.add("newcomer");
        let browser = Browser::start();
        browser.open(&ring.board(0).page());
        let told = "document.getElementById('banner').innerText";
        browser.wait(
            "the offer",
            &format!("{told}.includes('Or let one in by a code')"),
        );
        browser.click("#banner div:nth-child(2) button");
        browser.wait("the question", "document.getElementById('sure').open");
        browser.click("#sure-go");
        let shown = format!("/Join code \\d{{4}}-\\d{{4}}: on the new board/.test({told})");
        browser.wait("the code", &shown);
        browser.picture("join-code", Some(600));
        let code = browser.run(&format!("return {told}.match(/\\d{{4}}-\\d{{4}}/)[0]"));
        let entered = ring.board(1).call("enter_join_code", json!({"code": code}));
        assert_eq!(entered.expect("it is in")["access"], "keyed");
        let shown = "document.querySelectorAll('#ring-picture .board').length === 2";
        browser.wait("it is in", shown);
        browser.wait("nobody asks", "document.getElementById('banner').hidden");
        ring.settle(2);
        browser.assert_quiet();
    });
}

#[test]
fn a_ring_that_trusts_its_lan_says_so() {
    alone(|| {
        let mut ring = Ring::of(&["attic"]);
        let browser = Browser::start();
        browser.open(&ring.board(0).page());
        let banner = "document.getElementById('banner').innerText";
        browser.wait(
            "the banner",
            &format!("{banner}.includes('trusts everyone on this LAN until you confirm it')"),
        );
        browser.wait("it is on the board itself", &reader("may write"));
        browser.picture("provisional", Some(600));
        browser.assert_quiet();
    });
}

#[test]
fn an_open_ring_says_so_in_red_with_and_without_scripts() {
    alone(|| {
        let mut ring = Ring::open("attic");
        let said = "This ring is open: whoever reaches it may change everything in it.";
        let request = format!(
            "GET /presentation HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            ring.board(0).at()
        );
        let document = exchange(ring.board(0).at(), &request).expect("it answers");
        let row = format!("<div data-tone=\"bad\"><p>{said}</p></div>");
        assert!(document.contains(&row), "the document says so: {document}");
        let browser = Browser::start();
        browser.open(&ring.board(0).page());
        let banner = "document.getElementById('banner')";
        browser.wait(
            "the way out",
            &format!("{banner}.innerText.includes('open = true')"),
        );
        browser.wait(
            "what it is",
            &format!("{banner}.innerText.includes({said:?})"),
        );
        let red = "const row = document.querySelector('#banner > div'); \
            const [r, g, b] = getComputedStyle(row).color.match(/\\d+/g).map(Number); \
            return row.checkVisibility() && r > g + 60 && r > b + 60 \
                && !row.querySelector('button')";
        assert_eq!(
            browser.run(red),
            json!(true),
            "it is red, and cannot be confirmed away"
        );
        browser.picture("open", Some(600));
        browser.assert_quiet();
    });
}

#[test]
fn what_was_wrong_at_the_start_is_a_banner_with_and_without_scripts() {
    alone(|| {
        let mut ring = Ring::tolerant("attic", "\nport = \"<b>\"\n");
        let said = "config.toml, line 2: port = \"<b>\" is not possible";
        let at = ring.board(0).at();
        let request =
            format!("GET /presentation HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
        let document = exchange(at, &request).expect("it answers");
        let spelt = said.replace('<', "&lt;").replace('>', "&gt;");
        let spelt = spelt.replace('"', "&quot;");
        assert!(
            document.contains(&spelt),
            "the document says so: {document}"
        );
        let browser = Browser::start();
        browser.open(&ring.board(0).page());
        browser.wait("it is on the board itself", &reader("may write"));
        let row = "document.querySelector('#problems > div[data-tone=bad]')";
        browser.wait(
            "the banner",
            &format!("{row}.checkVisibility() && {row}.innerText.includes({said:?})"),
        );
        let listed = "document.getElementById('health-wrong').innerText";
        browser.wait("it is wrong", &format!("{listed}.includes({said:?})"));
        browser.picture("problems", Some(600));
        browser.assert_quiet();
    });
}
