//! What a replay would do now: the effects under today's config against today's targets, without a write.

use std::collections::{BTreeMap, HashMap};

use futures_util::{Stream, StreamExt};
use millstream_processor::letters::{Letter, LetterFilter, LetterHead, LetterId, LetterState};
use millstream_processor::outcome::Fault;
use millstream_processor::source::replay::decode_raw;
use millstream_projections::Value;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::Mutex;

use crate::desk::{Desk, Route, ordered_key};
use crate::keys::OrderedKey;
use crate::show::{AttributeDifference, Redaction, ShownValue};
use crate::value::hidden;

pub use file::{Pin, PlanFile, PlanFileError, PlanWriter};
pub use totals::Totals;

/// What one effect would meet.
mod decide;
/// Plans in files, and what changed since.
mod file;
/// What folds would meet.
mod fold;
/// Plans as a terminal shows them.
mod print;
/// Reads what effects would meet.
mod read;
/// All letters of a plan in numbers.
mod totals;

/// How many letters are looked at side by side; they come out in their order.
const AT_ONCE: usize = 8;

/// What would become of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Something would be written or published.
    WouldWrite,
    /// The targets have this very change already, or there is no row to write to.
    Stale,
    /// The targets have something newer.
    Superseded,
    /// It is so old that a later removal of its row may be forgotten: written, it could bring the row back.
    TooOld,
    /// It asks for nothing under today's config.
    NoEffect,
    /// It would be rejected again.
    StillRejected,
    /// An earlier letter of its key has to go first.
    Held,
    /// Its projection is not in the config.
    UnknownProjection,
    /// Its source is not in the config, or its projection follows another one.
    UnknownSource,
    /// It cannot be told: the deployment lacks something, or a target cannot be read.
    Unfinished,
}

impl Verdict {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WouldWrite => "would write",
            Self::Stale => {
                "stale: its targets have it already, or no row for it; apply closes it as superseded"
            }
            Self::Superseded => "superseded: its targets have something newer; apply closes it",
            Self::TooOld => "too old: discard it, or rebuild the projection",
            Self::NoEffect => "nothing to do under today's config",
            Self::StillRejected => "still rejected",
            Self::Held => "held behind an earlier letter of its key",
            Self::UnknownProjection => "its projection is not in the config",
            Self::UnknownSource => "its source is not in the config",
            Self::Unfinished => "cannot be told",
        }
    }
}

/// What would become of one letter.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LetterPlan {
    /// The letter.
    pub id: LetterId,
    /// How often it had failed when it was planned.
    pub tries: u64,
    /// How often its record had been edited.
    pub edited: u32,
    /// Whether it failed, or waits behind one that did.
    pub state: LetterState,
    /// Its source.
    pub source: String,
    /// Its projection; none: all projections of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projection: Option<String>,
    /// The source item's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<BTreeMap<String, ShownValue>>,
    /// The config that it failed under, if that is not today's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_config: Option<String>,
    /// What would become of it.
    pub verdict: Verdict,
    /// Why, where the verdict alone does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The letter that has to go first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind: Option<LetterId>,
    /// What it asks for.
    pub effects: Vec<EffectPlan>,
}

/// What would become of one effect of a letter.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EffectPlan {
    /// The projection.
    pub projection: String,
    /// `put`, `patch`, `delete`, `drop`, `fold` or `publish`.
    pub write: &'static str,
    /// The table or topic.
    pub resource: String,
    /// The row's key.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub key: BTreeMap<String, ShownValue>,
    /// [`Verdict::WouldWrite`], [`Verdict::Stale`], [`Verdict::Superseded`], [`Verdict::TooOld`] or, of a lookup row that is
    /// another item's, [`Verdict::StillRejected`].
    pub verdict: Verdict,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<&'static str>,
    /// The version that the row, or its tombstone, has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standing: Option<String>,
    /// The current row beside the resulting one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<AttributeDifference>,
    /// The event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<Box<RawValue>>,
}

/// Plans every letter that a filter admits, in the order of the store. A letter that cannot be read is an `Err` that
/// names it, and the rest goes on.
pub fn plan<'a>(
    desk: &'a Desk,
    filter: &'a LetterFilter,
    redact: bool,
) -> impl Stream<Item = Result<LetterPlan, Fault>> + 'a {
    let planner = std::sync::Arc::new(Planner { desk, redact, firsts: Mutex::default() });
    desk.letters()
        .list(filter)
        .map(move |head| {
            let planner = planner.clone();
            async move {
                let head = head?;
                // One that is gone since it was listed needs no plan.
                match desk.letters().load(&head.id).await? {
                    Some(letter) => Ok(Some(planner.letter(&letter).await)),
                    None => Ok(None),
                }
            }
        })
        .buffered(AT_ONCE)
        .filter_map(|planned| std::future::ready(planned.transpose()))
}

/// Plans one letter.
pub async fn plan_letter(desk: &Desk, letter: &Letter, redact: bool) -> LetterPlan {
    Planner { desk, redact, firsts: Mutex::default() }.letter(letter).await
}

struct Planner<'a> {
    desk: &'a Desk,
    redact: bool,
    /// The first letter of each held key, so that a thousand letters of a key ask once.
    firsts: Mutex<HashMap<OrderedKey, Option<LetterId>>>,
}

impl Planner<'_> {
    async fn letter(&self, letter: &Letter) -> LetterPlan {
        let head = &letter.head;
        let key = |key: &BTreeMap<String, Value>| {
            key.iter().map(|(name, value)| (name.clone(), self.shown(value))).collect()
        };
        let mut plan = LetterPlan {
            id: head.id.clone(),
            tries: head.tries(),
            edited: head.edited,
            state: head.state,
            source: head.source.clone(),
            projection: head.projection.clone(),
            key: head.key.as_ref().map(key),
            other_config: (head.config != self.desk.pipeline.config).then(|| head.config.clone()),
            verdict: Verdict::NoEffect,
            cause: None,
            behind: None,
            effects: Vec::new(),
        };
        if let Err((verdict, cause)) = self.fill(&mut plan, letter).await {
            (plan.verdict, plan.cause) = (verdict, cause);
        }
        if self.redact {
            hide(&mut plan, &Redaction::of_letter(letter));
        }
        plan
    }

    /// Plans the effects; an error is the verdict, with its cause.
    async fn fill(&self, plan: &mut LetterPlan, letter: &Letter) -> Result<(), (Verdict, Option<String>)> {
        let route = self.desk.route(&letter.head.source, letter.head.projection.as_deref());
        let source = match &route {
            Route::Through(_, source) => source,
            Route::UnknownSource => return Err((Verdict::UnknownSource, None)),
            Route::UnknownProjection => return Err((Verdict::UnknownProjection, None)),
        };
        let change = decode_raw(letter.record.clone(), source).change;
        let change = change.map_err(|why| (Verdict::StillRejected, Some(why.to_string())))?;
        plan.behind = self.behind(&route, &letter.head).await.map_err(unfinished)?;
        let fades = self.desk.may_have_forgotten(&letter.head, change.created_at);
        let mut rejected = None;
        for projection in route.projections() {
            match projection.project(&change) {
                Ok(effects) => {
                    for effect in effects {
                        let read =
                            self.effect(projection.name(), &effect, fades).await.map_err(unfinished)?;
                        plan.effects.extend(read);
                    }
                }
                Err(reject) => {
                    let verdict = match reject.is_deployment() {
                        true => Verdict::Unfinished,
                        false => Verdict::StillRejected,
                    };
                    rejected = Some((verdict, Some(format!("projection {}: {reject}", projection.name()))));
                }
            }
        }
        if let Some(rejected) = rejected {
            return Err(rejected);
        }
        plan.verdict = match &plan.behind {
            Some(_) => Verdict::Held,
            None => of_effects(&plan.effects),
        };
        Ok(())
    }

    /// The letter that has to go first, where the projection keeps an order.
    async fn behind(&self, route: &Route, head: &LetterHead) -> Result<Option<LetterId>, Fault> {
        let Some(key) = ordered_key(route, head) else { return Ok(None) };
        let mut firsts = self.firsts.lock().await;
        let first = match firsts.get(&key) {
            Some(first) => first.clone(),
            None => {
                let first = self.desk.waiting(&key).await?.into_iter().next().map(|first| first.id);
                firsts.insert(key, first.clone());
                first
            }
        };
        Ok(first.filter(|first| *first != head.id))
    }

    fn shown(&self, value: &Value) -> ShownValue {
        match self.redact {
            true => ShownValue::Hidden(hidden(value)),
            false => ShownValue::Value(value.clone()),
        }
    }
}

/// Hides what texts tell of the item. Values are hidden where they are read.
fn hide(plan: &mut LetterPlan, redaction: &Redaction) {
    plan.cause = plan.cause.as_deref().map(|cause| redaction.message(cause));
    for effect in &mut plan.effects {
        effect.standing = effect.standing.as_deref().map(|version| redaction.version(version));
    }
}

fn unfinished(fault: Fault) -> (Verdict, Option<String>) {
    (Verdict::Unfinished, Some(fault.to_string()))
}

fn of_effects(effects: &[EffectPlan]) -> Verdict {
    let any = |verdict: Verdict| effects.iter().any(|effect| effect.verdict == verdict);
    [Verdict::StillRejected, Verdict::TooOld, Verdict::WouldWrite, Verdict::Superseded, Verdict::Stale]
        .into_iter()
        .find(|verdict| any(*verdict))
        .unwrap_or(Verdict::NoEffect)
}

#[cfg(test)]
mod tests {
    use millstream_processor::letters::Attempt;
    use millstream_processor::outcome::FaultKind;
    use millstream_projections::SourceName;

    use super::*;

    const RECORD: &str = r#"{"eventID":"1","eventName":"INSERT","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":"eu-west-1",
"eventSourceARN":"arn:aws:dynamodb:eu-west-1:000000000000:table/Orders/stream/2025-06-15T15:06:40.001",
"dynamodb":{"Keys":{"pk":{"S":"ORDER#1"}},"NewImage":{"pk":{"S":"ORDER#1"},"customer":{"M":{"name":{"S":"Müller"}}}},
"SequenceNumber":"100000000000000000001","SizeBytes":100,"StreamViewType":"NEW_AND_OLD_IMAGES"}}"#;

    fn letter(record: &str) -> Letter {
        let source = SourceName::new("orders").unwrap();
        Letter {
            head: LetterHead {
                id: LetterId::of(&source, None, b"1"),
                state: LetterState::Open,
                source: source.to_string(),
                projection: None,
                config: String::new(),
                key: None,
                digest: None,
                version: None,
                attempts: vec![Attempt::new(0, &Fault::new(FaultKind::Rejected, "no"))],
                edited: 0,
                closing: None,
            },
            record: record.to_owned().into(),
        }
    }

    fn effect(standing: &str) -> EffectPlan {
        EffectPlan {
            projection: "a".to_owned(),
            write: "put",
            resource: "Rows".to_owned(),
            key: BTreeMap::new(),
            verdict: Verdict::Superseded,
            note: None,
            standing: Some(standing.to_owned()),
            attributes: Vec::new(),
            event: None,
        }
    }

    #[test]
    fn what_texts_quote_of_an_item_is_hidden_and_the_rest_can_be_read() {
        let of_stream = format!("2025-06-15T15:06:40.001/{:040}", 7);
        for (record, cause, expected) in [
            (RECORD, "`name` of ORDER#1 is Müller", "`name` of <hidden> is <hidden>"),
            // Of a record that nobody can read only quotes can be told from words.
            ("no json", "invalid type: string \"Müller\"", "invalid type: string '…'"),
        ] {
            let letter = letter(record);
            let mut plan = LetterPlan {
                id: letter.head.id.clone(),
                tries: 1,
                edited: 0,
                state: LetterState::Open,
                source: "orders".to_owned(),
                projection: None,
                key: None,
                other_config: None,
                verdict: Verdict::StillRejected,
                cause: Some(cause.to_owned()),
                behind: None,
                effects: vec![effect(&of_stream), effect("revision of Müller")],
            };
            hide(&mut plan, &Redaction::of_letter(&letter));
            assert_eq!(plan.cause.as_deref(), Some(expected));
            let standing: Vec<_> =
                plan.effects.iter().filter_map(|effect| effect.standing.as_deref()).collect();
            assert_eq!(standing, [of_stream.as_str(), "<hidden>"]);
        }
    }
}
