//! The messages that were received and are not settled: which can be worked on, and until when others do not see them.
//!
//! Of a FIFO group only one batch is worked on at a time, and it holds all that was received of the group: SQS gives out no
//! more of it meanwhile. Only a message whose time out of sight is over comes again, and then everything after it does too.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::source::Delivery;

/// The most messages of one batch, but for the rest of a group.
const BATCH: usize = 250;
/// The most bytes of one batch, but for its last message: what an event of Lambda may have.
const BATCH_BYTES: usize = 6 << 20;
/// So many bytes in hand, and nothing more is received.
const BYTES: usize = 32 << 20;
/// How many of the whole time out of sight count: an answer took its time, and clocks differ.
const TRUSTED: f64 = 0.9;

/// One message as it was received.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) message: Arc<str>,
    pub(super) receipt: Arc<str>,
    /// The group, if the queue keeps an order.
    pub(super) group: Option<Arc<str>>,
    /// How often it was received, as far as SQS knows.
    pub(super) count: u32,
    /// When it was sent, in seconds since 1970.
    pub(super) sent: Option<u64>,
    pub(super) bytes: usize,
    pub(super) delivery: Delivery,
}

/// What a message is deleted or given back by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Handle {
    pub(super) id: u64,
    pub(super) message: Arc<str>,
    pub(super) receipt: Arc<str>,
    pub(super) group: Option<Arc<str>>,
    pub(super) count: u32,
}

impl Handle {
    /// What it fails or succeeds with: its group, if the queue keeps an order, or itself.
    pub(super) fn name(&self) -> &Arc<str> {
        self.group.as_ref().unwrap_or(&self.message)
    }
}

/// All messages that are in this worker's hands.
#[derive(Debug)]
pub(super) struct Inbox {
    /// In the order in which they came.
    held: BTreeMap<u64, Held>,
    next: u64,
    batches: u64,
    bytes: usize,
    visibility: Duration,
}

#[derive(Debug)]
struct Held {
    handle: Handle,
    sent: Option<u64>,
    bytes: usize,
    stage: Stage,
    lease: Lease,
}

#[derive(Debug)]
enum Stage {
    Waiting(Box<Delivery>),
    Worked {
        batch: u64,
    },
    /// It is being deleted or given back.
    Settling,
}

/// Until when others do not see a message, for sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lease {
    Held { until: Instant, renew_at: Instant },
    Renewing { until: Instant },
    Over,
}

/// Some messages that are worked on together.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) batch: u64,
    pub(super) deliveries: Vec<Delivery>,
}

/// What follows where others may see messages of a FIFO group: nothing of it may be worked on any more.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    /// Batches to be cut off.
    pub(super) cut: Vec<u64>,
    /// Messages that have to wait for those before them.
    pub(super) back: Vec<Handle>,
}

impl Inbox {
    /// Nothing, of a queue whose messages stay out of sight for so long.
    pub(super) fn new(visibility: Duration) -> Self {
        Self { held: BTreeMap::new(), next: 0, batches: 0, bytes: 0, visibility }
    }

    /// Takes what one receive gave.
    pub(super) fn put(&mut self, arrived: Vec<Arrived>, now: Instant) {
        let groups: HashSet<&Arc<str>> = arrived.iter().filter_map(|one| one.group.as_ref()).collect();
        // What waits of a group that comes again has a receipt that is over, and comes again as well.
        let is_over = |held: &Held| {
            matches!(held.stage, Stage::Waiting(_))
                && held.handle.group.as_ref().is_some_and(|group| groups.contains(group))
        };
        let over: Vec<u64> = self.held.iter().filter(|(_, held)| is_over(held)).map(|(id, _)| *id).collect();
        self.forget(&over);
        for Arrived { message, receipt, group, count, sent, bytes, delivery } in arrived {
            let id = self.next;
            self.next += 1;
            self.bytes += bytes;
            let handle = Handle { id, message, receipt, group, count };
            let (stage, lease) = (Stage::Waiting(Box::new(delivery)), self.lease(now));
            self.held.insert(id, Held { handle, sent, bytes, stage, lease });
        }
    }

    /// Messages that can be worked on now, the oldest first; a group whole or not at all.
    pub(super) fn take(&mut self) -> Option<Taken> {
        let is_busy = |held: &&Held| !matches!(held.stage, Stage::Waiting(_));
        let busy: HashSet<Arc<str>> =
            self.held.values().filter(is_busy).filter_map(|held| held.handle.group.clone()).collect();
        let batch = self.batches;
        let mut deliveries = Vec::new();
        let (mut bytes, mut groups) = (0, HashSet::new());
        for held in self.held.values_mut() {
            let is_full = deliveries.len() >= BATCH || bytes >= BATCH_BYTES;
            let fits = match &held.handle.group {
                Some(group) if busy.contains(group) => false,
                Some(group) => groups.contains(group) || !is_full,
                None => !is_full,
            };
            if !fits {
                continue;
            }
            match std::mem::replace(&mut held.stage, Stage::Worked { batch }) {
                Stage::Waiting(delivery) => {
                    bytes += held.bytes;
                    groups.extend(held.handle.group.clone());
                    deliveries.push(*delivery);
                }
                other @ (Stage::Worked { .. } | Stage::Settling) => held.stage = other,
            }
        }
        if deliveries.is_empty() {
            return None;
        }
        self.batches += 1;
        Some(Taken { batch, deliveries })
    }

    /// The messages of a batch whose work has ended, in their order, to be deleted or given back.
    pub(super) fn settle(&mut self, batch: u64) -> Vec<Handle> {
        self.settle_all(|stage| matches!(stage, Stage::Worked { batch: of } if *of == batch))
    }

    /// The messages that nobody works on, to be given back.
    pub(super) fn rest(&mut self) -> Vec<Handle> {
        self.settle_all(|stage| matches!(stage, Stage::Waiting(_)))
    }

    /// All messages that are neither deleted nor given back yet, to be given back.
    pub(super) fn all(&mut self) -> Vec<Handle> {
        self.settle_all(|stage| !matches!(stage, Stage::Settling))
    }

    fn settle_all(&mut self, mut is_chosen: impl FnMut(&Stage) -> bool) -> Vec<Handle> {
        let chosen = self.held.values_mut().filter(|held| is_chosen(&held.stage));
        chosen
            .map(|held| {
                held.stage = Stage::Settling;
                held.handle.clone()
            })
            .collect()
    }

    /// They are deleted or given back, or others have them.
    pub(super) fn forget(&mut self, ids: &[u64]) {
        for id in ids {
            if let Some(held) = self.held.remove(id) {
                self.bytes -= held.bytes;
            }
        }
    }

    /// Up to so many messages that shall stay out of sight for another while.
    pub(super) fn due(&mut self, now: Instant, most: usize) -> Vec<Handle> {
        let due = self.held.values_mut().filter_map(|held| match (&held.stage, held.lease) {
            (Stage::Waiting(_) | Stage::Worked { .. }, Lease::Held { until, renew_at })
                if renew_at <= now =>
            {
                held.lease = Lease::Renewing { until };
                Some(held.handle.clone())
            }
            _ => None,
        });
        due.take(most).collect()
    }

    /// A message stays out of sight for another while from `began` on, or, where that could not be done, is tried again soon.
    pub(super) fn renewed(&mut self, id: u64, began: Option<Instant>, now: Instant) {
        let renewed = began.map(|began| self.lease(began));
        let soon = now + self.visibility / 20;
        if let Some(held) = self.held.get_mut(&id)
            && let Lease::Renewing { until } = held.lease
        {
            held.lease = renewed.unwrap_or(Lease::Held { until, renew_at: soon });
        }
    }

    /// Others may see this message now.
    pub(super) fn lost(&mut self, id: u64) -> Lost {
        let mut lost = Lost::default();
        let Some(held) = self.held.get_mut(&id) else { return lost };
        held.lease = Lease::Over;
        let group = held.handle.group.clone();
        match (&held.stage, group) {
            // Others may do the same work: guards allow it.
            (Stage::Settling, _) | (Stage::Worked { .. }, None) => {}
            (Stage::Worked { batch }, Some(_)) => lost.cut.push(*batch),
            (Stage::Waiting(_), group) => {
                self.forget(&[id]);
                let waits = |held: &Held| {
                    matches!(held.stage, Stage::Waiting(_)) && group.is_some() && held.handle.group == group
                };
                for held in self.held.values_mut().filter(|held| waits(held)) {
                    held.stage = Stage::Settling;
                    lost.back.push(held.handle.clone());
                }
            }
        }
        lost
    }

    /// Those whose time out of sight is over.
    pub(super) fn expired(&mut self, now: Instant) -> Lost {
        let is_over = |held: &Held| match held.lease {
            Lease::Held { until, .. } | Lease::Renewing { until } => until <= now,
            Lease::Over => false,
        };
        let over: Vec<u64> = self.held.iter().filter(|(_, held)| is_over(held)).map(|(id, _)| *id).collect();
        let mut all = Lost::default();
        for id in over {
            let Lost { cut, back } = self.lost(id);
            all.cut.extend(cut);
            all.back.extend(back);
        }
        all
    }

    /// When there is a message to be renewed, or given up.
    pub(super) fn next_renewal(&self) -> Option<Instant> {
        let at = |held: &Held| match (&held.stage, held.lease) {
            (Stage::Settling, _) | (_, Lease::Over) => None,
            (_, Lease::Held { renew_at, until }) => Some(renew_at.min(until)),
            (_, Lease::Renewing { until }) => Some(until),
        };
        self.held.values().filter_map(at).min()
    }

    /// Whether there is room for what so many receives that are under way, and one more, may bring.
    pub(super) fn has_room(&self, receives: usize, most: usize) -> bool {
        let waiting = self.held.values().filter(|held| matches!(held.stage, Stage::Waiting(_))).count();
        waiting + receives * most < BATCH && self.bytes < BYTES
    }

    /// Whether there is nothing in hand.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// When the oldest message in hand was sent.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.held.values().filter_map(|held| held.sent).min()
    }

    fn lease(&self, from: Instant) -> Lease {
        Lease::Held { until: from + self.visibility.mul_f64(TRUSTED), renew_at: from + self.visibility / 3 }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::source::{DeliveryId, Raw, Undecodable};

    const VISIBILITY: Duration = Duration::from_secs(30);

    fn arrived(name: &str, bytes: usize) -> Arrived {
        // `a1` is the first message of the group `a`; a lone digit has no group.
        let group = name.chars().next().filter(|first| first.is_alphabetic()).map(String::from);
        let id = DeliveryId::Message { id: name.to_owned(), group: group.clone() };
        let change = Err(Undecodable::new("of no importance"));
        Arrived {
            message: name.into(),
            receipt: name.into(),
            group: group.map(Into::into),
            count: 1,
            sent: None,
            bytes,
            delivery: Delivery { id, change, raw: Raw::Json(Bytes::new()) },
        }
    }

    fn put(inbox: &mut Inbox, names: &str, now: Instant) {
        inbox.put(names.split_whitespace().map(|name| arrived(name, 10)).collect(), now);
    }

    /// The batch that is taken, and its messages.
    fn take(inbox: &mut Inbox) -> Option<(u64, String)> {
        let Taken { batch, deliveries } = inbox.take()?;
        let name = |delivery: Delivery| match delivery.id {
            DeliveryId::Message { id, .. } => id,
            DeliveryId::Sequence(_) | DeliveryId::Notification(_) => panic!("not a message"),
        };
        Some((batch, deliveries.into_iter().map(name).collect::<Vec<_>>().join(" ")))
    }

    fn names(handles: &[Handle]) -> String {
        handles.iter().map(|handle| &*handle.message).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn of_a_group_one_batch_is_worked_on_at_a_time() {
        let (mut inbox, now) = (Inbox::new(VISIBILITY), Instant::now());
        put(&mut inbox, "a1 1 a2", now);
        assert_eq!(take(&mut inbox), Some((0, "a1 1 a2".to_owned())));
        // Its time out of sight was over: it came again, with what follows.
        put(&mut inbox, "a1 a2 a3 2", now);
        assert_eq!(take(&mut inbox), Some((1, "2".to_owned())));
        let first = inbox.settle(0);
        assert_eq!((names(&first), take(&mut inbox)), ("a1 1 a2".to_owned(), None));
        inbox.forget(&first.iter().map(|handle| handle.id).collect::<Vec<_>>());
        assert_eq!(take(&mut inbox), Some((2, "a1 a2 a3".to_owned())));
    }

    #[test]
    fn what_waits_of_a_group_that_comes_again_is_forgotten() {
        let (mut inbox, now) = (Inbox::new(VISIBILITY), Instant::now());
        put(&mut inbox, "a1 b1", now);
        put(&mut inbox, "a1 a2", now);
        assert_eq!(take(&mut inbox), Some((0, "b1 a1 a2".to_owned())));
    }

    #[test]
    fn a_batch_is_bounded_and_takes_a_group_whole() {
        let (mut inbox, now) = (Inbox::new(VISIBILITY), Instant::now());
        inbox.put((0..BATCH - 1).map(|_| arrived("1", 10)).collect(), now);
        put(&mut inbox, "a1 2 a2 3", now);
        let Taken { deliveries, .. } = inbox.take().unwrap();
        assert_eq!(deliveries.len(), BATCH + 1, "two of the group");
        assert_eq!(take(&mut inbox), Some((1, "2 3".to_owned())));
        let large = || arrived("1", BATCH_BYTES / 2);
        inbox.put(vec![large(), large(), large()], now);
        assert_eq!(inbox.take().unwrap().deliveries.len(), 2);
    }

    #[test]
    fn what_is_lost_of_a_group_stops_what_follows() {
        let (mut inbox, now) = (Inbox::new(VISIBILITY), Instant::now());
        put(&mut inbox, "a1 a2 1", now);
        assert_eq!(take(&mut inbox), Some((0, "a1 a2 1".to_owned())));
        assert_eq!(inbox.lost(0), Lost { cut: vec![0], back: Vec::new() });
        assert_eq!(inbox.lost(2), Lost::default(), "a standard queue's message may be done twice");
        put(&mut inbox, "b1 b2 b3", now);
        let Lost { cut, back } = inbox.lost(3);
        assert_eq!((cut, names(&back)), (Vec::new(), "b2 b3".to_owned()));
        assert_eq!(take(&mut inbox), None);
    }

    #[test]
    fn a_message_is_renewed_at_a_third_and_given_up_before_others_see_it() {
        let (mut inbox, start) = (Inbox::new(VISIBILITY), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        put(&mut inbox, "a1 1", start);
        assert_eq!((inbox.next_renewal(), inbox.due(at(9), 10).len()), (Some(at(10)), 0));
        assert_eq!((names(&inbox.due(at(10), 10)), inbox.next_renewal()), ("a1 1".to_owned(), Some(at(27))));
        inbox.renewed(0, Some(at(10)), at(11));
        inbox.renewed(1, None, at(11));
        assert_eq!(names(&inbox.due(at(13), 10)), "1", "what failed is tried again soon");
        inbox.renewed(1, None, at(26));
        assert_eq!(inbox.next_renewal(), Some(at(20)));
        assert_eq!(names(&inbox.due(at(20), 10)), "a1");
        assert_eq!(inbox.expired(at(27)), Lost::default());
        assert_eq!(
            (inbox.held.len(), inbox.next_renewal()),
            (1, Some(at(37))),
            "the other is left to others"
        );
    }
}
