//! The natural logarithm in integers, exact enough for delays and the same on every machine.

/// `-ln(y / 2^32)` as a number with 32 fractional bits, for `y` in `1..=2^32`. Error below 2^-22.
///
/// The binary logarithm is found bit by bit (square the mantissa; the new bit is whether it passed 2), then
/// multiplied by ln 2.
pub(super) fn minus_ln_q32(y: u64) -> u64 {
    assert!((1..=1 << 32).contains(&y), "{y} is not a fraction of 2^32");
    let whole = u64::from(63 - y.leading_zeros());
    // The mantissa in [1, 2) with 63 fractional bits.
    let mut mantissa = u128::from(y) << (63 - whole);
    let mut fraction = 0u64;
    for bit in (32 - FRACTION_BITS..32).rev() {
        mantissa = (mantissa * mantissa) >> 63;
        if mantissa >= 1 << 64 {
            mantissa >>= 1;
            fraction |= 1 << bit;
        }
    }
    let log2_q32 = (whole << 32) | fraction;
    let minus_log2_q32 = (32u64 << 32) - log2_q32;
    ((u128::from(minus_log2_q32) * LN_2_Q32) >> 32) as u64
}

/// How many bits of the fraction are worked out.
const FRACTION_BITS: u32 = 24;

/// ln 2 with 32 fractional bits.
const LN_2_Q32: u128 = 2_977_044_472;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_logarithms_come_out() {
        for (y, expected_q32) in [
            (1u64 << 32, 0u64),
            (1 << 31, 2_977_044_472),
            (1 << 30, 5_954_088_944),
            (1, 95_265_423_104),
            // y = 2^32 / e, so the answer is 1.
            (1_580_030_169, 1 << 32),
        ] {
            let found = minus_ln_q32(y);
            assert!(found.abs_diff(expected_q32) < 1 << 10, "{y}: {found} for {expected_q32}");
        }
    }

    #[test]
    fn it_falls_as_its_argument_grows() {
        let points: Vec<u64> = (1..=2000).map(|i| minus_ln_q32(i * 2_000_000)).collect();
        assert!(points.windows(2).all(|pair| pair[0] >= pair[1]));
    }
}
