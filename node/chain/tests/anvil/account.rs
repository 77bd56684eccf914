//! The gas account: fees, replacements, allowances, and what is held back.

use super::*;

/// Goal: a transaction that is stuck while its deadline comes near is replaced for more, at its nonce. Method: an answer to a
/// challenge, and blocks that leave it out because it is below the base fee.
#[tokio::test]
async fn an_answer_that_is_stuck_is_replaced_for_more() {
    let world = World::new();
    let mut service = world.service(world.plain());
    let (head, _) = service.blocks(0).await;
    let deadline = fairway_core::types::ChainTime(head.time.0 + 10_000);
    let urgency = Urgency::Defence { deadline, window_s: 12_000 };
    let call = deposit(world.channel().channel_id(), 0, 7);
    service.chain.submit(None, call.clone(), urgency, 0);
    broadcasts(&service, 1).await;
    // Beyond what the first one offers, and below what may be offered at most.
    let dear = format!("0x{:x}", 300_000_000_000u64);
    for n in 0.. {
        world.devnet.ask("anvil_setNextBlockBaseFeePerGas", json!([dear])).await;
        world.devnet.mine().await;
        let (_, blocks) = service.blocks(head.number.0 + 1).await;
        service.chain.submit(None, call.clone(), urgency, 0);
        if !logs(&blocks).is_empty() {
            break;
        }
        assert!(n < 30, "it is mined at last");
    }
    assert!(service.chain.counters().replacements.get() >= 1);
    let nonce =
        world.devnet.ask("eth_getTransactionCount", json!([world.alice().address, "latest"])).await;
    assert_eq!(nonce, "0x1");
}

/// Goal: a deposit of a token takes the tokens, though nobody has allowed it by hand, and one allowance serves the next deposit as well.
/// Method: a real token; two deposits, one after another, and then a restart.
#[tokio::test]
async fn a_deposit_of_a_token_is_allowed_first() {
    let world = World::new();
    let alice = world.alice().address;
    let asset = world.devnet.token(alice, 1_000).await;
    let mut service = world.service(world.plain());
    let (head, _) = service.blocks(0).await;
    let deposit = |n: u8, amount: u64| Call::Deposit {
        asset,
        channel: ChannelId(B256::repeat_byte(n)),
        expected_held: Amount::ZERO,
        amount: Amount::wei(amount),
    };
    service.chain.submit(None, deposit(1, 300), Urgency::Normal, 0);
    // Said again while both wait, nothing more is sent.
    service.chain.submit(None, deposit(1, 300), Urgency::Normal, 0);
    broadcasts(&service, 2).await;
    world.devnet.mine().await;
    let (head, blocks) = service.blocks(head.number.0 + 1).await;
    let seen = |n: u8, held: u64| Log::Deposited {
        channel: ChannelId(B256::repeat_byte(n)),
        asset,
        held: Amount::wei(held),
    };
    assert_eq!(logs(&blocks), [seen(1, 300)]);
    for (n, amount, broadcast) in [(2, 200, 3), (3, 100, 1)] {
        if n == 3 {
            service = world.service(world.plain());
            service.blocks(0).await;
        }
        service.chain.submit(None, deposit(n, amount), Urgency::Normal, 0);
        broadcasts(&service, broadcast).await;
        world.devnet.mine().await;
        let (_, blocks) = service.blocks(head.number.0 + u64::from(n) - 1).await;
        assert_eq!(logs(&blocks), [seen(n, amount)]);
        assert_eq!(service.chain.counters().broadcasts.get(), broadcast, "no further allowance");
    }
    assert_eq!(world.devnet.tokens_of(asset, alice).await.to::<u64>(), 400);
    let nonce = world.devnet.ask("eth_getTransactionCount", json!([alice, "latest"])).await;
    assert_eq!(nonce, "0x5", "the token, its allowance, three deposits");
}

/// Goal: an operator offers more for what waits, within the bounds, and one transaction of the nonce is mined. Method: a deposit that no
/// block takes until it was bumped twice, by its nonce and by the hash of what it has replaced by then.
#[tokio::test]
async fn an_operator_offers_more_for_what_waits() {
    let world = World::new();
    let mut service = world.service(world.plain());
    service.blocks(0).await;
    let mut wallet = service.chain.wallet().clone();
    let call = deposit(world.channel().channel_id(), 0, 7);
    service.chain.submit(None, call, Urgency::Normal, 0);
    let waits = wallet.wait_for(|w| w.waiting.iter().any(|tx| tx.hash.is_some()));
    let shown = timeout(PATIENCE, waits).await.unwrap().unwrap();
    let [first] = &shown.waiting[..] else { panic!("{shown:?}") };
    assert_eq!((first.nonce, first.kind, first.is_wanted), (0, "deposit", true));
    assert!(shown.balance.is_some_and(|b| b > Amount::ether(1)));

    let raised = wallet.bump(TxName::Nonce(0), None).await.unwrap();
    assert!(raised.fee.0 * 8 >= first.fee.0 * 9, "{raised:?} after {first:?}");
    let asked = FeePerGas(raised.fee.0 * 2);
    let named = TxName::Hash(first.hash.unwrap());
    let last = wallet.bump(named, Some(asked)).await.unwrap();
    assert_eq!((last.nonce, last.fee), (0, asked));
    let pending = world.devnet.ask("eth_getTransactionByHash", json!([last.hash.unwrap()])).await;
    assert_eq!(pending["maxFeePerGas"], format!("0x{:x}", asked.0));

    let refusals = [
        (TxName::Nonce(0), Some(asked), "fee_too_low"),
        (TxName::Nonce(0), Some(FeePerGas::gwei(201)), "fee_above_cap"),
        (TxName::Nonce(1), None, "nothing_waits"),
        (TxName::Hash(B256::ZERO), None, "nothing_waits"),
    ];
    for (which, fee, code) in refusals {
        assert_eq!(wallet.bump(which, fee).await.map_err(|e| e.code()), Err(code), "{which:?}");
    }
    assert_eq!(service.chain.counters().replacements.get(), 2);
    world.devnet.mine().await;
    let (_, blocks) = service.blocks(0).await;
    assert_eq!(logs(&blocks).len(), 1);
    timeout(PATIENCE, wallet.wait_for(|w| w.waiting.is_empty())).await.unwrap().unwrap();
    let gone = wallet.bump(TxName::Nonce(0), None).await;
    assert_eq!(gone.map_err(|e| e.code()), Err("nothing_waits"));
}

/// Goal: what cannot be paid is not said to be offered. Method: an account with too little for the gas limit at the fee that is asked for.
#[tokio::test]
async fn more_than_the_account_has_is_not_offered() {
    let world = World::new();
    let address = world.alice().address;
    // A hundredth of an ether pays a limit of some 200,000 gas at 50 gwei, and not at 150.
    world.devnet.ask("anvil_setBalance", json!([address, "0x2386f26fc10000"])).await;
    let mut config = Config::default();
    config.fees.defence_gas = 0;
    config.fees.max = FeePerGas::gwei(100);
    config.fees.defence_max = FeePerGas::gwei(100);
    let mut service = world.service_of("alice", world.plain(), &config);
    service.blocks(0).await;
    let claim = world.claim(3, &["alice", "bob"], false);
    let call = Call::Checkpoint { proof: vec![], candidate: claim };
    service.chain.submit(None, call, Urgency::Normal, 0);
    broadcasts(&service, 1).await;
    let poor = service.chain.wallet().bump(TxName::Nonce(0), Some(FeePerGas::gwei(100))).await;
    assert_eq!(poor.map_err(|e| e.code()), Err("no_gas_money"));
}

#[tokio::test]
async fn a_deposit_that_would_leave_too_little_for_defence_is_withheld() {
    let world = World::new();
    let mut config = Config::default();
    config.fees.defence_gas = 1 << 40;
    let mut service = world.service_of("alice", world.plain(), &config);
    service.blocks(0).await;
    let channel = world.channel().channel_id();
    service.chain.submit(None, deposit(channel, 0, 7), Urgency::Normal, 1);
    loop {
        if let Input::DepositWithheld { channel: found, .. } = service.next().await {
            assert_eq!(found, channel);
            return;
        }
    }
}

/// Goal: the largest outcomes that a policy allows are challenged, answered, concluded and paid within the gas that is set. Method: a
/// ledger channel of 130 entries, to accounts that do not exist yet.
#[tokio::test]
async fn the_largest_outcome_fits_into_its_gas() {
    let world = World::new();
    let mut service = world.service(world.plain());
    let fixed = world.channel();
    service.chain.learn(1, [fixed.clone()].into_iter());
    service.blocks(0).await;
    let large = |turn, is_final| {
        let mut claim = world.claim(turn, &[], is_final);
        let share = |n: u16| {
            Allocation::simple(
                Address::left_padding_from(&(n + 4_000).to_be_bytes()),
                Amount::wei(1),
            )
        };
        claim.state.outcome =
            vec![SingleAssetExit::fungible(Address::ZERO, (0..130).map(share).collect())];
        let hash = claim.state.hash();
        claim.sigs = ["alice", "bob"].map(|who| world.key(who).sign(hash)).to_vec();
        claim
    };
    let (stale, newer, last) = (large(3, false), large(5, false), large(9, true));
    let challenger_sig = world.key("alice").sign(challenge_hash(stale.state.hash()));
    let calls = [
        deposit(fixed.channel_id(), 0, 130),
        Call::Challenge { proof: vec![], candidate: stale, challenger_sig },
        Call::Checkpoint { proof: vec![], candidate: newer },
        Call::ConcludeAndTransferAllAssets { candidate: last },
    ];
    for (n, call) in (1..).zip(calls) {
        service.chain.submit(None, call, Urgency::Normal, 0);
        broadcasts(&service, n).await;
        world.devnet.mine().await;
        service.blocks(0).await;
    }
    let (_, blocks) = service.blocks(0).await;
    let paid = |l: &Log| matches!(l, Log::AllocationUpdated { after, .. } if after.is_zero());
    assert!(logs(&blocks).iter().any(paid), "{:?}", logs(&blocks));
}

#[tokio::test]
async fn an_account_without_money_is_reported() {
    let world = World::new();
    let address = world.alice().address;
    world.devnet.ask("anvil_setBalance", json!([address, "0x0"])).await;
    let mut service = world.service(world.plain());
    service.blocks(0).await;
    let claim = world.claim(3, &["alice", "bob"], false);
    service.chain.submit(
        None,
        Call::Checkpoint { proof: vec![], candidate: claim },
        Urgency::Normal,
        0,
    );
    let health = service.healthy(|h| h.reasons.contains_key(&Trouble::NoGasMoney)).await;
    assert!(health.reasons[&Trouble::NoGasMoney].contains("0 wei"), "{health:?}");
}
