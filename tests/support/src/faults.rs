//! Scripted faults: which request fails, how, and a log of every request in order.
//!
//! A [`FaultPlan`] sits on the connector of a double. Its rules are tried in the order they were added, and the
//! first that fires decides; only [`Fault::Delay`] lets the request go on to the rules after it.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::connector::Call;

/// What happens to a request that a rule picked.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// 400 `ProvisionedThroughputExceededException`; SNS: 429 `Throttled`.
    Throttle,
    /// 400 `ThrottlingException`; SNS: 400 `Throttling`.
    Throttling,
    /// 400 `LimitExceededException`.
    LimitExceeded,
    /// 500 `InternalServerError`; SNS: 500 `InternalError`.
    InternalError,
    /// 503, the service is unavailable.
    Unavailable,
    /// A transaction is cancelled with `TransactionConflict` for its first action and `None` for the others; a
    /// single write gets `TransactionConflictException`.
    TransactionConflict,
    /// A transaction is cancelled with this code for its first action, like `ThrottlingError`.
    Cancelled(&'static str),
    /// 400 `AccessDeniedException`; SNS: 403 `AuthorizationError`.
    AccessDenied,
    /// 400 `ResourceNotFoundException`; SNS: 404 `NotFound`.
    TableMissing,
    /// 400 `ValidationException`; SNS: 400 `InvalidParameter`.
    Validation,
    /// 400 `ExpiredIteratorException`, from `GetRecords`.
    ExpiredIterator,
    /// 400 `TrimmedDataAccessException`, from `GetRecords` or `GetShardIterator`.
    TrimmedData,
    /// Any other answer: a status and a body. Nothing is applied.
    Answer(u16, &'static str),
    /// The request **is applied**, then the connection is reset: the caller cannot know.
    LoseReply,
    /// The connection is reset before anything is applied.
    Reset,
    /// The connector gives up. Nothing is applied.
    Timeout,
    /// The process dies just before this request: neither it nor any later one is applied, and none completes.
    Crash,
    /// The process dies just after this request was applied: it does not complete, later ones are cut.
    CrashAfter,
    /// The request takes this long, in tokio's (possibly paused) time, then meets the rules that follow.
    Delay(Duration),
    /// Entries of an SNS `PublishBatch` whose body or id contains the text, or of a batch of SQS whose message does, fail under
    /// HTTP 200, the rest is done.
    FailEntries {
        /// What the entry's message or id contains; empty means every entry.
        containing: String,
        /// The error code of the entry, like `InternalError`.
        code: &'static str,
        /// Whether the entry itself is to blame.
        sender_fault: bool,
    },
}

#[derive(Debug, Clone, Copy)]
enum When {
    Always,
    First(usize),
    Nth(usize),
    Every(usize),
    Chance { percent: u64, seed: u64 },
}

/// Which requests a fault is for. Without more conditions it is for all of them until removed.
#[derive(Debug, Clone)]
pub struct Rule {
    fault: Fault,
    operation: Option<String>,
    table: Option<String>,
    containing: Option<String>,
    when: When,
}

impl Rule {
    /// A rule for one operation, like `PutItem` or `PublishBatch`.
    pub fn on(operation: &str, fault: Fault) -> Self {
        Self { operation: Some(operation.to_owned()), ..Self::any(fault) }
    }

    /// A rule for every operation.
    pub fn any(fault: Fault) -> Self {
        Self { fault, operation: None, table: None, containing: None, when: When::Always }
    }

    /// Only requests that name this table, or this topic by its ARN.
    #[must_use]
    pub fn table(self, table: &str) -> Self {
        Self { table: Some(table.to_owned()), ..self }
    }

    /// Only requests whose body, as compact JSON, contains the text.
    #[must_use]
    pub fn containing(self, text: &str) -> Self {
        Self { containing: Some(text.to_owned()), ..self }
    }

    /// Only the first `n` requests that match.
    #[must_use]
    pub fn first(self, n: usize) -> Self {
        Self { when: When::First(n), ..self }
    }

    /// Only the `n`-th request that matches, counted from 1.
    #[must_use]
    pub fn nth(self, n: usize) -> Self {
        Self { when: When::Nth(n), ..self }
    }

    /// Every `k`-th request that matches.
    #[must_use]
    pub fn every(self, k: usize) -> Self {
        Self { when: When::Every(k), ..self }
    }

    /// This share of the matching requests, drawn from a generator that the seed makes repeatable.
    #[must_use]
    pub fn chance(self, percent: u64, seed: u64) -> Self {
        Self { when: When::Chance { percent, seed }, ..self }
    }

    fn matches(&self, call: &Call, body: &str) -> bool {
        self.operation.as_ref().is_none_or(|it| *it == call.operation)
            && self.table.as_ref().is_none_or(|it| call.tables.contains(it))
            && self.containing.as_ref().is_none_or(|it| body.contains(it))
    }
}

/// Names an installed rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleId(usize);

/// One request that reached the connector.
#[derive(Debug, Clone)]
pub struct Logged {
    /// The operation, like `PutItem`.
    pub operation: String,
    /// The tables, or the topics' ARNs, that it names.
    pub tables: Vec<String>,
    /// Its body; a form of the Query protocol is shown as a JSON object.
    pub body: Value,
    /// The fault it met, if any.
    pub fault: Option<Fault>,
    /// When it reached the connector.
    pub at: Instant,
}

/// What goes wrong on a connector. Clones share one plan, so one plan can cut several services at once.
#[derive(Debug, Clone)]
pub struct FaultPlan {
    state: Arc<Mutex<State>>,
    /// The number of crashes so far; a request begun before the last one never completes.
    crashes: Arc<watch::Sender<u64>>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Installed>,
    added: usize,
    log: Vec<Logged>,
    keeps_no_log: bool,
    /// Set when the fatal request arrives: from then on every other one is cut.
    dead: bool,
    /// Set once the fatal request did what it had to do.
    crashed: bool,
}

#[derive(Debug)]
struct Installed {
    id: RuleId,
    rule: Rule,
    seen: usize,
    fired: usize,
}

pub(crate) struct Decision {
    pub(crate) delay: Duration,
    pub(crate) verdict: Verdict,
}

pub(crate) enum Verdict {
    Pass,
    Crash { apply: bool },
    Fault(Fault),
}

/// The life of the simulated process in which a request began.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Life(u64);

impl Default for FaultPlan {
    fn default() -> Self {
        Self { state: Arc::default(), crashes: Arc::new(watch::Sender::new(0)) }
    }
}

impl FaultPlan {
    /// A plan that remembers no requests, where there will be too many.
    pub fn without_log() -> Self {
        let plan = Self::default();
        plan.lock().keeps_no_log = true;
        plan
    }

    /// Installs a rule behind those that are there.
    pub fn add(&self, rule: Rule) -> RuleId {
        let mut state = self.lock();
        state.added += 1;
        let id = RuleId(state.added);
        state.rules.push(Installed { id, rule, seen: 0, fired: 0 });
        id
    }

    /// Removes one rule.
    pub fn remove(&self, id: RuleId) {
        self.lock().rules.retain(|it| it.id != id);
    }

    /// Removes every rule.
    pub fn clear(&self) {
        self.lock().rules.clear();
    }

    /// How often a rule fired; 0 once it is removed.
    pub fn fired(&self, id: RuleId) -> usize {
        self.lock().rules.iter().find(|it| it.id == id).map_or(0, |it| it.fired)
    }

    /// Completes when the simulated process has crashed: `select!` it against the code under test.
    pub async fn crashed(&self) {
        let mut crashes = self.crashes.subscribe();
        while !self.is_crashed() {
            crashes.changed().await.expect("the plan holds the sender");
        }
    }

    /// Whether the process has crashed and was not revived.
    pub fn is_crashed(&self) -> bool {
        self.lock().crashed
    }

    /// Kills the simulated process from outside: no request under way completes, and none begins.
    pub fn crash(&self) {
        {
            let mut state = self.lock();
            state.dead = true;
            state.crashed = true;
        }
        self.crashes.send_modify(|it| *it += 1);
    }

    /// Lets a new process start. Requests of the dead one still never complete. Rules stay.
    pub fn revive(&self) {
        let mut state = self.lock();
        state.dead = false;
        state.crashed = false;
    }

    /// Every request since the start, or since the log was cleared, in the order they reached the connector.
    pub fn requests(&self) -> Vec<Logged> {
        self.lock().log.clone()
    }

    /// The requests since they were last taken, which are forgotten with it.
    pub fn take_requests(&self) -> Vec<Logged> {
        std::mem::take(&mut self.lock().log)
    }

    /// How many logged requests are of this operation.
    pub fn count(&self, operation: &str) -> usize {
        self.lock().log.iter().filter(|it| it.operation == operation).count()
    }

    /// Forgets the logged requests.
    pub fn clear_requests(&self) {
        self.lock().log.clear();
    }

    pub(crate) fn life(&self) -> Life {
        Life(*self.crashes.borrow())
    }

    /// Goes on only while the process of that life is alive, else never.
    pub(crate) async fn alive(&self, life: Life) {
        let dead = self.lock().dead;
        if dead || self.life() != life {
            std::future::pending::<()>().await;
        }
    }

    pub(crate) fn decide(&self, call: &Call) -> Decision {
        let mut state = self.lock();
        let mut delay = Duration::ZERO;
        let mut hit = None;
        let body = if state.rules.is_empty() { String::new() } else { call.body.to_string() };
        for installed in &mut state.rules {
            if !installed.rule.matches(call, &body) || !installed.fires() {
                continue;
            }
            if let Fault::Delay(time) = installed.rule.fault {
                delay += time;
                continue;
            }
            hit = Some(installed.rule.fault.clone());
            break;
        }
        if !state.keeps_no_log {
            state.log.push(Logged {
                operation: call.operation.clone(),
                tables: call.tables.clone(),
                body: call.body.clone(),
                fault: hit.clone(),
                at: Instant::now(),
            });
        }
        state.dead |= matches!(hit, Some(Fault::Crash | Fault::CrashAfter));
        let verdict = match hit {
            None => Verdict::Pass,
            Some(Fault::Crash) => Verdict::Crash { apply: false },
            Some(Fault::CrashAfter) => Verdict::Crash { apply: true },
            Some(fault) => Verdict::Fault(fault),
        };
        Decision { delay, verdict }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the plan")
    }
}

impl Installed {
    fn fires(&mut self) -> bool {
        self.seen += 1;
        let fires = match self.rule.when {
            When::Always => true,
            When::First(n) => self.seen <= n,
            When::Nth(n) => self.seen == n,
            When::Every(k) => self.seen.is_multiple_of(k),
            When::Chance { percent, seed } => draw(seed, self.seen as u64) % 100 < percent,
        };
        self.fired += usize::from(fires);
        fires
    }
}

/// `SplitMix64`: the `n`-th draw of a seed, without state that two threads could share.
pub(crate) fn draw(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
