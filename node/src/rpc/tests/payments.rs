//! Payments that are repeated, in one process and over a restart; vouchers that are not worth what they say.

use serde_json::{Value, json};

use super::world::{World, settings};
use crate::rpc::error::Code;

fn code(outcome: Result<Value, Value>) -> Option<i64> {
    outcome.err().and_then(|error| error["code"].as_i64())
}

/// Goal: a payment that is repeated is made once. Method: the same key many times at once, then later, then with another payment;
/// then the same `after` over a restart, where keys are forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_payment_is_made_once() {
    let mut world = World::start(2, settings()).await;
    let ledger = world.alice().open_ledger(world.bob(), "1000").await;
    let keyed =
        |amount: &str| json!({ "channel": ledger, "amount": amount, "idempotency_key": "order 1" });
    let alice = world.alice();
    let (a, b, c) = tokio::join!(
        alice.call("fairway_pay", keyed("5")),
        alice.call("fairway_pay", keyed("5")),
        alice.call("fairway_pay", keyed("5")),
    );
    assert_eq!(a.as_ref().unwrap()["position"], "1");
    assert_eq!([&b, &c], [&a, &a]);
    assert_eq!(alice.call("fairway_pay", keyed("5")).await, a);
    assert_eq!(code(alice.call("fairway_pay", keyed("6")).await), Some(Code::KeyReused as i64));
    // Another caller's key is another key, and what was refused may be tried again.
    let bearer = alice.bearer("other", crate::rpc::token::Scope::Operate);
    let other = alice.call_as(Some(&bearer), "fairway_pay", keyed("7")).await;
    assert_eq!(other.json()["result"]["position"], "2");
    let mut dear = keyed("100000");
    dear["idempotency_key"] = json!("order 2");
    for _ in 0..2 {
        let refused = alice.call("fairway_pay", dear.clone()).await.unwrap_err();
        assert_eq!(refused["data"]["refusal"], "exceeds_balance");
    }
    for key in ["", &"k".repeat(129)] {
        let mut asked = keyed("1");
        asked["idempotency_key"] = json!(key);
        assert_eq!(code(alice.call("fairway_pay", asked).await), Some(Code::Params as i64));
    }
    alice.sees(&ledger, "balance", "988").await;

    let third = json!({ "channel": ledger, "amount": "11", "after": "2" });
    world.alice().call("fairway_pay", third.clone()).await.unwrap();
    world.parties[0].restart().await;
    let repeated = world.alice().call("fairway_pay", third).await.unwrap_err();
    assert_eq!(repeated["code"], Code::Moved as i64);
    assert_eq!(repeated["data"]["position"], "3");
    world.alice().sees(&ledger, "balance", "977").await;
}

/// Goal: a channel that is opened twice with one key is one channel, also over a restart, and never one on other terms.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_opening_opens_one_channel() {
    let mut world = World::start(2, settings()).await;
    let bob = world.bob().address();
    let asked = |deposit: &str| json!({ "peer": bob, "deposit": deposit, "peer_deposit": "1", "idempotency_key": "k" });
    let opening = world.alice().call("fairway_ledgerOpen", asked("10")).await.unwrap();
    assert_eq!(world.alice().call("fairway_ledgerOpen", asked("10")).await.unwrap(), opening);
    world.parties[0].restart().await;
    assert_eq!(world.alice().call("fairway_ledgerOpen", asked("10")).await.unwrap(), opening);
    // Deposits are no part of a channel's id; the challenge duration is.
    let other = world.alice().call("fairway_ledgerOpen", asked("11")).await.unwrap_err();
    assert_eq!(other["data"]["refusal"], "channel_used", "{other}");
    let mut longer = asked("10");
    longer["challenge_duration_s"] = json!(60);
    let other = world.alice().call("fairway_ledgerOpen", longer).await;
    assert_eq!(code(other), Some(Code::KeyReused as i64));
    world.alice().done(&opening["objective"]).await;
    let all = world.alice().call("fairway_ledgers", json!({})).await.unwrap();
    assert_eq!(all["ledgers"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_payers_word_is_credited_and_only_once() {
    let world = World::start(3, settings()).await;
    let (alice, irene, bob) = (world.alice(), world.irene(), world.bob());
    alice.open_ledger(irene, "1000").await;
    irene.open_ledger(bob, "1000").await;
    let asked = json!({ "payee": bob.address(), "intermediaries": [irene.address()], "amount": "100", "idempotency_key": "k" });
    let opening = alice.call("fairway_channelOpen", asked.clone()).await.unwrap();
    assert_eq!(alice.call("fairway_channelOpen", asked).await.unwrap(), opening);
    alice.done(&opening["objective"]).await;
    bob.done(&opening["objective"]).await;
    let channel = &opening["channel"];
    let pay = json!({ "channel": channel, "amount": "10", "after": "0" });
    let voucher = alice.call("fairway_voucherCreate", pay.clone()).await.unwrap();
    assert_eq!(code(alice.call("fairway_voucherCreate", pay).await), Some(Code::Moved as i64));

    let receive = async |voucher: &Value| {
        bob.call("fairway_voucherReceive", json!({ "voucher": voucher })).await
    };
    let credited = receive(&voucher).await.unwrap();
    assert_eq!(credited, json!({ "total": "10", "delta": "10" }));
    assert_eq!(receive(&voucher).await.unwrap(), json!({ "total": "10", "delta": "0" }));
    let altered = |key: &str, value: &str| {
        let mut altered = voucher.clone();
        altered[key] = json!(value);
        altered
    };
    let signature = voucher["signature"].as_str().unwrap();
    let unknown = format!("0x{}", "11".repeat(32));
    for (altered, code, refusal) in [
        (altered("amount", "11"), Code::Refused, json!("signature_invalid")),
        (altered("amount", "9"), Code::Refused, json!("signature_invalid")),
        (
            altered("signature", &signature.replace('1', "2")),
            Code::Refused,
            json!("signature_invalid"),
        ),
        (altered("signature", "0x00"), Code::Params, json!(null)),
        (altered("channel", &unknown), Code::NotFound, json!(null)),
    ] {
        let error = receive(&altered).await.unwrap_err();
        assert_eq!(error["code"], code as i64, "{error}");
        assert_eq!(error["data"]["refusal"], refusal, "{error}");
    }
    let elsewhere =
        alice.call("fairway_voucherReceive", json!({ "voucher": voucher })).await.unwrap_err();
    assert_eq!(elsewhere["data"]["refusal"], "not_payee");
    assert_eq!(bob.call("fairway_voucher", json!({ "channel": channel })).await.unwrap(), voucher);
    let in_ledger = json!({ "channel": unknown, "amount": "1" });
    assert_eq!(
        code(alice.call("fairway_voucherCreate", in_ledger).await),
        Some(Code::NotFound as i64)
    );
}

/// Goal: what is pursued says what it waits for and until when. Method: a peer that does not exist.
#[tokio::test(flavor = "multi_thread")]
async fn an_objective_says_what_it_waits_for() {
    let world = World::alone(settings()).await;
    let alice = world.alice();
    let nobody = format!("0x{}", "09".repeat(20));
    let opening =
        alice.call("fairway_ledgerOpen", json!({ "peer": nobody, "deposit": "5" })).await.unwrap();
    let asked = json!({ "objective": opening["objective"] });
    let goal = alice.call("fairway_objective", asked).await.unwrap();
    assert_eq!(goal["status"], "approved");
    assert_eq!(goal["waiting_for"], "everybody's signature on the prefund");
    let (since, until) = (goal["since_ms"].as_u64().unwrap(), goal["until_ms"].as_u64().unwrap());
    assert!(until > since && until - since <= 120_000, "{goal}");
    assert!(goal["then"].as_str().unwrap().contains("nothing is at stake"), "{goal}");
    // The caller has seen that already: the time is up first.
    let wait =
        json!({ "objective": opening["objective"], "seen": goal["waiting_for"], "timeout_ms": 1 });
    assert_eq!(alice.call("fairway_objectiveWait", wait).await.unwrap(), goal);
    let wait = json!({ "objective": opening["objective"], "seen": "something else" });
    assert_eq!(alice.call("fairway_objectiveWait", wait).await.unwrap(), goal);
    for timeout_ms in [0, 30_001] {
        let wait = json!({ "objective": opening["objective"], "timeout_ms": timeout_ms });
        assert_eq!(
            code(alice.call("fairway_objectiveWait", wait).await),
            Some(Code::Params as i64)
        );
    }
    let live = alice.call("fairway_objectives", json!({})).await.unwrap();
    assert_eq!(live["objectives"], json!([goal]));
    let close = alice.call("fairway_ledgerClose", json!({ "channel": opening["channel"] })).await;
    assert_eq!(close.unwrap_err()["data"]["refusal"], "not_open");
}
