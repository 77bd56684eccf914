//! Requests of the legacy interface, read as leniently as its clients need: short hexadecimal numbers are padded on the left, amounts
//! may be any integral JSON number, keys that we do not use are ignored.

use std::collections::BTreeMap;

use alloy_primitives::{B256, U256, hex};
use fairway_core::nitro::voucher;
use fairway_core::types::{Address, Amount, ChannelId, Destination};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::LegacyError;

/// A request whose envelope is good.
pub struct Call {
    pub id: u64,
    pub method: String,
    params: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
pub struct Params {
    #[serde(default)]
    pub authtoken: String,
    payload: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
pub struct GetToken {
    #[serde(rename = "Id", default)]
    pub id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateLedger {
    pub counter_party: Bytes32,
    pub challenge_duration: Option<Integer>,
    pub outcome: Outcome,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreatePayment {
    #[serde(default)]
    pub intermediaries: Vec<Bytes32>,
    pub counter_party: Bytes32,
    pub challenge_duration: Option<Integer>,
    pub outcome: Outcome,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct OneChannel {
    pub channel_id: Bytes32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Named {
    pub id: Bytes32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct OfLedger {
    pub ledger_id: Bytes32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Pay {
    pub amount: Integer,
    pub channel: Bytes32,
}

/// The answer to `pay`: what was asked.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Paid {
    pub amount: Integer,
    pub channel: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ShownVoucher {
    pub channel_id: Bytes32,
    pub amount: Integer,
    pub signature: String,
}

/// The answer to `create_voucher`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Voucher {
    channel_id: String,
    amount: Integer,
    signature: String,
}

#[derive(Deserialize)]
pub struct Outcome(Vec<Exit>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Exit {
    asset: Bytes32,
    allocations: Vec<Allocation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Allocation {
    destination: Bytes32,
    amount: Integer,
    #[serde(default)]
    allocation_type: Option<Integer>,
}

/// Up to 32 bytes, padded on the left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes32(pub B256);

/// A JSON number without a fraction, of at most 256 bits. Written in digits, however many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Integer(pub U256);

impl Call {
    /// Takes an envelope apart, in go-nitro's order.
    ///
    /// # Errors
    /// The id to answer with, and why.
    pub fn parse(body: &[u8]) -> Result<Call, (u64, LegacyError)> {
        let invalid = |id| (id, LegacyError::new(-32600, "Invalid Request"));
        let whole: Result<BTreeMap<String, Box<RawValue>>, _> = serde_json::from_slice(body);
        let mut parts = whole.map_err(|_| (0, LegacyError::new(-32700, "Parse error")))?;
        let id = parts.get("id").and_then(|id| serde_json::from_str::<Integer>(id.get()).ok());
        let id = id.and_then(|id| u64::try_from(id.0).ok()).ok_or_else(|| invalid(0))?;
        let text = |part: Option<&Box<RawValue>>| {
            part.and_then(|raw| serde_json::from_str::<String>(raw.get()).ok())
        };
        if text(parts.get("jsonrpc")).as_deref() != Some("2.0") {
            return Err(invalid(id));
        }
        let method = text(parts.get("method")).ok_or_else(|| invalid(id))?;
        Ok(Call { id, method, params: parts.remove("params") })
    }

    /// Its parameters; empty ones where there are none.
    ///
    /// # Errors
    /// They are no object with a text `authtoken`.
    pub fn params(&self) -> Result<Params, LegacyError> {
        let text = self.params.as_ref().map_or("{}", |p| p.get());
        let unreadable = |_| LegacyError::new(-32010, "Could not unmarshal request object");
        serde_json::from_str(text).map_err(unreadable)
    }
}

impl Params {
    /// What is asked for.
    ///
    /// # Errors
    /// Not what the method takes.
    pub fn payload<P: DeserializeOwned>(&self) -> Result<P, LegacyError> {
        let text = self.payload.as_ref().map_or("{}", |p| p.get());
        let unreadable =
            |e| LegacyError::new(-32009, &format!("Could not unmarshal params object: {e}"));
        serde_json::from_str(text).map_err(unreadable)
    }
}

impl Bytes32 {
    /// As an address; the first twelve bytes must be zero, and it must not be the zero address.
    pub fn address(&self) -> Result<Address, LegacyError> {
        let address = Destination(self.0).address().filter(|a| !a.is_zero());
        address.ok_or_else(LegacyError::params)
    }

    /// As a channel, which is not zero.
    pub fn channel(&self) -> Result<ChannelId, LegacyError> {
        if self.0.is_zero() { Err(LegacyError::params()) } else { Ok(ChannelId(self.0)) }
    }
}

impl Integer {
    /// As an amount, which is not zero.
    pub fn amount(&self) -> Result<Amount, LegacyError> {
        if self.0.is_zero() { Err(LegacyError::params()) } else { Ok(Amount(self.0)) }
    }
}

impl Outcome {
    /// The asset, and what `me` and `peer` put in: one allocation each, in either order.
    pub fn between(
        &self,
        me: Address,
        peer: Address,
    ) -> Result<(Address, [Amount; 2]), LegacyError> {
        let wrong = |what: &str| LegacyError::new(-32602, &format!("Invalid params: {what}"));
        let [exit] = self.0.as_slice() else { return Err(wrong("Outcome: not exactly one asset")) };
        let asset =
            Destination(exit.asset.0).address().ok_or_else(|| wrong("Asset: not an address"))?;
        let [_, _] = exit.allocations.as_slice() else {
            return Err(wrong("Allocations: not exactly two"));
        };
        if exit.allocations.iter().any(|a| a.allocation_type.is_some_and(|t| !t.0.is_zero())) {
            return Err(wrong("AllocationType: only simple allocations, 0"));
        }
        let of = |who: Address| {
            let mut theirs = exit.allocations.iter().filter(|a| a.destination.0 == who.into_word());
            match (theirs.next(), theirs.next()) {
                (Some(one), None) => Ok(Amount(one.amount.0)),
                _ => Err(wrong(
                    "Destination: not one allocation for us and one for the counterparty",
                )),
            }
        };
        Ok((asset, [of(me)?, of(peer)?]))
    }
}

impl Voucher {
    /// As go-nitro writes it.
    pub fn of(voucher: &voucher::Voucher) -> Voucher {
        Voucher {
            channel_id: voucher.channel.to_string(),
            amount: Integer(voucher.amount.0),
            signature: hex::encode_prefixed(voucher.sig.0),
        }
    }
}

impl<'de> Deserialize<'de> for Bytes32 {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Bytes32, D::Error> {
        let text = String::deserialize(d)?;
        let expected = || D::Error::custom("expected 0x and up to 64 hexadecimal digits");
        let digits = text.strip_prefix("0x").unwrap_or(&text);
        if digits.len() > 64 {
            return Err(expected());
        }
        hex::decode_to_array(format!("{digits:0>64}"))
            .map(|b: [u8; 32]| Bytes32(b.into()))
            .map_err(|_| expected())
    }
}

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Integer, D::Error> {
        let raw = Box::<RawValue>::deserialize(d)?;
        let expected = "expected an integral number from 0 to 2^256 - 1";
        parse_integral(raw.get()).map(Integer).ok_or_else(|| D::Error::custom(expected))
    }
}

impl Serialize for Integer {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let digits = self.0.to_string();
        RawValue::from_string(digits).map_err(serde::ser::Error::custom)?.serialize(s)
    }
}

/// `100`, `1e21`, `1.5e3`, `7.0`: how JavaScript may write an integer.
fn parse_integral(text: &str) -> Option<U256> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let zeros = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let digits = format!("{whole}{fraction}");
    let digits = match usize::try_from(zeros) {
        Ok(zeros) if zeros <= DIGITS_MAX => digits + &"0".repeat(zeros),
        Ok(_) => return digits.bytes().all(|b| b == b'0').then_some(U256::ZERO),
        Err(_) => {
            let cut = usize::try_from(zeros.unsigned_abs()).ok()?;
            let (kept, lost) = digits.split_at_checked(digits.len().checked_sub(cut)?)?;
            lost.bytes().all(|b| b == b'0').then(|| format!("0{kept}"))?
        }
    };
    U256::from_str_radix(&digits, 10).ok()
}

/// 2^256 has as many.
const DIGITS_MAX: usize = 78;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_are_exact_or_refused() {
        let parse = |text: &str| serde_json::from_str::<Integer>(text).ok().map(|i| i.0);
        let max = U256::MAX.to_string();
        for (text, value) in [
            ("0", U256::ZERO),
            ("7", U256::from(7)),
            ("7.0", U256::from(7)),
            ("1.5e3", U256::from(1_500)),
            ("100e-2", U256::ONE),
            ("0e999999", U256::ZERO),
            ("9007199254740993", U256::from(9_007_199_254_740_993u64)),
            ("1e21", U256::from(10).pow(U256::from(21))),
            ("1.0000000000000001E+24", "1000000000000000100000000".parse().unwrap()),
            (&max, U256::MAX),
        ] {
            assert_eq!(parse(text), Some(value), "{text}");
        }
        let above = format!("{max}0");
        for text in
            ["-1", "-0", "0.5", "1e-1", "1e78", "1e999999999999", "\"7\"", "null", "true", &above]
        {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(serde_json::to_string(&Integer(U256::MAX)).unwrap(), max);
    }

    proptest! {
        /// However JavaScript writes an integer, it is read as that integer.
        #[test]
        fn every_way_to_write_an_integer_is_read(limbs in any::<[u64; 2]>(), zeros in 0usize..30) {
            let number = U256::from_limbs([limbs[0], limbs[1], 0, 0]);
            let digits = number.to_string();
            let value = number * U256::from(10).pow(U256::from(zeros));
            let (first, rest) = digits.split_at(1);
            let written = [
                format!("{digits}{}", "0".repeat(zeros)),
                format!("{digits}e{zeros}"),
                format!("{digits}.0E+{zeros}"),
                format!("{first}.{rest}0e{}", rest.len() + zeros),
            ];
            for text in written {
                prop_assert_eq!(serde_json::from_str::<Integer>(&text).ok(), Some(Integer(value)), "{}", text);
            }
        }

        /// Whatever comes is answered: with a request or with an error, and with nothing else.
        #[test]
        fn no_bytes_are_too_strange(bytes in any::<Vec<u8>>(), text in "[\\[{\"a-z0-9:,.eE+ -]{0,60}") {
            for body in [&bytes[..], text.as_bytes()] {
                if let Ok(call) = Call::parse(body) {
                    let _ = call.params().and_then(|p| p.payload::<CreatePayment>());
                }
                let _ = parse_integral(&String::from_utf8_lossy(body));
            }
        }
    }

    #[test]
    fn short_hexadecimal_numbers_are_padded() {
        let parse = |text: &str| serde_json::from_str::<Bytes32>(&format!("{text:?}")).ok();
        let address = Address::repeat_byte(0xab);
        assert_eq!(parse(&format!("{address:#x}")).unwrap().address(), Ok(address));
        assert_eq!(parse("0x1").unwrap().0, B256::with_last_byte(1));
        assert_eq!(parse("0x").unwrap().0, B256::ZERO);
        assert_eq!(parse(&format!("0x{}", "0".repeat(65))), None);
        assert_eq!(parse("0xg"), None);
        assert!(parse(&format!("0x{}", "1".repeat(64))).unwrap().address().is_err());
    }
}
