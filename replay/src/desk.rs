//! What every command works with: the pipeline, the letters, and who is at the desk.

use std::sync::Arc;
use std::time::Duration;

use millstream_processor::clock::Deadline;
use millstream_processor::letters::{AuditEntry, Closing, LetterHead, LetterId, LetterState, LetterStore};
use millstream_processor::outcome::Fault;
use millstream_processor::pipeline::Pipeline;
use millstream_processor::sink::RowReader;
use millstream_projections::{KeyDigest, Projection, ProjectionName, SourceName};

use crate::keys::OrderedKey;

pub use crate::keys::{LackingKey, MissingLetter};

/// What every command works with.
#[derive(Clone)]
pub struct Desk {
    /// Today's pipeline, with the letters, the holds and the clock that it has.
    pub pipeline: Pipeline,
    /// Reads rows as they stand.
    pub rows: Arc<dyn RowReader>,
    /// The sources of today's config.
    pub sources: Vec<SourceName>,
    /// How long a removal is remembered: `state.tombstones`.
    pub tombstones: Duration,
    /// Who is at work: the user of the operating system, and the caller's identity where it is known.
    pub by: String,
}

/// Where a letter goes under today's config.
pub(crate) enum Route {
    /// Through this pipeline, which has the letter's projection alone, or all of its source's if it names none.
    Through(Box<Pipeline>, SourceName),
    /// The config has no such source, or the projection follows another one.
    UnknownSource,
    /// The config has no such projection.
    UnknownProjection,
}

impl Route {
    /// The projections that see the letter.
    pub(crate) fn projections(&self) -> &[Arc<dyn Projection>] {
        match self {
            Self::Through(pipeline, source) => pipeline.routes.of(source),
            Self::UnknownSource | Self::UnknownProjection => &[],
        }
    }
}

impl Desk {
    /// The letters.
    pub fn letters(&self) -> &dyn LetterStore {
        &*self.pipeline.letters
    }

    /// Whether a removal that came after this letter's change may be forgotten by now. It came later than the change was
    /// made, so its tombstone lasts longer than the change is old, if that is younger than tombstones are kept.
    pub(crate) fn may_have_forgotten(&self, head: &LetterHead, created_at: Option<u64>) -> bool {
        let first = head.attempts.first().map(|attempt| attempt.at);
        let made = created_at.into_iter().chain(first).min();
        let now = self.pipeline.clock.unix_seconds();
        made.is_none_or(|made| now.saturating_sub(made) >= self.tombstones.as_secs())
    }

    /// Where a letter of a source and a projection goes.
    pub(crate) fn route(&self, source: &str, projection: Option<&str>) -> Route {
        let source = self.sources.iter().find(|known| known.as_str() == source);
        let Some(name) = projection else {
            return match source.filter(|source| !self.pipeline.routes.of(source).is_empty()) {
                // Its changes may have to wait behind letters of their keys, like those of a stream.
                Some(source) => Route::Through(Box::new(self.pipeline.clone()), source.clone()),
                None => Route::UnknownSource,
            };
        };
        let name = ProjectionName::new(name).ok();
        let Some(pipeline) = name.and_then(|name| self.pipeline.restricted_to(&name)) else {
            return Route::UnknownProjection;
        };
        match source.filter(|source| !pipeline.routes.of(source).is_empty()) {
            Some(source) => Route::Through(Box::new(pipeline.replaying()), source.clone()),
            None => Route::UnknownSource,
        }
    }

    /// Tries again what a store or the target refuses for the moment.
    pub(crate) async fn retried<T, F: Future<Output = Result<T, Fault>>>(
        &self,
        doing: &str,
        attempt: impl FnMut() -> F,
    ) -> Result<T, Fault> {
        self.pipeline.limits.retry.run(Deadline::NONE, doing, attempt).await
    }

    /// Closes a letter that was edited so often; `false` if it did not wait any more, or was edited since.
    pub(crate) async fn close(
        &self,
        id: &LetterId,
        seen: u32,
        state: LetterState,
        reason: String,
    ) -> Result<bool, Fault> {
        let closing = self.closing(state, reason);
        self.retried("close a letter", || self.letters().close(id, seen, &closing)).await
    }

    /// How a letter is closed from here.
    pub(crate) fn closing(&self, state: LetterState, reason: String) -> Closing {
        Closing { state, at: self.pipeline.clock.unix_seconds(), by: self.by.clone(), reason }
    }

    /// Adds a line to the audit trail.
    pub(crate) async fn note(
        &self,
        action: &str,
        letter: Option<&LetterId>,
        result: impl Into<String>,
    ) -> Result<(), Fault> {
        let entry = AuditEntry {
            at: self.pipeline.clock.unix_seconds(),
            by: self.by.clone(),
            action: action.to_owned(),
            letter: letter.cloned(),
            result: result.into(),
        };
        self.retried("write the audit trail", || self.letters().audit(&entry)).await
    }
}

/// The projection that a letter of one projection goes through, if it keeps the order of its keys.
pub(crate) fn ordered(route: &Route) -> Option<ProjectionName> {
    let projection = route.projections().first()?;
    projection.keeps_order().then(|| projection.name().clone())
}

/// The key of a letter whose projection keeps an order.
pub(crate) fn ordered_key(route: &Route, head: &LetterHead) -> Option<OrderedKey> {
    head.projection.as_ref()?;
    Some(OrderedKey {
        source: SourceName::new(&head.source).ok()?,
        projection: ordered(route)?,
        digest: KeyDigest::from_text(head.digest.as_deref()?)?,
    })
}
