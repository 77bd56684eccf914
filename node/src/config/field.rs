//! The keys of the configuration, read from its types: what `fairway config` prints, what the pages of the book list, and what an
//! unknown key is compared with. There is no second list to keep.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::Config;

/// One key.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// With its sections: `chain.quorum`.
    pub key: String,
    /// What it means, in the words of its type's documentation; paragraphs are parted by a blank line.
    pub about: String,
    /// What it takes.
    pub kind: Kind,
    /// What it may be, where that is one of a few words.
    pub choices: Vec<String>,
    /// What it is when nobody sets it; [`Value::Null`] where there is none, or where it depends on others.
    pub default: Value,
    /// The same in words, where it depends on others.
    pub default_words: Option<String>,
    /// Whether a node cannot start without it.
    pub required: bool,
    /// Whether its value must not be shown.
    pub secret: bool,
    /// The keys of each table, of [`Kind::Tables`].
    pub items: Vec<Field>,
}

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A whole number.
    Whole,
    /// `true` or `false`.
    Switch,
    /// Several texts.
    Texts,
    /// Several tables: `[[peers]]`.
    Tables,
}

impl Kind {
    /// For messages: what was expected.
    pub fn expected(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Whole => "a whole number",
            Kind::Switch => "true or false",
            Kind::Texts => "a list of texts",
            Kind::Tables => "a list of tables",
        }
    }
}

impl Field {
    /// The environment's variable that sets it: `FAIRWAY_CHAIN__QUORUM`.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.key.to_uppercase().replace('.', "__"))
    }

    /// The section that it stands in; empty above the first one.
    pub fn section(&self) -> &str {
        self.key.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// Its name within its section.
    pub fn name(&self) -> &str {
        self.key.rsplit_once('.').map_or(&self.key, |(_, name)| name)
    }
}

/// What every variable of ours begins with.
pub const PREFIX: &str = "FAIRWAY_";

/// A section, with what its type says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its name.
    pub key: String,
    /// What it is about.
    pub about: String,
}

/// Every key and every section; keys above the first section come first, everything in order of name.
pub fn all() -> (Vec<Field>, Vec<Section>) {
    let (mut fields, mut sections) = (Vec::new(), Vec::new());
    collect("", &schema(), &mut fields, &mut sections);
    fields.sort_by(|a, b| (a.section(), &a.key).cmp(&(b.section(), &b.key)));
    (fields, sections)
}

/// The JSON Schema of a configuration file.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<Config>().to_value()
}

fn collect(prefix: &str, schema: &Value, fields: &mut Vec<Field>, sections: &mut Vec<Section>) {
    let Some(properties) = schema["properties"].as_object() else { return };
    let required = |name: &str| {
        schema["required"].as_array().is_some_and(|list| list.iter().any(|r| r == name))
    };
    for (name, property) in properties {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let about = property["description"].as_str().unwrap_or_default().to_string();
        if property["properties"].is_object() {
            sections.push(Section { key: key.clone(), about });
            collect(&key, property, fields, sections);
            continue;
        }
        let kind = kind(property);
        let mut items = Vec::new();
        if kind == Kind::Tables {
            collect("", &property["items"], &mut items, &mut Vec::new());
        }
        let mut choices = Vec::new();
        words(property, &mut choices);
        fields.push(Field {
            key,
            about,
            kind,
            choices,
            default: property["default"].clone(),
            default_words: property["x-default"].as_str().map(str::to_string),
            required: required(name),
            secret: is_secret(property),
            items,
        });
    }
}

fn kind(schema: &Value) -> Kind {
    let mut names = Vec::new();
    types(schema, &mut names);
    match names.as_slice() {
        ["array", ..] if schema["items"]["properties"].is_object() => Kind::Tables,
        ["array", ..] => Kind::Texts,
        ["integer", ..] => Kind::Whole,
        ["boolean", ..] => Kind::Switch,
        _ => Kind::Text,
    }
}

/// The JSON types of a schema without `null`, through the alternatives that an optional value has.
fn types<'a>(schema: &'a Value, into: &mut Vec<&'a str>) {
    match &schema["type"] {
        Value::String(one) => into.push(one),
        Value::Array(several) => into.extend(several.iter().filter_map(Value::as_str)),
        _ => {}
    }
    into.retain(|name| *name != "null");
    for alternative in alternatives(schema) {
        types(alternative, into);
    }
}

/// The words that a schema allows.
fn words(schema: &Value, into: &mut Vec<String>) {
    let listed = schema["enum"].as_array().into_iter().flatten().chain(schema.get("const"));
    into.extend(listed.filter_map(Value::as_str).map(str::to_string));
    for alternative in alternatives(schema) {
        words(alternative, into);
    }
}

fn alternatives(schema: &Value) -> impl Iterator<Item = &Value> {
    ["oneOf", "anyOf"].into_iter().filter_map(|key| schema[key].as_array()).flatten()
}

/// `writeOnly` is the schema's word for what goes in and never comes out.
fn is_secret(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => {
            map.get("writeOnly") == Some(&Value::Bool(true)) || map.values().any(is_secret)
        }
        Value::Array(list) => list.iter().any(is_secret),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_back_from_the_schema() {
        let (fields, sections) = all();
        let field = |key: &str| fields.iter().find(|f| f.key == key).unwrap();
        assert_eq!(field("data_dir").kind, Kind::Text);
        assert!(field("data_dir").required && !field("rpc_url").required);
        assert_eq!(field("metrics_port").kind, Kind::Whole);
        assert_eq!(field("metrics_port").default, 9090);
        assert_eq!(field("log_level").choices, ["error", "warn", "info", "debug", "trace"]);
        assert_eq!(field("chain.check_headers").kind, Kind::Switch);
        assert_eq!(field("chain.finality").choices, ["confirmations", "safe", "finalized"]);
        assert_eq!(field("chain.kind").choices, ["development", "ethereum"]);
        assert_eq!(field("chain.quorum").variable(), "FAIRWAY_CHAIN__QUORUM");
        assert!(field("rpc_url").secret && field("chain.endpoints").secret);
        assert!(!field("chain.adjudicator").secret);
        assert_eq!(field("peers").kind, Kind::Tables);
        assert_eq!(field("peers").items.len(), 2);
        assert!(sections.iter().any(|s| s.key == "chain"));
    }

    /// What a section's author forgets is found here: each key is explained, and says what it is when nobody sets it.
    #[test]
    fn every_key_is_explained_and_says_what_it_is_by_default() {
        let (fields, sections) = all();
        for field in fields.iter().flat_map(|f| std::iter::once(f).chain(&f.items)) {
            assert!(!field.about.is_empty(), "{} has no documentation", field.key);
            assert!(!field.about.contains("[`"), "{}: links are for rustdoc alone", field.key);
            let known = field.required || !field.default.is_null() || field.default_words.is_some();
            assert!(
                known,
                "{}: give it a default, or schemars(extend(\"x-default\" = …))",
                field.key
            );
        }
        for section in sections {
            assert!(!section.about.is_empty(), "[{}] has no documentation", section.key);
        }
    }
}
