//! What functions may do: neither less than this config needs, or it stands still, nor more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_processor::permissions::{Deployment, OnFailure, Place as Site, Role};
use millstream_projections::config::{SourceConfig, SourceKind};

use super::{Linter, Place};
use crate::deployment::template::node::{Node, Value};
use crate::deployment::template::{ACCOUNT, Function, Known, Origin, REGION, Resource};

/// Services whose rights Millstream knows all about. Logs, traces and keys are the deployment's own.
const KNOWN: [&str; 4] = ["dynamodb", "sns", "sqs", "s3"];

/// Policies that are attached to roles, and the property that says to which.
const ATTACHED: [(&str, &str); 3] = [
    ("AWS::IAM::Policy", "Roles"),
    ("AWS::IAM::ManagedPolicy", "Roles"),
    ("AWS::IAM::RolePolicy", "RoleName"),
];

/// An action, and a resource without the place that it is in.
type Right = (String, String);

/// What a role is granted.
#[derive(Default)]
struct Granted {
    /// The resource that says so.
    role: String,
    line: usize,
    /// Each right with its line.
    rights: BTreeMap<Right, usize>,
    /// Whether there may be more than can be read here.
    is_open: bool,
}

impl Linter<'_> {
    pub(super) fn rights(&mut self) {
        let functions: Vec<Function<'_>> = self.template.functions().collect();
        // Two functions may share a role.
        let mut roles: BTreeMap<String, (Granted, BTreeSet<Right>)> = BTreeMap::new();
        for function in functions {
            let Some(needed) = self.needed(function) else { continue };
            let Some(granted) = self.granted(function) else { continue };
            let (_, all) = roles.entry(granted.role.clone()).or_insert((granted, BTreeSet::new()));
            all.extend(needed);
        }
        let unread = self.unread_rights();
        for (granted, needed) in roles.into_values() {
            self.compare(&granted, &needed, &unread);
        }
    }

    /// What a function would need to read what no mapping reads: that it is not read is said, and its rights are right.
    fn unread_rights(&self) -> BTreeSet<Right> {
        let rights = self.unread_sources().into_iter().flat_map(|source| {
            let role = match source.kind {
                SourceKind::Table(_) => Role::StreamFunction,
                SourceKind::Queue(_) | SourceKind::Topic(_) => Role::QueueFunction,
            };
            self.rights_of(role, source, None)
        });
        rights.collect()
    }

    fn rights_of(&self, role: Role, source: &SourceConfig, on_failure: Option<&OnFailure>) -> Vec<Right> {
        let sources = [source.name.clone()];
        let deployment = Deployment { config: self.config, sources: &sources, on_failure, lease_table: None };
        let site =
            Site { partition: "aws".to_owned(), region: REGION.to_owned(), account: ACCOUNT.to_owned() };
        let grants = deployment.grants(role);
        grants.iter().map(|(action, resource)| (action.to_owned(), placeless(&resource.arn(&site)))).collect()
    }

    /// What a function needs that this config's streams or queues invoke; none if that is not known, or it is another's.
    fn needed(&self, function: Function<'_>) -> Option<BTreeSet<Right>> {
        let mut needed = BTreeSet::new();
        for mapping in self.template.mappings() {
            let Ok(source) = self.source_of(&mapping) else { continue };
            // Without a name it may be this one that it invokes.
            if mapping.function?.name != function.name {
                continue;
            }
            let source = source?;
            let role = match mapping.origin {
                Origin::Stream => Role::StreamFunction,
                Origin::Queue => Role::QueueFunction,
            };
            let place = ["DestinationConfig", "OnFailure", "Destination"];
            if mapping.properties.hides(&place) {
                return None;
            }
            let destination = mapping.properties.at(&place);
            let destination = destination.map(|node| self.template.known_text(node));
            let on_failure = match destination {
                None => None,
                Some(arn) => Some(OnFailure::parse(&arn?).ok()?),
            };
            needed.extend(self.rights_of(role, source, on_failure.as_ref()));
        }
        (!needed.is_empty()).then_some(needed)
    }

    /// What a function's role is granted; none where the role is not in the template.
    fn granted(&self, function: Function<'_>) -> Option<Granted> {
        let Some(role) = self.template.setting(function, "Role") else {
            // SAM makes a role, and adds what events need.
            let mut granted = Granted {
                role: function.name.to_owned(),
                line: function.line,
                is_open: true,
                ..Granted::default()
            };
            let policies = self.template.setting(function, "Policies")?;
            let one = std::slice::from_ref(policies);
            let all = if policies.elements().is_empty() { one } else { policies.elements() };
            all.iter().for_each(|policy| self.read(policy, &mut granted));
            return Some(granted);
        };
        let Known::Of { resource, .. } = self.template.known(role) else { return None };
        let role = self.template.resource(&resource).filter(|role| role.kind == "AWS::IAM::Role")?;
        let mut granted = Granted { role: role.name.clone(), line: role.line, ..Granted::default() };
        granted.is_open = role.properties.get("ManagedPolicyArns").is_some();
        let inline = role.properties.get("Policies");
        granted.is_open |= inline.is_some_and(|policies| policies.is_call());
        for policy in inline.map(|policies| policies.elements()).unwrap_or_default() {
            self.read_document(policy, &mut granted);
        }
        self.attached(role, &mut granted);
        Some(granted)
    }

    /// Policies that are resources of their own, and say whose they are.
    fn attached(&self, role: &Resource, granted: &mut Granted) {
        let name = role.properties.get("RoleName").and_then(|name| self.template.known_text(name));
        let is_role = |whose: &Arc<Node>| match self.template.known(whose) {
            Known::Of { resource, .. } => resource == role.name,
            Known::Text(text) => Some(text) == name,
            Known::Unknown => false,
        };
        for (kind, whose) in ATTACHED {
            for policy in self.template.of_kind(kind) {
                let Some(roles) = policy.properties.get(whose) else { continue };
                let one = std::slice::from_ref(roles);
                let all = if roles.elements().is_empty() { one } else { roles.elements() };
                if all.iter().any(is_role) {
                    self.read_document(&policy.properties, granted);
                }
                // It may be this role's, too.
                granted.is_open |= all.iter().any(|role| self.template.known(role) == Known::Unknown);
            }
        }
    }

    fn read_document(&self, policy: &Arc<Node>, granted: &mut Granted) {
        match policy.get("PolicyDocument") {
            Some(document) => self.read(document, granted),
            None => granted.is_open = true,
        }
    }

    fn read(&self, document: &Arc<Node>, granted: &mut Granted) {
        let Some(statements) = document.get("Statement") else {
            granted.is_open = true;
            return;
        };
        let one = std::slice::from_ref(statements);
        let all = if statements.elements().is_empty() { one } else { statements.elements() };
        for statement in all {
            let effect = statement.get("Effect").and_then(|effect| self.template.known_text(effect));
            let actions = self.texts(statement.get("Action"));
            if actions.as_ref().is_some_and(|actions| !actions.iter().any(|action| is_known(action))) {
                continue;
            }
            let (Some("Allow"), Some(actions), Some(resources)) =
                (effect.as_deref(), actions, self.texts(statement.get("Resource")))
            else {
                granted.is_open = true;
                continue;
            };
            for action in &actions {
                for resource in &resources {
                    granted.rights.insert((action.clone(), placeless(resource)), statement.line);
                }
            }
        }
    }

    /// One text or a list of them; none if one is not known.
    fn texts(&self, node: Option<&Arc<Node>>) -> Option<Vec<String>> {
        match &node?.value {
            Value::List(elements) => {
                elements.iter().map(|element| self.template.known_text(element)).collect()
            }
            _ => self.template.known_text(node?).map(|text| vec![text]),
        }
    }

    fn compare(&mut self, granted: &Granted, needed: &BTreeSet<Right>, unread: &BTreeSet<Right>) {
        let is_granted = |(action, resource): &&Right| {
            granted
                .rights
                .keys()
                .any(|(actions, resources)| covers(actions, action) && covers(resources, resource))
        };
        let mut lacking: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (action, resource) in needed.iter().filter(|right| !granted.is_open && !is_granted(right)) {
            lacking.entry(resource).or_default().push(action);
        }
        for (resource, actions) in lacking {
            let text = format!("lacks {} on {resource}", actions.join(", "));
            let place = Place { line: granted.line, subject: &granted.role };
            self.warn(place, "Policies", text, "use what `millstream policy` prints");
        }
        let mut needless: BTreeMap<(usize, &str), Vec<&str>> = BTreeMap::new();
        let is_needless = |right: &Right| !needed.contains(right) && !unread.contains(right);
        for (right, line) in granted.rights.iter().filter(|(right, _)| is_needless(right)) {
            let (action, resource) = right;
            if is_known(action) {
                needless.entry((*line, resource)).or_default().push(action);
            }
        }
        for ((line, resource), actions) in needless {
            let text =
                format!("grants {} on {resource}, which nothing of this config needs", actions.join(", "));
            let place = Place { line, subject: &granted.role };
            self.warn(place, "Policies", text, "take it out, or see what `millstream policy` prints");
        }
    }
}

/// Whether an action may be one of a service that Millstream knows all about.
fn is_known(action: &str) -> bool {
    action == "*" || KNOWN.contains(&action.split(':').next().unwrap_or_default())
}

/// An ARN without partition, Region and account: which these are, only a deployment knows.
fn placeless(arn: &str) -> String {
    match arn.splitn(6, ':').collect::<Vec<_>>().as_slice() {
        ["arn", _, service, _, _, resource] => format!("{service}:{resource}"),
        _ => arn.to_owned(),
    }
}

/// Whether a pattern with `*` in it stands for all that a text stands for, whose own `*` is a letter like any other.
fn covers(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|after| {
            let mut places = after.char_indices().map(|(at, _)| at).chain([after.len()]);
            places.any(|at| covers(rest, &after[at..]))
        }),
    }
}
