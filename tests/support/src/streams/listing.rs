//! `DescribeStream` and `ListStreams`: which shards there are, as far as a listing shows them.

use serde_json::{Value, json};

use super::erratic::Whims;
use super::server::{limit, validation};
use super::shard::Shard;
use super::state::State;
use crate::embedded::START;
use crate::engine::Refused;

/// The most shards of one page of a listing.
const PAGE_SHARDS: usize = 100;

impl State {
    pub(super) fn list_streams(&mut self, body: &Value) -> Value {
        self.calls.list_streams += 1;
        let is_asked_for = body["TableName"].as_str().is_none_or(|table| table == self.table);
        let stream = json!({ "StreamArn": self.arn(), "StreamLabel": self.label, "TableName": self.table });
        json!({ "Streams": Vec::from_iter(is_asked_for.then_some(stream)) })
    }

    pub(super) fn describe(&mut self, body: &Value) -> Result<Value, Refused> {
        self.calls.describe_stream += 1;
        let now_ms = self.now_ms();
        if self.descriptions.is_too_many(now_ms) {
            return Err(Refused::new("LimitExceededException", "too many DescribeStream in this second"));
        }
        self.check_arn(body)?;
        let whims = self.request();
        let (shards, last) = match body["ShardFilter"]["Type"].as_str() {
            None => self.list(body, now_ms, whims)?,
            Some("CHILD_SHARDS") => (self.list_children(body, now_ms, whims)?, None),
            Some(unknown) => return Err(validation(&format!("no such type of shard filter: {unknown}"))),
        };
        let mut described = json!({
            "StreamArn": self.arn(),
            "StreamLabel": self.label,
            "StreamStatus": "ENABLED",
            "StreamViewType": "NEW_AND_OLD_IMAGES",
            "CreationRequestDateTime": START,
            "TableName": self.table,
            "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
            "Shards": shards,
        });
        if let Some(last) = last {
            described["LastEvaluatedShardId"] = last.into();
        }
        Ok(json!({ "StreamDescription": described }))
    }

    /// One page of all shards, and where the next one starts.
    fn list(
        &mut self,
        body: &Value,
        now_ms: u64,
        mut whims: Option<Whims>,
    ) -> Result<(Vec<Value>, Option<String>), Refused> {
        let after = match body["ExclusiveStartShardId"].as_str() {
            None => None,
            Some(name) => Some(self.find(name).ok_or_else(|| validation(&format!("no shard {name}")))?),
        };
        let mut limit = limit(body, PAGE_SHARDS)?;
        if let Some(whims) = &mut whims
            && whims.one_in(4)
        {
            // A short page is not the last one; one without any shard needs a place to go on from.
            let most = if whims.one_in(2) { limit } else { limit.min(4) };
            limit = whims.below(most as u64) as usize + usize::from(after.is_none());
        }
        let from = after.map_or((0, 0), |index| self.listing_key(index));
        let (mut page, mut gone, mut last) = (Vec::new(), Vec::new(), after);
        let mut is_last = true;
        for key in self.listing.range(from..).filter(|key| after != Some(key.1)) {
            let shard = &self.shards[key.1];
            if shard.is_gone(now_ms) {
                gone.push(*key);
                continue;
            }
            if page.len() == limit {
                is_last = false;
                break;
            }
            if shard.listed_from_ms <= now_ms {
                last = Some(key.1);
                page.push(shard.listed(now_ms));
            }
        }
        for key in gone {
            self.listing.remove(&key);
        }
        if let Some(whims) = &mut whims {
            whims.shuffle(&mut page);
        }
        let last = last.filter(|_| !is_last).map(|index| self.shards[index].name.clone());
        Ok((page, last))
    }

    fn list_children(&self, body: &Value, now_ms: u64, whims: Option<Whims>) -> Result<Vec<Value>, Refused> {
        let parent = body["ShardFilter"]["ShardId"].as_str();
        let parent = parent.ok_or_else(|| validation("CHILD_SHARDS needs the ShardId of the parent"))?;
        let children = self.children.get(parent).into_iter().flatten().map(|index| &self.shards[*index]);
        let is_listed = |it: &&Shard| !it.is_gone(now_ms) && it.listed_from_ms <= now_ms;
        let mut page: Vec<_> = children.filter(is_listed).map(|it| it.listed(now_ms)).collect();
        if let Some(mut whims) = whims {
            whims.shuffle(&mut page);
        }
        Ok(page)
    }
}

impl Shard {
    /// The shard as a listing shows it.
    fn listed(&self, now_ms: u64) -> Value {
        let mut range = json!({ "StartingSequenceNumber": self.start.text() });
        if let Some((_, end)) = self.end.as_ref().filter(|_| self.listed_open_until_ms <= now_ms) {
            range["EndingSequenceNumber"] = end.text().into();
        }
        let mut listed = json!({ "ShardId": self.name, "SequenceNumberRange": range });
        if let Some(parent) = &self.parent {
            listed["ParentShardId"] = parent.as_str().into();
        }
        listed
    }
}
