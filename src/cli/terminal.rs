//! The person's terminal: its settings are kept before a verb changes them and given back however
//! the verb ends, short of SIGKILL; and the signals that end such a verb.
//!
//! What a program draws is its own business (`top`, `shell`). Source: POSIX.1-2017 termios.

use std::io::{self, Write};
use std::panic;
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ends the mode in which a terminal marks what is pasted (xterm, "bracketed paste").
const PASTE_UNMARKED: &[u8] = b"\x1b[?2004l";

/// The settings of a terminal, given back when this goes out of scope or a thread panics.
#[derive(Debug)]
pub struct Settings(Arc<Mutex<Termios>>);

impl Settings {
    /// Keeps the settings of standard input's terminal. A panic gives them back before it is told.
    ///
    /// # Errors
    /// What the system says when standard input is no terminal.
    pub fn keep() -> io::Result<Self> {
        let kept = Arc::new(Mutex::new(tcgetattr(io::stdin())?));
        let told = panic::take_hook();
        let of_panic = kept.clone();
        panic::set_hook(Box::new(move |facts| {
            give_back(&of_panic);
            told(facts);
        }));
        Ok(Settings(kept))
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        give_back(&self.0);
    }
}

fn give_back(before: &Mutex<Termios>) {
    // In the background the terminal is another program's, and setting it would stop this one.
    if tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp()) {
        let before = before.lock().unwrap_or_else(PoisonError::into_inner);
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &before);
        let _ = io::stdout().write_all(PASTE_UNMARKED);
        let _ = io::stdout().flush();
    }
}

/// The signals with which others end a verb at a terminal.
#[derive(Debug)]
pub struct Ending {
    terminate: Signal,
    hangup: Signal,
}

impl Ending {
    /// Takes them from now on.
    ///
    /// # Errors
    /// What the system says when they cannot be had.
    pub fn new() -> io::Result<Self> {
        Ok(Ending {
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Returns at the next.
    pub async fn came(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
