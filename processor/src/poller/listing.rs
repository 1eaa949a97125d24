//! Asks a stream for its shards.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::operation::get_shard_iterator::GetShardIteratorError;
use aws_sdk_dynamodbstreams::types::{ShardFilter, ShardFilterType, ShardIteratorType};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::lineage::Listed;
use super::state::ShardRow;
use crate::clock::Deadline;
use crate::outcome::{Fault, FaultKind};
use crate::retry::RetryPolicy;
use crate::sink::fault::fault;

/// How many parents are asked for at once.
const AT_ONCE: usize = 16;
/// How long a page that is throttled is waited for: at first, at most, and in all.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LAST_WAIT: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5);

/// All shards of a stream, as far as the listing shows them now: it can be inconsistent for a while.
#[derive(Debug)]
pub(super) struct Listing {
    /// Those that are listed.
    pub(super) shards: Vec<Listed>,
    /// Those that others follow, and that are there and neither listed nor known: what these follow nobody can tell.
    pub(super) unlisted: Vec<Listed>,
}

impl Listing {
    /// Those that may be read when what they follow is done, as far as it is known: none that follows an unlisted one.
    pub(super) fn in_order(&self) -> Vec<Listed> {
        let mut waits: HashSet<&str> = self.unlisted.iter().map(|shard| &*shard.shard).collect();
        let mut left: Vec<&Listed> = self.shards.iter().collect();
        loop {
            let (later, now): (Vec<&Listed>, Vec<&Listed>) =
                left.iter().partition(|shard| shard.parent.as_deref().is_some_and(|it| waits.contains(it)));
            if later.is_empty() {
                return now.into_iter().cloned().collect();
            }
            waits.extend(later.iter().map(|shard| &*shard.shard));
            left = now;
        }
    }
}

/// A child can be listed before its parent. So a parent that is neither listed nor `known` is asked for by its name: the stream
/// either has forgotten it, or it has to be read before the child.
pub(super) async fn all(
    client: &Client,
    stream: &str,
    known: &[ShardRow],
    retry: &RetryPolicy,
) -> Result<Listing, Fault> {
    let shards = list(client, stream, None, retry).await?;
    let rows: HashSet<&str> = known.iter().map(|row| &*row.shard).collect();
    let seen: HashSet<&str> = shards.iter().map(|shard| &*shard.shard).chain(rows.iter().copied()).collect();
    let new = shards.iter().filter(|shard| !rows.contains(&*shard.shard));
    let parents = new.filter_map(|shard| shard.parent.clone());
    let missing: BTreeSet<Arc<str>> = parents.filter(|parent| !seen.contains(&**parent)).collect();
    let asked = stream::iter(missing).map(|parent| async move {
        Ok::<_, Fault>(is_there(client, stream, &parent).await?.then_some(parent))
    });
    let there: Vec<Option<Arc<str>>> = asked.buffer_unordered(AT_ONCE).try_collect().await?;
    let unlisted = |shard| Listed { shard, parent: None, first: None, closed: true };
    Ok(Listing { shards, unlisted: there.into_iter().flatten().map(unlisted).collect() })
}

/// Whether the stream has a shard, listed or not.
async fn is_there(client: &Client, stream: &str, shard: &str) -> Result<bool, Fault> {
    let request = client.get_shard_iterator().stream_arn(stream).shard_id(shard);
    match request.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await {
        Ok(_) => Ok(true),
        Err(error) => match error.as_service_error() {
            Some(
                GetShardIteratorError::ResourceNotFoundException(_)
                | GetShardIteratorError::TrimmedDataAccessException(_),
            ) => Ok(false),
            _ => Err(fault(format!("GetShardIterator of shard {shard}"), &error)),
        },
    }
}

/// The children of one shard, if they are listed already; none if the stream has forgotten the shard, and so cannot tell.
pub(super) async fn children(
    client: &Client,
    stream: &str,
    parent: &str,
    retry: &RetryPolicy,
) -> Result<Option<Vec<Listed>>, Fault> {
    let filter = ShardFilter::builder().r#type(ShardFilterType::ChildShards).shard_id(parent).build();
    match list(client, stream, Some(filter), retry).await {
        Ok(children) => Ok(Some(of(&children, parent))),
        Err(fault) if fault.causes.iter().any(|cause| cause.starts_with("ResourceNotFoundException")) => {
            Ok(None)
        }
        Err(fault) => Err(fault),
    }
}

/// Those of some shards that follow one.
pub(super) fn of(listed: &[Listed], parent: &str) -> Vec<Listed> {
    listed.iter().filter(|listed| listed.parent.as_deref() == Some(parent)).cloned().collect()
}

/// All pages of a listing. One that is throttled is asked for again: a large stream has more pages than may be asked for in
/// a second.
pub(super) async fn list(
    client: &Client,
    stream: &str,
    filter: Option<ShardFilter>,
    retry: &RetryPolicy,
) -> Result<Vec<Listed>, Fault> {
    let doing = || format!("DescribeStream {stream}");
    let patience = retry.with(FIRST_WAIT, LAST_WAIT, PATIENCE);
    let (mut shards, mut from) = (Vec::new(), None::<String>);
    loop {
        let ask = || async {
            let request = client.describe_stream().stream_arn(stream).set_shard_filter(filter.clone());
            let page = request.set_exclusive_start_shard_id(from.clone()).send().await;
            page.map_err(|error| fault(doing(), &error))
        };
        let page = patience.run(Deadline::NONE, "list shards", ask).await?;
        let Some(description) = page.stream_description else {
            return Err(Fault::new(FaultKind::Unavailable, format!("{} describes no stream", doing())));
        };
        shards.extend(description.shards.into_iter().flatten().filter_map(|shard| {
            let first = shard.sequence_number_range().and_then(|it| it.starting_sequence_number());
            let first = first.map(str::to_owned);
            let closed =
                shard.sequence_number_range().is_some_and(|it| it.ending_sequence_number().is_some());
            Some(Listed {
                shard: shard.shard_id?.into(),
                parent: shard.parent_shard_id.map(Into::into),
                first,
                closed,
            })
        }));
        // Only an empty last shard means the end; a short page does not.
        match description.last_evaluated_shard_id {
            Some(last) if !last.is_empty() => from = Some(last),
            Some(_) | None => return Ok(shards),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `child<parent` or `shard`; what is unlisted comes after the bar. What can be read in order.
    #[track_caller]
    fn check(listing: &str, expected: &str) {
        let (shards, unlisted) = listing.split_once('|').unwrap();
        let one = |text: &str| {
            let (shard, parent) =
                text.split_once('<').map_or((text, None), |(shard, parent)| (shard, Some(parent)));
            Listed { shard: shard.into(), parent: parent.map(Into::into), first: None, closed: false }
        };
        let all = |text: &str| text.split_whitespace().map(one).collect();
        let listing = Listing { shards: all(shards), unlisted: all(unlisted) };
        let names: Vec<String> = listing.in_order().iter().map(|shard| shard.shard.to_string()).collect();
        assert_eq!(names.join(" "), expected);
    }

    #[test]
    fn what_follows_an_unlisted_shard_waits() {
        check("a b<a c<gone |", "a b c");
        check("c<b a d<c e<a |b", "a e");
        check("d<c c<b b<a |a", "");
    }
}
