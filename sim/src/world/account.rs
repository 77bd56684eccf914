//! The chain port of a party: honest ones hold core's account, adversaries a wallet that pays whatever a block takes.

use std::collections::VecDeque;

use fairway_core::account::{Account, Answer, Tx, Withheld};
use fairway_core::effect::Urgency;
use fairway_core::effect::Wish;
use fairway_core::input::Input;
use fairway_core::nitro::Call;
use fairway_core::types::Timestamp;

use super::{Act, EPOCH_MS, World};
use crate::observe::{Observed, PartyId};

impl World {
    /// A node wants a transaction to be mined.
    pub(super) fn submit(
        &mut self,
        id: PartyId,
        wish: Option<Wish>,
        call: Call,
        urgency: Urgency,
        at_stake: u64,
    ) {
        if self.parties[id.0].strategy.is_some() {
            self.observe(&Observed::Submitted { node: id, call: &call });
            let (at, from) = (self.submitted_at(), self.parties[id.0].key.address());
            let tx = self.chain.submit(at, from, call);
            return self.submitted(id, tx);
        }
        self.open_account(id);
        let Some(account) = &mut self.parties[id.0].account else { return };
        match account.submit(wish, call, urgency, at_stake) {
            Ok(txs) => self.broadcast(id, txs),
            Err(Withheld::Reserve { channel, missing }) => {
                let incarnation = self.parties[id.0].incarnation;
                let input = Input::DepositWithheld { channel, missing };
                self.act(Act::Input { party: id, incarnation, input });
            }
        }
    }

    /// A node wants a transaction no more. An adversary's wallet has sent it.
    pub(super) fn withdraw(&mut self, id: PartyId, wish: &Wish) {
        if let Some(account) = &mut self.parties[id.0].account {
            account.withdraw(wish);
        }
    }

    /// A party's account hears of a new head, if the endpoint tells one.
    pub(super) fn tell_account(&mut self, id: PartyId) {
        let party = &mut self.parties[id.0];
        let Some(account) = party.account.as_mut().filter(|_| party.up) else { return };
        let (endpoint, address) = (party.endpoint, party.key.address());
        let Ok(head) = self.chain.account_head(endpoint, address) else { return };
        let hashes = account.open().map(|(_, hash)| hash);
        let unknown = hashes.filter(|hash| self.chain.has_dropped(*hash)).collect();
        let txs = account.block(head, &unknown);
        self.broadcast(id, txs);
    }

    /// After a start the account knows what the endpoint says. While that says nothing, nothing is submitted, and the node asks again.
    pub(super) fn open_account(&mut self, id: PartyId) {
        let party = &mut self.parties[id.0];
        if party.account.is_none()
            && let Ok(head) = self.chain.account_head(party.endpoint, party.key.address())
        {
            party.account = Some(Account::new(&party.config, head));
        }
    }

    fn broadcast(&mut self, id: PartyId, txs: Vec<Tx>) {
        let mut txs = VecDeque::from(txs);
        while let Some(tx) = txs.pop_front() {
            let (at, from) = (self.submitted_at(), self.parties[id.0].key.address());
            self.observe(&Observed::Submitted { node: id, call: &tx.call });
            let replaced = self.chain.pending_at(from, tx.nonce);
            let answer = self.chain.send(at, from, &tx);
            if matches!(answer, Answer::Taken(_)) {
                if replaced.is_some_and(|(_, fee)| fee < tx.fee) {
                    self.goals.reach("fee-raised");
                }
                if let Some((tx, _)) = self.chain.pending_at(from, tx.nonce) {
                    self.submitted(id, tx);
                }
            }
            if let Some(account) = &mut self.parties[id.0].account {
                txs.extend(account.sent(&tx, answer));
            }
        }
    }

    fn submitted_at(&self) -> Timestamp {
        Timestamp(EPOCH_MS + self.now / 1_000_000)
    }
}
