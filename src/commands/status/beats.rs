//! Which heartbeats move: a row does not say when it was written, so it is looked at more than once.

use std::collections::BTreeMap;

use millstream_processor::poller::state::{Session, WorkerRow};
use tokio::time::Instant;

/// What was seen of all workers.
#[derive(Debug, Default)]
pub(super) struct Beats {
    seen: BTreeMap<Session, Beat>,
}

/// What was seen of one.
#[derive(Debug)]
pub(super) struct Beat {
    pub(super) row: WorkerRow,
    /// Whether its heartbeat moved since it was first seen.
    pub(super) moved: bool,
    /// Since when its heartbeat is what it is, as far as that was seen.
    pub(super) since: Instant,
}

impl Beats {
    /// Takes the rows of all workers as they were read.
    pub(super) fn observe(&mut self, rows: Vec<WorkerRow>, now: Instant) {
        let mut known = std::mem::take(&mut self.seen);
        for row in rows {
            let beat = match known.remove(&row.session) {
                None => Beat { row, moved: false, since: now },
                Some(seen) if seen.row.heartbeat == row.heartbeat => Beat { row, ..seen },
                Some(_) => Beat { row, moved: true, since: now },
            };
            self.seen.insert(beat.row.session.clone(), beat);
        }
    }

    /// Whether there is nobody left to wait for.
    pub(super) fn all_moved(&self) -> bool {
        self.seen.values().all(|beat| beat.moved)
    }

    /// Whether a worker was seen to live.
    pub(super) fn moved(&self, session: &Session) -> bool {
        self.seen.get(session).is_some_and(|beat| beat.moved)
    }

    /// All workers, in the order of their sessions.
    pub(super) fn all(&self) -> impl Iterator<Item = &Beat> {
        self.seen.values()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn row(name: &str, heartbeat: u64) -> WorkerRow {
        WorkerRow {
            session: Session(name.into()),
            heartbeat,
            mail: 0,
            ttl_ms: 10_000,
            draining: false,
            host: "host/1".to_owned(),
            version: "0.1.0".to_owned(),
        }
    }

    #[test]
    fn a_heartbeat_moves_or_stands_still() {
        let (start, mut beats) = (Instant::now(), Beats::default());
        assert!(beats.all_moved(), "nobody is there to wait for");
        let at = |seconds| start + Duration::from_secs(seconds);
        beats.observe(vec![row("a", 1), row("b", 7)], at(0));
        beats.observe(vec![row("a", 2), row("b", 7)], at(2));
        assert!(!beats.all_moved());
        let seen: Vec<_> = beats.all().map(|beat| (beat.moved, beat.since)).collect();
        assert_eq!(seen, [(true, at(2)), (false, at(0))]);
        let moved = ["a", "b", "c"].map(|name| beats.moved(&Session(name.into())));
        assert_eq!(moved, [true, false, false], "who was never there does not move");
        beats.observe(vec![row("a", 2)], at(4));
        assert!(beats.all_moved(), "who has gone is not waited for, and who has moved once is alive");
    }
}
