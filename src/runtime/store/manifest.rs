//! The sums of the database's manifests, compared before the database reads these files.
//!
//! The database takes counts from them and reserves memory for so many entries before it compares
//! a sum, or never compares one. A flipped bit in a count asks for gigabytes, and a process whose
//! memory cannot be had is ended, not told. Two things are read with that trust:
//!
//! ```text
//! keyspaces/N/current    version (u64), sum of its file (u128), kind of sum (u8)
//! keyspaces/N/vVERSION   the tables of the keyspace; summed as a whole
//! keyspaces/N/tables/T   …, contents ("TOC!", …; summed), trailer of 38 bytes:
//!                        "SFA!", format (u8), kind of sum (u8), sum of the contents (u128),
//!                        their place (u64), their length (u64)
//! ```
//!
//! All numbers are little-endian, the sums XXH3 of 128 bits. Everything else of a table lies in
//! blocks, which the database compares with sums of their own before it believes them. A table
//! whose trailer is none may be half of one that a power cut left; the database refuses or removes
//! it by itself. Nothing is written here.
//!
//! Source: lsm-tree 3.1, `src/version/{persist,recovery}.rs`; sfa 1.0,
//! `src/{toc,trailer}/reader.rs`.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

/// The file that names the version.
const CURRENT_BYTES: usize = 25;
const TRAILER_BYTES: u64 = 38;
const TRAILER_MAGIC: &[u8] = b"SFA!";
const CONTENTS_MAGIC: &[u8] = b"TOC!";
/// Bytes are summed in pieces of this.
const PIECE_BYTES: usize = 16 * 1_024;

/// The first file below the database's directory that differs from its sum.
///
/// # Errors
/// What the system says.
pub(super) fn find_damage(database: &Path) -> io::Result<Option<PathBuf>> {
    for keyspace in entries(&database.join("keyspaces"))? {
        if let Some(file) = find_damaged_version(&keyspace)? {
            return Ok(Some(file));
        }
        for table in entries(&keyspace.join("tables"))? {
            if !table.is_file() || !table_checks(&table)? {
                return Ok(Some(table));
            }
        }
    }
    Ok(None)
}

/// In the order of their names; none when there is no such directory.
fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let found = match fs::read_dir(directory) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let paths = found.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn find_damaged_version(keyspace: &Path) -> io::Result<Option<PathBuf>> {
    let current = keyspace.join("current");
    let named = match fs::read(&current) {
        Ok(named) => named,
        // A keyspace that was never written to the medium.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let Ok(named) = <[u8; CURRENT_BYTES]>::try_from(named) else {
        return Ok(Some(current));
    };
    let version = u64::from_le_bytes(*named.first_chunk().expect("eight bytes"));
    let expected = u128::from_le_bytes(*named[8..].first_chunk().expect("sixteen bytes"));
    let path = keyspace.join(format!("v{version}"));
    let mut file = match File::open(&path) {
        Ok(file) => file,
        // Versions are synced before they are named.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(current)),
        Err(error) => return Err(error),
    };
    let sum = sum(&mut file)?;
    Ok((sum != expected).then_some(path))
}

/// The contents of a table are what its trailer says, or it has no trailer.
fn table_checks(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let Some(end) = file.metadata()?.len().checked_sub(TRAILER_BYTES) else {
        return Ok(true);
    };
    file.seek(SeekFrom::Start(end))?;
    let mut trailer = [0; TRAILER_BYTES as usize];
    file.read_exact(&mut trailer)?;
    let expected = u128::from_le_bytes(*trailer[6..].first_chunk().expect("sixteen bytes"));
    let place = u64::from_le_bytes(*trailer[22..].first_chunk().expect("eight bytes"));
    if !trailer.starts_with(TRAILER_MAGIC) || place >= end {
        return Ok(true);
    }
    let mut magic = [0; CONTENTS_MAGIC.len()];
    file.seek(SeekFrom::Start(place))?;
    file.read_exact(&mut magic)?;
    if magic != CONTENTS_MAGIC {
        return Ok(true);
    }
    file.seek(SeekFrom::Start(place))?;
    Ok(sum(&mut file.take(end - place))? == expected)
}

fn sum(reader: &mut impl Read) -> io::Result<u128> {
    let mut sum = Xxh3::new();
    let mut piece = [0; PIECE_BYTES];
    loop {
        match reader.read(&mut piece)? {
            0 => return Ok(sum.digest128()),
            length => sum.update(&piece[..length]),
        }
    }
}
