//! Reading an export: canonical lines, their ids and their chain, and the batches of the log that stand among them.
//!
//! Shares nothing with the node's writer, on purpose.

use std::fmt::Write as _;

use alloy_primitives::{B256, hex, keccak256};
use fairway_core::log::{BATCH_BYTES_MAX, FileName, Files, LogTail};
use fairway_core::types::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::judge::Check;

/// One line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    chain: B256,
    id: B256,
    name: String,
    payload: Value,
}

/// A batch of the log as it stands in an export.
#[derive(Deserialize)]
struct Recorded {
    first_lsn: u64,
    count: u32,
    timestamp_ms: u64,
    payload: String,
    log_chain: String,
}

/// The log that an export holds, as files, and what was checked on the way.
///
/// # Errors
/// It is no export, or not all of one.
pub(super) fn read(text: &[u8]) -> Result<(Files, Vec<Check>), String> {
    let text = std::str::from_utf8(text).map_err(|_| "is not UTF-8".to_string())?;
    let (mut chain, mut batches, mut ended) = (B256::ZERO, Vec::new(), None);
    let (mut lines, mut broken) = (0u64, None);
    for (number, text) in (1u64..).zip(text.lines()) {
        let line: Line =
            serde_json::from_str(text).map_err(|e| format!("line {number} is no event: {e}"))?;
        if let Some(end) = ended {
            return Err(format!("line {number} stands behind the end, which is line {end}"));
        }
        broken = broken.or_else(|| flaw(text, &line, chain).map(|why| (number, why)));
        chain = line.chain;
        lines = number;
        match line.name.as_str() {
            "batch-recorded" => batches.push(
                serde_json::from_value::<Recorded>(line.payload)
                    .map_err(|e| format!("line {number}: no batch: {e}"))?,
            ),
            "export-ended" => {
                let stated = line.payload.get("lines").and_then(Value::as_u64);
                if stated != Some(number) {
                    return Err(format!("ends at line {number} and says {stated:?} lines"));
                }
                ended = Some(number);
            }
            _ => {}
        }
    }
    if ended.is_none() {
        return Err(format!("has {lines} lines and no end: it was cut; export it again"));
    }
    if batches.is_empty() {
        return Err("holds no batch of the log; export it again with this version".into());
    }
    let mut checks = vec![match broken {
        None => Check::held("export-chain-holds", format!("ids and chain of {lines} lines")),
        Some((number, why)) => {
            Check::broken("export-chain-holds", format!("line {number}: {why}"), None)
        }
    }];
    let files = rebuilt(&batches, &mut checks)?;
    Ok((files, checks))
}

/// What is wrong with a line's own bytes.
fn flaw(text: &str, line: &Line, before: B256) -> Option<&'static str> {
    let payload = canonical(&line.payload);
    let id = keccak256(format!("ev1|{}|{payload}", line.name));
    let chain = keccak256([before.as_slice(), id.as_slice()].concat());
    let whole = format!(
        r#"{{"chain":"{chain}","id":"{id}","name":{},"payload":{payload}}}"#,
        canonical(&Value::String(line.name.clone()))
    );
    match (id == line.id, chain == line.chain, whole == text) {
        (false, _, _) => Some("the id is not that of the payload"),
        (true, false, _) => Some("the chain does not follow from the line before"),
        (true, true, false) => Some("it is not in canonical form"),
        (true, true, true) => None,
    }
}

/// Keys sorted by bytes, no blanks, integers in decimal, escapes for quotes, backslashes and controls alone.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
            let field =
                |(key, value): (&String, &Value)| format!("{}:{}", quoted(key), canonical(value));
            format!("{{{}}}", fields.into_iter().map(field).collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(","))
        }
        Value::String(text) => quoted(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The log's files, written again batch by batch; the chain hash of each must come out as it was.
fn rebuilt(batches: &[Recorded], checks: &mut Vec<Check>) -> Result<Files, String> {
    let (mut files, mut tail, mut next) = (Files::new(), LogTail::fresh(), 1u64);
    let mut differs = None;
    for (number, batch) in (1u64..).zip(batches) {
        let wrong = |what: &str| format!("batch {number} of the log: {what}");
        let digits = batch.payload.strip_prefix("0x").unwrap_or(&batch.payload);
        let payload = hex::decode(digits).map_err(|_| wrong("its payload is not hexadecimal"))?;
        if batch.first_lsn != next || batch.count == 0 || payload.len() > BATCH_BYTES_MAX {
            return Err(wrong("it does not follow the one before"));
        }
        next = next.checked_add(u64::from(batch.count)).ok_or_else(|| wrong("too many events"))?;
        let append = tail.append(Timestamp(batch.timestamp_ms), batch.count, payload);
        for write in &append.writes {
            put(files.entry(write.file).or_default(), write.offset, &write.bytes);
        }
        tail.synced(append.end);
        let segment = append.writes.iter().find(|w| matches!(w.file, FileName::Segment(_)));
        let chain = segment.and_then(|w| w.bytes.last_chunk::<32>()).map(hex::encode);
        let stated = batch.log_chain.strip_prefix("0x").unwrap_or(&batch.log_chain);
        if chain.as_deref() != Some(stated) {
            differs = differs.or(Some(number));
        }
    }
    checks.push(match differs {
        None => Check::held("export-batches-chain", format!("{} batches", batches.len())),
        Some(number) => Check::broken(
            "export-batches-chain",
            format!("batch {number} does not have the chain hash that the node's log had"),
            None,
        ),
    });
    Ok(files)
}

fn put(file: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    // The tail writes one batch after the other from the file's beginning, so the offset never lies beyond the end.
    let at = usize::try_from(offset).unwrap_or(file.len()).min(file.len());
    let end = at.saturating_add(bytes.len());
    if file.len() < end {
        file.resize(end, 0);
    }
    file[at..end].copy_from_slice(bytes);
}
