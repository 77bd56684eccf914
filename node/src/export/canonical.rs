//! Canonical JSON and the ids that follow from it: one value has one spelling.
//!
//! Keys sorted by their bytes at every level, no blanks, integers in decimal, amounts and hashes as strings, lower-case hexadecimal,
//! and what is not known left out. `id = keccak256("ev1|" || name || "|" || canonical)`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use alloy_primitives::{B256, hex, keccak256};
use fairway_core::types::Amount;
use serde_json::Value;

/// A value that has one spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Number(u64),
    /// Text, hexadecimal and amounts.
    Text(String),
    /// In this order.
    List(Vec<Json>),
    /// Sorted by key.
    Fields(BTreeMap<&'static str, Json>),
}

impl Json {
    /// `0x` and lower-case digits.
    pub fn hex(bytes: impl AsRef<[u8]>) -> Json {
        Json::Text(format!("0x{}", hex::encode(bytes)))
    }

    /// In decimal, as a string: it may exceed what JSON readers keep exactly.
    pub fn amount(amount: Amount) -> Json {
        Json::Text(amount.0.to_string())
    }

    /// Text.
    pub fn text(text: impl Into<String>) -> Json {
        Json::Text(text.into())
    }

    /// Appends the one spelling.
    pub fn write(&self, out: &mut String) {
        match self {
            Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Json::Number(number) => drop(write!(out, "{number}")),
            Json::Text(text) => quote(text, out),
            Json::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Json::Fields(fields) => {
                out.push('{');
                for (i, (key, value)) in fields.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    quote(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

/// The one spelling of a value without floating-point numbers.
pub fn spelled(value: &Value) -> String {
    let mut out = String::new();
    spell(value, &mut out);
    out
}

fn spell(value: &Value, out: &mut String) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => drop(write!(out, "{value}")),
        Value::String(text) => quote(text, out),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                spell(item, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            // Whether the library keeps them sorted depends on what else is built with it.
            let sorted: BTreeMap<&str, &Value> =
                fields.iter().map(|(key, value)| (key.as_str(), value)).collect();
            out.push('{');
            for (i, (key, value)) in sorted.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                quote(key, out);
                out.push(':');
                spell(value, out);
            }
            out.push('}');
        }
    }
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
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
}

/// Lines of an export, each bound to all before it.
#[derive(Debug, Default)]
pub struct Chained {
    chain: B256,
    lines: u64,
}

impl Chained {
    /// How many lines there are.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// The next line, without its end.
    pub fn line(&mut self, name: &str, payload: BTreeMap<&'static str, Json>) -> String {
        let mut canonical = String::new();
        Json::Fields(payload).write(&mut canonical);
        let id = keccak256(format!("ev1|{name}|{canonical}"));
        self.chain = keccak256([self.chain.as_slice(), id.as_slice()].concat());
        self.lines += 1;
        let (chain, id) = (hex::encode(self.chain), hex::encode(id));
        let mut out = format!(r#"{{"chain":"0x{chain}","id":"0x{id}","name":"#);
        quote(name, &mut out);
        out.push_str(",\"payload\":");
        out.push_str(&canonical);
        out.push('}');
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(value: &Json) -> String {
        let mut out = String::new();
        value.write(&mut out);
        out
    }

    #[test]
    fn a_value_has_one_spelling() {
        let fields = [
            ("b", Json::List(vec![Json::Number(7), Json::Bool(true)])),
            ("a", Json::text("q\" \\ \n \r \t \u{1} é")),
            ("amount", Json::amount(Amount::ether(2))),
            ("hash", Json::hex([0xAB, 0x01])),
        ];
        let spelled = spelled(&Json::Fields(fields.into()));
        let expected = concat!(
            r#"{"a":"q\" \\ \n \r \t \u0001 é","amount":"2000000000000000000","#,
            r#""b":[7,true],"hash":"0xab01"}"#
        );
        assert_eq!(spelled, expected);
    }

    #[test]
    fn any_value_is_spelled_the_same_way() {
        let value: Value = serde_json::from_str(
            r#"{ "b": [7, null, -1], "a": { "é\n": "\u0001\"" , "A": true } }"#,
        )
        .unwrap();
        assert_eq!(super::spelled(&value), r#"{"a":{"A":true,"é\n":"\u0001\""},"b":[7,null,-1]}"#);
    }

    #[test]
    fn a_line_is_bound_to_the_lines_before_it() {
        let line =
            |chained: &mut Chained| chained.line("x", BTreeMap::from([("n", Json::Number(1))]));
        let mut chained = Chained::default();
        let (first, second) = (line(&mut chained), line(&mut chained));
        assert_ne!(first, second);
        assert_eq!(chained.lines(), 2);
        let id = hex::encode(keccak256(r#"ev1|x|{"n":1}"#));
        assert!(first.contains(&format!(r#""id":"0x{id}","name":"x","payload":{{"n":1}}}}"#)));
        assert_eq!(first, line(&mut Chained::default()));
    }
}
