//! The comparison as bars: an SVG for light and dark pages, written by hand.
//!
//! One panel for each measure of a row that at least two systems have; the bar is the median, the
//! line on it goes from the least to the most.

use std::fmt::Write as _;

use crate::figure::{Figure, spoken};

const WIDTH: usize = 760;
const MARGIN: usize = 20;
const NAME_WIDTH: usize = 170;
const VALUE_WIDTH: usize = 110;
const BAR_HEIGHT: usize = 18;
const BAR_STEP: usize = 24;
const PANEL_HEAD: usize = 34;
const PANEL_GAP: usize = 14;
const HEAD: usize = 56;

const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#24292f}\
.title{font-size:17px;font-weight:600}\
.panel{font-weight:600}\
.faint{fill:#57606a;font-size:12px;font-weight:400}\
.ours{fill:#0f766e}.other{fill:#94a3b8}\
.range{stroke:#24292f;stroke-width:1.5}\
.page{fill:#ffffff}\
@media(prefers-color-scheme:dark){\
text{fill:#e6edf3}.faint{fill:#9198a1}.page{fill:#0d1117}\
.ours{fill:#2dd4bf}.other{fill:#64748b}.range{stroke:#e6edf3}}";

/// Figures of one measure of a row, a bar each.
struct Panel<'a> {
    row: u32,
    measure: &'a str,
    unit: &'a str,
    bars: Vec<&'a Figure>,
}

/// The picture of these figures.
pub fn svg(figures: &[Figure], caption: &str) -> String {
    let panels = panels(figures);
    let heights = panels.iter().map(Panel::height);
    let height = HEAD + heights.sum::<usize>() + MARGIN;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n\
         <title>roundel and its peers</title>\n<style>{STYLE}</style>\n\
         <rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\"/>\n\
         <text class=\"title\" x=\"{MARGIN}\" y=\"28\">roundel and its peers</text>\n\
         <text class=\"faint\" x=\"{MARGIN}\" y=\"46\">{}</text>",
        escaped(caption)
    );
    let mut y = HEAD;
    for panel in &panels {
        panel.draw(y, &mut out);
        y += panel.height();
    }
    out.push_str("</svg>\n");
    out
}

fn panels(figures: &[Figure]) -> Vec<Panel<'_>> {
    let mut panels: Vec<Panel> = Vec::new();
    for figure in figures {
        let same = |it: &&mut Panel| it.row == figure.row && it.measure == figure.measure;
        match panels.iter_mut().find(same) {
            Some(panel) => panel.bars.push(figure),
            None => panels.push(Panel {
                row: figure.row,
                measure: &figure.measure,
                unit: &figure.unit,
                bars: vec![figure],
            }),
        }
    }
    panels.retain(|panel| panel.bars.len() > 1);
    panels.sort_by_key(|panel| panel.row);
    panels
}

impl Panel<'_> {
    fn height(&self) -> usize {
        PANEL_HEAD + self.bars.len() * BAR_STEP + PANEL_GAP
    }

    fn draw(&self, top: usize, out: &mut String) {
        let _ = writeln!(
            out,
            "<text class=\"panel\" x=\"{MARGIN}\" y=\"{}\">{}. {} \
             <tspan class=\"faint\">{}, {} is better</tspan></text>",
            top + 22,
            self.row,
            escaped(self.measure),
            escaped(self.unit),
            match self.unit {
                "/s" => "more",
                _ => "less",
            }
        );
        let summaries = || {
            let each = self.bars.iter();
            each.filter_map(|figure| Some((figure, figure.summary()?)))
        };
        let most = summaries().map(|(_, it)| it.max).fold(0.0, f64::max);
        let room = (WIDTH - 2 * MARGIN - NAME_WIDTH - VALUE_WIDTH) as f64;
        let scale = |value: f64| match most > 0.0 {
            true => value / most * room,
            false => 0.0,
        };
        let left = (MARGIN + NAME_WIDTH) as f64;
        for (index, (figure, summary)) in summaries().enumerate() {
            let y = top + PANEL_HEAD + index * BAR_STEP;
            let class = match figure.system.starts_with("roundel") {
                true => "ours",
                false => "other",
            };
            let (text_y, middle) = (y + 13, y + BAR_HEIGHT / 2);
            let _ = writeln!(
                out,
                "<text x=\"{MARGIN}\" y=\"{text_y}\">{}</text>\
                 <rect class=\"{class}\" x=\"{left}\" y=\"{y}\" width=\"{:.1}\" \
                 height=\"{BAR_HEIGHT}\" rx=\"2\"/>\
                 <line class=\"range\" x1=\"{:.1}\" y1=\"{middle}\" x2=\"{:.1}\" y2=\"{middle}\"/>\
                 <text x=\"{:.1}\" y=\"{text_y}\">{}</text>",
                escaped(&figure.system),
                scale(summary.median),
                left + scale(summary.min),
                left + scale(summary.max),
                left + scale(summary.max) + 8.0,
                spoken(summary.median),
            );
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
