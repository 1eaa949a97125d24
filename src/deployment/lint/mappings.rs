//! What invokes functions, and how it ends: event source mappings of streams and queues.

use std::time::Duration;

use millstream_projections::config::duration;
use millstream_projections::config::{SourceConfig, SourceKind};

use super::{Linter, Place};
use crate::deployment::mapping;
use crate::deployment::template::{Known, Mapping, Origin};

/// What a function is told that says nothing of its timeout.
pub(super) const TIMEOUT: i64 = 3;

impl<'a> Linter<'a> {
    pub(super) fn mappings(&mut self) {
        for mapping in self.template.mappings() {
            let Ok(source) = self.source_of(&mapping) else { continue };
            self.report(&mapping);
            match mapping.origin {
                Origin::Stream => self.stream(&mapping, source),
                Origin::Queue => {}
            }
            self.timeout(&mapping);
        }
    }

    /// The source of the config that a mapping reads; none where only a deployment knows. An error is a mapping of
    /// something else.
    pub(super) fn source_of(&self, mapping: &Mapping<'_>) -> Result<Option<&'a SourceConfig>, ()> {
        let name = match (&mapping.source, mapping.origin) {
            (Known::Unknown, _) => None,
            (Known::Text(arn), Origin::Stream) => {
                arn.split_once(":table/").and_then(|(_, rest)| rest.split('/').next()).map(str::to_owned)
            }
            (Known::Text(arn), Origin::Queue) => arn.rsplit(':').next().map(str::to_owned),
            (Known::Of { resource, .. }, Origin::Stream) => {
                let table = self.template.tables().find(|table| table.resource.name == *resource);
                table.and_then(|table| table.name(self.template))
            }
            (Known::Of { resource, .. }, Origin::Queue) => {
                let queue = self.template.queues().find(|queue| queue.resource.name == *resource);
                queue.and_then(|queue| queue.name(self.template))
            }
        };
        let Some(name) = name else { return Ok(None) };
        let reads = |source: &&SourceConfig| match (&source.kind, mapping.origin) {
            (SourceKind::Table(table), Origin::Stream) => **table == *name,
            (SourceKind::Queue(url), Origin::Queue) => {
                url.trim_end_matches('/').rsplit('/').next() == Some(&name)
            }
            (SourceKind::Table(_) | SourceKind::Queue(_) | SourceKind::Topic(_), _) => false,
        };
        self.config.sources.iter().find(reads).map(Some).ok_or(())
    }

    fn report(&mut self, mapping: &Mapping<'_>) {
        let types = mapping.properties.get("FunctionResponseTypes");
        let reports =
            |node| self.template.known_text(node).is_none_or(|text| text == "ReportBatchItemFailures");
        if !types.is_some_and(|types| types.is_call() || types.elements().iter().any(|it| reports(it))) {
            self.warn(
                at(mapping, "FunctionResponseTypes"),
                "FunctionResponseTypes",
                "does not have ReportBatchItemFailures: Lambda ignores what Millstream reports, and what is unfinished counts as done",
                "set FunctionResponseTypes: [ReportBatchItemFailures]",
            );
        }
    }

    fn stream(&mut self, mapping: &Mapping<'_>, source: Option<&SourceConfig>) {
        let properties = mapping.properties;
        if self.is_true(properties.get("BisectBatchOnFunctionError")) == Some(false) {
            self.warn(
                at(mapping, "BisectBatchOnFunctionError"),
                "BisectBatchOnFunctionError",
                "is not on: when retries run out, Lambda drops the rest of a batch with the record that failed",
                "set BisectBatchOnFunctionError: true",
            );
        }
        self.limits(mapping);
        let start = properties.get("StartingPosition").and_then(|node| self.template.known_text(node));
        if start.as_deref() == Some("LATEST") {
            self.warn(
                at(mapping, "StartingPosition"),
                "StartingPosition",
                "LATEST can miss the changes made while the mapping starts",
                "set StartingPosition: TRIM_HORIZON: guards make old changes harmless",
            );
        }
        let destination = ["DestinationConfig", "OnFailure", "Destination"];
        if properties.at(&destination).is_none() && !properties.hides(&destination) {
            self.warn(
                at(mapping, "DestinationConfig"),
                "DestinationConfig",
                "has no on-failure destination: nobody is told of what the mapping gives up on",
                "set OnFailure to a queue, and fetch what it points at by `millstream replay import`",
            );
        }
        if let Some(source) = source {
            self.filter(mapping, source);
        }
    }

    /// When a mapping gives up: never is too late, and before `hold` too early.
    fn limits(&mut self, mapping: &Mapping<'_>) {
        let properties = mapping.properties;
        let attempts = self.number(properties.get("MaximumRetryAttempts"), -1);
        let age = self.number(properties.get("MaximumRecordAgeInSeconds"), -1);
        let hold = self.config.pipeline.hold;
        let advice = format!("set MaximumRecordAgeInSeconds: {}", mapping::record_age(hold).as_secs());
        if attempts.is_some_and(|attempts| attempts < 0) && age.is_some_and(|age| age < 0) {
            self.warn(
                at(mapping, "MaximumRetryAttempts"),
                "MaximumRetryAttempts",
                "is without end, and so is the age of a record: one that fails blocks its shard until the stream forgets it, after 24 h",
                advice,
            );
        } else if let Some(age) = age.and_then(|age| u64::try_from(age).ok()).map(Duration::from_secs)
            && age <= hold
        {
            let (age, hold) = (duration::text(age), duration::text(hold));
            self.warn(
                at(mapping, "MaximumRecordAgeInSeconds"),
                "MaximumRecordAgeInSeconds",
                format!(
                    "gives up after {age}, before `pipeline.hold` = {hold} makes a letter of what still fails"
                ),
                advice,
            );
        }
    }

    /// A filter that is not the config's own may drop what a projection needs, as after a change of its `where`.
    fn filter(&mut self, mapping: &Mapping<'_>, source: &SourceConfig) {
        let filters = mapping.properties.at(&["FilterCriteria", "Filters"]);
        let Some(filters) = filters.filter(|filters| !filters.elements().is_empty()) else { return };
        let patterns = filters.elements().iter().map(|filter| {
            let text = self.template.known_text(filter.get("Pattern")?)?;
            serde_json::from_str::<serde_json::Value>(&text).ok()
        });
        let patterns: Vec<Option<serde_json::Value>> = patterns.collect();
        let wanted = mapping::filter(self.config, source).patterns;
        let same = patterns.len() == wanted.len()
            && wanted.iter().all(|pattern| patterns.contains(&Some(pattern.clone())));
        if !same {
            let what = match wanted.is_empty() {
                true => "drops changes, of which the projections of the source need all",
                false => "is not the filter of this config: it may drop a change that a projection needs",
            };
            self.warn(
                at(mapping, "FilterCriteria"),
                "FilterCriteria",
                what,
                format!("use what `millstream template --source {}` prints", source.name),
            );
        }
    }

    /// A function needs more time than what it keeps for its end.
    fn timeout(&mut self, mapping: &Mapping<'_>) {
        let Some(function) = mapping.function else { return };
        let setting = self.template.setting(function, "Timeout");
        let margin = self.config.pipeline.deadline_margin;
        let known = self.number(setting, TIMEOUT).and_then(|seconds| u64::try_from(seconds).ok());
        let Some(timeout) = known.map(Duration::from_secs).filter(|timeout| *timeout < 3 * margin) else {
            return;
        };
        let place = Place { line: setting.map_or(function.line, |node| node.line), subject: function.name };
        let (timeout, margin) = (duration::text(timeout), duration::text(margin));
        let text = format!(
            "{timeout} leave little beside `pipeline.deadline_margin` = {margin}, in which nothing new starts"
        );
        if !self.findings.iter().any(|known| known.subject == function.name && known.property == "Timeout") {
            self.warn(place, "Timeout", text, "set Timeout: 60");
        }
    }
}

/// Where a property of a mapping stands, or where it should.
pub(super) fn at<'m>(mapping: &'m Mapping<'_>, property: &str) -> Place<'m> {
    let line = mapping.properties.entry(property).map_or(mapping.line, |entry| entry.line);
    Place { line, subject: &mapping.name }
}
