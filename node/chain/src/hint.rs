//! New heads over WebSocket: a hint to look earlier, and nothing else. What it says is never believed; without it the node polls.

use std::sync::Arc;
use std::time::Duration;

use fairway_core::input::Input;
use fairway_core::types::BlockNum;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::connect_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::Inputs;
use crate::health::Counters;
use crate::settings::{Limits, Url};

/// Listens for ever; reconnects.
pub(crate) async fn listen(url: Url, limits: Limits, counters: Arc<Counters>, inputs: Inputs) {
    let mut pause = limits.backoff_min;
    loop {
        let began = Instant::now();
        // Whatever ended it: the node polls meanwhile.
        let _ = follow(&url, &limits, &counters, &inputs).await;
        counters.hints_lost.one();
        if began.elapsed() > limits.backoff_max {
            pause = limits.backoff_min;
        }
        sleep(pause).await;
        pause = pause.saturating_mul(2).min(limits.backoff_max);
    }
}

async fn follow(url: &Url, limits: &Limits, counters: &Counters, inputs: &Inputs) -> Option<()> {
    let mut config = WebSocketConfig::default();
    config.max_message_size = Some(MESSAGE_BYTES_MAX);
    config.max_frame_size = Some(MESSAGE_BYTES_MAX);
    let connect = connect_async_with_config(url.whole().as_str(), Some(config), true);
    let (mut stream, _) = timeout(limits.timeout, connect).await.ok()?.ok()?;
    let subscribe =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"] });
    stream.send(Message::text(subscribe.to_string())).await.ok()?;
    let mut last = Instant::now().checked_sub(HINT_PAUSE);
    loop {
        // A connection that says nothing for so long is dead: on every chain there are blocks meanwhile.
        let message = timeout(SILENCE_MAX, stream.next()).await.ok()??.ok()?;
        let Some(number) = message.to_text().ok().and_then(number_of) else { continue };
        if last.is_some_and(|at| at.elapsed() < HINT_PAUSE) {
            continue;
        }
        last = Some(Instant::now());
        counters.hints.one();
        inputs(Input::NewHead { number });
    }
}

/// The height that a notification names.
fn number_of(text: &str) -> Option<BlockNum> {
    let message: Value = serde_json::from_str(text).ok()?;
    let number = message.pointer("/params/result/number")?.as_str()?;
    u64::from_str_radix(number.strip_prefix("0x")?, 16).ok().map(BlockNum)
}

/// A header with the names of its withdrawals is below ten kilobytes.
const MESSAGE_BYTES_MAX: usize = 256 << 10;
/// Hints that are closer together are one: nobody shall drive our requests.
const HINT_PAUSE: Duration = Duration::from_millis(50);
const SILENCE_MAX: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_names_a_height_and_anything_else_names_none() {
        let news = r#"{"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":"0x1","result":{"number":"0x1b4"}}}"#;
        assert_eq!(number_of(news), Some(BlockNum(436)));
        for text in [
            "",
            "{}",
            r#"{"jsonrpc":"2.0","id":1,"result":"0x1"}"#,
            r#"{"params":{"result":{"number":7}}}"#,
        ] {
            assert_eq!(number_of(text), None, "{text}");
        }
    }
}
