//! Takes letters up again: through today's pipeline, under the same guards, in the order of their keys.
//!
//! Nothing here makes a repeat safe but what makes the pipeline safe. A letter is closed only after its effects are
//! done, so a run that breaks off anywhere is simply run again: what was closed is not listed any more, what was
//! written but not closed is stale, and two operators at once do no harm. Events go out at least once, and those of
//! one key in the order of their versions within one run.

use std::collections::HashMap;

use futures_util::StreamExt;
use millstream_processor::letters::{LetterFilter, LetterHead, LetterId};
use millstream_projections::{KeyDigest, SourceName};
use serde::Serialize;

use crate::desk::{Desk, ordered};
use crate::keys::OrderedKey;
use crate::plan::{Pin, PlanFile, PlanFileError};

use self::letter::Worker;
use self::pace::Gate;

pub use pace::{Brake, Pace, Stopped};

/// Keys whose changes go out in their order.
mod key;
/// One letter.
mod letter;
mod pace;

/// Which letters to take up.
#[derive(Debug, Clone)]
pub enum Selection {
    /// Those that a filter admits now.
    Filter(LetterFilter),
    /// Those of a plan, if nothing has changed since.
    Plan(PlanFile),
    /// None: only keys are let go, of those that a filter admits, that nothing waits behind any more.
    Keys(LetterFilter),
}

/// What came of one letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Its effects are done; the letter is closed.
    Replayed {
        /// Rows and events written.
        written: u64,
    },
    /// Its targets had this or something newer; nothing was written, and the letter is closed.
    Superseded,
    /// It was closed by someone else meanwhile.
    WasClosed,
    /// It was edited while it was done as it had been; the letter waits, as it is now.
    Edited,
    /// What failed of it are letters of their own now; the letter is closed.
    Lettered(Vec<LetterId>),
    /// It failed again: the letter has one more attempt.
    Rejected(String),
    /// A later removal of its row may be forgotten by now; the letter is as it was.
    TooOld,
    /// It could not be done now; the letter is as it was.
    Unfinished(String),
    /// Its projection is not in the config.
    UnknownProjection,
    /// Its source is not in the config, or its projection follows another one.
    UnknownSource,
    /// It is not what the plan saw.
    Changed(String),
    /// An earlier letter of its key was not chosen, or failed.
    Behind(LetterId),
}

impl Outcome {
    /// Whether nothing is left to be done.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Replayed { .. } | Self::Superseded | Self::WasClosed => true,
            Self::Edited
            | Self::Lettered(_)
            | Self::Rejected(_)
            | Self::TooOld
            | Self::Unfinished(_)
            | Self::UnknownProjection
            | Self::UnknownSource
            | Self::Changed(_)
            | Self::Behind(_) => false,
        }
    }

    /// In words.
    pub fn text(&self) -> String {
        match self {
            Self::Replayed { written: 0 } => "replayed: nothing to write under today's config".to_owned(),
            Self::Replayed { written } => format!("replayed: {written} written"),
            Self::Superseded => "superseded: its targets have this or something newer".to_owned(),
            Self::WasClosed => "was closed meanwhile".to_owned(),
            Self::Edited => "edited meanwhile: what was done is what it said before; apply it again".to_owned(),
            Self::Lettered(ids) => {
                let ids: Vec<_> = ids.iter().map(LetterId::as_str).collect();
                format!("failed in part: see {}", ids.join(", "))
            }
            Self::Rejected(cause) => format!("failed again: {cause}"),
            Self::Unfinished(cause) => format!("unfinished: {cause}"),
            Self::TooOld => "too old: a later removal of its row may be forgotten by now; discard it, or rebuild the projection".to_owned(),
            Self::UnknownProjection => "its projection is not in the config".to_owned(),
            Self::UnknownSource => "its source is not in the config".to_owned(),
            Self::Changed(what) => format!("not what the plan saw: {what}"),
            Self::Behind(id) => format!("behind {id}, which has to go first"),
        }
    }
}

/// A letter and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Done {
    /// The letter.
    pub id: LetterId,
    /// Its projection.
    pub projection: Option<String>,
    /// What came of it.
    pub outcome: Outcome,
}

/// How far an apply is.
#[derive(Debug, Clone, Copy)]
pub enum Progress<'a> {
    /// So many letters were chosen.
    Chosen(u64),
    /// One more was taken up.
    Letter(&'a Done),
}

/// What came of an apply.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// How many letters were chosen.
    pub chosen: u64,
    /// How many were replayed.
    pub replayed: u64,
    /// How many were superseded.
    pub superseded: u64,
    /// How many were closed by someone else meanwhile.
    pub was_closed: u64,
    /// How many failed, again or in part, or could not be done.
    pub failed: u64,
    /// How many stay behind an earlier one of their key.
    pub behind: u64,
    /// Keys that still wait, although nothing of them can be replayed: `faults` names each, and the letters that it lacks.
    pub still_held: u64,
    /// How many were not taken up: chosen ones, and such as wait behind those that were.
    #[serde(skip)]
    pub left: u64,
    /// Why it ended before the last letter.
    #[serde(skip)]
    pub stopped: Option<Stopped>,
    /// What else went wrong: letters that cannot be read, keys that still wait, an audit trail that cannot be written.
    pub faults: Vec<String>,
}

impl Applied {
    /// Whether everything that was taken up is done.
    pub fn is_clean(&self) -> bool {
        self.failed == 0 && self.behind == 0 && self.still_held == 0 && self.faults.is_empty()
    }

    fn count(&mut self, outcome: &Outcome) {
        *match outcome {
            Outcome::Replayed { .. } => &mut self.replayed,
            Outcome::Superseded => &mut self.superseded,
            Outcome::WasClosed => &mut self.was_closed,
            Outcome::Behind(_) => &mut self.behind,
            Outcome::Edited
            | Outcome::Lettered(_)
            | Outcome::Rejected(_)
            | Outcome::TooOld
            | Outcome::Unfinished(_)
            | Outcome::UnknownProjection
            | Outcome::UnknownSource
            | Outcome::Changed(_) => &mut self.failed,
        } += 1;
    }
}

/// Takes up the selected letters: those of one key in the order of their versions, different keys side by side.
pub async fn apply(
    desk: &Desk,
    selection: Selection,
    pace: Pace,
    brake: &Brake,
    tell: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Applied, PlanFileError> {
    let mut faults = Vec::new();
    let (letters, everything) = match selection {
        Selection::Filter(filter) => (chosen(desk, &filter, &mut faults).await, Some(filter)),
        Selection::Plan(plan) => {
            let waiting = plan.still_waiting(desk).await?;
            (waiting.into_iter().map(|(head, pin)| Chosen::new(head, Some(pin))).collect(), None)
        }
        Selection::Keys(filter) => (Vec::new(), Some(filter)),
    };
    let count = letters.len() as u64;
    tell(Progress::Chosen(count));
    let applied = Applied { chosen: count, left: count, ..Applied::default() }.into();
    let worker = Worker { desk, gate: Gate::new(pace, brake), tell, applied, still_held: Default::default() };
    let groups = groups(desk, letters);
    futures_util::stream::iter(&groups)
        .for_each_concurrent(pace.concurrency.max(1), |group| worker.group(group))
        .await;
    if let Some(filter) = everything.filter(|_| worker.gate.stopped().is_none()) {
        worker.free_forgotten_keys(&filter).await;
    }
    let stopped = worker.gate.stopped();
    let mut applied = worker.applied.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    applied.stopped = stopped;
    applied.faults.splice(0..0, faults);
    Ok(applied)
}

/// All that is kept of a letter until its turn: a hundred thousand of them are a few megabytes.
struct Chosen {
    id: LetterId,
    version: Option<String>,
    pin: Option<Pin>,
    place: Place,
}

/// Letters of one place are taken up one after another.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Place {
    source: String,
    projection: Option<String>,
    digest: Option<String>,
}

impl Chosen {
    fn new(head: LetterHead, pin: Option<Pin>) -> Self {
        let place = Place { source: head.source, projection: head.projection, digest: head.digest };
        Self { id: head.id, version: head.version, pin, place }
    }
}

/// The letters of one key in one projection, by version.
struct Group {
    letters: Vec<Chosen>,
    /// Set where the projection keeps an order.
    key: Option<OrderedKey>,
}

async fn chosen(desk: &Desk, filter: &LetterFilter, faults: &mut Vec<String>) -> Vec<Chosen> {
    let mut letters = Vec::new();
    let mut heads = desk.letters().list(filter);
    while let Some(head) = heads.next().await {
        match head {
            // Whatever states were asked for: what is closed is done.
            Ok(head) if head.state.waits() => letters.push(Chosen::new(head, None)),
            Ok(_) => {}
            Err(fault) => faults.push(fault.to_string()),
        }
    }
    letters
}

/// Groups letters by key; the group whose letter came first is first.
fn groups(desk: &Desk, letters: Vec<Chosen>) -> Vec<Group> {
    let mut places: HashMap<Place, usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for letter in letters {
        // A letter whose key nobody knows stands alone.
        let known = letter.place.digest.as_ref().map(|_| &letter.place);
        let place = match known.and_then(|place| places.get(place)) {
            Some(place) => *place,
            None => {
                places.insert(letter.place.clone(), groups.len());
                groups.push(Group { key: ordered_key(desk, &letter.place), letters: Vec::new() });
                groups.len() - 1
            }
        };
        groups[place].letters.push(letter);
    }
    for group in &mut groups {
        group.letters.sort_by(|a, b| a.version.cmp(&b.version));
    }
    groups
}

fn ordered_key(desk: &Desk, place: &Place) -> Option<OrderedKey> {
    let route = desk.route(&place.source, place.projection.as_deref());
    let projection = place.projection.as_ref().and_then(|_| ordered(&route))?;
    let digest = KeyDigest::from_text(place.digest.as_deref()?)?;
    Some(OrderedKey { source: SourceName::new(&place.source).ok()?, projection, digest })
}
