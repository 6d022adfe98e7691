//! A thread in a network namespace with only `lo`, and a mount namespace whose mounts go with it.

use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, unshare};

/// Runs `work` where nothing leaves and no mount stays; what it starts belongs there too.
///
/// # Panics
/// Without root, and when `work` does.
pub fn alone<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test makes namespaces and needs root: run it as root or in a container with \
         CAP_SYS_ADMIN and CAP_NET_ADMIN"
    );
    let run = || {
        let flags = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
        unshare(flags).expect("root may make namespaces");
        run("mount", &["--make-rprivate", "/"]);
        run("ip", &["link", "set", "lo", "up"]);
        work()
    };
    let joined = thread::scope(|scope| scope.spawn(run).join());
    joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Runs a program that must succeed.
pub fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} runs: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
}
