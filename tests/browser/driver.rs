//! A browser: chromium behind chromedriver, spoken to over WebDriver (W3C WebDriver 2) and, for
//! what that lacks, the DevTools protocol.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use base64::Engine;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{artefacts, exchange, until};

const PORT: u16 = 9_515;
/// Nothing is looked up, fetched or reported; the namespace has no way out anyway.
const ARGUMENTS: [&str; 9] = [
    "--headless=new",
    // It runs as root.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE 10.0.0.1",
    "--hide-scrollbars",
];

/// A running browser with one tab.
pub struct Browser {
    driver: Child,
    session: String,
    _profile: TempDir,
}

/// A key of the keyboard, as WebDriver writes it.
pub const TAB: &str = "\u{e004}";
/// See [`TAB`].
pub const ENTER: &str = "\u{e007}";

impl Browser {
    /// Starts a browser of 1,280 × 900.
    pub fn start() -> Self {
        let profile = tempfile::tempdir().expect("there is room for a profile");
        let driver = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "chromedriver"])
            .arg(format!("--port={PORT}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("setpriv runs (util-linux)");
        let mut browser = Browser {
            driver,
            session: String::new(),
            _profile: profile,
        };
        until("chromedriver answers (package chromium-driver)", || {
            request("GET", "/status", &Value::Null)
        });
        let directory = format!("--user-data-dir={}", browser._profile.path().display());
        let arguments: Vec<&str> = ARGUMENTS.into_iter().chain([directory.as_str()]).collect();
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            // A board's certificate is its own: whoever opens the page accepts it.
            "acceptInsecureCerts": true,
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": arguments}}}});
        let session = request("POST", "/session", &capabilities);
        let session = session.unwrap_or_else(|error| panic!("no browser: {error}"));
        browser.session = session["sessionId"].as_str().expect("a session").to_owned();
        browser.size(1_280, 900);
        browser
    }

    /// A command of the session.
    ///
    /// # Panics
    /// When the browser refuses it.
    pub fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        let path = format!("/session/{}{path}", self.session);
        request(method, &path, body).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// A command of the DevTools protocol.
    pub fn devtools(&self, command: &str, params: Value) -> Value {
        let body = json!({"cmd": command, "params": params});
        self.command("POST", "/goog/cdp/execute", &body)
    }

    /// Opens a page.
    pub fn open(&self, url: &str) {
        self.command("POST", "/url", &json!({"url": url}));
    }

    /// Runs a function's body in the page.
    pub fn run(&self, script: &str) -> Value {
        self.command(
            "POST",
            "/execute/sync",
            &json!({"script": script, "args": []}),
        )
    }

    /// Runs a function's body that calls its last argument when it is done.
    pub fn run_async(&self, script: &str) -> Value {
        self.command(
            "POST",
            "/execute/async",
            &json!({"script": script, "args": []}),
        )
    }

    /// Waits until an expression is true; answers how long that took.
    pub fn wait(&self, what: &str, expression: &str) -> Duration {
        let (_, took) = until(what, || {
            match self.run(&format!("return Boolean({expression})")) {
                Value::Bool(true) => Ok(()),
                _ => Err(format!(
                    "{expression} is false; the page says {}",
                    self.text("main")
                )),
            }
        });
        took
    }

    /// The text of an element as it is shown.
    pub fn text(&self, selector: &str) -> String {
        let script = format!("return document.querySelector({selector:?})?.innerText ?? ''");
        self.run(&script).as_str().unwrap_or_default().to_owned()
    }

    fn element(&self, selector: &str) -> String {
        let body = json!({"using": "css selector", "value": selector});
        let found = self.command("POST", "/element", &body);
        let id = found.as_object().and_then(|it| it.values().next());
        id.and_then(Value::as_str).expect("an element").to_owned()
    }

    /// Clicks on an element where a person would, who scrolls it out from under the page's head.
    pub fn click(&self, selector: &str) {
        let scroll = format!(
            "document.querySelector({selector:?}).scrollIntoView({{block: 'center', \
             behavior: 'instant'}})"
        );
        self.run(&scroll);
        let path = format!("/element/{}/click", self.element(selector));
        self.command("POST", &path, &json!({}));
    }

    /// Types into a field, in place of what it holds.
    pub fn write(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.command("POST", &format!("/element/{element}/clear"), &json!({}));
        self.command(
            "POST",
            &format!("/element/{element}/value"),
            &json!({"text": text}),
        );
    }

    /// Presses keys wherever the focus is.
    pub fn press(&self, keys: &[&str]) {
        let strokes = keys
            .iter()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key})));
        let strokes: Vec<Value> = strokes.collect();
        let body = json!({"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]});
        self.command("POST", "/actions", &body);
    }

    /// The size of the window; narrow ones are phones.
    pub fn size(&self, width: u32, height: u32) {
        let phone = width < 600;
        let metrics = json!({"width": width, "height": height, "mobile": phone,
            "deviceScaleFactor": if phone { 2 } else { 1 }});
        self.devtools("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// What the person's system prefers.
    pub fn prefer(&self, feature: &str, value: &str) {
        let features = json!({"features": [{"name": feature, "value": value}]});
        self.devtools("Emulation.setEmulatedMedia", features);
    }

    /// Keeps a picture of what the window shows, dialogs included.
    pub fn view(&self, name: &str) {
        let data = self.command("GET", "/screenshot", &Value::Null);
        keep(name, &data);
    }

    /// Keeps a picture of the page: of all of it, or of so much from the top.
    pub fn picture(&self, name: &str, height: Option<u64>) {
        // What stays at the window's top would stand in the middle of the picture.
        let measure = "scrollTo({top: 0, behavior: 'instant'}); \
            return [innerWidth, document.documentElement.scrollHeight]";
        let size = self.run(measure);
        let height = height.map_or(size[1].clone(), Value::from);
        let clip = json!({"x": 0, "y": 0, "width": size[0], "height": height, "scale": 1});
        let params = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let shot = self.devtools("Page.captureScreenshot", params);
        keep(name, &shot["data"]);
    }

    /// What the console said since the last time: errors, warnings, violations of the policy.
    pub fn complaints(&self) -> Vec<String> {
        let lines = self.command("POST", "/se/log", &json!({"type": "browser"}));
        let lines = lines.as_array().expect("a list");
        let bad = lines.iter().filter(|line| {
            let ours = line["message"]
                .as_str()
                .is_some_and(|it| it.contains("http://1") || it.contains("https://1"));
            matches!(line["level"].as_str(), Some("SEVERE" | "WARNING")) && ours
        });
        bad.map(|line| line["message"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// The console said nothing that a person should not have to read.
    pub fn assert_quiet(&self) {
        let complaints = self.complaints();
        assert!(complaints.is_empty(), "the console says {complaints:#?}");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if thread::panicking() && !self.session.is_empty() {
            let complaints = request(
                "POST",
                &format!("/session/{}/se/log", self.session),
                &json!({"type": "browser"}),
            );
            eprintln!("the console said {complaints:?}");
        }
        // Ends the browser; it may be gone.
        let _ = request(
            "DELETE",
            &format!("/session/{}", self.session),
            &Value::Null,
        );
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Keeps a picture that came in base64.
fn keep(name: &str, data: &Value) {
    let data = data.as_str().expect("a picture");
    let bytes = base64::engine::general_purpose::STANDARD.decode(data);
    let path = artefacts().join(format!("{name}.png"));
    fs::write(path, bytes.expect("base64")).expect("target is ours");
}

/// Asks chromedriver.
fn request(method: &str, path: &str, body: &Value) -> Result<Value, String> {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\nContent-Type: application/json\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(([127, 0, 0, 1], PORT).into(), &text).ok_or("no answer")?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or("no body")?;
    let answer: Value = serde_json::from_str(body).map_err(|error| format!("{error}: {body}"))?;
    match answer["value"].get("error") {
        Some(_) => Err(answer["value"].to_string()),
        None => Ok(answer["value"].clone()),
    }
}
