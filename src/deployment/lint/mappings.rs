//! What invokes functions, and how it ends: event source mappings of streams and queues.

use std::time::Duration;

use millstream_projections::config::duration;
use millstream_projections::config::{SourceConfig, SourceKind};

use super::{Linter, Place};
use crate::deployment::mapping;
use crate::deployment::template::{Known, Mapping, Origin};

/// What a function is told that says nothing of its timeout.
pub(super) const TIMEOUT: i64 = 3;
/// The age of a record at which a mapping gives up that says nothing of it: none.
const WITHOUT_END: i64 = -1;
/// The least concurrency that a mapping of a queue can be told.
const LEAST: i64 = 2;

impl<'a> Linter<'a> {
    pub(super) fn mappings(&mut self) {
        for mapping in self.template.mappings() {
            let Ok(source) = self.source_of(&mapping) else { continue };
            // What is in it, only a deployment knows.
            if mapping.properties.is_call() {
                continue;
            }
            self.report(&mapping);
            self.enabled(&mapping);
            match mapping.origin {
                Origin::Stream => self.stream(&mapping, source),
                Origin::Queue => self.queue(&mapping),
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

    fn enabled(&mut self, mapping: &Mapping<'_>) {
        let enabled = mapping.properties.get("Enabled");
        if enabled.is_some() && self.is_true(enabled) == Some(false) {
            self.warn(
                at(mapping, "Enabled"),
                "Enabled",
                "is false: nothing is read, and what is not read in time is lost, in a stream after 24 h",
                "set Enabled: true, or leave it out",
            );
        }
    }

    /// What a mapping of a queue keeps from its function.
    fn queue(&mut self, mapping: &Mapping<'_>) {
        let properties = mapping.properties;
        let filters = properties.at(&["FilterCriteria", "Filters"]).map(|filters| filters.elements());
        if filters.unwrap_or_default().iter().any(|filter| !filter.is_call()) {
            self.warn(
                at(mapping, "FilterCriteria"),
                "FilterCriteria",
                "drops messages: Lambda deletes those from the queue that match no pattern",
                "leave it out: `where` of the projections chooses, and of the `emit` that fills the queue",
            );
        }
        let most = properties.at(&["ScalingConfig", "MaximumConcurrency"]);
        if let Some(most) = self.number(most, LEAST).filter(|most| *most < LEAST) {
            self.warn(
                at(mapping, "ScalingConfig"),
                "ScalingConfig",
                format!("MaximumConcurrency is {most}, and Lambda takes no less than {LEAST}"),
                "set MaximumConcurrency from 2 to 1000, as much as the target tables take",
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
        self.attempts(mapping);
        self.age(mapping);
        if self.number(properties.get("TumblingWindowInSeconds"), 0).is_some_and(|window| window > 0) {
            self.warn(
                at(mapping, "TumblingWindowInSeconds"),
                "TumblingWindowInSeconds",
                "makes Lambda hand a state from batch to batch, which Millstream neither reads nor returns beside its reports",
                "leave it out: `aggregate` keeps totals in a table",
            );
        }
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

    /// Attempts that are counted are soon over, whatever the time that a mistake takes to be mended.
    fn attempts(&mut self, mapping: &Mapping<'_>) {
        let without_end = mapping::ATTEMPTS;
        let attempts = self.number(mapping.properties.get("MaximumRetryAttempts"), without_end);
        if let Some(attempts) = attempts.filter(|attempts| *attempts != without_end) {
            let text = format!(
                "{attempts} attempts can be over within seconds or minutes: what is misconfigured comes back at once, and a wrong \
                 deployment would empty the stream"
            );
            let advice = format!("set MaximumRetryAttempts: {without_end}: the age of a record ends them");
            self.warn(at(mapping, "MaximumRetryAttempts"), "MaximumRetryAttempts", text, advice);
        }
    }

    /// When a mapping gives up: before `hold` is too early, and when the stream has forgotten too late.
    fn age(&mut self, mapping: &Mapping<'_>) {
        let age = self.number(mapping.properties.get("MaximumRecordAgeInSeconds"), WITHOUT_END);
        let Some(age) = age else { return };
        let hold = self.config.pipeline.hold;
        let text = match u64::try_from(age).map(Duration::from_secs) {
            Err(_) => "is without end: a record that fails blocks its shard until the stream forgets it, after 24 h, and nobody is told"
                .to_owned(),
            Ok(age) if age <= hold => format!(
                "gives up after {}, before `pipeline.hold` = {} makes a letter of what still fails",
                duration::text(age),
                duration::text(hold)
            ),
            Ok(age) if age >= mapping::RETENTION => format!(
                "gives up after {}, and the stream forgets after 24 h: the on-failure destination is never told",
                duration::text(age)
            ),
            Ok(_) => return,
        };
        let advice = match hold < mapping::RETENTION {
            true => format!("set MaximumRecordAgeInSeconds: {}", mapping::record_age(hold).as_secs()),
            false => {
                "set a `pipeline.hold` under 24 h, and MaximumRecordAgeInSeconds between both".to_owned()
            }
        };
        self.warn(at(mapping, "MaximumRecordAgeInSeconds"), "MaximumRecordAgeInSeconds", text, advice);
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
