//! Who is alive: judged by when this worker saw the others' heartbeats move, on its own clock. No two clocks are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::state::{Session, WorkerRow};

/// Of the time between two looks this part of the time to live counts at most.
const UNSEEN: u32 = 4;

/// What one worker knows of all workers.
#[derive(Debug)]
pub struct Members {
    me: Session,
    ttl: Duration,
    seen: BTreeMap<Session, Seen>,
    live: Vec<Session>,
    /// The own row's `mail` when it was last looked at.
    mail: u64,
    looked: Option<Instant>,
    /// Whether somebody who was there at the last look but one had gone or was dead at the last.
    has_lost: bool,
}

/// A worker's row, and since when its heartbeat is what it is.
#[derive(Debug)]
struct Seen {
    row: WorkerRow,
    moved: Instant,
    /// Since when this observer has seen it.
    since: Instant,
    /// Whether this observer ever saw it move.
    has_moved: bool,
    is_dead: bool,
}

impl Members {
    /// Knows nobody yet. A worker is dead whose heartbeat was seen to stand still for as long as its row says; `ttl` is the
    /// own one.
    pub fn new(me: Session, ttl: Duration) -> Self {
        Self { me, ttl, seen: BTreeMap::new(), live: Vec::new(), mail: 0, looked: None, has_lost: false }
    }

    /// Takes the rows of all workers as they were read, and the time when they had come.
    ///
    /// Tells whether shards may have to move: somebody came, went, died, came back or is about to stop, or a shard was
    /// handed to this worker. A row that is seen for the first time counts as alive from then on. What an observer did not see
    /// does not count: if it was away for longer than a few looks, so may have been what all workers need to be alive.
    pub fn observe(&mut self, rows: Vec<WorkerRow>, now: Instant) -> bool {
        let before = self.standing();
        let mut known = std::mem::take(&mut self.seen);
        let away = self.looked.replace(now).map_or(Duration::ZERO, |looked| now.duration_since(looked));
        let unseen = away.saturating_sub(self.ttl / UNSEEN);
        self.has_lost = false;
        for row in rows {
            let before = known.remove(&row.session);
            let has_moved =
                before.as_ref().is_some_and(|seen| seen.has_moved || seen.row.heartbeat != row.heartbeat);
            let was_dead = before.as_ref().is_some_and(|seen| seen.is_dead);
            let since = before.as_ref().map_or(now, |seen| seen.since);
            let stood = before.filter(|seen| seen.row.heartbeat == row.heartbeat);
            let moved = stood.map_or(now, |seen| seen.moved + unseen);
            let is_dead = now.duration_since(moved) >= Duration::from_millis(row.ttl_ms);
            self.has_lost |= is_dead && !was_dead;
            self.seen.insert(row.session.clone(), Seen { row, moved, since, has_moved, is_dead });
        }
        self.has_lost |= !known.is_empty();
        let takes = |seen: &&Seen| !seen.is_dead && !seen.row.draining;
        self.live = self.seen.values().filter(takes).map(|seen| seen.row.session.clone()).collect();
        let mail = self.seen.get(&self.me).map_or(self.mail, |seen| seen.row.mail);
        let has_mail = std::mem::replace(&mut self.mail, mail) != mail;
        has_mail || self.standing() != before
    }

    /// Those among whom the shards are shared out, in order: alive, and not about to stop.
    pub fn live(&self) -> &[Session] {
        &self.live
    }

    /// Whether a worker is alive, even if it is about to stop: what it reads is its own.
    pub fn is_live(&self, session: &Session) -> bool {
        self.seen.get(session).is_some_and(|seen| !seen.is_dead)
    }

    /// Whether this observer has seen a worker do anything: what it never saw move may be long dead.
    pub fn has_moved(&self, session: &Session) -> bool {
        self.seen.get(session).is_some_and(|seen| seen.has_moved)
    }

    /// The row of a dead worker, as it stood still; none if it is alive, or has no row any more.
    pub fn dead(&self, session: &Session) -> Option<&WorkerRow> {
        self.seen.get(session).filter(|seen| seen.is_dead).map(|seen| &seen.row)
    }

    /// Those among whom the shards of a dead worker are shared out, in order: who was there when it last moved. Others cannot
    /// know for a while that it is dead; they get their part afterwards. Of a worker that has no row any more they all know.
    pub fn heirs(&self, dead: &Session) -> Vec<Session> {
        let moved = self.seen.get(dead).map(|seen| seen.moved);
        let was_there = |session: &&Session| {
            let since = self.seen.get(*session).map(|seen| seen.since);
            moved.zip(since).is_none_or(|(moved, since)| since <= moved)
        };
        self.live.iter().filter(was_there).cloned().collect()
    }

    /// Whether the last look showed that somebody has gone, or died.
    pub fn has_lost(&self) -> bool {
        self.has_lost
    }

    /// The rows of all dead workers.
    pub fn all_dead(&self) -> impl Iterator<Item = &WorkerRow> {
        self.seen.values().filter(|seen| seen.is_dead).map(|seen| &seen.row)
    }

    /// What shares hang on: who is there, who of them is dead, and who takes shards.
    fn standing(&self) -> BTreeSet<(Session, bool, bool)> {
        let standing = |seen: &Seen| (seen.row.session.clone(), seen.is_dead, seen.row.draining);
        self.seen.values().map(standing).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    fn session(name: &str) -> Session {
        Session(name.into())
    }

    fn row(name: &str, heartbeat: u64) -> WorkerRow {
        WorkerRow {
            session: session(name),
            heartbeat,
            mail: 0,
            ttl_ms: TTL.as_millis() as u64,
            draining: false,
            host: "host".to_owned(),
            version: "1".to_owned(),
        }
    }

    /// When, the rows that were read, what is known then, and whether it matters.
    type Look<'a> = (u64, &'a [(&'a str, u64)], &'a str, bool);

    /// Looks each second, and after the seconds that are told sees other rows; after each of these, who is live (`!` for who is
    /// dead), and whether anything that matters happened since the one before.
    #[track_caller]
    fn check(looks: &[Look<'_>]) {
        let (start, mut members) = (Instant::now(), Members::new(session("me"), TTL));
        let mut before: (u64, Vec<WorkerRow>) = (u64::MAX, Vec::new());
        for (at, rows, expected, changed) in looks {
            let rows: Vec<WorkerRow> = rows.iter().map(|(name, heartbeat)| row(name, *heartbeat)).collect();
            let mut moved = false;
            for between in before.0.saturating_add(1)..*at {
                moved |= members.observe(before.1.clone(), start + Duration::from_secs(between));
            }
            moved |= members.observe(rows.clone(), start + Duration::from_secs(*at));
            before = (*at, rows);
            let live = members.live().iter().map(ToString::to_string);
            let dead = members.all_dead().map(|row| format!("!{}@{}", row.session, row.heartbeat));
            assert_eq!(
                (live.chain(dead).collect::<Vec<_>>().join(" "), moved),
                ((*expected).to_owned(), *changed),
                "at {at} s"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_heartbeat_that_stands_still_for_the_time_to_live_is_a_dead_workers() {
        check(&[
            (0, &[("a", 1), ("me", 1)], "a me", true),
            (5, &[("a", 1), ("me", 2)], "a me", false),
            (9, &[("a", 1), ("me", 3)], "a me", false),
            (10, &[("a", 1), ("me", 4)], "me !a@1", true),
            (15, &[("a", 1), ("me", 5)], "me !a@1", false),
        ]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_stalled_and_comes_back_is_alive_again() {
        check(&[
            (0, &[("a", 7)], "a", true),
            (12, &[("a", 7)], "!a@7", true),
            (13, &[("a", 8)], "a", true),
            (22, &[("a", 8)], "a", false),
            (23, &[("a", 8)], "!a@8", true),
        ]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_row_that_is_first_seen_is_alive_for_the_time_to_live() {
        // Of a row that was dead long before this observer came, it cannot know that.
        check(&[
            (100, &[("old", 3)], "old", true),
            (109, &[("old", 3)], "old", false),
            (110, &[("old", 3)], "!old@3", true),
        ]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_observer_that_was_away_sees_movement_and_kills_nobody() {
        let (start, mut members) = (Instant::now(), Members::new(session("me"), TTL));
        let mut look = |at, rows: &[(&str, u64)]| {
            let rows = rows.iter().map(|(name, heartbeat)| row(name, *heartbeat)).collect();
            members.observe(rows, start + Duration::from_secs(at));
            let live = members.live().iter().map(ToString::to_string);
            live.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(look(0, &[("a", 1), ("b", 1)]), "a b");
        // The table could not be asked: nobody could beat either.
        assert_eq!(look(60, &[("a", 1), ("b", 1)]), "a b");
        assert_eq!(look(61, &[("a", 2), ("b", 1)]), "a b");
        let last = (62..=70).map(|at| look(at, &[("a", at), ("b", 1)])).last();
        assert_eq!(last.as_deref(), Some("a"), "b had time to come back");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_never_seen_to_move_may_be_long_dead() {
        let mut members = Members::new(session("me"), TTL);
        members.observe(vec![row("a", 1), row("b", 1)], Instant::now());
        members.observe(vec![row("a", 2), row("b", 1)], Instant::now());
        assert!(members.has_moved(&session("a")) && !members.has_moved(&session("b")));
        assert!(members.is_live(&session("b")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_leaves_is_neither_alive_nor_dead() {
        check(&[
            (0, &[("a", 1), ("me", 1)], "a me", true),
            (1, &[("me", 2)], "me", true),
            (2, &[("me", 3)], "me", false),
        ]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_heirs_of_a_dead_worker_are_those_who_were_there_when_it_moved() {
        let (start, mut members) = (Instant::now(), Members::new(session("me"), TTL));
        let mut look = |at, rows: &[(&str, u64)]| {
            let rows = rows.iter().map(|(name, heartbeat)| row(name, *heartbeat)).collect();
            members.observe(rows, start + Duration::from_secs(at));
            let names = |all: &[Session]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            (names(&members.heirs(&session("a"))), members.has_lost())
        };
        look(0, &[("a", 1), ("b", 1), ("me", 1)]);
        look(1, &[("a", 2), ("b", 2), ("me", 2)]);
        look(3, &[("a", 2), ("b", 3), ("me", 3), ("new", 1)]);
        for at in 4..11 {
            assert!(!look(at, &[("a", 2), ("b", at), ("me", at), ("new", at)]).1);
        }
        assert_eq!(look(11, &[("a", 2), ("b", 11), ("me", 11), ("new", 11)]), ("b me".to_owned(), true));
        assert_eq!(look(12, &[("a", 2), ("me", 12), ("new", 12)]), ("me".to_owned(), true), "b left");
        assert_eq!(look(13, &[("a", 2), ("me", 13), ("new", 13)]), ("me".to_owned(), false));
        assert_eq!(look(14, &[("me", 14), ("new", 14)]), ("me new".to_owned(), true), "its row was removed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_heartbeat_that_moves_backwards_has_moved() {
        check(&[(0, &[("a", 5)], "a", true), (9, &[("a", 4)], "a", false), (18, &[("a", 4)], "a", false)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_drains_is_alive_and_takes_no_shards() {
        let mut members = Members::new(session("me"), TTL);
        members.observe(vec![row("a", 1), row("me", 1)], Instant::now());
        assert!(
            members.observe(vec![WorkerRow { draining: true, ..row("a", 2) }, row("me", 2)], Instant::now())
        );
        assert_eq!(members.live(), [session("me")]);
        assert!(members.is_live(&session("a")));
        assert_eq!(members.dead(&session("a")), None);
        for heartbeat in 3..=12 {
            tokio::time::advance(TTL / 10).await;
            let stops = WorkerRow { draining: true, ..row("a", 2) };
            members.observe(vec![stops, row("me", heartbeat)], Instant::now());
        }
        assert_eq!(members.dead(&session("a")).map(|row| row.heartbeat), Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_is_dead_after_its_own_time_to_live() {
        let mut members = Members::new(session("me"), TTL);
        let mut live_at = BTreeMap::new();
        for heartbeat in 0..=20 {
            let of = |name, seconds: u64| WorkerRow { ttl_ms: seconds * 1_000, ..row(name, 1) };
            members.observe(vec![of("hasty", 4), of("patient", 15), row("me", heartbeat)], Instant::now());
            for session in members.live() {
                live_at.insert(session.to_string(), heartbeat);
            }
            tokio::time::advance(TTL / 10).await;
        }
        assert_eq!(
            live_at,
            [("hasty", 3), ("me", 20), ("patient", 14)].map(|(name, at)| (name.to_owned(), at)).into()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn mail_is_told_once_each_time_it_moves() {
        let mut members = Members::new(session("me"), TTL);
        let mut look = |mail, others| {
            let rows = vec![WorkerRow { mail, ..row("me", 1) }, WorkerRow { mail: others, ..row("a", 1) }];
            members.observe(rows, Instant::now())
        };
        assert!(look(0, 0), "they came");
        assert!(!look(0, 0));
        assert!(look(1, 0));
        assert!(!look(1, 0));
        assert!(!look(1, 5), "the mail of others is theirs");
        assert!(look(3, 5));
    }
}
