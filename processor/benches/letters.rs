//! How long a list of 10,000 letters takes against the embedded table, and how much memory it needs.
//!
//! A plain driver: criterion would store and list them a hundred times. Prints one line for each number of letters; the
//! memory of a list must not grow with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::{StreamExt, TryStreamExt, stream};
use millstream_processor::clock::SystemClock;
use millstream_processor::letters::table::{self, TableLetters};
use millstream_processor::letters::{
    Attempt, Letter, LetterFilter, LetterHead, LetterId, LetterState, LetterStore,
};
use millstream_processor::outcome::{Fault, FaultKind};
use millstream_projections::{ProjectionName, SourceName};
use millstream_test_support::embedded::Embedded;

const TARGET: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> Result<(), Fault> {
    for letters in [1_000, 10_000] {
        run(letters).await?;
    }
    Ok(())
}

async fn run(letters: u64) -> Result<(), Fault> {
    let embedded = Embedded::new();
    table::create(&embedded.dynamodb(), "letters").await?;
    let keep = Duration::from_secs(14 * 24 * 60 * 60);
    let store = TableLetters::new(embedded.dynamodb(), "letters".into(), keep, Arc::new(SystemClock));
    let started = Instant::now();
    let stores = stream::iter(0..letters).map(|number| {
        let store = &store;
        async move { store.store(&letter(number)).await }
    });
    stores.buffer_unordered(8).map_ok(drop).try_collect::<()>().await?;
    println!("{letters} letters stored in {:.1?}", started.elapsed());

    let (bare, _, grown) = measured(pages(&embedded)).await?;
    println!(
        "{bare} read page by page without a store; the peak grew by {grown} MB: that is the embedded database"
    );
    let projection = ProjectionName::new("orders-for-accounting").ok();
    let filters = [
        ("all that wait", LetterFilter::default()),
        ("of one projection", LetterFilter { projection, ..LetterFilter::default() }),
    ];
    for (name, filter) in filters {
        embedded.clear_requests();
        let (listed, took, grown) = measured(listed(&store, &filter)).await?;
        println!(
            "{listed} listed ({name}) in {took:.2?}; the peak grew by {grown} MB to {} MB",
            peak() / 1024
        );
        assert_eq!(listed, letters);
        // Without optimisation, or on a machine that does other things, the figure says nothing.
        assert!(cfg!(debug_assertions) || took < TARGET, "the target is {TARGET:?}");
    }
    Ok(())
}

async fn listed(store: &TableLetters, filter: &LetterFilter) -> Result<u64, Fault> {
    let mut heads = store.list(filter);
    let mut listed = 0;
    while let Some(head) = heads.next().await {
        head?;
        listed += 1;
    }
    Ok(listed)
}

/// The same pages, dropped as they come.
async fn pages(embedded: &Embedded) -> Result<u64, Fault> {
    let client = embedded.dynamodb();
    let (mut rows, mut from) = (0, None);
    loop {
        let page = client
            .query()
            .table_name("letters")
            .index_name("by-state")
            .key_condition_expression("#state = :open")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":open", AttributeValue::S("open".to_owned()))
            .limit(250)
            .set_exclusive_start_key(from)
            .send()
            .await
            .map_err(|error| Fault::from_error(FaultKind::Unavailable, "read a page", &error))?;
        rows += page.count() as u64;
        from = page.last_evaluated_key;
        if from.is_none() {
            return Ok(rows);
        }
    }
}

/// What came of it, how long it took, and by how many MB it let the peak of memory grow.
async fn measured(work: impl Future<Output = Result<u64, Fault>>) -> Result<(u64, Duration, usize), Fault> {
    let before = reset_peak();
    let started = Instant::now();
    let done = work.await?;
    Ok((done, started.elapsed(), peak().saturating_sub(before) / 1024))
}

fn letter(number: u64) -> Letter {
    let source = SourceName::new("orders").ok();
    let projection = ProjectionName::new("orders-for-accounting").ok();
    let fault = Fault::new(FaultKind::Rejected, format!("line {number}: `total` is not a number"));
    let id = source.as_ref().map(|source| LetterId::of(source, projection.as_ref(), &number.to_be_bytes()));
    Letter {
        head: LetterHead {
            id: id.unwrap_or_else(|| unreachable!("the name is valid")),
            state: LetterState::Open,
            source: "orders".to_owned(),
            projection: projection.map(|name| name.to_string()),
            config: "c0ffee".to_owned(),
            key: None,
            digest: Some(format!("{number:022}")),
            version: Some(format!("2025-06-15T15:06:40.001/{number:040}")),
            attempts: vec![Attempt::new(1_900_000_000 + number, &fault)],
            edited: 0,
            closing: None,
        },
        record: format!(r#"{{"eventID":"{number}","pad":"{}"}}"#, "x".repeat(1_000)).into(),
    }
}

/// Peak memory in KB; 0 where the system does not tell.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

/// Begins to measure the peak from what is used now.
fn reset_peak() -> usize {
    // Not every system can: then the peak is that of the whole run.
    drop(std::fs::write("/proc/self/clear_refs", "5"));
    peak()
}
