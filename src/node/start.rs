//! What a board reads and counts before it says anything: its directory, its identity, its keys.
//!
//! A directory whose medium cannot be written is replaced by one in memory, and the board keeps no
//! copies.

use std::fs;
use std::io::Write;
use std::path::Path;

use super::{RunError, access, system};
use crate::base::place::Place;
use crate::base::problem::Problem;
use crate::config::Config;
use crate::proto::keyring::Origin;
use crate::runtime::counters::{self, Counters};
use crate::runtime::datadir::{DataDir, DataDirError};
use crate::runtime::identity as identity_file;
use crate::runtime::memorydir;
use crate::runtime::store::{FreeSpaceLevels, Options};
use crate::security::identity::Identity;

/// What a start leaves durable before anything is said on the network.
pub(super) struct Start {
    pub(super) directory: DataDir,
    pub(super) identity: Identity,
    /// The identity's PKCS#8 document.
    pub(super) document: Vec<u8>,
    pub(super) counters: Counters,
    pub(super) keys: Origin,
    /// What is wrong with the keys though the board starts.
    pub(super) problems: Vec<Problem>,
    /// Why the directory is one in memory; none: it is the one that was configured.
    pub(super) diskless: Option<String>,
}

impl Start {
    /// In the data directory; in memory where its medium cannot be written. Nothing is written to
    /// that medium from then on.
    pub(super) fn new(config: &Config) -> Result<Start, RunError> {
        let cause = match Start::within(&config.data, config, config.pairs) {
            Err(cause) if cause.is_of_medium() => cause,
            other => return other,
        };
        let reason = cause.to_string();
        let memory = match memorydir::make(&config.data) {
            Ok(memory) => memory,
            Err(source) => {
                let cause = Box::new(cause);
                return Err(RunError::NoMemory { cause, source });
            }
        };
        // The key that a tolerant board cannot read may be on the medium.
        let pairs = config.pairs && !config.tolerant;
        let start = Start::within(&memory, config, pairs).map_err(|error| match error {
            RunError::DataDir(DataDirError::InUse(_)) => {
                DataDirError::InUse(config.data.clone()).into()
            }
            error => error,
        })?;
        tracing::warn!(
            %reason,
            memory = %memory.display(),
            "no data partition: this board keeps no copies, and forgets everything when the power \
             goes; check the card (`dmesg`), replace it if it is worn out, restart the board"
        );
        Ok(Start {
            diskless: Some(reason),
            ..start
        })
    }

    pub(super) fn store_options(&self) -> Options {
        match self.diskless {
            Some(_) => Options {
                free_space: FreeSpaceLevels::in_memory(),
                ..Options::default()
            },
            None => Options::default(),
        }
    }

    fn within(path: &Path, config: &Config, pairs: bool) -> Result<Start, RunError> {
        let directory = DataDir::lock(path)?;
        let mut first = false;
        let fresh = Identity::generate().map_err(|_| RunError::NoEntropy)?;
        let document = identity_file::read_or_create(&directory, || {
            first = true;
            fresh
        })?;
        let identity = Identity::from_pkcs8(&document).map_err(|source| RunError::Identity {
            path: directory.path().join("identity.pk8").display().to_string(),
            source,
        })?;
        let start = counters::next_start(&directory, first)
            .map_err(system("the start cannot be counted in the data directory"))?;
        if start.lost {
            tracing::warn!(
                "the counters file was lost; counting goes on well above any past start"
            );
        }
        let (keys, problems) = access::origin(&directory, config, pairs)?;
        Ok(Start {
            keys,
            problems,
            directory,
            identity,
            document,
            counters: start.counters,
            diskless: None,
        })
    }
}

/// Where the store lies, which may not be there yet. None: the system does not say.
pub(super) fn medium(store: &Path) -> Option<Place> {
    let real = fs::canonicalize(store).or_else(|_| {
        let parent = store.parent().map(fs::canonicalize);
        let name = store.file_name().unwrap_or_default();
        parent
            .unwrap_or_else(|| fs::canonicalize("."))
            .map(|parent| parent.join(name))
    });
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    Place::find(&std::path::absolute(store).ok()?, &real.ok()?, &mounts)
}

/// Says what is wrong though the board starts: in the log, and on the console before the `ready`
/// line.
pub(super) fn tell(problems: &[Problem]) {
    for problem in problems {
        tracing::warn!(
            file = problem.file.as_deref(),
            line = problem.line,
            reason = %problem.reason,
            remedy = %problem.remedy,
            "a problem at the start"
        );
        // A closed standard output is nobody's loss.
        let _ = writeln!(std::io::stdout(), "problem {problem}");
    }
}
