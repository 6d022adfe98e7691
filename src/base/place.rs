//! Where a directory lies: which device it is on, with which file system.
//!
//! Read off the kernel's list of mounts, which whoever asks brings along (proc(5),
//! `/proc/self/mountinfo`).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::Serialize;

/// A directory and what it is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The directory.
    pub path: String,
    /// What was mounted there: `/dev/sda1`; for a file system without a device a word of the
    /// kernel's.
    pub device: String,
    /// Its kind: `ext4`, `tmpfs`.
    pub file_system: String,
}

impl Place {
    /// The place of `real`, an absolute path without links, that is shown as `path`. None: no mount
    /// has it.
    ///
    /// A mount hides those before it at the same place and below.
    pub fn find(path: &Path, real: &Path, mounts: &str) -> Option<Self> {
        let (_, device, file_system) = mounts
            .lines()
            .filter_map(mount)
            .rfind(|(at, _, _)| real.starts_with(Path::new(OsStr::from_bytes(at))))?;
        Some(Place {
            path: path.display().to_string(),
            device: String::from_utf8_lossy(&device).into_owned(),
            file_system: file_system.to_owned(),
        })
    }
}

/// Mount point, source and kind of a line: `36 35 98:0 /root /at rw,noatime master:1 - ext4
/// /dev/root rw`. None: the line is none.
fn mount(line: &str) -> Option<(Vec<u8>, Vec<u8>, &str)> {
    let (before, after) = line.split_once(" - ")?;
    let at = before.split(' ').nth(4)?;
    let mut words = after.split(' ');
    let file_system = words.next()?;
    Some((plain(at), plain(words.next()?), file_system))
}

/// Blanks, tabs, line ends and backslashes are written as `\040` and the like.
fn plain(text: &str) -> Vec<u8> {
    let mut parts = text.split('\\');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..3).map(|code| u8::from_str_radix(code, 8)) {
            Some(Ok(byte)) => {
                bytes.push(byte);
                bytes.extend_from_slice(&part.as_bytes()[3..]);
            }
            _ => {
                bytes.push(b'\\');
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOUNTS: &str = "\
21 1 0:20 / / ro,relatime - squashfs /dev/vda2 ro
30 21 254:4 / /data rw,noatime shared:7 - ext4 /dev/vda4 rw
44 30 8:1 /roundel-1/store /data/roundel/store rw - ext4 /dev/sda1 rw
45 21 0:31 / /a\\040disk rw - tmpfs none rw
46 21 0:32 / /a\\040disk rw - vfat /dev/sdb\\134 rw
";

    fn at(path: &str) -> Option<(String, String)> {
        let place = Place::find(Path::new("shown"), Path::new(path), MOUNTS)?;
        assert_eq!(place.path, "shown");
        Some((place.device, place.file_system))
    }

    fn on(device: &str, file_system: &str) -> Option<(String, String)> {
        Some((device.to_owned(), file_system.to_owned()))
    }

    #[test]
    fn the_innermost_mount_has_a_directory() {
        assert_eq!(at("/data/roundel/store"), on("/dev/sda1", "ext4"));
        assert_eq!(at("/data/roundel"), on("/dev/vda4", "ext4"));
        assert_eq!(at("/database"), on("/dev/vda2", "squashfs"));
        assert_eq!(
            at("/a disk/store"),
            on("/dev/sdb\\", "vfat"),
            "the last one"
        );
        assert_eq!(at("relative"), None);
    }

    #[test]
    fn a_mount_over_others_hides_them() {
        let over = format!("{MOUNTS}50 21 0:40 / /data rw - tmpfs tmpfs rw\n");
        let real = Path::new("/data/roundel/store");
        let place = Place::find(real, real, &over).unwrap();
        assert_eq!(place.file_system, "tmpfs");
    }

    proptest! {
        #[test]
        fn any_list_of_mounts_is_read_without_a_panic(text: String, path: String) {
            let path = Path::new(&path);
            let _ = Place::find(path, path, &text);
            let _ = Place::find(path, path, &format!("1 2 3 4 {text} - {text} {text}"));
        }
    }
}
