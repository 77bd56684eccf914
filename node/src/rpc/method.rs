//! A method: its name, who may call it, what goes in and comes out, and the code behind it. The table of all methods dispatches
//! calls, and the OpenRPC document is made of the same table.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::timeout;

use super::context::Context;
use super::error::{Code, RpcError};
use super::token::Scope;

/// One method.
pub struct Method {
    /// As callers write it.
    pub name: &'static str,
    /// What the caller needs.
    pub scope: Scope,
    /// One line.
    pub summary: &'static str,
    /// Makes the schemas of parameters and result.
    pub schemas: fn(&mut SchemaGenerator) -> (Schema, Schema),
    call: Box<dyn Fn(Context, Option<Box<RawValue>>) -> Calling + Send + Sync>,
}

type Calling = Pin<Box<dyn Future<Output = Result<Box<RawValue>, RpcError>> + Send>>;

/// All methods by name.
#[derive(Clone)]
pub struct Table(Arc<BTreeMap<&'static str, Method>>);

impl Method {
    /// A method whose parameters are an object that reads as `P`.
    pub fn new<P, R, F>(
        name: &'static str,
        scope: Scope,
        summary: &'static str,
        run: impl Fn(Context, P) -> F + Copy + Send + Sync + 'static,
    ) -> Method
    where
        P: DeserializeOwned + JsonSchema + Send + 'static,
        R: Serialize + JsonSchema,
        F: Future<Output = Result<R, RpcError>> + Send + 'static,
    {
        let call = move |context: Context, params: Option<Box<RawValue>>| -> Calling {
            Box::pin(async move {
                let text = params.as_deref().map_or("{}", RawValue::get);
                let bad = |e: serde_json::Error| RpcError::params(format!("{name}: {e}"));
                let params = serde_json::from_str(text).map_err(bad)?;
                let result = run(context, params).await?;
                to_raw_value(&result)
                    .map_err(|e| RpcError::new(Code::Internal, format!("{name}: {e}")))
            })
        };
        let schemas = |generator: &mut SchemaGenerator| {
            (generator.subschema_for::<P>(), generator.subschema_for::<R>())
        };
        Method { name, scope, summary, schemas, call: Box::new(call) }
    }
}

impl Table {
    /// Of these methods.
    pub fn new(methods: Vec<Method>) -> Table {
        let count = methods.len();
        let by_name: BTreeMap<_, _> = methods.into_iter().map(|m| (m.name, m)).collect();
        assert_eq!(by_name.len(), count, "two methods have one name");
        Table(Arc::new(by_name))
    }

    /// In order of their names.
    pub fn methods(&self) -> impl Iterator<Item = &Method> {
        self.0.values()
    }

    /// The name of a method that there is, from the closed list.
    pub fn name_of(&self, name: &str) -> Option<&'static str> {
        self.0.get_key_value(name).map(|(name, _)| *name)
    }

    /// Calls a method, if the caller may.
    ///
    /// # Errors
    /// [`RpcError`], for the caller.
    pub async fn call(
        &self,
        context: Context,
        name: &str,
        params: Option<Box<RawValue>>,
    ) -> Result<Box<RawValue>, RpcError> {
        let Some(method) = self.0.get(name) else {
            let known = "rpc.discover lists all methods";
            return Err(RpcError::new(
                Code::Method,
                format!("there is no method {name:?}; {known}"),
            ));
        };
        context.caller.needs(method.scope)?;
        let took_too_long = |_| {
            let what =
                format!("{name} took longer than {CALL_MAX:?}; ask again, it may be under way");
            RpcError::new(Code::Busy, what)
        };
        timeout(CALL_MAX, (method.call)(context, params)).await.map_err(took_too_long)?
    }
}

impl super::context::Caller {
    /// Lets through who has the scope.
    ///
    /// # Errors
    /// [`Code::Forbidden`].
    pub fn needs(&self, scope: Scope) -> Result<(), RpcError> {
        if self.scope >= scope {
            return Ok(());
        }
        let word = json!(scope);
        let what = format!(
            "this token has scope {}, and the method needs {word}; make one with: fairway token create --scope",
            json!(self.scope)
        );
        Err(RpcError::new(Code::Forbidden, what).with(json!({ "needed": scope })))
    }
}

/// Longer than every wait that a method offers.
const CALL_MAX: Duration = Duration::from_secs(60);
