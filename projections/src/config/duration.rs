//! Durations as text: `50ms`, `2s`, `15m`, `20h`, `30d`.

use std::time::Duration;

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// A whole number and its unit; `None` if it is not that, or more than fits.
pub fn parse(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, milliseconds) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(milliseconds).map(Duration::from_millis)
}

/// A duration in the largest unit that leaves no rest.
pub fn text(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let fits = |(_, size): &&(&str, u64)| milliseconds.is_multiple_of(u128::from(*size));
    match UNITS.iter().rev().find(fits) {
        Some((unit, size)) if milliseconds > 0 => format!("{}{unit}", milliseconds / u128::from(*size)),
        _ => "0s".to_owned(),
    }
}
