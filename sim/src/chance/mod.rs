//! Chance: every random decision of a run is one call `choice(site, n)`.
//!
//! The answer is a keyed pseudo-random function of the seed, the site's name and the ordinal of the draw at
//! that site, unless the [`Tape`] overrides it. So adding a draw at one site moves no other, a seed survives
//! unrelated changes, and seeds, replay, shrinking and fuzzer bytes are one mechanism.
//!
//! Smaller answers mean "less happens": [`Chance::chance_ppm`] answers no at 0, ranges answer their lower end.
//! A shrinker that lowers the values on a tape therefore makes the story shorter.
//!
//! This is not a source of entropy and knows nothing of time; no float is used anywhere.

mod logarithm;
mod site;
mod tape;

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use indexmap::IndexMap;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

pub use site::Site;
pub use tape::{Override, Tape, TapeError};

/// Parts per million in one whole: `chance_ppm(site, PPM_ONE)` is always yes.
pub const PPM_ONE: u32 = 1_000_000;

/// Answers every random decision of one run.
///
/// Clone it with the world: the clone continues at the same ordinals. A clone copies about 400 bytes for each
/// site that was ever drawn from; the tape is shared.
#[derive(Clone, Debug)]
pub struct Chance {
    seed: u64,
    tape: Arc<Tape>,
    /// How many of the tape's bytes have answered a draw.
    bytes_read: usize,
    streams: IndexMap<u128, Stream, BuildHasherDefault<KeyHasher>>,
    recorded: Option<Vec<Draw>>,
}

/// One site's stream. Invariant: `rng` stands at the 64-bit word number `ordinal`.
#[derive(Clone, Debug)]
struct Stream {
    name: Arc<str>,
    rng: ChaCha8Rng,
    ordinal: u64,
    /// Index into the tape of the first override at this site that was not reached yet, and its ordinal.
    next_override: Option<(usize, u64)>,
}

/// One answered draw, kept while recording.
#[derive(Clone, Copy, Debug)]
struct Draw {
    stream: usize,
    ordinal: u64,
    value: u64,
}

impl Chance {
    /// Answers from `seed` alone.
    pub fn new(seed: u64) -> Chance {
        Chance::with_tape(seed, Tape::default())
    }

    /// Answers from `tape` where it has an entry, from `seed` elsewhere.
    pub fn with_tape(seed: u64, tape: Tape) -> Chance {
        Chance {
            seed,
            tape: Arc::new(tape),
            bytes_read: 0,
            streams: IndexMap::with_capacity_and_hasher(USUAL_SITES, BuildHasherDefault::default()),
            recorded: None,
        }
    }

    /// The same, and every answer is kept from now on; see [`Chance::recorded_tape`].
    pub fn recording(mut self) -> Chance {
        self.recorded = Some(Vec::new());
        self
    }

    /// The seed of this run.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The tape this run reads.
    pub fn tape(&self) -> &Tape {
        &self.tape
    }

    /// A tape that gives every recorded answer again, whatever the seed; `None` when nothing was recorded.
    pub fn recorded_tape(&self) -> Option<Tape> {
        let draws = self.recorded.as_ref()?;
        let overrides = draws.iter().map(|draw| Override {
            site: self.streams[draw.stream].name.to_string(),
            ordinal: draw.ordinal,
            value: draw.value,
        });
        Some(Tape::from_overrides(overrides).expect("an ordinal is used once at each site"))
    }

    /// Every site drawn from so far with its number of draws, in order of first use.
    pub fn sites(&self) -> impl Iterator<Item = (&str, u64)> {
        self.streams.values().map(|stream| (&*stream.name, stream.ordinal))
    }

    /// A number in `0..n`.
    ///
    /// An override beyond the range answers `n - 1`: an edited tape stays usable when a range shrank. The bias
    /// towards some answers is below `n / 2^64`, the price of using exactly one word a draw.
    ///
    /// # Panics
    /// When `n` is zero: there is nothing to choose from.
    pub fn choice(&mut self, site: &Site, n: u64) -> u64 {
        assert!(n > 0, "choice among nothing at {site}");
        let index = self.stream(site);
        let stream = &mut self.streams[index];
        let ordinal = stream.ordinal;
        stream.ordinal += 1;
        // The word is consumed even when the tape answers: the position is the ordinal.
        let word = stream.rng.next_u64();
        let value = match stream.next_override {
            Some((at, due)) if due == ordinal => {
                stream.next_override = self.tape.following(at);
                self.tape.overrides()[at].value.min(n - 1)
            }
            _ => match self.tape.read_bytes(&mut self.bytes_read, n) {
                Some(value) => value,
                None => scale(word, n),
            },
        };
        // A draw without a choice gives the same answer on every tape.
        if let Some(draws) = &mut self.recorded
            && n > 1
        {
            draws.push(Draw { stream: index, ordinal, value });
        }
        assert!(value < n, "answer {value} at {site} is not below {n}");
        value
    }

    /// A number in `lo..=hi`.
    ///
    /// # Panics
    /// When `lo > hi`.
    pub fn range_inclusive(&mut self, site: &Site, lo: u64, hi: u64) -> u64 {
        assert!(lo <= hi, "empty range {lo}..={hi} at {site}");
        match (hi - lo).checked_add(1) {
            Some(n) => lo + self.choice(site, n),
            // The whole of u64; its last value is never drawn.
            None => self.choice(site, u64::MAX),
        }
    }

    /// A number in `lo..=hi`; a range wider than 2^64 is drawn in equal steps that include both ends.
    ///
    /// # Panics
    /// When `lo > hi`, or when the width overflows `i128`.
    pub fn range_wide(&mut self, site: &Site, lo: i128, hi: i128) -> i128 {
        assert!(lo <= hi, "empty range {lo}..={hi} at {site}");
        let width = hi.checked_sub(lo).expect("both ends are far from i128's");
        match u64::try_from(width) {
            Ok(width) => lo + i128::from(self.range_inclusive(site, 0, width)),
            Err(_) => {
                let steps = i128::from(u32::MAX);
                let drawn = i128::from(self.range_inclusive(site, 0, u64::from(u32::MAX)));
                lo + (width / steps) * drawn + (width % steps) * drawn / steps
            }
        }
    }

    /// Yes with a probability of `ppm` in a million; 1,000,000 and more is always yes. Draws in any case.
    pub fn chance_ppm(&mut self, site: &Site, ppm: u32) -> bool {
        let no = u64::from(PPM_ONE.saturating_sub(ppm));
        self.choice(site, u64::from(PPM_ONE)) >= no
    }

    /// One of `items`.
    ///
    /// # Panics
    /// When `items` is empty.
    pub fn pick<'a, T>(&mut self, site: &Site, items: &'a [T]) -> &'a T {
        &items[self.choice(site, items.len() as u64) as usize]
    }

    /// 32 bytes, four draws: key material and nonces.
    pub fn bytes32(&mut self, site: &Site) -> [u8; 32] {
        let mut bytes = [0; 32];
        for chunk in bytes.chunks_exact_mut(8) {
            chunk.copy_from_slice(&self.choice(site, u64::MAX).to_le_bytes());
        }
        bytes
    }

    /// A 64-bit seed for an engine that draws for itself.
    pub fn engine_seed(&mut self, site: &Site) -> u64 {
        self.choice(site, u64::MAX)
    }

    /// An exponentially distributed number with this mean, by inversion in integer arithmetic: between 0 and
    /// 23 times the mean. `mean` is below 2^90.
    pub fn exponential(&mut self, site: &Site, mean: u128) -> u128 {
        assert!(mean < 1 << 90, "mean {mean} at {site} is 2^90 or more");
        let drawn = self.choice(site, 1 << 32);
        (mean * u128::from(logarithm::minus_ln_q32((1 << 32) - drawn))) >> 32
    }

    /// The index of the site's stream, opened at its first draw.
    fn stream(&mut self, site: &Site) -> usize {
        if let Some(index) = self.streams.get_index_of(&site.key()) {
            return index;
        }
        let stream = Stream {
            name: site.shared_name(),
            rng: ChaCha8Rng::from_seed(stream_key(self.seed, site.name())),
            ordinal: 0,
            next_override: self.tape.first_at(site.name()),
        };
        self.streams.insert_full(site.key(), stream).0
    }
}

/// Sites that most runs draw from; a table that grows moves them all.
const USUAL_SITES: usize = 48;

/// The ChaCha8 key of one site under one seed. Changing this changes what every seed means.
fn stream_key(seed: u64, name: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("fairway-sim choice tape v1");
    hasher.update(&seed.to_le_bytes());
    hasher.update(name.as_bytes());
    *hasher.finalize().as_bytes()
}

/// `word` scaled down to `0..n`, keeping the order: the high half of the product.
fn scale(word: u64, n: u64) -> u64 {
    ((u128::from(word) * u128::from(n)) >> 64) as u64
}

/// Takes the site's key as its own hash: it is one already.
#[derive(Clone, Copy, Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are u128 and hash through write_u128");
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn draws(chance: &mut Chance, site: &Site, count: usize) -> Vec<u64> {
        (0..count).map(|_| chance.choice(site, 1000)).collect()
    }

    /// Goal: a new version of the cipher crate cannot change what a seed means without anyone noticing.
    /// Method: test case 1 (zero key, zero nonce) of draft-strombergson-chacha-test-vectors for ChaCha8.
    #[test]
    fn chacha8_gives_the_published_vectors() {
        let mut rng = ChaCha8Rng::from_seed([0; 32]);
        let mut stream = [0u8; 128];
        rng.fill_bytes(&mut stream);
        let hex: String = stream.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "3e00ef2f895f40d67f5bb8e81f09a5a12c840ec3ce9a7f3b181be188ef711a1e\
             984ce172b9216f419f445367456d5619314a42a3da86b001387bfdb80e0cfe42\
             d2aefa0deaa5c151bf0adb6c01f2a5adc0fd581259f9a2aadcf20f8fd566a26b\
             5032ec38bbc5da98ee0c6f568b872a65a08abf251deb21bb4b56e5d8821e68aa"
        );
    }

    #[test]
    fn seeds_mean_what_they_meant() {
        let mut chance = Chance::new(0x14c0);
        let site = Site::new("net.latency").of("alice").to("bob");
        assert_eq!(draws(&mut chance, &site, 6), GOLDEN);
    }

    /// Drawn once; a change here stales every seed ever published.
    const GOLDEN: [u64; 6] = [418, 270, 936, 174, 402, 636];

    #[test]
    fn a_draw_at_one_site_moves_no_other() {
        let (here, there) = (Site::new("a"), Site::new("b"));
        let alone = draws(&mut Chance::new(7), &here, 40);
        let mut chance = Chance::new(7);
        let mixed: Vec<u64> = (0..40)
            .map(|i| {
                draws(&mut chance, &there, i % 3);
                chance.choice(&here, 1000)
            })
            .collect();
        assert_eq!(alone, mixed);
        assert_ne!(alone, draws(&mut Chance::new(7), &there, 40));
        assert_ne!(alone, draws(&mut Chance::new(8), &here, 40));
    }

    #[test]
    fn an_override_answers_its_ordinal_only() {
        let site = Site::new("a");
        let plain = draws(&mut Chance::new(7), &site, 10);
        let mut tape = Tape::default();
        tape.set("a", 3, 5);
        tape.set("a", 8, 5000);
        tape.set("other", 4, 1);
        let mut expected = plain;
        expected[3] = 5;
        expected[8] = 999;
        assert_eq!(draws(&mut Chance::with_tape(7, tape), &site, 10), expected);
    }

    #[test]
    fn a_recorded_run_replays_under_any_seed() {
        let (a, b) = (Site::new("a"), Site::new("b").of("bob"));
        let run = |chance: &mut Chance| {
            (draws(chance, &a, 20), chance.exponential(&b, 500), chance.bytes32(&b))
        };
        let mut first = Chance::new(1).recording();
        let seen = run(&mut first);
        let tape = first.recorded_tape().expect("it was recording");
        assert_eq!(tape.len(), 25);
        assert_eq!(run(&mut Chance::with_tape(99, tape)), seen);
        assert_eq!(Chance::new(1).recorded_tape(), None);
    }

    #[test]
    fn a_clone_continues_where_it_was_taken() {
        let site = Site::new("a");
        let mut original = Chance::new(3);
        draws(&mut original, &site, 11);
        let mut clone = original.clone();
        assert_eq!(draws(&mut original, &site, 50), draws(&mut clone, &site, 50));
    }

    #[test]
    fn fuzzer_bytes_answer_in_order_and_then_the_seed_does() {
        let site = Site::new("a");
        let mut chance = Chance::with_tape(7, Tape::from_bytes(&[4, 0x01, 0x02, 9]));
        assert_eq!(chance.choice(&site, 10), 4);
        assert_eq!(chance.choice(&site, 1), 0, "a draw without a choice reads nothing");
        assert_eq!(chance.choice(&site, 1000), 0x0201);
        // Two bytes are wanted and one is left: from here on the seed answers.
        let mut seeded = Chance::new(7);
        draws(&mut seeded, &site, 3);
        assert_eq!(draws(&mut chance, &site, 5), draws(&mut seeded, &site, 5));
    }

    #[test]
    fn certain_and_impossible_are_exact() {
        let site = Site::new("a");
        let mut chance = Chance::new(5);
        assert!((0..1000).all(|_| chance.chance_ppm(&site, PPM_ONE)));
        assert!(!(0..1000).any(|_| chance.chance_ppm(&site, 0)));
        let hits = (0..100_000).filter(|_| chance.chance_ppm(&site, 250_000)).count();
        assert!((24_000..26_000).contains(&hits), "{hits} of 100000 at 25%");
    }

    #[test]
    fn the_exponential_has_its_mean() {
        let site = Site::new("a");
        let mut chance = Chance::new(5);
        let total: u128 = (0..100_000).map(|_| chance.exponential(&site, 1_000_000)).sum();
        let mean = total / 100_000;
        assert!((985_000..1_015_000).contains(&mean), "mean {mean}");
    }

    #[test]
    #[should_panic(expected = "choice among nothing at a")]
    fn choosing_among_nothing_is_a_bug() {
        Chance::new(0).choice(&Site::new("a"), 0);
    }

    proptest! {
        #[test]
        fn ranges_hold(seed: u64, lo: u64, width: u64, bytes: Vec<u8>) {
            let hi = lo.saturating_add(width);
            let mut chance = Chance::with_tape(seed, Tape::from_bytes(&bytes));
            let drawn = chance.range_inclusive(&Site::new("a"), lo, hi);
            prop_assert!((lo..=hi).contains(&drawn));
            let (wide_lo, wide_hi) = (-i128::from(lo) << 20, i128::from(hi) << 30);
            let drawn = chance.range_wide(&Site::new("b"), wide_lo, wide_hi);
            prop_assert!((wide_lo..=wide_hi).contains(&drawn));
        }
    }
}
