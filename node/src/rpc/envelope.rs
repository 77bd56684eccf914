//! The JSON-RPC 2.0 envelope of our own interface: single requests, batches, notifications.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::error::{Code, RpcError};

/// One request.
#[derive(Debug, Deserialize)]
pub struct Request {
    jsonrpc: String,
    /// Absent for a notification, which is not answered.
    #[serde(default, deserialize_with = "some_id")]
    pub id: Option<Id>,
    /// Which method.
    pub method: String,
    /// An object, or absent.
    pub params: Option<Box<RawValue>>,
}

/// What the caller calls its request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
    /// `null`.
    Null,
}

/// One answer.
#[derive(Debug, Serialize)]
pub struct Response {
    jsonrpc: &'static str,
    id: Id,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<RpcError>,
}

/// A message of the server that answers nothing.
#[derive(Debug, Serialize)]
pub struct Notification<P> {
    jsonrpc: &'static str,
    method: &'static str,
    params: P,
}

/// What one body or text frame asks for.
#[derive(Debug)]
pub enum Asked {
    /// One request; the answer is one object.
    One(Result<Request, RpcError>),
    /// A batch; the answer is an array.
    Batch(Vec<Result<Request, RpcError>>),
}

impl Asked {
    /// Takes the bytes apart.
    ///
    /// # Errors
    /// Nothing of it can be carried out.
    pub fn parse(bytes: &[u8], batch_max: usize) -> Result<Asked, RpcError> {
        let parse = |e: serde_json::Error| RpcError::new(Code::Parse, format!("not JSON: {e}"));
        let whole: &RawValue = serde_json::from_slice(bytes).map_err(parse)?;
        if !whole.get().starts_with('[') {
            return Ok(Asked::One(Request::parse(whole)));
        }
        let parts: Vec<&RawValue> = serde_json::from_str(whole.get()).map_err(parse)?;
        if parts.is_empty() {
            return Err(RpcError::new(Code::Request, "an empty batch"));
        }
        if parts.len() > batch_max {
            let what = format!("a batch of {} calls; {batch_max} are allowed", parts.len());
            return Err(RpcError::new(Code::Request, what));
        }
        Ok(Asked::Batch(parts.into_iter().map(Request::parse).collect()))
    }

    /// How many calls it is.
    pub fn calls(&self) -> usize {
        match self {
            Asked::One(_) => 1,
            Asked::Batch(parts) => parts.len(),
        }
    }
}

impl Request {
    fn parse(raw: &RawValue) -> Result<Request, RpcError> {
        let bad = |why: String| RpcError::new(Code::Request, format!("not a request: {why}"));
        let request: Request = serde_json::from_str(raw.get()).map_err(|e| bad(e.to_string()))?;
        if request.jsonrpc != "2.0" {
            return Err(bad("jsonrpc must be \"2.0\"".into()));
        }
        Ok(request)
    }
}

impl Response {
    /// The answer to request `id`.
    pub fn new(id: Id, outcome: Result<Box<RawValue>, RpcError>) -> Response {
        let (result, error) = match outcome {
            Ok(result) => (Some(result), None),
            Err(error) => (None, Some(error)),
        };
        Response { jsonrpc: "2.0", id, result, error }
    }

    /// As bytes to send.
    pub fn to_json(&self) -> String {
        to_json(self)
    }
}

impl<P: Serialize> Notification<P> {
    /// As a text frame.
    pub fn to_json(method: &'static str, params: P) -> String {
        to_json(&Notification { jsonrpc: "2.0", method, params })
    }
}

/// Our own types as JSON.
pub fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("what we say has string keys and no failing parts")
}

/// A key that is there with `null` is another thing than a missing one.
fn some_id<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Id>, D::Error> {
    Id::deserialize(d).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_from_everything_else() {
        let parse = |text: &str| Asked::parse(text.as_bytes(), 2);
        for (text, id) in [
            (r#"{"jsonrpc":"2.0","id":7,"method":"a"}"#, Some(Id::Number(7))),
            (r#"{"jsonrpc":"2.0","id":"x","method":"a","params":{}}"#, Some(Id::Text("x".into()))),
            (r#"{"jsonrpc":"2.0","id":null,"method":"a"}"#, Some(Id::Null)),
            (r#"{"jsonrpc":"2.0","method":"a"}"#, None),
        ] {
            let Asked::One(Ok(request)) = parse(text).unwrap() else { panic!("{text}") };
            assert_eq!(request.id, id, "{text}");
        }
        for text in [
            r#"{"jsonrpc":"1.0","id":7,"method":"a"}"#,
            r#"{"id":7,"method":"a"}"#,
            r#"{"jsonrpc":"2.0","id":{},"method":"a"}"#,
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"a"}"#,
            "7",
        ] {
            let Asked::One(Err(error)) = parse(text).unwrap() else { panic!("{text}") };
            assert!(error.is(Code::Request), "{text}");
        }
        for (text, code) in [
            ("", Code::Parse),
            ("{", Code::Parse),
            ("[]", Code::Request),
            ("[1,2,3]", Code::Request),
        ] {
            assert!(parse(text).unwrap_err().is(code), "{text}");
        }
        assert_eq!(parse("[1,2]").unwrap().calls(), 2);
    }
}
