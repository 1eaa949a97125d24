//! Faults, and the one table from fault to verdict.

use std::error::Error;
use std::fmt;

/// What kind of thing went wrong with a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The service asks for fewer requests.
    Throttled,
    /// The service did not answer, or answered that it cannot now.
    Unavailable,
    /// Another writer was at the same row in the same moment.
    Conflict,
    /// This deployment is wrong: a permission, a table, a topic or credentials are missing.
    Misconfigured,
    /// This record can never be written as it is.
    Rejected,
    /// The time for this batch is used up.
    OutOfTime,
    /// An earlier change of the same key waits in a letter, and the projection keeps an order.
    Held,
}

/// What is to be done about a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Try again while there is time; then the change is unfinished.
    Retry,
    /// The change is unfinished: it comes again.
    Unfinished,
    /// The change becomes a letter, and the shard goes on.
    Letter,
}

impl FaultKind {
    /// The table from fault to verdict. It has no catch-all arm: a new kind of fault has to be decided here.
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Throttled | Self::Unavailable | Self::Conflict => Verdict::Retry,
            // A bad deploy must not empty a stream into the dead letters.
            Self::Misconfigured | Self::OutOfTime => Verdict::Unfinished,
            Self::Rejected | Self::Held => Verdict::Letter,
        }
    }

    /// The name in metrics, logs and letters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Conflict => "conflict",
            Self::Misconfigured => "misconfigured",
            Self::Rejected => "rejected",
            Self::OutOfTime => "out-of-time",
            Self::Held => "held",
        }
    }
}

/// One fault: its kind, and every cause down to the first, outermost first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is to be done about it hangs on this alone.
    pub kind: FaultKind,
    /// The causes in words, outermost first.
    pub causes: Vec<String>,
}

impl Fault {
    /// A fault in words of our own.
    pub fn new(kind: FaultKind, cause: impl Into<String>) -> Self {
        Self { kind, causes: vec![cause.into()] }
    }

    /// A fault with the chain of an error behind it.
    pub fn from_error(kind: FaultKind, doing: impl Into<String>, error: &dyn Error) -> Self {
        let mut causes = vec![doing.into()];
        let mut next = Some(error);
        while let Some(error) = next {
            let text = error.to_string();
            // Wrappers often repeat what they wrap.
            if causes.last() != Some(&text) {
                causes.push(text);
            }
            next = error.source();
        }
        Self { kind, causes }
    }

    /// The time for this batch is used up before `doing` could start or end.
    pub fn out_of_time(doing: &str) -> Self {
        Self::new(FaultKind::OutOfTime, format!("no time was left to {doing}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.as_str(), self.causes.join(": "))
    }
}

/// How a write that did not fail ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Applied {
    /// It changed the target.
    Written,
    /// The target has this or something newer already, or there is no row to write to. A normal outcome.
    Stale,
}
