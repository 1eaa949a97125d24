//! Sources of the config that no mapping of the template reads.

use millstream_projections::config::{SourceConfig, SourceKind};

use super::{Linter, Place};
use crate::deployment::template::Origin;

/// What runs containers, and so may run a poller.
const CONTAINERS: [&str; 3] = ["AWS::ECS::TaskDefinition", "AWS::ECS::Service", "AWS::EC2::Instance"];

impl<'a> Linter<'a> {
    /// A template that has mappings, or functions that nothing else can invoke, is expected to read all.
    pub(super) fn unread(&mut self) {
        let mappings = self.template.mappings();
        let is_read_by_mappings = mappings.iter().any(|it| self.source_of(it).is_ok());
        let is_polled = CONTAINERS.iter().any(|kind| self.template.of_kind(kind).next().is_some());
        let has_functions = self.template.functions().next().is_some();
        if self.hides_mappings() || !(is_read_by_mappings || has_functions && !is_polled) {
            return;
        }
        for source in self.unread_sources() {
            let (word, resource) = (source.kind.word(), source.kind.resource());
            let subject = format!("source.{}", source.name);
            let text = format!("no mapping reads {word} `{resource}`: its changes reach no function");
            let advice = format!(
                "add what `millstream template --source {}` prints, unless `millstream run` or another template reads it",
                source.name
            );
            self.warn(Place { line: 1, subject: &subject }, "", text, advice);
        }
    }

    /// The sources that no mapping here reads, nor may read. What a topic invokes needs no mapping.
    pub(super) fn unread_sources(&self) -> Vec<&'a SourceConfig> {
        let mappings = self.template.mappings();
        let is_read = |source: &SourceConfig, origin: Origin| {
            let of_kind = mappings.iter().filter(|mapping| mapping.origin == origin);
            let mut found = of_kind.filter_map(|mapping| self.source_of(mapping).ok());
            found.any(|found| found.is_none_or(|found| found == source))
        };
        let is_unread = |source: &&SourceConfig| match source.kind {
            SourceKind::Table(_) => !is_read(source, Origin::Stream),
            SourceKind::Queue(_) => !is_read(source, Origin::Queue),
            SourceKind::Topic(_) => false,
        };
        self.config.sources.iter().filter(is_unread).collect()
    }

    /// Whether there may be mappings that are not read here.
    fn hides_mappings(&self) -> bool {
        let hides = |events: &crate::deployment::template::node::Node| {
            events.is_call() || events.entries().iter().any(|event| event.value.is_call())
        };
        let mut functions = self.template.functions();
        self.template.loops().next().is_some()
            || functions
                .any(|it| it.properties.is_call() || it.properties.get("Events").is_some_and(|it| hides(it)))
    }
}
