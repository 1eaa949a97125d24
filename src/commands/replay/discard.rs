//! `millstream replay discard`: letters that shall not be done.

use std::io::Write;

use clap::Args;
use millstream_processor::letters::LetterId;
use millstream_replay::discard::{Discarded, discard};

use super::{Failure, Office, show, warn};

#[derive(Debug, Args)]
pub(super) struct DiscardArgs {
    /// The letters, as `list` names them; one that is not there too, if a key waits for it
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Why, for those who ask later
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(super) async fn run(
    args: &DiscardArgs,
    office: &Office,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    if args.reason.trim().is_empty() {
        return Err(Failure::Usage("--reason is empty: say why, for those who ask later".to_owned()));
    }
    let desk = office.desk()?;
    // A wrong id is found before anything is done.
    let mut letters = Vec::new();
    for id in &args.ids {
        // It need not be there, if a key waits for it.
        match LetterId::from_text(id) {
            Some(letter) if desk.is_known(&letter).await? => letters.push(letter),
            _ => return Err(show::unknown(id, &*office.store).await),
        }
    }
    let mut closed_before = 0;
    for id in letters {
        match discard(desk, &id, &args.reason).await? {
            Discarded::Done => writeln!(out, "{id} discarded")?,
            Discarded::WasClosed(state) => {
                closed_before += 1;
                warn(format_args!("{id} does not wait: it is {}", state.as_str()));
            }
            Discarded::Unknown => {
                closed_before += 1;
                warn(format_args!("{id} is gone"));
            }
        }
    }
    match closed_before {
        0 => Ok(()),
        _ => Err(Failure::Failed("not all of them were waiting, see above".to_owned())),
    }
}
