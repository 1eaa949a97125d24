//! The page that people read: it fits a terminal of 80 columns, and shows what says most first. `--json` has all of it whole.

use std::cmp::Reverse;
use std::collections::HashMap;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ColumnConstraint, Table, Width};
use millstream_processor::poller::state::{Checkpoint, GapRow, Session, ShardState};
use millstream_projections::event::rfc3339;

use super::letters::LettersView;
use super::queues;
use super::view::{ShardView, StreamView, Totals, View, WorkerView};

/// What stands where there is nothing to say.
const NOTHING: &str = "–";
/// How many shards of a stream are shown, unless all were asked for.
const SHOWN: usize = 20;
/// How wide a column of names is at most; what is longer goes on in the next line.
const NAMES: u16 = 28;
/// What the names of all shards begin with.
const SHARD: &str = "shardId-";

/// All of it; of the shards all, or those that say most.
pub(super) fn page(view: &View, all: bool) -> String {
    let mut page = format!("consumer {}\n{}\n", view.consumer, workers(&view.workers));
    let beats: HashMap<&Session, &WorkerView> =
        view.workers.iter().map(|worker| (&worker.row.session, worker)).collect();
    for stream in &view.streams {
        page.push_str(&format!("\nsource {}, table {}\n", stream.source, stream.table));
        page.push_str(&shards(stream, &beats, all));
        stream.gaps.iter().for_each(|lost| page.push_str(&gap(lost)));
    }
    page.push_str(&queues::page(&view.queues));
    page.push_str(&format!("\n{}\n{}\n", letters(&view.letters), totals(&view.totals)));
    page
}

fn workers(workers: &[WorkerView]) -> String {
    if workers.is_empty() {
        return "no worker is there".to_owned();
    }
    let mut table = table(["worker", "heartbeat", "shards", "version"], &[2]);
    for worker in workers {
        let row = &worker.row;
        let beat = match (worker.heartbeat_moved, row.draining) {
            (true, true) => "moves, hands over".to_owned(),
            (true, false) => "moves".to_owned(),
            (false, _) => format!("stands still for {}", time(worker.still_seconds)),
        };
        table.add_row([plain(&row.host), beat, worker.shards.to_string(), plain(&row.version)]);
    }
    table.to_string()
}

fn shards(stream: &StreamView, beats: &HashMap<&Session, &WorkerView>, all: bool) -> String {
    if let Some(fault) = &stream.fault {
        return format!("cannot be told: {}\n", plain(fault));
    }
    let (ended, mut open): (Vec<_>, Vec<_>) = stream.shards.iter().partition(|shard| shard.has_ended());
    let note = match ended.len() {
        0 => String::new(),
        1 => "1 shard before them is read to its end\n".to_owned(),
        count => format!("{count} shards before them are read to their end\n"),
    };
    if open.is_empty() {
        return if note.is_empty() { "no worker has found its shards yet\n".to_owned() } else { note };
    }
    // What has to be mended, what nobody reads, and what is behind.
    open.sort_by_key(|shard| (!shard.is_in_trouble(), shard.row.owner.is_some(), Reverse(shard.lag_seconds)));
    let (shown, hidden) = open.split_at(if all { open.len() } else { open.len().min(SHOWN) });
    let mut table = table(["shard", "lag", "checkpoint", "read by"], &[1]);
    for shard in shown {
        table.add_row(cells(shard, beats));
    }
    let mut text = format!("{table}\n");
    if let (Some(first), Some(last)) = (hidden.first(), hidden.last()) {
        let (most, least) = (lag(first), lag(last));
        let lag = if most == least { most } else { format!("{least} to {most}") };
        text.push_str(&format!("and {} more, with a lag of {lag}: --all shows them\n", hidden.len()));
    }
    text.push_str(&note);
    shown.iter().filter_map(|shard| word(shard)).for_each(|word| text.push_str(&word));
    text
}

fn cells(shard: &ShardView, beats: &HashMap<&Session, &WorkerView>) -> [String; 4] {
    let row = &shard.row;
    let owner = row.owner.as_ref().map_or_else(
        || NOTHING.to_owned(),
        |owner| match beats.get(owner) {
            None => format!("{owner} (gone)"),
            Some(worker) if worker.heartbeat_moved => plain(&worker.row.host),
            Some(worker) => format!("{} (stands still)", plain(&worker.row.host)),
        },
    );
    let checkpoint = match &row.checkpoint {
        Checkpoint::TrimHorizon | Checkpoint::From(_) | Checkpoint::Since(_) => "none yet".to_owned(),
        Checkpoint::After(_) => format!("{} ago", time(shard.age_seconds)),
    };
    [short(&row.shard).to_owned(), lag(shard), checkpoint, owner]
}

fn lag(shard: &ShardView) -> String {
    shard.lag_seconds.map_or_else(|| NOTHING.to_owned(), time)
}

/// What there is to say of a shard beside the figures.
fn word(shard: &ShardView) -> Option<String> {
    let state = match (&shard.row.state, &shard.row.checkpoint) {
        (ShardState::Gap, _) => Some("stands still at a gap, until an operator decides".to_owned()),
        (ShardState::EndedNoChildren, _) => Some("has ended, and its children are not listed yet".to_owned()),
        (ShardState::Open, Checkpoint::Since(at)) => Some(format!("begins with {}", rfc3339(*at))),
        (ShardState::Open | ShardState::Ended, _) => None,
    };
    let words: Vec<String> = state.into_iter().chain(shard.row.trouble.as_deref().map(plain)).collect();
    (!words.is_empty()).then(|| format!("shard {}: {}\n", short(&shard.row.shard), words.join("; ")))
}

fn gap(gap: &GapRow) -> String {
    let after =
        gap.after.as_ref().map_or_else(|| "all before it was read".to_owned(), |at| format!("after {at}"));
    let before = gap.before.as_ref().map_or_else(String::new, |at| format!(", before {at}"));
    format!("gap: shard {}, {after}{before}, found at {}\n", short(&gap.shard), rfc3339(gap.found_at))
}

fn letters(letters: &LettersView) -> String {
    let place = format!("letters in {}", plain(&letters.store));
    if let Some(fault) = &letters.fault {
        return format!("{place}: cannot be told: {}\n", plain(fault));
    }
    if let Some(messages) = letters.messages {
        return format!("{place}: about {messages} messages; `millstream replay list` counts the letters\n");
    }
    let mut some = letters.projections.iter().filter(|it| it.open + it.held > 0).peekable();
    if some.peek().is_none() {
        return format!("{place}: none waits\n");
    }
    let mut table = table(["projection", "open", "held", "the oldest waits for"], &[1, 2]);
    for count in some {
        let oldest = count.oldest_seconds.map_or_else(|| NOTHING.to_owned(), time);
        table.add_row([plain(&count.projection), count.open.to_string(), count.held.to_string(), oldest]);
    }
    format!("{place}\n{table}\n")
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
    parts.extend(totals.lag_seconds.map(|seconds| format!("lag {} at most", time(seconds))));
    let mut words = vec![workers, parts.join(", ")];
    words.extend(totals.letters.map(|letters| match letters {
        1 => "1 letter".to_owned(),
        letters => format!("{letters} letters"),
    }));
    words.push(count(totals.gaps, "gap"));
    words.join("; ")
}

/// A table whose first and last columns are names and words, and of which some are numbers.
fn table(header: [&str; 4], numbers: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(header);
    for (place, column) in table.column_iter_mut().enumerate() {
        column.set_constraint(ColumnConstraint::UpperBoundary(Width::Fixed(NAMES)));
        if numbers.contains(&place) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A shard's name without what all have in common.
fn short(shard: &str) -> &str {
    let name = shard.strip_prefix(SHARD).unwrap_or(shard);
    let digits = name.find(|c: char| c != '0').unwrap_or(0);
    name.get(digits..).filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())).unwrap_or(name)
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
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;
