//! Who is who, for people: addresses and channel ids become names.

use std::collections::BTreeMap;

use fairway_core::nitro::State;
use fairway_core::types::{Address, ChannelId};
use serde::{Deserialize, Serialize};

use super::words::capitalized;
use crate::observe::{PartyId, PartyInfo};

/// Names of the parties and channels of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// By position in the scenario.
    pub parties: Vec<PartyName>,
    /// Participants of each channel that was mentioned.
    pub channels: BTreeMap<ChannelId, Vec<Address>>,
}

/// A party's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartyName {
    /// As a sentence begins: `Alice`.
    pub name: String,
    /// Its channel address.
    pub address: Address,
    /// Whether it runs our code and nothing else.
    pub honest: bool,
}

impl Names {
    /// The parties of a run; channels are learned as they are mentioned.
    pub fn new(parties: &[PartyInfo]) -> Names {
        let name = |p: &PartyInfo| PartyName {
            name: capitalized(&p.name),
            address: p.address,
            honest: p.honest,
        };
        Names { parties: parties.iter().map(name).collect(), channels: BTreeMap::new() }
    }

    /// A party's name.
    pub fn party(&self, id: PartyId) -> String {
        self.parties.get(id.0).map_or_else(|| format!("party {}", id.0), |p| p.name.clone())
    }

    /// The party with this address.
    pub fn id_of(&self, who: Address) -> Option<PartyId> {
        self.parties.iter().position(|p| p.address == who).map(PartyId)
    }

    /// The name behind an address, or its first digits.
    pub fn of(&self, who: Address) -> String {
        self.id_of(who).map_or_else(|| short(who), |id| self.party(id))
    }

    /// Takes note of a channel that a state shows.
    pub fn learn(&mut self, state: &State) {
        let participants = &state.fixed.participants;
        self.learn_channel(state.fixed.channel_id(), participants);
    }

    /// Takes note of a channel.
    pub fn learn_channel(&mut self, channel: ChannelId, participants: &[Address]) {
        self.channels.entry(channel).or_insert_with(|| participants.to_vec());
    }

    /// Who takes part in a channel, in order; empty where it is not known.
    pub fn participants(&self, channel: ChannelId) -> &[Address] {
        self.channels.get(&channel).map_or(&[], Vec::as_slice)
    }

    /// The name of the participant at `index`.
    pub fn participant(&self, channel: ChannelId, index: usize) -> String {
        let who = self.participants(channel).get(index).copied();
        who.map_or_else(|| format!("participant {index}"), |who| self.of(who))
    }

    /// The name of the participant who is not `who`.
    pub fn counterparty(&self, channel: ChannelId, who: Address) -> String {
        let other = self.participants(channel).iter().find(|p| **p != who);
        other.map_or_else(|| "the peer".to_owned(), |who| self.of(*who))
    }

    /// A channel's name: its participants, and the first digits where several have the same.
    pub fn channel(&self, id: ChannelId) -> String {
        let Some(participants) = self.channels.get(&id) else {
            return crate::observe::channel_name(id);
        };
        let who: Vec<String> = participants.iter().map(|p| self.of(*p)).collect();
        let alone = self.channels.values().filter(|p| *p == participants).count() == 1;
        let who = who.join("–");
        if alone { format!("channel {who}") } else { format!("channel {who} {}", id.short()) }
    }
}

fn short(who: Address) -> String {
    let hex = format!("{who:#x}");
    format!("{}…", hex.get(..8).unwrap_or(&hex))
}

#[cfg(test)]
mod tests {
    use super::super::testkit::*;
    use super::*;

    #[test]
    fn channels_are_named_after_their_participants() {
        let mut names = names();
        names.learn(&state(0, [5, 5]));
        assert_eq!(names.channel(channel()), "channel Alice–Bob");
        let twin = ChannelId::default();
        let participants = names.participants(channel()).to_vec();
        names.learn_channel(twin, &participants);
        assert_eq!(names.channel(twin), "channel Alice–Bob 00000000");
        assert_eq!(names.counterparty(twin, alice()), "Bob");
    }

    #[test]
    fn a_stranger_has_only_digits() {
        assert_eq!(names().of(Address::repeat_byte(0xab)), "0xababab…");
        assert_eq!(names().party(PartyId(7)), "party 7");
    }
}
