//! `millstream replay import`: letters of what an event source mapping gave up on.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser};
use millstream_processor::outcome::Fault;
use millstream_processor::source::failure::bucket::{NoPrefix, Prefix};
use millstream_processor::source::failure::{FailureBucket, FailureQueue, StreamRanges};
use millstream_replay::import::{ImportError, Imported, Importer};
use serde_json::json;

use super::{Failure, Office, count, print_json, warn};

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// Files with one document, or one a line; a folder stands for the files in it; s3://BUCKET/PREFIX for the objects
    /// whose keys start so, which stay there
    #[arg(required_unless_present = "queue", value_name = "FILE", value_parser = place_parser())]
    places: Vec<Place>,
    /// The queue of an on-failure destination, by its URL; a message is deleted when its letters are safe
    #[arg(long, value_name = "URL", conflicts_with = "places")]
    queue: Option<String>,
    /// One JSON object a document
    #[arg(long)]
    json: bool,
}

/// Where documents are.
#[derive(Debug, Clone)]
enum Place {
    /// A file or a folder.
    Path(PathBuf),
    /// A bucket of S3, as far as its keys start so.
    Bucket(Prefix),
}

fn place_parser() -> impl TypedValueParser<Value = Place> {
    PathBufValueParser::new().try_map(|path| match path.to_str() {
        Some(text) if Prefix::is_meant(text) => Prefix::parse(text).map(Place::Bucket),
        Some(_) | None => Ok::<_, NoPrefix>(Place::Path(path)),
    })
}

pub(super) async fn run(
    args: &ImportArgs,
    office: &Office,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    let wired = office.wired()?;
    let ranges = StreamRanges::new(wired.aws.streams());
    let importer = Importer { desk: &wired.desk, sources: &wired.sources, ranges: &ranges };
    let mut told = Told { json: args.json, out, documents: 0, letters: 0, kept: 0 };
    if let Some(url) = &args.queue {
        let queue = FailureQueue::new(wired.aws.sqs(), url.as_str());
        let mut broken = None;
        let mut tell = |id: &str, imported: &_| {
            let printed = told.document(&format!("message {id}"), imported);
            broken = broken.take().or(printed.err());
        };
        let drained = importer.drain(&queue, &mut tell).await;
        told.ended(drained, broken)?;
    }
    for place in &args.places {
        match place {
            Place::Path(path) => from_files(&importer, path, &mut told).await?,
            Place::Bucket(place) => {
                let bucket = FailureBucket::new(wired.aws.s3(), place.clone());
                let mut broken = None;
                let mut tell = |key: &str, imported: &_| {
                    let printed = told.document(&format!("s3://{}/{key}", place.bucket), imported);
                    broken = broken.take().or(printed.err());
                };
                let swept = importer.sweep(&bucket, &mut tell).await;
                told.ended(swept, broken)?;
            }
        }
    }
    told.end()
}

async fn from_files(importer: &Importer<'_>, path: &Path, told: &mut Told<'_>) -> Result<(), Failure> {
    let inside = match files(path) {
        Ok(inside) => inside,
        Err(error) => return told.unreadable(path, &error),
    };
    for path in inside {
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                told.unreadable(&path, &error)?;
                continue;
            }
        };
        // One document on many lines, or one a line.
        if serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() {
            told.document(&path.display().to_string(), &importer.import(&text).await)?;
            continue;
        }
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            let place = format!("{}:{number}", path.display());
            told.document(&place, &importer.import(line).await)?;
        }
    }
    Ok(())
}

/// The file, or the files in the folder.
fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut inside = Vec::new();
    for entry in fs::read_dir(path)? {
        inside.push(entry?.path());
    }
    inside.retain(|path| path.is_file());
    inside.sort();
    Ok(inside)
}

/// What was told of the documents so far.
struct Told<'a> {
    json: bool,
    out: &'a mut (dyn Write + Send),
    documents: u64,
    letters: u64,
    kept: u64,
}

impl Told<'_> {
    fn document(&mut self, place: &str, imported: &Result<Imported, ImportError>) -> Result<(), Failure> {
        let problem = match imported {
            Ok(imported) => {
                self.letters += imported.stored.len() as u64;
                imported.late.as_ref().map(ToString::to_string)
            }
            Err(error) => Some(error.to_string()),
        };
        self.tell(place, imported.as_ref().ok(), problem)
    }

    /// What cannot be read is like a document that is something else: the others may be what they should be.
    fn unreadable(&mut self, path: &Path, error: &io::Error) -> Result<(), Failure> {
        let place = path.display().to_string();
        match error.kind() {
            io::ErrorKind::NotFound => Err(Failure::Usage(format!("cannot read {place}: {error}"))),
            _ => self.tell(&place, None, Some(error.to_string())),
        }
    }

    fn tell(
        &mut self,
        place: &str,
        imported: Option<&Imported>,
        problem: Option<String>,
    ) -> Result<(), Failure> {
        self.documents += 1;
        self.kept += u64::from(problem.is_some());
        if self.json {
            let line = json!({ "document": place, "imported": imported, "problem": problem });
            return print_json(&line, false, self.out);
        }
        if let Some(imported) = imported {
            let stored = count(imported.stored.len() as u64, "new letter");
            write!(self.out, "{place}: {stored}")?;
            if imported.known > 0 {
                write!(self.out, ", {} known already", imported.known)?;
            }
            writeln!(self.out)?;
            for id in &imported.stored {
                writeln!(self.out, "  {id}")?;
            }
        }
        if let Some(problem) = problem {
            warn(format_args!("{place}: {problem}; it is kept"));
        }
        Ok(())
    }

    /// What was found out is worth its summary, also where not all of it could be read.
    fn ended(&mut self, all: Result<(), Fault>, broken: Option<Failure>) -> Result<(), Failure> {
        if all.is_err() && self.documents > 0 && broken.is_none() {
            self.summary()?;
        }
        all?;
        broken.map_or(Ok(()), Err)
    }

    fn summary(&mut self) -> Result<(), Failure> {
        if !self.json {
            let (documents, letters) = (count(self.documents, "document"), count(self.letters, "new letter"));
            writeln!(self.out, "{letters} from {documents}")?;
        }
        Ok(())
    }

    fn end(mut self) -> Result<(), Failure> {
        self.summary()?;
        match self.kept {
            0 => Ok(()),
            kept => Err(Failure::Failed(format!("{} could not be imported whole", count(kept, "document")))),
        }
    }
}
