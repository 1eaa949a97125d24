//! Points in time as text: RFC 3339.

/// Whole seconds since 1970 of `2025-06-15T15:00:00Z` or `2025-06-15T17:00:00.5+02:00`, rounded down; `None` if it is
/// not that, or before 1970.
pub fn parse(text: &str) -> Option<u64> {
    // Everything that a time is made of is ASCII, so a byte is a character.
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let offset = offset(without_fraction(rest)?)?;
    let local = day(date)?.checked_mul(86_400)?.checked_add(second_of_day(clock)?)?;
    local.checked_add_signed(-offset)
}

/// Days since 1970 of `2025-06-15` (after Howard Hinnant's algorithm).
pub fn day(date: &str) -> Option<u64> {
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
    // Beyond the year 9999 there is no RFC 3339, and the sums below would not fit.
    if !(1970..=9999).contains(&year) || day == 0 || day > longest {
        return None;
    }
    let (shifted, month_index) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (shifted / 400, shifted % 400);
    let day_of_year = (153 * month_index + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// A number of plain digits.
pub fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

/// `15:00:00`; a leap second counts as the last one of its minute.
fn second_of_day(clock: &str) -> Option<u64> {
    let mut parts = clock.split(':').map(|part| (part.len() == 2).then(|| digits(part))?);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let valid = hour < 24 && minute < 60 && second <= 60 && parts.next().is_none();
    valid.then_some(hour * 3_600 + minute * 60 + second.min(59))
}

fn without_fraction(rest: &str) -> Option<&str> {
    let Some(fraction) = rest.strip_prefix('.') else { return Some(rest) };
    let end = fraction.find(|c: char| !c.is_ascii_digit())?;
    (end > 0).then(|| &fraction[end..])
}

/// Seconds east of Greenwich: `Z`, `+02:00`.
fn offset(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) =
        rest.split_once(':').filter(|(hours, minutes)| hours.len() + minutes.len() == 4)?;
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    let seconds = i64::try_from(hours * 3_600 + minutes * 60).ok()?;
    (hours < 24 && minutes < 60).then_some(sign * seconds)
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::event::rfc3339;

    #[test]
    fn times_are_read_as_they_are_shown() {
        for at in [0, 951_782_400, 951_868_799, 1_750_000_000, 4_102_444_800, 253_402_300_799] {
            assert_eq!(parse(&rfc3339(at)), Some(at));
        }
        for text in [
            "2025-06-15T15:06:40Z",
            "2025-06-15t15:06:40.999z",
            "2025-06-15 17:06:40+02:00",
            "2025-06-15T09:36:40.5-05:30",
            "2025-06-16T00:06:40+09:00",
        ] {
            assert_eq!(parse(text), Some(1_750_000_000), "{text}");
        }
        assert_eq!(parse("2016-12-31T23:59:60Z"), parse("2016-12-31T23:59:59Z"));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "2025-06-15",
            "2025-06-15T15:06Z",
            "2025-06-15T15:06:40",
            "2025-06-15T15:06:40+0200",
            "2025-06-15T15:06:40+24:00",
            "2025-06-15T15:06:40.Z",
            "2025-06-15T15:06:40Z ",
            "2025-06-15T24:00:00Z",
            "2025-06-15T1:06:040Z",
            "2025-13-01T00:00:00Z",
            "2025-02-29T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "99999-1-1T00:00:00Z",
            "2025-06-15Tü5:06:40Z",
            "gestern um 15:06:40Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
