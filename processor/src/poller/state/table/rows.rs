//! The rows of the pollers' state as DynamoDB has them.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::request::KEEP_ENDED;
use crate::poller::acks::Acks;
use crate::poller::state::{Checkpoint, GapRow, Session, ShardRow, ShardState, WorkerRow};

/// A row in the SDK's types.
pub(super) type Item = HashMap<String, AttributeValue>;

/// The partition key: a consumer's workers, or one stream of it.
pub(super) const CONSUMER: &str = "consumer";
/// The sort key: the kind of the row, and its name.
pub(super) const ROW: &str = "row";
/// When DynamoDB's time to live may drop the row, in seconds since 1970.
pub(super) const EXPIRES: &str = "expires";

/// What the sort keys of workers begin with.
pub(super) const WORKER: &str = "worker/";
/// What the sort keys of shards begin with.
pub(super) const SHARD: &str = "shard/";
/// What the sort keys of gaps begin with.
pub(super) const GAP: &str = "gap/";

const TRIM_HORIZON: &str = "trim-horizon";
const FROM: &str = "from ";
const SINCE: &str = "since ";
const AFTER: &str = "after ";

/// What a stream's ARN has between the table's and the stream's label.
const STREAM: &str = "/stream/";

/// The sort keys of all streams of a table begin with this; the rest is the label, which is a time.
pub(super) fn streams_of(table: &str) -> String {
    format!("{table}{STREAM}")
}

/// The primary key of a row.
pub(super) fn key(place: &str, row: &str) -> Item {
    HashMap::from([(CONSUMER.to_owned(), text(place)), (ROW.to_owned(), text(row))])
}

/// The sort key of a worker.
pub(super) fn worker_row(session: &Session) -> String {
    format!("{WORKER}{session}")
}

/// The sort key of a shard.
pub(super) fn shard_row(shard: &str) -> String {
    format!("{SHARD}{shard}")
}

/// The sort key of a gap. A gap that is found again, since nothing after it was done, is the same one.
pub(super) fn gap_row(gap: &GapRow) -> String {
    // As numbers compare: padded to the most digits that there are.
    format!("{GAP}{}/{:0>40}", gap.shard, gap.after.as_deref().unwrap_or_default())
}

/// The whole row of a shard that is new.
pub(super) fn of_shard(place: &str, row: &ShardRow) -> Item {
    let mut item = key(place, &shard_row(&row.shard));
    let mut set = |name: &str, value| item.insert(name.to_owned(), value);
    set("state", text(state_text(row.state)));
    set("epoch", number(row.epoch));
    set("checkpoint", text(checkpoint_text(&row.checkpoint)));
    set("writtenAt", number(row.written_at));
    if let Some(parent) = &row.parent {
        set("parent", text(parent));
    }
    if let Some(owner) = &row.owner {
        set("owner", text(owner));
    }
    if !row.acks.is_empty() {
        set("acks", text(row.acks.to_text()));
    }
    if let Some(trouble) = &row.trouble {
        set("trouble", text(trouble));
    }
    if let Some(since) = row.behind_since {
        set("behindSince", number(since));
    }
    // As one that ended in our hands.
    if matches!(row.state, ShardState::Ended | ShardState::EndedNoChildren) {
        set(EXPIRES, number(row.written_at + KEEP_ENDED.as_secs()));
    }
    item
}

/// Reads a shard's row; the error says what is wrong with it.
pub(super) fn shard(item: &Item) -> Result<ShardRow, String> {
    let checkpoint = string(item, "checkpoint").ok_or("it has no `checkpoint`")?;
    Ok(ShardRow {
        shard: named(item, SHARD)?.into(),
        parent: string(item, "parent").map(Into::into),
        state: state(item).ok_or("its `state` is not one of ours")?,
        owner: string(item, "owner").map(|owner| Session(owner.into())),
        epoch: count(item, "epoch")?,
        checkpoint: checkpoint_of(checkpoint).ok_or_else(|| format!("its `checkpoint` is `{checkpoint}`"))?,
        acks: string(item, "acks").map(Acks::from_text).unwrap_or_default(),
        trouble: string(item, "trouble").map(str::to_owned),
        behind_since: item.contains_key("behindSince").then(|| count(item, "behindSince")).transpose()?,
        written_at: count(item, "writtenAt")?,
    })
}

/// Reads a worker's row; the error says what is wrong with it.
pub(super) fn worker(item: &Item) -> Result<WorkerRow, String> {
    let words = |name| string(item, name).unwrap_or_default().to_owned();
    Ok(WorkerRow {
        session: Session(named(item, WORKER)?.into()),
        heartbeat: count(item, "heartbeat")?,
        mail: count(item, "mail")?,
        ttl_ms: count(item, "ttl")?,
        draining: item.get("draining").and_then(|value| value.as_bool().ok()).copied().unwrap_or(false),
        host: words("host"),
        version: words("version"),
    })
}

/// Reads a stream's row.
pub(super) fn stream(item: &Item) -> Result<std::sync::Arc<str>, String> {
    string(item, ROW).map(Into::into).ok_or_else(|| "it has no key".to_owned())
}

/// Reads a gap's row; the error says what is wrong with it.
pub(super) fn gap(item: &Item) -> Result<GapRow, String> {
    let (shard, _) = named(item, GAP)?.rsplit_once('/').ok_or("its key names no shard")?;
    Ok(GapRow {
        shard: shard.into(),
        after: string(item, "after").map(str::to_owned),
        before: string(item, "before").map(str::to_owned),
        found_at: count(item, "foundAt")?,
    })
}

/// The sort key of a row, for people.
pub(super) fn name(item: &Item) -> &str {
    string(item, ROW).unwrap_or("?")
}

/// Where a shard stands, if its row says so.
pub(super) fn state(item: &Item) -> Option<ShardState> {
    let states = [ShardState::Open, ShardState::Ended, ShardState::EndedNoChildren, ShardState::Gap];
    let text = string(item, "state")?;
    states.into_iter().find(|state| state_text(*state) == text)
}

/// Whether this owner, or nobody, has the shard since this epoch.
pub(super) fn is_owned(item: &Item, by: Option<&Session>, since: u64) -> bool {
    string(item, "owner") == by.map(|by| &*by.0) && count(item, "epoch") == Ok(since)
}

pub(super) fn state_text(state: ShardState) -> &'static str {
    match state {
        ShardState::Open => "open",
        ShardState::Ended => "ended",
        ShardState::EndedNoChildren => "ended-no-children",
        ShardState::Gap => "gap",
    }
}

pub(super) fn checkpoint_text(checkpoint: &Checkpoint) -> String {
    match checkpoint {
        Checkpoint::TrimHorizon => TRIM_HORIZON.to_owned(),
        Checkpoint::From(sequence) => format!("{FROM}{sequence}"),
        Checkpoint::Since(seconds) => format!("{SINCE}{seconds}"),
        Checkpoint::After(sequence) => format!("{AFTER}{sequence}"),
    }
}

fn checkpoint_of(text: &str) -> Option<Checkpoint> {
    if let Some(sequence) = text.strip_prefix(AFTER) {
        return Some(Checkpoint::After(sequence.to_owned()));
    }
    if let Some(sequence) = text.strip_prefix(FROM) {
        return Some(Checkpoint::From(sequence.to_owned()));
    }
    match text.strip_prefix(SINCE) {
        Some(seconds) => seconds.parse().ok().map(Checkpoint::Since),
        None => (text == TRIM_HORIZON).then_some(Checkpoint::TrimHorizon),
    }
}

pub(super) fn text(value: impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

pub(super) fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn named<'a>(item: &'a Item, kind: &str) -> Result<&'a str, String> {
    string(item, ROW)
        .and_then(|row| row.strip_prefix(kind))
        .ok_or_else(|| format!("its key is not `{kind}…`"))
}

fn string<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

fn count(item: &Item, name: &str) -> Result<u64, String> {
    let count = item.get(name).and_then(|value| value.as_n().ok()?.parse().ok());
    count.ok_or_else(|| format!("it has no usable `{name}`"))
}
