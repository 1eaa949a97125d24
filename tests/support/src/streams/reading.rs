//! `GetShardIterator` and `GetRecords`: what can be read, from where, and for how long.

use serde_json::{Value, json};

use super::erratic::Whims;
use super::sequence::Sequence;
use super::server::{limit, validation};
use super::shard::{PAGE_RECORDS, Shard};
use super::state::State;
use crate::engine::Refused;

/// How long an iterator can be used.
const ITERATOR_MS: u64 = 15 * 60 * 1_000;

impl State {
    pub(super) fn iterator(&mut self, body: &Value) -> Result<Value, Refused> {
        self.calls.get_shard_iterator += 1;
        self.check_arn(body)?;
        let now_ms = self.now_ms();
        let name = body["ShardId"].as_str().unwrap_or_default();
        let index = self.readable(name, now_ms)?;
        let shard = &self.shards[index];
        let trimmed = shard.trimmed(now_ms);
        let place = match body["ShardIteratorType"].as_str() {
            Some("TRIM_HORIZON") => trimmed,
            Some("LATEST") => shard.records.len(),
            Some(kind @ ("AT_SEQUENCE_NUMBER" | "AFTER_SEQUENCE_NUMBER")) => {
                let text = body["SequenceNumber"].as_str().unwrap_or_default();
                let sequence = Sequence::parse(text).filter(|it| self.can_be_in(shard, it));
                let sequence = sequence
                    .ok_or_else(|| validation(&format!("`{text}` is no sequence number of shard {name}")))?;
                // What is asked for has to be there still, also if only what comes after it is wanted.
                if trimmed > 0 && shard.records[trimmed - 1].sequence >= sequence {
                    return Err(trimmed_data(name));
                }
                shard.place(&sequence, kind == "AFTER_SEQUENCE_NUMBER")
            }
            unknown => return Err(validation(&format!("no such type of iterator: {unknown:?}"))),
        };
        Ok(json!({ "ShardIterator": self.iterator_at(index, place, now_ms) }))
    }

    /// One page of records, put together from texts that are ready.
    pub(super) fn page(&mut self, body: &Value) -> Result<String, Refused> {
        self.calls.get_records += 1;
        let now_ms = self.now_ms();
        let limit = limit(body, PAGE_RECORDS)?;
        let iterator = body["ShardIterator"].as_str().unwrap_or_default();
        let (name, from, given_ms) = self.read_iterator(iterator)?;
        if now_ms.saturating_sub(given_ms) > ITERATOR_MS {
            return Err(Refused::new("ExpiredIteratorException", "the iterator is older than 15 minutes"));
        }
        let index = self.readable(name, now_ms)?;
        let whims = self.request();
        self.shards[index].reads += 1;
        let shard = &self.shards[index];
        if from < shard.trimmed(now_ms) {
            return Err(trimmed_data(name));
        }
        let (to, goes_on) = extent(shard, from, limit, whims);
        let records: Vec<&str> = shard.records[from..to].iter().map(|it| it.json.as_str()).collect();
        let mut answer = format!("{{\"Records\":[{}]", records.join(","));
        if goes_on {
            let next = Value::from(self.iterator_at(index, to, now_ms));
            answer.push_str(&format!(",\"NextShardIterator\":{next}"));
        }
        answer.push('}');
        Ok(answer)
    }

    /// A shard that the stream still knows.
    fn readable(&self, name: &str, now_ms: u64) -> Result<usize, Refused> {
        self.find(name).filter(|index| !self.shards[*index].is_gone(now_ms)).ok_or_else(|| {
            Refused::new("ResourceNotFoundException", &format!("Requested resource not found: Shard: {name}"))
        })
    }

    /// Whether the number lies between the first and the last one that the shard can have now.
    fn can_be_in(&self, shard: &Shard, sequence: &Sequence) -> bool {
        let end = shard.end.as_ref().map(|(_, end)| end).or(self.last_sequence.as_ref());
        shard.start <= *sequence && end.is_some_and(|end| sequence <= end)
    }

    /// It says all that is needed, so that it can be used again and again.
    fn iterator_at(&self, index: usize, place: usize, now_ms: u64) -> String {
        format!("{}|1|{now_ms}|{place}|{}", self.arn(), self.shards[index].name)
    }

    fn read_iterator<'a>(&self, iterator: &'a str) -> Result<(&'a str, usize, u64), Refused> {
        let mut parts = iterator.splitn(5, '|');
        let mut next = || parts.next().unwrap_or_default();
        let (arn, _, given_ms, place, name) = (next(), next(), next().parse(), next().parse(), next());
        match (given_ms, place) {
            (Ok(given_ms), Ok(place)) if arn == self.arn() => Ok((name, place, given_ms)),
            _ => Err(validation(&format!("Invalid ShardIterator: {iterator}"))),
        }
    }
}

/// Where a page ends, and whether there is an iterator for what follows it.
fn extent(shard: &Shard, from: usize, limit: usize, whims: Option<Whims>) -> (usize, bool) {
    let mut to = shard.page_end(from, limit);
    let is_closed = shard.end.is_some();
    if let Some(mut whims) = whims
        && to > from
    {
        match whims.below(6) {
            0 => to = from,
            1 => to = from + 1 + whims.below((to - from) as u64) as usize,
            _ => {}
        }
        // A shard may tell of its end with its last records, or with the empty page that follows them.
        return (to, !is_closed || to < shard.records.len() || whims.one_in(2));
    }
    (to, !is_closed || to < shard.records.len())
}

fn trimmed_data(shard: &str) -> Refused {
    Refused::new("TrimmedDataAccessException", &format!("shard {shard} has forgotten what is asked for"))
}
