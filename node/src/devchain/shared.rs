//! A development chain for several processes on one machine: JSON lines over a unix socket.
//!
//! Whoever may write to the socket may spend every account's money: it is worth nothing.

use std::io;
use std::path::{Path, PathBuf};

use fairway_core::chain_types::{Block, BlockRef};
use fairway_core::config::Config;
use fairway_core::effect::{Urgency, Wish};
use fairway_core::input::Input;
use fairway_core::nitro::Call;
use fairway_core::types::{Address, Amount, BlockNum, ChannelId};
use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::codec::{Framed, LinesCodec};
use tracing::{error, warn};

use super::{DevChain, REQUESTS_MAX, Request};
use crate::inbox::{self, Inbox};

/// Nobody serves a chain there.
#[derive(Debug, thiserror::Error)]
#[error("{}: no development chain answers there: {source}; start what serves it first", path.display())]
pub struct SharedError {
    /// The socket.
    path: PathBuf,
    /// The system's reason.
    source: io::Error,
}

/// What a node says to the chain of another process.
#[derive(Debug, Serialize, Deserialize)]
enum Said {
    Join { who: Address },
    Wish { from: Address, wish: Option<Wish>, call: Call, urgency: Urgency, at_stake: u64 },
    Withdraw { from: Address, wish: Wish },
    Fetch { from: BlockNum, blocks_max: u64 },
}

/// What the node hears.
#[derive(Debug, Serialize, Deserialize)]
enum Told {
    Blocks { from: BlockNum, head: BlockRef, blocks: Vec<Block> },
    NewHead { number: BlockNum },
    TxReverted { call: Call, reason: String },
    DepositWithheld { channel: ChannelId, missing: Amount },
}

impl Told {
    /// What a chain tells a node; `None` for what no chain says.
    fn of(input: Input) -> Option<Told> {
        Some(match input {
            Input::Blocks { from, head, blocks } => Told::Blocks { from, head, blocks },
            Input::NewHead { number } => Told::NewHead { number },
            Input::TxReverted { call, reason } => Told::TxReverted { call, reason },
            Input::DepositWithheld { channel, missing } => {
                Told::DepositWithheld { channel, missing }
            }
            Input::Tick
            | Input::PeerUp { .. }
            | Input::PeerDown { .. }
            | Input::Frame { .. }
            | Input::Command { .. }
            | Input::ChainDown
            | Input::Space(_) => return None,
        })
    }

    fn input(self) -> Input {
        match self {
            Told::Blocks { from, head, blocks } => Input::Blocks { from, head, blocks },
            Told::NewHead { number } => Input::NewHead { number },
            Told::TxReverted { call, reason } => Input::TxReverted { call, reason },
            Told::DepositWithheld { channel, missing } => {
                Input::DepositWithheld { channel, missing }
            }
        }
    }
}

type Lines = Framed<UnixStream, LinesCodec>;

/// Lets other processes use a chain, for ever.
pub async fn serve(chain: DevChain, listener: UnixListener) {
    let mut served = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(served.spawn(serve_one(chain.clone(), stream))),
                Err(error) => {
                    error!(%error, "the development chain is shared no longer");
                    return;
                }
            },
            Some(_) = served.join_next() => {}
        }
    }
}

/// One process, until it goes. Hearing never waits for telling: both sides would wait for each other when both pipes are full.
async fn serve_one(chain: DevChain, stream: UnixStream) {
    let (mut out, mut lines) = framed(stream).split();
    // Fees cost nothing here, so the account of a node needs none of the node's own settings.
    let config = Config::default();
    let (inbox, mut news) = inbox::inbox();
    let hear = async {
        while let Some(Ok(line)) = lines.next().await {
            let Ok(said) = serde_json::from_str(&line) else {
                warn!("the development chain does not understand a process, and hangs up");
                return;
            };
            chain.ask(request(said, &config, &inbox));
        }
    };
    let tell = async {
        while let Some(input) = news.next_input().await {
            let Some(told) = Told::of(input) else { continue };
            if send(&mut out, &told).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = hear => {}
        () = tell => {}
    }
}

fn request(said: Said, config: &Config, inbox: &Inbox) -> Request {
    let inbox = inbox.clone();
    match said {
        Said::Join { who } => Request::Join { who, config: Box::new(config.clone()), inbox },
        Said::Wish { from, wish, call, urgency, at_stake } => {
            Request::Wish { from, wish, call, urgency, at_stake }
        }
        Said::Withdraw { from, wish } => Request::Withdraw { from, wish },
        Said::Fetch { from, blocks_max } => Request::Fetch { from, blocks_max, inbox },
    }
}

/// Joins the chain that another process serves.
///
/// # Errors
/// [`SharedError`].
pub async fn connect(path: &Path) -> Result<DevChain, SharedError> {
    let stream = UnixStream::connect(path)
        .await
        .map_err(|source| SharedError { path: path.to_path_buf(), source })?;
    let (sender, requests) = mpsc::channel(REQUESTS_MAX);
    tokio::spawn(relay(framed(stream), requests));
    Ok(DevChain(sender))
}

/// Carries one node's requests there and news back, until either side goes. The node then hears nothing more of its chain.
async fn relay(lines: Lines, mut requests: mpsc::Receiver<Request>) {
    let (mut out, mut lines) = lines.split();
    let (joined, node) = watch::channel(None::<Inbox>);
    let say = async {
        while let Some(request) = requests.recv().await {
            let said = match request {
                Request::Join { who, inbox, .. } => {
                    joined.send_replace(Some(inbox));
                    Said::Join { who }
                }
                Request::Wish { from, wish, call, urgency, at_stake } => {
                    Said::Wish { from, wish, call, urgency, at_stake }
                }
                Request::Withdraw { from, wish } => Said::Withdraw { from, wish },
                Request::Fetch { from, blocks_max, .. } => Said::Fetch { from, blocks_max },
                // For whoever runs the chain: dropped, which tells the caller that it cannot be had.
                Request::Submit { .. } | Request::Accounts(_) => continue,
            };
            if send(&mut out, &said).await.is_err() {
                return;
            }
        }
    };
    let hear = async {
        while let Some(Ok(line)) = lines.next().await {
            let Ok(told) = serde_json::from_str::<Told>(&line) else { break };
            let inbox = node.borrow().clone();
            // A busy node asks again.
            let _ = inbox.map(|inbox| inbox.offer(told.input()));
        }
        error!("the process that serves the development chain is gone");
    };
    tokio::select! {
        () = say => {}
        () = hear => {}
    }
}

async fn send(out: &mut SplitSink<Lines, String>, what: &impl Serialize) -> Result<(), ()> {
    let line = serde_json::to_string(what).expect("plain data has a JSON form");
    out.send(line).await.map_err(drop)
}

fn framed(stream: UnixStream) -> Lines {
    Framed::new(stream, LinesCodec::new_with_max_length(LINE_BYTES_MAX))
}

/// An answer of many blocks, all of them full.
const LINE_BYTES_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fairway_core::chain_types::B256;

    use super::*;

    const ALICE: Address = Address::repeat_byte(1);

    async fn shared() -> (tempfile::TempDir, DevChain, DevChain) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("chain.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let chain = DevChain::start(Duration::from_millis(10), [(ALICE, Amount::wei(10))].into());
        tokio::spawn(serve(chain.clone(), listener));
        let elsewhere = connect(&path).await.unwrap();
        (directory, chain, elsewhere)
    }

    #[tokio::test]
    async fn a_node_elsewhere_hears_of_blocks_and_its_wishes_are_mined() {
        let (_directory, chain, elsewhere) = shared().await;
        let (inbox, mut news) = inbox::inbox();
        let endpoint = elsewhere.endpoint(ALICE, &Config::default(), inbox);
        let (asset, channel) = (Address::ZERO, ChannelId(B256::repeat_byte(7)));
        let (expected_held, amount) = (Amount::ZERO, Amount::wei(4));
        let deposit = Call::Deposit { asset, channel, expected_held, amount };
        endpoint.submit(None, deposit, Urgency::Normal, 0);
        let mined = loop {
            match news.next_input().await {
                Some(Input::NewHead { number }) => endpoint.fetch(number),
                Some(Input::Blocks { blocks, .. }) if blocks.iter().any(|b| !b.logs.is_empty()) => {
                    break blocks;
                }
                Some(_) => {}
                None => panic!("the chain is gone"),
            }
        };
        assert!(mined.iter().flat_map(|b| &b.logs).all(|l| l.log.channel() == channel));
        assert_eq!(chain.accounts().await.unwrap().holdings, [(channel, amount)].into());
    }

    #[tokio::test]
    async fn only_whoever_runs_the_chain_sees_all_accounts() {
        let (_directory, chain, elsewhere) = shared().await;
        assert!(chain.accounts().await.is_ok());
        assert!(elsewhere.accounts().await.is_err());
    }

    #[tokio::test]
    async fn a_socket_that_nobody_serves_is_named() {
        let missing = connect(Path::new("/nonexistent/chain.sock")).await;
        let Err(error) = missing else { panic!("nobody is there") };
        assert!(
            error.to_string().contains("/nonexistent/chain.sock: no development chain answers")
        );
    }
}
