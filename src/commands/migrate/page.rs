//! What people read of a plan: each shard, its lease, and what becomes of it.

use std::time::Duration;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ColumnConstraint, Table, Width};
use millstream_processor::poller::kcl::plan::{ShardPlan, Why};
use millstream_processor::poller::kcl::{Plan, StreamPlan};
use millstream_processor::poller::state::{Checkpoint, ShardState};
use millstream_projections::config::duration;
use millstream_projections::event::rfc3339;

/// What stands where there is nothing to say.
const NOTHING: &str = "–";
/// What the names of all shards begin with.
const SHARD: &str = "shardId-";
/// How wide a column is at most, its padding included: all fit a terminal. What is longer goes on in the next line.
const WIDTHS: [u16; 3] = [31, 25, 20];

/// All of it.
pub(super) fn page(plan: &Plan, lease_table: &str, wait: Duration, consumer: &str) -> String {
    let wait = duration::text(wait);
    let mut page =
        format!("lease table {lease_table}: {}, looked at for {wait}\n", count(plan.leases, "lease"));
    if !plan.held_by.is_empty() {
        let holders: Vec<String> = plan.held_by.iter().map(|owner| plain(owner)).collect();
        page.push_str(&format!("held by {}\n", holders.join(", ")));
    }
    for stream in &plan.streams {
        page.push_str(&format!(
            "\nsource {}, table {}, consumer {consumer}\n{}\n{}\n",
            stream.source,
            stream.table,
            shards(&stream.shards),
            totals(stream)
        ));
    }
    for (stream, leases) in &plan.left {
        page.push_str(&format!(
            "\n{} left where they are: {stream} is no stream that a source has now\n",
            count(*leases, "lease")
        ));
    }
    page.push('\n');
    page
}

/// What is said when all is written.
pub(super) fn written(consumer: &str) -> String {
    format!(
        "written. `millstream run --consumer {consumer}` goes on from here; the KCL application must not be started again\n"
    )
}

fn shards(shards: &[ShardPlan]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["shard", "lease", "becomes"]);
    for (column, width) in table.column_iter_mut().zip(WIDTHS) {
        column.set_constraint(ColumnConstraint::UpperBoundary(Width::Fixed(width)));
    }
    for shard in shards {
        let id = shard.row.shard.strip_prefix(SHARD).unwrap_or(&shard.row.shard);
        let lease = shard.lease.as_ref().map_or(NOTHING, |lease| lease.position.as_str());
        table.add_row([id, lease, fate(shard)]);
    }
    table.to_string()
}

/// In words that fit the column; docs/KCL.md explains them.
fn fate(shard: &ShardPlan) -> &'static str {
    match shard.why {
        Why::Done => "done",
        Why::Passed => "done: KCL is past",
        Why::Lost => "gap: it is gone",
        Why::Checkpoint => "read after that",
        Why::Oldest | Why::Unseen => "read whole",
        Why::Since => "read from a time",
    }
}

fn totals(stream: &StreamPlan) -> String {
    let open = stream.shards.iter().filter(|shard| shard.row.state == ShardState::Open).count();
    let ended = stream.shards.len() - open - stream.gaps.len();
    let mut text = format!("{} to read, {ended} done", count(open, "shard"));
    if !stream.gaps.is_empty() {
        text.push_str(&format!(", {}", count(stream.gaps.len(), "gap")));
    }
    if stream.present > 0 {
        text.push_str(&format!("; {} there already", count(stream.present, "row")));
    }
    let since = stream.shards.iter().find_map(|shard| match shard.row.checkpoint {
        Checkpoint::Since(at) => Some(at),
        Checkpoint::TrimHorizon | Checkpoint::From(_) | Checkpoint::After(_) => None,
    });
    if let Some(since) = since {
        text.push_str(&format!("\nread from a time: what was made since {}", rfc3339(since)));
    }
    text
}

/// A name that somebody else chose: no character of it moves the cursor.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn count(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}
