//! The conditions and updates of each write, made without I/O. Every attribute `name` goes by `#name`: several of ours are
//! words of the expression language.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};

use super::rows::{self, Item, checkpoint_text, number, state_text, text};
use crate::outcome::{Fault, FaultKind};
use crate::poller::acks::Acks;
use crate::poller::state::{Checkpoint, Child, Claim, GapRow, Session, ShardRow, ShardState, WorkerRow};

const DAY: Duration = Duration::from_secs(86_400);
/// A stream lists an ended shard for a day; what is remembered for longer is never taken for a new one. All rows of a stream
/// are read at each look where something changed, so they stay no longer than is safe.
pub(super) const KEEP_ENDED: Duration = DAY.saturating_mul(2);
/// Long enough for whoever comes back from holidays.
const KEEP_GAPS: Duration = DAY.saturating_mul(30);
/// Every heartbeat moves it on: only a dead worker's row goes.
const KEEP_WORKERS: Duration = DAY;

/// There is no such row yet.
pub(super) const ABSENT: &str = "attribute_not_exists(#row)";
/// The shard is still this session's, and nobody had it in between.
const HELD: &str = "#owner = :owner AND #epoch = :epoch";

/// A worker has not moved since it was seen.
pub(super) const STANDS_STILL: &str = "#heartbeat = :heartbeat";

/// One conditional change of one row.
#[derive(Debug, Clone)]
pub(super) struct Change {
    key: Item,
    update: String,
    condition: String,
    values: Item,
}

impl Change {
    fn of(place: &str, row: &str) -> Self {
        Self {
            key: rows::key(place, row),
            update: String::new(),
            condition: String::new(),
            values: HashMap::new(),
        }
    }

    fn on(self, condition: &str) -> Self {
        Self { condition: condition.to_owned(), ..self }
    }

    fn doing(self, update: &str) -> Self {
        Self { update: update.to_owned(), ..self }
    }

    fn with(mut self, name: &str, value: AttributeValue) -> Self {
        self.values.insert(format!(":{name}"), value);
        self
    }

    /// The condition that a claim still holds.
    fn held(self, claim: &Claim) -> Self {
        self.on(HELD).with("owner", text(&claim.owner)).with("epoch", number(claim.epoch))
    }

    /// The names that the expressions speak of: no other may be given.
    fn names(&self) -> HashMap<String, String> {
        let name = |rest: &str| {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
            (format!("#{}", &rest[..end]), rest[..end].to_owned())
        };
        let expressions = [&self.update, &self.condition];
        expressions.into_iter().flat_map(|expression| expression.split('#').skip(1).map(name)).collect()
    }

    fn some_values(&self) -> Option<Item> {
        (!self.values.is_empty()).then(|| self.values.clone())
    }

    /// As a request of its own.
    pub(super) fn update(self, client: &Client, table: &str) -> UpdateItemFluentBuilder {
        client
            .update_item()
            .table_name(table)
            .set_expression_attribute_names(Some(self.names()))
            .set_expression_attribute_values(self.some_values())
            .set_key(Some(self.key))
            .update_expression(self.update)
            .condition_expression(self.condition)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }

    /// As a part of a transaction.
    pub(super) fn action(self, table: &str) -> Result<TransactWriteItem, Fault> {
        let update = Update::builder()
            .table_name(table)
            .set_expression_attribute_names(Some(self.names()))
            .set_expression_attribute_values(self.some_values())
            .set_key(Some(self.key))
            .update_expression(self.update)
            .set_condition_expression((!self.condition.is_empty()).then_some(self.condition))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build();
        Ok(TransactWriteItem::builder().update(built(update)?).build())
    }

    /// As a part of a transaction that changes nothing.
    pub(super) fn check(self, table: &str) -> Result<TransactWriteItem, Fault> {
        let check = ConditionCheck::builder()
            .table_name(table)
            .set_expression_attribute_names(Some(self.names()))
            .set_expression_attribute_values(self.some_values())
            .set_key(Some(self.key))
            .condition_expression(self.condition)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build();
        Ok(TransactWriteItem::builder().condition_check(built(check)?).build())
    }
}

/// A worker's heartbeat. Its mail is others' to write, and a heartbeat that was on its way for long sets nothing back.
pub(super) fn beat(place: String, worker: &WorkerRow, now: u64) -> Change {
    Change::of(&place, &rows::worker_row(&worker.session))
        .doing(
            "SET #heartbeat = :heartbeat, #mail = if_not_exists(#mail, :none), #ttl = :ttl, #draining = :draining, \
             #host = :host, #version = :version, #expires = :expires",
        )
        .on("attribute_not_exists(#heartbeat) OR #heartbeat <= :heartbeat")
        .with("heartbeat", number(worker.heartbeat))
        .with("none", number(0))
        .with("ttl", number(worker.ttl_ms))
        .with("draining", AttributeValue::Bool(worker.draining))
        .with("host", text(&worker.host))
        .with("version", text(&worker.version))
        .with("expires", expires(now, KEEP_WORKERS))
}

/// A worker hears that a shard was handed to it; it has to be there, and to stay.
pub(super) fn mail(place: String, to: &Session) -> Change {
    Change::of(&place, &rows::worker_row(to))
        .doing("ADD #mail :one")
        .on("attribute_exists(#heartbeat) AND #draining = :no")
        .with("one", number(1))
        .with("no", AttributeValue::Bool(false))
}

/// A worker's heartbeat stands where it stood when it was seen dead, or its row is gone. Where nobody saw it dead, it has
/// to be gone.
pub(super) fn stands_still(place: String, owner: &Session, dead: Option<&WorkerRow>) -> Change {
    let change = Change::of(&place, &rows::worker_row(owner));
    match dead {
        None => change.on("attribute_not_exists(#heartbeat)"),
        Some(dead) => change
            .on(&format!("attribute_not_exists(#heartbeat) OR {STANDS_STILL}"))
            .with("heartbeat", number(dead.heartbeat)),
    }
}

/// A shard goes to another owner, if its row is as it was seen.
pub(super) fn claim(place: String, seen: &ShardRow, by: &Session, now: u64) -> Change {
    let set = match seen.state {
        // Someone has decided that what is left is read.
        ShardState::Gap => "SET #owner = :by, #epoch = :next, #writtenAt = :now, #state = :open",
        ShardState::Open | ShardState::Ended | ShardState::EndedNoChildren => {
            "SET #owner = :by, #epoch = :next, #writtenAt = :now"
        }
    };
    let mut change = shard(&place, &seen.shard, now)
        .doing(set)
        .with("checkpoint", text(checkpoint_text(&seen.checkpoint)))
        .with("by", text(by))
        .with("next", number(seen.epoch + 1))
        .with("epoch", number(seen.epoch))
        .with("state", text(state_text(seen.state)));
    if seen.state == ShardState::Gap {
        change = change.with("open", text(state_text(ShardState::Open)));
    }
    // Who was taken for dead may have stored a checkpoint since it was read.
    let as_seen = "#epoch = :epoch AND #state = :state AND #checkpoint = :checkpoint";
    match &seen.owner {
        None => change.on(&format!("{as_seen} AND attribute_not_exists(#owner)")),
        Some(owner) => change.on(&format!("{as_seen} AND #owner = :owner")).with("owner", text(owner)),
    }
}

/// A shard goes from its owner to another, or to nobody; not one that has ended.
pub(super) fn hand_over(place: String, claim: &Claim, to: Option<&Session>, now: u64) -> Change {
    let change = shard(&place, &claim.shard, now)
        .held(claim)
        .on(&format!("{HELD} AND #state <> :ended"))
        .with("ended", text(state_text(ShardState::Ended)))
        .with("next", number(claim.epoch + 1));
    match to {
        None => change.doing("SET #epoch = :next, #writtenAt = :now REMOVE #owner"),
        Some(to) => change.doing("SET #owner = :to, #epoch = :next, #writtenAt = :now").with("to", text(to)),
    }
}

/// How far a shard is done.
pub(super) fn checkpoint(
    place: String,
    claim: &Claim,
    checkpoint: &Checkpoint,
    acks: &Acks,
    trouble: Option<&str>,
    behind_since: Option<u64>,
    now: u64,
) -> Change {
    let mut change =
        shard(&place, &claim.shard, now).held(claim).with("checkpoint", text(checkpoint_text(checkpoint)));
    let (mut sets, mut removes) = ("SET #checkpoint = :checkpoint, #writtenAt = :now".to_owned(), Vec::new());
    let acks = (!acks.is_empty()).then(|| text(acks.to_text()));
    let may_go = [("acks", acks), ("trouble", trouble.map(text)), ("behindSince", behind_since.map(number))];
    for (name, value) in may_go {
        match value {
            Some(value) => {
                sets.push_str(&format!(", #{name} = :{name}"));
                change = change.with(name, value);
            }
            None => removes.push(format!("#{name}")),
        }
    }
    if !removes.is_empty() {
        sets.push_str(&format!(" REMOVE {}", removes.join(", ")));
    }
    change.doing(&sets)
}

/// A shard is read to its end. One that has ended already ends again: then only children are new.
pub(super) fn end(place: String, claim: &Claim, now: u64) -> Change {
    ended(&place, claim, ShardState::Ended, now)
}

/// A shard is read to its end, and its children are not known; not one whose children are.
pub(super) fn end_without_children(place: String, claim: &Claim, now: u64) -> Change {
    ended(&place, claim, ShardState::EndedNoChildren, now)
        .on(&format!("{HELD} AND #state <> :ended"))
        .with("ended", text(state_text(ShardState::Ended)))
}

fn ended(place: &str, claim: &Claim, state: ShardState, now: u64) -> Change {
    shard(place, &claim.shard, now)
        .held(claim)
        .doing(
            "SET #state = :state, #writtenAt = :now, #expires = if_not_exists(#expires, :expires) \
             REMOVE #trouble, #behindSince",
        )
        .with("state", text(state_text(state)))
        .with("expires", expires(now, KEEP_ENDED))
}

/// A child comes with its parent's end, and has the same owner. If it is known and nobody's it gets that owner, who need not
/// wait for the next look of another; one that is done or stands still stays so.
pub(super) fn child(place: &str, claim: &Claim, child: &Child, now: u64) -> Change {
    shard(place, &child.shard, now)
        .doing(
            "SET #owner = if_not_exists(#owner, :owner), #epoch = if_not_exists(#epoch, :first), \
             #state = if_not_exists(#state, :open), #parent = if_not_exists(#parent, :parent), \
             #checkpoint = if_not_exists(#checkpoint, :begins), #writtenAt = if_not_exists(#writtenAt, :now)",
        )
        .on("attribute_not_exists(#state) OR #state = :open")
        .with("owner", text(&claim.owner))
        .with("first", number(1))
        .with("open", text(state_text(ShardState::Open)))
        .with("parent", text(&claim.shard))
        .with("begins", text(checkpoint_text(&child.begins)))
}

/// A shard stands still from here on, and is nobody's.
pub(super) fn halt(place: String, claim: &Claim, now: u64) -> Change {
    shard(&place, &claim.shard, now)
        .held(claim)
        .doing("SET #state = :state, #epoch = :next, #writtenAt = :now REMOVE #owner")
        .with("state", text(state_text(ShardState::Gap)))
        .with("next", number(claim.epoch + 1))
}

/// The claim still holds.
pub(super) fn is_held(place: String, claim: &Claim) -> Change {
    Change::of(&place, &rows::shard_row(&claim.shard)).held(claim)
}

/// Something was lost. Found again, it was still lost when it was found first.
pub(super) fn gap(place: String, gap: &GapRow, now: u64) -> Change {
    let change = Change::of(&place, &rows::gap_row(gap))
        .with("foundAt", number(gap.found_at))
        .with("expires", expires(now, KEEP_GAPS));
    let mut sets = "SET #foundAt = if_not_exists(#foundAt, :foundAt), #expires = :expires".to_owned();
    let ends = [("after", &gap.after), ("before", &gap.before)];
    ends.into_iter()
        .fold(change, |change, (name, end)| match end {
            None => change,
            Some(end) => {
                sets.push_str(&format!(", #{name} = :{name}"));
                change.with(name, text(end))
            }
        })
        .doing(&sets)
}

fn shard(place: &str, shard: &str, now: u64) -> Change {
    Change::of(place, &rows::shard_row(shard)).with("now", number(now))
}

fn expires(now: u64, keep: Duration) -> AttributeValue {
    number(now + keep.as_secs())
}

fn built<T>(built: Result<T, BuildError>) -> Result<T, Fault> {
    built.map_err(|error| Fault::from_error(FaultKind::Rejected, "request cannot be built", &error))
}
