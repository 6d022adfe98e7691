//! What is wrong with what a board was given at its start, though it started.
//!
//! Problems of the running board (a card that fills, a board that is absent) are not these: they
//! come and go, these stay until the next start.

use std::fmt;

use serde::Serialize;

use super::limit;

/// Something an owner is to put right before the board is started again.
///
/// It is shown to whoever may read the board's state, so it never repeats what a key file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file it is in, as its path was given; none: it is in no file.
    pub file: Option<String>,
    /// Counted from 1; none: the whole file, or unknown.
    pub line: Option<usize>,
    /// What is wrong, in words.
    pub reason: String,
    /// What to do about it, in words; may be empty.
    pub remedy: String,
}

impl Problem {
    /// A problem of a file, or of a line of it.
    pub fn of_file(file: &str, line: Option<usize>, reason: &str, remedy: &str) -> Self {
        Problem {
            file: Some(readable(file)),
            line,
            reason: readable(reason),
            remedy: readable(remedy),
        }
    }

    /// A line as start scripts write it, `REASON; REMEDY` or only `REASON`. None: it is blank.
    pub fn from_line(line: &str) -> Option<Self> {
        let line = readable(line.trim());
        let (reason, remedy) = line.split_once("; ").unwrap_or((&line, ""));
        (!reason.is_empty()).then(|| Problem {
            file: None,
            line: None,
            reason: reason.to_owned(),
            remedy: remedy.to_owned(),
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{file}, line {line}: ")?,
            (Some(file), None) => write!(f, "{file}: ")?,
            (None, _) => {}
        }
        f.write_str(&self.reason)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

/// One line of at most [`limit::PROBLEM_CHARS_MAX`] characters, none of which moves a cursor.
fn readable(text: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    let mut chars = text.chars();
    let mut short: String = (chars.by_ref().take(limit::PROBLEM_CHARS_MAX))
        .map(printable)
        .collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problem_is_spoken_with_its_place_and_its_remedy() {
        let of = |line| Problem::of_file("a.toml", line, "this is wrong", "mend it").to_string();
        assert_eq!(of(Some(3)), "a.toml, line 3: this is wrong; mend it");
        assert_eq!(of(None), "a.toml: this is wrong; mend it");
    }

    #[test]
    fn line_of_a_script_is_a_reason_and_a_remedy() {
        let problem = Problem::from_line("data: damaged; write it; anew\n").unwrap();
        assert_eq!((problem.file.clone(), problem.line), (None, None));
        assert_eq!(problem.reason, "data: damaged");
        assert_eq!(problem.remedy, "write it; anew");
        assert_eq!(problem.to_string(), "data: damaged; write it; anew");
        assert_eq!(Problem::from_line("boot: gone").unwrap().remedy, "");
        assert_eq!(Problem::from_line(" \n"), None);
    }

    #[test]
    fn problem_is_short_and_moves_no_cursor() {
        let long = format!("\u{1b}[2Ja\n{}", "x".repeat(4 * limit::PROBLEM_CHARS_MAX));
        let problem = Problem::of_file(&long, None, &long, &long);
        for text in [
            problem.file.as_ref().unwrap(),
            &problem.reason,
            &problem.remedy,
        ] {
            assert_eq!(text.chars().count(), limit::PROBLEM_CHARS_MAX + 1);
            assert!(!text.contains(char::is_control), "{text:?}");
        }
    }
}
