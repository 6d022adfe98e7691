//! Draws a [`View`] on a terminal of any size.
//!
//! Marks differ in shape, and words say what colours say. A small screen leaves out the picture,
//! then columns of the table, then the changes; what is wrong stays.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::view::{Said, Tone, View};
use crate::cli::out::shortened;
use crate::cli::picture::{Ink, Mark, cells};

/// The picture is drawn when the part below the head has at least this.
const PICTURE_ROOM: (u16, u16) = (64, 19);
/// Rows of the picture at most; more are for boards and changes.
const PICTURE_ROWS_MAX: u16 = 17;

const HELP: &[&str] = &[
    "q, Esc, Ctrl-C   quit",
    "arrows           scroll the boards",
    "PgUp, PgDn       scroll them by a page",
    "Home, End        the first, the last",
    "s                sort by the next thing",
    "h, ?             this help",
    "",
    "@ the board asked   o alive",
    "? suspected         x absent",
    "! keeps no copies",
];

/// What the person did to the screen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Screen {
    /// Rows of the table above the first one that is shown.
    pub scroll: usize,
    /// Rows of the table that were shown last.
    pub page: usize,
    /// The help is shown.
    pub help: bool,
    /// Colours may be used.
    pub colours: bool,
}

/// Draws the view; takes note of how many boards fit.
pub fn draw(frame: &mut Frame<'_>, view: &View, screen: &mut Screen) {
    let area = frame.area();
    if area.width < 2 || area.height < 2 {
        return;
    }
    let ink = Palette(screen.colours);
    let head = head(view, area, ink);
    let rows = [
        Constraint::Length(u16::try_from(head.len()).unwrap_or(u16::MAX)),
        Constraint::Min(0),
        Constraint::Length(1),
    ];
    let [top, body, foot] = Layout::vertical(rows).areas(area);
    frame.render_widget(Paragraph::new(head), top);
    let (picture, table, log) = divide(view, body);
    if let Some(place) = picture {
        draw_picture(frame, view, place, ink);
    }
    draw_table(frame, view, table, screen, ink);
    draw_log(frame, view, log, ink);
    let keys = format!("q quit  h help  s sort: {}", view.sorted);
    let keys = shortened(&keys, usize::from(foot.width));
    frame.render_widget(Paragraph::new(ink.span(Tone::Faint, keys)), foot);
    if screen.help {
        draw_help(frame, area);
    }
}

/// Where picture, table and changes go.
fn divide(view: &View, body: Rect) -> (Option<Rect>, Rect, Rect) {
    let (width, height) = PICTURE_ROOM;
    let boards = u16::try_from(view.rows.len() + 2).unwrap_or(u16::MAX);
    if view.ring.is_empty() || body.width < width || body.height < height {
        let log = match body.height {
            0..6 => 0,
            height => (height / 3).max(height.saturating_sub(boards)),
        };
        let rows = [Constraint::Min(0), Constraint::Length(log)];
        let [table, log] = Layout::vertical(rows).areas(body);
        return (None, table, log);
    }
    let below = boards.clamp(4, body.height - 10);
    let upper = (body.height - below).min(PICTURE_ROWS_MAX.max(body.height / 2));
    let rows = [Constraint::Length(upper), Constraint::Min(0)];
    let [upper, table] = Layout::vertical(rows).areas(body);
    let columns = [Constraint::Percentage(60), Constraint::Percentage(40)];
    let [picture, log] = Layout::horizontal(columns).areas(upper);
    (Some(picture), table, log)
}

/// The title, health and figures, wrapped; at most half of the screen.
fn head(view: &View, area: Rect, ink: Palette) -> Vec<Line<'static>> {
    let width = usize::from(area.width);
    let mut lines = Vec::new();
    let title: Vec<String> = view.title.iter().map(|said| said.text.clone()).collect();
    let whole = title.join("  ").chars().count() <= width;
    if whole {
        let spans = view.title.iter().enumerate().flat_map(|(index, said)| {
            let gap = if index == 0 { "" } else { "  " };
            [Span::raw(gap), ink.said(said)]
        });
        lines.push(Line::from(spans.collect::<Vec<_>>()));
    } else {
        for said in view.title.iter().filter(|said| said.text != "roundel") {
            wrap(said, width, ink, &mut lines);
        }
    }
    for said in &view.health {
        wrap(said, width, ink, &mut lines);
    }
    if !view.figures.is_empty() {
        let figures = Said::new(Tone::Plain, view.figures.join(" · "));
        wrap(&figures, width, ink, &mut lines);
    }
    let room = usize::from(area.height / 2).max(1);
    if lines.len() > room {
        let left = lines.len() - room + 1;
        lines.truncate(room - 1);
        let more = format!("and {left} more lines; a higher window shows them");
        lines.push(Line::from(ink.span(Tone::Warn, shortened(&more, width))));
    }
    lines
}

/// Breaks a text at its blanks, or within a word that is wider than the screen.
fn wrap(said: &Said, width: usize, ink: Palette, lines: &mut Vec<Line<'static>>) {
    let mut line = String::new();
    let mut full = |line: &mut String| {
        let text = std::mem::take(line);
        lines.push(Line::from(ink.span(said.tone, text)));
    };
    for word in said.text.split_whitespace() {
        let mut rest: Vec<char> = word.chars().collect();
        if !line.is_empty() && line.chars().count() + 1 + rest.len() > width {
            full(&mut line);
        } else if !line.is_empty() {
            line.push(' ');
        }
        while rest.len() > width {
            line.extend(rest.drain(..width));
            full(&mut line);
        }
        line.extend(rest);
    }
    if !line.is_empty() {
        full(&mut line);
    }
}

fn draw_picture(frame: &mut Frame<'_>, view: &View, place: Rect, ink: Palette) {
    let (width, height) = (usize::from(place.width), usize::from(place.height));
    let lines = cells(&view.ring, &view.centre, width, height)
        .into_iter()
        .map(|row| {
            let spans = row.into_iter().map(|cell| match cell {
                Ink::Blank => Span::raw(" "),
                Ink::Circle => ink.span(Tone::Faint, "·"),
                Ink::Label(c) => Span::raw(c.to_string()),
                Ink::Board(mark) => ink.mark(mark),
            });
            Line::from(spans.collect::<Vec<_>>())
        });
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), place);
}

fn draw_table(frame: &mut Frame<'_>, view: &View, place: Rect, screen: &mut Screen, ink: Palette) {
    screen.page = usize::from(place.height.saturating_sub(1));
    screen.scroll = screen
        .scroll
        .min(view.rows.len().saturating_sub(screen.page));
    let widths = widths(view, usize::from(place.width));
    let text = |cells: &mut dyn Iterator<Item = &str>| -> String {
        let padded = cells.zip(&widths).map(|(cell, width)| {
            let cell = shortened(cell, *width);
            format!("{cell}{}", " ".repeat(width - cell.chars().count()))
        });
        padded.collect::<Vec<_>>().join("  ")
    };
    let heads = text(&mut view.columns.iter().map(|column| column.head()));
    let mut lines = Vec::new();
    if !view.rows.is_empty() {
        lines.push(Line::from(ink.span(Tone::Faint, format!("   {heads}"))));
    }
    for row in view.rows.iter().skip(screen.scroll).take(screen.page) {
        let tone = match row.mark {
            Mark::Dead | Mark::Diskless => Tone::Bad,
            Mark::Suspect => Tone::Warn,
            Mark::This | Mark::Alive => Tone::Plain,
        };
        let cells = text(&mut row.cells.iter().map(String::as_str));
        let spans = [ink.mark(row.mark), Span::raw("  "), ink.span(tone, cells)];
        lines.push(Line::from(spans.to_vec()));
    }
    frame.render_widget(Paragraph::new(lines), place);
}

/// Widths of the columns that fit beside the marks, from the first; the names give way last.
fn widths(view: &View, room: usize) -> Vec<usize> {
    let mut left = room.saturating_sub(3);
    let mut widths = Vec::new();
    for (index, column) in view.columns.iter().enumerate() {
        let cells = view.rows.iter().map(|row| row.cells[index].chars().count());
        let wanted = cells.max().unwrap_or(0).max(column.head().len());
        let gap = if index == 0 { 0 } else { 2 };
        // The first two are shown however short they get.
        let width = match index {
            0 => wanted.min(left.saturating_sub(10).max(left / 2)),
            1 => wanted.min(left.saturating_sub(gap)),
            _ => wanted,
        };
        if width == 0 || width + gap > left {
            break;
        }
        left -= width + gap;
        widths.push(width);
    }
    widths
}

fn draw_log(frame: &mut Frame<'_>, view: &View, place: Rect, ink: Palette) {
    let width = usize::from(place.width);
    let mut lines = Vec::new();
    if place.height >= 3 {
        lines.push(Line::from(
            ink.span(Tone::Faint, "CHANGES, the newest first"),
        ));
    }
    let room = usize::from(place.height).saturating_sub(lines.len());
    for (ago, said) in view.log.iter().take(room) {
        let ago = format!("{ago:>10}  ");
        let text = shortened(&said.text, width.saturating_sub(ago.chars().count()));
        let spans = [ink.span(Tone::Faint, ago), ink.span(said.tone, text)];
        lines.push(Line::from(spans.to_vec()));
    }
    frame.render_widget(Paragraph::new(lines), place);
}

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    let widest = HELP.iter().map(|line| line.len()).max().unwrap_or(0);
    let width = u16::try_from(widest + 4)
        .unwrap_or(area.width)
        .min(area.width);
    let height = u16::try_from(HELP.len())
        .unwrap_or(area.height)
        .min(area.height);
    let place = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    let line = |text: &&str| {
        let text = format!("  {text:<width$}", width = usize::from(width));
        Line::from(Span::styled(
            text,
            Style::new().add_modifier(Modifier::REVERSED),
        ))
    };
    frame.render_widget(Clear, place);
    frame.render_widget(
        Paragraph::new(HELP.iter().map(line).collect::<Vec<_>>()),
        place,
    );
}

/// With colours or without.
#[derive(Clone, Copy)]
struct Palette(bool);

impl Palette {
    fn style(self, tone: Tone) -> Style {
        let plain = Style::new();
        let coloured = |colour| if self.0 { plain.fg(colour) } else { plain };
        match tone {
            Tone::Plain => plain,
            Tone::Strong => plain.add_modifier(Modifier::BOLD),
            Tone::Good => coloured(Color::Green),
            Tone::Warn => coloured(Color::Yellow),
            Tone::Bad => coloured(Color::Red).add_modifier(Modifier::BOLD),
            Tone::Faint => plain.add_modifier(Modifier::DIM),
        }
    }

    fn span(self, tone: Tone, text: impl Into<String>) -> Span<'static> {
        Span::styled(text.into(), self.style(tone))
    }

    fn said(self, said: &Said) -> Span<'static> {
        self.span(said.tone, said.text.clone())
    }

    fn mark(self, mark: Mark) -> Span<'static> {
        let tone = match mark {
            Mark::This => Tone::Strong,
            Mark::Alive => Tone::Good,
            Mark::Suspect => Tone::Warn,
            Mark::Diskless | Mark::Dead => Tone::Bad,
        };
        self.span(tone, mark.sign().to_string())
    }
}
