//! The program's own pages: what only a start needs is not held in memory after it.
//!
//! Most of what a board holds is the program. The system maps what is near whatever runs, so that
//! a start (arguments, configuration, keys, the store's recovery) leaves nearly all of it mapped.
//! Let go of once, only what runs from then on comes back, from the file or its cache.

use std::fs;
use std::io;

/// Lets go of the program's code; what is needed is read again when it runs. Answers how many
/// bytes were given up, resident or not.
///
/// # Errors
/// The system's; nothing has changed but memory.
pub fn let_go_of_code() -> io::Result<usize> {
    let program = fs::read_link("/proc/self/exe")?;
    let maps = fs::read_to_string("/proc/self/maps")?;
    let mut given_up = 0;
    for (start, length) in code(&maps, &program.to_string_lossy()) {
        // SAFETY: a mapping of the program's own file that is read and executed, never written: the
        // system reads its pages again as they were, and refuses changes of a file that runs.
        let done = unsafe { nix::libc::madvise(start as *mut _, length, nix::libc::MADV_DONTNEED) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        given_up += length;
    }
    Ok(given_up)
}

/// Start and length of what is code of that file, by lines of `/proc/PID/maps` (proc_pid_maps(5)).
fn code<'a>(maps: &'a str, program: &'a str) -> impl Iterator<Item = (usize, usize)> + 'a {
    maps.lines().filter_map(move |line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        // The path follows five fields, and may hold spaces.
        let path = rest.splitn(5, ' ').nth(4)?.trim_start();
        if !rest.starts_with("r-xp ") || path != program {
            return None;
        }
        let number = |text| usize::from_str_radix(text, 16).ok();
        let (start, end) = (number(start)?, number(end)?);
        Some((start, end.checked_sub(start)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_found_by_path_and_permission() {
        let maps = "\
55d0a0000000-55d0a0200000 r--p 00000000 fe:01 131 /opt/a b/roundel
55d0a0200000-55d0a0a00000 r-xp 00200000 fe:01 131 /opt/a b/roundel
55d0a0a00000-55d0a0b00000 rw-p 00a00000 fe:01 131 /opt/a b/roundel
7f0000000000-7f0000100000 r-xp 00000000 fe:01 9   /usr/lib/libc.so.6
7f0000200000-7f0000300000 r-xp 00000000 fe:01 9   /opt/b/roundel
7ffc00000000-7ffc00002000 r-xp 00000000 00:00 0   [vdso]
";
        let found: Vec<_> = code(maps, "/opt/a b/roundel").collect();
        assert_eq!(found, [(0x55d0_a020_0000, 0x80_0000)]);
        assert_eq!(code(maps, "roundel").count(), 0);
        assert_eq!(code("nothing\n-\nr-xp", "r-xp").count(), 0);
    }

    #[test]
    fn the_program_goes_on_without_its_pages() {
        let given_up = let_go_of_code().unwrap();
        assert!(given_up > 100_000, "{given_up}");
        assert!(let_go_of_code().unwrap() == given_up);
    }
}
