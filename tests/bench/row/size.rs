//! Row 19: the static binary for 64-bit ARM, as it is flashed: what `image/cross.sh` builds.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::fault::Fault;
use crate::figure::{Figure, Figures};
use crate::goal::Goal;
use crate::row::{Context, Row};

const NUMBER: u32 = 19;
const SIZE: (&str, &str) = ("static aarch64 binary", "MB");

/// The row.
pub const ROW: Row = Row {
    numbers: &[NUMBER],
    name: "size of the static aarch64 binary (image/cross.sh builds it)",
    run,
    goals: &[Goal::within(NUMBER, SIZE.0, 6.0)],
};

fn run(_: &Context) -> Result<Vec<Figure>, Fault> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Builds what is not built yet, and says where it lies.
    let output = Command::new(package.join("image/cross.sh"))
        .arg("aarch64")
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Fault::from(error).of("image/cross.sh"))?;
    if !output.status.success() {
        return Err(Fault::new(format!(
            "image/cross.sh aarch64 ended with {}; what it printed is above",
            output.status
        )));
    }
    let told = String::from_utf8_lossy(&output.stdout);
    let path = package.join(told.lines().last().unwrap_or_default());
    let file = fs::metadata(&path).map_err(|it| Fault::from(it).of(path.display()))?;
    let mut figures = Figures::default();
    figures.add(NUMBER, "roundel", SIZE, file.len() as f64 / 1e6);
    Ok(figures.all())
}
