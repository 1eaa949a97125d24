//! What projections read of a change, against what the stream of their source carries.

use super::error::Section;
use super::projection::{Kind, ProjectionConfig};
use super::source::{SourceConfig, SourceKind, StreamView};

/// Notes every projection that needs an image which the stream does not carry.
pub(super) fn check(projection: &ProjectionConfig, source: &SourceConfig, section: &mut Section<'_>) {
    if !matches!(source.kind, SourceKind::Table(_)) {
        return;
    }
    for (key, what) in lacks(&projection.kind, source.view) {
        let what =
            format!("{what}, but stream_view = \"{}\" of source `{}`", source.view.as_str(), source.name);
        section.error_here(key, what, "give the table's stream NEW_AND_OLD_IMAGES");
    }
}

fn lacks(kind: &Kind, view: StreamView) -> Vec<(&'static str, String)> {
    let (new, old) = (view.has_new(), view.has_old());
    let selection = kind.selection();
    let mut lacks = Vec::new();
    let mut need = |there: bool, key, what: &str| {
        if !there {
            lacks.push((key, what.to_owned()));
        }
    };
    match kind {
        Kind::Replica(_) | Kind::Copy(_) | Kind::Aggregate(_) | Kind::Index(_) => {
            need(new, "kind", "needs the item after a change")
        }
        Kind::Emit(emit) if !emit.include.is_empty() => need(new || old, "include", "needs the item"),
        Kind::Emit(_) => {}
    }
    if let Some(condition) = &selection.condition {
        need(new || !condition.reads_new(), "where", "reads `new`");
        need(old || !condition.reads_old(), "where", "reads `old`");
    }
    need(selection.changed.is_empty() || (new && old), "changed", "compares the item before and after");
    // A removal takes its version from the old image, every other change from the new one.
    need(selection.version.is_none() || (new && old), "version", "is read from the item before and after");
    // A fold finds its former rows in the ledger.
    if kind.is_fold() {
        return lacks;
    }
    let nested = kind.key().iter().flat_map(|(_, template)| template.placeholders());
    let nested = nested.map(|placeholder| &placeholder.path).find(|path| !path.is_top_level());
    if let Some(path) = nested {
        need(old, "key", &format!("reads `{path}` of the item before the change"));
    }
    lacks
}
