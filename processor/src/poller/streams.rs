//! Which streams of a source's table there are to read: one, and more after it was switched off and on again.
//!
//! A stream that was switched off still has its records for a day. The one that follows holds what came later, so it is read
//! when the earlier one is done, and from its oldest record on: what came in between is in it.

use std::sync::Arc;

use aws_sdk_dynamodbstreams::Client;

use super::StreamSource;
use super::state::{Checkpoint, StateStore};
use crate::outcome::Fault;
use crate::sink::fault::fault;

/// What a stream's ARN has between the table's name and the stream's label, which is the time when it was switched on.
const LABEL: &str = "/stream/";

/// The streams of a source, in their order: from the first that the consumer knows to the newest.
pub(super) async fn of(
    client: &Client,
    state: &dyn StateStore,
    source: &StreamSource,
) -> Result<Vec<StreamSource>, Fault> {
    let listed = list(client, &source.stream).await?;
    let mut is_known = Vec::with_capacity(listed.len());
    for stream in &listed {
        // A table has one stream nearly always, and then there is nothing to ask.
        is_known.push(listed.len() > 1 && !state.shards(stream).await?.is_empty());
    }
    Ok(to_read(source, listed, &is_known))
}

/// `listed` are in their order; of each, `is_known` says whether the consumer has rows of it.
fn to_read(source: &StreamSource, listed: Vec<Arc<str>>, is_known: &[bool]) -> Vec<StreamSource> {
    let newest = listed.len().saturating_sub(1);
    let first = is_known.iter().position(|known| *known).unwrap_or(newest);
    let streams = listed.into_iter().enumerate().skip(first).map(|(place, stream)| {
        let start = if place == first { source.start.clone() } else { Checkpoint::TrimHorizon };
        StreamSource { stream, start, ..source.clone() }
    });
    let streams: Vec<_> = streams.collect();
    if streams.is_empty() { vec![source.clone()] } else { streams }
}

/// The streams of the table that `stream` is one of, itself among them: a listing that lacks it is behind.
async fn list(client: &Client, stream: &Arc<str>) -> Result<Vec<Arc<str>>, Fault> {
    let table = stream.split_once(LABEL).map_or(&**stream, |(table, _)| table);
    let name = table.rsplit('/').next().unwrap_or(table);
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

    /// Streams by a letter, in capitals those that are known; what is read, and `!` for those from the start in the config.
    #[track_caller]
    fn check(listed: &str, expected: &str) {
        let source = StreamSource {
            source: SourceName::new("orders").unwrap(),
            stream: "z".into(),
            start: Checkpoint::Since(7),
        };
        let is_known: Vec<bool> = listed.chars().map(char::is_uppercase).collect();
        let streams = listed.chars().map(|stream| Arc::from(stream.to_string())).collect();
        let read = to_read(&source, streams, &is_known).into_iter().map(|it| {
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
        check("A", "A!");
        check("Ab", "A! b");
        check("aBc", "B! c");
        check("aBCd", "B! C d");
    }

    #[test]
    fn without_a_listing_there_is_the_one_that_the_table_names() {
        check("", "z!");
    }
}
