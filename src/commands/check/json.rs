//! What the command says, as one JSON object.

use millstream_processor::setup::{self, Holds};
use millstream_processor::wiring::WiringError;
use millstream_projections::config::cost::{Cost, Units, costs};
use millstream_projections::config::duration::text;
use millstream_projections::config::{
    Config, Kind, LettersStore, PollerSettings, ProjectionConfig, SourceKind, Start, Warning, lint,
};
use millstream_projections::effect::Tombstones;
use millstream_projections::event::rfc3339;
use millstream_projections::kinds::Templates;
use millstream_projections::kinds::aggregate::Aggregate;
use millstream_projections::kinds::copy::{Copy, OnDelete, Rows};
use millstream_projections::kinds::emit::Emit;
use millstream_projections::kinds::index::Index;
use millstream_projections::kinds::replica::Replica;
use serde_json::{Map, Value, json};

use super::Said;
use crate::deployment;
use crate::deployment::lint::Finding;
use crate::deployment::template::{Template, TemplateError};

/// A config that can be used.
pub(super) fn config(file: &str, config: &Config, template: Option<&Template>) -> Value {
    let sources: Vec<Value> = config.sources.iter().map(source).collect();
    let projections: Vec<Value> = config.projections.iter().map(projection).collect();
    let letters = match &config.letters.store {
        LettersStore::Table => json!({ "table": config.state.letters_table() }),
        LettersStore::Directory(path) => json!({ "directory": path }),
        LettersStore::Queue(url) => json!({ "queue": url.to_string() }),
    };
    let mut object = json!({
        "ok": true,
        "file": file,
        "config": config.hash,
        "sources": sources,
        "projections": projections,
        "ledger": { "table": config.state.ledger_table(), "keep": text(config.state.tombstones) },
        "values": setup::table_of(config, Holds::Values).map(|table| json!({ "table": table })),
        "letters": { "store": letters, "keep": text(config.letters.keep) },
        "poller": setup::table_of(config, Holds::State).map(|table| poller(&table, &config.poller)),
        "warnings": lint(config).iter().map(warning).collect::<Vec<_>>(),
        "costs": costs(config).iter().map(cost).collect::<Vec<_>>(),
    });
    if let Some(template) = template {
        let findings = deployment::lint::lint(config, template);
        let findings = findings.iter().map(finding).collect::<Vec<_>>();
        object["template"] = json!({ "file": template.file, "warnings": findings });
    }
    object
}

fn finding(finding: &Finding) -> Value {
    json!({
        "line": finding.line,
        "subject": finding.subject,
        "property": finding.property,
        "text": finding.text,
        "advice": finding.advice,
    })
}

/// A template that cannot be compared.
pub(super) fn or_text(error: &TemplateError, json: bool) -> Said {
    let text = match json {
        true => format!("{}\n", json!({ "ok": false, "errors": [{ "what": error.to_string() }] })),
        false => format!("error: {error}\n"),
    };
    Said { text, right: false }
}

/// A config that cannot be used, with everything that is wrong.
pub(super) fn errors(file: &str, error: &WiringError) -> Value {
    let errors = match error {
        WiringError::Config(errors) => errors.iter().map(|error| {
            json!({
                "line": error.line,
                "section": error.section,
                "key": error.key,
                "what": error.what,
                "advice": error.advice,
            })
        }),
        WiringError::Unreadable { .. } => {
            return json!({ "ok": false, "file": file, "errors": [{ "what": error.to_string() }] });
        }
    };
    json!({ "ok": false, "file": file, "errors": errors.collect::<Vec<_>>() })
}

fn poller(table: &str, poller: &PollerSettings) -> Value {
    let PollerSettings { consumer, ttl, max_moves, busy, idle, on_gap, listen } = poller;
    json!({
        "table": table,
        "consumer": **consumer,
        "ttl": text(*ttl),
        "max_moves": max_moves,
        "busy": text(*busy),
        "idle": text(*idle),
        "on_gap": on_gap.as_str(),
        "listen": listen.to_string(),
    })
}

fn source(source: &millstream_projections::config::SourceConfig) -> Value {
    let mut object = json!({ "name": source.name.as_str(), "line": source.line });
    object[source.kind.word()] = json!(**source.kind.resource());
    if let SourceKind::Table(_) = source.kind {
        object["stream_view"] = json!(source.view.as_str());
        object["start"] = match source.start {
            Start::TrimHorizon => json!("trim-horizon"),
            Start::Latest => json!("latest"),
            Start::Since(at) => json!(rfc3339(at)),
        };
    }
    object
}

fn projection(projection: &ProjectionConfig) -> Value {
    let selection = projection.kind.selection();
    let mut object = json!({
        "name": projection.name.as_str(),
        "line": projection.line,
        "kind": projection.kind.word(),
        "from": projection.from.as_str(),
        "where": selection.condition.as_ref().map(|condition| condition.text()),
        "changed": selection.changed,
        "version": selection.version,
    });
    let settings = match &projection.kind {
        Kind::Replica(replica) => of_replica(replica),
        Kind::Copy(copy) => of_copy(copy),
        Kind::Aggregate(aggregate) => of_aggregate(aggregate),
        Kind::Index(index) => of_index(index),
        Kind::Emit(emit) => of_emit(emit),
    };
    if let (Value::Object(object), Value::Object(settings)) = (&mut object, settings) {
        object.extend(settings);
    }
    object
}

fn of_replica(replica: &Replica) -> Value {
    json!({
        "table": *replica.table,
        "key": templates(&replica.key),
        "set": templates_if_any(&replica.set),
        "guard": format!("ms:{}", replica.name),
        "tombstones": match replica.tombstones {
            Tombstones::Ledger => "ledger",
            Tombstones::Inline => "inline",
            Tombstones::Never => "never",
        },
    })
}

fn of_copy(copy: &Copy) -> Value {
    let mut object = json!({
        "table": *copy.table,
        "set": templates(&copy.set),
        "guard": format!("ms:{}", copy.name),
        "on_delete": match copy.on_delete {
            OnDelete::Clear => "clear",
            OnDelete::Keep => "keep",
            OnDelete::Delete => "delete",
        },
    });
    match &copy.rows {
        Rows::One(key) => object["key"] = templates(key),
        Rows::Many { index, key } => object["match"] = json!({ "index": **index, "key": templates(key) }),
    }
    object
}

fn of_aggregate(aggregate: &Aggregate) -> Value {
    let keeps = &aggregate.keeps;
    json!({
        "table": *aggregate.table,
        "group": templates(&aggregate.group),
        "shards": aggregate.shards,
        "count": keeps.count,
        "sum": templates_if_any(&keeps.sum),
        "avg": templates_if_any(&keeps.avg),
        "min": templates_if_any(&keeps.min),
        "max": templates_if_any(&keeps.max),
        "distinct": templates_if_any(&keeps.distinct),
        "on_empty": if keeps.delete_empty { "delete" } else { "keep" },
    })
}

fn of_index(index: &Index) -> Value {
    json!({
        "table": *index.table,
        "key": templates(&index.key),
        "set": templates_if_any(&index.set),
        "each": index.each.as_ref().map(ToString::to_string),
        "unique": index.unique,
        "guard": format!("ms:{}", index.name),
    })
}

fn of_emit(emit: &Emit) -> Value {
    json!({ "topic": *emit.topic, "include": emit.include })
}

fn templates_if_any(templates: &Templates) -> Value {
    if templates.is_empty() { Value::Null } else { self::templates(templates) }
}

fn templates(templates: &Templates) -> Value {
    let entries = templates.iter().map(|(name, template)| (name.to_string(), json!(template.to_string())));
    Value::Object(entries.collect::<Map<_, _>>())
}

fn warning(warning: &Warning) -> Value {
    json!({ "line": warning.line, "subject": warning.subject, "text": warning.text, "advice": warning.advice })
}

fn cost(cost: &Cost) -> Value {
    let units = |units: Units| {
        let Units { row, totals, ledger, events } = units;
        json!({ "row": row, "totals": totals, "ledger": ledger, "events": events })
    };
    json!({
        "projection": cost.projection.as_str(),
        "each_found_row": cost.each_found_row,
        "insert": units(cost.insert),
        "modify": units(cost.modify),
        "move": cost.moved.map(units),
        "remove": units(cost.remove),
        "note": cost.note,
    })
}
