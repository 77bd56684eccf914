//! The network between parties, frame by frame: what each link does to what is handed to it.
//!
//! The reference engine delivers by it; the stream engines ask it which links are cut and how late a chunk is.

use std::cell::OnceCell;
use std::sync::Arc;

use crate::chance::{Chance, Site};
use crate::observe::PartyId;
use crate::scenario::Dist;
use crate::scenario::PlannedNetwork;
use crate::scenario::{Nanos, Ppm};

/// All links of a run.
#[derive(Clone, Debug)]
pub struct Network {
    base: PlannedNetwork,
    rules: Vec<Rule>,
    parties: usize,
    sites: Vec<LinkSites>,
}

/// What is wrong with some links for a while.
#[derive(Clone, Debug)]
pub struct Rule {
    /// From and to; `None` for every link.
    pub link: Option<(PartyId, PartyId)>,
    /// Until when, in virtual nanoseconds.
    pub until: u64,
    /// What.
    pub what: Trouble,
}

/// What a rule does.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// Nothing passes.
    Cut,
    /// Frames are lost with this probability.
    Loss(Ppm),
    /// Frames arrive twice with this probability.
    Duplicate(Ppm),
    /// Frames take this long in addition.
    Late(Dist<Nanos>),
    /// One byte changes with this probability: an authenticated session notices and ends.
    Corrupt(Ppm),
    /// A frame is held back until a later one has passed.
    Reorder(Ppm),
}

/// The sites of one link. Most are never drawn from, and naming one costs more than drawing.
#[derive(Clone, Debug)]
struct LinkSites {
    link: Arc<str>,
    latency: OnceCell<Site>,
    loss: OnceCell<Site>,
    duplicate: OnceCell<Site>,
    late: OnceCell<Site>,
    corrupt: OnceCell<Site>,
    reorder: OnceCell<Site>,
}

impl LinkSites {
    fn new(from: &str, to: &str) -> LinkSites {
        LinkSites {
            link: format!("{from}>{to}").into(),
            latency: OnceCell::new(),
            loss: OnceCell::new(),
            duplicate: OnceCell::new(),
            late: OnceCell::new(),
            corrupt: OnceCell::new(),
            reorder: OnceCell::new(),
        }
    }

    fn latency(&self) -> &Site {
        self.site(&self.latency, "net.latency")
    }

    fn loss(&self) -> &Site {
        self.site(&self.loss, "net.loss")
    }

    fn duplicate(&self) -> &Site {
        self.site(&self.duplicate, "net.duplicate")
    }

    fn late(&self) -> &Site {
        self.site(&self.late, "net.late")
    }

    fn corrupt(&self) -> &Site {
        self.site(&self.corrupt, "net.corrupt")
    }

    fn reorder(&self) -> &Site {
        self.site(&self.reorder, "net.reorder")
    }

    fn site<'a>(&self, cell: &'a OnceCell<Site>, what: &'static str) -> &'a Site {
        cell.get_or_init(|| Site::new(format!("{what}/{}", self.link)))
    }
}

/// What becomes of one frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passage {
    /// Delays after which a copy arrives; empty when it is lost.
    pub arrives_after: Vec<u64>,
    /// Whether the frame was damaged: the session ends instead.
    pub damaged: bool,
}

impl Network {
    /// The links between these parties.
    pub fn new(base: PlannedNetwork, names: &[&str]) -> Network {
        let links = names.iter().flat_map(|from| names.iter().map(move |to| (from, to)));
        let sites = links.map(|(from, to)| LinkSites::new(from, to));
        Network { base, rules: Vec::new(), parties: names.len(), sites: sites.collect() }
    }

    /// Adds trouble.
    pub fn trouble(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    /// Ends all trouble, and what the scenario's links do by themselves to frames beyond delaying them.
    pub fn heal(&mut self) {
        self.rules.clear();
        self.base.loss = Ppm(0);
        self.base.duplicate = Ppm(0);
    }

    /// Whether nothing passes from one party to another.
    pub fn is_cut(&self, now: u64, from: PartyId, to: PartyId) -> bool {
        self.active(now, from, to).any(|t| matches!(t, Trouble::Cut))
    }

    fn active(&self, now: u64, from: PartyId, to: PartyId) -> impl Iterator<Item = &Trouble> {
        let hits = move |r: &&Rule| r.until > now && r.link.is_none_or(|l| l == (from, to));
        self.rules.iter().filter(hits).map(|r| &r.what)
    }

    /// Draws how long one chunk takes on its way.
    pub fn latency(&self, now: u64, from: PartyId, to: PartyId, chance: &mut Chance) -> u64 {
        let sites = &self.sites[from.0 * self.parties + to.0];
        let mut delay = self.base.latency.draw(chance, sites.latency()).0;
        for trouble in self.active(now, from, to) {
            if let Trouble::Late(extra) = trouble {
                delay = delay.saturating_add(extra.draw(chance, sites.late()).0);
            }
        }
        delay
    }

    /// Draws what becomes of a frame that is handed over now.
    pub fn pass(&self, now: u64, from: PartyId, to: PartyId, chance: &mut Chance) -> Passage {
        let sites = &self.sites[from.0 * self.parties + to.0];
        if self.is_cut(now, from, to) {
            return Passage::default();
        }
        let delay = self.latency(now, from, to, chance);
        let (mut lost, mut copies, mut damaged, mut held) = (false, 1, false, 0);
        let base = [Trouble::Loss(self.base.loss), Trouble::Duplicate(self.base.duplicate)];
        for trouble in base.iter().chain(self.active(now, from, to)) {
            match trouble {
                Trouble::Cut | Trouble::Late(_) => {}
                Trouble::Loss(Ppm(0)) | Trouble::Duplicate(Ppm(0)) => {}
                Trouble::Loss(ppm) => lost |= chance.chance_ppm(sites.loss(), ppm.0),
                Trouble::Duplicate(ppm) => {
                    copies += usize::from(chance.chance_ppm(sites.duplicate(), ppm.0));
                }
                Trouble::Corrupt(ppm) => damaged |= chance.chance_ppm(sites.corrupt(), ppm.0),
                Trouble::Reorder(ppm) => {
                    if chance.chance_ppm(sites.reorder(), ppm.0) {
                        held = delay.saturating_mul(2).max(1_000_000);
                    }
                }
            }
        }
        if lost || damaged {
            return Passage { arrives_after: Vec::new(), damaged };
        }
        let arrives_after =
            (0..copies as u64).map(|i| delay + held + i * (delay / 2 + 1)).collect();
        Passage { arrives_after, damaged: false }
    }
}
