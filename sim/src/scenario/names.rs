//! The names that scenarios may use for things defined elsewhere, and suggestions for misspelt ones.

/// Events of a node's log that a fault can wait for.
pub use fairway_core::event::EVENT_NAMES;

/// Goals: what a campaign must have seen at least once. Judged over all its runs; one never reached fails it.
pub const GOAL_NAMES: &[&str] = &[
    "channel-open",
    "payment-made",
    "channel-closed",
    "channel-closed-on-chain",
    "challenge-registered",
    "challenge-answered",
    "restarted-after-crash",
    "unsynced-write-lost",
    "torn-tail-cut",
    "disk-reserve-released",
    "fail-stop",
    "message-lost",
    "message-resent",
    "duplicate-received",
    "deposit-reverted",
    "deposit-seen-again",
    "logs-rescanned",
    "hostile-message-refused",
    "objective-rejected",
    "clock-went-back",
    "virtual-open",
    "virtual-closed",
    "voucher-received",
    "voucher-redeemed",
    "guarantee-reclaimed",
    "virtual-challenged",
    "redemption-on-record",
    "adversary-sent",
    "adversary-withheld",
    "adversary-called",
    "fee-raised",
];

/// The candidate that was probably meant: the closest, when it is close.
pub fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate)
        })
        .filter(|(distance, candidate)| is_close(*distance, candidate.len().min(name.len())))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Whether so many slips are likely in the shorter of two names of this length: short names are never close.
fn is_close(distance: usize, length: usize) -> bool {
    length > 2 && distance <= 1 + length / 3
}

/// `expected one of …, found …`, with a suggestion when one is close.
pub(super) fn unknown(what: &str, found: &str, known: &[&str]) -> String {
    let list = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let hint = match closest(found, known.iter().copied()) {
        Some(close) => format!("; did you mean `{close}`?"),
        None => String::new(),
    };
    match known {
        [] => format!("expected no {what} here, found `{found}`"),
        [_] => format!("expected {what} ({list}), found `{found}`{hint}"),
        _ => format!("expected {what} among {list}, found `{found}`{hint}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_close_names_are_suggested() {
        assert_eq!(closest("StateSgined", EVENT_NAMES.iter().copied()), Some("StateSigned"));
        assert_eq!(closest("statesigned", EVENT_NAMES.iter().copied()), Some("StateSigned"));
        assert_eq!(closest("SessionLost", EVENT_NAMES.iter().copied()), None);
        assert_eq!(closest("x", []), None);
    }
}
