//! One seed of the plainest story on the reference engine, with real signatures and with toy ones.
//!
//! For comparing two commits on one machine; `fairway-sim bench` measures whole campaigns against the floor that signatures set.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use fairway_sim::campaign::How;
use fairway_sim::scenario::Library;
use fairway_sim::seed_id::Crypto;

fn one_seed(c: &mut Criterion) {
    let scenario = Library::new().load("smoke/plain", &[]).expect("it is built in").remove(0);
    for crypto in [Crypto::Real, Crypto::Toy] {
        let how = How { crypto, ..How::reference() };
        c.bench_function(&format!("smoke/plain, reference, {crypto}"), |b| {
            b.iter(|| black_box(how.run(&scenario, 1, false).report.digest));
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = one_seed
}
criterion_main!(benches);
