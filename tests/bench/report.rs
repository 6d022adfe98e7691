//! The report: what was measured where, as JSON for machines and in lines for a person.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::argument::Args;
use crate::drawing;
use crate::fault::Fault;
use crate::figure::{Figure, find, spoken};
use crate::goal::{Judged, Judgement};
use crate::machine::{
    FOREIGN_QUIET, LOAD_QUIET, Machine, PROBE_QUIET_MS, Probe, load_average, probe,
};
use crate::row::{Context, ROWS};

/// A whole run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// When it began: seconds since 1970.
    pub unix_time: u64,
    /// Where.
    pub machine: Machine,
    /// The commit that was measured, if somebody said.
    pub commit: String,
    /// What was measured, and against which versions.
    pub versions: Vec<String>,
    /// Repetitions.
    pub reps: u32,
    /// Seconds of each load.
    pub seconds: u64,
    /// The storage before.
    pub probe_before: Probe,
    /// The storage after.
    pub probe_after: Option<Probe>,
    /// Load average before.
    pub load_average: f64,
    /// Row by row.
    pub rows: Vec<RowReport>,
    /// How the goals were met.
    pub judged: Vec<Judged>,
}

/// One row of the table, or several that are measured together.
#[derive(Debug, Serialize, Deserialize)]
pub struct RowReport {
    /// Their numbers.
    pub numbers: Vec<u32>,
    /// What was measured.
    pub name: String,
    /// Which share of all cores others used meanwhile.
    pub foreign_cpu_share: f64,
    /// Why there are no figures.
    pub failed: Option<String>,
    /// The figures.
    pub figures: Vec<Figure>,
}

impl Report {
    /// Looks at the machine and begins.
    pub fn begin(context: &Context, args: &Args) -> Result<Self, Fault> {
        let load_average = load_average()?;
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Ok(Report {
            unix_time: since.map_or(0, |since| since.as_secs()),
            machine: Machine::this()?,
            commit: args.commit.clone(),
            versions: versions(&args.binary),
            reps: args.reps,
            seconds: args.seconds,
            probe_before: probe(context.dir())?,
            probe_after: None,
            load_average,
            rows: Vec::new(),
            judged: Vec::new(),
        })
    }

    /// An earlier one.
    pub fn read(path: &Path) -> Result<Self, Fault> {
        let text = fs::read_to_string(path).map_err(|it| Fault::from(it).of(path.display()))?;
        serde_json::from_str(&text).map_err(|it| Fault::from(it).of(path.display()))
    }

    /// Looks at the storage again and judges.
    pub fn end(&mut self, context: &Context) -> Result<(), Fault> {
        self.probe_after = Some(probe(context.dir())?);
        for row in &self.rows {
            let quiet = self.is_quiet() && row.foreign_cpu_share <= FOREIGN_QUIET;
            let goals = ROWS
                .iter()
                .find(|it| it.numbers == row.numbers)
                .map_or(&[][..], |row| row.goals);
            let judged = goals.iter().map(|goal| goal.judge(&row.figures, quiet));
            self.judged.extend(judged);
        }
        Ok(())
    }

    fn is_quiet(&self) -> bool {
        let probes = [Some(self.probe_before), self.probe_after];
        let mut probes = probes.iter().flatten();
        probes.all(|probe| probe.median_ms < PROBE_QUIET_MS)
            && self.load_average <= LOAD_QUIET * self.machine.cores as f64
    }

    /// What the machine is and how it is before the first row.
    pub fn preamble(&self) -> String {
        let Machine {
            cpu,
            cores,
            memory_mb,
            kernel,
        } = &self.machine;
        let probe = self.probe_before;
        format!(
            "{cpu}, {cores} cores, {memory_mb} MB, Linux {kernel}\n{}\n\
             probe: 4 KiB append + fdatasync, median {:.3} ms, p99 {:.3} ms; load average {:.2}{}\n\
             {} repetitions, loads of {} s\n",
            self.versions.join("; "),
            probe.median_ms,
            probe.p99_ms,
            self.load_average,
            match self.is_quiet() {
                true => "",
                false => " — busy: times and rates will not be judged",
            },
            self.reps,
            self.seconds,
        )
    }

    /// All figures and judgements in lines, with the changes since `baseline`.
    pub fn text(&self, baseline: Option<&Report>) -> String {
        let mut text = String::new();
        for row in &self.rows {
            row.write(&mut text, baseline);
        }
        if let Some(probe) = self.probe_after {
            let _ = writeln!(text, "probe after: median {:.3} ms", probe.median_ms);
        }
        let _ = writeln!(text, "\nGoals");
        for judged in &self.judged {
            let word = match judged.judgement {
                Judgement::Met => "met",
                Judgement::Missed => "MISSED",
                Judgement::NotJudged => "not judged (busy)",
                Judgement::Unmeasured => "not measured",
            };
            let reached = judged.reached.map_or("–".to_owned(), spoken);
            let Judged { row, goal, .. } = judged;
            let _ = writeln!(text, "  {row:>2}  {goal:<52} {reached:>9}  {word}");
        }
        text
    }

    /// Writes report.json and report.svg.
    pub fn write(&self, dir: &Path) -> Result<(), Fault> {
        let json = serde_json::to_string_pretty(self)?;
        fs::write(dir.join("report.json"), json + "\n")?;
        let figures: Vec<Figure> = self.figures().cloned().collect();
        let caption = format!(
            "{}, {} cores; medians of {}, lines from least to most",
            self.machine.cpu, self.machine.cores, self.reps
        );
        fs::write(dir.join("report.svg"), drawing::svg(&figures, &caption))?;
        Ok(())
    }

    fn figures(&self) -> impl Iterator<Item = &Figure> {
        self.rows.iter().flat_map(|row| &row.figures)
    }
}

impl RowReport {
    fn write(&self, text: &mut String, baseline: Option<&Report>) {
        let numbers: Vec<_> = self.numbers.iter().map(u32::to_string).collect();
        let _ = writeln!(text, "Row {}: {}", numbers.join(", "), self.name);
        if let Some(failed) = &self.failed {
            let _ = writeln!(text, "  FAILED: {failed}\n");
            return;
        }
        for figure in &self.figures {
            let Some(summary) = figure.summary() else {
                continue;
            };
            let line = format!(
                "  {:>2}  {:<22} {:<16} {:>10} {:<4} ({} – {})",
                figure.row,
                figure.system,
                figure.measure,
                spoken(summary.median),
                figure.unit,
                spoken(summary.min),
                spoken(summary.max)
            );
            let change = baseline.and_then(|baseline| change(figure, summary.median, baseline));
            let _ = writeln!(text, "{line}{}", change.unwrap_or_default());
        }
        let foreign = self.foreign_cpu_share * 100.0;
        let _ = writeln!(
            text,
            "  others used {foreign:.0} % of the cores meanwhile\n"
        );
    }
}

/// By how much a median has changed.
fn change(figure: &Figure, median: f64, baseline: &Report) -> Option<String> {
    let before: Vec<Figure> = baseline.figures().cloned().collect();
    let before = find(&before, figure.row, &figure.system, &figure.measure)?;
    let before = before.summary()?.median;
    let percent = (median / before - 1.0) * 100.0;
    percent
        .is_finite()
        .then(|| format!("  {percent:+.0} % (was {})", spoken(before)))
}

/// What is measured and what it is compared with; a peer that is not installed is left out here,
/// and its row says so.
fn versions(binary: &Path) -> Vec<String> {
    let programs = [
        ("roundel", binary.as_os_str(), "--version"),
        ("etcd", "etcd".as_ref(), "--version"),
        ("redis", "redis-server".as_ref(), "--version"),
        ("serf", "serf".as_ref(), "version"),
    ];
    // The first word that is a version; each says it among others of its own.
    let version = |(name, program, argument): &(&str, &std::ffi::OsStr, &str)| {
        let output = Command::new(program).arg(argument).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let mut words = text
            .split_whitespace()
            .map(|word| word.trim_start_matches("v="));
        let found = words.find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
        Some(format!("{name} {found}"))
    };
    programs.iter().filter_map(version).collect()
}
