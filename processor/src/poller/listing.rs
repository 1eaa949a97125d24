//! Asks a stream for its shards.

use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::types::{ShardFilter, ShardFilterType};

use super::lineage::Listed;
use crate::outcome::{Fault, FaultKind};
use crate::sink::fault::fault;

/// All shards of a stream, as far as the listing shows them now: it can be inconsistent for a while.
pub(super) async fn all(client: &Client, stream: &str) -> Result<Vec<Listed>, Fault> {
    list(client, stream, None).await
}

/// The children of one shard, if they are listed already.
pub(super) async fn children(client: &Client, stream: &str, parent: &str) -> Result<Vec<Listed>, Fault> {
    let filter = ShardFilter::builder().r#type(ShardFilterType::ChildShards).shard_id(parent).build();
    let mut children = list(client, stream, Some(filter)).await?;
    children.retain(|listed| listed.parent.as_deref() == Some(parent));
    Ok(children)
}

async fn list(client: &Client, stream: &str, filter: Option<ShardFilter>) -> Result<Vec<Listed>, Fault> {
    let doing = || format!("DescribeStream {stream}");
    let (mut shards, mut from) = (Vec::new(), None);
    loop {
        let request = client.describe_stream().stream_arn(stream).set_shard_filter(filter.clone());
        let page = request.set_exclusive_start_shard_id(from).send().await;
        let page = page.map_err(|error| fault(doing(), &error))?;
        let Some(description) = page.stream_description else {
            return Err(Fault::new(FaultKind::Unavailable, format!("{} describes no stream", doing())));
        };
        shards.extend(description.shards.into_iter().flatten().filter_map(|shard| {
            let closed =
                shard.sequence_number_range().is_some_and(|it| it.ending_sequence_number().is_some());
            Some(Listed {
                shard: shard.shard_id?.into(),
                parent: shard.parent_shard_id.map(Into::into),
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
