//! What each command asks and prints.

use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::args::{
    Asking, ChannelCommand, LedgerCommand, ObjectiveCommand, PaymentArgs, PeerCommand, Tokens,
    TxCommand, VoucherCommand, WaitArgs,
};
use super::{Client, ClientError, show, wait};
use crate::rpc::ours::ledgers::One;
use crate::rpc::ours::objectives::Which;
use crate::rpc::ours::open::{Opening, Pursued};
use crate::rpc::ours::payments::{Made, Pay, Receive, Received, Voucher};
use crate::rpc::ours::status::{Peer, Status};
use crate::rpc::ours::transactions::Bump;
use crate::rpc::ours::{channels, ledgers};
use crate::rpc::token;
use crate::rpc::view::{Goal, Ledger, LifePhase, Transaction, Virtual, Waiting};

/// Where a command writes.
pub struct Output<'a> {
    /// Results.
    pub out: &'a mut (dyn Write + Send),
    /// Progress.
    pub progress: &'a mut (dyn Write + Send),
    /// Whether results are one JSON document.
    pub json: bool,
}

impl Output<'_> {
    fn print<T: Serialize>(
        &mut self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), ClientError> {
        let text = if self.json { json_text(value) } else { text(value) };
        Ok(self.out.write_all(text.as_bytes())?)
    }
}

fn json_text(value: &impl Serialize) -> String {
    format!("{:#}\n", json!(value))
}

/// Asks the node and prints what it says.
///
/// # Errors
/// [`ClientError`], with its exit code.
pub async fn carry_out(asking: &Asking, output: &mut Output<'_>) -> Result<(), ClientError> {
    let client = &Client::new(&asking.at().target()?)?;
    match asking {
        Asking::Ledger(args) => ledger(client, &args.command, output).await,
        Asking::Channel(args) => channel(client, &args.command, output).await,
        Asking::Pay(args) => {
            let made: Made = client.call("fairway_pay", &payment(&args.payment)).await?;
            output.print(&made, |made| format!("paid; the channel stands at {}\n", made.position))
        }
        Asking::Voucher(args) => voucher(client, &args.command, output).await,
        Asking::Objective(args) => objective(client, &args.command, output).await,
        Asking::Challenge(args) => {
            let asked = One { channel: args.channel };
            let pursued: Pursued = client.call("fairway_challenge", &asked).await?;
            followed(client, pursued, &args.wait, output).await
        }
        Asking::Tx(args) => tx(client, &args.command, output).await,
        Asking::Peer(args) => {
            let PeerCommand::List = args.command;
            let found: Vec<Peer> = pages(client, "fairway_peers", json!({}), "peers").await?;
            output.print(&found, |all| show::peers(all))
        }
        Asking::Status(_) => {
            let status: Status = client.call("fairway_status", &json!({})).await?;
            output.print(&status, show::status)?;
            if status.health == "ok" {
                return Ok(());
            }
            Err(ClientError::Failed("the node is degraded; the troubles are above".into()))
        }
    }
}

async fn ledger(
    client: &Client,
    command: &LedgerCommand,
    output: &mut Output<'_>,
) -> Result<(), ClientError> {
    match command {
        LedgerCommand::Open {
            peer,
            deposit,
            peer_deposit,
            asset,
            challenge_duration,
            key,
            wait,
        } => {
            let asked = ledgers::Open {
                peer: *peer,
                deposit: *deposit,
                peer_deposit: Some(*peer_deposit),
                asset: *asset,
                challenge_duration_s: seconds(*challenge_duration)?,
                idempotency_key: key.clone(),
            };
            let opening: Opening = client.call("fairway_ledgerOpen", &asked).await?;
            opened(client, opening, wait, output).await
        }
        LedgerCommand::Close { channel, wait } => {
            let asked = One { channel: *channel };
            let pursued: Pursued = client.call("fairway_ledgerClose", &asked).await?;
            followed(client, pursued, wait, output).await
        }
        LedgerCommand::List { peer, all } => {
            let asked = json!({ "peer": peer });
            let mut found: Vec<Ledger> = pages(client, "fairway_ledgers", asked, "ledgers").await?;
            found.retain(|l| *all || l.phase != LifePhase::Finished);
            output.print(&found, |all| show::ledgers(all))
        }
        LedgerCommand::Show { channel } => {
            let found: Ledger = client.call("fairway_ledger", &One { channel: *channel }).await?;
            output.print(&found, show::ledger)
        }
    }
}

async fn channel(
    client: &Client,
    command: &ChannelCommand,
    output: &mut Output<'_>,
) -> Result<(), ClientError> {
    match command {
        ChannelCommand::Open {
            payee,
            via,
            amount,
            asset,
            ledger,
            challenge_duration,
            key,
            wait,
        } => {
            let asked = channels::Open {
                payee: *payee,
                intermediaries: via.clone(),
                amount: *amount,
                asset: *asset,
                ledger: *ledger,
                challenge_duration_s: seconds(*challenge_duration)?,
                idempotency_key: key.clone(),
            };
            let opening: Opening = client.call("fairway_channelOpen", &asked).await?;
            opened(client, opening, wait, output).await
        }
        ChannelCommand::Close { channel, wait } => {
            let asked = One { channel: *channel };
            let pursued: Pursued = client.call("fairway_channelClose", &asked).await?;
            followed(client, pursued, wait, output).await
        }
        ChannelCommand::List { ledger, all } => {
            let asked = json!({ "ledger": ledger });
            let mut found: Vec<Virtual> =
                pages(client, "fairway_channels", asked, "channels").await?;
            found.retain(|v| *all || v.phase != LifePhase::Finished);
            output.print(&found, |all| show::channels(all))
        }
        ChannelCommand::Show { channel } => {
            let found: Virtual = client.call("fairway_channel", &One { channel: *channel }).await?;
            output.print(&found, show::channel)
        }
    }
}

async fn voucher(
    client: &Client,
    command: &VoucherCommand,
    output: &mut Output<'_>,
) -> Result<(), ClientError> {
    match command {
        VoucherCommand::Create(args) => {
            let made: Voucher = client.call("fairway_voucherCreate", &payment(args)).await?;
            output.print(&made, json_text)
        }
        VoucherCommand::Receive { file } => {
            let voucher = read_voucher(file)?;
            let received: Received =
                client.call("fairway_voucherReceive", &Receive { voucher }).await?;
            output.print(&received, |r| format!("adds {}, in all {}\n", r.delta, r.total))
        }
        VoucherCommand::Show { channel } => {
            let found: Voucher = client.call("fairway_voucher", &One { channel: *channel }).await?;
            output.print(&found, json_text)
        }
    }
}

async fn tx(
    client: &Client,
    command: &TxCommand,
    output: &mut Output<'_>,
) -> Result<(), ClientError> {
    match command {
        TxCommand::List { channel, all } => {
            let asked = json!({ "channel": channel, "all": all });
            let found: Vec<Transaction> =
                pages(client, "fairway_transactions", asked, "transactions").await?;
            output.print(&found, |all| show::transactions(all))
        }
        TxCommand::Bump { transaction, fee } => {
            let asked = Bump { transaction: *transaction, fee: *fee };
            let bumped: Waiting = client.call("fairway_transactionBump", &asked).await?;
            output.print(&bumped, show::bumped)
        }
    }
}

async fn objective(
    client: &Client,
    command: &ObjectiveCommand,
    output: &mut Output<'_>,
) -> Result<(), ClientError> {
    match command {
        ObjectiveCommand::List { channel, all } => {
            let asked = json!({ "channel": channel, "all": all });
            let found: Vec<Goal> = pages(client, "fairway_objectives", asked, "objectives").await?;
            output.print(&found, |all| show::goals(all))
        }
        ObjectiveCommand::Show { objective, wait } => {
            let objective = *objective;
            let goal = if wait.wait {
                wait::until_ended(client, objective, wait.timeout, output.progress).await?
            } else {
                client.call("fairway_objective", &Which { objective }).await?
            };
            output.print(&goal, show::goal)
        }
    }
}

/// Prints a new channel, once it is open where that is waited for.
async fn opened(
    client: &Client,
    opening: Opening,
    wait: &WaitArgs,
    output: &mut Output<'_>,
) -> Result<(), ClientError> {
    if wait.wait {
        wait::until_ended(client, opening.objective, wait.timeout, output.progress).await?;
    }
    let done = if wait.wait {
        "is open"
    } else {
        "is being opened; wait with: fairway objective show --wait"
    };
    output.print(&opening, |o| format!("channel {} {done}\n{}\n", o.channel, o.objective))
}

/// Prints an objective, once it is done where that is waited for.
async fn followed(
    client: &Client,
    pursued: Pursued,
    wait: &WaitArgs,
    output: &mut Output<'_>,
) -> Result<(), ClientError> {
    if wait.wait {
        wait::until_ended(client, pursued.objective, wait.timeout, output.progress).await?;
    }
    let done = if wait.wait { "done" } else { "under way" };
    output.print(&pursued, |p| format!("{}: {done}\n", p.objective))
}

/// All pages of a list.
async fn pages<T: DeserializeOwned>(
    client: &Client,
    method: &str,
    mut asked: Value,
    key: &str,
) -> Result<Vec<T>, ClientError> {
    let mut all = Vec::new();
    asked["limit"] = json!(500);
    loop {
        let mut page: Value = client.call(method, &asked).await?;
        let part = page.get_mut(key).map(Value::take).unwrap_or_default();
        let part: Vec<T> = serde_json::from_value(part)
            .map_err(|e| client.not_a_node(format!("{method}: {e}")))?;
        all.extend(part);
        match page.get("next").and_then(Value::as_str) {
            Some(next) => asked["cursor"] = json!(next),
            None => return Ok(all),
        }
    }
}

fn payment(args: &PaymentArgs) -> Pay {
    Pay {
        channel: args.channel,
        amount: args.amount,
        after: args.after,
        idempotency_key: args.key.clone(),
    }
}

fn read_voucher(file: &Path) -> Result<Voucher, ClientError> {
    let usage = |why: String| ClientError::Usage(format!("{}: {why}", file.display()));
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map_err(|e| usage(e.to_string()))?;
    } else {
        text = std::fs::read_to_string(file).map_err(|e| usage(e.to_string()))?;
    }
    serde_json::from_str(&text).map_err(|e| usage(format!("not a voucher: {e}")))
}

fn seconds(duration: Option<Duration>) -> Result<Option<u32>, ClientError> {
    let too_long = |_| ClientError::Usage("--challenge-duration: longer than a century".into());
    duration.map(|d| u32::try_from(d.as_secs()).map_err(too_long)).transpose()
}

/// Changes or lists the tokens of a data directory.
///
/// # Errors
/// [`ClientError`].
pub fn tokens(command: &Tokens, output: &mut Output<'_>, now_ms: u64) -> Result<(), ClientError> {
    match command {
        Tokens::Create { name, scope, expires, data_dir } => {
            let ends = expires.map(|after| now_ms.saturating_add(crate::clock::millis(after)));
            let secret = token::Tokens::of(data_dir).create(name, *scope, now_ms, ends)?;
            writeln!(output.out, "{}", secret.reveal())?;
            writeln!(output.progress, "this is the only time that it is shown")?;
        }
        Tokens::List { data_dir, .. } => {
            let all = token::Tokens::of(data_dir).list()?;
            let public: Vec<Value> = all
                .iter()
                .map(|t| json!({ "name": t.name, "scope": t.scope, "created_ms": t.created_ms, "expires_ms": t.expires_ms }))
                .collect();
            output.print(&public, |_| show::tokens(&all, now_ms))?;
        }
        Tokens::Revoke { name, data_dir } => {
            token::Tokens::of(data_dir).revoke(name)?;
            writeln!(output.progress, "token {name} is worth nothing any more")?;
        }
    }
    Ok(())
}
