//! Topics that queues of the config are subscribed to: what keeps a message from its queue.

use std::sync::Arc;

use super::queues::at;
use super::{Linter, Place};
use crate::deployment::template::node::Node;
use crate::deployment::template::{ACCOUNT, Known, Queue, REGION, Subscription};

/// The account's key for SQS, which no other service may use.
const KEY_OF_SQS: &str = "alias/aws/sqs";

impl Linter<'_> {
    pub(super) fn topics(&mut self) {
        let subscriptions = self.template.subscriptions();
        for queue in self.source_queues() {
            let own: Vec<_> = subscriptions.iter().filter(|it| self.is_of(&it.endpoint, queue)).collect();
            for subscription in &own {
                self.filter_policy(subscription);
                self.queue_policy(subscription, queue);
            }
            if !own.is_empty() {
                self.key_of_sqs(queue);
            }
        }
    }

    /// Whether it is the ARN or the URL of a queue.
    fn is_of(&self, known: &Known, queue: Queue<'_>) -> bool {
        match known {
            Known::Of { resource, .. } => *resource == queue.resource.name,
            Known::Text(text) => {
                let name = text.trim_end_matches('/').rsplit([':', '/']).next();
                name.is_some_and(|name| queue.name(self.template).as_deref() == Some(name))
            }
            Known::Unknown => false,
        }
    }

    fn filter_policy(&mut self, subscription: &Subscription<'_>) {
        let Some(policy) = subscription.properties.entry("FilterPolicy") else { return };
        // It may be written as JSON in a text.
        let text = policy.value.text().map(str::trim).unwrap_or_default();
        if !policy.value.entries().is_empty() || !matches!(text, "" | "{}") {
            self.warn(
                Place { line: policy.line, subject: &subscription.name },
                "FilterPolicy",
                "drops messages before they are in the queue of a source: what a projection needs may be among them",
                "leave it out: `where` of the projections chooses, and of the `emit` that fills the topic",
            );
        }
    }

    fn key_of_sqs(&mut self, queue: Queue<'_>) {
        let key = queue.resource.properties.get("KmsMasterKeyId");
        let key = key.and_then(|key| self.template.known_text(key));
        if key.is_some_and(|key| key.ends_with(KEY_OF_SQS)) {
            self.warn(
                at(queue, "KmsMasterKeyId"),
                "KmsMasterKeyId",
                format!("{KEY_OF_SQS} is a key that SNS cannot use: nothing that is published arrives in the queue"),
                "set SqsManagedSseEnabled: true in its place, or a key of your own that sns.amazonaws.com may use",
            );
        }
    }

    /// A policy that lets other topics send, and not the one that the queue is subscribed to.
    fn queue_policy(&mut self, subscription: &Subscription<'_>, queue: Queue<'_>) {
        let Some(topic) = self.identity(&subscription.topic) else { return };
        let Some((line, subject, named)) = self.senders(queue) else { return };
        if !named.is_empty() && !named.contains(&topic) {
            let text = format!("does not let `{}` send to `{}`", topic, queue.resource.name);
            let advice = "name the topic that the queue is subscribed to in `aws:SourceArn`";
            self.warn(Place { line, subject: &subject }, "PolicyDocument", text, advice);
        }
    }

    /// Who may send to a queue, if all that its policies say of that is known: where they stand, and the ARNs.
    fn senders(&self, queue: Queue<'_>) -> Option<(usize, String, Vec<String>)> {
        let (mut place, mut named) = (None, Vec::new());
        for policy in self.template.of_kind("AWS::SQS::QueuePolicy") {
            let queues = policy.properties.get("Queues")?;
            if queues.is_call() {
                return None;
            }
            let known: Vec<Known> = queues.elements().iter().map(|it| self.template.known(it)).collect();
            if known.contains(&Known::Unknown) {
                return None;
            }
            if !known.iter().any(|it| self.is_of(it, queue)) {
                continue;
            }
            place.get_or_insert((policy.line, policy.name.clone()));
            let statements = policy.properties.at(&["PolicyDocument", "Statement"])?;
            let one = std::slice::from_ref(statements);
            let all = if statements.elements().is_empty() { one } else { statements.elements() };
            for statement in all {
                named.extend(self.source_arns(statement)?);
            }
        }
        place.map(|(line, name)| (line, name, named))
    }

    /// The ARNs that a statement allows to send; none where it allows more, or that is not known.
    fn source_arns(&self, statement: &Arc<Node>) -> Option<Vec<String>> {
        let effect = self.template.known_text(statement.get("Effect")?)?;
        let conditions = statement.get("Condition").map(|condition| condition.entries());
        let [only] = conditions.unwrap_or_default() else {
            return (effect == "Deny").then(Vec::new);
        };
        if effect == "Deny" || !matches!(only.name.as_str(), "ArnEquals" | "ArnLike" | "StringEquals") {
            return (effect == "Deny").then(Vec::new);
        }
        let mut keys = only.value.entries().iter();
        let arns = &keys.find(|key| key.name.eq_ignore_ascii_case("aws:SourceArn"))?.value;
        let one = std::slice::from_ref(arns);
        let all = if arns.elements().is_empty() { one } else { arns.elements() };
        all.iter().map(|arn| self.identity(&self.template.known(arn))).collect()
    }

    /// A topic's ARN where that is known, or its logical id; none of what may be several.
    fn identity(&self, known: &Known) -> Option<String> {
        match known {
            Known::Text(text) => (!text.contains(['*', '?'])).then(|| text.clone()),
            Known::Of { resource, .. } => {
                let topic = self.template.resource(resource).filter(|it| it.kind == "AWS::SNS::Topic")?;
                let name = topic.properties.get("TopicName").map(|name| self.template.known_text(name));
                // One without a name has an ARN that no other text in the template can be.
                match name {
                    None => Some(resource.clone()),
                    Some(name) => name.map(|name| format!("arn:aws:sns:{REGION}:{ACCOUNT}:{name}")),
                }
            }
            Known::Unknown => None,
        }
    }
}
