//! `cargo bench`: our nodes, their peers and bare ceilings measured in turn on this machine.
//!
//! Each row of the table in [`row`] starts what it compares, one after the other, each on a fresh
//! data directory, repeats that, and gives figures; goals are ratios between medians of one run.
//! Nothing here asserts a time: what a busy machine would falsify is "not judged".
//!
//! The same program is also what it compares with: `bare ceiling`, `bare hello` and `bare echo`
//! are servers that do the least possible.

mod argument;
mod bare;
mod ceiling;
mod drawing;
mod etcd;
mod fault;
mod figure;
mod goal;
#[path = "../lan/http.rs"]
#[allow(dead_code)]
mod http;
#[path = "../lan/lab.rs"]
#[allow(dead_code)]
mod lab;
mod lan;
mod machine;
mod measure;
#[path = "../lan/netns.rs"]
#[allow(dead_code)]
mod netns;
#[path = "../lan/node.rs"]
#[allow(dead_code)]
mod node;
mod ours;
mod plain;
mod process;
mod redis;
mod report;
#[path = "../lan/ring.rs"]
#[allow(dead_code)]
mod ring;
mod row;
mod serf;
#[path = "../scale/survey.rs"]
mod survey;
#[path = "../lan/switch.rs"]
#[allow(dead_code)]
mod switch;
#[path = "../lan/wait.rs"]
#[allow(dead_code)]
mod wait;
#[path = "../scale/world.rs"]
#[allow(dead_code)]
mod world;
#[path = "../lan/writer.rs"]
#[allow(dead_code)]
mod writer;

use std::process::ExitCode;

use argument::Args;
use clap::Parser;
use fault::Fault;
use machine::Conditions;
use report::{Report, RowReport};
use row::{Context, Row};

fn main() -> ExitCode {
    let own: Vec<String> = std::env::args().skip(1).collect();
    if let Some((bare::WORD, args)) = own.split_first().map(|(word, args)| (word.as_str(), args)) {
        return bare::main(args);
    }
    let args = Args::parse();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            eprintln!("bench: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the rows and writes the report; false when a row failed.
fn run(args: &Args) -> Result<bool, Fault> {
    let rows = row::chosen(&args.rows)?;
    if args.list {
        for row in rows {
            println!("{:<12} {}", row.spoken_numbers(), row.name);
        }
        return Ok(true);
    }
    let baseline = args.baseline.as_deref().map(Report::read).transpose()?;
    let context = Context::new(args)?;
    let mut report = Report::begin(&context, args)?;
    println!("{}", report.preamble());
    for row in rows {
        report.rows.push(run_row(row, &context)?);
    }
    report.end(&context)?;
    println!("{}", report.text(baseline.as_ref()));
    report.write(&args.out)?;
    println!("written: {}/report.json, report.svg", args.out.display());
    Ok(report.rows.iter().all(|row| row.failed.is_none()))
}

fn run_row(row: &Row, context: &Context) -> Result<RowReport, Fault> {
    eprintln!("row {}: {}", row.spoken_numbers(), row.name);
    let conditions = Conditions::begin()?;
    let outcome = (row.run)(context);
    let foreign = conditions.foreign_share()?;
    let (figures, failed) = match outcome {
        Ok(figures) => (figures, None),
        Err(fault) => {
            eprintln!("row {} failed: {fault}", row.spoken_numbers());
            (Vec::new(), Some(fault.to_string()))
        }
    };
    Ok(RowReport {
        numbers: row.numbers.to_vec(),
        name: row.name.to_owned(),
        foreign_cpu_share: foreign,
        failed,
        figures,
    })
}
