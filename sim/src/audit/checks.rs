//! Which invariants a log alone can prove or refute, and why the others need more.

/// What an invariant needs beside a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing: it runs.
    Nothing,
    /// It runs as far as a log goes; what is left out.
    Part(&'static str),
    /// It is the enforcer's: judged against the chain as the log saw it.
    Game,
    /// It cannot run, because this is missing.
    More(&'static str),
}

/// Every invariant of the simulator, in its order.
pub(super) const NEEDS: &[(&str, Needs)] = &[
    (
        "no-equivocation",
        Needs::Part(
            "a signature in the log counts as released; one that the log forgot is not seen",
        ),
    ),
    ("durable-before-sent", Needs::More("when each message left, which no log says")),
    ("final-outcome-is-last-supported", Needs::Nothing),
    ("signed-states-are-valid", Needs::Nothing),
    ("no-stale-signing", Needs::Nothing),
    (
        "one-final-state",
        Needs::Part(
            "a signature in the log counts as released; one that the log forgot is not seen",
        ),
    ),
    ("support-is-unanimous", Needs::Nothing),
    ("supported-turn-grows", Needs::Nothing),
    ("no-stale-challenge-signed", Needs::Nothing),
    ("approved-before-signed", Needs::Nothing),
    (
        "money-is-conserved",
        Needs::More(
            "the whole chain with everybody's balances; several logs together are compared below",
        ),
    ),
    ("deposits-are-safe", Needs::Part("decisions are checked, not what was mined")),
    ("funded-before-postfund", Needs::Nothing),
    (
        "holdings-match-chain",
        Needs::More("the chain itself: the log has only what the endpoint said"),
    ),
    ("no-signing-on-vanished-funds", Needs::Nothing),
    (
        "cursor-matches-facts",
        Needs::More("the chain itself; that blocks connect is checked as `blocks-connect`"),
    ),
    (
        "no-deposit-into-used-channel",
        Needs::Part("a deposit that the log wants counts as submitted"),
    ),
    ("challenge-answered", Needs::More("the chain itself, and when the node ran")),
    ("entitlement-is-paid", Needs::More("the chain itself, to the end of every channel")),
    ("never-worse-than-enforceable", Needs::More("the transactions as they were submitted")),
    ("entitlement-is-enforceable", Needs::Game),
    ("log-is-prefix-closed", Needs::More("the log as it was before each restart")),
    ("replay-equals-memory", Needs::More("the memory of the running node")),
    ("replay-is-deterministic", Needs::Nothing),
    ("damage-is-never-silent", Needs::More("everything that was ever written")),
    ("objective-transitions", Needs::Nothing),
    ("duplicates-change-nothing", Needs::Nothing),
    ("hostile-bytes-change-nothing", Needs::More("the messages that reached the node")),
    ("objective-completes", Needs::More("an end: the node may go on tomorrow")),
    (
        "no-forgotten-signing",
        Needs::More(
            "what the log had before; with the peers' logs, `signatures-are-remembered` sees it",
        ),
    ),
    ("vouchers-only-grow", Needs::Nothing),
    ("everybody-is-whole", Needs::More("the chain itself, to the end of every channel")),
    ("ledger-views-agree", Needs::More("the peer's log; with it, `views-agree` checks it")),
    ("speaks-the-agreed-version", Needs::More("the messages that left the node")),
    ("floods-are-bounded", Needs::More("the limits of the operator's configuration")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_invariant_is_said_to_run_or_not_to() {
        let here: Vec<&str> = NEEDS.iter().map(|(name, _)| *name).collect();
        assert_eq!(here, crate::invariant::names());
    }
}
