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

/// The folds of one projection: one chain for each source item, in the order in which they came first.
#[derive(Debug)]
pub struct FoldLane {
    /// Which projection of the source.
    pub projection: usize,
    /// All of their effects are folds.
    pub chains: Vec<Chain>,
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
    /// Folds, by projection.
    pub folds: Vec<FoldLane>,
    /// Topics.
    pub outboxes: HashMap<Arc<str>, Outbox>,
}

/// Gathers the effects of one batch.
#[derive(Default)]
pub struct Planner {
    /// In the order in which their first effects came: where time runs out, the oldest changes are done first.
    lanes: Vec<Vec<Planned>>,
    places: HashMap<(usize, Vec<u8>), usize>,
    folds: Vec<Folds>,
    outboxes: HashMap<Arc<str>, Outbox>,
}

/// The folds of one projection as they come.
struct Folds {
    projection: usize,
    items: Vec<Vec<Planned>>,
    places: HashMap<KeyDigest, usize>,
}

impl Planner {
    /// Adds one effect; effects are added in the order of their deliveries.
    pub fn add(&mut self, unit: Unit, effect: Effect) {
        match (effect.write, effect.target) {
            (Write::Publish(event), Target::Topic { topic }) => {
                let outbox = self.outboxes.entry(topic).or_default();
                outbox.add(effect.guard.digest, PlannedEvent { unit, event });
            }
            (write @ Write::Fold(_), target) => {
                let effect = Effect { target, guard: effect.guard, write };
                self.fold(Planned { unit, effect });
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
        let fold = |folds: Folds| FoldLane {
            projection: folds.projection,
            chains: folds.items.into_iter().map(Chain::new).collect(),
        };
        Plan {
            lanes: self.lanes.into_iter().map(Lane::new).collect(),
            folds: self.folds.into_iter().map(fold).collect(),
            outboxes: self.outboxes,
        }
    }

    fn fold(&mut self, planned: Planned) {
        let projection = planned.unit.projection;
        let known = self.folds.iter().position(|folds| folds.projection == projection);
        let place = known.unwrap_or_else(|| {
            self.folds.push(Folds { projection, items: Vec::new(), places: HashMap::new() });
            self.folds.len() - 1
        });
        let Folds { items, places, .. } = &mut self.folds[place];
        let item = *places.entry(planned.effect.guard.digest).or_insert(items.len());
        if item == items.len() {
            items.push(Vec::with_capacity(1));
        }
        items[item].push(planned);
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

/// What the newest effect meets is what stood there before the oldest change: those in between are not written.
fn guess_from_oldest(newest_first: &mut [Planned]) {
    let [newest, .., oldest] = newest_first else { return };
    match (&mut newest.effect.write, &oldest.effect.write) {
        (Write::Put { expect_row, .. }, Write::Put { expect_row: there, .. }) => *expect_row = *there,
        (Write::Put { expect_row, .. }, Write::Delete { .. }) => *expect_row = true,
        (Write::Fold(newest), Write::Fold(oldest)) => newest.guess.clone_from(&oldest.guess),
        _ => {}
    }
}
