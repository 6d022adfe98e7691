//! The page on any screen, with any preference, by keyboard, and without scripts.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::driver::{Browser, ENTER, TAB};
use crate::namespace::alone;
use crate::process::Ring;

fn filled() -> Ring {
    let mut ring = Ring::of(&["calm-heron", "brave-otter", "attic"]);
    for number in 0..30 {
        let value = json!({"t": 20.5 + f64::from(number), "ok": true});
        let item = json!({"key": format!("attic/{number:02}"), "value": value});
        ring.board(0).call("put", item).unwrap();
    }
    ring.board(0)
        .call("put", json!({"key": "lamp", "value": "on"}))
        .unwrap();
    ring
}

/// What lies outside of the screen's width, or is too small to be touched.
const OUT_OF_REACH: &str = "
    const controls = [...document.querySelectorAll('button, input, textarea, a, select')];
    return controls.filter((it) => it.checkVisibility() && !it.closest('dialog:not([open])')
        && !it.matches('.skip')).filter((it) => {
      const box = it.getBoundingClientRect();
      const inline = it.matches('td a');
      return box.left < 0 || box.right > innerWidth + 0.5 || box.width < 16
        || (!inline && !it.matches('[type=radio]') && box.height < 24);
    }).map((it) => `${it.tagName} ${it.id} ${it.innerText}`)";

/// Texts whose colour stands out too little from the ground behind them (WCAG 2.2 §1.4.3, AA).
const FAINT: &str = "
    const parse = (color) => (color.match(/[\\d.]+/g) ?? []).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((c) => (c /= 255) <= 0.03928 ? c / 12.92
      : ((c + 0.055) / 1.055) ** 2.4)
      .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
    const ground = (it) => {
      for (; it; it = it.parentElement) {
        const color = parse(getComputedStyle(it).backgroundColor);
        if (color.length === 3 || color[3] > 0) return color;
      }
      return [255, 255, 255];
    };
    const texts = [...document.querySelectorAll('body *')].filter((it) => it.checkVisibility()
      && [...it.childNodes].some((node) => node.nodeType === 3 && node.data.trim())
      && !it.matches(':disabled, .unseen, .skip, title'));
    return texts.filter((it) => {
      const style = getComputedStyle(it);
      const color = parse(it instanceof SVGElement ? style.fill : style.color);
      const [a, b] = [light(color), light(ground(it))].sort((x, y) => y - x);
      return (a + 0.05) / (b + 0.05) < 4.5;
    }).map((it) => `${it.tagName} ${it.textContent.slice(0, 30)}`)";

#[test]
fn the_page_fits_a_phone_and_a_wide_screen_in_light_and_dark() {
    alone(|| {
        let mut ring = filled();
        let browser = Browser::start();
        for (width, height, kind) in [
            (1_280, 900, "wide"),
            (768, 1_024, "tablet"),
            (360, 740, "phone"),
        ] {
            browser.size(width, height);
            browser.open(&ring.board(0).page());
            browser.wait(
                "a picture",
                "document.querySelectorAll('.board').length === 3",
            );
            browser.wait(
                "items",
                "document.querySelectorAll('#items tr').length >= 8",
            );
            browser.wait(
                "figures",
                "document.getElementById('plots').innerText.includes('3 of 3')",
            );
            browser.write("#lookup-key", "lamp");
            browser.click("#lookup button");
            browser.wait("an owner", "document.querySelector('.board.owner')");
            for scheme in ["light", "dark"] {
                browser.prefer("prefers-color-scheme", scheme);
                browser.wait(
                    "the colours",
                    &format!("matchMedia('(prefers-color-scheme: {scheme})').matches"),
                );
                browser.picture(&format!("{kind}-{scheme}"), None);
                browser.picture(
                    &format!("{kind}-{scheme}-top"),
                    Some(u64::from(height) - 100),
                );
                assert_eq!(browser.run(FAINT), json!([]), "{kind} {scheme}");
            }
            let across = browser.run("return document.documentElement.scrollWidth");
            assert_eq!(across, width, "nothing needs scrolling sideways");
            assert_eq!(browser.run(OUT_OF_REACH), json!([]), "{kind}");
        }
        browser.run("document.documentElement.style.setProperty('--quiet', '#555')");
        assert_ne!(browser.run(FAINT), json!([]), "what is faint is found");
        browser.run("document.documentElement.style.removeProperty('--quiet')");
        browser.click("#browse-new");
        assert_eq!(
            browser.run(OUT_OF_REACH),
            json!([]),
            "the editor on a phone"
        );
        browser.view("phone-editor");
        browser.assert_quiet();
    });
}

/// The README shows it; the test above makes it (`wide-light-top`).
#[test]
fn the_picture_of_the_readme_is_small() {
    const BYTES_MAX: u64 = 200 * 1_000;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/page.png");
    let bytes = fs::metadata(path).expect("the picture is kept").len();
    assert!((10_000..=BYTES_MAX).contains(&bytes), "{bytes} bytes");
}

#[test]
fn everything_is_reached_by_keyboard_and_has_a_name() {
    alone(|| {
        let mut ring = filled();
        let browser = Browser::start();
        browser.open(&ring.board(0).page());
        browser.wait(
            "items",
            "document.querySelectorAll('#items tr').length === 20",
        );
        let mut reached = Vec::new();
        let focus = "const it = document.activeElement; \
            return [it.id || it.className || it.tagName, getComputedStyle(it).outlineStyle]";
        for _ in 0..24 {
            browser.press(&[TAB]);
            let now = browser.run(focus);
            assert_ne!(now[1], "none", "the focus is seen on {}", now[0]);
            reached.push(now[0].as_str().unwrap_or_default().to_owned());
        }
        for id in [
            "skip",
            "lookup-key",
            "events",
            "browse-text",
            "browse-get",
            "browse-new",
        ] {
            assert!(reached.iter().any(|it| it == id), "{id}: {reached:?}");
        }
        browser.run("document.getElementById('browse-new').focus()");
        browser.press(&[ENTER]);
        browser.wait("the editor", "document.getElementById('editor').open");
        for _ in 0..12 {
            browser.press(&[TAB]);
            let inside = browser.run(
                "return document.activeElement === document.body \
                || document.getElementById('editor').contains(document.activeElement)",
            );
            assert_eq!(inside, true, "the focus stays in the dialog");
        }

        let nodes = browser.devtools("Accessibility.getFullAXTree", json!({}));
        let nodes = nodes["nodes"].as_array().expect("a tree").clone();
        let nameless: Vec<&Value> = nodes
            .iter()
            .filter(|node| node["ignored"] == false)
            .filter(|node| {
                let role = node["role"]["value"].as_str().unwrap_or_default();
                matches!(
                    role,
                    "button" | "textbox" | "link" | "radio" | "table" | "img" | "log"
                ) && node["name"]["value"]
                    .as_str()
                    .unwrap_or_default()
                    .is_empty()
            })
            .collect();
        assert!(nameless.is_empty(), "{nameless:#?}");
        browser.assert_quiet();
    });
}

#[test]
fn without_scripts_the_page_is_a_table_of_states() {
    alone(|| {
        let mut ring = filled();
        let browser = Browser::start();
        browser.devtools(
            "Emulation.setScriptExecutionDisabled",
            json!({"value": true}),
        );
        browser.open(&ring.board(0).page());
        let text = browser.text("body");
        for words in [
            "calm-heron",
            concat!("roundel ", env!("CARGO_PKG_VERSION")),
            "brave-otter",
            "attic",
            "127.0.0.1:38401",
            "active",
            "3 boards, all present",
            "load it again",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        for words in ["Where does a key live", "New item", "connecting", "Memory"] {
            assert!(!text.contains(words), "{words}: {text}");
        }
        browser.picture("no-script", None);
        browser.assert_quiet();
    });
}
