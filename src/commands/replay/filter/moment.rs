//! Times as a person writes them.

use millstream_projections::config::moment::{day, digits};

/// Seconds since 1970 of `2025-06-15T15:00:00Z`, `2025-06-15`, or so long ago: `30s`, `90m`, `2h`, `3d`.
pub(super) fn seconds(text: &str, now: u64) -> Option<u64> {
    match text.split_at_checked(10) {
        Some((date, rest)) if date.as_bytes()[4] == b'-' => Some(day(date)? * 86_400 + time(rest)?),
        _ => now.checked_sub(ago(text)?),
    }
}

fn ago(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.len().checked_sub(1)?);
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    digits(number)?.checked_mul(unit)
}

fn time(rest: &str) -> Option<u64> {
    if rest.is_empty() {
        return Some(0);
    }
    let clock = rest.strip_prefix('T')?.strip_suffix('Z')?;
    let mut parts = clock.split(':');
    let (hour, minute, second) = (digits(parts.next()?)?, digits(parts.next()?)?, parts.next());
    let second = second.map_or(Some(0), digits)?;
    let valid = hour < 24 && minute < 60 && second < 60 && parts.next().is_none();
    valid.then_some(hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use millstream_projections::event::rfc3339;

    use super::seconds;

    #[test]
    fn times_are_read_as_they_are_shown() {
        for at in [0, 951_782_400, 951_868_799, 1_750_000_000, 4_102_444_800] {
            assert_eq!(seconds(&rfc3339(at), 0), Some(at));
        }
        assert_eq!(seconds("2025-06-15", 0), Some(1_749_945_600));
        for (text, expected) in [("30s", 970), ("2m", 880), ("1000s", 0)] {
            assert_eq!(seconds(text, 1_000), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        let wrong = [
            "",
            "h",
            "2",
            "2w",
            "-2h",
            "2h3m",
            "2025-13-01",
            "2025-02-29",
            "2025-06-15T",
            "2025-06-15T25:00Z",
            "2025-06-15 10:00",
            "ürgendwann",
            "9999d",
        ];
        for text in wrong {
            assert_eq!(seconds(text, 1_000), None, "{text}");
        }
    }
}
