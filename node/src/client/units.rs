//! Amounts and times as people type them.

use std::time::Duration;

use alloy_primitives::U256;
use fairway_core::types::Amount;

use crate::rpc::value::{Wei, parse_wei};

/// `1000`, `1000wei`, `5gwei`, `0.25eth`, with or without a space before the unit.
///
/// # Errors
/// One line: what was expected.
pub fn amount(text: &str) -> Result<Wei, String> {
    let units = [("gwei", 9), ("wei", 0), ("eth", 18)];
    let unit = units.into_iter().find_map(|(unit, zeros)| Some((text.strip_suffix(unit)?, zeros)));
    let Some((number, zeros)) = unit else { return parse_wei(text) };
    let expected =
        || format!("{text:?}: expected an amount such as 1000, 5gwei or 0.25eth, in whole wei");
    let (whole, fraction) = number.trim_end().split_once('.').unwrap_or((number.trim_end(), ""));
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > zeros || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(expected());
    }
    let digits = format!("{fraction:0<zeros$}");
    let part = if digits.is_empty() {
        Wei(Amount::ZERO)
    } else {
        parse_wei(&digits).map_err(|_| expected())?
    };
    let Wei(whole) = parse_wei(whole).map_err(|_| expected())?;
    let unit = U256::from(10).pow(U256::from(zeros));
    let whole = whole.0.checked_mul(unit).ok_or_else(expected)?;
    Amount(whole).checked_add(part.0).map(Wei).ok_or_else(expected)
}

/// `90s`, `15m`, `12h`, `30d`.
///
/// # Errors
/// One line: what was expected.
pub fn duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("{text:?}: expected a time such as 90s, 15m, 12h or 30d");
    let units = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];
    let unit = units.into_iter().find_map(|(unit, secs)| Some((text.strip_suffix(unit)?, secs)));
    let (number, secs) = unit.ok_or_else(expected)?;
    let number: u64 = number.parse().map_err(|_| expected())?;
    let secs: u64 =
        number.checked_mul(secs).filter(|s| *s > 0 && *s <= SECS_MAX).ok_or_else(expected)?;
    Ok(Duration::from_secs(secs))
}

/// A hundred years.
const SECS_MAX: u64 = 100 * 365 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        for (text, wei) in [
            ("0", 0u64),
            ("1000", 1_000),
            ("1000wei", 1_000),
            ("5gwei", 5_000_000_000),
            ("5 gwei", 5_000_000_000),
            ("0.25eth", 250_000_000_000_000_000),
            ("0.000000000000000001eth", 1),
            ("1.50gwei", 1_500_000_000),
        ] {
            assert_eq!(amount(text), Ok(Wei(Amount::wei(wei))), "{text}");
        }
        let max = format!("{}eth", U256::MAX);
        for text in [
            "",
            "eth",
            "-1eth",
            "0.1wei",
            "0.0000000000000000001eth",
            "1e3",
            ".5eth",
            "1,5eth",
            "1 000",
            &max,
        ] {
            assert!(amount(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("30d"), Ok(Duration::from_secs(30 * 86_400)));
        for text in ["", "30", "0s", "-1s", "1.5h", "99999999999999999999d", "40000d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
