//! `millstream replay plan`: what a replay would do now.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use futures_util::StreamExt;
use millstream_replay::plan::{LetterPlan, PlanWriter, Totals, plan};

use super::filter::FilterArgs;
use super::{Failure, NO_LETTERS, Office, count, warn};

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
        Some(path) => Some(PlanWriter::begin(BufWriter::new(create(path)?), config)?),
        None => None,
    };
    let mut printer = match args.json {
        true => Printer::Json(PlanWriter::begin(out, config)?),
        false => Printer::Text(out),
    };
    let (mut totals, mut unreadable) = (Totals::default(), 0);
    let mut planned = std::pin::pin!(plan(desk, &filter, args.redact));
    while let Some(letter) = planned.next().await {
        match letter {
            Ok(letter) => {
                totals.add(&letter);
                file.as_mut().map_or(Ok(()), |file| file.add(&letter))?;
                printer.add(&letter)?;
            }
            Err(fault) => {
                unreadable += 1;
                warn(fault.causes.join(": "));
            }
        }
    }
    if let Some(file) = file {
        file.end()?;
    }
    printer.end(&totals)?;
    match (unreadable, totals.letters) {
        (0, 0) => args.filter.nothing(&office.known, NO_LETTERS),
        (0, _) => Ok(()),
        (unreadable, _) => Err(Failure::Failed(format!(
            "the plan is not complete: {} could not be read, see above",
            count(unreadable, "thing")
        ))),
    }
}

fn create(path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(|error| Failure::Failed(format!("cannot write {}: {error}", path.display())))
}

/// Letters as they are planned: none is kept.
enum Printer<'a> {
    Json(PlanWriter<&'a mut (dyn Write + Send)>),
    Text(&'a mut (dyn Write + Send)),
}

impl Printer<'_> {
    fn add(&mut self, letter: &LetterPlan) -> io::Result<()> {
        match self {
            Self::Json(writer) => writer.add(letter),
            Self::Text(out) => writeln!(out, "{letter}"),
        }
    }

    fn end(self, totals: &Totals) -> io::Result<()> {
        match self {
            Self::Json(writer) => writer.end().map(drop),
            Self::Text(out) if totals.letters > 0 => writeln!(out, "{totals}"),
            Self::Text(_) => Ok(()),
        }
    }
}
