//! Which streams of a source's table there are to read: one, and more after it was switched off and on again.
//!
//! A stream that was switched off still has its records for a day. The one that follows holds what came later, so it is read
//! when the earlier one is done, and from its oldest record on: what came in between is in it.

use std::sync::Arc;

use aws_sdk_dynamodbstreams::Client;

use super::StreamSource;
use super::state::{Checkpoint, ShardRow, ShardState, StateStore};
use crate::outcome::Fault;
use crate::sink::fault::fault;

/// What a stream's ARN has between the table's name and the stream's label, which is the time when it was switched on.
const LABEL: &str = "/stream/";

/// The streams of a source, in their order: from the first that is not read to its end, as far as the consumer knows, to the
/// newest.
pub(super) async fn of(
    client: &Client,
    state: &dyn StateStore,
    source: &StreamSource,
) -> Result<Vec<StreamSource>, Fault> {
    let listed = list(client, &source.stream).await?;
    let known = state.streams(table(&source.stream)).await?;
    let mut forgotten = Vec::new();
    for stream in known.iter().filter(|stream| !listed.contains(stream)) {
        // What was not read of it is lost, and has to be found out.
        let is_over = |row: &ShardRow| matches!(row.state, ShardState::Ended | ShardState::EndedNoChildren);
        if !state.shards(stream).await?.iter().all(is_over) {
            forgotten.push(stream.clone());
        }
    }
    Ok(to_read(source, listed, &known, forgotten))
}

/// `listed` and `known` are in their order. A stream that follows one that the consumer knows is read from its oldest record.
fn to_read(
    source: &StreamSource,
    mut listed: Vec<Arc<str>>,
    known: &[Arc<str>],
    mut forgotten: Vec<Arc<str>>,
) -> Vec<StreamSource> {
    let first = listed.iter().position(|stream| known.contains(stream));
    let is_new = known.is_empty();
    let from = match (first, is_new) {
        (Some(first), _) => first,
        (None, true) => listed.len().saturating_sub(1),
        (None, false) => 0,
    };
    forgotten.extend(listed.drain(from..));
    let start = if is_new { source.start.clone() } else { Checkpoint::TrimHorizon };
    // What the consumer knows has its start in its rows.
    forgotten
        .into_iter()
        .map(|stream| StreamSource { stream, start: start.clone(), ..source.clone() })
        .collect()
}

/// The table that a stream is of, as its ARN has it.
pub(super) fn table(stream: &str) -> &str {
    stream.split_once(LABEL).map_or(stream, |(table, _)| table)
}

/// The streams of the table that `stream` is one of, itself among them: a listing that lacks it is behind.
async fn list(client: &Client, stream: &Arc<str>) -> Result<Vec<Arc<str>>, Fault> {
    let name = table(stream).rsplit('/').next().unwrap_or(stream);
    let (mut streams, mut from) = (vec![stream.clone()], None);
    loop {
        let page = client.list_streams().table_name(name).set_exclusive_start_stream_arn(from).send().await;
        let page = page.map_err(|error| fault(format!("ListStreams {name}"), &error))?;
        streams.extend(
            page.streams.unwrap_or_default().into_iter().filter_map(|it| it.stream_arn).map(Arc::from),
        );
        match page.last_evaluated_stream_arn {
            Some(last) if !last.is_empty() => from = Some(last),
            Some(_) | None => break,
        }
    }
    // They differ in their labels only, and these are times of one form.
    streams.sort();
    streams.dedup();
    Ok(streams)
}

#[cfg(test)]
mod tests {
    use millstream_projections::SourceName;

    use super::*;

    /// Streams by a letter, in capitals those that are known, after `/` those that are known and listed no more, and not read to
    /// their end; what is read, and `!` for those from the start in the config.
    #[track_caller]
    fn check(listed: &str, expected: &str) {
        let source = StreamSource {
            source: SourceName::new("orders").unwrap(),
            stream: "z".into(),
            start: Checkpoint::Since(7),
        };
        let (forgotten, listed) = listed.split_once('/').unwrap_or(("", listed));
        let streams =
            |text: &str| -> Vec<Arc<str>> { text.chars().map(|it| Arc::from(it.to_string())).collect() };
        let known = listed.chars().filter(|it| it.is_uppercase()).chain(forgotten.chars());
        let known = streams(&known.collect::<String>());
        let read = to_read(&source, streams(listed), &known, streams(forgotten)).into_iter().map(|it| {
            let mark = if it.start == Checkpoint::Since(7) { "!" } else { "" };
            format!("{}{mark}", it.stream)
        });
        assert_eq!(read.collect::<Vec<_>>().join(" "), expected, "of {listed}");
    }

    #[test]
    fn a_new_consumer_reads_the_newest() {
        check("a", "a!");
        check("abc", "c!");
    }

    #[test]
    fn what_follows_a_known_stream_is_read_from_its_oldest_record() {
        check("A", "A");
        check("Ab", "A b");
        check("aBc", "B c");
        check("aBCd", "B C d");
    }

    #[test]
    fn a_stream_that_is_gone_before_it_was_read_comes_first() {
        check("a/b", "a b");
        check("a/Bc", "a B c");
    }

    #[test]
    fn the_table_is_in_the_name_of_its_stream() {
        let stream = "arn:aws:dynamodb:eu-west-1:0:table/Orders/stream/2025-06-15T15:06:40.000";
        assert_eq!(table(stream), "arn:aws:dynamodb:eu-west-1:0:table/Orders");
    }
}
