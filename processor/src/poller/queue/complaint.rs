//! What is told of a fault that stands: once, and not for every batch that meets it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::outcome::{Fault, FaultKind};

/// A fault that was told is told again after this time.
const AGAIN: Duration = Duration::from_secs(600);
/// Another one is told after this time: some name what they met, and that is another row each time.
const OTHER: Duration = Duration::from_secs(30);

/// One thing that may go wrong again and again.
#[derive(Debug, Default)]
pub(super) struct Complaint {
    /// What is wrong now, and whether it was told.
    stands: Option<(FaultKind, Arc<str>, bool)>,
    /// What was told last, and when.
    told: Option<(Arc<str>, Instant)>,
    untold: u64,
}

impl Complaint {
    /// It went wrong. If that is to be told, gives how often it was not told since it was last.
    pub(super) fn raise(&mut self, fault: &Fault, now: Instant) -> Option<u64> {
        let text: Arc<str> = fault.to_string().into();
        let is_due = self.told.as_ref().is_none_or(|(told, at)| {
            let pause = if *told == text { AGAIN } else { OTHER };
            now.duration_since(*at) >= pause
        });
        let was_told = self.stands.as_ref().is_some_and(|(_, _, told)| *told);
        self.stands = Some((fault.kind, text.clone(), was_told || is_due));
        if !is_due {
            self.untold += 1;
            return None;
        }
        self.told = Some((text, now));
        Some(std::mem::take(&mut self.untold))
    }

    /// It went well. Tells whether that is to be told.
    pub(super) fn settle(&mut self) -> bool {
        self.stands.take().is_some_and(|(_, _, told)| told)
    }

    /// What has to be mended, if that is so.
    pub(super) fn trouble(&self) -> Option<Arc<str>> {
        let (kind, text, _) = self.stands.as_ref()?;
        (*kind == FaultKind::Misconfigured).then(|| text.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Fault {
        Fault::new(FaultKind::Misconfigured, text)
    }

    #[test]
    fn what_stands_is_told_once_in_a_while() {
        let (mut complaint, start) = (Complaint::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(complaint.raise(&fault("no table"), at(0)), Some(0));
        assert_eq!(complaint.raise(&fault("no table"), at(1)), None);
        assert_eq!(complaint.raise(&fault("no topic"), at(2)), None);
        assert_eq!(complaint.raise(&fault("no topic"), at(30)), Some(2));
        assert_eq!(complaint.raise(&fault("no topic"), at(629)), None);
        assert_eq!(complaint.raise(&fault("no topic"), at(630)), Some(1));
    }

    #[test]
    fn the_end_of_it_is_told_if_it_was_told() {
        let (mut complaint, start) = (Complaint::default(), Instant::now());
        assert!(!complaint.settle());
        complaint.raise(&fault("no table"), start);
        assert!(complaint.settle());
        complaint.raise(&fault("no table"), start);
        assert!(!complaint.settle(), "neither that it came again so soon, nor that it went, is told");
    }

    #[test]
    fn only_what_has_to_be_mended_is_trouble() {
        let (mut complaint, start) = (Complaint::default(), Instant::now());
        complaint.raise(&Fault::new(FaultKind::Throttled, "slow down"), start);
        assert_eq!(complaint.trouble(), None);
        complaint.raise(&fault("no table"), start);
        assert_eq!(complaint.trouble().as_deref(), Some("misconfigured: no table"));
        complaint.settle();
        assert_eq!(complaint.trouble(), None);
    }
}
