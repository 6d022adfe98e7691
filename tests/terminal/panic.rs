//! A panic at a changed terminal: this test program, started anew on a pseudo-terminal, keeps its
//! settings as `top` and `shell` do, changes them, and panics.

use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use roundel::cli::terminal::Settings;

use crate::pty::Pty;

/// Set for the program that is to panic.
const CHOSEN: &str = "ROUNDEL_TERMINAL_PANICS";

#[test]
fn a_panic_is_told_on_a_terminal_that_is_as_before() {
    if std::env::var_os(CHOSEN).is_some() {
        let _settings = Settings::keep().expect("a terminal");
        let mut raw = tcgetattr(std::io::stdin()).expect("a terminal");
        cfmakeraw(&mut raw);
        tcsetattr(std::io::stdin(), SetArg::TCSANOW, &raw).expect("a terminal");
        panic!("of the test's own");
    }
    let program = std::env::current_exe().expect("this program");
    let program = program.to_str().expect("a plain path");
    let name = "panic::a_panic_is_told_on_a_terminal_that_is_as_before";
    let args = ["--exact", name, "--nocapture", "--test-threads=1"];
    let pty = Pty::start_program(program, &args, (100, 30), &[(CHOSEN, "1")]);
    let (status, shown) = pty.ends();
    assert!(!status.success(), "{status}");
    // With its settings back the terminal puts a carriage return before each new line.
    let told = &shown[shown.find("of the test's own").expect("the panic is told")..];
    assert!(told.starts_with("of the test's own\r\n"), "{shown:?}");
}
