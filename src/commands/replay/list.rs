//! `millstream replay list`: the letters, grouped by what went wrong, or each on a line.

use std::collections::HashSet;
use std::io::Write;
use std::time::Duration;

use clap::Args;
use comfy_table::{CellAlignment, ColumnConstraint, Table, Width, presets};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use millstream_processor::clock::{Clock, SystemClock};
use millstream_processor::letters::{LetterFilter, LetterHead, LetterId, LetterState, LetterStore};
use millstream_processor::outcome::Fault;
use millstream_projections::event::rfc3339;
use millstream_replay::desk::Desk;
use millstream_replay::gauges::Gauges;
use millstream_replay::summary::{Group, Summary};

use super::filter::FilterArgs;
use super::{Failure, Known, NO_LETTERS, Office, count, print_json, warn};

/// The widest message of the table; `--json` has them whole.
const MESSAGE_WIDTH: u16 = 60;
/// How long the ledger is asked about keys; the list itself is there without it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many keys are warned of one by one.
const NAMED: usize = 20;

#[derive(Debug, Default, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    pub(super) filter: FilterArgs,
    /// Each letter on a line of its own
    #[arg(long)]
    pub(super) ids: bool,
    /// JSON; with --ids one object per line
    #[arg(long)]
    pub(super) json: bool,
    /// Gauges in Prometheus' text format, for a collector of text files: how many letters, and how old
    #[arg(long, conflicts_with_all = ["ids", "json"])]
    pub(super) prometheus: bool,
}

pub(super) async fn run(
    args: &ListArgs,
    office: &Office,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    let (store, known) = (&*office.store, &office.known);
    let filter = args.filter.filter(known)?;
    let mut seen = HashSet::new();
    let (letters, faults, unreadable) = match (args.prometheus, args.ids) {
        (true, _) => gauges(store, &filter, known, out).await?,
        (false, true) => each(args, store.list(&filter), &mut seen, out).await?,
        (false, false) => grouped(args, store.list(&filter), &mut seen, out).await?,
    };
    out.flush()?;
    for fault in &faults {
        warn(fault);
    }
    if let Some(wired) = office.desk.as_ref().filter(|_| filter.admits_state(LetterState::Held)) {
        tell_lacking(&wired.desk, &filter, &seen).await;
    }
    if unreadable > 0 {
        let what = count(unreadable, "thing");
        return Err(Failure::Failed(format!(
            "the list is not complete: {what} could not be read, see above"
        )));
    }
    match letters {
        // Gauges say so themselves.
        0 if args.prometheus => Ok(()),
        0 => args.filter.nothing(known, NO_LETTERS),
        _ => Ok(()),
    }
}

/// Warns of keys whose changes wait for letters that are not there: no list shows them. Those that were `seen` are there.
async fn tell_lacking(desk: &Desk, filter: &LetterFilter, seen: &HashSet<LetterId>) {
    match tokio::time::timeout(PATIENCE, desk.lacking_keys(filter, seen)).await {
        Ok(Ok(keys)) => {
            keys.iter().take(NAMED).for_each(|key| warn(key.text()));
            if keys.len() > NAMED {
                warn(format_args!("{} more wait like this", count((keys.len() - NAMED) as u64, "key")));
            }
        }
        Ok(Err(fault)) => warn(format_args!("whether keys wait for letters that are not there: {fault}")),
        Err(_) => warn("whether keys wait for letters that are not there: it took too long to find out"),
    }
}

/// How many letters were listed, what was wrong with others, and how many those are.
type Listed = (u64, Vec<String>, u64);
/// What a store lists.
type Heads<'a> = BoxStream<'a, Result<LetterHead, Fault>>;

async fn grouped(
    args: &ListArgs,
    heads: Heads<'_>,
    seen: &mut HashSet<LetterId>,
    out: &mut (dyn Write + Send),
) -> Result<Listed, Failure> {
    let heads = heads.inspect_ok(|head| {
        seen.insert(head.id.clone());
    });
    let summary = Summary::of(heads).await;
    if args.json {
        print_json(&summary, true, out)?;
    } else if summary.letters > 0 {
        writeln!(out, "{}", table(&summary.groups).trim_fmt())?;
        writeln!(
            out,
            "{} in {}",
            count(summary.letters, "letter"),
            count(summary.groups.len() as u64, "group")
        )?;
        writeln!(out, "See one of them: millstream replay show <the id under its fault>")?;
    }
    Ok((summary.letters, summary.faults, summary.unreadable))
}

fn table(groups: &[Group]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["letters", "items", "projection", "fault", "first and last"]);
    for group in groups {
        table.add_row([
            group.letters.to_string(),
            group.keys.to_string(),
            format!("{}\nfrom {}", group.projection.as_deref().unwrap_or("(not decoded)"), group.source),
            format!("{}: {}\n{}", group.fault, printable(&group.message), group.example),
            format!("{}\n{}", rfc3339(group.oldest), rfc3339(group.newest)),
        ]);
    }
    for counts in table.column_iter_mut().take(2) {
        counts.set_cell_alignment(CellAlignment::Right);
    }
    if let Some(column) = table.column_mut(3) {
        column.set_constraint(ColumnConstraint::UpperBoundary(Width::Fixed(MESSAGE_WIDTH + 2)));
    }
    table
}

/// A message without anything that a terminal would obey.
fn printable(message: &str) -> String {
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

async fn each(
    args: &ListArgs,
    mut heads: Heads<'_>,
    seen: &mut HashSet<LetterId>,
    out: &mut (dyn Write + Send),
) -> Result<Listed, Failure> {
    let (mut letters, mut unreadable) = (0, 0);
    while let Some(head) = heads.next().await {
        match head {
            Ok(head) => {
                letters += 1;
                line(args, &head, out)?;
                seen.insert(head.id);
            }
            Err(fault) => {
                unreadable += 1;
                warn(fault.causes.join(": "));
            }
        }
    }
    Ok((letters, Vec::new(), unreadable))
}

/// Prints the gauges if they are complete: a number that is too small would end an alarm.
async fn gauges(
    store: &dyn LetterStore,
    filter: &LetterFilter,
    known: &Known,
    out: &mut (dyn Write + Send),
) -> Result<Listed, Failure> {
    let mut gauges = Gauges::new(SystemClock.unix_seconds(), known.projections.iter().map(String::as_str));
    let (mut letters, mut unreadable) = (0, 0);
    let mut heads = store.list(filter);
    while let Some(head) = heads.next().await {
        match head {
            Ok(head) => {
                letters += 1;
                gauges.add(&head);
            }
            Err(fault) => {
                unreadable += 1;
                warn(fault.causes.join(": "));
            }
        }
    }
    if unreadable == 0 {
        write!(out, "{gauges}")?;
    }
    Ok((letters, Vec::new(), unreadable))
}

fn line(args: &ListArgs, head: &LetterHead, out: &mut (dyn Write + Send)) -> Result<(), Failure> {
    if args.json {
        return print_json(head, false, out);
    }
    let projection = head.projection.as_deref().unwrap_or("-");
    let fault = head.fault().map_or("-", |attempt| attempt.fault.as_str());
    let (first, source, state) = (rfc3339(head.first_at()), &head.source, head.state.as_str());
    Ok(writeln!(out, "{}  {first}  {state:10}  {source}  {projection}  {fault}", head.id)?)
}
