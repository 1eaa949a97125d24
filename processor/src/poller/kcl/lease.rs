//! A row of a lease table, as every version of the Kinesis Client Library writes it.
//!
//! KCL 1, 2 and 3 agree on the attributes that are read here; what else a row has (`ownerSwitchesSinceCheckpoint`, the hash
//! range, `throughputKBps`, a pending checkpoint, …) says nothing of what is done. From KCL 3.4 on a row names its `entityType`,
//! and from 3.5 on a table can hold more than leases.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use millstream_projections::version::SequenceNumber;
use serde::{Serialize, Serializer};

/// A row in the SDK's types.
pub(super) type Item = HashMap<String, AttributeValue>;

/// The partition key.
pub(super) const KEY: &str = "leaseKey";
/// What a row is that is no lease; leases of older versions do not have it.
const ENTITY: &str = "entityType";
const LEASE: &str = "LEASE";
const WORKER: &str = "WORKER_METRIC_STATS";

/// How far a shard is done, as its lease says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Position {
    /// `TRIM_HORIZON`: nothing is; it is read from its oldest record on.
    TrimHorizon,
    /// `LATEST`: nothing is; it is read from wherever its end was when a worker took it.
    Latest,
    /// `AT_TIMESTAMP`: nothing is; it is read from a time on that only the application's settings know.
    AtTimestamp,
    /// All records up to this sequence number are.
    After(Arc<str>),
    /// `SHARD_END`: everything is.
    ShardEnd,
}

impl Position {
    /// As the row has it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::TrimHorizon => "TRIM_HORIZON",
            Self::Latest => "LATEST",
            Self::AtTimestamp => "AT_TIMESTAMP",
            Self::After(sequence) => sequence,
            Self::ShardEnd => "SHARD_END",
        }
    }

    fn of(text: &str, sub: u64) -> Result<Self, String> {
        match text {
            "TRIM_HORIZON" => Ok(Self::TrimHorizon),
            "LATEST" => Ok(Self::Latest),
            "AT_TIMESTAMP" => Ok(Self::AtTimestamp),
            "SHARD_END" => Ok(Self::ShardEnd),
            sequence if SequenceNumber::new(sequence).is_err() => {
                Err(format!("its `checkpoint` is `{text}`: no sequence number of a DynamoDB stream"))
            }
            _ if sub > 0 => {
                Err("its `checkpoint` is inside of an aggregated record: no DynamoDB stream has one"
                    .to_owned())
            }
            sequence => Ok(Self::After(sequence.into())),
        }
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A lease: one shard of one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// Its key in the table.
    pub key: Arc<str>,
    /// The stream that its key names; an application of one stream leaves that out.
    pub stream: Option<Arc<str>>,
    /// The shard.
    pub shard: Arc<str>,
    /// The shard that it follows.
    pub parent: Option<Arc<str>>,
    /// Who holds it, or held it when the application stopped.
    pub owner: Option<Arc<str>>,
    /// How far it is done.
    pub position: Position,
}

/// What a row is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entity {
    /// A lease.
    Lease(Lease),
    /// Something else that KCL keeps in the same table: figures of its workers, its leader, its own migrations.
    Other,
}

/// Reads a row; the error says what is wrong with it.
pub(super) fn read(item: &Item) -> Result<Entity, String> {
    // As KCL itself does: a kind of row that is new to us is no lease either.
    if string(item, ENTITY).is_some_and(|entity| entity != LEASE) {
        return Ok(Entity::Other);
    }
    let key = string(item, KEY).ok_or("it has no `leaseKey`: this is no lease table of KCL")?;
    if !item.contains_key("leaseCounter") {
        return Err("it has no `leaseCounter`: this is no lease of KCL".to_owned());
    }
    let checkpoint = string(item, "checkpoint").ok_or("it has no `checkpoint`")?;
    let sub = item.get("checkpointSubSequenceNumber").and_then(|value| value.as_n().ok());
    let sub = sub.map_or(Some(0), |sub| sub.parse().ok());
    let sub = sub.ok_or("its `checkpointSubSequenceNumber` is no whole number")?;
    let (stream, shard) = split(key)?;
    Ok(Entity::Lease(Lease {
        key: key.into(),
        stream: stream.map(Into::into),
        shard: shard.into(),
        parent: parent(item)?,
        owner: string(item, "leaseOwner").map(Into::into),
        position: Position::of(checkpoint, sub)?,
    }))
}

/// Who is at work where a row moves: who holds the lease, or still works on it, or whose figures they are.
pub(super) fn workers(item: &Item) -> Vec<Arc<str>> {
    if string(item, ENTITY) == Some(WORKER) {
        return string(item, KEY).map(Into::into).into_iter().collect();
    }
    // Where a lease is being handed over, its former owner still works on it.
    let named = ["leaseOwner", "checkpointOwner"].into_iter().filter_map(|name| string(item, name));
    named.map(Into::into).collect()
}

/// The key of a row, for people.
pub(super) fn key(item: &Item) -> &str {
    string(item, KEY).unwrap_or("?")
}

/// `shard`, or `account:stream:epoch:shard` in an application of several streams: the stream and the shard.
fn split(key: &str) -> Result<(Option<&str>, &str), String> {
    match (key.rsplit_once(':'), key.split(':').count()) {
        (None, _) => Ok((None, key)),
        (Some((stream, shard)), 4) => Ok((Some(stream), shard)),
        (Some(_), _) => {
            Err("its key is neither `<shard>` nor `<account>:<stream>:<epoch>:<shard>`".to_owned())
        }
    }
}

fn parent(item: &Item) -> Result<Option<Arc<str>>, String> {
    let Some(parents) = item.get("parentShardId") else { return Ok(None) };
    match parents.as_ss().map(Vec::as_slice) {
        Ok([parent]) => Ok(Some(parent.as_str().into())),
        Ok(_) => Err("it has more than one parent: no shard of a DynamoDB stream has".to_owned()),
        Err(_) => Err("its `parentShardId` is no set of texts".to_owned()),
    }
}

fn string<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

/// How an application of several streams names a stream of DynamoDB's in its lease keys: the streams adapter makes
/// `<account>:<region>$<account>$<table>$<label>:1` of an ARN, with `_` for each `:` of the label.
pub(super) fn stream_name(arn: &str) -> Option<String> {
    let mut parts = arn.splitn(6, ':').skip(3);
    let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
    let (table, label) = resource.strip_prefix("table/")?.split_once("/stream/")?;
    Some(format!("{account}:{region}${account}${table}${}:1", label.replace(':', "_")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: &str = "shardId-00000001414576573621-f55eea83";

    fn text(value: &str) -> AttributeValue {
        AttributeValue::S(value.to_owned())
    }

    fn lease(change: impl FnOnce(&mut Item)) -> Result<Entity, String> {
        let mut item = Item::from([
            (KEY.to_owned(), text(SHARD)),
            ("leaseCounter".to_owned(), AttributeValue::N("41".to_owned())),
            ("checkpoint".to_owned(), text("100000000003498069978")),
        ]);
        change(&mut item);
        read(&item)
    }

    fn set(name: &str, value: AttributeValue) -> impl FnOnce(&mut Item) {
        move |item| drop(item.insert(name.to_owned(), value))
    }

    #[track_caller]
    fn refused(change: impl FnOnce(&mut Item), because: &str) {
        let why = lease(change).unwrap_err();
        assert!(why.contains(because), "{why}");
    }

    #[test]
    fn sentinels_and_numbers_are_told_apart() {
        for (checkpoint, expected) in [
            ("TRIM_HORIZON", Position::TrimHorizon),
            ("LATEST", Position::Latest),
            ("AT_TIMESTAMP", Position::AtTimestamp),
            ("SHARD_END", Position::ShardEnd),
            ("000000000100000000003498069978", Position::After("000000000100000000003498069978".into())),
        ] {
            let Ok(Entity::Lease(lease)) = lease(set("checkpoint", text(checkpoint))) else {
                panic!("{checkpoint} is not read")
            };
            assert_eq!((lease.position.as_str(), &lease.position), (checkpoint, &expected));
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        refused(|item| drop(item.remove(KEY)), "no `leaseKey`");
        refused(|item| drop(item.remove("leaseCounter")), "no `leaseCounter`");
        refused(|item| drop(item.remove("checkpoint")), "no `checkpoint`");
        for wrong in ["", "latest", "12a", "-1", "49590338271490256608559692538361571095921575989136588898"] {
            refused(set("checkpoint", text(wrong)), "no sequence number of a DynamoDB stream");
        }
        refused(set("checkpointSubSequenceNumber", AttributeValue::N("3".to_owned())), "aggregated");
        refused(set("checkpointSubSequenceNumber", AttributeValue::N("x".to_owned())), "no whole number");
        let two = AttributeValue::Ss(vec!["a".to_owned(), "b".to_owned()]);
        refused(set("parentShardId", two), "more than one parent");
        refused(set("parentShardId", text("a")), "no set of texts");
        refused(set(KEY, text("a:b")), "its key is neither");
    }

    #[test]
    fn other_rows_of_the_table_are_no_leases() {
        for entity in
            ["WORKER_METRIC_STATS", "LEADER", "STREAM", "CLIENT_VERSION_MIGRATION", "TABLE_MIGRATION", "NEW"]
        {
            let row = Item::from([(KEY.to_owned(), text("w")), (ENTITY.to_owned(), text(entity))]);
            assert_eq!(read(&row), Ok(Entity::Other), "{entity}");
        }
        assert!(matches!(lease(set(ENTITY, text(LEASE))), Ok(Entity::Lease(_))));
    }

    #[test]
    fn a_stream_is_named_as_the_adapter_names_it() {
        let arn = "arn:aws:dynamodb:us-west-2:111122223333:table/Music_V2.a-b/stream/2015-05-11T21:21:33.291";
        let name = "111122223333:us-west-2$111122223333$Music_V2.a-b$2015-05-11T21_21_33.291:1";
        assert_eq!(stream_name(arn).as_deref(), Some(name));
        assert_eq!(split(&format!("{name}:{SHARD}")), Ok((Some(name), SHARD)));
        assert_eq!(stream_name("arn:aws:kinesis:us-west-2:111122223333:stream/orders"), None);
    }
}
