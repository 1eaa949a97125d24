//! A short picture of a config: sources, the projections that follow them, and what they write.

use std::fmt::Write as _;

use millstream_projections::config::duration::text;
use millstream_projections::config::{
    Config, Kind, LettersStore, ProjectionConfig, SourceConfig, SourceKind, Start,
};
use millstream_projections::effect::Tombstones;
use millstream_projections::item::AttributeName;
use millstream_projections::kinds::Templates;
use millstream_projections::kinds::copy::{Copy, OnDelete, Rows};
use millstream_projections::kinds::emit::Emit;
use millstream_projections::kinds::replica::Replica;
use millstream_projections::kinds::selection::Selection;

/// The whole picture.
pub(super) fn picture(config: &Config) -> String {
    let mut picture = String::new();
    for source in &config.sources {
        picture.push_str(&of_source(source));
        let projections: Vec<_> = config.projections_of(&source.name).collect();
        for (place, projection) in projections.iter().enumerate() {
            let (branch, trunk) =
                if place + 1 == projections.len() { ("└─", "  ") } else { ("├─", "│ ") };
            // Writing to a string cannot fail.
            let _ = writeln!(picture, "{branch} {}  {}", projection.name, head(projection));
            for line in details(projection) {
                let _ = writeln!(picture, "{trunk}    {line}");
            }
        }
        picture.push('\n');
    }
    picture.push_str(&own_tables(config));
    picture
}

fn of_source(source: &SourceConfig) -> String {
    let (word, resource) = (source.kind.word(), source.kind.resource());
    let stream = match (&source.kind, source.start) {
        (SourceKind::Table(_), Start::TrimHorizon) => format!(", stream {}", source.view.as_str()),
        (SourceKind::Table(_), Start::Latest) => format!(", stream {} from latest", source.view.as_str()),
        (SourceKind::Queue(_) | SourceKind::Topic(_), _) => String::new(),
    };
    format!("{}  {word} {resource}{stream}\n", source.name)
}

/// What is kept, and where.
fn head(projection: &ProjectionConfig) -> String {
    let (word, resource) = (projection.kind.word(), projection.kind.resource());
    match &projection.kind {
        Kind::Replica(replica) => format!("{word} ─► {resource} ({})", templates(&replica.key)),
        Kind::Copy(copy) => match &copy.rows {
            Rows::One(key) => format!("{word} ─► {resource} ({})", templates(key)),
            Rows::Many { index, key } => {
                format!("{word} ─► {resource}, rows of index {index} ({})", templates(key))
            }
        },
        Kind::Emit(_) => format!("{word} ─► {resource}"),
    }
}

fn details(projection: &ProjectionConfig) -> Vec<String> {
    let mut lines = when(projection.kind.selection());
    lines.extend(match &projection.kind {
        Kind::Replica(replica) => of_replica(replica),
        Kind::Copy(copy) => of_copy(copy),
        Kind::Emit(emit) => of_emit(emit),
    });
    lines
}

fn when(selection: &Selection) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(condition) = &selection.condition {
        lines.push(format!("where {}", condition.text()));
    }
    if !selection.changed.is_empty() {
        lines.push(format!("when {} changed", names(&selection.changed, " or ")));
    }
    if let Some(version) = &selection.version {
        lines.push(format!("ordered by the item's own {version}"));
    }
    lines
}

fn of_replica(replica: &Replica) -> Vec<String> {
    let set = if replica.set.is_empty() { "the whole item".to_owned() } else { templates(&replica.set) };
    let removed = match replica.tombstones {
        Tombstones::Ledger => "removals in the ledger",
        Tombstones::Inline => "removals as markers in the table itself (time to live on ms:expires)",
        Tombstones::Never => "rows are kept when the item goes",
    };
    vec![format!("puts {set}"), format!("guard ms:{}; {removed}", replica.name)]
}

fn of_copy(copy: &Copy) -> Vec<String> {
    let gone = match copy.on_delete {
        OnDelete::Clear => "the attributes go with the item",
        OnDelete::Keep => "the attributes stay when the item goes",
        OnDelete::Delete => "the rows go with the item",
    };
    vec![format!("sets {}", templates(&copy.set)), format!("guard ms:{}; {gone}", copy.name)]
}

fn of_emit(emit: &Emit) -> Vec<String> {
    let tells = if emit.include.is_empty() {
        "the key alone".to_owned()
    } else {
        format!(
            "the key, and {} before and after; 256 KiB at most, or it becomes a letter",
            names(&emit.include, ", ")
        )
    };
    vec![format!("tells {tells}"), "guard in the event: subject and msversion".to_owned()]
}

fn own_tables(config: &Config) -> String {
    let kept = text(config.letters.keep);
    let letters = match &config.letters.store {
        LettersStore::Table => format!("table {}, kept {kept}", config.state.letters_table()),
        LettersStore::Directory(path) => format!("directory {}, kept {kept}", path.display()),
        LettersStore::Queue(url) => format!("queue {url}, kept {kept}"),
    };
    let (ledger, tombstones) = (config.state.ledger_table(), text(config.state.tombstones));
    format!("ledger   table {ledger}, tombstones kept {tombstones}\nletters  {letters}\n")
}

fn templates(templates: &Templates) -> String {
    let each = |(name, template): &(AttributeName, _)| format!("{name} = {template}");
    templates.iter().map(each).collect::<Vec<_>>().join(", ")
}

fn names(names: &[AttributeName], between: &str) -> String {
    names.iter().map(|name| &**name).collect::<Vec<_>>().join(between)
}
