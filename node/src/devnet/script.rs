//! What happens on the devnet, in order. Each phase says what it expects and the sums that must come out.

use std::pin::Pin;
use std::time::{Duration, Instant};

use fairway_core::channel::{Channel, balance_in};
use fairway_core::event::{ObjectiveKind, Terms, WantedTx};
use fairway_core::input::Command;
use fairway_core::nitro::sign::challenge_hash;
use fairway_core::nitro::{Call, Claim, SignedState};
use fairway_core::types::{Address, Amount, ChannelId};

use super::party::Party;
use super::{DevnetError, Story};
use crate::devchain::DevChain;

/// Who plays, and on what.
pub struct Stage {
    pub alice: Party,
    pub bob: Party,
    pub hub: Party,
    pub apps: Apps,
    pub execute: Execute,
    pub story: Story,
    /// Seconds of chain time.
    pub challenge_duration: u32,
}

/// The applications on the chain.
#[derive(Clone, Copy)]
pub struct Apps {
    pub consensus: Address,
    pub payment: Address,
}

/// Has a call executed from an account whose node has no part in it; the development chain's way, or another chain's.
pub type Execute = Box<dyn Fn(Address, Call) -> Executing + Send + Sync>;

/// What [`Execute`] gives.
pub type Executing = Pin<Box<dyn Future<Output = Result<(), DevnetError>> + Send>>;

/// [`Execute`] on a development chain.
pub fn on(chain: DevChain) -> Execute {
    Box::new(move |from, call| {
        let chain = chain.clone();
        Box::pin(async move {
            let receipt = chain.execute(from, call).await;
            receipt
                .map_err(|_| DevnetError::Stopped { who: "the chain" })?
                .map_err(DevnetError::Reverted)?;
            Ok(())
        })
    })
}

/// A channel, and what its parties are due by the payments made so far.
pub struct Book {
    pub id: ChannelId,
    pub alice: Amount,
    pub bob: Amount,
}

/// Who pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Payer {
    Alice,
    Bob,
}

impl Stage {
    /// Alice opens a channel with Bob; his node is killed between her deposit and his, and goes on from its files.
    pub async fn open_through_a_crash(&mut self, each: Amount) -> Result<Book, DevnetError> {
        let book = self.ask_to_open(each).await?;
        let id = book.id;
        self.bob
            .when("alice's deposit on chain", move |driver| {
                let held = driver.node().state().chain().at_head(id).held;
                (held >= each).then_some(())
            })
            .await?;
        self.story.say("alice's deposit is on chain, bob's is not: bob's node is dropped now, without any warning");
        self.bob.kill().await;
        self.bob.start(None).await?;
        self.both_open(id).await?;
        Ok(book)
    }

    /// Alice opens a channel with Bob, and nothing goes wrong.
    pub async fn open(&self, each: Amount) -> Result<Book, DevnetError> {
        let book = self.ask_to_open(each).await?;
        self.both_open(book.id).await?;
        Ok(book)
    }

    /// Alice asks for a channel with Bob; nothing is waited for.
    pub async fn ask_to_open(&self, each: Amount) -> Result<Book, DevnetError> {
        let terms = Terms {
            participants: [self.alice.address(), self.bob.address()],
            nonce: nonce()?,
            challenge_duration: self.challenge_duration,
            asset: Address::ZERO,
            deposits: [each, each],
        };
        let id = terms.fixed_part(self.apps.consensus).channel_id();
        self.story
            .say(&format!("alice opens channel {} with bob; each deposits {each}", id.short()));
        self.alice.command(Command::Open(terms)).await?;
        Ok(Book { id, alice: each, bob: each })
    }

    async fn both_open(&self, id: ChannelId) -> Result<(), DevnetError> {
        tokio::try_join!(self.alice.when_open(id), self.bob.when_open(id))?;
        Ok(())
    }

    /// Payments to and fro, one after another; how long each took until the payee's node held it durably.
    pub async fn pay_to_and_fro(
        &self,
        book: &mut Book,
        count: u32,
    ) -> Result<Vec<Duration>, DevnetError> {
        self.story.say(&format!("{count} payments in channel {}, to and fro", book.id.short()));
        let mut took = Vec::new();
        for i in 0..count {
            // Bob earns on the whole, so that a mix-up of the two would show.
            let (payer, milli) = if i % 2 == 0 { (Payer::Alice, 3) } else { (Payer::Bob, 1) };
            took.push(self.pay(book, payer, milli_ether(milli)).await?);
        }
        self.story.say(&format!("now alice is due {} and bob {}", book.alice, book.bob));
        Ok(took)
    }

    /// One payment, until both nodes hold it.
    async fn pay(
        &self,
        book: &mut Book,
        payer: Payer,
        amount: Amount,
    ) -> Result<Duration, DevnetError> {
        let overflow = DevnetError::Script("a payment exceeds its channel");
        let (from, to) = match payer {
            Payer::Alice => (book.alice, book.bob),
            Payer::Bob => (book.bob, book.alice),
        };
        let (Some(from), Some(to)) = (from.checked_sub(amount), to.checked_add(amount)) else {
            return Err(overflow);
        };
        let (paying, paid) = match payer {
            Payer::Alice => (&self.alice, &self.bob),
            Payer::Bob => (&self.bob, &self.alice),
        };
        let begun = Instant::now();
        paying.command(Command::Pay { channel: book.id, amount }).await?;
        paid.when_balance(book.id, to).await?;
        let took = begun.elapsed();
        paying.when_balance(book.id, from).await?;
        (book.alice, book.bob) = match payer {
            Payer::Alice => (from, to),
            Payer::Bob => (to, from),
        };
        Ok(took)
    }

    /// A second channel, in which Bob is better off with an old state, and plays it. Alice's node answers, ends the channel by a
    /// challenge of its own and collects.
    pub async fn dispute(&mut self, each: Amount) -> Result<Book, DevnetError> {
        let mut book = self.open(each).await?;
        self.pay(&mut book, Payer::Alice, milli_ether(2_000)).await?;
        let stale = self.bob.when_channel("a state", book.id, |c| c.supported.clone()).await?;
        self.pay(&mut book, Payer::Bob, milli_ether(3_000)).await?;
        let (id, channel) = (book.id, book.id.short());
        let old = balance_in(&stale.state().outcome, 1);
        self.story.say(&format!(
            "channel {channel}: bob is due {}; an old state of turn {} gave him {old}",
            book.bob,
            stale.turn()
        ));
        self.bob.kill().await;
        self.story.say("bob's node goes dark, and his key challenges with that old state on chain");
        self.challenge_with(&stale).await?;
        let answer = |c: &Channel| {
            let latest = c.supported_turn()?;
            c.txs.contains(&WantedTx::Checkpoint { turn: latest }).then_some(latest)
        };
        let turn = self.alice.when_channel("an answer to the challenge", id, answer).await?;
        if turn <= stale.turn() {
            return Err(DevnetError::Script("the answer is not newer than the challenge"));
        }
        self.alice.when_completed("the end of the dispute", id, ObjectiveKind::Dispute).await?;
        self.bob.start(None).await?;
        self.bob.when_completed("the end of the dispute", id, ObjectiveKind::Dispute).await?;
        Ok(book)
    }

    async fn challenge_with(&self, stale: &SignedState) -> Result<(), DevnetError> {
        let call = Call::Challenge {
            proof: Vec::new(),
            candidate: Claim::from(stale),
            challenger_sig: self.bob.key().sign(challenge_hash(stale.hash())),
        };
        self.execute(self.bob.address(), call).await
    }

    /// A transaction of a party's key, without its node.
    pub async fn execute(&self, from: Address, call: Call) -> Result<(), DevnetError> {
        (self.execute)(from, call).await
    }

    /// Alice closes a channel and Bob agrees.
    pub async fn close(&self, book: &Book) -> Result<(), DevnetError> {
        self.story.say(&format!("alice closes channel {} in agreement with bob", book.id.short()));
        self.alice.command(Command::Close { channel: book.id }).await?;
        let kind = ObjectiveKind::DirectDefund;
        tokio::try_join!(
            self.alice.when_completed("the close", book.id, kind),
            self.bob.when_completed("the close", book.id, kind),
        )?;
        Ok(())
    }
}

/// A nonce that no channel had before.
pub fn nonce() -> Result<u64, DevnetError> {
    let mut nonce = [0; 8];
    getrandom::fill(&mut nonce)?;
    Ok(u64::from_be_bytes(nonce))
}

/// Thousandths of an ether.
pub fn milli_ether(n: u64) -> Amount {
    Amount(Amount::wei(1_000_000_000_000_000).0.saturating_mul(Amount::wei(n).0))
}
