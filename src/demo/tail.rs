//! Reads the streams of the source tables until everything that was written has come.

use std::time::Duration;

use millstream_processor::host::reader::StreamReader;
use millstream_processor::outcome::{Fault, Verdict};
use millstream_processor::projections::{ChangeKind, SourceName};
use millstream_processor::source::{Delivery, Raw};
use tokio::time::Instant;

use super::DemoError;
use super::deal::Parcel;
use super::tables;
use super::world::World;

/// How long to wait before a stream is asked again that had nothing new, or that could not answer.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a stream may bring nothing at all of what was written.
const PATIENCE: Duration = Duration::from_secs(120);

/// One source table's stream.
pub(crate) struct Tail {
    source: SourceName,
    table: String,
    reader: StreamReader,
    written: usize,
    seen: usize,
    records: u64,
}

impl Tail {
    /// Opens the streams of all source tables.
    pub(crate) async fn open(world: &World) -> Result<Vec<Self>, DemoError> {
        let client = world.connection.pipeline.streams();
        let mut tails = Vec::new();
        for (source, table) in world.table_sources() {
            let described = tables::describe(&world.services, &table).await?;
            let stream = described.and_then(|described| described.latest_stream_arn);
            let stream = stream.ok_or_else(|| DemoError::new(format!("table {table} has no stream")))?;
            let reader = StreamReader::new(client.clone(), source.clone(), stream);
            let table = table.to_string();
            tails.push(Self { source, table, reader, written: 0, seen: 0, records: 0 });
        }
        Ok(tails)
    }

    /// Notes that the table was changed once more.
    pub(crate) fn expect(&mut self, table: &str) {
        self.written += usize::from(self.table == table);
    }

    /// How many records have come so far.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// Reads until every change that was written has come, and there is nothing more.
    pub(crate) async fn catch_up(&mut self) -> Result<Vec<Parcel>, DemoError> {
        let mut parcels = Vec::new();
        let mut last = Instant::now();
        loop {
            let page = self.page().await?;
            if page.is_empty() {
                if self.seen >= self.written {
                    return Ok(parcels);
                }
                if last.elapsed() > PATIENCE {
                    let missing = self.written - self.seen;
                    return Err(DemoError::new(format!(
                        "the stream of {} never brought {missing} changes",
                        self.table
                    )));
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            last = Instant::now();
            parcels.extend(page);
        }
    }

    /// What is there now; empty if there is nothing new.
    pub(crate) async fn page(&mut self) -> Result<Vec<Parcel>, DemoError> {
        let page = self.deliveries().await?;
        self.records += page.len() as u64;
        self.seen += page.iter().filter(|delivery| changes(delivery)).count();
        let parcel = |delivery: Delivery| match &delivery.raw {
            Raw::Record(record, stream) => {
                Some(Parcel::of_stream(&self.source, record.clone(), stream.clone(), &delivery))
            }
            Raw::Json(_) | Raw::Nth { .. } | Raw::Message(_) => None,
        };
        Ok(page.into_iter().filter_map(parcel).collect())
    }

    async fn deliveries(&mut self) -> Result<Vec<Delivery>, Fault> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            match self.reader.page().await {
                Err(fault) if fault.kind.verdict() == Verdict::Retry && Instant::now() < give_up => {
                    tokio::time::sleep(PAUSE).await;
                }
                result => return result,
            }
        }
    }
}

/// Whether a record tells of a change. AWS writes no record of a write that changes nothing; others may.
fn changes(delivery: &Delivery) -> bool {
    let Ok(change) = &delivery.change else { return true };
    let (ChangeKind::Modify, Some(old), Some(new)) = (change.kind, &change.old, &change.new) else {
        return true;
    };
    match (old.item(), new.item()) {
        (Ok(old), Ok(new)) => old.as_ref() != new.as_ref(),
        (Err(_), _) | (_, Err(_)) => true,
    }
}
