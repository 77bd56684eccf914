//! `[[op]]`: what the parties' users ask for, and when.

use schemars::JsonSchema;
use serde::Deserialize;

use super::dist::Dist;
use super::fault::When;
use super::unit::{Count, Money, Nanos};

/// One operation.
///
/// In the file its kind stands in `do` and its arguments in `args`; the reader turns the two into one table
/// before they meet this type (see `file.rs`).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Op {
    /// A name for triggers: `<id>.done`.
    #[serde(default)]
    pub id: Option<String>,
    /// When, from the start of the run.
    #[serde(default)]
    pub at: Option<Dist<Nanos>>,
    /// After which milestone: `C.open`, `C.updated`, `C.closed` of a channel, `V.open`, `V.paid`, `V.closed` of a virtual one,
    /// `<id>.done` of an earlier operation.
    #[serde(default)]
    pub after: Option<String>,
    /// At which event of a party's log; no time here, which stands in `at`.
    #[serde(default)]
    pub when: Option<When>,
    /// How long after that milestone or event.
    #[serde(default)]
    pub delay: Option<Dist<Nanos>>,
    /// What is asked for.
    #[serde(rename = "do")]
    #[schemars(flatten)]
    pub what: OpKind,
    /// Always absent here: `args` has been moved into `do`. Listed so that suggestions know it.
    #[serde(default, rename = "args")]
    #[schemars(skip)]
    pub(super) _args: (),
}

/// What a user can ask for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[schemars(tag = "do", content = "args")]
pub enum OpKind {
    /// Open and fund a channel of the topology.
    #[serde(rename = "channel.open")]
    ChannelOpen(ChannelOpen),
    /// Open a virtual channel of the topology; its payer asks.
    #[serde(rename = "virtual.open")]
    VirtualOpen(VirtualOpen),
    /// Pay once, or many times, in a channel of either kind.
    #[serde(rename = "channel.pay")]
    ChannelPay(ChannelPay),
    /// Close together with the peer.
    #[serde(rename = "channel.close")]
    ChannelClose(ChannelClose),
    /// Close on chain, without the peer.
    #[serde(rename = "force_close")]
    ForceClose(ForceClose),
    /// Stop a party properly and start it again.
    #[serde(rename = "restart")]
    Restart(Restart),
}

/// Arguments of `channel.open`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelOpen {
    /// Which channel of the topology.
    pub id: String,
    /// Who asks; the channel's first participant by default.
    pub from: Option<String>,
}

/// Arguments of `virtual.open`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VirtualOpen {
    /// Which virtual channel of the topology.
    pub id: String,
}

/// Arguments of `channel.pay`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelPay {
    /// In which channel.
    pub channel: String,
    /// Who pays; the other participant receives. In a virtual channel only its payer can.
    pub from: String,
    /// How much, drawn for each payment.
    pub amount: Dist<Money>,
    /// How many payments.
    #[serde(default = "once")]
    pub count: Dist<Count>,
    /// The time before each payment but the first.
    #[serde(default = "no_gap")]
    pub gap: Dist<Nanos>,
}

/// Arguments of `channel.close`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelClose {
    /// Which channel.
    pub channel: String,
    /// Who asks; the channel's first participant by default.
    pub from: Option<String>,
}

/// Arguments of `force_close`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForceClose {
    /// Which channel.
    pub channel: String,
    /// Who goes to the chain.
    pub from: String,
}

/// Arguments of `restart`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    /// Who.
    pub party: String,
    /// How long it is away.
    #[serde(default = "no_gap")]
    pub down: Dist<Nanos>,
    /// The oldest and the newest wire version that it speaks from then on; by default those that it spoke before.
    #[serde(default)]
    pub versions: Option<(u16, u16)>,
}

fn once() -> Dist<Count> {
    Dist::Is(Count(1))
}

fn no_gap() -> Dist<Nanos> {
    Dist::Is(Nanos::ZERO)
}
