//! The page that people read.

use std::collections::HashMap;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ColumnConstraint, Table, Width};
use millstream_processor::poller::state::{Checkpoint, GapRow, Session, ShardState};
use millstream_projections::event::rfc3339;

use super::view::{ShardView, StreamView, Totals, View, WorkerView};

/// What stands where there is nothing to say.
const NOTHING: &str = "–";

/// The place of the column that can hold a whole chain of causes, and its width.
const TROUBLE: usize = 5;
/// See [`TROUBLE`].
const TROUBLE_WIDTH: u16 = 50;

/// All of it.
pub(super) fn page(view: &View) -> String {
    let mut page = format!("consumer {}\n{}\n", view.consumer, workers(&view.workers));
    let beats: HashMap<&Session, &WorkerView> =
        view.workers.iter().map(|worker| (&worker.row.session, worker)).collect();
    for stream in &view.streams {
        page.push_str(&format!(
            "\nsource {}, table {}\n{}\n",
            stream.source,
            stream.table,
            shards(stream, &beats)
        ));
        stream.gaps.iter().for_each(|lost| page.push_str(&gap(lost)));
    }
    page.push_str(&format!("\n{}\n", totals(&view.totals)));
    page
}

fn workers(workers: &[WorkerView]) -> String {
    if workers.is_empty() {
        return "no worker is there".to_owned();
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["worker", "host/process", "heartbeat", "shards", "version"]);
    for worker in workers {
        let row = &worker.row;
        let beat = match (worker.heartbeat_moved, row.draining) {
            (true, true) => "moves, hands over".to_owned(),
            (true, false) => "moves".to_owned(),
            (false, _) => format!("stands still for {}", time(worker.still_seconds)),
        };
        let shards = worker.shards.to_string();
        table.add_row([row.session.to_string(), plain(&row.host), beat, shards, plain(&row.version)]);
    }
    table.to_string()
}

fn shards(stream: &StreamView, beats: &HashMap<&Session, &WorkerView>) -> String {
    if let Some(fault) = &stream.fault {
        return format!("cannot be told: {}", plain(fault));
    }
    let (ended, open): (Vec<_>, Vec<_>) = stream.shards.iter().partition(|shard| shard.has_ended());
    let note = match ended.len() {
        0 => String::new(),
        1 => "1 shard before them is read to its end".to_owned(),
        count => format!("{count} shards before them are read to their end"),
    };
    if open.is_empty() {
        return if note.is_empty() { "no worker has found its shards yet".to_owned() } else { note };
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["shard", "state", "read by", "checkpoint", "written", "trouble"]);
    for shard in open {
        table.add_row(cells(shard, beats));
    }
    if let Some(trouble) = table.column_mut(TROUBLE) {
        trouble.set_constraint(ColumnConstraint::UpperBoundary(Width::Fixed(TROUBLE_WIDTH)));
    }
    if note.is_empty() { table.to_string() } else { format!("{table}\n{note}") }
}

fn cells(shard: &ShardView, beats: &HashMap<&Session, &WorkerView>) -> [String; 6] {
    let row = &shard.row;
    let owner = row.owner.as_ref().map_or_else(
        || NOTHING.to_owned(),
        |owner| match beats.get(owner) {
            None => format!("{owner} (gone)"),
            Some(worker) if worker.heartbeat_moved => owner.to_string(),
            Some(_) => format!("{owner} (stands still)"),
        },
    );
    let state = match row.state {
        ShardState::Open => "open",
        ShardState::Ended => "ended",
        ShardState::EndedNoChildren => "ended, its children are not listed yet",
        ShardState::Gap => "halted at a gap",
    };
    let checkpoint = match &row.checkpoint {
        Checkpoint::TrimHorizon => "its oldest record".to_owned(),
        Checkpoint::From(sequence) => format!("from {sequence}"),
        Checkpoint::Since(seconds) => format!("since {}", rfc3339(*seconds)),
        Checkpoint::After(sequence) => format!("after {sequence}"),
    };
    let written = format!("{} ago", time(shard.age_seconds));
    let trouble = row.trouble.as_deref().map_or_else(|| NOTHING.to_owned(), plain);
    [row.shard.to_string(), state.to_owned(), owner, checkpoint, written, trouble]
}

fn gap(gap: &GapRow) -> String {
    let after =
        gap.after.as_ref().map_or_else(|| "all before it was read".to_owned(), |at| format!("after {at}"));
    let before = gap.before.as_ref().map_or_else(String::new, |at| format!(", before {at}"));
    format!("gap: shard {}, {after}{before}, found at {}\n", gap.shard, rfc3339(gap.found_at))
}

fn totals(totals: &Totals) -> String {
    let count = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    let mut parts = vec![count(totals.workers, "worker")];
    let some = [(totals.workers_still, "not seen to move"), (totals.workers_draining, "handing over")];
    parts.extend(some.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    let workers = parts.join(", ");
    let mut parts = vec![count(totals.shards, "open shard")];
    let some = [
        (totals.shards_without_owner, "read by nobody"),
        (totals.shards_in_trouble, "in trouble"),
        (totals.shards_ended, "ended"),
    ];
    parts.extend(some.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    format!("{workers}; {}; {}", parts.join(", "), count(totals.gaps, "gap"))
}

/// So many seconds in the unit that says most.
fn time(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A text of elsewhere on one line, and without what moves a terminal's cursor.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
