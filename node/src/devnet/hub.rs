//! Alice pays Bob through a hub: first in agreement, without a transaction, then with a hub that cheats.

use std::time::{Duration, Instant};

use fairway_core::channel::Phase;
use fairway_core::effect::Accepted;
use fairway_core::event::{ObjectiveKind, Terms, VirtualTerms, WantedTx};
use fairway_core::input::Command;
use fairway_core::nitro::sign::challenge_hash;
use fairway_core::nitro::{Call, Claim, SignedState};
use fairway_core::types::{Address, Amount, ChannelId, TurnNum};
use fairway_core::virtual_channel::VirtualChannel;

use super::DevnetError;
use super::script::{Stage, milli_ether, nonce};

/// The two ledger channels that payments go over, and what their ends are due in them.
pub struct Route {
    /// Alice leads, the hub follows.
    pub left: ChannelId,
    /// The hub leads, Bob follows.
    pub right: ChannelId,
    /// What Alice has paid to Bob in all virtual channels.
    pub paid: Amount,
}

impl Stage {
    /// Alice opens a ledger channel with the hub, and the hub one with Bob.
    pub async fn open_route(&self, each: Amount) -> Result<Route, DevnetError> {
        let mut ids = [ChannelId::default(); 2];
        for (id, (leader, follower)) in
            ids.iter_mut().zip([(&self.alice, &self.hub), (&self.hub, &self.bob)])
        {
            let terms = Terms {
                participants: [leader.address(), follower.address()],
                nonce: nonce()?,
                challenge_duration: self.challenge_duration,
                asset: Address::ZERO,
                deposits: [each, each],
            };
            *id = terms.fixed_part(self.apps.consensus).channel_id();
            self.story.say(&format!(
                "{} opens ledger channel {} with {}; each deposits {each}",
                leader.name,
                id.short(),
                follower.name
            ));
            leader.command(Command::Open(terms)).await?;
            tokio::try_join!(leader.when_open(*id), follower.when_open(*id))?;
        }
        Ok(Route { left: ids[0], right: ids[1], paid: Amount::ZERO })
    }

    /// A virtual channel from Alice to Bob: open, `count` payments of `each`, and the end in agreement. Returns its id and how long
    /// each payment took until Bob held it durably.
    pub async fn pay_through_hub(
        &self,
        route: &mut Route,
        count: u32,
        each: Amount,
    ) -> Result<(ChannelId, Vec<Duration>), DevnetError> {
        let id = self.open_virtual().await?;
        let took = self.pay_by_vouchers(route, id, count, each).await?;
        self.story.say(&format!("bob closes virtual channel {} in agreement", id.short()));
        self.bob.command(Command::Close { channel: id }).await?;
        let kind = ObjectiveKind::VirtualDefund;
        tokio::try_join!(
            self.alice.when_completed("the end of the virtual channel", id, kind),
            self.hub.when_completed("the end of the virtual channel", id, kind),
            self.bob.when_completed("the end of the virtual channel", id, kind),
        )?;
        Ok((id, took))
    }

    async fn open_virtual(&self) -> Result<ChannelId, DevnetError> {
        let terms = VirtualTerms {
            participants: vec![self.alice.address(), self.hub.address(), self.bob.address()],
            nonce: nonce()?,
            challenge_duration: self.challenge_duration,
            asset: Address::ZERO,
            amount: milli_ether(2_000),
        };
        let id = terms.fixed_part(self.apps.payment).channel_id();
        let begun = Instant::now();
        self.alice.command(Command::OpenVirtual { terms, ledger: None }).await?;
        let open = |v: &VirtualChannel| {
            let there = v.phase == Phase::Open && v.unanimous(TurnNum::POSTFUND).is_some();
            there.then_some(())
        };
        tokio::try_join!(
            self.alice.when_virtual("an open virtual channel", id, open),
            self.bob.when_virtual("an open virtual channel", id, open),
        )?;
        let took = begun.elapsed().as_millis();
        self.story.say(&format!(
            "virtual channel {} from alice over the hub to bob is open after {took} ms, without a transaction",
            id.short()
        ));
        Ok(id)
    }

    async fn pay_by_vouchers(
        &self,
        route: &mut Route,
        id: ChannelId,
        count: u32,
        each: Amount,
    ) -> Result<Vec<Duration>, DevnetError> {
        let mut took = Vec::new();
        for _ in 0..count {
            let begun = Instant::now();
            let paid = self.alice.command(Command::Pay { channel: id, amount: each }).await?;
            let Accepted::Payment { total, .. } = paid else {
                return Err(DevnetError::Script("a payment was answered as something else"));
            };
            let there = move |v: &VirtualChannel| (v.paid() >= total).then_some(());
            self.bob.when_virtual("a voucher", id, there).await?;
            took.push(begun.elapsed());
            route.paid = route.paid.saturating_add(each);
        }
        self.story.say(&format!("{count} payments of {each} in virtual channel {}", id.short()));
        Ok(took)
    }

    /// The hub takes part in another virtual channel, goes dark after the payments, and its key challenges as if nothing had been
    /// paid, to keep what it owes to Bob. Bob redeems his voucher; both ledger channels are closed on chain and reclaim what the
    /// virtual channel then says.
    pub async fn cheat(&mut self, route: &mut Route) -> Result<ChannelId, DevnetError> {
        let id = self.open_virtual().await?;
        self.pay_by_vouchers(route, id, 5, milli_ether(100)).await?;
        let postfund = |v: &VirtualChannel| v.unanimous(TurnNum::POSTFUND).cloned();
        let old = self.hub.when_virtual("the unanimous postfund", id, postfund).await?;
        self.hub.kill().await;
        self.story.say(&format!(
            "the hub's node goes dark, and its key challenges virtual channel {} as if nothing had been paid",
            id.short()
        ));
        self.challenge_as_hub(&old).await?;
        let redeems = |v: &VirtualChannel| {
            v.txs.iter().any(|t| matches!(t, WantedTx::Redeem { .. })).then_some(v.paid())
        };
        let redeemed = self.bob.when_virtual("a redemption", id, redeems).await?;
        self.story.say(&format!("bob's node redeems his voucher of {redeemed} on chain"));
        for (party, ledger) in [(&self.alice, route.left), (&self.bob, route.right)] {
            party.command(Command::ForceClose { channel: ledger }).await?;
        }
        let ended = "the end of a ledger channel";
        tokio::try_join!(
            self.alice.when_completed(ended, route.left, ObjectiveKind::Dispute),
            self.bob.when_completed(ended, route.right, ObjectiveKind::Dispute),
        )?;
        self.hub.start(None).await?;
        tokio::try_join!(
            self.hub.when_completed(ended, route.left, ObjectiveKind::Dispute),
            self.hub.when_completed(ended, route.right, ObjectiveKind::Dispute),
        )?;
        Ok(id)
    }

    async fn challenge_as_hub(&self, old: &SignedState) -> Result<(), DevnetError> {
        let call = Call::Challenge {
            proof: Vec::new(),
            candidate: Claim::from(old),
            challenger_sig: self.hub.key().sign(challenge_hash(old.hash())),
        };
        self.execute(self.hub.address(), call).await
    }
}
