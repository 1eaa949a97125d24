//! Effects of one batch, grouped by what they write to: order without a queue of one.

use std::collections::HashMap;
use std::sync::Arc;

use millstream_projections::effect::{Effect, Publish, Target, Write};
use millstream_projections::{KeyDigest, Version};

/// One change in one projection: what the outcome is counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Unit {
    /// Which delivery of the batch.
    pub delivery: usize,
    /// Which projection of the source.
    pub projection: usize,
}

/// An effect and the unit it follows from.
#[derive(Debug)]
pub struct Planned {
    /// The unit.
    pub unit: Unit,
    /// The effect.
    pub effect: Effect,
}

/// An event and the unit it follows from.
#[derive(Debug)]
pub struct PlannedEvent {
    /// The unit.
    pub unit: Unit,
    /// The event.
    pub event: Publish,
}

/// All effects of one batch on one target in one projection: one chain for each source item.
#[derive(Debug)]
pub struct Lane {
    /// In the order in which the newest effect of each came.
    pub chains: Vec<Chain>,
}

/// The effects of one source item on one target, newest first. Only the newest is written; an older one takes its place if it is rejected.
#[derive(Debug)]
pub struct Chain {
    /// Never empty.
    pub newest_first: Vec<Planned>,
}

/// The events of one batch for one topic: one queue for each source item, oldest first, as are the events in each.
#[derive(Debug, Default)]
pub struct Outbox {
    queues: Vec<(KeyDigest, Vec<PlannedEvent>)>,
    places: HashMap<KeyDigest, usize>,
}

/// A batch's effects, ready to be applied.
#[derive(Debug, Default)]
pub struct Plan {
    /// Rows, by target.
    pub lanes: Vec<Lane>,
    /// Topics.
    pub outboxes: HashMap<Arc<str>, Outbox>,
}

/// Gathers the effects of one batch.
#[derive(Default)]
pub struct Planner {
    /// In the order in which their first effects came: where time runs out, the oldest changes are done first.
    lanes: Vec<Vec<Planned>>,
    places: HashMap<(usize, Vec<u8>), usize>,
    outboxes: HashMap<Arc<str>, Outbox>,
}

impl Planner {
    /// Adds one effect; effects are added in the order of their deliveries.
    pub fn add(&mut self, unit: Unit, effect: Effect) {
        match (effect.write, effect.target) {
            (Write::Publish(event), Target::Topic { topic }) => {
                let outbox = self.outboxes.entry(topic).or_default();
                outbox.add(effect.guard.digest, PlannedEvent { unit, event });
            }
            (write, target) => {
                let next = self.lanes.len();
                let place = *self.places.entry((unit.projection, target.canonical())).or_insert(next);
                if place == next {
                    self.lanes.push(Vec::with_capacity(1));
                }
                let effect = Effect { target, guard: effect.guard, write };
                self.lanes[place].push(Planned { unit, effect });
            }
        }
    }

    /// The finished plan.
    pub fn finish(self) -> Plan {
        Plan { lanes: self.lanes.into_iter().map(Lane::new).collect(), outboxes: self.outboxes }
    }
}

impl Outbox {
    /// The queues, by source item.
    pub fn into_queues(self) -> impl Iterator<Item = (KeyDigest, Vec<PlannedEvent>)> {
        self.queues.into_iter()
    }

    fn add(&mut self, group: KeyDigest, event: PlannedEvent) {
        let next = self.queues.len();
        let place = *self.places.entry(group).or_insert(next);
        if place == next {
            self.queues.push((group, Vec::with_capacity(1)));
        }
        self.queues[place].1.push(event);
    }
}

/// The effects of one source item in the order in which they came.
#[derive(Default)]
struct Arriving {
    newest: Option<Version>,
    /// When the newest of them came.
    arrived: usize,
    effects: Vec<Planned>,
}

impl Lane {
    fn new(effects: Vec<Planned>) -> Self {
        if effects.len() == 1 {
            return Self { chains: vec![Chain { newest_first: effects }] };
        }
        let mut by_item: HashMap<KeyDigest, Arriving> = HashMap::new();
        for (arrival, planned) in effects.into_iter().enumerate() {
            let item = by_item.entry(planned.effect.guard.digest).or_default();
            let version = &planned.effect.guard.version;
            if item.newest.as_ref().is_none_or(|newest| newest < version) {
                item.newest = Some(version.clone());
                item.arrived = arrival;
            }
            item.effects.push(planned);
        }
        let mut items: Vec<Arriving> = by_item.into_values().collect();
        items.sort_by_key(|item| item.arrived);
        Self { chains: items.into_iter().map(|item| Chain::new(item.effects)).collect() }
    }
}

impl Chain {
    fn new(mut effects: Vec<Planned>) -> Self {
        // The sort is stable: of duplicates the first to come stays first.
        effects.sort_by(|a, b| b.effect.guard.version.cmp(&a.effect.guard.version));
        guess_from_oldest(&mut effects);
        Self { newest_first: effects }
    }
}

/// What the newest put meets is what stood there before the oldest change: those in between are not written.
fn guess_from_oldest(newest_first: &mut [Planned]) {
    let [newest, .., oldest] = newest_first else { return };
    let there = match &oldest.effect.write {
        Write::Put { expect_row, .. } => *expect_row,
        Write::Delete { .. } => true,
        Write::Patch { .. } | Write::Drop { .. } | Write::Publish(_) => return,
    };
    if let Write::Put { expect_row, .. } = &mut newest.effect.write {
        *expect_row = there;
    }
}
