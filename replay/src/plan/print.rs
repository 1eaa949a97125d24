//! Plans as a terminal shows them.

use std::fmt::{Display, Formatter, Result};

use super::{EffectPlan, LetterPlan, Verdict};
use crate::show::{Difference, ShownValue};
use crate::value::{printable, text};

/// The widest value; `--json` has them whole.
const WIDEST: usize = 48;
/// The longest event; `--json` has it whole.
const EVENT: usize = 400;

impl Display for LetterPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let projection = self.projection.as_deref().unwrap_or("(all projections)");
        writeln!(f, "{}  {} from {}", self.id, printable(projection), printable(&self.source))?;
        write!(f, "  {}", self.without_name())
    }
}

/// What would become of a letter that the reader has before him already.
struct WithoutName<'a>(&'a LetterPlan);

impl LetterPlan {
    /// The plan without the letter's name, its first line not indented.
    pub fn without_name(&self) -> impl Display {
        WithoutName(self)
    }
}

impl Display for WithoutName<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self(plan) = self;
        f.write_str(plan.verdict.as_str())?;
        if let Some(cause) = &plan.cause {
            write!(f, ": {}", printable(cause))?;
        }
        if let Some(behind) = &plan.behind {
            write!(f, ": {behind}")?;
        }
        writeln!(f)?;
        if let Some(config) = &plan.other_config {
            writeln!(f, "  it failed under another config, {}", printable(config))?;
        }
        plan.effects.iter().try_for_each(|effect| write!(f, "{effect}"))
    }
}

impl Display for EffectPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let key: Vec<String> =
            self.key.iter().map(|(name, value)| format!("{} = {}", printable(name), shown(value))).collect();
        write!(f, "  {} {}", self.write, printable(&self.resource))?;
        if !key.is_empty() {
            write!(f, " ({})", key.join(", "))?;
        }
        match (self.verdict, self.note) {
            (Verdict::WouldWrite, _) => writeln!(f)?,
            (_, Some(note)) => writeln!(f, ": nothing, {note}")?,
            (verdict, None) => writeln!(f, ": {}", verdict.as_str())?,
        }
        let changed = self.attributes.iter().filter(|it| it.difference != Difference::Same);
        for attribute in changed.filter(|_| self.verdict == Verdict::WouldWrite) {
            let side = |value: &Option<ShownValue>| value.as_ref().map_or_else(|| "-".to_owned(), shown);
            let name = printable(&attribute.name);
            writeln!(f, "    {name}: {} -> {}", side(&attribute.old), side(&attribute.new))?;
        }
        match &self.event {
            Some(event) => writeln!(f, "    {}", cut(&printable(event.get()), EVENT)),
            None => Ok(()),
        }
    }
}

fn shown(value: &ShownValue) -> String {
    match value {
        ShownValue::Value(value) => cut(&text(value), WIDEST),
        ShownValue::Hidden(kind) => kind.clone(),
    }
}

fn cut(text: &str, widest: usize) -> String {
    match text.char_indices().nth(widest) {
        None => text.to_owned(),
        Some(_) => text.chars().take(widest - 1).chain(['…']).collect(),
    }
}
