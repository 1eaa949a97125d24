//! Which letters a command is about.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use millstream_processor::clock::{Clock, SystemClock};
use millstream_processor::letters::{LetterFilter, LetterState};
use millstream_processor::outcome::FaultKind;
use millstream_projections::item::Item;
use millstream_projections::{KeyDigest, ProjectionName, SourceName, Value};

use super::{Failure, Known, quoted};
use crate::output::complain;

mod moment;

/// The kinds of fault that a filter takes.
const FAULTS: [FaultKind; 7] = [
    FaultKind::Rejected,
    FaultKind::Throttled,
    FaultKind::Unavailable,
    FaultKind::Conflict,
    FaultKind::Misconfigured,
    FaultKind::OutOfTime,
    FaultKind::Held,
];

#[derive(Debug, Default, Args)]
pub(super) struct FilterArgs {
    /// Only letters of this projection
    #[arg(long, value_name = "NAME")]
    pub(super) projection: Option<String>,
    /// Only letters of this source
    #[arg(long, value_name = "NAME")]
    pub(super) source: Option<String>,
    /// Only letters about this source item: its key as JSON, or the digest that `show` gives
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Only letters whose latest attempt failed like this
    #[arg(long, value_name = "KIND", value_parser = fault_parser())]
    fault: Option<FaultKind>,
    /// Only letters that first failed then or later: 2025-06-15T15:00:00Z, 2025-06-15, or 2h (ago)
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Only letters that first failed before that
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Only letters in these states; without it, those that wait
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = state_parser())]
    state: Vec<LetterState>,
}

fn fault_parser() -> impl TypedValueParser<Value = FaultKind> {
    PossibleValuesParser::new(FAULTS.map(FaultKind::as_str)).try_map(|text| {
        FAULTS.into_iter().find(|kind| kind.as_str() == text).ok_or("it is not a kind of fault")
    })
}

fn state_parser() -> impl TypedValueParser<Value = LetterState> {
    PossibleValuesParser::new(LetterState::ALL.map(LetterState::as_str))
        .try_map(|text| LetterState::from_text(&text).ok_or("it is not a state"))
}

impl FilterArgs {
    /// Whether nothing was asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.projection.is_none()
            && self.source.is_none()
            && self.key.is_none()
            && self.fault.is_none()
            && self.since.is_none()
            && self.until.is_none()
            && self.state.is_empty()
    }

    /// The filter, or what is wrong with it.
    pub(super) fn filter(&self, known: &Known) -> Result<LetterFilter, Failure> {
        let projection = self.projection.as_deref().map(|name| {
            ProjectionName::new(name).map_err(|_| unknown("projection", name, &known.projections))
        });
        let source = self
            .source
            .as_deref()
            .map(|name| SourceName::new(name).map_err(|_| unknown("source", name, &known.sources)));
        let now = SystemClock.unix_seconds();
        let time = |flag: &str, text: &Option<String>| {
            let Some(text) = text else { return Ok(None) };
            moment::seconds(text, now).map(Some).ok_or_else(|| {
                Failure::Usage(format!(
                    "{flag} {text:?} is no time: write 2025-06-15T15:00:00Z, 2025-06-15, or 2h for two hours ago"
                ))
            })
        };
        Ok(LetterFilter {
            projection: projection.transpose()?,
            source: source.transpose()?,
            digest: self.key.as_deref().map(digest).transpose()?,
            fault: self.fault,
            since: time("--since", &self.since)?,
            until: time("--until", &self.until)?,
            states: self.state.clone(),
        })
    }

    /// Says that nothing was found, unless the filter is to blame. Letters stay when their projection or source goes, so
    /// only a name that is in neither place is a mistake.
    pub(super) fn nothing(&self, known: &Known, said: &str) -> Result<(), Failure> {
        for (what, name, names) in
            [("projection", &self.projection, &known.projections), ("source", &self.source, &known.sources)]
        {
            if let Some(name) = name.as_ref().filter(|name| !names.contains(name)) {
                return Err(unknown(what, name, names));
            }
        }
        complain(said);
        Ok(())
    }
}

fn unknown(what: &str, name: &str, known: &[String]) -> Failure {
    let advice = match known.is_empty() {
        true => format!("the config has no {what}s"),
        false => format!("the config has {}", quoted(known)),
    };
    Failure::Usage(format!(
        "there is no {what} `{}`, nor are there letters of it; {advice}",
        name.escape_debug()
    ))
}

/// The digest of a key, which may be given itself, in DynamoDB's JSON, or in plain JSON.
fn digest(text: &str) -> Result<KeyDigest, Failure> {
    if let Some(digest) = KeyDigest::from_text(text) {
        return Ok(digest);
    }
    let wrong = || {
        Failure::Usage(format!(
            "--key {text:?} is no key: write {{\"orderId\":\"o1\"}}, {{\"orderId\":{{\"S\":\"o1\"}}}}, or a digest"
        ))
    };
    let members: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|_| wrong())?;
    let mut key = Item::default();
    for (name, value) in members {
        let value = match value {
            serde_json::Value::String(text) => Value::S(text),
            serde_json::Value::Number(number) => Value::N(number.to_string()),
            typed => serde_json::from_value(typed).map_err(|_| wrong())?,
        };
        key.insert(name, value);
    }
    if key.is_empty() { Err(wrong()) } else { Ok(KeyDigest::of(&key)) }
}
