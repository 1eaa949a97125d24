//! All letters of a plan in numbers.

use std::fmt;

use serde::Serialize;

use super::{LetterPlan, Verdict};

/// How many letters would become what.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// All of them.
    pub letters: u64,
    /// Those that would write.
    pub would_write: u64,
    /// Those whose targets have them already.
    pub stale: u64,
    /// Those whose targets have something newer.
    pub superseded: u64,
    /// Those too old to be sure that their rows were not removed since.
    pub too_old: u64,
    /// Those that ask for nothing.
    pub no_effect: u64,
    /// Those that would be rejected again.
    pub still_rejected: u64,
    /// Those behind an earlier letter.
    pub held: u64,
    /// Those without a projection or source in the config.
    pub unknown: u64,
    /// Those of which nothing can be told.
    pub unfinished: u64,
    /// Those that failed under another config.
    pub other_config: u64,
}

impl Totals {
    /// Counts one letter.
    pub fn add(&mut self, plan: &LetterPlan) {
        self.letters += 1;
        self.other_config += u64::from(plan.other_config.is_some());
        *match plan.verdict {
            Verdict::WouldWrite => &mut self.would_write,
            Verdict::Stale => &mut self.stale,
            Verdict::Superseded => &mut self.superseded,
            Verdict::TooOld => &mut self.too_old,
            Verdict::NoEffect => &mut self.no_effect,
            Verdict::StillRejected => &mut self.still_rejected,
            Verdict::Held => &mut self.held,
            Verdict::UnknownProjection | Verdict::UnknownSource => &mut self.unknown,
            Verdict::Unfinished => &mut self.unfinished,
        } += 1;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.letters == 1 { "" } else { "s" };
        write!(f, "{} letter{plural}", self.letters)?;
        let parts = [
            (self.would_write, "would write"),
            (self.stale, "stale"),
            (self.superseded, "superseded"),
            (self.too_old, "too old"),
            (self.no_effect, "with nothing to do"),
            (self.still_rejected, "still rejected"),
            (self.held, "held"),
            (self.unknown, "not in the config"),
            (self.unfinished, "cannot be told"),
        ];
        for (place, (count, what)) in parts.iter().filter(|(count, _)| *count > 0).enumerate() {
            write!(f, "{} {count} {what}", if place == 0 { ":" } else { "," })?;
        }
        if self.other_config > 0 {
            write!(f, "; {} failed under another config", self.other_config)?;
        }
        Ok(())
    }
}
