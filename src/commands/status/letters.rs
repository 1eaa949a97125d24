//! The letters that wait, as their store tells it without taking one out of anyone's sight.

use std::sync::Arc;
use std::time::Duration;

use millstream_processor::clock::{Clock, SystemClock};
use millstream_processor::letters::{LetterState, LetterStore, Tally, Waiting};
use millstream_processor::wiring::{self, Aws};
use millstream_projections::config::{Config, LettersStore};
use serde::Serialize;
use tokio::time::{Instant, timeout};

/// How long counting may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often letters are counted anew while someone watches.
const COUNT_EVERY: Duration = Duration::from_secs(30);

/// The letters at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LettersView {
    /// Where they are.
    pub(super) store: String,
    /// Why there is nothing to tell, where that is so.
    pub(super) fault: Option<String>,
    /// About how many messages a queue has; a letter is one or more.
    pub(super) messages: Option<u64>,
    /// Where the store can count them.
    pub(super) projections: Vec<ProjectionLetters>,
}

/// The letters of one projection that wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProjectionLetters {
    pub(super) projection: String,
    pub(super) open: u64,
    pub(super) held: u64,
    /// How long the oldest of them waits; none without one.
    pub(super) oldest_seconds: Option<u64>,
}

impl LettersView {
    /// How many there are, if that is known.
    pub(super) fn count(&self) -> Option<u64> {
        let is_counted = self.fault.is_none() && self.messages.is_none();
        is_counted.then(|| self.projections.iter().map(|it| it.open + it.held).sum())
    }
}

/// Counts the letters of a config.
pub(super) struct Counter {
    letters: Arc<dyn LetterStore>,
    place: String,
    projections: Vec<String>,
    last: Option<(Instant, Result<Waiting, String>)>,
}

impl Counter {
    pub(super) fn new(config: &Config, aws: &Aws) -> Self {
        let place = match &config.letters.store {
            LettersStore::Table => format!("table {}", config.state.letters_table()),
            LettersStore::Queue(url) => format!("queue {url}"),
            LettersStore::Directory(path) => format!("directory {}", path.display()),
        };
        let names = config.projections.iter().map(|projection| projection.name.to_string());
        let letters = wiring::letters(config, aws, Arc::new(SystemClock));
        Self { letters, place, projections: names.collect(), last: None }
    }

    /// As they are, or were a moment ago.
    pub(super) async fn view(&mut self) -> LettersView {
        let is_due = self.last.as_ref().is_none_or(|(at, _)| at.elapsed() >= COUNT_EVERY);
        if is_due {
            let waiting = match timeout(PATIENCE, self.letters.waiting()).await {
                Ok(waiting) => waiting.map_err(|fault| fault.to_string()),
                Err(_) => Err(format!("counting them takes longer than {} s", PATIENCE.as_secs())),
            };
            self.last = Some((Instant::now(), waiting));
        }
        let store = self.place.clone();
        let (fault, messages, projections) = match self.last.as_ref().map(|(_, waiting)| waiting) {
            Some(Ok(Waiting::Letters(tally))) => (None, None, self.by_projection(tally)),
            Some(Ok(Waiting::Messages(messages))) => (None, Some(*messages), Vec::new()),
            Some(Err(fault)) => (Some(fault.clone()), None, Vec::new()),
            None => (None, None, Vec::new()),
        };
        LettersView { store, fault, messages, projections }
    }

    fn by_projection(&self, counted: &Tally) -> Vec<ProjectionLetters> {
        let now = SystemClock.unix_seconds();
        let mut tally = Tally::of_projections(self.projections.iter().map(String::as_str));
        tally.projections.extend(counted.projections.clone());
        let of = |(projection, count): (String, millstream_processor::letters::tally::Count)| {
            let letters = |state: LetterState| count.letters.get(state.as_str()).copied().unwrap_or_default();
            ProjectionLetters {
                projection,
                open: letters(LetterState::Open),
                held: letters(LetterState::Held),
                oldest_seconds: count.oldest.map(|oldest| now.saturating_sub(oldest)),
            }
        };
        tally.projections.into_iter().map(of).collect()
    }
}
