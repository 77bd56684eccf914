//! Why the contracts refuse a call: each reason once, in their own words.
//!
//! Source: `ForceMove.sol`, `MultiAssetHolder.sol`, `NitroUtils.sol`, `ConsensusApp.sol`, `VirtualPaymentApp.sol`; the token's is
//! OpenZeppelin's.

/// Why a call failed, as the contract encodes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Revert {
    /// `Error(string)`.
    #[error("{0}")]
    Reason(&'static str),
    /// `Panic(uint256)`.
    #[error("panic 0x{0:02x}")]
    Panic(u8),
    /// No data: undecodable calldata, or a call to an address without code.
    #[error("reverted without a reason")]
    Empty,
}

impl Revert {
    /// Checked arithmetic.
    pub const OVERFLOW: Revert = Revert::Panic(0x11);
    /// Array index out of bounds.
    pub const OUT_OF_BOUNDS: Revert = Revert::Panic(0x32);
    /// `deposit` into an address instead of a channel.
    pub const EXTERNAL_DEPOSIT: Revert = Revert::Reason("Deposit to external destination");
    /// `deposit` decided on other holdings.
    pub const HELD_NOT_EXPECTED: Revert = Revert::Reason("held != expectedHeld");
    /// `challenge` below the recorded turn.
    pub const TURN_DECREASED: Revert = Revert::Reason("turnNumRecord decreased.");
    /// `challenge` during a challenge, or `checkpoint`, at or below the recorded turn.
    pub const TURN_NOT_INCREASED: Revert = Revert::Reason("turnNumRecord not increased.");
    /// The outcome is final already.
    pub const FINALIZED: Revert = Revert::Reason("Channel finalized.");
    /// The outcome is not final yet.
    pub const NOT_FINALIZED: Revert = Revert::Reason("Channel not finalized.");
    /// The challenge message was signed by an outsider.
    pub const OUTSIDER: Revert = Revert::Reason("Challenger is not a participant");
    /// A signature that recovers to nobody.
    pub const INVALID_SIGNATURE: Revert = Revert::Reason("Invalid signature");
    /// `conclude` of a state that is not final.
    pub const MUST_BE_FINAL: Revert = Revert::Reason("State must be final");
    /// Somebody's signature is missing.
    pub const NOT_UNANIMOUS: Revert = Revert::Reason("!unanimous");
    /// The consensus application takes no proof.
    pub const PROOF_NOT_EMPTY: Revert = Revert::Reason("|proof|!=0");
    /// The outcome or state hash is not what the channel finalized with.
    pub const FINGERPRINT: Revert = Revert::Reason("incorrect fingerprint");
    /// `transfer` with indices that do not strictly increase.
    pub const UNSORTED: Revert = Revert::Reason("Indices must be sorted");
    /// A transfer met a guarantee.
    pub const GUARANTEE: Revert = Revert::Reason("cannot transfer a guarantee");
    /// A recipient of native tokens reverted.
    pub const ETH_REFUSED: Revert = Revert::Reason("Could not transfer ETH");
    /// OpenZeppelin's token, when an index without an allocation pays nothing to nobody.
    pub const TOKEN_TO_ZERO: Revert = Revert::Reason("ERC20: transfer to the zero address");
    /// `reclaim` of an entry that is no guarantee.
    pub const NOT_A_GUARANTEE: Revert = Revert::Reason("not a guarantee allocation");
    /// `reclaim` from a channel that holds another asset than the guarantee.
    pub const OTHER_ASSET: Revert = Revert::Reason("targetAsset != guaranteeAsset");
    /// Nobody else in the ledger channel is the guarantee's left party.
    pub const NO_LEFT: Revert = Revert::Reason("could not find left");
    /// Nobody else in the ledger channel is the guarantee's right party.
    pub const NO_RIGHT: Revert = Revert::Reason("could not find right");
    /// The target's first two entries do not sum to the guarantee.
    pub const RECLAIMED_NOT_GUARANTEED: Revert = Revert::Reason("totalReclaimed!=guarantee.amount");
    /// A lone state of a payment channel that not all have signed.
    pub const LONE_NOT_UNANIMOUS: Revert = Revert::Reason("!unanimous; |proof|=0");
    /// A lone state of a payment channel that is neither prefund nor postfund.
    pub const LONE_TURN: Revert = Revert::Reason("bad candidate turnNum; |proof|=0");
    /// The proof of a redemption is not a postfund.
    pub const PROOF_TURN: Revert = Revert::Reason("bad proof[0].turnNum; |proof|=1");
    /// The proof of a redemption lacks somebody's signature.
    pub const PROOF_NOT_UNANIMOUS: Revert = Revert::Reason("postfund !unanimous; |proof|=1");
    /// A redemption at another turn than 2.
    pub const REDEMPTION_TURN: Revert = Revert::Reason("bad candidate turnNum; |proof|=1");
    /// A redemption without the payee's signature.
    pub const NOT_BY_PAYEE: Revert = Revert::Reason("redemption not signed by Bob");
    /// A redemption with a voucher that the payer did not sign for this channel.
    pub const FORGED_VOUCHER: Revert = Revert::Reason("invalid signature for voucher");
    /// A redemption of anything else than one exit of native tokens.
    pub const NATIVE_ONLY: Revert = Revert::Reason("only native asset allowed");
    /// A redemption that does not take the voucher from the payer.
    pub const PAYER_NOT_ADJUSTED: Revert = Revert::Reason("Alice not adjusted correctly");
    /// A redemption that does not give the voucher to the payee.
    pub const PAYEE_NOT_ADJUSTED: Revert = Revert::Reason("Bob not adjusted correctly");
    /// A payment channel's state with more than one state as proof.
    pub const PROOF_LENGTH: Revert = Revert::Reason("bad proof length");

    /// Every revert that a call of the model can end in. The contracts have one more, `could not find target`, which an index
    /// out of bounds forestalls.
    pub const ALL: &[Revert] = &[
        Revert::Empty,
        Revert::OVERFLOW,
        Revert::OUT_OF_BOUNDS,
        Revert::EXTERNAL_DEPOSIT,
        Revert::HELD_NOT_EXPECTED,
        Revert::TURN_DECREASED,
        Revert::TURN_NOT_INCREASED,
        Revert::FINALIZED,
        Revert::NOT_FINALIZED,
        Revert::OUTSIDER,
        Revert::INVALID_SIGNATURE,
        Revert::MUST_BE_FINAL,
        Revert::NOT_UNANIMOUS,
        Revert::PROOF_NOT_EMPTY,
        Revert::FINGERPRINT,
        Revert::UNSORTED,
        Revert::GUARANTEE,
        Revert::ETH_REFUSED,
        Revert::TOKEN_TO_ZERO,
        Revert::NOT_A_GUARANTEE,
        Revert::OTHER_ASSET,
        Revert::NO_LEFT,
        Revert::NO_RIGHT,
        Revert::RECLAIMED_NOT_GUARANTEED,
        Revert::LONE_NOT_UNANIMOUS,
        Revert::LONE_TURN,
        Revert::PROOF_TURN,
        Revert::PROOF_NOT_UNANIMOUS,
        Revert::REDEMPTION_TURN,
        Revert::NOT_BY_PAYEE,
        Revert::FORGED_VOUCHER,
        Revert::NATIVE_ONLY,
        Revert::PAYER_NOT_ADJUSTED,
        Revert::PAYEE_NOT_ADJUSTED,
        Revert::PROOF_LENGTH,
    ];
}

/// Solidity's `require`.
pub(super) fn require(holds: bool, revert: Revert) -> Result<(), Revert> {
    if holds { Ok(()) } else { Err(revert) }
}
