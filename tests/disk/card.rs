//! An ext4 file system on a loop device: a card whose power can be cut.
//!
//! `EXT4_IOC_SHUTDOWN` without a flush of the log stops all writing at once, as a power cut does;
//! what was not synced is gone once the file system is unmounted.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::namespace::run;

/// `EXT4_GOING_FLAGS_NOLOGFLUSH`.
const NO_LOG_FLUSH: u32 = 2;

mod request {
    // Its number says that it is read, though the kernel reads the flags.
    const SHUTDOWN: nix::sys::ioctl::ioctl_num_type =
        nix::request_code_read!(b'X', 125, size_of::<u32>());
    nix::ioctl_write_ptr_bad!(shutdown, SHUTDOWN, u32);
}

/// A mounted card. The mount is seen in this mount namespace alone.
pub struct Card {
    directory: PathBuf,
    /// Goes with it.
    made: Option<tempfile::TempDir>,
}

impl Card {
    /// Makes an image file of so many MiB, a file system in it, and mounts it.
    ///
    /// # Panics
    /// Without loop devices, at the mount.
    pub fn new(mib: u64) -> Self {
        let made = tempfile::tempdir().expect("a directory");
        let image = made.path().join("image");
        let file = File::create(&image).expect("our file");
        file.set_len(mib << 20)
            .expect("a sparse file takes no room");
        run("mkfs.ext4", &["-q", "-F", &text(&image)]);
        let mut card = Card::of(made.path());
        card.made = Some(made);
        card
    }

    /// Mounts the file system in the file `image` of a directory.
    ///
    /// # Panics
    /// When that cannot be mounted.
    pub fn of(directory: &Path) -> Self {
        std::fs::create_dir_all(directory.join("card")).expect("a directory");
        let card = Card {
            directory: directory.to_owned(),
            made: None,
        };
        card.mount();
        card
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.directory.join("card")
    }

    /// Where a board on it keeps its data.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Takes it out and checks the file system.
    ///
    /// # Panics
    /// When that is not sound.
    pub fn check(&self) {
        run("umount", &[&text(&self.path())]);
        let image = self.directory.join("image");
        run("e2fsck", &["-f", "-n", &text(&image)]);
        self.mount();
    }

    /// Cuts the power. Whatever still runs there gets EIO.
    pub fn cut(&self) {
        let root = File::open(self.path()).expect("the card is mounted");
        // SAFETY: the request reads one u32 through the pointer, which outlives the call, and the
        // descriptor is open.
        unsafe { request::shutdown(root.as_raw_fd(), &NO_LOG_FLUSH) }
            .expect("ext4 takes a shutdown from root");
    }

    /// Takes it out and puts it in again: its journal is replayed.
    pub fn replug(&self) {
        run("umount", &[&text(&self.path())]);
        self.mount();
    }

    /// Makes the kernel give the file system up for writing, as it does when a card fails.
    pub fn turn_read_only(&self) {
        run("mount", &["-o", "remount,abort", &text(&self.path())]);
    }

    fn mount(&self) {
        // Such a loop device goes with its mount, and that with the namespace.
        let image = text(&self.directory.join("image"));
        run(
            "mount",
            &["-t", "ext4", "-o", "loop", &image, &text(&self.path())],
        );
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

impl Drop for Card {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
