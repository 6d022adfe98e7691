//! The prompt: a line editor with completion, and a history kept for the user alone.
//!
//! Reading a line blocks, so that a thread does it ([`Person`]) and signals are served meanwhile.

use std::ffi::OsString;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use tokio::sync::mpsc;

use super::scan::Splitter;
use super::session::COMMANDS;
use crate::cli::out::{note, shown};

/// Lines kept.
const HISTORY_MAX: usize = 1_000;

/// What the person typed.
#[derive(Debug)]
pub enum Typed {
    /// One or several commands.
    Text(String),
    /// Ctrl-C: nothing, the line is gone.
    Nothing,
    /// Ctrl-D.
    End,
}

/// See the module.
pub struct Prompt {
    editor: Editor<Words, FileHistory>,
    /// Where lines are kept; none when they cannot be.
    history: Option<PathBuf>,
}

impl Prompt {
    /// Reads the history; without one that can be kept the person is told and works on.
    ///
    /// # Errors
    /// What keeps the terminal from being used.
    pub fn new(methods: Vec<&'static str>) -> Result<Self, io::Error> {
        let config = Config::builder()
            .max_history_size(HISTORY_MAX)
            .map_err(to_io)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .build();
        let mut editor = Editor::with_config(config).map_err(to_io)?;
        editor.set_helper(Some(Words {
            methods,
            names: Vec::new(),
        }));
        let mut prompt = Prompt {
            editor,
            history: history_path(std::env::var_os("XDG_STATE_HOME"), std::env::var_os("HOME")),
        };
        let opened = prompt.open_history();
        prompt.told(opened);
        Ok(prompt)
    }

    fn open_history(&mut self) -> Result<(), io::Error> {
        let Some(path) = &self.history else {
            return Ok(());
        };
        if let Some(parent) = path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(parent)?;
        }
        if path.exists() {
            keep_private(path)?;
            self.editor.load_history(path).map_err(to_io)?;
        }
        Ok(())
    }

    /// Gives up the history if it cannot be kept, and says so.
    fn told(&mut self, result: Result<(), io::Error>) {
        if let (Err(error), Some(path)) = (result, &self.history) {
            note(&format!(
                "the history is not kept in {}: {error}",
                path.display()
            ));
            self.history = None;
        }
    }

    /// Reads one or several commands; blocks.
    ///
    /// # Errors
    /// What the terminal said.
    pub fn read(&mut self, prompt: &str, names: Vec<String>) -> Result<Typed, io::Error> {
        if let Some(words) = self.editor.helper_mut() {
            words.names = names
                .into_iter()
                .filter(|name| *name == shown(name))
                .collect();
        }
        let text = match self.editor.readline(prompt) {
            Ok(text) => text,
            Err(ReadlineError::Interrupted) => return Ok(Typed::Nothing),
            Err(ReadlineError::Eof) => return Ok(Typed::End),
            Err(error) => return Err(to_io(error)),
        };
        let added = self.editor.add_history_entry(text.as_str()).map_err(to_io);
        let kept = added.and_then(|added| match (&self.history, added) {
            (Some(path), true) => {
                self.editor.append_history(path).map_err(to_io)?;
                keep_private(path)
            }
            _ => Ok(()),
        });
        self.told(kept);
        Ok(Typed::Text(text))
    }
}

/// A prompt with the person at it, on a thread of their own.
pub struct Person {
    asks: std::sync::mpsc::Sender<(String, Vec<String>)>,
    typed: mpsc::UnboundedReceiver<Result<Typed, io::Error>>,
}

impl Person {
    /// Nothing is asked yet. The thread ends with this, or with the program if somebody is asked.
    ///
    /// # Errors
    /// What the system says when there can be no thread.
    pub fn new(mut prompt: Prompt) -> Result<Self, io::Error> {
        let (asks, asked) = std::sync::mpsc::channel::<(String, Vec<String>)>();
        let (answers, typed) = mpsc::unbounded_channel();
        std::thread::Builder::new().spawn(move || {
            while let Ok((shown, names)) = asked.recv() {
                if answers.send(prompt.read(&shown, names)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Person { asks, typed })
    }

    /// As [`Prompt::read`]; one question at a time.
    ///
    /// # Errors
    /// As [`Prompt::read`].
    pub async fn read(&mut self, shown: String, names: Vec<String>) -> Result<Typed, io::Error> {
        let gone = || io::Error::other("the prompt has ended");
        self.asks.send((shown, names)).map_err(|_| gone())?;
        self.typed.recv().await.unwrap_or_else(|| Err(gone()))
    }
}

fn keep_private(path: &Path) -> Result<(), io::Error> {
    std::fs::set_permissions(path, Permissions::from_mode(0o600))
}

fn to_io(error: ReadlineError) -> io::Error {
    match error {
        ReadlineError::Io(error) => error,
        other => io::Error::other(other.to_string()),
    }
}

/// XDG Base Directory Specification: a relative path is ignored.
fn history_path(xdg: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let of_home = || Some(home.and_then(absolute)?.join(".local/state"));
    let state = xdg.and_then(absolute).or_else(of_home)?;
    Some(state.join("roundel/shell_history"))
}

/// What can be completed.
struct Words {
    methods: Vec<&'static str>,
    names: Vec<String>,
}

impl Words {
    /// Where the word before the cursor begins, and what it can become.
    fn candidates(&self, before: &str) -> (usize, Vec<String>) {
        let command = before.rfind([';', '\n']).map_or(0, |at| at + 1);
        let command = command + before[command..].len() - before[command..].trim_start().len();
        let text = &before[command..];
        let names = || self.names.iter().cloned();
        let plain = || COMMANDS.iter().map(|&name| name.to_owned());
        let methods = || self.methods.iter().map(|&name| name.to_owned());
        let (typed, all): (usize, Vec<String>) = if let Some(open) = text.find('(') {
            // Only the object can be known; params are the person's own.
            let object = &text[open + 1..];
            let start = open + 1 + object.len() - object.trim_start().len();
            match object.contains([',', '"', '{', '[']) {
                true => return (before.len(), Vec::new()),
                false => (start, names().chain(["*".to_owned()]).collect()),
            }
        } else {
            match text.split_once(char::is_whitespace) {
                None => (0, plain().chain(methods().map(|name| name + "(")).collect()),
                Some(("use", rest)) => (text.len() - rest.trim_start().len(), names().collect()),
                Some(("help", rest)) => {
                    let start = text.len() - rest.trim_start().len();
                    (start, plain().chain(methods()).collect())
                }
                Some(_) => return (before.len(), Vec::new()),
            }
        };
        let word = &text[typed..];
        let mut fitting: Vec<String> = Vec::new();
        for name in all {
            if name.starts_with(word) && !fitting.contains(&name) {
                fitting.push(name);
            }
        }
        (command + typed, fitting)
    }
}

impl Completer for Words {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.candidates(&line[..pos]))
    }
}

impl Validator for Words {
    /// Open brackets and quotes go on in the next line.
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let mut splitter = Splitter::default();
        splitter.push(context.input());
        Ok(match splitter.open() {
            Some(_) => ValidationResult::Incomplete,
            None => ValidationResult::Valid(None),
        })
    }
}

impl Hinter for Words {
    type Hint = String;
}

impl Highlighter for Words {}

impl Helper for Words {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words() -> Words {
        Words {
            methods: vec!["get_node_state", "get_node_stats", "put"],
            names: vec!["attic".to_owned(), "cellar".to_owned()],
        }
    }

    #[test]
    fn commands_methods_and_boards_are_completed() {
        for (before, start, candidates) in [
            ("se", 0, &["search"][..]),
            ("get_n", 0, &["get_node_state(", "get_node_stats("]),
            ("status; use at", 12, &["attic"]),
            ("use ", 4, &["attic", "cellar"]),
            ("get_node_state(", 15, &["attic", "cellar", "*"]),
            ("echo( ce", 6, &["cellar"]),
            ("help get_node_statu", 5, &[]),
            ("help pu", 5, &["put"]),
            ("put(attic, ", 11, &[]),
            ("put k va", 8, &[]),
        ] {
            let (at, found) = words().candidates(before);
            assert_eq!(
                (at, found),
                (start, candidates.iter().map(|&c| c.into()).collect())
            );
        }
    }

    #[test]
    fn the_history_is_the_users_state() {
        let of = |xdg: Option<&str>, home: Option<&str>| {
            let path = history_path(xdg.map(Into::into), home.map(Into::into));
            path.map(|path| path.display().to_string())
        };
        assert_eq!(
            of(Some("/s"), Some("/h")).as_deref(),
            Some("/s/roundel/shell_history")
        );
        let of_home = "/h/.local/state/roundel/shell_history";
        assert_eq!(of(Some("s"), Some("/h")).as_deref(), Some(of_home));
        assert_eq!(of(None, None), None);
    }

    proptest! {
        #[test]
        fn any_line_can_be_completed(line in "\\PC{0,30}") {
            let (at, _) = words().candidates(&line);
            prop_assert!(line.is_char_boundary(at));
        }
    }
}
