//! Times as a person writes them.

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

/// Days since 1970 (after Howard Hinnant's algorithm).
fn day(date: &str) -> Option<u64> {
    let (year, rest) = date.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    let (year, month, day) = (digits(year)?, digits(month)?, digits(day)?);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let longest = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year < 1970 || day == 0 || day > longest {
        return None;
    }
    let (shifted, month_index) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (shifted / 400, shifted % 400);
    let day_of_year = (153 * month_index + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
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

fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok())?
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
