//! Where results go: standard output, buffered, with colours only for a person who wants them.
//!
//! Text that came from the network is shown with its control characters escaped, so that a key
//! or a name cannot move the cursor or change the colours of somebody's terminal.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

/// Columns when nobody says how wide the terminal is.
const WIDTH_DEFAULT: usize = 80;
/// Widths that can be meant.
const WIDTHS: std::ops::RangeInclusive<usize> = 20..=500;

/// Standard output and what can be done there.
#[derive(Debug)]
pub struct Out {
    to: BufWriter<Stdout>,
    /// It is a terminal.
    pub is_terminal: bool,
    /// How to mark text.
    pub paint: Paint,
}

/// Marks text with colours, or leaves it alone.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    on: bool,
}

impl Out {
    /// This process's standard output.
    pub fn stdout() -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        Out {
            to: BufWriter::new(stdout),
            is_terminal,
            paint: Paint {
                on: is_terminal && colours_wanted(),
            },
        }
    }

    /// Columns of the terminal; 80 when it is none.
    pub fn width(&self) -> usize {
        let told = std::env::var("COLUMNS")
            .ok()
            .and_then(|columns| columns.parse().ok());
        let measured = || {
            let (width, _) = terminal_size::terminal_size_of(io::stdout())?;
            Some(usize::from(width.0))
        };
        told.or_else(measured)
            .filter(|columns| WIDTHS.contains(columns))
            .unwrap_or(WIDTH_DEFAULT)
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Nobody asked for plain text (<https://no-color.org>: any text but the empty one does).
pub fn colours_wanted() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

impl Paint {
    /// Leaves all text alone.
    pub const PLAIN: Paint = Paint { on: false };
    /// Colours all text.
    pub const COLOURED: Paint = Paint { on: true };

    fn with(self, code: &str, text: &str) -> String {
        if self.on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// What matters most.
    pub fn strong(self, text: &str) -> String {
        self.with("1", text)
    }

    /// All is well.
    pub fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    /// Something to look at.
    pub fn warn(self, text: &str) -> String {
        self.with("33", text)
    }

    /// Something is wrong.
    pub fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    /// Details.
    pub fn faint(self, text: &str) -> String {
        self.with("2", text)
    }
}

/// Text from elsewhere with its control characters escaped.
pub fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(
            c,
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        );
        if c.is_control() || turns {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A remark for the person, on standard error, so that results stay clean.
pub fn note(text: &str) {
    // With standard error closed nobody wants remarks.
    let _ = writeln!(io::stderr().lock(), "note: {text}");
}

/// At most `width` characters of it.
pub fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars()
        .take(width.saturating_sub(1))
        .chain(['…'])
        .collect()
}

/// A duration as a person says it: `3 h 12 min`.
pub fn spoken_time(ms: u64) -> String {
    let seconds = ms / 1_000;
    match (
        seconds / 86_400,
        seconds / 3_600 % 24,
        seconds / 60 % 60,
        seconds % 60,
    ) {
        (0, 0, 0, 0) => format!("{ms} ms"),
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, h, ..) => format!("{d} d {h} h"),
    }
}

/// Rows in columns as wide as their widest cell, two blanks between; the first row is the head.
pub fn table(rows: &[Vec<String>], paint: Paint) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| width_of(cell))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(&widths).map(|(cell, width)| {
            let blanks = width.saturating_sub(width_of(cell));
            format!("{cell}{}", " ".repeat(blanks))
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        let line = line.trim_end();
        if index == 0 {
            text.push_str(&paint.faint(line));
        } else {
            text.push_str(line);
        }
        text.push('\n');
    }
    text
}

/// Characters a cell takes on the screen: all but the sequences that colour it.
fn width_of(cell: &str) -> usize {
    let mut colours = cell.split('\x1b');
    let first = colours.next().map_or(0, |text| text.chars().count());
    let after = colours.map(|text| text.split_once('m').map_or("", |(_, text)| text));
    first + after.map(|text| text.chars().count()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(shown("a\x1b[31mb\n"), "a\\u{1b}[31mb\\n");
        assert_eq!(shown("Grüße \u{202e}x"), "Grüße \\u{202e}x");
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a", "name"], vec!["long", "x"]]
            .map(|row| row.into_iter().map(str::to_owned).collect::<Vec<String>>());
        assert_eq!(table(&rows, Paint::PLAIN), "a     name\nlong  x\n");
    }

    #[test]
    fn times_are_said_in_two_units() {
        assert_eq!(spoken_time(40), "40 ms");
        assert_eq!(spoken_time(62_000), "1 min 2 s");
        assert_eq!(spoken_time(3 * 3_600_000 + 12 * 60_000), "3 h 12 min");
        assert_eq!(spoken_time(90_000_000), "1 d 1 h");
    }

    #[test]
    fn long_text_ends_with_dots() {
        assert_eq!(shortened("abcdef", 4), "abc…");
        assert_eq!(shortened("abcd", 4), "abcd");
    }
}
