//! What an endpoint says to a transaction, in the words of the clients that there are.

use alloy_primitives::B256;

use crate::rpc::RpcFailure;

/// One endpoint's answer to a broadcast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Taken,
    Used,
    Underpriced,
    /// The account cannot pay.
    Poor,
    /// No answer: it may have been taken.
    Unknown,
    Refused(String),
}

/// Endpoints say in words what went wrong. These are the words of geth, reth, erigon, nethermind, besu and anvil.
pub(crate) fn said(answer: Result<B256, RpcFailure>) -> Said {
    let failure = match answer {
        Ok(_) => return Said::Taken,
        Err(failure) => failure,
    };
    let RpcFailure::Refused { message, .. } = &failure else { return Said::Unknown };
    let message = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|w| message.contains(w));
    if says(&[
        "already known",
        "known transaction",
        "already imported",
        "alreadyknown",
        "already in",
    ]) {
        Said::Taken
    } else if says(&["nonce too low", "oldnonce", "nonce is too low", "nonce_too_low"]) {
        Said::Used
    } else if says(&[
        "underpriced",
        "feetoolow",
        "fee too low",
        "max fee per gas less than block base fee",
    ]) {
        Said::Underpriced
    } else if says(&["insufficient funds", "insufficientfunds", "insufficient balance"]) {
        Said::Poor
    } else {
        Said::Refused(failure.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(message: &str) -> Said {
        said(Err(RpcFailure::Refused { code: -32000, message: message.into() }))
    }

    #[test]
    fn the_words_of_endpoints_are_understood() {
        assert_eq!(said(Ok(B256::ZERO)), Said::Taken);
        assert_eq!(said(Err(RpcFailure::Unreachable("broken pipe".into()))), Said::Unknown);
        assert_eq!(refused("already known"), Said::Taken);
        assert_eq!(refused("nonce too low: next nonce 7, tx nonce 6"), Said::Used);
        assert_eq!(refused("replacement transaction underpriced"), Said::Underpriced);
        assert_eq!(refused("Insufficient funds for gas * price + value"), Said::Poor);
        assert!(matches!(refused("intrinsic gas too low"), Said::Refused(_)));
    }
}
