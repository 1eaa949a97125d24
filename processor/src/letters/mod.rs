//! Dead letters: what could not be written, kept whole until someone mends the cause.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use millstream_projections::{KeyDigest, Value, Version};
use serde::{Deserialize, Serialize};

use crate::outcome::Fault;
use crate::retry::RetryPolicy;

/// The trail of what operators did, in one of our own tables.
mod audit;
/// Letters as JSON files in a directory.
pub mod directory;
/// The JSON of one letter, in a file or a message.
mod file;
/// Which letters to list.
mod filter;
/// How much of its past a letter remembers.
mod history;
/// Names of letters.
mod id;
/// Letters in an SQS queue.
pub mod queue;
/// Letters in a DynamoDB table.
pub mod table;
/// How many letters wait, and for how long.
pub mod tally;

pub use filter::LetterFilter;
pub use id::LetterId;
pub use tally::{Tally, Waiting};

/// How long a list or a person waits for a store that is throttled or away: the first wait, the longest, all together.
const READ_RETRY: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_secs(2), Duration::from_secs(20)];

/// How many letters are looked at side by side.
const STATES_AT_ONCE: usize = 8;

fn reads() -> RetryPolicy {
    let [initial, max, elapsed] = READ_RETRY;
    RetryPolicy::new(initial, max, elapsed)
}

/// One dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// What is known of it beside the record.
    pub head: LetterHead,
    /// The record as it came, before any transformation.
    pub record: Bytes,
}

/// All of a letter but its record: small, so lists need not read records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LetterHead {
    /// Its name.
    pub id: LetterId,
    /// Whether it still waits.
    pub state: LetterState,
    /// The source the record came from.
    pub source: String,
    /// The projection that failed; none if the record could not even be decoded.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub projection: Option<String>,
    /// Which configuration it failed under.
    pub config: String,
    /// The source item's key, where it is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<BTreeMap<String, Value>>,
    /// The digest of that key.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub digest: Option<String>,
    /// The version of the change.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// The attempts, first one first; only ever added to. The first and the latest 50 are kept, the rest is counted
    /// in [`Attempt::skipped`] of the first. A closing that did not last, since the letter was stored again, stands
    /// among them as [`Attempt::of_closing`] gives it.
    pub attempts: Vec<Attempt>,
    /// How often its record was edited.
    #[serde(default)]
    pub edited: u32,
    /// How it was closed, if it was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub closing: Option<Closing>,
}

impl LetterHead {
    /// The fault of the latest attempt.
    pub fn fault(&self) -> Option<&Attempt> {
        self.attempts.last()
    }

    /// How often it failed, those attempts included that are no longer kept.
    pub fn tries(&self) -> u64 {
        self.attempts.iter().map(|attempt| u64::from(attempt.is_failure()) + attempt.skipped).sum()
    }

    /// When it first failed, in seconds since 1970.
    pub fn first_at(&self) -> u64 {
        self.attempts.first().map_or(0, |attempt| attempt.at)
    }

    /// When it last failed, in seconds since 1970.
    pub fn last_at(&self) -> u64 {
        self.attempts.last().map_or(0, |attempt| attempt.at)
    }
}

/// Where a letter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LetterState {
    /// It failed, and waits to be replayed or discarded.
    Open,
    /// It never failed: it waits behind an earlier letter of its key, in a projection that keeps an order.
    Held,
    /// It was replayed: what it asks for is done.
    Replayed,
    /// Its target had this or something newer: there was nothing left to do.
    Superseded,
    /// Someone decided that it shall not be done.
    Discarded,
}

impl LetterState {
    /// All states, those that wait first.
    pub const ALL: [Self; 5] = [Self::Open, Self::Held, Self::Replayed, Self::Superseded, Self::Discarded];

    /// The name in stores and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Held => "held",
            Self::Replayed => "replayed",
            Self::Superseded => "superseded",
            Self::Discarded => "discarded",
        }
    }

    /// Reads the name.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether something is still to be done about it.
    pub fn waits(self) -> bool {
        match self {
            Self::Open | Self::Held => true,
            Self::Replayed | Self::Superseded | Self::Discarded => false,
        }
    }
}

/// How a letter was closed: by whom, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// A state that does not wait.
    pub state: LetterState,
    /// When, in seconds since 1970.
    pub at: u64,
    /// Who: the user of the operating system, and the caller's identity where it is known.
    pub by: String,
    /// What came of it, or the reason that was given.
    pub reason: String,
}

/// One thing that an operator did to a letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When, in seconds since 1970.
    pub at: u64,
    /// Who, as in [`Closing::by`].
    pub by: String,
    /// What: `apply`, `discard`, `edit`, `import`; of a store that cannot keep what is discarded, also `delete`.
    pub action: String,
    /// Which letter, where it was one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub letter: Option<LetterId>,
    /// What came of it.
    pub result: String,
}

/// One failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When, in seconds since 1970.
    pub at: u64,
    /// The kind of fault, as [`FaultKind::as_str`](crate::outcome::FaultKind::as_str) gives it.
    pub fault: String,
    /// The causes, outermost first; long ones are cut.
    pub causes: Vec<String>,
    /// How many attempts after this one were left out, so that a letter that fails for ever stays small.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub skipped: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Attempt {
    /// An attempt that ended with `fault` at a time.
    pub fn new(at: u64, fault: &Fault) -> Self {
        Self { at, fault: fault.kind.as_str().to_owned(), causes: fault.causes.clone(), skipped: 0 }
    }

    /// What the history keeps of a closing when the letter is stored again: the state in the place of the fault.
    pub fn of_closing(closing: &Closing) -> Self {
        let causes = vec![closing.reason.clone(), format!("by {}", closing.by)];
        Self { at: closing.at, fault: closing.state.as_str().to_owned(), causes, skipped: 0 }
    }

    /// Whether it failed; else it is a closing that did not last.
    pub fn is_failure(&self) -> bool {
        LetterState::from_text(&self.fault).is_none_or(LetterState::waits)
    }
}

/// Which change a letter is about, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The source item's key.
    pub key: BTreeMap<String, Value>,
    /// Its digest.
    pub digest: KeyDigest,
    /// The version of the change.
    pub version: Version,
}

/// What became of a letter that was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is safe, and waits.
    Waits,
    /// It was closed before, in this state, and stays closed: there is nothing to be done about it.
    Closed(LetterState),
}

/// Keeps dead letters.
///
/// `store` promises with `Ok` that the letter is safe: it survives this process, with its whole record, whatever the
/// record's legal size. Storing the same letter again adds its attempt to the history, and loses nothing of it, and
/// changes nothing else but the state; two workers that store the same letter at once both succeed. A future that is
/// dropped before it ends may or may not have stored the letter, but never a part that reads as a whole. `Err` means
/// that the letter may be lost, so the change stays unfinished. What writes does not try again by itself: its caller
/// knows the deadline. After a fault nobody knows whether it was done. What reads does try again, since its caller
/// cannot take up a list where it broke off.
///
/// What a letter is after it was stored as open or held:
///
/// | it was | stored as open | stored as held |
/// |---|---|---|
/// | not there | open | held |
/// | open | open | open: what has failed is never held |
/// | held | open: it has failed now | held |
/// | replayed, superseded | open: it failed again | as it was: its turn has come and gone |
/// | discarded | discarded, with one more attempt | discarded |
///
/// Where it is as it was, nothing of it is changed. A closing that does not last becomes a line of the history.
pub trait LetterStore: Send + Sync {
    /// Stores a letter, open or held, whose head has exactly the one new attempt.
    fn store<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<Stored, Fault>>;

    /// All heads that match, oldest first attempt first as far as the store can order them; read as they are needed.
    /// A letter that cannot be read is an `Err` that names it, and the rest goes on. A store that cannot be read is an
    /// `Err` as well, after which there is nothing.
    fn list<'a>(&'a self, filter: &'a LetterFilter) -> BoxStream<'a, Result<LetterHead, Fault>>;

    /// One letter with its record; `None` if there is none of that name.
    fn load<'a>(&'a self, id: &'a LetterId) -> BoxFuture<'a, Result<Option<Letter>, Fault>>;

    /// Closes a letter that waits, and whose record is the one that was seen. `Ok(false)`: it does not wait any more, is
    /// not there, or was edited meanwhile (`edited` is not what `seen` says); nothing was changed. Of two operators that
    /// close one letter at once, one gets `true`. A closed letter is kept, with its record, until it expires; a store
    /// that cannot keep it says so in its docs. Neither `close` nor `edit` lets a letter live longer: one that outlives
    /// a tombstone could bring a removed row back.
    fn close<'a>(
        &'a self,
        id: &'a LetterId,
        seen: u32,
        closing: &'a Closing,
    ) -> BoxFuture<'a, Result<bool, Fault>>;

    /// Where a letter stands; `None` if it was never stored, or is forgotten. Unlike `load` this also knows letters that
    /// were closed and are not kept.
    fn state<'a>(&'a self, id: &'a LetterId) -> BoxFuture<'a, Result<Option<LetterState>, Fault>> {
        Box::pin(async move { Ok(self.load(id).await?.map(|letter| letter.head.state)) })
    }

    /// In which state a letter is closed; `None` if it waits, was never stored, or is forgotten. The same as `state`, but
    /// a worker may ask it at any time: it takes no letter out of anyone's sight.
    fn closed<'a>(&'a self, id: &'a LetterId) -> BoxFuture<'a, Result<Option<LetterState>, Fault>> {
        Box::pin(async move { Ok(self.state(id).await?.filter(|state| !state.waits())) })
    }

    /// Where several letters stand, in the order of their ids: as `state` says it of each. Only a queue can do better than
    /// to look for one after the other.
    fn states<'a>(&'a self, ids: &'a [LetterId]) -> BoxFuture<'a, Result<Vec<Option<LetterState>>, Fault>> {
        // Collected first: a stream over a borrowing iterator is not general enough for the futures of a worker.
        let states: Vec<_> = ids.iter().map(|id| self.state(id)).collect();
        Box::pin(futures_util::stream::iter(states).buffered(STATES_AT_ONCE).try_collect())
    }

    /// Whether a letter that is not found is not there. In a queue another process may have received it.
    fn knows_absence(&self) -> bool {
        true
    }

    /// Closes a letter that is not found, where that does not say that it is not there (`knows_absence`): should it turn
    /// up, it is closed. `Ok(false)`: it was closed before, or what is not found is not there.
    fn close_unseen<'a>(
        &'a self,
        _id: &'a LetterId,
        _closing: &'a Closing,
    ) -> BoxFuture<'a, Result<bool, Fault>> {
        Box::pin(std::future::ready(Ok(false)))
    }

    /// How many letters wait. It may be asked at any time: it takes no letter out of anyone's sight. `Err` if not all can be
    /// counted.
    fn waiting(&self) -> BoxFuture<'_, Result<Waiting, Fault>> {
        Box::pin(async move { Tally::of(self.list(&LetterFilter::default())).await.map(Waiting::Letters) })
    }

    /// Whether every worker sees the same letters. A directory may be that of one host.
    fn is_shared(&self) -> bool {
        true
    }

    /// Puts another record in the place of a waiting letter's. The first original is kept, and `edited` is counted up.
    /// `Ok(false)`: it does not wait any more, is not there, or was edited meanwhile (`edited` is not what `seen` says).
    fn edit<'a>(
        &'a self,
        id: &'a LetterId,
        seen: u32,
        record: &'a Bytes,
    ) -> BoxFuture<'a, Result<bool, Fault>>;

    /// The record as it was before its first edit; `None` if it was never edited or is not there.
    fn original<'a>(&'a self, id: &'a LetterId) -> BoxFuture<'a, Result<Option<Bytes>, Fault>>;

    /// Tells the store that the letter is still being worked on for a while, so that nobody else takes it up. Only a
    /// queue needs it; elsewhere guards and `close` are enough. `Err` with a conflict: others have it, or it is gone.
    fn prolong<'a>(&'a self, _id: &'a LetterId) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Lets others have at once whatever this process still holds of the store. To be called when a command or a batch
    /// ends; without it they wait until a time is over. Only a queue needs it.
    fn release(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Adds a line to the trail of what operators did. It is only ever added to.
    fn audit<'a>(&'a self, entry: &'a AuditEntry) -> BoxFuture<'a, Result<(), Fault>>;

    /// The trail, oldest first, read as it is needed. A line that cannot be read is an `Err` that names its place, and
    /// the rest goes on.
    fn trail(&self) -> BoxStream<'_, Result<AuditEntry, Fault>>;
}
