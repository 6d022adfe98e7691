//! A program on a pseudo-terminal: what it shows, what it is typed, how it leaves the terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;

use crate::board::{ASKED, until};

/// See the module.
pub struct Pty {
    child: Child,
    /// Ours; what is written here is typed.
    master: File,
    /// The program's; kept open so that its settings can be read afterwards.
    slave: OwnedFd,
    before: Termios,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Pty {
    /// Starts a verb on a terminal of that size.
    pub fn start(args: &[&str], size: (u16, u16), variables: &[(&str, &str)]) -> Self {
        Pty::start_program(env!("CARGO_BIN_EXE_roundel"), args, size, variables)
    }

    /// Starts any program on one.
    pub fn start_program(
        program: &str,
        args: &[&str],
        size: (u16, u16),
        variables: &[(&str, &str)],
    ) -> Self {
        let winsize = Winsize {
            ws_col: size.0,
            ws_row: size.1,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&winsize), None).expect("there are pseudo-terminals");
        let before = tcgetattr(&pty.slave).expect("it is a terminal");
        let end = || Stdio::from(pty.slave.try_clone().expect("there are descriptors"));
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "setsid", "--ctty"])
            .arg(program)
            .args(args)
            .env("ROUNDEL_NODE", ASKED)
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .env_remove("COLUMNS")
            .envs(variables.iter().copied())
            .stdin(end())
            .stdout(end())
            .stderr(end());
        let child = command
            .spawn()
            .expect("setpriv and setsid run (util-linux)");
        let master = File::from(pty.master);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut from, into) = (
            master.try_clone().expect("there are descriptors"),
            shown.clone(),
        );
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            // The far end is closed with the test; that ends the reading.
            while let Ok(read @ 1..) = from.read(&mut bytes) {
                into.lock()
                    .expect("no reader panics")
                    .extend(&bytes[..read]);
            }
        });
        Pty {
            child,
            master,
            slave: pty.slave,
            before,
            shown,
        }
    }

    /// What was shown so far, with the sequences that place and colour it.
    pub fn shown(&self) -> String {
        let bytes = self.shown.lock().expect("no reader panics");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until all of this is shown.
    pub fn shows(&self, texts: &[&str]) {
        self.shows_after(0, texts);
    }

    /// Waits until all of this is shown behind the first bytes.
    pub fn shows_after(&self, bytes: usize, texts: &[&str]) {
        until("it is shown", || {
            let shown = self.shown();
            let new = &shown[bytes..];
            match texts.iter().find(|text| !new.contains(**text)) {
                None => Ok(()),
                Some(text) => Err(format!("{text:?} is not in {new:?}")),
            }
        });
    }

    /// The screen as it stands.
    pub fn screen(&self) -> String {
        screen(&self.shown())
    }

    /// Waits until all of this stands on the screen.
    pub fn displays(&self, texts: &[&str]) {
        until("it is on the screen", || {
            let screen = self.screen();
            match texts.iter().find(|text| !screen.contains(**text)) {
                None => Ok(()),
                Some(text) => Err(format!("{text:?} is not in\n{screen}")),
            }
        });
    }

    /// Types.
    pub fn types(&mut self, text: &str) {
        self.master
            .write_all(text.as_bytes())
            .expect("the terminal takes it");
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        kill(pid, signal).expect("it is our child");
    }

    /// Waits for its end; the terminal is as it was before.
    pub fn ends(mut self) -> (ExitStatus, String) {
        let mut status = None;
        until("it ends", || {
            status = self.child.try_wait().expect("it is our child");
            status.map(|_| ()).ok_or_else(|| "it runs".to_owned())
        });
        let after = tcgetattr(&self.slave).expect("it is a terminal");
        assert_eq!(after.local_flags, self.before.local_flags);
        assert_eq!(after.input_flags, self.before.input_flags);
        assert_eq!(after.output_flags, self.before.output_flags);
        // What the program wrote last may still be on its way to the reader.
        let mut length = usize::MAX;
        until("the reader is done", || {
            std::thread::park_timeout(Duration::from_millis(50));
            let before = std::mem::replace(&mut length, self.shown().len());
            match before == length {
                true => Ok(()),
                false => Err("more came".to_owned()),
            }
        });
        (status.expect("it ended"), self.shown())
    }
}

/// The screen that text and sequences make: those that place the cursor are followed, those that
/// colour are not.
fn screen(shown: &str) -> String {
    let mut rows: Vec<Vec<char>> = Vec::new();
    let (mut row, mut column) = (0, 0);
    let mut rest = shown.chars();
    while let Some(c) = rest.next() {
        if c != '\u{1b}' {
            if rows.len() <= row {
                rows.resize(row + 1, Vec::new());
            }
            if rows[row].len() <= column {
                rows[row].resize(column + 1, ' ');
            }
            rows[row][column] = c;
            column += 1;
            continue;
        }
        let sequence: String = rest
            .by_ref()
            .take_while(|c| !c.is_ascii_alphabetic())
            .collect();
        // The final letter is eaten with the sequence; two numbers alone place the cursor.
        let place = sequence
            .strip_prefix('[')
            .and_then(|text| text.split_once(';'));
        let place = place.and_then(|(r, c)| Some((r.parse::<usize>().ok()?, c.parse().ok()?)));
        if let (Some((to_row, to_column)), true) = (place, places(shown, rest.as_str())) {
            let to_column: usize = to_column;
            (row, column) = (to_row.saturating_sub(1), to_column.saturating_sub(1));
        }
    }
    let lines: Vec<String> = rows
        .into_iter()
        .map(|row| row.into_iter().collect())
        .collect();
    lines.join("\n")
}

/// The sequence before the rest of the text ends with `H`.
fn places(shown: &str, rest: &str) -> bool {
    shown[..shown.len() - rest.len()].ends_with('H')
}
