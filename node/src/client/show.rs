//! Answers as people read them.

use std::fmt::Display;

use crate::rpc::ours::status::{Peer, Status};
use crate::rpc::token::Token;
use crate::rpc::value::Wei;
use crate::rpc::view::{Goal, Ledger, Transaction, Virtual, Waiting};

/// Columns, padded; nothing but the heading where there are no rows.
pub fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(String::len);
        cells.chain(heading.get(column).map(|h| h.len())).max().unwrap_or(0)
    };
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().enumerate().map(|(i, cell)| format!("{cell:<w$}", w = width(i)));
        let text = padded.collect::<Vec<_>>().join("  ");
        text.trim_end().to_string() + "\n"
    };
    let mut text = line(heading.to_vec());
    for row in rows {
        text += &line(row.iter().map(String::as_str).collect());
    }
    text
}

/// Names and values, one a line.
fn fields(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    fields.iter().map(|(name, value)| format!("{name:<width$}  {value}\n")).collect()
}

fn money(wei: Wei) -> String {
    wei.0.to_string()
}

fn or_none(value: Option<impl Display>) -> String {
    value.map_or("-".into(), |v| v.to_string())
}

fn word(value: impl serde::Serialize) -> String {
    serde_json::json!(value).as_str().unwrap_or_default().to_string()
}

/// A list of ledger channels.
pub fn ledgers(all: &[Ledger]) -> String {
    let row = |l: &Ledger| {
        vec![
            l.channel.to_string(),
            l.peer.to_string(),
            word(l.phase),
            money(l.balance),
            money(l.peer_balance),
            money(l.locked),
        ]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    table(&["CHANNEL", "PEER", "PHASE", "OURS", "THEIRS", "LOCKED"], &rows)
}

/// One ledger channel.
pub fn ledger(l: &Ledger) -> String {
    let held = format!("{}, {}", money(l.on_chain.held), l.on_chain.status);
    fields(&[
        ("channel", l.channel.to_string()),
        ("peer", l.peer.to_string()),
        ("phase", word(l.phase)),
        ("ours", money(l.balance)),
        ("theirs", money(l.peer_balance)),
        ("locked", money(l.locked)),
        ("capacity", money(l.capacity)),
        ("asset", l.asset.to_string()),
        ("role", if l.leader { "leader" } else { "follower" }.into()),
        ("turn", or_none(l.turn)),
        ("position", l.position.to_string()),
        ("queued", l.queued.to_string()),
        ("challenge", format!("{} s", l.challenge_duration_s)),
        ("on chain", held),
    ])
}

/// A list of virtual channels.
pub fn channels(all: &[Virtual]) -> String {
    let row = |v: &Virtual| {
        let other = if word(v.role) == "payer" { v.payee } else { v.payer };
        vec![
            v.channel.to_string(),
            word(v.role),
            other.to_string(),
            word(v.phase),
            money(v.paid),
            money(v.remaining),
        ]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    table(&["CHANNEL", "ROLE", "WITH", "PHASE", "PAID", "REMAINING"], &rows)
}

/// One virtual channel.
pub fn channel(v: &Virtual) -> String {
    let list = |all: Vec<String>| if all.is_empty() { "-".into() } else { all.join(", ") };
    fields(&[
        ("channel", v.channel.to_string()),
        ("role", word(v.role)),
        ("payer", v.payer.to_string()),
        ("payee", v.payee.to_string()),
        ("via", list(v.intermediaries.iter().map(ToString::to_string).collect())),
        ("phase", word(v.phase)),
        ("paid", money(v.paid)),
        ("remaining", money(v.remaining)),
        ("capacity", money(v.capacity)),
        ("asset", v.asset.to_string()),
        ("ledgers", list(v.ledgers.iter().map(ToString::to_string).collect())),
        ("challenge", format!("{} s", v.challenge_duration_s)),
    ])
}

/// A list of objectives.
pub fn goals(all: &[Goal]) -> String {
    let row = |g: &Goal| {
        let what = g.waiting_for.clone().or_else(|| g.reason.clone());
        vec![g.objective.to_string(), g.status.clone(), or_none(what), or_none(g.until_ms)]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    table(&["OBJECTIVE", "STATUS", "WAITING FOR", "UNTIL (MS)"], &rows)
}

/// One objective.
pub fn goal(g: &Goal) -> String {
    fields(&[
        ("objective", g.objective.to_string()),
        ("status", g.status.clone()),
        ("reason", or_none(g.reason.as_ref())),
        ("asked by", g.origin.clone()),
        ("waiting for", or_none(g.waiting_for.as_ref())),
        ("until (ms)", or_none(g.until_ms)),
        ("then", or_none(g.then.as_ref())),
        ("since (ms)", g.since_ms.to_string()),
    ])
}

/// A list of transactions.
pub fn transactions(all: &[Transaction]) -> String {
    let row = |tx: &Transaction| {
        let about = tx.amount.map(money).or(tx.turn.map(|t| format!("turn {t}")));
        let about = about.or(tx.target.map(|t| t.to_string()));
        let state = if tx.pending { "wanted" } else { "done" };
        let waiting = tx.waiting.as_ref();
        vec![
            tx.channel.to_string(),
            tx.kind.clone(),
            state.into(),
            or_none(about),
            or_none(waiting.map(|w| w.nonce)),
            or_none(waiting.map(|w| money(w.fee))),
        ]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    table(&["CHANNEL", "KIND", "STATE", "ABOUT", "NONCE", "FEE"], &rows)
}

/// A transaction that offers more.
pub fn bumped(w: &Waiting) -> String {
    let sent = match &w.hash {
        Some(hash) => format!("as {hash}"),
        None => "and no endpoint has taken it yet: it is sent again".into(),
    };
    format!(
        "the transaction at nonce {} pays up to {} wei for a unit of gas, {sent}\n",
        w.nonce, w.fee
    )
}

/// A list of peers.
pub fn peers(all: &[Peer]) -> String {
    let row = |p: &Peer| {
        let session = if p.connected { "up" } else { "down" };
        vec![p.peer.to_string(), session.into(), or_none(p.wire_version), p.ledgers.to_string()]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    table(&["PEER", "SESSION", "WIRE", "LEDGERS"], &rows)
}

/// The node.
pub fn status(s: &Status) -> String {
    let mut text = fields(&[
        ("health", s.health.clone()),
        ("address", s.address.to_string()),
        ("version", s.version.clone()),
        ("chain id", s.chain_id.to_string()),
        ("block", or_none(s.head)),
        ("log", format!("{} events", s.lsn)),
        ("ledgers", s.ledgers.to_string()),
        ("channels", s.channels.to_string()),
        ("objectives", s.objectives.to_string()),
        ("sessions", s.sessions.to_string()),
    ]);
    for trouble in &s.troubles {
        text += &format!("trouble: {trouble}\n");
    }
    text
}

/// A list of tokens.
pub fn tokens(all: &[Token], now_ms: u64) -> String {
    let row = |t: &Token| {
        let state = if t.is_valid(now_ms) { "valid" } else { "expired" };
        vec![t.name.clone(), word(t.scope), state.into(), or_none(t.expires_ms)]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    table(&["NAME", "SCOPE", "STATE", "EXPIRES (MS)"], &rows)
}
