//! Reads a lease table as a whole, and tells whether anyone still writes to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_sdk_dynamodb::Client;

use super::lease::{self, Item, KEY};
use crate::clock::Deadline;
use crate::outcome::{Fault, FaultKind};
use crate::retry::RetryPolicy;
use crate::sink::fault::fault;

/// All rows of a lease table, by their keys.
pub(super) type Rows = BTreeMap<Arc<str>, Item>;

/// Who writes to a lease table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moves {
    /// How many rows are not what they were.
    pub rows: usize,
    /// The first of them.
    pub first: Arc<str>,
    /// Whose they are, as far as they say.
    pub workers: BTreeSet<Arc<str>>,
}

/// Reads all rows. They are few, and an application reads them in the same way all the time.
pub(super) async fn read(client: &Client, retry: &RetryPolicy, table: &str) -> Result<Rows, Fault> {
    let doing = format!("Scan lease table {table}");
    let (mut rows, mut from) = (Rows::new(), None);
    loop {
        let page = || async {
            let scan = client.scan().table_name(table).consistent_read(true);
            let sent = scan.set_exclusive_start_key(from.clone()).send().await;
            sent.map_err(|error| fault(&doing, &error))
        };
        // A lease table often has little capacity: a page that is throttled is asked for again by itself.
        let page = retry.run(Deadline::NONE, &doing, page).await.map_err(explained)?;
        for item in page.items.into_iter().flatten() {
            if !item.contains_key(KEY) {
                let cause = format!("table {table} is no lease table of KCL: a row of it has no `{KEY}`");
                return Err(Fault::new(FaultKind::Misconfigured, cause));
            }
            rows.insert(lease::key(&item).into(), item);
        }
        match page.last_evaluated_key {
            Some(last) if !last.is_empty() => from = Some(last),
            Some(_) | None => return Ok(rows),
        }
    }
}

/// The way out where the table is not there.
fn explained(mut fault: Fault) -> Fault {
    if fault.causes.iter().any(|cause| cause.starts_with("ResourceNotFoundException")) {
        fault.causes.push("KCL names its lease table after the application".to_owned());
    }
    fault
}

/// What moved between two looks: a lease that is renewed counts up, and workers of KCL 3 write figures of themselves.
pub(super) fn moves(before: &Rows, after: &Rows) -> Option<Moves> {
    let keys: BTreeSet<&Arc<str>> = before.keys().chain(after.keys()).collect();
    let moved: Vec<&Arc<str>> = keys.into_iter().filter(|key| before.get(*key) != after.get(*key)).collect();
    let whose = |key: &&Arc<str>| after.get(*key).or_else(|| before.get(*key)).map(lease::workers);
    Some(Moves {
        rows: moved.len(),
        first: moved.first().map(|key| Arc::clone(key))?,
        workers: moved.iter().filter_map(whose).flatten().collect(),
    })
}
