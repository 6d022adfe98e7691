//! The README, run as it stands: every line of its `sh` blocks against three real boards.
//!
//! The boards live in a network namespace of the test's own in which only `lo` is up, on the ports
//! the README names. Lines run top to bottom, so that what one stores the next can read; after a
//! line a comment `# → a … b` says which parts of the answer a reader will see, in that order.
//! It does not judge prose; two tables are held against the program beside the commands. Needs
//! root and iproute2, and fails loudly without.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use roundel::config::{Config, ConfigError, File};
use roundel::service::method::Table;
use serde_json::Value;

const README: &str = include_str!("../../README.md");
const ROUNDEL: &str = env!("CARGO_BIN_EXE_roundel");
/// Where `./tests/run` installs async-upnp-client.
const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/venv/bin");
const PORTS: [u16; 3] = [38_400, 38_401, 38_402];
/// Boards meet and leave well within this, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(30);

/// A command of the README and what it must say.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    line: usize,
    command: String,
    parts: Vec<String>,
}

/// The commands of all `sh` blocks, in order.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut inside, mut open) = (false, false);
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if let Some(said) = line.strip_prefix("# → ").filter(|_| inside) {
            let step = steps.last_mut().expect("an answer follows a command");
            let parts = said.split(" … ").map(|part| part.trim_matches(' '));
            step.parts.extend(parts.map(str::to_owned));
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            let continued = std::mem::replace(&mut open, line.ends_with('\\'));
            match steps.last_mut().filter(|_| continued) {
                Some(step) => step.command = format!("{}\n{line}", step.command),
                None => steps.push(Step {
                    line: number + 1,
                    command: line.to_owned(),
                    parts: Vec::new(),
                }),
            }
        }
    }
    steps
}

/// The first part that `answer` does not have after the parts before it.
fn missing<'p>(parts: &'p [String], answer: &str) -> Option<&'p str> {
    let mut rest = answer;
    for part in parts {
        match rest.find(part.as_str()) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return Some(part),
        }
    }
    None
}

/// Three boards; killed when they are dropped.
struct Boards(Vec<Child>);

impl Boards {
    fn start(directory: &Path) -> Boards {
        let start = |port: &u16| {
            let log = fs::File::create(directory.join(format!("{port}.log"))).unwrap();
            Command::new(ROUNDEL)
                .args(["run", "--interface", "lo", "--port", &port.to_string()])
                .arg("--data")
                .arg(directory.join(port.to_string()))
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .expect("the board's program was built")
        };
        Boards(PORTS.iter().map(start).collect())
    }

    /// Waits until every board sees all three.
    fn formed(&self, directory: &Path) {
        until("a ring of three boards", || {
            let all = |port: &u16| members(directory, *port).len() == PORTS.len();
            PORTS.iter().all(all)
        });
    }
}

impl Drop for Boards {
    fn drop(&mut self) {
        for board in &mut self.0 {
            // One that has ended already is no loss.
            let _ = board.kill();
            let _ = board.wait();
        }
    }
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// The ports of the boards one of them has in its ring; empty while boards join or leave.
fn members(directory: &Path, port: u16) -> Vec<Value> {
    let command = format!("roundel call get_cluster_state --node 127.0.0.1:{port}");
    let output = shell(directory, &command);
    let state: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let cluster = &state["cluster"];
    let nodes = cluster["nodes"]
        .as_array()
        .filter(|_| cluster["settled"] == true);
    let ports = nodes.into_iter().flatten().map(|node| node["port"].clone());
    ports.collect()
}

/// Runs a line as a reader would type it.
fn shell(directory: &Path, command: &str) -> Output {
    let programs = Path::new(ROUNDEL)
        .parent()
        .expect("a program lies somewhere");
    let path = std::env::var("PATH").unwrap_or_default();
    Command::new("timeout")
        .args(["60", "sh", "-c", command])
        .current_dir(directory)
        .env("PATH", format!("{}:{CLIENTS}:{path}", programs.display()))
        .env_remove("ROUNDEL_NODE")
        .stdin(Stdio::null())
        .output()
        .expect("coreutils are installed")
}

/// Leaves the machine's network for one that has `lo` and nothing else.
fn enter_own_network() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test makes a network namespace and needs root: run it as root or in a container \
         with CAP_SYS_ADMIN and CAP_NET_ADMIN"
    );
    unshare(CloneFlags::CLONE_NEWNET).expect("root may make a network namespace");
    let output = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .output();
    let output = output.expect("iproute2 is installed");
    assert!(output.status.success(), "{output:?}");
}

fn run_all() {
    enter_own_network();
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("photo.jpg"), [0xff, 0xd8, 0xff, 0xe0]).unwrap();
    let mut boards = Boards::start(directory.path());
    boards.formed(directory.path());
    let mut wrong = String::new();
    for step in steps(README) {
        let output = shell(directory.path(), &step.command);
        let answer = String::from_utf8_lossy(&output.stdout);
        let problem = match missing(&step.parts, &answer) {
            _ if !output.status.success() => format!("ended with {}", output.status),
            Some(part) => format!("does not say {part}"),
            None => continue,
        };
        let errors = String::from_utf8_lossy(&output.stderr);
        wrong.push_str(&format!(
            "README.md:{}: {problem}\n  {}\n  {answer}{errors}\n",
            step.line, step.command
        ));
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    stops_on_sigterm(&mut boards.0[0], directory.path());
}

/// The README's words on SIGTERM: it leaves, and the exit code is 0.
fn stops_on_sigterm(board: &mut Child, directory: &Path) {
    let pid = i32::try_from(board.id()).expect("a process id is small");
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    let mut status = None;
    until("SIGTERM ends it", || {
        status = board.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(0));
    until("the others know that it left", || {
        let members = members(directory, PORTS[1]);
        !members.is_empty() && !members.contains(&Value::from(PORTS[0]))
    });
}

#[test]
fn every_command_of_the_readme_says_what_the_readme_says() {
    // The namespace is the thread's, and goes with it and the boards.
    if let Err(panic) = std::thread::spawn(run_all).join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn readme_shows_every_method_with_curl() {
    let curls: Vec<Step> = steps(README)
        .into_iter()
        .filter(|step| step.command.starts_with("curl "))
        .collect();
    for method in Table::standard().methods() {
        let named = format!("\"method\":\"{}\"", method.name);
        assert!(
            curls.iter().any(|step| step.command.contains(&named)),
            "no curl line of the README calls {}",
            method.name
        );
    }
    let silent = steps(README).into_iter().find(|step| step.parts.is_empty());
    assert_eq!(silent, None, "each command shows parts of its answer");
}

/// The settings in the first column of the table below "## Configuration".
fn settings() -> BTreeSet<String> {
    let section = README
        .split("\n## ")
        .find(|s| s.starts_with("Configuration"));
    let rows = section.expect("the README has the section").lines();
    let cells = rows.filter_map(|row| row.strip_prefix("| `")?.split(" | ").next());
    cells
        .flat_map(|cell| cell.split('`').map(str::to_owned).collect::<Vec<_>>())
        .filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
        .filter(|word| word != "or")
        .collect()
}

#[test]
fn settings_of_the_readme_are_those_of_the_program() {
    let listed = settings();
    for setting in &listed {
        let error = File::parse(&format!("{setting} = {{}}")).err();
        assert!(
            !matches!(error, Some(ConfigError::UnknownKey { .. })),
            "{setting} is no setting"
        );
    }
    let config = Config::new("/nowhere".into()).to_json();
    for (key, value) in config.as_object().unwrap() {
        let inner = value.as_object().filter(|inner| !inner.is_empty());
        let names: Vec<String> = match inner {
            Some(inner) => inner.keys().map(|name| format!("{key}.{name}")).collect(),
            None => vec![key.clone()],
        };
        for name in names {
            assert!(listed.contains(&name), "the README does not list {name}");
        }
    }
}

#[test]
fn a_wrong_answer_is_noticed() {
    let text = "```sh\necho \\\n  one\n# → a … b\n```\n```text\nnot run\n```\n";
    let parts = vec!["a".to_owned(), "b".to_owned()];
    let step = Step {
        line: 2,
        command: "echo \\\n  one".to_owned(),
        parts: parts.clone(),
    };
    assert_eq!(steps(text), [step]);
    assert_eq!(missing(&parts, "xaxbx"), None);
    assert_eq!(missing(&parts, "ba"), Some("b"));
}
