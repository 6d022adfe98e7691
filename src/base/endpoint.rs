//! Where a board can be reached, and the names people give to boards and clusters.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use std::net::{IpAddr, SocketAddr};

use super::limit;

/// A board's or a cluster's name: 1 to 63 bytes, letters, digits, `-`, `_` and `.`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, or longer than 63 bytes.
    #[error("a name has 1 to {max} characters; got {0}", max = limit::NAME_BYTES_MAX)]
    Length(usize),
    /// A character that SSDP headers, file names or terminals could mistake.
    #[error("a name has letters, digits, '-', '_' and '.' only; got {0:?}")]
    Character(char),
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() || text.len() > limit::NAME_BYTES_MAX {
            return Err(NameError::Length(text.len()));
        }
        match text
            .chars()
            .find(|c| !c.is_ascii_alphanumeric() && !"-_.".contains(*c))
        {
            Some(c) => Err(NameError::Character(c)),
            None => Ok(Name(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}
