//! A small IAM: it judges every real request by a policy, lets through what is allowed, and remembers what was asked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use aws_config::SdkConfig;
use serde_json::Value;

/// The connector that asks before it sends.
mod gate;
/// What each request has to be allowed.
mod request;

/// One action on one resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// As `dynamodb:PutItem`.
    pub action: String,
    /// An ARN; in a policy it may have `*` in it.
    pub resource: String,
}

impl Right {
    /// A right of these two.
    pub fn new(action: impl Into<String>, resource: impl Into<String>) -> Self {
        Self { action: action.into(), resource: resource.into() }
    }

    /// Whether it covers what is asked.
    pub fn covers(&self, asked: &Self) -> bool {
        matches(&self.action, &asked.action) && matches(&self.resource, &asked.resource)
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.action, self.resource)
    }
}

/// A policy of `Allow` statements, without conditions and without wildcards in actions.
#[derive(Debug, Clone, Default)]
pub struct Policy(Vec<Right>);

impl Policy {
    /// Reads a policy document. Panics at anything that a least-privilege policy has no need for, and at a right that it
    /// grants twice: what is taken away in one place would still be granted in the other.
    pub fn parse(document: &Value) -> Self {
        assert_eq!(document["Version"], "2012-10-17", "{document}");
        let statements = document["Statement"].as_array().expect("a policy has statements");
        let mut names = BTreeSet::new();
        let mut rights = Vec::new();
        for statement in statements {
            let members = statement.as_object().expect("a statement is an object");
            for name in members.keys() {
                let known = ["Sid", "Effect", "Action", "Resource"].contains(&name.as_str());
                assert!(known, "a policy needs no {name}: {statement}");
            }
            assert_eq!(statement["Effect"], "Allow", "{statement}");
            let sid = statement["Sid"].as_str().expect("a statement has a name");
            assert!(sid.bytes().all(|byte| byte.is_ascii_alphanumeric()), "IAM takes no such name: {sid}");
            assert!(names.insert(sid), "{sid} is there twice");
            for action in texts(&statement["Action"]) {
                assert!(!action.contains('*'), "{action} is more than one action");
                rights.extend(texts(&statement["Resource"]).map(|resource| Right::new(action, resource)));
            }
        }
        let once: BTreeSet<&Right> = rights.iter().collect();
        assert_eq!(once.len(), rights.len(), "a right is granted twice: {document}");
        Self(rights)
    }

    /// What the hand of a test may do.
    pub fn everything() -> Self {
        Self(vec![Right::new("*", "*")])
    }

    /// Everything that it grants.
    pub fn rights(&self) -> &[Right] {
        &self.0
    }

    /// Whether it allows what is asked.
    pub fn allows(&self, asked: &Right) -> bool {
        self.0.iter().any(|right| right.covers(asked))
    }

    /// The same without one right.
    #[must_use]
    pub fn without(&self, right: &Right) -> Self {
        Self(self.0.iter().filter(|it| *it != right).cloned().collect())
    }
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    let list = value.as_array().expect("actions and resources are lists");
    list.iter().map(|text| text.as_str().expect("actions and resources are texts"))
}

/// Whether a text is of a form in which `*` stands for anything.
fn matches(form: &str, text: &str) -> bool {
    match form.split_once('*') {
        None => form == text,
        Some((start, rest)) => {
            let Some(after) = text.strip_prefix(start) else { return false };
            (0..=after.len()).filter(|at| after.is_char_boundary(*at)).any(|at| matches(rest, &after[at..]))
        }
    }
}

/// Judges requests by a policy. Clones share what was asked.
#[derive(Debug, Clone)]
pub struct Authority(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    policy: Policy,
    asked: Mutex<BTreeSet<Right>>,
    /// Which stream an iterator is of: a request for records does not say.
    iterators: Mutex<BTreeMap<String, String>>,
}

impl Authority {
    /// One that goes by this policy.
    pub fn new(policy: Policy) -> Self {
        Self(Arc::new(Inner { policy, asked: Mutex::default(), iterators: Mutex::default() }))
    }

    /// The same client configuration, whose every request is judged. What is not allowed is answered as AWS does, and
    /// never reaches the service.
    pub fn judged(&self, config: &SdkConfig) -> SdkConfig {
        gate::judged(config, self.clone())
    }

    /// The same of tables, topics and queues that are in different places: one configuration for all of them.
    pub fn judged_each(&self, tables: &SdkConfig, topics: &SdkConfig, queues: &SdkConfig) -> SdkConfig {
        gate::judged_each([tables, topics, queues], self.clone())
    }

    /// What was asked so far.
    pub fn asked(&self) -> BTreeSet<Right> {
        lock(&self.0.asked).clone()
    }

    /// What was asked and not allowed.
    pub fn denied(&self) -> Vec<Right> {
        self.asked().into_iter().filter(|asked| !self.0.policy.allows(asked)).collect()
    }

    /// Which right is lacking for a request, if any.
    fn judge(&self, rights: Vec<Right>) -> Option<Right> {
        let denied = rights.iter().find(|asked| !self.0.policy.allows(asked)).cloned();
        lock(&self.0.asked).extend(rights);
        denied
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics while it holds this")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_policy_allows_what_it_says_and_nothing_else() {
        let policy = Policy::parse(&json!({ "Version": "2012-10-17", "Statement": [
            { "Sid": "A", "Effect": "Allow", "Action": ["s:Get", "s:Put"], "Resource": ["arn:t/a", "arn:t/b/stream/*"] },
            { "Sid": "B", "Effect": "Allow", "Action": ["s:List"], "Resource": ["*"] },
        ] }));
        for (action, resource, allowed) in [
            ("s:Get", "arn:t/a", true),
            ("s:Put", "arn:t/b/stream/2025", true),
            ("s:List", "anything", true),
            ("s:Get", "arn:t/ab", false),
            ("s:Get", "arn:t/b/stream", false),
            ("s:Get", "arn:t/c/stream/2025", false),
            ("s:Delete", "arn:t/a", false),
        ] {
            assert_eq!(policy.allows(&Right::new(action, resource)), allowed, "{action} on {resource}");
        }
        let right = policy.rights()[0].clone();
        assert!(!policy.without(&right).allows(&right));
        assert_eq!(policy.rights().len(), 5);
    }

    #[test]
    fn what_no_least_policy_has_is_refused() {
        let statement = |action: &str, more: Value| {
            let mut statement =
                json!({ "Sid": "A", "Effect": "Allow", "Action": [action], "Resource": ["arn:t/a"] });
            for (name, value) in more.as_object().expect("members") {
                statement[name] = value.clone();
            }
            statement
        };
        let good = statement("s:Get", json!({}));
        for statements in [
            json!([statement("s:*", json!({}))]),
            json!([statement("s:Get", json!({ "Effect": "Deny" }))]),
            json!([statement("s:Get", json!({ "Condition": {} }))]),
            json!([statement("s:Get", json!({ "Sid": "a-b" }))]),
            json!([good.clone(), statement("s:Put", json!({}))]),
            json!([good.clone(), statement("s:Get", json!({ "Sid": "B" }))]),
        ] {
            let document = json!({ "Version": "2012-10-17", "Statement": statements });
            let parsed = std::panic::catch_unwind(|| Policy::parse(&document));
            assert!(parsed.is_err(), "{document}");
        }
        Policy::parse(&json!({ "Version": "2012-10-17", "Statement": [good] }));
    }
}
