//! Quantities as scenarios write them. A unit is mandatory wherever a bare number could be misread.
//!
//! Text and value are inverse: what [`fmt::Display`] prints reads back as the same value, so bundles carry the
//! text. Decimals are exact (`"1.5s"`) or refused; no float is used.

use std::fmt;

use alloy_primitives::U256;
use fairway_core::types::Amount;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};
use serde::{Serialize, Serializer};

/// A number with a unit that a scenario can write and a distribution can draw.
pub trait Quantity: Copy + Ord + fmt::Display + fmt::Debug {
    /// What the error says was expected, with an example.
    const EXPECTED: &'static str;
    /// The regular expression that JSON Schema gives for the text; `None` for bare integers.
    const PATTERN: Option<&'static str>;

    /// Reads the text; `None` when it is not such a quantity.
    fn read(text: &str) -> Option<Self>;

    /// The size in its smallest unit. Range: below 2^90 either way.
    fn units(self) -> i128;

    /// The quantity of so many smallest units; what is out of range is capped.
    fn from_units(units: i128) -> Self;

    /// The quantity of a bare integer; only those whose key says the unit have one.
    fn from_integer(_: i128) -> Option<Self> {
        None
    }
}

/// A length of virtual time, in nanoseconds. Up to about 584 years.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub u64);

/// A step of a clock, in nanoseconds, in either direction; written with a sign when it goes back.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shift(pub i64);

/// A probability in millionths. Range: `0 ..= 1_000_000`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ppm(pub u32);

/// How fast a clock runs against true time, in millionths; bare, because its key ends in `_ppm`.
/// Range: above -1,000,000 (a stopped clock is the fault `freeze`) and at most 1,000,000.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Drift(pub i32);

/// A number of blocks.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blocks(pub u64);

/// A number of bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteCount(pub u64);

/// A plain count: of payments, of occurrences. Bare, because it has no unit.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Count(pub u64);

/// An [`Amount`] as scenarios write it. Range: up to 10^27 wei, a thousand million whole tokens.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(pub Amount);

impl Nanos {
    /// Nothing.
    pub const ZERO: Nanos = Nanos(0);

    /// A number of whole seconds.
    pub const fn secs(secs: u64) -> Nanos {
        Nanos(secs * SECOND)
    }

    /// A number of milliseconds.
    pub const fn millis(millis: u64) -> Nanos {
        Nanos(millis * 1_000_000)
    }

    /// The sum, capped at the end of time.
    pub fn plus(self, other: Nanos) -> Nanos {
        Nanos(self.0.saturating_add(other.0))
    }
}

const SECOND: u64 = 1_000_000_000;
const MONEY_WEI_MAX: u128 = 1_000_000_000_000_000_000_000_000_000;

/// Units of time, longest first, with their nanoseconds.
const TIME: [(&str, u128); 6] = [
    ("h", 3600 * SECOND as u128),
    ("min", 60 * SECOND as u128),
    ("ms", 1_000_000),
    ("us", 1000),
    ("ns", 1),
    ("s", SECOND as u128),
];

/// `m` is tried last: `ms` and `min` end or begin with it.
const MINUTES: (&str, u128) = ("m", 60 * SECOND as u128);

const WEI: [(&str, u128); 3] =
    [("gwei", 1_000_000_000), ("wei", 1), ("ETH", 1_000_000_000_000_000_000)];

const BYTES: [(&str, u128); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("B", 1)];

impl Quantity for Nanos {
    const EXPECTED: &'static str = "a duration such as \"30ms\", \"1.5s\" or \"2m\"";
    const PATTERN: Option<&'static str> = Some(r"^[0-9]+(\.[0-9]+)?(h|min|m|s|ms|us|ns)$");

    fn read(text: &str) -> Option<Nanos> {
        u64::try_from(with_unit(text, TIME.iter().chain([&MINUTES]))?).ok().map(Nanos)
    }

    fn units(self) -> i128 {
        i128::from(self.0)
    }

    fn from_units(units: i128) -> Nanos {
        Nanos(capped(units))
    }
}

impl Quantity for Shift {
    const EXPECTED: &'static str = "a time shift such as \"50ms\" or \"-2s\"";
    const PATTERN: Option<&'static str> = Some(r"^[+-]?[0-9]+(\.[0-9]+)?(h|min|m|s|ms|us|ns)$");

    fn read(text: &str) -> Option<Shift> {
        let (sign, size) = match text.strip_prefix('-') {
            Some(size) => (-1, size),
            None => (1, text.strip_prefix('+').unwrap_or(text)),
        };
        i64::try_from(Nanos::read(size)?.0).ok().map(|size| Shift(sign * size))
    }

    fn units(self) -> i128 {
        i128::from(self.0)
    }

    fn from_units(units: i128) -> Shift {
        // The lowest i64 has no positive twin, and its text would not read back.
        Shift(units.clamp(-i128::from(i64::MAX), i128::from(i64::MAX)) as i64)
    }
}

impl Quantity for Ppm {
    const EXPECTED: &'static str = "a probability such as \"5%\", \"0.5%\" or \"20ppm\"";
    const PATTERN: Option<&'static str> = Some(r"^[0-9]+(\.[0-9]+)?(%|ppm)$");

    fn read(text: &str) -> Option<Ppm> {
        let ppm = with_unit(text, &[("%", 10_000), ("ppm", 1)])?;
        u32::try_from(ppm).ok().filter(|ppm| *ppm <= crate::chance::PPM_ONE).map(Ppm)
    }

    fn units(self) -> i128 {
        i128::from(self.0)
    }

    fn from_units(units: i128) -> Ppm {
        Ppm(units.clamp(0, i128::from(crate::chance::PPM_ONE)) as u32)
    }
}

impl Quantity for Drift {
    const EXPECTED: &'static str = "parts per million as an integer such as 100 or -50";
    const PATTERN: Option<&'static str> = None;

    fn read(_: &str) -> Option<Drift> {
        None
    }

    fn units(self) -> i128 {
        i128::from(self.0)
    }

    fn from_units(units: i128) -> Drift {
        Drift(units.clamp(-999_999, 1_000_000) as i32)
    }

    fn from_integer(integer: i128) -> Option<Drift> {
        (-999_999..=1_000_000).contains(&integer).then_some(Drift(integer as i32))
    }
}

impl Quantity for Blocks {
    const EXPECTED: &'static str = "a number of blocks such as \"12blk\"";
    const PATTERN: Option<&'static str> = Some("^[0-9]+blk$");

    fn read(text: &str) -> Option<Blocks> {
        u64::try_from(with_unit(text, &[("blk", 1)])?).ok().map(Blocks)
    }

    fn units(self) -> i128 {
        i128::from(self.0)
    }

    fn from_units(units: i128) -> Blocks {
        Blocks(capped(units))
    }
}

impl Quantity for ByteCount {
    const EXPECTED: &'static str = "a size such as \"16B\" or \"4KiB\"";
    const PATTERN: Option<&'static str> = Some(r"^[0-9]+(\.[0-9]+)?(B|KiB|MiB)$");

    fn read(text: &str) -> Option<ByteCount> {
        u64::try_from(with_unit(text, &BYTES)?).ok().map(ByteCount)
    }

    fn units(self) -> i128 {
        i128::from(self.0)
    }

    fn from_units(units: i128) -> ByteCount {
        ByteCount(capped(units))
    }
}

impl Quantity for Count {
    const EXPECTED: &'static str = "a whole number such as 3";
    const PATTERN: Option<&'static str> = None;

    fn read(_: &str) -> Option<Count> {
        None
    }

    fn units(self) -> i128 {
        i128::from(self.0)
    }

    fn from_units(units: i128) -> Count {
        Count(capped(units))
    }

    fn from_integer(integer: i128) -> Option<Count> {
        u64::try_from(integer).ok().map(Count)
    }
}

impl Quantity for Money {
    const EXPECTED: &'static str = "an amount such as \"10 wei\", \"3 gwei\" or \"1 ETH\"";
    const PATTERN: Option<&'static str> = Some(r"^[0-9]+(\.[0-9]+)? ?(wei|gwei|ETH)$");

    fn read(text: &str) -> Option<Money> {
        let wei = with_unit(text, &WEI).filter(|wei| *wei <= MONEY_WEI_MAX)?;
        Some(Money(Amount(U256::from(wei))))
    }

    fn units(self) -> i128 {
        i128::try_from(self.0.0).expect("amounts in scenarios stay below 2^90 wei")
    }

    fn from_units(units: i128) -> Money {
        Money(Amount(U256::from(units.clamp(0, MONEY_WEI_MAX as i128) as u128)))
    }
}

/// The number before the first unit that fits, times that unit.
fn with_unit<'a>(text: &str, units: impl IntoIterator<Item = &'a (&'a str, u128)>) -> Option<u128> {
    units.into_iter().find_map(|(unit, size)| {
        let number = text.strip_suffix(unit)?;
        decimal_times(number.strip_suffix(' ').unwrap_or(number), *size)
    })
}

/// `number` times `size` when that is a whole number; `None` when it is not, or is no decimal at all.
fn decimal_times(number: &str, size: u128) -> Option<u128> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((whole, part)) = number.split_once('.') else {
        return digits(number).then(|| number.parse::<u128>().ok()?.checked_mul(size)).flatten();
    };
    if !digits(whole) || !digits(part) {
        return None;
    }
    let scale = 10u128.checked_pow(u32::try_from(part.len()).ok()?)?;
    let rest = part.parse::<u128>().ok()?.checked_mul(size)?;
    let rest = rest.is_multiple_of(scale).then_some(rest / scale)?;
    whole.parse::<u128>().ok()?.checked_mul(size)?.checked_add(rest)
}

/// Within `u64`, whatever was drawn.
fn capped(units: i128) -> u64 {
    u64::try_from(units.max(0)).unwrap_or(u64::MAX)
}

/// `value` in units of `size` as an exact decimal.
fn write_decimal(f: &mut fmt::Formatter<'_>, value: u128, size: u128, unit: &str) -> fmt::Result {
    let (whole, part) = (value / size, value % size);
    if part == 0 {
        return write!(f, "{whole}{unit}");
    }
    let width = size.ilog10() as usize;
    let digits = format!("{part:0>width$}");
    write!(f, "{whole}.{}{unit}", digits.trim_end_matches('0'))
}

impl fmt::Display for Nanos {
    /// In the largest of s, ms, us and ns that is not larger than the value, exactly.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = u128::from(self.0);
        match self.0 {
            0 => f.write_str("0s"),
            1..1_000 => write_decimal(f, value, 1, "ns"),
            1_000..1_000_000 => write_decimal(f, value, 1_000, "us"),
            1_000_000..SECOND => write_decimal(f, value, 1_000_000, "ms"),
            SECOND.. => write_decimal(f, value, u128::from(SECOND), "s"),
        }
    }
}

impl fmt::Display for Shift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}", Nanos(self.0.unsigned_abs()))
    }
}

impl fmt::Display for Ppm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_decimal(f, u128::from(self.0), 10_000, "%")
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}blk", self.0)
    }
}

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}B", self.0)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Money {
    /// Exactly: everyday amounts in ETH, amounts from a gwei up in gwei, the rest in wei.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const GWEI: u128 = 1_000_000_000;
        match u128::try_from(self.0.0) {
            Ok(wei) if wei >= GWEI && !wei.is_multiple_of(GWEI * 1_000_000) => {
                write_decimal(f, wei, GWEI, " gwei")
            }
            Ok(_) | Err(_) => write!(f, "{}", self.0),
        }
    }
}

/// Reads one quantity where the language allows no distribution.
pub(super) struct QuantityVisitor<T>(std::marker::PhantomData<T>);

impl<T> QuantityVisitor<T> {
    pub(super) fn new() -> QuantityVisitor<T> {
        QuantityVisitor(std::marker::PhantomData)
    }
}

impl<T: Quantity> Visitor<'_> for QuantityVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::read(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_i64<E: de::Error>(self, integer: i64) -> Result<T, E> {
        T::from_integer(i128::from(integer))
            .ok_or_else(|| E::invalid_value(Unexpected::Signed(integer), &self))
    }

    fn visit_u64<E: de::Error>(self, integer: u64) -> Result<T, E> {
        T::from_integer(i128::from(integer))
            .ok_or_else(|| E::invalid_value(Unexpected::Unsigned(integer), &self))
    }
}

/// What JSON Schema says of a quantity.
pub(super) fn quantity_schema<T: Quantity>() -> Schema {
    match T::PATTERN {
        Some(pattern) => {
            json_schema!({ "type": "string", "pattern": pattern, "description": T::EXPECTED })
        }
        None => json_schema!({ "type": "integer", "description": T::EXPECTED }),
    }
}

macro_rules! quantity_serde {
    ($($type:ident),+) => {$(
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match $type::PATTERN {
                    Some(_) => serializer.collect_str(self),
                    None => match u64::try_from(self.units()) {
                        Ok(units) => serializer.serialize_u64(units),
                        Err(_) => serializer.serialize_i64(self.units() as i64),
                    },
                }
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                deserializer.deserialize_any(QuantityVisitor::new())
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                quantity_schema::<$type>()
            }
        }
    )+};
}

quantity_serde!(Nanos, Shift, Ppm, Drift, Blocks, ByteCount, Count, Money);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantities_read_as_people_mean_them() {
        for (text, nanos) in [
            ("30ms", 30_000_000),
            ("1.5s", 1_500_000_000),
            ("2m", 120_000_000_000),
            ("2min", 120_000_000_000),
            ("1h", 3_600_000_000_000),
            ("7us", 7000),
            ("0s", 0),
            ("10 s", 10_000_000_000),
        ] {
            assert_eq!(Nanos::read(text), Some(Nanos(nanos)), "{text}");
        }
        assert_eq!(Shift::read("-2s"), Some(Shift(-2_000_000_000)));
        assert_eq!(Ppm::read("0.5%"), Some(Ppm(5000)));
        assert_eq!(Ppm::read("100%"), Some(Ppm(1_000_000)));
        assert_eq!(Blocks::read("12blk"), Some(Blocks(12)));
        assert_eq!(ByteCount::read("4KiB"), Some(ByteCount(4096)));
        assert_eq!(Money::read("3 gwei"), Some(Money(Amount::wei(3_000_000_000))));
        assert_eq!(Money::read("0.5 ETH"), Some(Money(Amount::wei(500_000_000_000_000_000))));
    }

    #[test]
    fn what_has_no_exact_meaning_is_refused() {
        for text in ["", "5", "s", "-1s", "1.s", ".5s", "1.5ns", "1e3s", "1s ", "1 m s", "٣s"] {
            assert_eq!(Nanos::read(text), None, "{text:?}");
        }
        for text in ["101%", "0.00001%", "5", "%"] {
            assert_eq!(Ppm::read(text), None, "{text:?}");
        }
        for text in ["0.5 wei", "1000000001 ETH", "1 eth", "1"] {
            assert_eq!(Money::read(text), None, "{text:?}");
        }
        assert_eq!(Nanos::read("18446744073709551616ns"), None);
        assert_eq!(Drift::from_integer(-1_000_000), None);
    }

    fn survives<T: Quantity>(units: i128) {
        let value = T::from_units(units);
        match T::PATTERN {
            Some(_) => assert_eq!(T::read(&value.to_string()), Some(value)),
            None => assert_eq!(T::from_integer(value.units()), Some(value)),
        }
        assert_eq!(T::from_units(value.units()), value);
    }

    proptest! {
        #[test]
        fn quantities_survive_text(units in any::<i128>(), shift in 0u32..127) {
            let units = units >> shift;
            survives::<Nanos>(units);
            survives::<Shift>(units);
            survives::<Ppm>(units);
            survives::<Drift>(units);
            survives::<Blocks>(units);
            survives::<ByteCount>(units);
            survives::<Count>(units);
            survives::<Money>(units);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,30}") {
            let _ = (Nanos::read(&text), Shift::read(&text), Ppm::read(&text), Money::read(&text));
        }
    }
}
