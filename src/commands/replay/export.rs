//! `millstream replay export`: letters with their records, one JSON object a line.

use std::io::Write;

use clap::Args;
use futures_util::StreamExt;
use millstream_replay::export::Exported;

use super::filter::FilterArgs;
use super::{Failure, NO_LETTERS, Office, count, print_json, warn};

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    filter: FilterArgs,
}

pub(super) async fn run(
    args: &ExportArgs,
    office: &Office,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    let filter = args.filter.filter(&office.known)?;
    let (mut letters, mut unreadable) = (0, 0);
    let mut heads = office.store.list(&filter);
    while let Some(head) = heads.next().await {
        let letter = match head {
            Ok(head) => office.store.load(&head.id).await,
            Err(fault) => Err(fault),
        };
        match letter {
            Ok(Some(letter)) => {
                letters += 1;
                print_json(&Exported::of(&letter), false, out)?;
            }
            Ok(None) => {}
            Err(fault) => {
                unreadable += 1;
                warn(fault.causes.join(": "));
            }
        }
    }
    match (unreadable, letters) {
        (0, 0) => args.filter.nothing(&office.known, NO_LETTERS),
        (0, _) => Ok(()),
        (unreadable, _) => Err(Failure::Failed(format!(
            "the export is not complete: {} could not be read, see above",
            count(unreadable, "letter")
        ))),
    }
}
