//! How much of its past a letter remembers: enough to mend it, and never more than one item of a table can hold.

use super::Attempt;

/// The first attempt tells what broke, the latest 50 tell what it is like now.
pub(super) const MAX_ATTEMPTS: usize = 51;
/// Where the oldest of the latest attempts stands: the one that makes room.
pub(super) const OLDEST_LATER: usize = 1;

/// The longest cause that is kept, in bytes. Services quote whole items in some messages.
const MAX_CAUSE: usize = 2 * 1024;
/// The most bytes of causes of one attempt. With 51 attempts that is 306 KB of the 400 KB of an item.
const MAX_CAUSES: usize = 6 * 1024;
/// What marks a cause as cut.
const CUT: &str = "…";

/// The attempt with causes of a bounded size. The outermost and the innermost cause always stay.
pub(super) fn bounded(attempt: &Attempt) -> Attempt {
    let mut causes: Vec<String> = attempt.causes.iter().map(|cause| cut(cause)).collect();
    // What lies between the two ends says least.
    while causes.len() > 2 && causes.iter().map(String::len).sum::<usize>() + causes.len() * 4 > MAX_CAUSES {
        causes.remove(causes.len() / 2);
    }
    Attempt { causes, ..attempt.clone() }
}

/// Adds an attempt to a history, and drops what no longer fits.
pub(super) fn push(attempts: &mut Vec<Attempt>, attempt: &Attempt) {
    while attempts.len() >= MAX_ATTEMPTS {
        let dropped = attempts.remove(OLDEST_LATER);
        if let Some(first) = attempts.first_mut() {
            first.skipped += u64::from(dropped.is_failure());
        }
    }
    attempts.push(bounded(attempt));
}

fn cut(cause: &str) -> String {
    if cause.len() <= MAX_CAUSE {
        return cause.to_owned();
    }
    let end = cause.floor_char_boundary(MAX_CAUSE - CUT.len());
    format!("{}{CUT}", &cause[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(at: u64, causes: &[&str]) -> Attempt {
        let causes = causes.iter().map(|&cause| cause.to_owned()).collect();
        Attempt { at, fault: "rejected".to_owned(), causes, skipped: 0 }
    }

    #[test]
    fn the_first_and_the_latest_attempts_stay_and_the_rest_is_counted() {
        let mut attempts = Vec::new();
        for at in 0..60 {
            push(&mut attempts, &attempt(at, &["x"]));
        }
        assert_eq!(attempts.len(), MAX_ATTEMPTS);
        assert_eq!((attempts[0].at, attempts[0].skipped), (0, 9));
        assert_eq!((attempts[1].at, attempts[50].at), (10, 59));
    }

    #[test]
    fn causes_are_cut_between_characters_and_both_ends_of_the_chain_stay() {
        let long = "ü".repeat(5_000);
        let bounded = bounded(&attempt(0, &["first", &long, &long, &long, &long, "root"]));
        assert_eq!(bounded.causes.first().map(String::as_str), Some("first"));
        assert_eq!(bounded.causes.last().map(String::as_str), Some("root"));
        assert!(bounded.causes.iter().map(String::len).sum::<usize>() <= MAX_CAUSES);
        assert!(bounded.causes.iter().any(|cause| cause.ends_with(CUT)));
    }

    #[test]
    fn many_short_causes_are_bounded_too() {
        let many: Vec<&str> = std::iter::repeat_n("", 10_000).collect();
        assert!(bounded(&attempt(0, &many)).causes.len() * 4 <= MAX_CAUSES);
    }
}
