//! A short picture of a config: sources, the projections that follow them, and what they write.

use std::fmt::Write as _;

use millstream_processor::setup::{self, Holds};
use millstream_projections::config::duration::text;
use millstream_projections::config::{
    Config, Kind, LettersStore, PollerSettings, ProjectionConfig, SourceConfig, SourceKind, Start,
};
use millstream_projections::effect::Tombstones;
use millstream_projections::event::rfc3339;
use millstream_projections::item::AttributeName;
use millstream_projections::kinds::Templates;
use millstream_projections::kinds::aggregate::{Aggregate, Keeps, parts_of_average};
use millstream_projections::kinds::copy::{Copy, OnDelete, Rows};
use millstream_projections::kinds::emit::Emit;
use millstream_projections::kinds::index::Index;
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
        (SourceKind::Table(_), Start::Since(at)) => {
            format!(", stream {} from {}", source.view.as_str(), rfc3339(at))
        }
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
        Kind::Aggregate(aggregate) => format!("{word} ─► {resource} ({})", templates(&aggregate.group)),
        Kind::Index(index) => format!("{word} ─► {resource} ({})", templates(&index.key)),
        Kind::Emit(_) => format!("{word} ─► {resource}"),
    }
}

fn details(projection: &ProjectionConfig) -> Vec<String> {
    let mut lines = when(projection.kind.selection());
    lines.extend(match &projection.kind {
        Kind::Replica(replica) => of_replica(replica),
        Kind::Copy(copy) => of_copy(copy),
        Kind::Aggregate(aggregate) => of_aggregate(aggregate),
        Kind::Index(index) => of_index(index),
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

fn of_aggregate(aggregate: &Aggregate) -> Vec<String> {
    let mut lines = vec![kept(&aggregate.keeps)];
    if aggregate.shards.get() > 1 {
        lines.push(format!(
            "the totals of a group are in {} rows: readers put them together",
            aggregate.shards
        ));
    }
    let empty = if aggregate.keeps.delete_empty { "goes" } else { "stays, with zeros" };
    lines.push(format!("what each item contributes is in the ledger; a row without items {empty}"));
    lines
}

/// What a totals row holds, in the words of the file.
fn kept(keeps: &Keeps) -> String {
    let words =
        [("sum", &keeps.sum), ("min", &keeps.min), ("max", &keeps.max), ("distinct", &keeps.distinct)];
    let words = words.into_iter().filter(|(_, of)| !of.is_empty());
    let mut kept: Vec<String> = words.map(|(word, of)| format!("{word} {}", templates(of))).collect();
    kept.extend(keeps.avg.iter().map(|(name, of)| {
        let (sum, count) = parts_of_average(name);
        format!("avg of {of} = {sum} / {count}")
    }));
    keeps.count.iter().map(|name| format!("count {name}")).chain(kept).collect::<Vec<_>>().join("; ")
}

fn of_index(index: &Index) -> Vec<String> {
    let set = if index.set.is_empty() { "the item's key".to_owned() } else { templates(&index.set) };
    let each = index.each.as_ref().map(|each| format!(", for each of {each}")).unwrap_or_default();
    let unguarded = if index.unique { "nor is one without a guard" } else { "one without a guard is" };
    vec![
        format!("puts {set}{each}"),
        format!(
            "guard ms:{}, and in the ledger; another item's row is never overwritten, {unguarded}",
            index.name
        ),
    ]
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
    let values = setup::table_of(config, Holds::Values)
        .map(|table| format!("values   table {table}\n"))
        .unwrap_or_default();
    let state = setup::table_of(config, Holds::State)
        .map(|table| of_poller(&table, &config.poller))
        .unwrap_or_default();
    format!("ledger   table {ledger}, tombstones kept {tombstones}\n{values}letters  {letters}\n{state}")
}

/// What `millstream run` goes by, and where its workers agree.
fn of_poller(table: &str, poller: &PollerSettings) -> String {
    let PollerSettings { consumer, ttl, busy, idle, on_gap, listen, .. } = poller;
    let (ttl, busy, idle, on_gap) = (text(*ttl), text(*busy), text(*idle), on_gap.as_str());
    format!(
        "poller   table {table}, consumer {consumer}, ttl {ttl}, polls every {busy} to {idle}, on_gap {on_gap}, listens {listen}\n"
    )
}

fn templates(templates: &Templates) -> String {
    let each = |(name, template): &(AttributeName, _)| format!("{name} = {template}");
    templates.iter().map(each).collect::<Vec<_>>().join(", ")
}

fn names(names: &[AttributeName], between: &str) -> String {
    names.iter().map(|name| &**name).collect::<Vec<_>>().join(between)
}
