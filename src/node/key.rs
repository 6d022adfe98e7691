//! Where a board's keys come from at a start: the configuration, its keyring, a key in a file, or
//! nowhere, which opens the pairing window.

use std::path::Path;

use super::RunError;
use crate::config::Config;
use crate::proto::keyring::{Kept, Origin};
use crate::runtime::datadir::DataDir;
use crate::runtime::keyring;
use crate::security::key::ClusterKey;

/// The key file that is read when the configuration names none, within the data directory.
const KEY_FILE: &str = "cluster.key";

/// Reads what there is.
pub(super) fn origin(directory: &DataDir, config: &Config) -> Result<Origin, RunError> {
    if config.open {
        return Ok(Origin {
            open: true,
            ..Origin::default()
        });
    }
    let given = match &config.key_file {
        Some(path) => {
            let none = || RunError::NoKeyFile {
                path: path.display().to_string(),
            };
            Some(given(path)?.ok_or_else(none)?)
        }
        None => given(&config.data.join(KEY_FILE))?,
    };
    let path = keyring::path(directory);
    let kept = match keyring::read(directory)? {
        Some(text) => Some(Kept::from_text(&text).map_err(|source| RunError::Keyring {
            path: path.display().to_string(),
            source,
        })?),
        None => None,
    };
    let fresh = kept.is_none() && given.is_none();
    Ok(Origin {
        open: false,
        window: keyring::pairing_window(directory, fresh)?,
        kept,
        given,
    })
}

fn given(path: &Path) -> Result<Option<ClusterKey>, RunError> {
    let Some(text) = keyring::read_text(path)? else {
        return Ok(None);
    };
    match ClusterKey::from_text(&text) {
        Ok(key) => Ok(Some(key)),
        Err(source) => Err(RunError::KeyFile {
            path: path.display().to_string(),
            source,
        }),
    }
}
