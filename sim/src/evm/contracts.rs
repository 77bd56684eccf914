//! The contracts on a chain of their own: deployed at chosen addresses, called with encoded calldata, read slot by slot.
//!
//! Gas costs nothing and nonces are not counted, as in the model's world. Not here: blocks, a mempool, a choice of what is called.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use alloy_primitives::{Address, B256, Bytes, LogData, TxKind, U256};
use alloy_sol_types::{SolCall, SolValue};
use fairway_core::nitro::{Call, Claim};
use fairway_core::types::{Amount, ChainTime};
use revm::context::result::{EVMError, ExecutionResult, InvalidTransaction, Output};
use revm::context::{BlockEnv, Context, TxEnv};
use revm::database::{CacheDB, EmptyDB};
use revm::primitives::hardfork::SpecId;
use revm::state::{AccountInfo, Bytecode as Code};
use revm::{ExecuteCommitEvm, ExecuteEvm, MainBuilder, MainContext, MainnetEvm};

use super::abi;
use super::artefacts::{ArtefactsError, Bytecode};
use super::calls::{self, mapping};

type Db = CacheDB<EmptyDB>;
type Evm<'a> = MainnetEvm<revm::handler::MainnetContext<&'a mut Db>>;

/// Where everything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// `NitroAdjudicator`.
    pub adjudicator: Address,
    /// `ConsensusApp`.
    pub consensus_app: Address,
    /// `VirtualPaymentApp`, where there is one.
    pub payment_app: Option<Address>,
}

/// What a call did: the adjudicator's logs, or why it did nothing, in the words of the model's reasons.
pub type Executed = Result<Vec<LogData>, String>;

/// The contracts, and everybody's accounts.
///
/// Cheap enough to clone for every block: code is shared, the rest is what was written.
#[derive(Clone, Debug)]
pub struct Contracts {
    db: Db,
    addresses: Addresses,
    /// People at whose address there is a contract that takes no native tokens.
    refusing: BTreeSet<Address>,
}

/// A contract as its constructor left it.
#[derive(Clone, Debug)]
struct Deployed {
    code: Code,
    storage: BTreeMap<U256, U256>,
}

/// Everything that can be placed at an address.
#[derive(Debug)]
struct Templates {
    adjudicator: Deployed,
    consensus_app: Deployed,
    payment_app: Deployed,
    token: Deployed,
}

impl Contracts {
    /// The contracts at these addresses, before the first call. Nobody owns anything.
    ///
    /// # Errors
    /// The bytecode is not installed.
    pub fn deploy(addresses: Addresses) -> Result<Contracts, ArtefactsError> {
        let templates = Templates::get()?;
        let mut contracts = Contracts { db: Db::default(), addresses, refusing: BTreeSet::new() };
        contracts.place(addresses.adjudicator, &templates.adjudicator);
        contracts.place(addresses.consensus_app, &templates.consensus_app);
        if let Some(payment_app) = addresses.payment_app {
            contracts.place(payment_app, &templates.payment_app);
        }
        Ok(contracts)
    }

    /// Where everything is.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Gives `who` money. An asset that is not the native one becomes a token at its address, of which the adjudicator may take all
    /// that `who` owns.
    ///
    /// # Panics
    /// When an asset's supply would reach 2^256.
    pub fn mint(&mut self, asset: Address, who: Address, amount: Amount) {
        let add = |word: U256| word.checked_add(amount.0).expect("a supply is below 2^256");
        if asset.is_zero() {
            let mut info = self.info(who);
            info.balance = add(info.balance);
            self.db.insert_account_info(who, info);
            return;
        }
        if !self.has_code(asset) {
            let templates = Templates::get().expect("it was there when this was deployed");
            self.place(asset, &templates.token);
        }
        let slots = [token_slot(who), U256::from(TOKEN_SUPPLY)];
        for slot in slots {
            let word = add(self.word(asset, slot));
            self.put(asset, slot, word);
        }
        let of_owner = mapping(who.into_word(), B256::with_last_byte(TOKEN_ALLOWANCES));
        let allowance = mapping(self.addresses.adjudicator.into_word(), of_owner);
        self.put(asset, U256::from_be_bytes(allowance.0), U256::MAX);
    }

    /// Who takes no native tokens from now on, beside the contracts, which never do.
    ///
    /// A person who refuses still sends transactions, as an account with delegated code can.
    pub fn set_refusing(&mut self, refusing: &BTreeSet<Address>) {
        let refusing = || refusing.iter().copied();
        let code = Code::new_legacy(Bytes::from_static(REFUSES));
        let changed = |who: &Address| !self.has_code(*who) && !self.refusing.contains(who);
        let newly: Vec<_> = refusing().filter(changed).collect();
        let kept: BTreeSet<_> = refusing().filter(|who| self.refusing.contains(who)).collect();
        let no_more: Vec<_> = self.refusing.difference(&kept).copied().collect();
        for who in &newly {
            let info = self.info(*who).with_code(code.clone());
            self.db.insert_account_info(*who, info);
        }
        for who in no_more {
            let info = self.info(who).with_code(Code::default());
            self.db.insert_account_info(who, info);
        }
        self.refusing = kept.into_iter().chain(newly).collect();
    }

    /// One transaction of `from` in a block of its own.
    pub fn call(&mut self, now: ChainTime, from: Address, call: &Call) -> Executed {
        let adjudicator = self.addresses.adjudicator;
        let block = BlockEnv { timestamp: U256::from(now.0), ..BlockEnv::default() };
        let (value, data) = (calls::value(call), calls::calldata(call).into());
        let tx = transaction(from, TxKind::Call(adjudicator), value, data);
        let mut evm = evm(&mut self.db);
        evm.set_block(block);
        let result = match evm.transact_commit(tx) {
            Ok(result) => result,
            Err(EVMError::Transaction(InvalidTransaction::LackOfFundForMaxFee { .. })) => {
                return Err("insufficient funds".into());
            }
            Err(error) => return Err(format!("no valid transaction: {error}")),
        };
        match result {
            ExecutionResult::Success { logs, .. } => {
                let own = logs.into_iter().filter(|log| log.address == adjudicator);
                Ok(own.map(|log| log.data).collect())
            }
            ExecutionResult::Revert { output, .. } => Err(calls::reason(&output)),
            ExecutionResult::Halt { reason, .. } => Err(format!("halted: {reason:?}")),
        }
    }

    /// `stateIsSupported`, as a view: nothing is kept of the call.
    ///
    /// # Errors
    /// Why not, in the application's words.
    pub fn is_supported(&mut self, proof: &[Claim], candidate: &Claim) -> Result<(), String> {
        let call = abi::stateIsSupportedCall {
            fixedPart: abi::fixed(&candidate.state.fixed),
            proof: proof.iter().map(abi::signed).collect(),
            candidate: abi::signed(candidate),
        };
        let to = TxKind::Call(self.addresses.adjudicator);
        let tx = transaction(Address::ZERO, to, U256::ZERO, call.abi_encode().into());
        let viewed = evm(&mut self.db).transact(tx).map_err(|e| e.to_string())?;
        match viewed.result {
            ExecutionResult::Success { output, .. } => {
                let answer = abi::stateIsSupportedCall::abi_decode_returns(&output.into_data());
                let answer = answer.map_err(|e| e.to_string())?;
                if answer._0 { Ok(()) } else { Err(answer._1) }
            }
            ExecutionResult::Revert { output, .. } => Err(calls::reason(&output)),
            ExecutionResult::Halt { reason, .. } => Err(format!("halted: {reason:?}")),
        }
    }

    /// Every word of the adjudicator's storage that is not zero.
    pub fn storage(&self) -> BTreeMap<U256, U256> {
        self.words(self.addresses.adjudicator)
    }

    /// What `who` owns of `asset`.
    pub fn balance(&self, asset: Address, who: Address) -> Amount {
        if asset.is_zero() {
            return Amount(self.info(who).balance);
        }
        Amount(self.word(asset, token_slot(who)))
    }

    fn place(&mut self, at: Address, deployed: &Deployed) {
        let info = self.info(at).with_code(deployed.code.clone());
        self.db.insert_account_info(at, info);
        for (slot, word) in &deployed.storage {
            self.put(at, *slot, *word);
        }
    }

    fn info(&self, who: Address) -> AccountInfo {
        self.db.cache.accounts.get(&who).map(|a| a.info.clone()).unwrap_or_default()
    }

    fn has_code(&self, who: Address) -> bool {
        !self.info(who).is_empty_code_hash()
    }

    fn word(&self, at: Address, slot: U256) -> U256 {
        let account = self.db.cache.accounts.get(&at);
        account.and_then(|a| a.storage.get(&slot)).copied().unwrap_or_default()
    }

    fn words(&self, at: Address) -> BTreeMap<U256, U256> {
        let storage = self.db.cache.accounts.get(&at).map(|account| account.storage.iter());
        let words = storage.into_iter().flatten().filter(|(_, word)| !word.is_zero());
        words.map(|(slot, word)| (*slot, *word)).collect()
    }

    fn put(&mut self, at: Address, slot: U256, word: U256) {
        let Ok(()) = self.db.insert_account_storage(at, slot, word);
    }

    /// Who owns native tokens, and every contract's storage.
    fn state(&self) -> BTreeMap<Address, (U256, B256, BTreeMap<U256, U256>)> {
        let of = |who: &Address| {
            let info = self.info(*who);
            (*who, (info.balance, info.code_hash, self.words(*who)))
        };
        let all = self.db.cache.accounts.keys().map(of);
        all.filter(|(who, (balance, _, _))| !balance.is_zero() || self.has_code(*who)).collect()
    }
}

/// Two are equal when no call could tell them apart; nonces are not counted.
impl PartialEq for Contracts {
    fn eq(&self, other: &Contracts) -> bool {
        self.addresses == other.addresses && self.state() == other.state()
    }
}

impl Templates {
    /// Every contract, created once in a process.
    fn get() -> Result<&'static Templates, ArtefactsError> {
        static TEMPLATES: OnceLock<Templates> = OnceLock::new();
        let bytecode = Bytecode::installed()?;
        Ok(TEMPLATES.get_or_init(|| Templates::create(bytecode)))
    }

    fn create(bytecode: &Bytecode) -> Templates {
        let constructor = (String::from("Token"), String::from("T"), U256::ZERO, CREATOR);
        let token = [bytecode.token.as_ref(), &constructor.abi_encode_params()].concat();
        Templates {
            adjudicator: create(bytecode.adjudicator.clone()),
            consensus_app: create(bytecode.consensus_app.clone()),
            payment_app: create(bytecode.payment_app.clone()),
            token: create(token.into()),
        }
    }
}

/// Runs creation code, so that what is placed elsewhere later has its immutables and its first storage.
fn create(data: Bytes) -> Deployed {
    let mut db = Db::default();
    let tx = transaction(CREATOR, TxKind::Create, U256::ZERO, data);
    let result = evm(&mut db).transact_commit(tx).expect("an account may create contracts");
    let ExecutionResult::Success { output: Output::Create(_, Some(at)), .. } = result else {
        panic!("the pinned bytecode can be created, found {result:?}");
    };
    let account = &db.cache.accounts[&at];
    let code = db.cache.contracts[&account.info.code_hash].clone();
    let storage = account.storage.iter().map(|(slot, word)| (*slot, *word)).collect();
    Deployed { code, storage }
}

fn evm(db: &mut Db) -> Evm<'_> {
    let context = Context::mainnet().with_db(db).modify_cfg_chained(|cfg| {
        cfg.set_spec_and_mainnet_gas_params(SpecId::SHANGHAI);
        cfg.disable_nonce_check = true;
        // A person who refuses payments has code and sends transactions.
        cfg.disable_eip3607 = true;
    });
    context.build_mainnet()
}

fn transaction(caller: Address, kind: TxKind, value: U256, data: Bytes) -> TxEnv {
    TxEnv { caller, kind, value, data, gas_limit: GAS, ..TxEnv::default() }
}

/// Where OpenZeppelin's token keeps what `who` owns.
fn token_slot(who: Address) -> U256 {
    U256::from_be_bytes(mapping(who.into_word(), B256::ZERO).0)
}

/// The slot of `_allowances` in OpenZeppelin's token; `_balances` is in slot 0.
const TOKEN_ALLOWANCES: u8 = 1;
/// The slot of `_totalSupply`.
const TOKEN_SUPPLY: u8 = 2;
/// Nobody else: creates contracts on a chain that is thrown away.
const CREATOR: Address = Address::repeat_byte(0xc0);
/// PUSH1 0 PUSH1 0 REVERT.
const REFUSES: &[u8] = &[0x60, 0, 0x60, 0, 0xfd];
/// More than any call needs.
const GAS: u64 = 16_000_000;
