//! `millstream replay plan`: what a replay would do now.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::Args;
use futures_util::StreamExt;
use millstream_replay::plan::{PlanWriter, Totals, plan};

use super::filter::FilterArgs;
use super::{Failure, Office, count};

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Writes the plan to a file that `apply` takes
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Hides the items' values
    #[arg(long)]
    redact: bool,
    /// JSON, as in the file
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    args: &PlanArgs,
    office: &Office,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    let (desk, filter) = (office.desk()?, args.filter.filter(&office.known)?);
    let config = &desk.pipeline.config;
    let mut file = match &args.out {
        Some(path) => {
            let file = File::create(path)
                .map_err(|error| Failure::Failed(format!("cannot write {}: {error}", path.display())))?;
            Some(PlanWriter::begin(BufWriter::new(file), config)?)
        }
        None => None,
    };
    let (mut totals, mut unreadable) = (Totals::default(), 0);
    let mut json = if args.json { Some(PlanWriter::begin(&mut *out, config)?) } else { None };
    let mut text: Vec<u8> = Vec::new();
    let mut planned = std::pin::pin!(plan(desk, &filter, args.redact));
    while let Some(letter) = planned.next().await {
        let letter = match letter {
            Ok(letter) => letter,
            Err(fault) => {
                unreadable += 1;
                eprintln!("warning: {}", fault.causes.join(": "));
                continue;
            }
        };
        totals.add(&letter);
        if let Some(file) = &mut file {
            file.add(&letter)?;
        }
        match &mut json {
            Some(json) => json.add(&letter)?,
            None => writeln!(text, "{letter}")?,
        }
        // A plan with a file is read there; the terminal gets its end.
        if json.is_none() && file.is_none() {
            std::io::stdout().write_all(&std::mem::take(&mut text))?;
        }
    }
    Ok(())
}
