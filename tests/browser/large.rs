//! A ring of two hundred boards stays smooth: frames are counted while everything changes.

use serde_json::Value;

use crate::canned::{Canned, Say};
use crate::driver::Browser;
use crate::namespace::alone;

/// Frames for three seconds: the median, the 95th percentile and the longest, milliseconds.
const FRAMES: &str = "
    const done = arguments[0];
    const frames = [];
    let last = performance.now();
    const end = last + 3000;
    requestAnimationFrame(function frame(now) {
      frames.push(now - last);
      last = now;
      if (now < end) return requestAnimationFrame(frame);
      frames.sort((a, b) => a - b);
      const at = (part) => frames[Math.floor((frames.length - 1) * part)];
      done([at(0.5), at(0.95), frames.at(-1), frames.length]);
    })";

/// What a browser without a graphics card takes of a frame on a busy machine; thirty frames a
/// second look smooth.
const MEDIAN_MS_MAX: f64 = 34.0;

#[test]
fn two_hundred_boards_that_keep_changing_are_smooth() {
    alone(|| {
        let mut say = Say::ring(200);
        say.busy = true;
        let canned = Canned::serve(say);
        let browser = Browser::start();
        browser.open(&canned.page());
        browser.wait(
            "all boards",
            "document.querySelectorAll('.board').length === 200",
        );
        let frames = browser.run_async(FRAMES);
        let figure = |at: usize| frames[at].as_f64().expect("a number");
        println!(
            "200 boards, the ring changes 20 times a second: frames take {:.1} ms in the median, \
             {:.1} at p95, {:.1} at most, {} in 3 s",
            figure(0),
            figure(1),
            figure(2),
            frames[3]
        );
        assert!(figure(0) <= MEDIAN_MS_MAX, "{frames}");
        assert!(browser.text("#boards-range").contains("1 to 25 of 200"));
        browser.click("#boards-on");
        browser.wait(
            "the next boards",
            "document.getElementById('boards-range').innerText.startsWith('26')",
        );

        let labels = "return [...document.querySelectorAll('.board .name')]\
            .filter((it) => it.textContent).length";
        assert!(
            browser
                .run(labels)
                .as_u64()
                .is_some_and(|labels| labels < 30)
        );
        browser.picture("large", None);
        assert_eq!(
            browser.run("return document.documentElement.scrollWidth"),
            Value::from(1_280)
        );
        browser.assert_quiet();
    });
}
