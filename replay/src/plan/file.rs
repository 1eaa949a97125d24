//! Plans in files: written letter by letter, and refused when what they rest on has changed.

use std::collections::HashMap;
use std::io::{self, Write};

use futures_util::{StreamExt, stream};
use millstream_processor::letters::{LetterFilter, LetterHead, LetterId};
use millstream_processor::outcome::{Fault, FaultKind};
use serde::{Deserialize, Serialize};

use super::{AT_ONCE, LetterPlan, Totals};
use crate::desk::Desk;

/// The form of the file.
const FORM: u32 = 1;
/// How many differences are told one by one.
const NAMED: usize = 10;

/// Writes a plan as one JSON object, a letter at a time.
pub struct PlanWriter<W> {
    out: W,
    totals: Totals,
}

impl<W: Write> PlanWriter<W> {
    /// Begins a plan under a config.
    pub fn begin(mut out: W, config: &str) -> io::Result<Self> {
        write!(out, "{{\"form\":{FORM},\"config\":{},\"letters\":[", serde_json::to_string(config)?)?;
        Ok(Self { out, totals: Totals::default() })
    }

    /// Adds a letter.
    pub fn add(&mut self, plan: &LetterPlan) -> io::Result<()> {
        self.out.write_all(if self.totals.letters == 0 { b"\n" } else { b",\n" })?;
        self.totals.add(plan);
        Ok(serde_json::to_writer(&mut self.out, plan)?)
    }

    /// Ends the plan, and gives what it was written to.
    pub fn end(mut self) -> io::Result<W> {
        writeln!(self.out, "\n],\"totals\":{}}}", serde_json::to_string(&self.totals)?)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// What `apply` reads of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PlanFile {
    /// The form of the file.
    pub form: u32,
    /// The config that it was made under.
    pub config: String,
    /// The letters.
    pub letters: Vec<Pin>,
}

/// A letter as a plan saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The letter.
    pub id: LetterId,
    /// How often it had failed.
    pub tries: u64,
    /// How often its record had been edited.
    pub edited: u32,
}

/// Why a plan cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    /// The file is no plan.
    #[error("it is no plan of `millstream replay plan --out`: {0}")]
    Unreadable(String),
    /// It was made under another config.
    #[error("it was made under config {was}, and the config is {is} by now: make a new plan")]
    Config {
        /// The config of the plan.
        was: String,
        /// The config of today.
        is: String,
    },
    /// Letters are not what they were.
    #[error("letters have changed since it was made: {}: make a new plan", .0.join("; "))]
    Letters(Vec<String>),
    /// The letters cannot be listed.
    #[error("{0}")]
    Store(Fault),
}

impl PlanFile {
    /// Reads a plan.
    pub fn parse(json: &[u8]) -> Result<Self, PlanFileError> {
        let plan: Self =
            serde_json::from_slice(json).map_err(|error| PlanFileError::Unreadable(error.to_string()))?;
        match plan.form {
            FORM => Ok(plan),
            other => {
                Err(PlanFileError::Unreadable(format!("its form is {other}, and this version reads {FORM}")))
            }
        }
    }

    /// How many of its letters still wait; an error where it cannot be applied.
    pub async fn waiting(&self, desk: &Desk) -> Result<u64, PlanFileError> {
        Ok(self.clone().still_waiting(desk).await?.len() as u64)
    }

    /// Compares with what is now, and gives the letters that still wait. One that was closed since is done: that is
    /// how an apply that was stopped goes on.
    pub(crate) async fn still_waiting(self, desk: &Desk) -> Result<Vec<(LetterHead, Pin)>, PlanFileError> {
        if self.config != desk.pipeline.config {
            return Err(PlanFileError::Config { was: self.config, is: desk.pipeline.config.clone() });
        }
        let mut pins: HashMap<LetterId, Pin> =
            self.letters.into_iter().map(|pin| (pin.id.clone(), pin)).collect();
        let (filter, mut waiting, mut changed) = (LetterFilter::default(), Vec::new(), Vec::new());
        let mut heads = desk.letters().list(&filter);
        while let Some(head) = heads.next().await {
            let head = match head {
                Ok(head) => head,
                // A letter that cannot be read was in no plan.
                Err(fault) if fault.kind == FaultKind::Rejected => continue,
                Err(fault) => return Err(PlanFileError::Store(fault)),
            };
            let Some(pin) = pins.remove(&head.id) else { continue };
            changed.extend(pin.difference(&head));
            waiting.push((head, pin));
        }
        // A list lags behind, and of a queue others may hold a part: what it lacks may wait all the same.
        let mut unlisted: Vec<Pin> = pins.into_values().collect();
        unlisted.sort_by(|a, b| a.id.as_str().cmp(b.id.as_str()));
        let mut unlisted = stream::iter(unlisted).map(|pin| look_up(desk, pin)).buffered(AT_ONCE);
        while let Some(looked_up) = unlisted.next().await {
            match looked_up.map_err(PlanFileError::Store)? {
                LookedUp::Closed => {}
                LookedUp::Waits(head, pin) => {
                    changed.extend(pin.difference(&head));
                    waiting.push((*head, pin));
                }
                LookedUp::Gone(pin) => changed.push(format!(
                    "{} cannot be found: someone else is working on it, or it has expired",
                    pin.id
                )),
            }
        }
        if changed.is_empty() {
            return Ok(waiting);
        }
        let more = changed.len().saturating_sub(NAMED);
        changed.truncate(NAMED);
        changed.extend((more > 0).then(|| format!("and {more} more")));
        Err(PlanFileError::Letters(changed))
    }
}

/// What became of a letter that a list lacks.
enum LookedUp {
    /// It is done.
    Closed,
    /// It waits.
    Waits(Box<LetterHead>, Pin),
    /// Nobody knows it, and nobody says that it is done.
    Gone(Pin),
}

/// Asks for one letter by its name, which unlike a list never lags behind.
async fn look_up(desk: &Desk, pin: Pin) -> Result<LookedUp, Fault> {
    let letters = desk.letters();
    match letters.state(&pin.id).await? {
        Some(state) if !state.waits() => Ok(LookedUp::Closed),
        None => Ok(LookedUp::Gone(pin)),
        Some(_) => match letters.load(&pin.id).await? {
            Some(letter) if letter.head.state.waits() => Ok(LookedUp::Waits(Box::new(letter.head), pin)),
            Some(_) => Ok(LookedUp::Closed),
            None => Ok(LookedUp::Gone(pin)),
        },
    }
}

impl Pin {
    /// What is different about a letter by now.
    pub(crate) fn difference(&self, head: &LetterHead) -> Option<String> {
        if head.edited != self.edited {
            return Some(format!("{} was edited", self.id));
        }
        let tries = head.tries();
        (tries != self.tries).then(|| format!("{} failed again ({} tries, {tries} now)", self.id, self.tries))
    }
}
