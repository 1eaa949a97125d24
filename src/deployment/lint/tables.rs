//! Tables of the config, and our own: whether they are there, and keyed as they are written.

use std::sync::Arc;

use millstream_processor::setup::{self, Holds, OwnTable};
use millstream_projections::config::{Kind, ProjectionConfig, SourceConfig, SourceKind, StreamView};
use millstream_projections::effect::Tombstones;
use millstream_projections::kinds::copy::Rows;

use super::{Linter, Place, quoted};
use crate::deployment::template::Table;
use crate::deployment::template::node::Node;

/// The attribute of inline tombstones.
const MARKERS_EXPIRE: &str = "ms:expires";

impl<'a> Linter<'a> {
    pub(super) fn tables(&mut self) {
        if self.template.tables().next().is_none() {
            return self.no_tables();
        }
        for source in &self.config.sources {
            let SourceKind::Table(table) = &source.kind else { continue };
            if let Some(found) = self.table(table, &format!("source.{}", source.name)) {
                self.stream_of(found, source);
            }
        }
        for projection in &self.config.projections {
            if let Kind::Emit(_) = projection.kind {
                continue;
            }
            let subject = format!("projection.{}", projection.name);
            if let Some(found) = self.table(projection.kind.resource(), &subject) {
                self.target(found, projection);
            }
        }
        // A poller has to read what no mapping does.
        let is_polled =
            self.unread_sources().iter().any(|source| matches!(source.kind, SourceKind::Table(_)));
        for own in setup::tables(self.config) {
            if own.holds == Holds::State && !is_polled {
                continue;
            }
            if let Some(found) = self.table(&own.name, section(own.holds)) {
                self.own(found, &own);
            }
        }
    }

    fn no_tables(&mut self) {
        let mut names: Vec<String> = self
            .config
            .sources
            .iter()
            .filter_map(|source| match &source.kind {
                SourceKind::Table(table) => Some(table.to_string()),
                SourceKind::Queue(_) | SourceKind::Topic(_) => None,
            })
            .collect();
        let rows = self.config.projections.iter().filter(|it| !matches!(it.kind, Kind::Emit(_)));
        names.extend(rows.map(|projection| projection.kind.resource().to_string()));
        names.extend(setup::tables(self.config).into_iter().map(|own| own.name));
        names.sort_unstable();
        names.dedup();
        let text = format!("the template has no tables, and the config names {}", quoted(&names));
        let place = Place { line: 1, subject: "Resources" };
        self.warn(place, "", text, "add them, or check the template that has them");
    }

    /// The table of that name; what is said where there is none depends on whether there may be.
    fn table(&mut self, name: &str, subject: &str) -> Option<Table<'a>> {
        let template = self.template;
        if let Some(found) = template.tables().find(|table| table.name(template).as_deref() == Some(name)) {
            return Some(found);
        }
        let nameless: Vec<&str> = template
            .tables()
            .filter(|table| table.name(template).is_none())
            .map(|table| table.resource.name.as_str())
            .collect();
        let text = match nameless.is_empty() {
            true => format!("the template has no table `{name}`"),
            false => format!(
                "the template has no table `{name}`, unless it is {}, whose name it does not tell",
                quoted(&nameless)
            ),
        };
        let advice =
            "add it, set its TableName, or say --parameter NAME=VALUE where names depend on parameters";
        self.warn(Place { line: 1, subject }, "", text, advice);
        None
    }

    fn stream_of(&mut self, table: Table<'_>, source: &SourceConfig) {
        let wanted = source.view;
        let stream = table.resource.properties.get("StreamSpecification");
        let view = stream.and_then(|stream| stream.get("StreamViewType"));
        if table.resource.properties.hides(&["StreamSpecification", "StreamViewType"]) {
            return;
        }
        let Some(view) = view else {
            let advice = format!("set StreamSpecification: {{StreamViewType: {}}}", wanted.as_str());
            let text = format!("there is none, and source `{}` reads the table's stream", source.name);
            return self.warn(at(table, "StreamSpecification"), "StreamSpecification", text, advice);
        };
        let Some(told) = self.template.known_text(view) else { return };
        let carries = |view: StreamView| view.as_str() == told;
        let lacks_old = wanted.has_old() && (carries(StreamView::NewImage) || carries(StreamView::KeysOnly));
        let lacks_new = wanted.has_new() && (carries(StreamView::OldImage) || carries(StreamView::KeysOnly));
        if lacks_old || lacks_new {
            let side = match (lacks_old, lacks_new) {
                (true, true) => "neither the old nor the new image",
                (true, false) => "no old image",
                (false, _) => "no new image",
            };
            self.warn(
                at(table, "StreamSpecification"),
                "StreamSpecification",
                format!("{told} carries {side}, and source `{}` reads {}", source.name, wanted.as_str()),
                format!("set StreamViewType: {}, or stream_view in the config", wanted.as_str()),
            );
        }
    }

    fn target(&mut self, table: Table<'_>, projection: &ProjectionConfig) {
        let written: Vec<&str> = projection.kind.key().iter().map(|(name, _)| &**name).collect();
        match &projection.kind {
            Kind::Copy(copy) => match &copy.rows {
                Rows::One(_) => self.key(table, &written, projection),
                Rows::Many { index, .. } => self.index(table, index, &written, projection),
            },
            Kind::Replica(replica) => {
                self.key(table, &written, projection);
                if replica.tombstones == Tombstones::Inline {
                    self.expires(
                        table,
                        MARKERS_EXPIRE,
                        &format!("inline tombstones of projection `{}`", projection.name),
                    );
                }
            }
            Kind::Aggregate(_) | Kind::Index(_) => self.key(table, &written, projection),
            Kind::Emit(_) => {}
        }
    }

    fn key(&mut self, table: Table<'_>, written: &[&str], projection: &ProjectionConfig) {
        let Some(key) = self.key_schema(table.resource.properties.get("KeySchema")) else { return };
        let same = key.len() == written.len() && written.iter().all(|name| key.iter().any(|it| it == name));
        if !same {
            self.warn(
                at(table, "KeySchema"),
                "KeySchema",
                format!(
                    "is {}, and projection `{}` writes rows by {}",
                    quoted(&key),
                    projection.name,
                    quoted(written)
                ),
                "give both the same attributes",
            );
        }
    }

    fn index(&mut self, table: Table<'_>, name: &str, asked: &[&str], projection: &ProjectionConfig) {
        if hides_indexes(table) {
            return;
        }
        let Some(index) = self.index_of(table, name) else {
            let text =
                format!("there is no index `{name}`, by which projection `{}` finds rows", projection.name);
            let advice = format!("add it, with the partition key `{}`", asked.first().unwrap_or(&""));
            return self.warn(at(table, "GlobalSecondaryIndexes"), "GlobalSecondaryIndexes", text, advice);
        };
        let Some(key) = self.key_schema(index.get("KeySchema")) else { return };
        let partition = key.first().is_some_and(|partition| asked.contains(&partition.as_str()));
        if !partition || !asked.iter().all(|name| key.iter().any(|it| it == name)) {
            let text = format!(
                "index `{name}` is keyed by {}, and projection `{}` asks it by {}",
                quoted(&key),
                projection.name,
                quoted(asked)
            );
            let place = Place { line: index.line, subject: &table.resource.name };
            self.warn(
                place,
                "KeySchema",
                text,
                "ask by its partition key, and by no attribute that it has not",
            );
        }
    }

    fn own(&mut self, table: Table<'_>, own: &OwnTable) {
        let (partition, sort) = own.definition.key;
        let wanted: Vec<&str> = std::iter::once(partition).chain(sort).collect();
        let (properties, told) = (&table.resource.properties, section(own.holds));
        if let Some(key) = self.key_schema(properties.get("KeySchema")).filter(|key| *key != wanted) {
            let text = format!(
                "is {}, and this table of Millstream's own ({told}) has {}",
                quoted(&key),
                quoted(&wanted)
            );
            self.warn(at(table, "KeySchema"), "KeySchema", text, "use what `millstream setup` makes");
        }
        let attributes = own.definition.indexes.iter().flat_map(|(_, hash, range)| [*hash, *range]);
        for attribute in wanted.iter().copied().chain(attributes) {
            self.attribute_type(table, attribute, own.definition.type_of(attribute));
        }
        for (name, hash, range) in own.definition.indexes {
            let key = self.index_of(table, name).map(|index| self.key_schema(index.get("KeySchema")));
            if !hides_indexes(table)
                && !matches!(&key, Some(None))
                && key.flatten().as_deref() != Some(&[(*hash).to_owned(), (*range).to_owned()])
            {
                let text = format!("there is no index `{name}` on {}", quoted(&[hash, range]));
                self.warn(
                    at(table, "GlobalSecondaryIndexes"),
                    "GlobalSecondaryIndexes",
                    text,
                    "use what `millstream setup` makes",
                );
            }
        }
        if let Some(attribute) = own.definition.expires {
            self.expires(table, attribute, "its rows");
        }
    }

    fn attribute_type(&mut self, table: Table<'_>, attribute: &str, wanted: &str) {
        let definitions = table.resource.properties.get("AttributeDefinitions");
        let found = definitions.into_iter().flat_map(|list| list.elements()).find(|definition| {
            let name = definition.get("AttributeName").and_then(|name| self.template.known_text(name));
            name.as_deref() == Some(attribute)
        });
        let told = found.and_then(|found| self.template.known_text(found.get("AttributeType")?));
        if let Some(told) = told.filter(|told| told != wanted) {
            let text = format!("`{attribute}` is {told}, and has to be {wanted}");
            let advice = format!("set AttributeType: {wanted}");
            self.warn(at(table, "AttributeDefinitions"), "AttributeDefinitions", text, advice);
        }
    }

    fn expires(&mut self, table: Table<'_>, attribute: &str, what: &str) {
        let ttl = table.resource.properties.get("TimeToLiveSpecification");
        let named = ttl.and_then(|ttl| self.template.known_text(ttl.get("AttributeName")?));
        let hidden = table.resource.properties.hides(&["TimeToLiveSpecification", "AttributeName"]);
        let unknown = hidden || ttl.is_some_and(|ttl| ttl.get("AttributeName").is_some()) && named.is_none();
        let on = self.is_true(ttl.and_then(|ttl| ttl.get("Enabled")));
        if unknown || (named.as_deref() == Some(attribute) && on != Some(false)) {
            return;
        }
        self.warn(
            at(table, "TimeToLiveSpecification"),
            "TimeToLiveSpecification",
            format!("is not on `{attribute}`: {what} would stay for ever"),
            format!("set TimeToLiveSpecification: {{AttributeName: \"{attribute}\", Enabled: true}}"),
        );
    }

    /// The attributes of a key, partition key first, where all of it is known.
    fn key_schema(&self, schema: Option<&Arc<Node>>) -> Option<Vec<String>> {
        let mut key = Vec::new();
        for element in schema?.elements() {
            let name = self.template.known_text(element.get("AttributeName")?)?;
            let is_partition = self.template.known_text(element.get("KeyType")?)? == "HASH";
            key.insert(if is_partition { 0 } else { key.len() }, name);
        }
        (!key.is_empty()).then_some(key)
    }

    fn index_of<'t>(&self, table: Table<'t>, name: &str) -> Option<&'t Arc<Node>> {
        let properties = &table.resource.properties;
        let lists = ["GlobalSecondaryIndexes", "LocalSecondaryIndexes"].map(|list| properties.get(list));
        lists.into_iter().flatten().flat_map(|list| list.elements()).find(|index| {
            let told = index.get("IndexName").and_then(|told| self.template.known_text(told));
            told.as_deref() == Some(name)
        })
    }
}

/// What of the config a table of our own is for.
fn section(holds: Holds) -> &'static str {
    match holds {
        Holds::Ledger => "the ledger",
        Holds::Values => "the values",
        Holds::Letters => "the letters",
        Holds::State => "the state of pollers",
    }
}

/// Whether only a deployment knows which indexes a table has.
fn hides_indexes(table: Table<'_>) -> bool {
    let indexes = table.resource.properties.get("GlobalSecondaryIndexes");
    indexes.is_some_and(|indexes| indexes.is_call() || indexes.elements().iter().any(|index| index.is_call()))
}

fn at<'t>(table: Table<'t>, property: &str) -> Place<'t> {
    let entry = table.resource.properties.entry(property);
    Place { line: entry.map_or(table.resource.line, |entry| entry.line), subject: &table.resource.name }
}
