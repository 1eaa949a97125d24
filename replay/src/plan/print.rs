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
        write!(f, "  {}", self.verdict.as_str())?;
        if let Some(cause) = &self.cause {
            write!(f, ": {}", printable(cause))?;
        }
        if let Some(behind) = &self.behind {
            write!(f, ": {behind}")?;
        }
        writeln!(f)?;
        if let Some(config) = &self.other_config {
            writeln!(f, "  it failed under another config, {}", printable(config))?;
        }
        self.effects.iter().try_for_each(|effect| write!(f, "{effect}"))
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
