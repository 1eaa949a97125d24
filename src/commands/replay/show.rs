//! `millstream replay show`: one letter.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use futures_util::StreamExt;
use millstream_processor::letters::{Letter, LetterFilter, LetterId, LetterStore};
use millstream_replay::plan::{LetterPlan, plan_letter};
use millstream_replay::show::Shown;
use serde::Serialize;

use super::{Failure, Office, print_json, quoted, warn};

/// How long the targets are asked what would be written now; the letter itself is worth showing without it.
const PATIENCE: Duration = Duration::from_secs(10);

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

/// A letter, and what would become of it.
#[derive(Serialize)]
struct Shelf {
    #[serde(flatten)]
    letter: Shown,
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<LetterPlan>,
}

pub(super) async fn run(
    args: &ShowArgs,
    office: &Office,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    let letter = find(&args.id, &*office.store).await?;
    let letter = Shelf { letter: Shown::of(&letter, args.redact), now: now(args, office, &letter).await };
    if args.json {
        return print_json(&letter, true, out);
    }
    write!(out, "{}", letter.letter)?;
    match letter.now {
        Some(now) => Ok(write!(out, "\nNow: {}", now.without_name())?),
        None => Ok(()),
    }
}

/// What would be written now; none of a letter that is done with.
async fn now(args: &ShowArgs, office: &Office, letter: &Letter) -> Option<LetterPlan> {
    let wired = office.desk.as_ref().filter(|_| letter.head.state.waits())?;
    let plan = tokio::time::timeout(PATIENCE, plan_letter(&wired.desk, letter, args.redact)).await;
    if plan.is_err() {
        warn("the targets do not answer: what would be written now is not shown");
    }
    plan.ok()
}

/// A letter by its id, or an error that names some.
pub(super) async fn find(id: &str, store: &dyn LetterStore) -> Result<Letter, Failure> {
    let letter = match LetterId::from_text(id) {
        None => None,
        Some(id) => store.load(&id).await?,
    };
    match letter {
        Some(letter) => Ok(letter),
        None => Err(unknown(id, store).await),
    }
}

/// What is said where nothing has that name.
pub(super) async fn unknown(id: &str, store: &dyn LetterStore) -> Failure {
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
