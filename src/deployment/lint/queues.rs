//! Queues that functions read, and the one that letters are in.

use millstream_projections::config::{LettersStore, SourceKind};

use super::mappings::TIMEOUT;
use super::{Linter, Place};
use crate::deployment::template::{Known, Origin, Queue};

/// How long a queue keeps a message out of sight that says nothing of it.
const VISIBILITY: i64 = 30;
/// As AWS asks for: a function that is throttled is asked several times.
const TIMES: i64 = 6;
/// As AWS advises: a message is received so often at least, before it is moved away.
const RECEIVES: i64 = 5;

impl<'a> Linter<'a> {
    pub(super) fn queues(&mut self) {
        for mapping in self.template.mappings() {
            if mapping.origin != Origin::Queue || self.source_of(&mapping).is_err() {
                continue;
            }
            let Known::Of { resource, .. } = &mapping.source else { continue };
            let Some(queue) = self.template.queues().find(|queue| queue.resource.name == *resource) else {
                continue;
            };
            let timeout = mapping
                .function
                .and_then(|function| self.number(self.template.setting(function, "Timeout"), TIMEOUT));
            let window = self.number(mapping.properties.get("MaximumBatchingWindowInSeconds"), 0);
            self.visibility(queue, timeout, window.unwrap_or(0));
            if queue.resource.properties.get("RedrivePolicy").is_none() {
                self.warn(
                    at(queue, "RedrivePolicy"),
                    "RedrivePolicy",
                    "there is none: what is never done is forgotten when the queue's retention is over",
                    "set deadLetterTargetArn, and maxReceiveCount to 100, so that a wrong deployment has hours to be mended",
                );
            }
        }
        for queue in self.source_queues() {
            self.receives(queue);
        }
        self.letters_queue();
    }

    /// The queues of the template that are sources of the config, or may be.
    pub(super) fn source_queues(&self) -> Vec<Queue<'a>> {
        let template = self.template;
        let mappings = template.mappings();
        let is_mapped = |queue: &Queue<'_>| {
            mappings.iter().filter(|mapping| mapping.origin == Origin::Queue).any(|mapping| {
                matches!(&mapping.source, Known::Of { resource, .. } if *resource == queue.resource.name)
                    && self.source_of(mapping).is_ok()
            })
        };
        let is_named = |queue: &Queue<'_>| {
            let name = queue.name(template);
            let urls = self.config.sources.iter().filter_map(|source| match &source.kind {
                SourceKind::Queue(url) => url.trim_end_matches('/').rsplit('/').next(),
                SourceKind::Table(_) | SourceKind::Topic(_) => None,
            });
            name.is_some_and(|name| urls.into_iter().any(|url| url == name))
        };
        template.queues().filter(|queue| is_mapped(queue) || is_named(queue)).collect()
    }

    /// A message that is moved away too soon is work that nobody does.
    fn receives(&mut self, queue: Queue<'_>) {
        let most = queue.resource.properties.at(&["RedrivePolicy", "maxReceiveCount"]);
        if let Some(most) = self.number(most, RECEIVES).filter(|most| *most < RECEIVES) {
            self.warn(
                at(queue, "RedrivePolicy"),
                "RedrivePolicy",
                format!("maxReceiveCount is {most}: every attempt counts, so a few throttles move a message away undone"),
                "set maxReceiveCount to 100, so that a wrong deployment has hours to be mended; AWS advises at least 5",
            );
        }
    }

    fn visibility(&mut self, queue: Queue<'_>, timeout: Option<i64>, window: i64) {
        let visibility = self.number(queue.resource.properties.get("VisibilityTimeout"), VISIBILITY);
        let (Some(timeout), Some(visibility)) = (timeout, visibility) else { return };
        let least = TIMES * timeout;
        if visibility < least {
            self.warn(
                at(queue, "VisibilityTimeout"),
                "VisibilityTimeout",
                format!(
                    "{visibility} s is less than six times the function's timeout of {timeout} s: messages come again while they are worked on"
                ),
                format!("set VisibilityTimeout: {}", least + window),
            );
        }
    }

    /// Reading letters counts as receiving them: a redrive policy would take them away.
    fn letters_queue(&mut self) {
        let LettersStore::Queue(url) = &self.config.letters.store else { return };
        let name = url.trim_end_matches('/').rsplit('/').next();
        let queue = self.template.queues().find(|queue| queue.name(self.template).as_deref() == name);
        if let Some(queue) = queue.filter(|queue| queue.resource.properties.get("RedrivePolicy").is_some()) {
            self.warn(
                at(queue, "RedrivePolicy"),
                "RedrivePolicy",
                "letters are in this queue: to look at one counts as receiving it, and would move it away in the end",
                "leave RedrivePolicy out",
            );
        }
    }
}

/// Where a property of a queue stands, or where it should.
pub(super) fn at<'t>(queue: Queue<'t>, property: &str) -> Place<'t> {
    let entry = queue.resource.properties.entry(property);
    Place { line: entry.map_or(queue.resource.line, |entry| entry.line), subject: &queue.resource.name }
}
