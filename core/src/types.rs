//! Newtypes with units. A bare `u64` for money, time or turns appears nowhere above this file.
//!
//! All arithmetic on [`Amount`] is checked; nothing here can panic on values that came from outside.

use alloc::string::String;
use core::fmt;

use alloy_primitives::{B256, U256};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use alloy_primitives::Address;

/// An amount of one asset in its smallest unit (wei for the native token). Range: `0 ..= 2^256 - 1`.
///
/// There is no `+` or `-`: money is added and subtracted with [`Amount::checked_add`] and
/// [`Amount::checked_sub`], so an overflow is a value that the caller must handle.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(pub U256);

impl Amount {
    /// Nothing.
    pub const ZERO: Amount = Amount(U256::ZERO);
    /// One whole native token: 10^18 wei.
    pub const ETHER: Amount = Amount(U256::from_limbs([1_000_000_000_000_000_000, 0, 0, 0]));

    /// An amount of `wei`.
    pub const fn wei(wei: u64) -> Amount {
        Amount(U256::from_limbs([wei, 0, 0, 0]))
    }

    /// `n` whole native tokens. `n` is at most 2^64, so this cannot overflow.
    pub fn ether(n: u64) -> Amount {
        Amount(U256::from(n).saturating_mul(Self::ETHER.0))
    }

    /// The sum, or `None` beyond 2^256 - 1.
    pub fn checked_add(self, other: Amount) -> Option<Amount> {
        self.0.checked_add(other.0).map(Amount)
    }

    /// The difference, or `None` below zero.
    pub fn checked_sub(self, other: Amount) -> Option<Amount> {
        self.0.checked_sub(other.0).map(Amount)
    }

    /// The difference, or zero where it would be negative. For distances, never for balances.
    pub fn saturating_sub(self, other: Amount) -> Amount {
        Amount(self.0.saturating_sub(other.0))
    }

    /// The sum, capped at 2^256 - 1. For totals that are only compared, never for balances.
    pub fn saturating_add(self, other: Amount) -> Amount {
        Amount(self.0.saturating_add(other.0))
    }

    /// Whether this is nothing at all.
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl fmt::Display for Amount {
    /// Whole multiples of 10^15 wei print as ETH (`3 ETH`, `0.5 ETH`), everything else as wei.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milli = U256::from(1_000_000_000_000_000u64);
        if self.0.is_zero() || self.0 % milli != U256::ZERO {
            return write!(f, "{} wei", self.0);
        }
        let whole = self.0 / Self::ETHER.0;
        let part = (self.0 % Self::ETHER.0) / milli;
        if part.is_zero() {
            return write!(f, "{whole} ETH");
        }
        let digits = alloc::format!("{part:0>3}");
        write!(f, "{whole}.{} ETH", digits.trim_end_matches('0'))
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// In the log and on the wire an amount is its big-endian bytes without leading zeros (one length byte first):
/// canonical, and 1 to 9 bytes for everyday amounts. In text it is a decimal string.
impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() {
            return s.collect_str(&self.0);
        }
        let bytes = self.0.to_be_bytes::<32>();
        let zeros = self.0.leading_zeros() / 8;
        s.serialize_bytes(&bytes[zeros..])
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        if d.is_human_readable() {
            let text = String::deserialize(d)?;
            return U256::from_str_radix(&text, 10).map(Amount).map_err(D::Error::custom);
        }
        struct Bytes;
        impl serde::de::Visitor<'_> for Bytes {
            type Value = Amount;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("at most 32 big-endian bytes without leading zeros")
            }
            fn visit_bytes<E: Error>(self, v: &[u8]) -> Result<Amount, E> {
                if v.len() > 32 || v.first() == Some(&0) {
                    return Err(E::custom("amount is not in its shortest form"));
                }
                Ok(Amount(U256::from_be_slice(v)))
            }
        }
        d.deserialize_bytes(Bytes)
    }
}

/// A channel's id: `keccak256(abi.encode(participants, nonce, appDefinition, challengeDuration))`.
///
/// It does not contain the chain id: the same keys and nonce on two chains give the same id, so a key
/// serves one chain only. Source: `NitroUtils.getChannelId`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChannelId(pub B256);

impl ChannelId {
    /// The first eight hex digits, for people.
    pub fn short(&self) -> String {
        alloc::format!("{:02x}{:02x}{:02x}{:02x}", self.0[0], self.0[1], self.0[2], self.0[3])
    }
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "C-{}", self.short())
    }
}

/// Who receives an allocation: an Ethereum address (first twelve bytes zero) or another channel.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Destination(pub B256);

impl Destination {
    /// The destination that pays `address`.
    pub fn of(address: Address) -> Destination {
        Destination(address.into_word())
    }

    /// Whether this pays an address rather than a channel. Zero counts as external.
    pub fn is_external(&self) -> bool {
        self.0[..12].iter().all(|b| *b == 0)
    }

    /// The address, when this is external.
    pub fn address(&self) -> Option<Address> {
        self.is_external().then(|| Address::from_slice(&self.0[12..]))
    }
}

/// A state's turn number. Range: `0 ..= 2^48 - 1`, the contract's `uint48`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "u64", into = "u64")]
pub struct TurnNum(u64);

impl TurnNum {
    /// The largest turn number that the contract can hold.
    pub const MAX: TurnNum = TurnNum((1 << 48) - 1);
    /// Everyone signs this before anyone risks money.
    pub const PREFUND: TurnNum = TurnNum(0);
    /// Everyone signs this once the channel is fully funded.
    pub const POSTFUND: TurnNum = TurnNum(1);
    /// A virtual channel's state that redeems a voucher: signed by the payee alone, and only for the chain.
    pub const REDEMPTION: TurnNum = TurnNum(2);
    /// A virtual channel's agreed final state. Not 2, as in go-nitro: a payee who signed that and then met silence would have to sign
    /// a second state of the turn to redeem its voucher. `conclude` ignores turns.
    pub const VIRTUAL_FINAL: TurnNum = TurnNum(3);

    /// The turn number, or `None` from 2^48 on.
    pub const fn new(turn: u64) -> Option<TurnNum> {
        if turn < (1 << 48) { Some(TurnNum(turn)) } else { None }
    }

    /// The following turn, or `None` after [`TurnNum::MAX`].
    pub fn next(self) -> Option<TurnNum> {
        TurnNum::new(self.0 + 1)
    }

    /// As a plain number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for TurnNum {
    type Error = &'static str;
    fn try_from(turn: u64) -> Result<Self, Self::Error> {
        TurnNum::new(turn).ok_or("turn number is 2^48 or more")
    }
}

impl From<TurnNum> for u64 {
    fn from(turn: TurnNum) -> u64 {
        turn.0
    }
}

impl fmt::Display for TurnNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Log sequence number: the position of an event in a node's log; the first event has 1, an empty log ends at 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Before the first event.
    pub const ZERO: Lsn = Lsn(0);

    /// The position `n` events later.
    pub fn advance(self, n: u64) -> Lsn {
        Lsn(self.0 + n)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A node's own clock: milliseconds since the Unix epoch. Only for time-outs and log lines; finality is
/// decided on [`ChainTime`], never here.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The moment `ms` milliseconds later, capped at the end of time.
    pub fn after_ms(self, ms: u64) -> Timestamp {
        Timestamp(self.0.saturating_add(ms))
    }

    /// Milliseconds since `earlier`, zero if the clock went back.
    pub fn since_ms(self, earlier: Timestamp) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A block's timestamp: seconds since the Unix epoch, as `block.timestamp`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct ChainTime(pub u64);

/// A block's height.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct BlockNum(pub u64);

impl fmt::Display for BlockNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a unit of gas may cost, in wei. Range: `0 ..= 2^64 - 1`, which is eighteen whole tokens for one unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeePerGas(pub u64);

impl FeePerGas {
    /// `n` gwei: 10^9 wei each.
    pub const fn gwei(n: u64) -> FeePerGas {
        FeePerGas(n.saturating_mul(1_000_000_000))
    }

    /// What `gas` units cost.
    pub fn times(self, gas: u64) -> Amount {
        Amount(U256::from(self.0).saturating_mul(U256::from(gas)))
    }
}

impl fmt::Display for FeePerGas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} wei per gas", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    #[test]
    fn amounts_print_as_people_read_them() {
        for (amount, text) in [
            (Amount::ZERO, "0 wei"),
            (Amount::wei(7), "7 wei"),
            (Amount::ether(3), "3 ETH"),
            (Amount::wei(500_000_000_000_000_000), "0.5 ETH"),
            (Amount::wei(1_000_000_000_000_001), "1000000000000001 wei"),
        ] {
            assert_eq!(amount.to_string(), text);
        }
    }

    #[test]
    fn turn_numbers_end_where_the_contract_ends() {
        assert_eq!(TurnNum::new((1 << 48) - 1), Some(TurnNum::MAX));
        assert_eq!(TurnNum::new(1 << 48), None);
        assert_eq!(TurnNum::MAX.next(), None);
        assert!(
            postcard::from_bytes::<TurnNum>(&postcard::to_allocvec(&(1u64 << 48)).unwrap())
                .is_err()
        );
    }

    #[test]
    fn an_amount_with_leading_zeros_is_refused() {
        assert!(postcard::from_bytes::<Amount>(&[2, 0, 7]).is_err());
        assert_eq!(postcard::from_bytes::<Amount>(&[1, 7]), Ok(Amount::wei(7)));
        assert!(postcard::from_bytes::<Amount>(&[&[33][..], &[1; 33]].concat()).is_err());
    }

    proptest! {
        #[test]
        fn amounts_survive_the_log(limbs in any::<[u64; 4]>()) {
            let amount = Amount(U256::from_limbs(limbs));
            let bytes = postcard::to_allocvec(&amount).unwrap();
            prop_assert_eq!(postcard::from_bytes::<Amount>(&bytes).unwrap(), amount);
        }

        #[test]
        fn sums_never_wrap(a in any::<[u64; 4]>(), b in any::<[u64; 4]>()) {
            let (a, b) = (Amount(U256::from_limbs(a)), Amount(U256::from_limbs(b)));
            match a.checked_add(b) {
                Some(sum) => prop_assert_eq!(sum.checked_sub(b), Some(a)),
                None => prop_assert!(a.0 > U256::MAX - b.0),
            }
        }
    }
}
