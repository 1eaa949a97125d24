//! What a role may do, gathered, and as a policy.

use std::collections::{BTreeMap, BTreeSet};

use super::resource::{Place, Resource};

/// What a statement of a policy is called, which says what it is for; in the order in which they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Purpose {
    /// What an event source mapping, or a poller, reads.
    Streams,
    /// What an event source mapping takes messages from.
    Queues,
    /// Tables that changes come from.
    Sources,
    /// Rows that projections own.
    Replicas,
    /// Attributes on other owners' rows.
    Copies,
    /// Where those rows are found.
    Indexes,
    /// Totals.
    Totals,
    /// Lookup rows.
    Lookups,
    /// Events.
    Topics,
    /// Our own tables.
    Ledger,
    Values,
    State,
    /// What another library remembers of streams.
    Leases,
    /// Dead letters.
    Letters,
    /// What a mapping gives up on.
    Failures,
}

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Self::Streams => "Streams",
            Self::Queues => "Queues",
            Self::Sources => "Sources",
            Self::Replicas => "Replicas",
            Self::Copies => "Copies",
            Self::Indexes => "Indexes",
            Self::Totals => "Totals",
            Self::Lookups => "Lookups",
            Self::Topics => "Topics",
            Self::Ledger => "Ledger",
            Self::Values => "Values",
            Self::State => "State",
            Self::Leases => "Leases",
            Self::Letters => "Letters",
            Self::Failures => "Failures",
        }
    }
}

type Actions = BTreeSet<&'static str>;

/// What a role may do. Each action on each resource is in it once.
#[derive(Debug, Default)]
pub struct Grants(BTreeMap<Resource, (Purpose, Actions)>);

impl Grants {
    /// Allows some actions on a resource.
    pub(super) fn add<const N: usize>(
        &mut self,
        purpose: Purpose,
        resource: Resource,
        actions: [&'static str; N],
    ) {
        self.0.entry(resource).or_insert_with(|| (purpose, Actions::new())).1.extend(actions);
    }

    /// Whether nothing is allowed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every action on every resource.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Resource)> {
        self.0
            .iter()
            .flat_map(|(resource, (_, actions))| actions.iter().map(move |action| (*action, resource)))
    }

    /// The same as statements of a policy: what is for one purpose, and needs the same actions, stands together.
    pub fn statements(&self, place: &Place) -> Vec<Statement> {
        let mut grouped: BTreeMap<(Purpose, &Actions), Vec<String>> = BTreeMap::new();
        for (resource, (purpose, actions)) in &self.0 {
            grouped.entry((*purpose, actions)).or_default().push(resource.arn(place));
        }
        let mut numbers: BTreeMap<Purpose, usize> = BTreeMap::new();
        let statement = |((purpose, actions), mut resources): ((Purpose, &Actions), Vec<String>)| {
            let number = numbers.entry(purpose).or_default();
            *number += 1;
            let name = purpose.as_str();
            resources.sort_unstable();
            Statement {
                sid: if *number == 1 { name.to_owned() } else { format!("{name}{number}") },
                actions: actions.iter().copied().collect(),
                resources,
            }
        };
        grouped.into_iter().map(statement).collect()
    }
}

/// One statement of a policy: it allows each of its actions on each of its resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Its name, which no other statement of the policy has.
    pub sid: String,
    /// What is allowed.
    pub actions: Vec<&'static str>,
    /// ARNs.
    pub resources: Vec<String>,
}
