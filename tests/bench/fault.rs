//! Why a row, or the whole bench, has no result: one sentence for a person.

use std::fmt;

/// What was wrong, and where there is one, what to do.
#[derive(Debug)]
pub struct Fault(String);

impl Fault {
    /// A fault in these words.
    pub fn new(what: impl Into<String>) -> Self {
        Fault(what.into())
    }

    /// The same, told of something.
    pub fn of(self, whom: impl fmt::Display) -> Self {
        Fault(format!("{whom}: {}", self.0))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Fault {
    fn from(error: E) -> Self {
        // The causes matter as much: "transport error" alone says nothing.
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        Fault(text)
    }
}
