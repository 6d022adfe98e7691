//! What a board started as root gives up once its ports are bound, and how many files it may open.
//!
//! Every capability goes, from the bounding set too, and no program it starts gets any back. The
//! user stays: the files are root's. Capabilities belong to threads and are handed on to those
//! started later, so this comes before the store's. Source: capabilities(7), prctl(2).

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::geteuid;

/// Gives up what is not needed any more. With a data directory of another user's the right to use
/// it stays, since the board could not write its own files otherwise.
///
/// # Errors
/// The system's; some of it may have been given up then.
pub fn give_up(data: &Path) -> io::Result<()> {
    prctl::set_no_new_privs()?;
    let own = std::fs::metadata(data).is_ok_and(|facts| facts.uid() == geteuid().as_raw());
    let kept: CapsHashSet = match own {
        true => CapsHashSet::new(),
        false => [Capability::CAP_DAC_OVERRIDE, Capability::CAP_FOWNER].into(),
    };
    let held = caps::read(None, CapSet::Permitted).map_err(io::Error::other)?;
    if held.contains(&Capability::CAP_SETPCAP) {
        let bounding = caps::read(None, CapSet::Bounding).map_err(io::Error::other)?;
        for capability in bounding.difference(&kept) {
            caps::drop(None, CapSet::Bounding, *capability).map_err(io::Error::other)?;
        }
    }
    let kept: CapsHashSet = kept.intersection(&held).copied().collect();
    caps::clear(None, CapSet::Ambient).map_err(io::Error::other)?;
    caps::clear(None, CapSet::Inheritable).map_err(io::Error::other)?;
    caps::set(None, CapSet::Effective, &kept).map_err(io::Error::other)?;
    caps::set(None, CapSet::Permitted, &kept).map_err(io::Error::other)
}

/// Lets the process open as many files as the system allows it: each link and each client is one.
///
/// # Errors
/// The system's.
pub fn raise_files() -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(())
}
