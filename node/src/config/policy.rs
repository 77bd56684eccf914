//! `[policy]`: what a peer may ask of the node without its operator being asked.

use fairway_core::config::Policy;
use fairway_core::types::{Address, Amount};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

/// The section as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyConfig {
    /// Channel addresses of the peers that may open channels with this node. While it is empty anybody may, and can have the node lock up
    /// to `exposure_max` for as long as a challenge lasts.
    #[serde(deserialize_with = "addresses")]
    #[schemars(with = "Vec<String>", extend("default" = []))]
    pub peers: Vec<Address>,
    /// Assets that channels may hold: tokens (ERC-20), and the native one under the zero address. The adjudicator is allowed to take
    /// tokens of the gas account for deposits.
    #[serde(deserialize_with = "addresses")]
    #[schemars(with = "Vec<String>", extend("default" = ["0x0000000000000000000000000000000000000000"]))]
    pub assets: Vec<Address>,
    /// Most that the node deposits into a channel that a peer asked for.
    #[serde(deserialize_with = "amount")]
    #[schemars(with = "String", extend("x-default" = "1000eth"))]
    pub our_deposit_max: Amount,
    /// Least that a peer deposits into a channel that it asks the node to deposit into: what it costs to lock the node's money.
    #[serde(deserialize_with = "amount")]
    #[schemars(with = "String", extend("x-default" = "1wei"))]
    pub peer_deposit_min: Amount,
    /// Most of one asset that the node's deposits may lock in unfinished channels that one peer asked for.
    #[serde(deserialize_with = "amount")]
    #[schemars(with = "String", extend("x-default" = "10000eth"))]
    pub exposure_per_peer_max: Amount,
    /// The same over all peers: what an attacker with many identities can have the node lock.
    #[serde(deserialize_with = "amount")]
    #[schemars(with = "String", extend("x-default" = "100000eth"))]
    pub exposure_max: Amount,
    /// Shortest challenge that is agreed to, in seconds, where three times the time of an answer is not longer.
    pub challenge_duration_min_s: u32,
    /// Longest challenge that is agreed to, in seconds: how long money may be stuck.
    pub challenge_duration_max_s: u32,
    /// Channels a day that a peer asks for and nobody deposits into. Each stays on record.
    pub failed_proposals_per_day_max: u64,
    /// Channels with one peer that are not finished.
    pub channels_per_peer_max: u64,
    /// Objectives that are not finished.
    pub objectives_max: u64,
    /// Payments that wait in one direct channel, of each participant.
    pub updates_queued_max: u64,
    /// Intermediaries of a virtual channel.
    pub hops_max: u64,
    /// Most of the node's money that a virtual channel which somebody else asked for may lock.
    #[serde(deserialize_with = "amount")]
    #[schemars(with = "String", extend("x-default" = "1000eth"))]
    pub virtual_amount_max: Amount,
    /// Virtual channels with the same payer that are not finished.
    pub virtuals_per_payer_max: u64,
    /// Virtual channels of one payer that the participant on the payer's side has not signed.
    pub unbacked_per_payer_max: u64,
    /// The same of all payers.
    pub unbacked_max: u64,
    /// Guarantees in one ledger channel. Each must be reclaimed by a transaction before a disputed ledger channel pays anything.
    pub guarantees_max: u64,
}

impl Default for PolicyConfig {
    fn default() -> PolicyConfig {
        let Policy {
            peers,
            assets,
            our_deposit_max,
            challenge_duration_min,
            challenge_duration_max,
            exposure_per_peer_max,
            exposure_max,
            peer_deposit_min,
            failed_proposals_per_day_max,
            channels_per_peer_max,
            objectives_max,
            updates_queued_max,
            hops_max,
            virtual_amount_max,
            virtuals_per_payer_max,
            unbacked_per_payer_max,
            unbacked_max,
            guarantees_max,
        } = Policy::default();
        PolicyConfig {
            peers: peers.into_iter().collect(),
            assets: assets.into_iter().collect(),
            our_deposit_max,
            peer_deposit_min,
            exposure_per_peer_max,
            exposure_max,
            challenge_duration_min_s: challenge_duration_min,
            challenge_duration_max_s: challenge_duration_max,
            failed_proposals_per_day_max,
            channels_per_peer_max,
            objectives_max,
            updates_queued_max,
            hops_max,
            virtual_amount_max,
            virtuals_per_payer_max,
            unbacked_per_payer_max,
            unbacked_max,
            guarantees_max,
        }
    }
}

impl PolicyConfig {
    /// As core knows it.
    pub fn policy(&self) -> Policy {
        Policy {
            peers: self.peers.iter().copied().collect(),
            assets: self.assets.iter().copied().collect(),
            our_deposit_max: self.our_deposit_max,
            challenge_duration_min: self.challenge_duration_min_s,
            challenge_duration_max: self.challenge_duration_max_s,
            exposure_per_peer_max: self.exposure_per_peer_max,
            exposure_max: self.exposure_max,
            peer_deposit_min: self.peer_deposit_min,
            failed_proposals_per_day_max: self.failed_proposals_per_day_max,
            channels_per_peer_max: self.channels_per_peer_max,
            objectives_max: self.objectives_max,
            updates_queued_max: self.updates_queued_max,
            hops_max: self.hops_max,
            virtual_amount_max: self.virtual_amount_max,
            virtuals_per_payer_max: self.virtuals_per_payer_max,
            unbacked_per_payer_max: self.unbacked_per_payer_max,
            unbacked_max: self.unbacked_max,
            guarantees_max: self.guarantees_max,
        }
    }
}

fn addresses<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Address>, D::Error> {
    #[derive(Deserialize)]
    struct One(#[serde(deserialize_with = "super::channel_address")] Address);
    Vec::<One>::deserialize(d).map(|list| list.into_iter().map(|One(address)| address).collect())
}

fn amount<'de, D: Deserializer<'de>>(d: D) -> Result<Amount, D::Error> {
    let text = String::deserialize(d)?;
    crate::client::amount(&text).map(|wei| wei.0).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_set_is_what_core_defaults_to() {
        let nothing: PolicyConfig = toml::from_str("").unwrap();
        assert_eq!(nothing.policy(), Policy::default());
    }

    #[test]
    fn what_is_set_reaches_core() {
        let text = "peers = [\"0x0101010101010101010101010101010101010101\"]\nour_deposit_max = \"0.5eth\"\nhops_max = 1\n";
        let policy = toml::from_str::<PolicyConfig>(text).unwrap().policy();
        assert_eq!(policy.peers, [Address::repeat_byte(1)].into());
        assert_eq!(policy.our_deposit_max, Amount::wei(500_000_000_000_000_000));
        assert_eq!(policy.hops_max, 1);
        assert_eq!(policy.exposure_max, Policy::default().exposure_max);
        let wrong = toml::from_str::<PolicyConfig>("our_deposit_max = \"much\"").unwrap_err();
        assert!(wrong.to_string().contains("expected an amount"), "{wrong}");
    }
}
