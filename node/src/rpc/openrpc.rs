//! The OpenRPC document, made from the table that dispatches.

use schemars::generate::SchemaSettings;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::error::{CODES, Code, RpcError};
use super::method::Table;
use super::token::Scope;
use super::websocket::{SUBSCRIBE, Subscribe, Subscribed, UNSUBSCRIBE, Unsubscribe};

/// The method that gives the document.
pub const DISCOVER: &str = "rpc.discover";

/// The document as an answer.
///
/// # Errors
/// None: it is JSON.
pub fn discover(table: &Table) -> Result<Box<RawValue>, RpcError> {
    to_raw_value(&document(table)).map_err(|e| RpcError::new(Code::Internal, e.to_string()))
}

/// The document.
pub fn document(table: &Table) -> Value {
    let settings =
        SchemaSettings::draft07().with(|s| s.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    let mut methods: Vec<Value> = table
        .methods()
        .map(|method| {
            let (params, result) = (method.schemas)(&mut generator);
            let (params, result) = (params.to_value(), result.to_value());
            entry(&generator, method.name, method.scope, method.summary, params, result)
        })
        .collect();
    let subscribe = generator.subschema_for::<Subscribe>().to_value();
    let subscribed = generator.subschema_for::<Subscribed>().to_value();
    let about = "WebSocket only: sends the log from a position on, as notifications fairway_event.";
    methods.push(entry(&generator, SUBSCRIBE, Scope::Read, about, subscribe, subscribed));
    let unsubscribe = generator.subschema_for::<Unsubscribe>().to_value();
    let about = "WebSocket only: ends a subscription; whether there was one.";
    let result = json!({ "type": "boolean" });
    methods.push(entry(&generator, UNSUBSCRIBE, Scope::Read, about, unsubscribe, result));
    let about = "This document.";
    methods.push(entry(
        &generator,
        DISCOVER,
        Scope::Read,
        about,
        json!({}),
        json!({ "type": "object" }),
    ));
    let errors: Map<String, Value> = CODES
        .iter()
        .map(|(code, meaning)| {
            (format!("{code:?}"), json!({ "code": *code as i64, "message": meaning }))
        })
        .collect();
    json!({
        "openrpc": "1.3.2",
        "info": { "title": "Fairway", "version": env!("CARGO_PKG_VERSION") },
        "methods": methods,
        "components": { "errors": errors, "schemas": generator.take_definitions(true) },
    })
}

fn entry(
    generator: &schemars::SchemaGenerator,
    name: &str,
    scope: Scope,
    summary: &str,
    params: Value,
    result: Value,
) -> Value {
    let object = resolve(generator, &params);
    let required: Vec<&str> = object
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let properties = object.get("properties").and_then(Value::as_object);
    let params: Vec<Value> = properties
        .into_iter()
        .flatten()
        .map(|(name, schema)| {
            json!({ "name": name, "required": required.contains(&name.as_str()), "schema": schema })
        })
        .collect();
    json!({
        "name": name,
        "summary": summary,
        "x-scope": scope,
        "paramStructure": "by-name",
        "params": params,
        "result": { "name": "result", "schema": result },
    })
}

/// What a reference stands for.
fn resolve(generator: &schemars::SchemaGenerator, schema: &Value) -> Value {
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.rsplit('/').next());
    let found = name.and_then(|name| generator.definitions().get(name));
    found.cloned().unwrap_or_else(|| schema.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::ours;

    /// The document in the book is written again by: FAIRWAY_BLESS=1 cargo test -p fairway-node openrpc
    #[test]
    fn the_document_in_the_book_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/src/reference/openrpc.json");
        let now = format!("{:#}\n", document(&ours::table()));
        if std::env::var_os("FAIRWAY_BLESS").is_some() {
            std::fs::write(path, &now).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == now,
            "docs/src/reference/openrpc.json is out of date: run this test with FAIRWAY_BLESS=1"
        );
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_method_is_described() {
        let document = document(&ours::table());
        let text = document.to_string();
        let schemas = document.pointer("/components/schemas").and_then(Value::as_object).unwrap();
        for part in text.split("\"#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name}");
        }
        let methods = document["methods"].as_array().unwrap();
        assert!(methods.len() >= 23);
        for method in methods {
            assert!(method["summary"].as_str().is_some_and(|s| s.ends_with('.')), "{method}");
        }
    }
}
