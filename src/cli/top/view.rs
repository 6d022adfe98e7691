//! What a screen of `roundel top` says: words and tones, without places and colours.

use crate::cli::picture::{Board, Mark};

/// What a text means; a drawing gives it a colour or a weight, never the only sign of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Nothing particular.
    Plain,
    /// What matters most.
    Strong,
    /// All is well.
    Good,
    /// Something to look at.
    Warn,
    /// Something is wrong.
    Bad,
    /// Details.
    Faint,
}

/// A text and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What it means.
    pub tone: Tone,
    /// The text, free of control characters.
    pub text: String,
}

impl Said {
    /// A text of a tone.
    pub fn new(tone: Tone, text: impl Into<String>) -> Self {
        Said {
            tone,
            text: text.into(),
        }
    }
}

/// A column of the table of boards, the most telling first: where room is short the last ones
/// are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Its name.
    Name,
    /// How it is.
    State,
    /// Keys in its store.
    Keys,
    /// Since when it is alive, or absent.
    Since,
    /// Where it is.
    Address,
    /// Since its start.
    Up,
    /// Operations a second.
    Rate,
    /// Memory it takes.
    Memory,
    /// Its software.
    Version,
}

impl Column {
    /// The head of the column.
    pub fn head(self) -> &'static str {
        match self {
            Column::Name => "NAME",
            Column::State => "STATE",
            Column::Keys => "KEYS",
            Column::Since => "SINCE",
            Column::Address => "ADDRESS",
            Column::Up => "UP",
            Column::Rate => "OPS/S",
            Column::Memory => "MEMORY",
            Column::Version => "VERSION",
        }
    }
}

/// A board's row; a cell for each column of the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its sign.
    pub mark: Mark,
    /// What it says; empty where nothing is known.
    pub cells: Vec<String>,
}

/// The whole screen.
#[derive(Clone, Debug)]
pub struct View {
    /// Which cluster, seen from where, and whether the board still answers.
    pub title: Vec<Said>,
    /// Presence, unplugging, problems, a line each.
    pub health: Vec<Said>,
    /// Figures, short texts for one line.
    pub figures: Vec<String>,
    /// The boards on the circle.
    pub ring: Vec<Board>,
    /// The words in the middle of it.
    pub centre: Vec<String>,
    /// Columns that have anything.
    pub columns: Vec<Column>,
    /// Boards, sorted.
    pub rows: Vec<Row>,
    /// By what.
    pub sorted: &'static str,
    /// Changes, the newest first: how long ago, and what.
    pub log: Vec<(String, Said)>,
}
