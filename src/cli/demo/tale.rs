//! Tells the story: a line for each thing that happened, with the time since the start.

use std::io::Write;
use std::time::Instant;

use serde_json::{Value, json};

use crate::cli::failure::Failure;
use crate::cli::out::Out;

/// Says what happens, in words or as JSON lines.
pub struct Tale<'a> {
    out: &'a mut Out,
    json: bool,
    started: Instant,
}

impl<'a> Tale<'a> {
    /// A story that begins at this moment.
    pub fn new(out: &'a mut Out, json: bool) -> Self {
        Tale {
            out,
            json,
            started: Instant::now(),
        }
    }

    /// One thing that happened: a word for machines, a sentence for people, the facts.
    ///
    /// # Errors
    /// [`Failure`] of writing.
    pub fn say(&mut self, step: &str, words: &str, facts: Value) -> Result<(), Failure> {
        let elapsed = self.started.elapsed();
        if self.json {
            let mut line = json!({
                "step": step,
                "at_ms": u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
                "words": words,
            });
            if let (Some(line), Value::Object(facts)) = (line.as_object_mut(), facts) {
                line.extend(facts);
            }
            writeln!(self.out, "{line}")?;
        } else {
            let at = format!("{:>6.2} s", elapsed.as_secs_f64());
            writeln!(self.out, "{}  {words}", self.out.paint.faint(&at))?;
        }
        Ok(self.out.flush()?)
    }

    /// A heading for people; machines have the steps.
    ///
    /// # Errors
    /// [`Failure`] of writing.
    pub fn chapter(&mut self, title: &str) -> Result<(), Failure> {
        if !self.json {
            writeln!(self.out, "\n{}", self.out.paint.strong(title))?;
        }
        Ok(())
    }
}
