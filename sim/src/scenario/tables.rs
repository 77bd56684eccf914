//! The tables of the reference: what the JSON Schema knows of each key, as Markdown.
//!
//! A page says where the table of a type stands: between `<!-- schema:begin Channel -->` and `<!-- schema:end -->`. What is written
//! around stays; what stands between is rendered again from the types' own documentation, so that it cannot fall behind.

use serde_json::{Map, Value};

/// What stands before the name of a type, and after it.
const BEGIN: (&str, &str) = ("<!-- schema:begin ", " -->\n");
/// What stands after a table.
const END: &str = "<!-- schema:end -->";

/// Why a page could not be filled.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TablesError {
    /// A block begins and does not end.
    #[error("schema:begin {name}: expected a schema:end after it, found none")]
    Open {
        /// The block's type.
        name: String,
    },
    /// The language has no such type.
    #[error("schema:begin {name}: expected a type of the schema, found none of this name")]
    Unknown {
        /// What the block asks for.
        name: String,
    },
}

/// The page with every block rendered again.
///
/// # Errors
/// A block that does not end, or that names no type.
pub fn fill_tables(page: &str) -> Result<String, TablesError> {
    let schema = super::json_schema();
    let mut rest = page;
    let mut filled = String::new();
    while let Some((before, after)) = rest.split_once(BEGIN.0) {
        let (name, body) = after.split_once(BEGIN.1).unwrap_or((after, ""));
        let name = name.to_string();
        let Some((_, behind)) = body.split_once(END) else {
            return Err(TablesError::Open { name });
        };
        let Some(table) = table(&schema, &name) else {
            return Err(TablesError::Unknown { name });
        };
        filled += &format!("{before}{}{name}{}{table}{END}", BEGIN.0, BEGIN.1);
        rest = behind;
    }
    Ok(filled + rest)
}

/// The table of a type: its variants, then its keys. The file as a whole is called `Scenario`.
fn table(schema: &Value, name: &str) -> Option<String> {
    let definition = if name == "Scenario" { schema } else { definition(schema, name)? };
    let mut text = String::new();
    if let Some(variants) = definition.get("oneOf").and_then(Value::as_array) {
        text += "\n| value | meaning |\n|---|---|\n";
        for variant in variants {
            text += &format!("| {} | {} |\n", form(schema, variant), meaning(variant));
        }
    }
    if let Some(properties) = definition.get("properties").and_then(Value::as_object) {
        text += "\n| key | value | default | meaning |\n|---|---|---|---|\n";
        for (key, property) in properties {
            let default = default(definition, key, property);
            let value = kind(schema, property);
            text += &format!("| `{key}` | {value} | {default} | {} |\n", meaning(property));
        }
    }
    Some(text + "\n")
}

fn definition<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    schema.get("$defs")?.get(name)
}

/// The documentation of a type or key, on one line. A pipe would end the cell.
fn meaning(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// How one variant is written: `"all"`, or `{ full = { for } }`, or `do = "restart"` with its arguments.
fn form(schema: &Value, variant: &Value) -> String {
    if let Some(name) = variant.get("const").and_then(Value::as_str) {
        return format!("`\"{name}\"`");
    }
    let Some(properties) = variant.get("properties").and_then(Value::as_object) else {
        return kind(schema, variant);
    };
    let parts = properties.iter().map(|(key, property)| match constant(property) {
        Some(name) => format!("{key} = \"{name}\""),
        None => match keys_of(schema, property) {
            Some(keys) => format!("{key} = {{ {keys} }}"),
            None => format!("{key} = …"),
        },
    });
    let parts: Vec<String> = parts.collect();
    match properties.values().any(|property| constant(property).is_some()) {
        true => format!("`{}`", parts.join(", ")),
        false => format!("`{{ {} }}`", parts.join(", ")),
    }
}

fn constant(property: &Value) -> Option<&str> {
    property.get("const").and_then(Value::as_str)
}

/// The keys of the table that a reference leads to.
fn keys_of(schema: &Value, property: &Value) -> Option<String> {
    let properties = referred(schema, property)?.1.get("properties")?.as_object()?;
    Some(properties.keys().map(String::as_str).collect::<Vec<_>>().join(", "))
}

fn referred<'a>(schema: &'a Value, property: &'a Value) -> Option<(&'a str, &'a Value)> {
    let name = property.get("$ref")?.as_str()?.strip_prefix("#/$defs/")?;
    Some((name, definition(schema, name)?))
}

/// What a value is, in a few words.
fn kind(schema: &Value, property: &Value) -> String {
    if let Some((name, definition)) = referred(schema, property) {
        return named(schema, name, definition);
    }
    if let Some(either) = property.get("anyOf").and_then(Value::as_array) {
        let kinds: Vec<String> = either
            .iter()
            .filter(|one| one.get("type").is_none_or(|t| t != "null"))
            .map(|one| kind(schema, one))
            .collect();
        return kinds.join(" or ");
    }
    let kind_of = |key: &str| property.get(key).map(|inner| kind(schema, inner));
    match type_of(property) {
        Some("string") => "text".to_string(),
        Some("boolean") => "`true` or `false`".to_string(),
        Some("integer") => "a whole number".to_string(),
        Some("array") => match (kind_of("items"), property.get("prefixItems")) {
            (_, Some(Value::Array(items))) => {
                let kinds: Vec<String> = items.iter().map(|item| kind(schema, item)).collect();
                format!("[{}]", kinds.join(", "))
            }
            (Some(items), _) => format!("list of {items}"),
            (None, _) => "list".to_string(),
        },
        Some("object") => match kind_of("additionalProperties") {
            Some(values) => format!("{values}, by name"),
            None => "a table".to_string(),
        },
        Some(_) | None => "a value".to_string(),
    }
}

/// A type's own name says enough where it is a quantity; else what can be written.
fn named(schema: &Value, name: &str, definition: &Value) -> String {
    if let Some(quantity) = name.strip_prefix("DistOf") {
        return format!("dist of {}", unit(quantity).unwrap_or("a value"));
    }
    if let Some(unit) = unit(name) {
        return unit.to_string();
    }
    let variants = definition.get("oneOf").and_then(Value::as_array);
    let constants: Option<Vec<String>> = variants.and_then(|variants| {
        variants.iter().map(|v| constant(v).map(|name| format!("`\"{name}\"`"))).collect()
    });
    match (constants, variants) {
        (Some(names), _) => names.join(", "),
        (None, Some(_)) => format!("`{name}`"),
        (None, None) if definition.get("properties").is_some() => format!("table `{name}`"),
        (None, None) => kind(schema, definition),
    }
}

/// The quantity that a type of the language is.
fn unit(name: &str) -> Option<&'static str> {
    Some(match name {
        "Nanos" => "time",
        "Shift" => "time shift",
        "Ppm" => "probability",
        "Money" => "money",
        "Blocks" => "blocks",
        "ByteCount" => "bytes",
        "Count" => "count",
        "Drift" => "drift in ppm",
        _ => return None,
    })
}

fn type_of(property: &Value) -> Option<&str> {
    match property.get("type")? {
        Value::String(one) => Some(one),
        Value::Array(several) => several.iter().filter_map(Value::as_str).find(|t| *t != "null"),
        _ => None,
    }
}

/// What holds where the key is left out.
fn default(definition: &Value, key: &str, property: &Value) -> String {
    let required = definition.get("required").and_then(Value::as_array);
    if required.is_some_and(|keys| keys.iter().any(|k| k == key)) {
        return "required".to_string();
    }
    match property.get("default") {
        None | Some(Value::Null) => "–".to_string(),
        Some(value) => format!("`{}`", toml(value)),
    }
}

/// A value as a scenario writes it.
fn toml(value: &Value) -> String {
    let entry = |(key, value): (&String, &Value)| format!("{key} = {}", toml(value));
    match value {
        Value::Object(map) if map.is_empty() => "{}".to_string(),
        Value::Object(map) => {
            format!("{{ {} }}", entries(map).map(entry).collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", "))
        }
        plain => plain.to_string(),
    }
}

/// The entries that are there: TOML has no null.
fn entries(map: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    map.iter().filter(|(_, value)| !value.is_null())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_rendered_and_what_stands_around_it_stays() {
        let page = "Before.\n<!-- schema:begin Phases -->\nold\n<!-- schema:end -->\nAfter.\n";
        let filled = fill_tables(page).unwrap();
        assert!(filled.starts_with("Before.\n<!-- schema:begin Phases -->\n\n| key |"), "{filled}");
        assert!(
            filled.contains("| `chaos` | time | required | While operations begin"),
            "{filled}"
        );
        assert!(filled.ends_with("<!-- schema:end -->\nAfter.\n") && !filled.contains("old"));
        assert_eq!(fill_tables(&filled), Ok(filled.clone()));
    }

    #[test]
    fn blocks_that_do_not_end_or_name_nothing_are_refused() {
        let open = TablesError::Open { name: "Phases".into() };
        assert_eq!(fill_tables("<!-- schema:begin Phases -->\n"), Err(open));
        let unknown = TablesError::Unknown { name: "Phase".into() };
        assert_eq!(fill_tables("<!-- schema:begin Phase -->\n<!-- schema:end -->"), Err(unknown));
    }

    #[test]
    fn every_form_of_a_value_has_words() {
        let schema = super::super::json_schema();
        for (name, row) in [
            ("DiskFault", "| `\"failed_sync\"` |"),
            ("DiskFault", "| `{ full = { for } }` |"),
            ("Op", "| `args = { id }, do = \"virtual.open\"` |"),
            ("Chain", "| `rpc_latency` | dist of time | `{ uniform = [\"5ms\", \"50ms\"] }` |"),
            ("Channel", "| `deposits` | dist of money, by name | required |"),
            ("Scenario", "| `determined` | `true` or `false` | `false` |"),
            ("When", "| `nth` | dist of count | – |"),
        ] {
            let table = table(&schema, name).unwrap();
            assert!(table.contains(row), "{name}: {row}: {table}");
        }
    }
}
