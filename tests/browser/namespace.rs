//! A thread in a network namespace of its own in which only `lo` is up; one at a time.

use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;

use nix::sched::{CloneFlags, unshare};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs `work` where nothing leaves; what it starts belongs there too.
///
/// # Panics
/// Without root, and when `work` does.
pub fn alone<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test makes a namespace and needs root: run it as root or in a container with \
         CAP_SYS_ADMIN and CAP_NET_ADMIN"
    );
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let run = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("root may make namespaces");
        let up = Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status();
        assert!(up.expect("ip runs (iproute2)").success());
        work()
    };
    let joined = thread::scope(|scope| scope.spawn(run).join());
    joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
