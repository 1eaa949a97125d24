//! Queues that functions read, and the one that letters are in.

use millstream_projections::config::LettersStore;

use super::mappings::TIMEOUT;
use super::{Linter, Place};
use crate::deployment::template::{Known, Origin, Queue};

/// How long a queue keeps a message out of sight that says nothing of it.
const VISIBILITY: i64 = 30;
/// As AWS asks for: a function that is throttled is asked several times.
const TIMES: i64 = 6;

impl Linter<'_> {
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
        self.letters_queue();
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

fn at<'t>(queue: Queue<'t>, property: &str) -> Place<'t> {
    let entry = queue.resource.properties.entry(property);
    Place { line: entry.map_or(queue.resource.line, |entry| entry.line), subject: &queue.resource.name }
}
