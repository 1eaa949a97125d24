//! Streams as AWS keeps them, on top of dynoxide's one endless shard: generations, shards, trimming.
//!
//! dynoxide keeps the records of a table in one list for ever. What it does not do like AWS is mended here:
//! - switching a stream off and on gives a new ARN whose label is later, and the old stream stays readable,
//!   `DISABLED`, to its end (dynoxide goes on with the old records under the new label);
//! - labels are timestamps like `2025-06-15T15:06:40.000` and ARNs name the Region (`dynoxide` otherwise);
//! - an open shard has no `EndingSequenceNumber`; shards roll over, split and are trimmed when a test says so;
//! - a write that changed nothing leaves no record (dynoxide writes a MODIFY). Only a stream with both images
//!   shows that, so with another view such a record stays;
//! - the identity of a TTL delete is spelled `Type` and `PrincipalId`.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use dynoxide::Database;
use dynoxide::actions::get_shard_iterator::{decode_shard_iterator, encode_shard_iterator};
use dynoxide::storage_backend::ManualClock;
use serde_json::{Value, json};

use crate::connector::{ACCOUNT, REGION};
use crate::engine::Refused;
use crate::names::{number_of, position_of, public_label, table_of_arn, unwrap_iterator, wrap_iterator};

/// The streams of every table, past and present.
#[derive(Clone)]
pub(crate) struct Lineage {
    clock: ManualClock,
    streams: Arc<Mutex<HashMap<String, Vec<Stream>>>>,
}

/// One generation of a table's stream: from switched on to switched off.
struct Stream {
    label: String,
    view: Value,
    created: Value,
    enabled: bool,
    shards: Vec<Shard>,
    /// Records up to this position are older than 24 hours.
    trimmed: i64,
}

/// A shard holds the records after `after`, up to `until`, of the keys whose hash is in its range.
#[derive(Clone)]
struct Shard {
    id: String,
    parent: Option<String>,
    after: i64,
    until: Option<i64>,
    hashes: (u64, u64),
}

impl Lineage {
    pub(crate) fn new(clock: ManualClock) -> Self {
        Self { clock, streams: Arc::default() }
    }

    /// Closes the current stream at its last record, before dynoxide forgets where that was.
    pub(crate) fn before_stream_change(&self, database: &Database, body: &Value) -> Result<(), Refused> {
        let table = body["TableName"].as_str().unwrap_or_default();
        let turns_on = body["StreamSpecification"]["StreamEnabled"] == true;
        let mut streams = self.lock();
        let current = streams.get_mut(table).and_then(|all| all.last_mut()).filter(|it| it.enabled);
        match current {
            Some(_) if turns_on => {
                let message = format!("Table already has an enabled stream: TableName: {table}");
                return Err(Refused::new("ValidationException", &message));
            }
            Some(stream) => {
                let end = last_position(database, table);
                stream.enabled = false;
                stream.shards.iter_mut().filter(|it| it.until.is_none()).for_each(|it| it.until = Some(end));
            }
            None => {}
        }
        // The label is the time: a stream switched on in the same moment would have the old one's ARN.
        self.clock.tick(Duration::from_millis(1));
        Ok(())
    }

    /// Notes the stream that a table has been given.
    pub(crate) fn after_table_change(&self, database: &Database, description: &Value) {
        let (Some(table), Some(label)) =
            (description["TableName"].as_str(), description["LatestStreamLabel"].as_str())
        else {
            return;
        };
        if description["StreamSpecification"]["StreamEnabled"] != true {
            return;
        }
        let mut streams = self.lock();
        let all = streams.entry(table.to_owned()).or_default();
        let label = public_label(label);
        if all.last().is_some_and(|it| it.label == label) {
            return;
        }
        // A table that was deleted and made again still has the old records in dynoxide.
        let after = all.last().and_then(Stream::end).unwrap_or_else(|| last_position(database, table));
        let id = shard_id(all.len(), 0);
        all.push(Stream {
            label,
            view: description["StreamSpecification"]["StreamViewType"].clone(),
            created: description["CreationDateTime"].clone(),
            enabled: true,
            shards: vec![Shard { id, parent: None, after, until: None, hashes: (0, u64::MAX) }],
            trimmed: 0,
        });
    }

    pub(crate) fn after_delete(&self, table: &str) {
        self.lock().remove(table);
    }

    /// Closes every open shard of the current stream; each gets `children` children that share its keys.
    pub(crate) fn roll(&self, database: &Database, table: &str, children: u64) {
        let end = last_position(database, table);
        let mut streams = self.lock();
        let all = streams.get_mut(table).unwrap_or_else(|| panic!("{table} has no stream"));
        let generation = all.len() - 1;
        let stream = all.last_mut().expect("a table here has at least one stream");
        let open: Vec<usize> =
            (0..stream.shards.len()).filter(|it| stream.shards[*it].until.is_none()).collect();
        for index in open {
            stream.shards[index].until = Some(end);
            let parent = stream.shards[index].clone();
            let share = (parent.hashes.1 - parent.hashes.0) / children;
            for child in 0..children {
                let low = parent.hashes.0 + child * share + child.min(1);
                let high = if child + 1 == children {
                    parent.hashes.1
                } else {
                    parent.hashes.0 + (child + 1) * share
                };
                stream.shards.push(Shard {
                    id: shard_id(generation, stream.shards.len()),
                    parent: Some(parent.id.clone()),
                    after: end,
                    until: None,
                    hashes: (low, high),
                });
            }
        }
    }

    /// Makes every record so far older than 24 hours.
    pub(crate) fn trim(&self, database: &Database, table: &str) {
        let end = last_position(database, table);
        for stream in self.lock().get_mut(table).into_iter().flatten() {
            stream.trimmed = end;
        }
    }

    /// The streams of a table that have records left, or could have.
    pub(crate) fn list(&self, body: &Value) -> Value {
        let streams = self.lock();
        let table = body["TableName"].as_str().unwrap_or_default();
        let all = streams.get(table).map_or(&[][..], |all| all);
        let there = all.iter().filter(|it| it.enabled || it.end().is_none_or(|end| end > it.trimmed));
        let stream = |it: &Stream| {
            let arn = format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}/stream/{}", it.label);
            json!({ "StreamArn": arn, "StreamLabel": it.label, "TableName": table })
        };
        json!({ "Streams": there.map(stream).collect::<Vec<_>>() })
    }

    pub(crate) fn describe(&self, body: &Value) -> Result<Value, Refused> {
        let streams = self.lock();
        let (table, stream) = find(&streams, body)?;
        let filter = &body["ShardFilter"];
        let from = body["ExclusiveStartShardId"].as_str();
        let limit = body["Limit"].as_u64().map_or(100, |it| it.clamp(1, 100) as usize);
        let listed: Vec<&Shard> = stream
            .shards
            .iter()
            .filter(|it| it.until.is_none_or(|until| until > stream.trimmed || until == it.after))
            .filter(|it| {
                filter["Type"] != "CHILD_SHARDS" || it.parent.as_deref() == filter["ShardId"].as_str()
            })
            .skip_while(|it| from.is_some_and(|from| it.id.as_str() <= from))
            .collect();
        let last = listed.get(limit - 1).filter(|_| listed.len() > limit).map(|it| it.id.clone());
        let shards: Vec<Value> = listed.iter().take(limit).map(|it| it.describe()).collect();
        let mut description = json!({
            "StreamArn": body["StreamArn"],
            "StreamLabel": stream.label,
            "StreamStatus": if stream.enabled { "ENABLED" } else { "DISABLED" },
            "StreamViewType": stream.view,
            "CreationRequestDateTime": stream.created,
            "TableName": table,
            "Shards": shards,
        });
        if let Some(last) = last {
            description["LastEvaluatedShardId"] = last.into();
        }
        Ok(json!({ "StreamDescription": description }))
    }

    pub(crate) fn iterator(&self, database: &Database, body: &Value) -> Result<Value, Refused> {
        let streams = self.lock();
        let (table, stream) = find(&streams, body)?;
        let shard = stream.shard(body["ShardId"].as_str().unwrap_or_default())?;
        let named = || {
            let text = body["SequenceNumber"].as_str().unwrap_or_default();
            position_of(text).ok_or_else(|| Refused::new("ValidationException", "Invalid SequenceNumber"))
        };
        let position = match body["ShardIteratorType"].as_str().unwrap_or_default() {
            "TRIM_HORIZON" => shard.after.max(stream.trimmed),
            "LATEST" => shard.until.unwrap_or_else(|| last_position(database, table)).max(shard.after),
            "AT_SEQUENCE_NUMBER" => named()? - 1,
            "AFTER_SEQUENCE_NUMBER" => named()?,
            _ => return Err(Refused::new("ValidationException", "Invalid ShardIteratorType")),
        };
        let position = position.max(shard.after);
        stream.check_trim(position, shard)?;
        Ok(json!({ "ShardIterator": wrap_iterator(table, position, &stream.label, &shard.id) }))
    }

    /// One page: `read` gives dynoxide's, and this keeps what belongs to the shard that the iterator is for.
    pub(crate) fn records(
        &self,
        body: &Value,
        read: impl FnOnce(&Value) -> Result<Value, dynoxide::DynoxideError>,
    ) -> Result<Value, Refused> {
        let iterator = body["ShardIterator"].as_str().unwrap_or_default();
        let invalid = || Refused::new("ValidationException", "Invalid ShardIterator");
        let (table, position, label, shard) = unwrap_iterator(iterator).ok_or_else(invalid)?;
        let (shard, view) = {
            let streams = self.lock();
            let stream = streams
                .get(&table)
                .and_then(|all| all.iter().find(|it| it.label == label))
                .ok_or_else(|| stream_missing(&table))?;
            let shard = stream.shard(&shard)?.clone();
            stream.check_trim(position, &shard)?;
            (shard, stream.view.clone())
        };
        let mut inner = body.clone();
        inner["ShardIterator"] =
            encode_shard_iterator(&table, &dynoxide::streams::shard_id(&table), position).into();
        let mut page = read(&inner)?;
        let next = page["NextShardIterator"].as_str().and_then(decode_shard_iterator);
        let mut reached = next.map_or(position, |it| it.2);
        if let Some(until) = shard.until {
            // The end of a closed shard is reached when nothing up to `until` can follow.
            let full = page["Records"].as_array().is_some_and(|it| it.len() >= limit_of(body));
            reached = if full { reached.min(until) } else { until };
        }
        let records = page["Records"].take();
        let kept: Vec<Value> = match records {
            Value::Array(records) => records.into_iter().filter_map(|it| shard.keep(it, &view)).collect(),
            _ => Vec::new(),
        };
        let mut answer = json!({ "Records": kept });
        if shard.until.is_none_or(|until| reached < until) {
            answer["NextShardIterator"] = wrap_iterator(&table, reached, &label, &shard.id).into();
        }
        Ok(answer)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Stream>>> {
        self.streams.lock().expect("no test panics while it holds the streams")
    }
}

impl Stream {
    fn end(&self) -> Option<i64> {
        self.shards.iter().filter_map(|it| it.until).max()
    }

    fn shard(&self, id: &str) -> Result<&Shard, Refused> {
        let missing = || {
            Refused::new("ResourceNotFoundException", &format!("Requested resource not found: Shard: {id}"))
        };
        self.shards.iter().find(|it| it.id == id).ok_or_else(missing)
    }

    fn check_trim(&self, position: i64, shard: &Shard) -> Result<(), Refused> {
        let lost = position < self.trimmed && shard.until.is_none_or(|until| position < until);
        if lost && shard.after < self.trimmed {
            return Err(Refused::new(
                "TrimmedDataAccessException",
                "The operation attempted to read past the oldest stream record in a shard.",
            ));
        }
        Ok(())
    }
}

impl Shard {
    fn describe(&self) -> Value {
        let mut shard = json!({
            "ShardId": self.id,
            "SequenceNumberRange": { "StartingSequenceNumber": number_of(self.after + 1) },
        });
        if let Some(parent) = &self.parent {
            shard["ParentShardId"] = parent.clone().into();
        }
        if let Some(until) = self.until {
            shard["SequenceNumberRange"]["EndingSequenceNumber"] = number_of(until).into();
        }
        shard
    }

    /// The record as AWS writes it, if it is of this shard and AWS would have written it at all.
    fn keep(&self, mut record: Value, view: &Value) -> Option<Value> {
        let change = &mut record["dynamodb"];
        let position = position_of(change["SequenceNumber"].as_str()?)?;
        let mut hasher = DefaultHasher::new();
        change["Keys"].to_string().hash(&mut hasher);
        let hash = hasher.finish();
        let unchanged = !change["NewImage"].is_null() && change["NewImage"] == change["OldImage"];
        let mine = position > self.after
            && self.until.is_none_or(|until| position <= until)
            && (self.hashes.0..=self.hashes.1).contains(&hash);
        if unchanged || !mine {
            return None;
        }
        change["StreamViewType"] = view.clone();
        record["awsRegion"] = REGION.into();
        if let Some(identity) = record.get_mut("userIdentity").filter(|it| it.is_object()) {
            *identity = json!({"Type": identity["type"], "PrincipalId": identity["principalId"]});
        }
        Some(record)
    }
}

fn find<'a>(
    streams: &'a HashMap<String, Vec<Stream>>,
    body: &Value,
) -> Result<(&'a str, &'a Stream), Refused> {
    let arn = body["StreamArn"].as_str().unwrap_or_default();
    let label = arn.rsplit("/stream/").next().unwrap_or_default();
    let table = table_of_arn(arn).unwrap_or_default();
    let (table, all) = streams.get_key_value(&table).ok_or_else(|| stream_missing(arn))?;
    let stream = all.iter().find(|it| it.label == label).ok_or_else(|| stream_missing(arn))?;
    Ok((table, stream))
}

fn stream_missing(name: &str) -> Refused {
    Refused::new(
        "ResourceNotFoundException",
        &format!("Requested resource not found: Stream: {name} not found"),
    )
}

/// The position of a table's last record, in dynoxide's own count.
fn last_position(database: &Database, table: &str) -> i64 {
    let request = serde_json::from_value(json!({ "StreamArn": dynoxide::streams::stream_arn(table, "any") }));
    let described = database.describe_stream(request.expect("the request is well formed"));
    described
        .ok()
        .and_then(|it| it.stream_description.shards.into_iter().next())
        .and_then(|it| it.sequence_number_range.ending_sequence_number)
        .and_then(|it| position_of(&it))
        .unwrap_or(0)
}

fn limit_of(body: &Value) -> usize {
    body["Limit"].as_u64().map_or(1000, |it| it.min(1000) as usize)
}

fn shard_id(generation: usize, index: usize) -> String {
    format!("shardId-{:020}-{index:08x}", 1_700_000_000_000 + generation)
}
