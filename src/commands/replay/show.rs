//! `millstream replay show`: one letter.

use std::io::Write;

use clap::Args;
use futures_util::StreamExt;
use millstream_processor::letters::{LetterFilter, LetterId, LetterStore};
use millstream_replay::show::Shown;

use super::{Failure, print_json, quoted};

/// How many letters are named where the one that was asked for does not exist.
const NAMED: usize = 5;

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The letter, as `list` names it
    pub(super) id: String,
    /// Hides the items' values, so that the output can go into a ticket
    #[arg(long)]
    pub(super) redact: bool,
    /// JSON, with the whole record
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) async fn run(
    args: &ShowArgs,
    store: &dyn LetterStore,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    let letter = match LetterId::from_text(&args.id) {
        None => None,
        Some(id) => store.load(&id).await?,
    };
    let Some(letter) = letter else { return Err(unknown(&args.id, store).await) };
    let shown = Shown::of(&letter, args.redact);
    match args.json {
        true => print_json(&shown, true, out),
        false => Ok(write!(out, "{shown}")?),
    }
}

async fn unknown(id: &str, store: &dyn LetterStore) -> Failure {
    let filter = LetterFilter::default();
    let heads =
        store.list(&filter).filter_map(|head| async move { head.ok().map(|head| head.id.to_string()) });
    let mut known: Vec<String> = heads.take(NAMED + 1).collect().await;
    let more = if known.len() > NAMED { " and more" } else { "" };
    known.truncate(NAMED);
    let advice = match known.is_empty() {
        true => "there are no letters at all".to_owned(),
        false => format!("there are {}{more}; see `millstream replay list --ids`", quoted(&known)),
    };
    Failure::Usage(format!("there is no letter `{}`; {advice}", id.escape_debug()))
}
