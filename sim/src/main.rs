use fairway_sim::{chance::Chance, engine::reference, scenario::Library, world::Options};
fn main() {
    let name = std::env::args().nth(1).unwrap();
    let seeds: u64 = std::env::args().nth(2).unwrap().parse().unwrap();
    let first: u64 = std::env::args().nth(3).map_or(0, |s| s.parse().unwrap());
    for s in Library::new().load(&name, &[]).unwrap() {
        let t = std::time::Instant::now();
        let mut bad = 0; let mut steps=0; let mut unsettled=0; let mut v=0;
        for seed in first..first+seeds {
            let mut chance = Chance::new(seed);
            let plan = s.resolve(&mut chance);
            let r = std::panic::catch_unwind(|| reference::run(plan, chance, Options { record: seeds == 1, ..Options::default() }));
            match r { Ok((report, world)) => { if !report.verdict.is_pass() { bad += 1; if bad<3 {println!("{} seed {seed} {:?}", s.name(), report.verdict);} } if !world.settled { unsettled += 1; if unsettled < 3 { println!("unsettled seed {seed}"); } } steps += report.steps; v+= report.virtual_ns; if seeds==1 { println!("{report:#?}"); } } Err(_) => { bad += 1; println!("{} seed {seed} panicked", s.name()); } }
        }
        println!("{:40} {bad} bad {unsettled} unsettled of {seeds}: {:.0}/s steps/run {} virtual {}s", s.name(), seeds as f64 / t.elapsed().as_secs_f64(), steps/seeds, v/seeds/1_000_000_000);
    }
}
