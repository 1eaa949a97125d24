//! `millstream replay log`: what operators did.

use std::io::Write;

use clap::Args;
use futures_util::StreamExt;
use millstream_processor::letters::{AuditEntry, LetterId, LetterStore};
use millstream_projections::event::rfc3339;

use super::{Failure, print_json, warn};

#[derive(Debug, Args)]
pub(super) struct LogArgs {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    args: &LogArgs,
    store: &dyn LetterStore,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    let mut unreadable = 0;
    let mut trail = store.trail();
    while let Some(entry) = trail.next().await {
        match entry {
            Ok(entry) if args.json => print_json(&entry, false, out)?,
            Ok(entry) => line(&entry, out)?,
            Err(fault) => {
                unreadable += 1;
                warn(fault.causes.join(": "));
            }
        }
    }
    match unreadable {
        0 => Ok(()),
        _ => Err(Failure::Failed("the trail is not complete, see above".to_owned())),
    }
}

fn line(entry: &AuditEntry, out: &mut (dyn Write + Send)) -> Result<(), Failure> {
    let letter = entry.letter.as_ref().map_or("-", LetterId::as_str);
    let printable = |text: &str| text.replace(char::is_control, " ");
    let (at, by, result) = (rfc3339(entry.at), printable(&entry.by), printable(&entry.result));
    Ok(writeln!(out, "{at}  {by}  {:8}  {letter}  {result}", printable(&entry.action))?)
}
