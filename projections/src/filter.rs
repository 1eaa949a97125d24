//! What of a config an event source mapping can leave out by itself: filter patterns in the syntax of AWS Lambda.
//!
//! A pattern lets through at least every change that has an effect. It can tell what an item is, before and after, and not
//! whether two images differ, nor how numbers compare. So each `where` is made wider until patterns can say it: an
//! attribute that is missing, or of another type, passes; what has no pattern passes; and if nothing is left of one
//! `where`, there is no filter at all, since all projections of a source share one. A change passes if the item belongs to
//! a projection before it *or* after it: a removal, and a change by which an item stops matching, have to be seen. What is
//! no INSERT, MODIFY or REMOVE passes, to become a letter. Alternatives that are more than patterns are joined, which makes
//! them wider again. None share a pattern by `$or`: AWS's own matcher then misses events that it should let through.

/// What an attribute may be.
mod allowed;
/// As many alternatives as there may be patterns.
mod fit;
/// Conditions that patterns can say.
mod formula;
/// From CEL to such conditions.
mod widen;

use serde_json::{Value, json};

use self::fit::{Alternative, alternatives, fitted};
use self::formula::Formula;
use crate::config::{ProjectionConfig, SourceConfig, SourceKind};
use crate::name::ProjectionName;

/// The most patterns of one event source mapping.
pub const MAX_PATTERNS: usize = 5;
/// The most characters of one pattern.
pub const MAX_PATTERN: usize = 4_096;

/// What a mapping may leave out.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// A change passes that matches one of these. Without any, all pass.
    pub patterns: Vec<Value>,
    /// What became of each projection.
    pub projections: Vec<Pushed>,
    /// Whether there is no pattern, although each projection could be said by some: they are too many, and have no attribute
    /// in common by which they could be joined, or are too long.
    pub too_large: bool,
}

/// What became of one projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Its name.
    pub projection: ProjectionName,
    /// Why it needs every change, if it does.
    pub needs_all: Option<String>,
}

/// The filter of a source, for the projections that follow it.
pub fn filter<'c>(
    source: &SourceConfig,
    projections: impl IntoIterator<Item = &'c ProjectionConfig>,
) -> Filter {
    let (mut after, mut before) = (Formula::never(), Formula::never());
    let mut pushed = Vec::new();
    for projection in projections {
        let selection = projection.kind.selection();
        let (formula, needs_all) = match &selection.condition {
            Some(condition) => {
                let (formula, why) = widen::widened(condition.expression());
                let needs_all = formula.is_always().then_some(why);
                (formula, needs_all)
            }
            None if selection.changed.is_empty() => {
                (Formula::always(), Some("it follows every change".to_owned()))
            }
            None => {
                let why = "`changed` compares two images, which no pattern can".to_owned();
                (Formula::always(), Some(why))
            }
        };
        // What the item was before is not known where `where` speaks of the change itself, or the stream does not tell.
        let unknowable = selection
            .condition
            .as_ref()
            .is_some_and(|condition| condition.reads_old() || condition.reads_event());
        let formerly = if unknowable || !source.view.has_old() { Formula::always() } else { formula.clone() };
        (after, before) = (after.or(formula), before.or(formerly));
        pushed.push(Pushed { projection: projection.name.clone(), needs_all });
    }
    let is_filtered = matches!(source.kind, SourceKind::Table(_))
        && !pushed.is_empty()
        && pushed.iter().all(|pushed| pushed.needs_all.is_none());
    let patterns = if is_filtered { patterns(&after, &before) } else { Some(Vec::new()) };
    Filter { too_large: patterns.is_none(), patterns: patterns.unwrap_or_default(), projections: pushed }
}

/// The patterns of what an item is after a change and before it; none if a mapping does not take them.
fn patterns(after: &Formula, before: &Formula) -> Option<Vec<Value>> {
    let strange = json!({
        "eventName": [{ "anything-but": ["INSERT", "MODIFY", "REMOVE"] }, { "exists": false }],
    });
    let alternatives = fitted(alternatives(after, before), MAX_PATTERNS - 1)?;
    let patterns: Vec<Value> =
        std::iter::once(strange).chain(alternatives.iter().map(Alternative::pattern)).collect();
    let fits = |pattern: &Value| pattern.to_string().chars().count() <= MAX_PATTERN;
    patterns.iter().all(fits).then_some(patterns)
}
