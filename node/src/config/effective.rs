//! What a node really runs with: every key, its value, and who set it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use super::field::Field;
use super::layers::{Layers, Origin};
use super::secret::{HIDDEN, shown};

/// One key with its value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// With its section.
    pub key: String,
    /// Null where there is none. Of a secret, what may be shown.
    pub value: Value,
    /// A flag, a variable, file and line, or `default`.
    pub source: String,
}

/// Every key: what is set, else what follows from others, else the default.
pub fn settings(
    fields: &[Field],
    layers: &Layers<'_>,
    derived: &BTreeMap<&'static str, Value>,
) -> Vec<Setting> {
    let setting = |field: &Field| {
        let (value, origin) = match layers.get(&field.key) {
            Some((value, origin)) => (to_json(value), origin.clone()),
            None => {
                let value = derived.get(field.key.as_str()).unwrap_or(&field.default);
                (value.clone(), Origin::Default)
            }
        };
        let value = if field.secret { hidden(value) } else { value };
        Setting { key: field.key.clone(), value, source: origin.to_string() }
    };
    fields.iter().map(setting).collect()
}

/// For people: a line for each key.
pub fn text(settings: &[Setting]) -> String {
    let value =
        |s: &Setting| if s.value.is_null() { "–".to_string() } else { s.value.to_string() };
    let key_width = settings.iter().map(|s| s.key.len()).max().unwrap_or(0);
    let value_width = settings.iter().map(|s| value(s).chars().count()).max().unwrap_or(0).min(50);
    settings.iter().fold(String::new(), |mut text, s| {
        let _ = writeln!(text, "{:key_width$}  {:value_width$}  {}", s.key, value(s), s.source);
        text
    })
}

fn hidden(value: Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::String(secret) => shown(&secret).into(),
        Value::Array(secrets) => secrets.into_iter().map(hidden).collect(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => HIDDEN.into(),
    }
}

fn to_json(value: &toml::Value) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}
