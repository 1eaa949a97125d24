//! `emit`: an event on an SNS topic for other services.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::selection::{Movement, Selection};
use crate::change::{Change, ChangeKind};
use crate::effect::{Effect, Effects, Publish, Target, Write};
use crate::event::{Data, Event, SPEC_VERSION, rfc3339, sorted};
use crate::image::Image;
use crate::item::{AttributeName, Value};
use crate::name::ProjectionName;
use crate::projection::{Projection, Reject};
use crate::version::Guard;

/// The settings of an `emit`, validated.
#[derive(Debug)]
pub struct Emit {
    /// Its name.
    pub name: ProjectionName,
    /// Which changes concern it.
    pub selection: Selection,
    /// The topic's ARN.
    pub topic: Arc<str>,
    /// The attributes that travel in the event, beside the key.
    pub include: Vec<AttributeName>,
}

impl Projection for Emit {
    fn name(&self) -> &ProjectionName {
        &self.name
    }

    fn project(&self, change: &Change) -> Result<Effects, Reject> {
        let Some(movement) = self.selection.movement(change)? else { return Ok(Effects::new()) };
        let guard = self.selection.guard(change)?;
        let publish = self.publish(change, told(movement), &guard)?;
        let target = Target::Topic { topic: self.topic.clone() };
        Ok(vec![Effect { target, guard, write: Write::Publish(publish) }])
    }

    fn keeps_order(&self) -> bool {
        true
    }
}

/// What subscribers are told: leaving the projection is a removal to them, entering it an insertion.
fn told(movement: Movement) -> ChangeKind {
    match (movement.before, movement.after) {
        (_, false) => ChangeKind::Remove,
        (false, true) => ChangeKind::Insert,
        (true, true) => ChangeKind::Modify,
    }
}

impl Emit {
    fn publish(&self, change: &Change, told: ChangeKind, guard: &Guard) -> Result<Publish, Reject> {
        if told != ChangeKind::Remove && change.new.is_none() && !self.include.is_empty() {
            return Err(Reject::deployment(
                "the stream carries no new image, but attributes of it are to be included",
            ));
        }
        let id = format!("{}/{guard}", self.name);
        let new = change.new.as_ref().filter(|_| told != ChangeKind::Remove);
        let old = change.old.as_ref().filter(|_| told != ChangeKind::Insert);
        let event = Event {
            specversion: SPEC_VERSION,
            id: &id,
            source: format!("/millstream/{}", change.source),
            kind: format!("{}.{}", self.name, told.as_str().to_ascii_lowercase()),
            subject: guard.digest.as_str(),
            time: change.created_at.map(rfc3339),
            datacontenttype: "application/json",
            msversion: guard.version.as_str(),
            data: Data {
                kind: told.as_str(),
                expired: change.expired,
                keys: sorted(change.keys.item()?),
                new: new.map(|image| self.included(image)).transpose()?,
                old: old.map(|image| self.included(image)).transpose()?,
            },
        };
        let body = serde_json::to_string(&event).map_err(|error| Reject::new(error.to_string()))?;
        Ok(Publish { id, kind: told.as_str(), body })
    }

    fn included(&self, image: &Image) -> Result<BTreeMap<String, Value>, Reject> {
        let mut included = BTreeMap::new();
        for name in &self.include {
            if let Some(value) = image.attribute(name)? {
                included.insert(name.to_string(), value);
            }
        }
        Ok(included)
    }
}
