//! Values as our interface writes them: amounts are decimal strings, ids and addresses `0x` and hexadecimal digits.

use std::borrow::Cow;
use std::fmt;

use alloy_primitives::{B256, U256};
use fairway_core::event::{ObjectiveId, ObjectiveKind};
use fairway_core::types::{Address, Amount, ChannelId};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An amount in an asset's smallest unit, in decimal digits. A string: JSON numbers lose digits in most programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wei(pub Amount);

/// A channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Channel(pub ChannelId);

/// An Ethereum address. Lower case, like everything in JSON here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account(pub Address);

/// An objective, written as `DirectFunding-0x…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Objective(pub ObjectiveId);

/// A transaction, by its nonce in decimal digits or by its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxName(pub fairway_chain::TxName);

/// Parses a nonce, or `0x` and 64 hexadecimal digits.
///
/// # Errors
/// One line: what was expected.
pub fn parse_tx(text: &str) -> Result<TxName, String> {
    let expected = || {
        format!("{text:?}: expected a nonce, or a transaction's hash: 0x and 64 hexadecimal digits")
    };
    if let Some(digits) = text.strip_prefix("0x") {
        let hash = digits.parse::<B256>().map_err(|_| expected())?;
        return Ok(TxName(fairway_chain::TxName::Hash(hash)));
    }
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let nonce = text.parse().ok().filter(|_| plain).ok_or_else(expected)?;
    Ok(TxName(fairway_chain::TxName::Nonce(nonce)))
}

/// Parses decimal digits.
///
/// # Errors
/// One line: what was expected.
pub fn parse_wei(text: &str) -> Result<Wei, String> {
    let expected = || format!("{text:?}: expected an amount in decimal digits, below 2^256");
    let plain = !text.is_empty() && text.len() <= 78 && text.bytes().all(|b| b.is_ascii_digit());
    if !plain {
        return Err(expected());
    }
    U256::from_str_radix(text, 10).map(|n| Wei(Amount(n))).map_err(|_| expected())
}

/// Parses `0x` and 64 hexadecimal digits.
///
/// # Errors
/// One line: what was expected.
pub fn parse_channel(text: &str) -> Result<Channel, String> {
    let expected = || format!("{text:?}: expected a channel, 0x and 64 hexadecimal digits");
    let digits = text.strip_prefix("0x").ok_or_else(expected)?;
    digits.parse::<B256>().map(|id| Channel(ChannelId(id))).map_err(|_| expected())
}

/// Parses `0x` and 40 hexadecimal digits, of any case.
///
/// # Errors
/// One line: what was expected.
pub fn parse_account(text: &str) -> Result<Account, String> {
    let expected = || format!("{text:?}: expected an address, 0x and 40 hexadecimal digits");
    let digits = text.strip_prefix("0x").ok_or_else(expected)?;
    digits.parse().map(Account).map_err(|_| expected())
}

/// Parses `DirectFunding-0x…`.
///
/// # Errors
/// One line: what was expected.
pub fn parse_objective(text: &str) -> Result<Objective, String> {
    let kinds = [
        ("DirectFunding", ObjectiveKind::DirectFund),
        ("DirectDefunding", ObjectiveKind::DirectDefund),
        ("Dispute", ObjectiveKind::Dispute),
        ("VirtualFund", ObjectiveKind::VirtualFund),
        ("VirtualDefund", ObjectiveKind::VirtualDefund),
    ];
    let expected = || format!("{text:?}: expected an objective, such as DirectFunding-0x…");
    let (kind, channel) = text.split_once('-').ok_or_else(expected)?;
    let (_, kind) = kinds.into_iter().find(|(name, _)| *name == kind).ok_or_else(expected)?;
    let Channel(channel) = parse_channel(channel).map_err(|_| expected())?;
    Ok(Objective(ObjectiveId { channel, kind }))
}

impl fmt::Display for Wei {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.0)
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for TxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            fairway_chain::TxName::Nonce(nonce) => write!(f, "{nonce}"),
            fairway_chain::TxName::Hash(hash) => write!(f, "{hash}"),
        }
    }
}

/// JSON and command line alike: as text, with the parser above.
macro_rules! as_text {
    ($type:ident, $parse:ident, $pattern:literal, $about:literal) => {
        impl std::str::FromStr for $type {
            type Err = String;
            fn from_str(text: &str) -> Result<$type, String> {
                $parse(text)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<$type, D::Error> {
                $parse(&String::deserialize(d)?).map_err(D::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": $about })
            }
        }
    };
}

as_text!(Wei, parse_wei, "^[0-9]{1,78}$", "An amount in the asset's smallest unit.");
as_text!(Channel, parse_channel, "^0x[0-9a-fA-F]{64}$", "A channel's id.");
as_text!(Account, parse_account, "^0x[0-9a-fA-F]{40}$", "An Ethereum address.");
as_text!(
    TxName,
    parse_tx,
    "^([0-9]{1,20}|0x[0-9a-fA-F]{64})$",
    "A transaction: its nonce, or its hash."
);
as_text!(
    Objective,
    parse_objective,
    "^(DirectFunding|DirectDefunding|Dispute|VirtualFund|VirtualDefund)-0x[0-9a-fA-F]{64}$",
    "An objective: what is to be done with which channel."
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_digits_are_an_amount() {
        assert_eq!(parse_wei("0"), Ok(Wei(Amount::ZERO)));
        assert_eq!(parse_wei("007"), Ok(Wei(Amount::wei(7))));
        assert_eq!(parse_wei(&U256::MAX.to_string()), Ok(Wei(Amount(U256::MAX))));
        let above = format!("{}0", U256::MAX);
        for text in ["", "-1", "+1", "1e3", "1_000", "0x1", " 1", "1.0", &above, &"9".repeat(78)] {
            assert!(parse_wei(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_survive_being_written() {
        let id = format!("0x{}", "ab".repeat(32));
        for text in [
            format!("DirectFunding-{id}"),
            format!("DirectDefunding-{id}"),
            format!("Dispute-{id}"),
            format!("VirtualFund-{id}"),
            format!("VirtualDefund-{id}"),
        ] {
            assert_eq!(parse_objective(&text).unwrap().to_string(), text);
        }
        assert_eq!(parse_channel(&id).unwrap().to_string(), id);
        let account = format!("0x{}", "Ab".repeat(20));
        assert_eq!(parse_account(&account).unwrap().to_string(), account.to_lowercase());
        for text in ["", "DirectFunding", "DirectFund-0x00", "DirectFunding-0x00", &id] {
            assert!(parse_objective(text).is_err(), "{text}");
        }
        assert!(parse_channel(&"ab".repeat(32)).is_err());
        for text in ["0", "18446744073709551615", &id] {
            assert_eq!(parse_tx(text).unwrap().to_string(), text);
        }
        for text in ["", "-1", "+1", "18446744073709551616", "0x1", "ab"] {
            assert!(parse_tx(text).is_err(), "{text}");
        }
    }
}
