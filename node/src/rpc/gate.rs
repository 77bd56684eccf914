//! Who is let in: access tokens, grants of the legacy interface, the unix socket; and how often.

use std::num::NonZeroU32;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tracing::error;

use super::context::Caller;
use super::error::{Code, RpcError};
use super::grant::{Grant, Grants};
use super::settings::{OpenAccess, Settings};
use super::token::{Scope, Token, Tokens};

/// Where a connection came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The unix socket: whoever can open the file is this node's user.
    Local,
    /// TCP: whoever shows a token.
    Network,
}

/// Lets callers in. Has no `Debug`: it holds a key.
pub struct Gate {
    tokens: Tokens,
    grants: Grants,
    open_access: Option<Scope>,
    limiter: DefaultKeyedRateLimiter<String>,
}

impl Gate {
    /// By these tokens and settings.
    pub fn new(tokens: Tokens, grants: Grants, settings: &Settings) -> Gate {
        let open_access = match settings.open_access {
            OpenAccess::None => None,
            OpenAccess::Read => Some(Scope::Read),
            OpenAccess::Operate => Some(Scope::Operate),
        };
        let rate = NonZeroU32::new(settings.calls_per_second).unwrap_or(NonZeroU32::MIN);
        let batch = u32::try_from(settings.batch_max).ok().and_then(NonZeroU32::new);
        // A whole batch always fits, after a pause.
        let burst = batch.map_or(rate, |batch| batch.max(rate));
        let limiter = RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst));
        Gate { tokens, grants, open_access, limiter }
    }

    /// The caller behind a connection and the token in its header `Authorization`.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`].
    pub async fn caller(&self, door: Door, header: Option<&str>) -> Result<Caller, RpcError> {
        if door == Door::Local {
            return Ok(local());
        }
        let shown = header.and_then(|h| h.strip_prefix("Bearer ")).ok_or_else(|| {
            let what = "no token; send the header Authorization: Bearer fairway_…";
            RpcError::new(Code::Unauthenticated, what)
        })?;
        let token = self.token(shown.trim()).await?;
        let worthless = || {
            let what =
                "the token is unknown, expired or revoked; make one with: fairway token create";
            RpcError::new(Code::Unauthenticated, what)
        };
        token.map(|t| of(&t)).ok_or_else(worthless)
    }

    /// The caller behind the `authtoken` of the legacy interface: a grant, an access token, or nothing.
    pub async fn legacy_caller(&self, door: Door, shown: &str) -> Option<Caller> {
        if door == Door::Local {
            return Some(local());
        }
        if shown.is_empty() {
            return None;
        }
        if let Some(grant) = self.grants.check(shown, now_ms() / 1_000) {
            let granted = self.granted(&grant).await?;
            return Some(Caller { scope: granted.scope.min(grant.scope()?), ..granted });
        }
        self.token(shown).await.ok()?.map(|t| of(&t))
    }

    /// What the giver of a grant still has.
    async fn granted(&self, grant: &Grant) -> Option<Caller> {
        let Some(mark) = grant.by.clone() else {
            let scope = self.open_access?;
            return Some(Caller { name: OPEN.into(), scope });
        };
        let tokens = self.tokens.clone();
        let find = tokio::task::spawn_blocking(move || tokens.marked(&mark, now_ms()));
        tell(find.await.expect("reading tokens does not panic")).ok()?.map(|t| of(&t))
    }

    /// A grant for a caller: what its access token grants, or what is granted to everybody.
    pub async fn grant(&self, door: Door, header: Option<&str>, sub: String) -> Option<String> {
        let now_s = now_ms() / 1_000;
        if door == Door::Local {
            return Some(self.grants.sign(&Grant::new(Scope::Admin, sub, None, now_s)));
        }
        if let Some(shown) = header.and_then(|h| h.strip_prefix("Bearer ")) {
            let token = self.token(shown.trim()).await.ok()??;
            return Some(self.grants.sign(&Grant::new(
                token.scope,
                sub,
                Some(token.mark()),
                now_s,
            )));
        }
        Some(self.grants.sign(&Grant::new(self.open_access?, sub, None, now_s)))
    }

    /// Whether the legacy notifications may be heard: its clients cannot show a token when they subscribe.
    pub async fn may_listen(&self, door: Door, header: Option<&str>) -> bool {
        self.open_access.is_some() || self.caller(door, header).await.is_ok()
    }

    /// Counts calls against the caller's share.
    ///
    /// # Errors
    /// [`Code::Busy`].
    pub fn admit(&self, door: Door, caller: &Caller, calls: usize) -> Result<(), RpcError> {
        let calls = u32::try_from(calls).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        if door == Door::Local {
            return Ok(());
        }
        match self.limiter.check_key_n(&caller.name, calls) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(RpcError::new(
                Code::Busy,
                "too many calls with this token; try again in a second",
            )),
        }
    }

    async fn token(&self, shown: &str) -> Result<Option<Token>, RpcError> {
        let (tokens, shown) = (self.tokens.clone(), shown.to_string());
        let find = tokio::task::spawn_blocking(move || tokens.find(&shown, now_ms()));
        tell(find.await.expect("reading tokens does not panic"))
    }
}

/// The operator hears why nobody is let in; the caller only hears that.
fn tell<T>(found: Result<T, super::token::TokenError>) -> Result<T, RpcError> {
    found.map_err(|error| {
        error!(%error, "rpc: nobody is let in by a token");
        RpcError::new(Code::Internal, "the node cannot read its tokens; its output says why")
    })
}

fn of(token: &Token) -> Caller {
    Caller { name: format!("token {}", token.mark()), scope: token.scope }
}

fn local() -> Caller {
    Caller { name: "local".into(), scope: Scope::Admin }
}

/// Milliseconds since 1970, by the wall: tokens expire by it.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    crate::clock::millis(since)
}

const OPEN: &str = "open";
