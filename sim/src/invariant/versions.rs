//! I49: nobody is told what it cannot read.
//!
//! A session agrees on a wire version when it comes up. From the moment at which a node has heard of it, the node sends in that session
//! what the version knows. Without a session nothing is judged: what leaves then is lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::run::Run;
use super::view::Views;
use super::{Invariant, Violation};
use crate::observe::{Observed, PartyId};

/// See [`Invariant::statement`].
#[derive(Debug)]
pub(super) struct SpeaksTheAgreedVersion {
    run: Arc<Run>,
    /// What each node was told last, by node and peer.
    sessions: BTreeMap<(PartyId, PartyId), u16>,
}

impl SpeaksTheAgreedVersion {
    pub fn new(run: &Arc<Run>) -> SpeaksTheAgreedVersion {
        SpeaksTheAgreedVersion { run: Arc::clone(run), sessions: BTreeMap::new() }
    }
}

impl Invariant for SpeaksTheAgreedVersion {
    fn name(&self) -> &'static str {
        "speaks-the-agreed-version"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I49"]
    }

    fn statement(&self) -> &'static str {
        "an honest node sends in a session no message that the session's wire version does not know"
    }

    fn observe(
        &mut self,
        _now_ns: u64,
        seen: &Observed<'_>,
        _views: &Views,
    ) -> Result<(), Violation> {
        match seen {
            Observed::Session { node, peer, version: Some(version) } => {
                self.sessions.insert((*node, *peer), *version);
            }
            Observed::Session { node, peer, version: None } => {
                self.sessions.remove(&(*node, *peer));
            }
            Observed::Crashed { node } | Observed::Stopped { node, .. } => {
                self.sessions.retain(|(who, _), _| who != node);
            }
            Observed::Sent { node, to, wire: Some(wire), .. } if self.run.honest(*node) => {
                let agreed = self.sessions.get(&(*node, *to)).copied();
                if let Some(agreed) = agreed.filter(|agreed| *agreed < wire.version()) {
                    let (who, whom) = (self.run.name(*node), self.run.name(*to));
                    let (what, needed) = (wire.name(), wire.version());
                    let what = format!(
                        "{who} sent {whom} a {what} of wire version {needed} in a session of version {agreed}"
                    );
                    let name = "speaks-the-agreed-version";
                    return Err(Violation::safety(name, *node, None, what));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;
    use fairway_core::wire::Wire;

    fn meets(story: &mut Story, node: PartyId, peer: PartyId, version: Option<u16>) {
        story.tell(&Observed::Session { node, peer, version }).unwrap();
    }

    #[test]
    fn what_the_session_knows_may_be_said() {
        let mut story = Story::of("speaks-the-agreed-version");
        let new = Wire::FinalRequest { channel: channel() };
        let old = Wire::CloseRequest { channel: channel() };
        // Nothing was agreed on yet.
        story.sends(ALICE, BOB, &new).unwrap();
        for version in [1, 2] {
            meets(&mut story, ALICE, BOB, Some(version));
            story.sends(ALICE, BOB, &old).unwrap();
        }
        story.sends(ALICE, BOB, &new).unwrap();
        // The session is over, or the process that knew of it.
        meets(&mut story, ALICE, BOB, Some(1));
        meets(&mut story, ALICE, BOB, None);
        story.sends(ALICE, BOB, &new).unwrap();
        meets(&mut story, ALICE, BOB, Some(1));
        story.crashes_and_loses_nothing(ALICE);
        story.sends(ALICE, BOB, &new).unwrap();
    }

    #[test]
    fn what_the_session_does_not_know_is_noticed() {
        let new = Wire::FinalRequest { channel: channel() };
        let mut story = Story::of("speaks-the-agreed-version");
        meets(&mut story, ALICE, BOB, Some(2));
        meets(&mut story, ALICE, BOB, Some(1));
        // Another session, and the same one from the other end, are none of this one.
        meets(&mut story, BOB, ALICE, Some(2));
        story.sends(BOB, ALICE, &new).unwrap();
        let violation = story.sends(ALICE, BOB, &new).unwrap_err();
        assert_fires(&violation, "speaks-the-agreed-version", ALICE);
        // An adversary owes nothing.
        let mut story = Story::of("speaks-the-agreed-version");
        meets(&mut story, MALLORY, BOB, Some(1));
        story.sends(MALLORY, BOB, &new).unwrap();
    }
}
