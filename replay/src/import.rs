//! From what an event source mapping gave up on to letters: the records are fetched while the stream still has them.

use millstream_processor::clock::Deadline;
use millstream_processor::holds::NoHolds;
use millstream_processor::letters::LetterId;
use millstream_processor::outcome::{Fault, FaultKind};
use millstream_processor::settle::{Settled, Settler};
use millstream_processor::source::failure::{self, Failure, ForeignDocument, RangeReader};
use millstream_processor::source::lambda_event::{self, EventError};
use millstream_processor::source::{Delivery, Sources};
use millstream_projections::SourceName;
use serde::Serialize;

use crate::desk::Desk;

/// Documents from a queue.
mod drain;
/// Documents from an archive.
mod sweep;

/// A stream keeps its records for so long.
const RETENTION: u64 = 24 * 60 * 60;

/// Makes letters of documents.
pub struct Importer<'a> {
    /// Where the letters go, and who imports.
    pub desk: &'a Desk,
    /// Which source a stream belongs to.
    pub sources: &'a Sources,
    /// Reads what a pointer points at.
    pub ranges: &'a dyn RangeReader,
}

/// What became of one document.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Imported {
    /// The letters that are new.
    pub stored: Vec<LetterId>,
    /// How many of its records had a letter already.
    pub known: u64,
    /// What the stream no longer has; without it, the document has done its work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late: Option<Late>,
}

/// How much of a batch is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{}", self.text())]
pub struct Late {
    /// How many records are gone, as far as the document tells how many there were.
    pub lost: Option<u64>,
    /// How long ago the stream forgot the first of them, in seconds.
    pub by: Option<u64>,
    /// Where they were.
    pub place: String,
}

/// Why a document was not imported. It is to be kept.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is something else.
    #[error(transparent)]
    Foreign(#[from] ForeignDocument),
    /// The config reads no such stream, or the event in it is none.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The stream could not be read, or a letter not be stored.
    #[error("{0}")]
    Fault(Fault),
}

impl From<Fault> for ImportError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Importer<'_> {
    /// Makes letters of all records of one document. Done again, it changes nothing.
    ///
    /// The letters name no projection: nobody knows which of them failed, so a replay goes through all of the source.
    pub async fn import(&self, document: &str) -> Result<Imported, ImportError> {
        let failure = failure::parse(document)?;
        let mut imported = Imported::default();
        match &failure.payload {
            Some(event) => {
                for batch in lambda_event::decode(event.clone(), self.sources)?.batches {
                    self.store(&batch.source, &batch.deliveries, &failure, &mut imported).await?;
                }
            }
            None => self.fetch(&failure, &mut imported).await?,
        }
        let result = format!(
            "{} letters from {}, {} known already{}",
            imported.stored.len(),
            failure.pointer.shard,
            imported.known,
            imported.late.as_ref().map_or_else(String::new, |late| format!("; {late}")),
        );
        if !imported.stored.is_empty() {
            self.desk.note("import", None, result).await?;
        }
        Ok(imported)
    }

    async fn fetch(&self, failure: &Failure, imported: &mut Imported) -> Result<(), ImportError> {
        let pointer = &failure.pointer;
        let unknown =
            || EventError::UnknownSource { arn: pointer.stream.clone(), known: self.sources.known() };
        let source = self.sources.resolve(&pointer.stream).ok_or_else(unknown)?;
        let read = || self.ranges.read(pointer, source);
        let found = self.desk.retried("read the stream", read).await?;
        self.store(source, &found.deliveries, failure, imported).await?;
        if found.trimmed {
            let now = self.desk.pipeline.clock.unix_seconds();
            imported.late = Some(Late {
                lost: pointer
                    .records
                    .map(|all| all.saturating_sub(found.deliveries.len() as u64))
                    .filter(|lost| *lost > 0),
                by: pointer.first_seconds().and_then(|first| now.checked_sub(first + RETENTION)),
                place: format!(
                    "records {} to {} of shard {} of {}",
                    pointer.from, pointer.to, pointer.shard, pointer.stream
                ),
            });
        }
        Ok(())
    }

    async fn store(
        &self,
        source: &SourceName,
        deliveries: &[Delivery],
        failure: &Failure,
        imported: &mut Imported,
    ) -> Result<(), Fault> {
        let pipeline = &self.desk.pipeline;
        let settler = Settler {
            letters: self.desk.letters(),
            // Without a projection there is no order to keep yet.
            holds: &NoHolds,
            clock: &*pipeline.clock,
            retry: &pipeline.limits.retry,
            hold: pipeline.limits.hold,
            config: &pipeline.config,
            deadline: Deadline::NONE,
        };
        for delivery in deliveries {
            // A letter that is there, in whatever state, is not to be opened again.
            if pipeline.letters.state(&LetterId::of_delivery(source, None, delivery)).await?.is_some() {
                imported.known += 1;
                continue;
            }
            let fault = Fault { kind: FaultKind::Rejected, causes: failure.causes() };
            match settler.settle(source, delivery, None, fault).await {
                Settled::Lettered(id) => imported.stored.push(id),
                Settled::Closed(_) => imported.known += 1,
                Settled::Unfinished(fault) => return Err(fault),
            }
        }
        Ok(())
    }
}

impl Late {
    fn text(&self) -> String {
        let what = match self.lost {
            Some(1) => "1 record is".to_owned(),
            Some(lost) => format!("{lost} records are"),
            None => "records are".to_owned(),
        };
        let by =
            self.by.map_or_else(String::new, |by| format!(", {}h {}m too late", by / 3_600, by / 60 % 60));
        format!("{what} no longer in the stream{by}: {}", self.place)
    }
}
