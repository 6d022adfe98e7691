//! Draws a ring of boards in the terminal: each at the angle of its id, clockwise from the top.
//!
//! Pure: boards in, lines out. Boards too near to each other move along the circle to the next
//! free place; a label that finds no room is left out (the table beside the picture has it).

use std::f64::consts::TAU;

use super::out::Paint;

/// How a board is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The board that was asked.
    This,
    /// Alive.
    Alive,
    /// Alive, but suspected.
    Suspect,
    /// Alive, but keeps no copies.
    Diskless,
    /// Not alive.
    Dead,
}

impl Mark {
    /// Its sign in picture and table.
    pub fn sign(self) -> char {
        match self {
            Mark::This => '@',
            Mark::Alive => 'o',
            Mark::Suspect => '?',
            Mark::Diskless => '!',
            Mark::Dead => 'x',
        }
    }

    /// A text in its colour.
    pub fn paint(self, paint: Paint, text: &str) -> String {
        match self {
            Mark::This => paint.strong(text),
            Mark::Alive => paint.good(text),
            Mark::Suspect => paint.warn(text),
            Mark::Diskless | Mark::Dead => paint.bad(text),
        }
    }
}

/// A board of the picture.
#[derive(Clone, Debug)]
pub struct Board {
    /// Its place, 0.0 to 1.0 of the ring, clockwise from the top.
    pub turn: f64,
    /// Its sign.
    pub mark: Mark,
    /// What stands beside it.
    pub label: String,
}

/// The turn of an id, from its first digits; text that is no id is at the top.
pub fn turn_of(id: &str) -> f64 {
    let digits: String = id.chars().take(13).collect();
    let point = u64::from_str_radix(&digits, 16).unwrap_or(0);
    // 52 bits are exact in a double.
    point as f64 / (1u64 << (4 * digits.len().max(1))) as f64
}

/// A cell of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// Nothing.
    Blank,
    /// The circle.
    Circle,
    /// A character of a label.
    Label(char),
    /// A board.
    Board(Mark),
}

struct Canvas {
    cells: Vec<Vec<Ink>>,
    /// Rows from the centre to the circle; columns are twice as many.
    radius: f64,
}

/// Draws the boards within `width` columns, with `centre` in the middle.
pub fn draw(boards: &[Board], centre: &[String], width: usize, paint: Paint) -> Vec<String> {
    let rows = cells(boards, centre, width, usize::MAX);
    rows.iter().map(|row| line(row, paint)).collect()
}

/// The picture's rows within `width` columns and, if it is at least 7, `height` rows.
pub fn cells(boards: &[Board], centre: &[String], width: usize, height: usize) -> Vec<Vec<Ink>> {
    let rows: f64 = match boards.len() {
        0..=8 => 6.0,
        9..=16 => 8.0,
        _ => 11.0,
    };
    let room = (width.saturating_sub(4) / 4).min(height.saturating_sub(3) / 2);
    let radius = rows.min(room as f64).max(2.0);
    let mut canvas = Canvas {
        cells: vec![vec![Ink::Blank; width]; 2 * radius as usize + 3],
        radius,
    };
    for step in 0..720 {
        let (row, column) = canvas.place(f64::from(step) / 720.0);
        canvas.cells[row][column] = Ink::Circle;
    }
    let places: Vec<(usize, usize)> = boards.iter().map(|b| canvas.put_board(b)).collect();
    for (board, place) in boards.iter().zip(places) {
        canvas.put_label(board, place);
    }
    let middle = canvas.cells.len() / 2;
    for (index, line) in centre.iter().enumerate() {
        let row = middle + index - centre.len() / 2;
        let start = (width / 2).saturating_sub(line.chars().count() / 2);
        canvas.write(row, start, line);
    }
    canvas.inked()
}

fn line(row: &[Ink], paint: Paint) -> String {
    let mut line = String::new();
    for ink in row {
        match ink {
            Ink::Blank => line.push(' '),
            Ink::Circle => line.push_str(&paint.faint("·")),
            Ink::Label(c) => line.push(*c),
            Ink::Board(mark) => line.push_str(&mark.paint(paint, &mark.sign().to_string())),
        }
    }
    line.trim_end().to_owned()
}

impl Canvas {
    fn place(&self, turn: f64) -> (usize, usize) {
        let angle = turn * TAU;
        let middle_row = (self.cells.len() / 2) as f64;
        let middle_column = (self.cells[0].len() / 2) as f64;
        let row = middle_row - self.radius * angle.cos();
        let column = middle_column + 2.0 * self.radius * angle.sin();
        let within = |value: f64, end: usize| (value.round().max(0.0) as usize).min(end - 1);
        (
            within(row, self.cells.len()),
            within(column, self.cells[0].len()),
        )
    }

    /// The board's cell: where its id is, or the nearest free one clockwise.
    fn put_board(&mut self, board: &Board) -> (usize, usize) {
        let free = |canvas: &Canvas, (row, column): (usize, usize)| {
            !matches!(canvas.cells[row][column], Ink::Board(_))
        };
        let place = (0..360)
            .map(|step| self.place(board.turn + f64::from(step) / 360.0))
            .find(|place| free(self, *place))
            .unwrap_or_else(|| self.place(board.turn));
        self.cells[place.0][place.1] = Ink::Board(board.mark);
        place
    }

    /// Writes the label outside the circle, on the board's row or the next one outwards.
    fn put_label(&mut self, board: &Board, (row, column): (usize, usize)) {
        let middle = self.cells[0].len() / 2;
        let length = board.label.chars().count();
        let start = if column >= middle {
            Some(column + 2)
        } else {
            (column).checked_sub(length + 1)
        };
        let outwards = if row * 2 < self.cells.len() {
            row.checked_sub(1)
        } else {
            Some(row + 1).filter(|row| *row < self.cells.len())
        };
        let Some(start) = start else { return };
        for row in [Some(row), outwards].into_iter().flatten() {
            if self.write(row, start, &board.label) {
                return;
            }
        }
    }

    /// Writes over blanks and the circle, with a blank on either side; nothing at all if a board
    /// or a label is in the way.
    fn write(&mut self, row: usize, start: usize, text: &str) -> bool {
        let end = start + text.chars().count();
        let line = &mut self.cells[row];
        if end > line.len() {
            return false;
        }
        let around = start.saturating_sub(1)..(end + 1).min(line.len());
        let in_the_way = |ink: &Ink| matches!(ink, Ink::Board(_) | Ink::Label(_));
        let beside = |ink: &Ink| matches!(ink, Ink::Label(_));
        if line[start..end].iter().any(in_the_way) || line[around.clone()].iter().any(beside) {
            return false;
        }
        for ink in &mut line[around] {
            if matches!(ink, Ink::Circle) {
                *ink = Ink::Blank;
            }
        }
        for (cell, c) in line[start..end].iter_mut().zip(text.chars()) {
            *cell = Ink::Label(c);
        }
        true
    }

    /// The rows between the first and the last that have anything.
    fn inked(mut self) -> Vec<Vec<Ink>> {
        let any = |row: &Vec<Ink>| row.iter().any(|ink| *ink != Ink::Blank);
        let first = self.cells.iter().position(any).unwrap_or(0);
        let last = self.cells.iter().rposition(any);
        self.cells.truncate(last.map_or(first, |last| last + 1));
        self.cells.split_off(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn board(turn: f64, mark: Mark, label: &str) -> Board {
        Board {
            turn,
            mark,
            label: label.to_owned(),
        }
    }

    fn picture(boards: &[Board], width: usize) -> Vec<String> {
        draw(boards, &["home".to_owned()], width, Paint::PLAIN)
    }

    #[test]
    fn boards_stand_at_the_angles_of_their_ids() {
        let lines = picture(
            &[
                board(0.0, Mark::This, "north"),
                board(0.25, Mark::Alive, "east"),
                board(0.5, Mark::Dead, "south"),
                board(0.75, Mark::Suspect, "west"),
            ],
            80,
        );
        let middle = &lines[lines.len() / 2];
        assert!(lines[0].contains("@ north"), "{}", lines.join("\n"));
        assert!(
            middle.contains("west ?") && middle.contains("o east"),
            "{middle}"
        );
        assert!(
            lines[lines.len() - 1].contains("x south"),
            "{}",
            lines.join("\n")
        );
        assert!(lines.iter().any(|line| line.contains("home")));
    }

    #[test]
    fn an_id_becomes_a_turn() {
        assert_eq!(turn_of(&"0".repeat(64)), 0.0);
        assert_eq!(turn_of(&format!("8{}", "0".repeat(63))), 0.5);
        assert!(turn_of(&"f".repeat(64)) < 1.0);
        assert_eq!(turn_of("no id"), 0.0);
    }

    #[test]
    fn a_low_picture_keeps_within_its_height() {
        let boards = [
            board(0.0, Mark::This, "north"),
            board(0.5, Mark::Alive, "south"),
        ];
        for height in 7..20 {
            let rows = cells(&boards, &["home".to_owned()], 80, height);
            assert!(rows.len() <= height, "{height}");
            let marks = rows
                .iter()
                .flatten()
                .filter(|ink| matches!(ink, Ink::Board(_)));
            assert_eq!(marks.count(), 2);
        }
    }

    proptest! {
        #[test]
        fn every_board_is_drawn_and_every_line_fits(
            turns in proptest::collection::vec(0.0..1.0f64, 1..40),
            width in 40usize..160,
        ) {
            let boards: Vec<Board> =
                turns.iter().map(|t| board(*t, Mark::Dead, "calm-heron")).collect();
            let lines = picture(&boards, width);
            let signs: usize = lines.iter().map(|line| line.matches('x').count()).sum();
            prop_assert_eq!(signs, boards.len());
            prop_assert!(lines.iter().all(|line| line.chars().count() <= width));
        }
    }
}
