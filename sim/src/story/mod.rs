//! TEMP
/// t
#[derive(Clone,Debug)]
pub struct Recorder;
impl Recorder {
    /// t
    pub fn new(_s: &crate::invariant::Setting) -> Recorder { Recorder }
    /// t
    pub fn observe(&mut self, now: u64, seen: &crate::observe::Observed<'_>) { println!("{:>8.3}s {:?}", now as f64/1e9, short(seen)); }
}
fn short(seen: &crate::observe::Observed<'_>) -> String {
    use crate::observe::Observed::*;
    match seen {
        Appended{node,events,..} => format!("{} append {:?}", node.0, events.iter().map(|e| e.1.name()).collect::<Vec<_>>()),
        Sent{node,to,wire,..} => format!("{}->{} {:?}", node.0, to.0, wire.map(|w| w.name())),
        Submitted{node,call} => format!("{} submit {}", node.0, format!("{call:?}").chars().take(60).collect::<String>()),
        Rested{node,state,..} => format!("{} rested lsn {} live {} wishes {:?}", node.0, state.lsn(), state.live_objectives(), state.wishes().keys().map(|w| format!("{:?}", w.want).chars().take(30).collect::<String>()).collect::<Vec<_>>()),
        Block{chain,..} => format!("block {}", chain.head().number),
        Restarted{..} => "restarted".into(), Ended{..} => "ended".into(),
        o => format!("{o:?}").chars().take(200).collect(),
    }
}
