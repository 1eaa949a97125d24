//! What may surprise in a template that deploys a config: found by reading both, without a look at any stack.

/// What invokes functions, and how it ends.
mod mappings;
/// Queues that functions read, and the one that letters are in.
mod queues;
/// What functions may do.
mod rights;
/// Tables of the config, and our own.
mod tables;
/// Topics that queues of the config are subscribed to.
mod topics;
/// Sources that nothing reads.
mod unread;

use std::sync::Arc;

use millstream_projections::config::Config;

use super::template::Template;
use super::template::node::Node;

/// Something that may surprise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The line of the template, from 1.
    pub(crate) line: usize,
    /// What it is about: a resource of the template, or a section of the config that it has nothing for.
    pub(crate) subject: String,
    /// The property; empty if the whole of it is meant.
    pub(crate) property: &'static str,
    /// What may surprise.
    pub(crate) text: String,
    /// What would be right.
    pub(crate) advice: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: [{}] ", self.line, self.subject)?;
        if !self.property.is_empty() {
            write!(f, "{}: ", self.property)?;
        }
        write!(f, "{}; {}", self.text, self.advice)
    }
}

/// All that may surprise, in the order of the template.
pub(crate) fn lint(config: &Config, template: &Template) -> Vec<Finding> {
    let mut linter = Linter { config, template, findings: Vec::new() };
    linter.loops();
    linter.mappings();
    linter.unread();
    linter.queues();
    linter.topics();
    linter.tables();
    linter.rights();
    linter.findings.sort_by_key(|finding| finding.line);
    linter.findings
}

/// A config beside its template, and what was found so far.
struct Linter<'a> {
    config: &'a Config,
    template: &'a Template,
    findings: Vec<Finding>,
}

/// Where something is found.
#[derive(Debug, Clone, Copy)]
struct Place<'p> {
    line: usize,
    subject: &'p str,
}

impl Linter<'_> {
    /// What is not read may be just what else is told to be missing.
    fn loops(&mut self) {
        for entry in self.template.loops() {
            let place = Place { line: entry.line, subject: &entry.name };
            let text = "makes resources that are not read here, and may be said to be missing";
            self.warn(
                place,
                "",
                text,
                "check the template that `aws cloudformation get-template --template-stage Processed` gives",
            );
        }
    }

    fn warn(
        &mut self,
        place: Place<'_>,
        property: &'static str,
        text: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.findings.push(Finding {
            line: place.line,
            subject: place.subject.to_owned(),
            property,
            text: text.into(),
            advice: advice.into(),
        });
    }

    /// The number that a property is, where it is known; `absent` where it is not there.
    fn number(&self, node: Option<&Arc<Node>>, absent: i64) -> Option<i64> {
        match node {
            None => Some(absent),
            Some(node) => self.template.known_text(node)?.trim().parse().ok(),
        }
    }

    /// Whether a property is true, where that is known.
    fn is_true(&self, node: Option<&Arc<Node>>) -> Option<bool> {
        match node {
            None => Some(false),
            Some(node) => Some(self.template.known_text(node)?.eq_ignore_ascii_case("true")),
        }
    }
}

/// Names in backticks, separated by commas.
fn quoted<T: AsRef<str>>(names: &[T]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}
