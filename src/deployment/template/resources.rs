//! Resources that Millstream has to do with: tables, queues, functions, and what invokes these.

use std::sync::Arc;

use super::node::Node;
use super::resolve::Known;
use super::{Resource, Template};

/// A DynamoDB table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table<'t> {
    /// The resource.
    pub(crate) resource: &'t Resource,
}

/// An SQS queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queue<'t> {
    /// The resource.
    pub(crate) resource: &'t Resource,
}

/// A Lambda function.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Function<'t> {
    /// Its logical id.
    pub(crate) name: &'t str,
    /// Where it stands.
    pub(crate) line: usize,
    /// What it is made of.
    pub(crate) properties: &'t Arc<Node>,
}

/// What a mapping reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The stream of a table.
    Stream,
    /// A queue.
    Queue,
}

/// An event source mapping: a resource of its own, or an event of a SAM function.
#[derive(Debug)]
pub(crate) struct Mapping<'t> {
    /// Its logical id; of an event that of the function, and the event's own.
    pub(crate) name: String,
    /// Where it stands.
    pub(crate) line: usize,
    /// What it reads.
    pub(crate) origin: Origin,
    /// Which stream or queue that is.
    pub(crate) source: Known,
    /// The function that it invokes, if that is in the template.
    pub(crate) function: Option<Function<'t>>,
    /// Its settings.
    pub(crate) properties: &'t Arc<Node>,
}

/// What a topic tells.
#[derive(Debug)]
pub(crate) struct Subscription<'t> {
    /// Its logical id, or the topic's.
    pub(crate) name: String,
    /// Which topic.
    pub(crate) topic: Known,
    /// Who is told.
    pub(crate) endpoint: Known,
    /// Its settings.
    pub(crate) properties: &'t Arc<Node>,
}

impl Template {
    /// All tables.
    pub(crate) fn tables(&self) -> impl Iterator<Item = Table<'_>> {
        const KINDS: [&str; 3] =
            ["AWS::DynamoDB::Table", "AWS::DynamoDB::GlobalTable", "AWS::Serverless::SimpleTable"];
        let tables = self.resources.iter().filter(|it| KINDS.contains(&it.kind.as_str()));
        tables.map(|resource| Table { resource })
    }

    /// All queues.
    pub(crate) fn queues(&self) -> impl Iterator<Item = Queue<'_>> {
        let queues = self.resources.iter().filter(|it| it.kind == "AWS::SQS::Queue");
        queues.map(|resource| Queue { resource })
    }

    /// All subscriptions, of which a topic may have its own.
    pub(crate) fn subscriptions(&self) -> Vec<Subscription<'_>> {
        let known = |node: Option<&Arc<Node>>| node.map_or(Known::Unknown, |node| self.known(node));
        let own = self.of_kind("AWS::SNS::Subscription").map(|it| Subscription {
            name: it.name.clone(),
            topic: known(it.properties.get("TopicArn")),
            endpoint: known(it.properties.get("Endpoint")),
            properties: &it.properties,
        });
        let of_topics = self.of_kind("AWS::SNS::Topic").flat_map(|topic| {
            let list = topic.properties.get("Subscription").map(|list| list.elements()).unwrap_or_default();
            list.iter().map(move |it| Subscription {
                name: topic.name.clone(),
                topic: Known::Of { resource: topic.name.clone(), attribute: None },
                endpoint: known(it.get("Endpoint")),
                properties: it,
            })
        });
        own.chain(of_topics).collect()
    }

    /// All functions.
    pub(crate) fn functions(&self) -> impl Iterator<Item = Function<'_>> {
        let is_function = |it: &&Resource| {
            matches!(it.kind.as_str(), "AWS::Serverless::Function" | "AWS::Lambda::Function")
        };
        self.resources.iter().filter(is_function).map(|it| Function {
            name: &it.name,
            line: it.line,
            properties: &it.properties,
        })
    }

    /// A setting of a function, its own or that of all.
    pub(crate) fn setting<'t>(&'t self, function: Function<'t>, name: &str) -> Option<&'t Arc<Node>> {
        let own = function.properties.get(name);
        own.or_else(|| self.root.at(&["Globals", "Function", name]))
    }

    /// All mappings of streams and queues.
    pub(crate) fn mappings(&self) -> Vec<Mapping<'_>> {
        let mut mappings: Vec<Mapping<'_>> =
            self.functions().flat_map(|function| self.events(function)).collect();
        let own = self.resources.iter().filter(|it| it.kind == "AWS::Lambda::EventSourceMapping");
        mappings.extend(own.filter_map(|resource| self.mapping(resource)));
        mappings.sort_by_key(|mapping| mapping.line);
        mappings
    }

    /// The function of that logical id, or the one that an alias of that logical id stands for, which may be SAM's own.
    fn function_of(&self, name: &str) -> Option<Function<'_>> {
        let is_of_sam = |it: &Function<'_>| {
            let published = self.setting(*it, "AutoPublishAlias").is_some();
            published && name.strip_prefix(it.name).is_some_and(|rest| rest.starts_with("Alias"))
        };
        let alias = self.of_kind("AWS::Lambda::Alias").find(|alias| alias.name == name);
        let behind = alias.and_then(|alias| match self.known(alias.properties.get("FunctionName")?) {
            Known::Of { resource, .. } => Some(resource),
            Known::Text(_) | Known::Unknown => None,
        });
        let named = self.functions().find(|it| it.name == behind.as_deref().unwrap_or(name));
        named.or_else(|| self.functions().find(is_of_sam))
    }

    fn events<'t>(&'t self, function: Function<'t>) -> impl Iterator<Item = Mapping<'t>> {
        let events = function.properties.get("Events").map(|events| events.entries()).unwrap_or_default();
        events.iter().filter_map(move |event| {
            let (origin, source) = match event.value.get("Type")?.text()? {
                "DynamoDB" => (Origin::Stream, "Stream"),
                "SQS" => (Origin::Queue, "Queue"),
                _ => return None,
            };
            let properties = event.value.get("Properties")?;
            Some(Mapping {
                name: format!("{}.{}", function.name, event.name),
                line: event.line,
                origin,
                source: properties.get(source).map_or(Known::Unknown, |source| self.known(source)),
                function: Some(function),
                properties,
            })
        })
    }

    fn mapping<'t>(&'t self, resource: &'t Resource) -> Option<Mapping<'t>> {
        let properties = &resource.properties;
        let mut source = properties.get("EventSourceArn").map_or(Known::Unknown, |source| self.known(source));
        // What another stack gives is known when it is there.
        if let Known::Of { resource, .. } = &source
            && self.resource(resource).is_some_and(|it| is_elsewhere(&it.kind))
        {
            source = Known::Unknown;
        }
        let origin = match &source {
            Known::Text(arn) if arn.contains(":dynamodb:") => Origin::Stream,
            Known::Text(arn) if arn.contains(":sqs:") => Origin::Queue,
            // What reads something else is none of Millstream's.
            Known::Text(_) => return None,
            Known::Of { resource, .. } => match self.resource(resource)?.kind.as_str() {
                "AWS::SQS::Queue" => Origin::Queue,
                kind if kind.starts_with("AWS::DynamoDB::") => Origin::Stream,
                _ => return None,
            },
            // Only streams are begun somewhere.
            Known::Unknown if properties.get("StartingPosition").is_some() => Origin::Stream,
            Known::Unknown => Origin::Queue,
        };
        let function = match properties.get("FunctionName").map(|function| self.known(function)) {
            Some(Known::Of { resource, .. }) => self.function_of(&resource),
            Some(Known::Text(name)) => self.functions().find(|it| {
                let own = it.properties.get("FunctionName").and_then(|own| self.known_text(own));
                own.as_deref() == Some(name.rsplit(':').next().unwrap_or_default())
            }),
            Some(Known::Unknown) | None => None,
        };
        Some(Mapping {
            name: resource.name.clone(),
            line: resource.line,
            origin,
            source,
            function,
            properties,
        })
    }
}

/// Whether what a resource gives comes from elsewhere.
fn is_elsewhere(kind: &str) -> bool {
    ["AWS::CloudFormation::", "AWS::Serverless::Application", "Custom::"]
        .iter()
        .any(|it| kind.starts_with(it))
}

impl<'t> Table<'t> {
    /// Its name, where that is known before there is a stack.
    pub(crate) fn name(&self, template: &Template) -> Option<String> {
        template.known_text(self.resource.properties.get("TableName")?)
    }
}

impl<'t> Queue<'t> {
    /// Its name, where that is known before there is a stack.
    pub(crate) fn name(&self, template: &Template) -> Option<String> {
        template.known_text(self.resource.properties.get("QueueName")?)
    }
}
