//! 2^-x and ln from additions and multiplications alone: the same bits on every host, whatever its C library.

use std::f64::consts::{FRAC_1_SQRT_2, LN_2};

const STEPS: usize = 16;

/// 2^-(i / 16), each the rounded sum of its series.
const POWERS: [f64; STEPS] = {
    let mut powers = [1.0; STEPS];
    let mut i = 1;
    while i < STEPS {
        powers[i] = series(-(i as f64) / STEPS as f64 * LN_2);
        i += 1;
    }
    powers
};

/// e^x for |x| < ln 2, from its smallest term up.
const fn series(x: f64) -> f64 {
    let mut sum = 1.0;
    let mut n = 24;
    while n > 0 {
        sum = 1.0 + sum * x / n as f64;
        n -= 1;
    }
    sum
}

/// 2^-x for x >= 0, within 2 ulp; 0 from x = 1000 on (and for what is not a number).
#[inline]
pub fn exp2_neg(x: f64) -> f64 {
    if !(0.0..1000.0).contains(&x) {
        return if x < 0.0 { 1.0 } else { 0.0 };
    }
    let sixteenths = (x * STEPS as f64 + 0.5) as u64;
    let r = (sixteenths as f64 / STEPS as f64 - x) * LN_2;
    // |r| <= ln 2 / 32: the term of degree 8 is below 1e-18. Pairs first, so that the chain of dependent steps is short.
    let r2 = r * r;
    let low = (1.0 + r) + r2 * (1.0 / 2.0 + r * (1.0 / 6.0));
    let high = (1.0 / 24.0 + r * (1.0 / 120.0)) + r2 * (1.0 / 720.0 + r * (1.0 / 5040.0));
    let power = POWERS[sixteenths as usize % STEPS] * (low + r2 * r2 * high);
    // Exponents reach -1000, above the subnormal range, so the scale is a normal number made from its bits.
    power * f64::from_bits((1023 - sixteenths / STEPS as u64) << 52)
}

/// ln(1 + x) for x >= 0, to 1e-15 absolute; 0 below 0 and for what is not a number.
#[inline]
pub fn ln_1p(x: f64) -> f64 {
    let y = 1.0 + x.clamp(0.0, f64::MAX);
    if y.is_nan() {
        return 0.0;
    }
    let bits = y.to_bits();
    let (mut exponent, mut m) = ((bits >> 52) as i64 - 1022, f64::from_bits(bits & ((1 << 52) - 1) | 1022 << 52));
    if m < FRAC_1_SQRT_2 {
        (m, exponent) = (m * 2.0, exponent - 1);
    }
    // ln m = 2 atanh(s), |s| < 0.1716, s^2 < 0.02944.
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let z2 = z * z;
    let even = 1.0 + z2 * (1.0 / 5.0 + z2 * (1.0 / 9.0 + z2 * (1.0 / 13.0 + z2 * (1.0 / 17.0))));
    let odd = 1.0 / 3.0 + z2 * (1.0 / 7.0 + z2 * (1.0 / 11.0 + z2 * (1.0 / 15.0 + z2 * (1.0 / 19.0))));
    exponent as f64 * LN_2 + 2.0 * s * (even + z * odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_c_library() {
        for i in 0..400_000_u32 {
            let x = f64::from(i) * 0.002_437_1;
            let (ours, theirs) = (exp2_neg(x), (-x).exp2());
            assert!((ours - theirs).abs() <= theirs * 5e-16, "2^-{x}: {ours:e} against {theirs:e}");
            let (ours, theirs) = (ln_1p(x * x), (x * x).ln_1p());
            assert!((ours - theirs).abs() <= 1e-15 * theirs.max(1.0), "ln(1 + {x}^2): {ours:e} against {theirs:e}");
        }
    }

    #[test]
    fn total_at_the_edges() {
        assert_eq!([exp2_neg(0.0), exp2_neg(1.0), exp2_neg(10.0)], [1.0, 0.5, 1.0 / 1024.0]);
        assert_eq!(
            [exp2_neg(1e300), exp2_neg(f64::INFINITY), exp2_neg(f64::NAN), exp2_neg(-1.0)],
            [0.0, 0.0, 0.0, 1.0]
        );
        assert_eq!([ln_1p(0.0), ln_1p(-5.0), ln_1p(f64::NAN)], [0.0; 3]);
        assert!((ln_1p(f64::INFINITY) - 709.782_712_893_384).abs() < 1e-9);
    }
}
