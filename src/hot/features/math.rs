//! 2^-x and ln from additions and multiplications alone: the same bits on every host, whatever its C library.

use std::f64::consts::LN_2;

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

/// 2^-x for x >= 0, to 1e-15 relative; 0 from x = 1000 on (and for what is not a number).
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

const CELLS: usize = 128;

/// For each 128th of [1, 2): about 1 / its middle, and minus the ln of exactly that. The first is of 1, so that ln 1 = 0.
const LOGS: [(f64, f64); CELLS] = {
    let mut logs = [(1.0, 0.0); CELLS];
    let mut i = 1;
    while i < CELLS {
        let inverse = 1.0 / (1.0 + (i as f64 + 0.5) / CELLS as f64);
        logs[i] = (inverse, -atanh_series((inverse - 1.0) / (inverse + 1.0)) * 2.0);
        i += 1;
    }
    logs
};

/// atanh s for |s| <= 1/3, from its smallest term up.
const fn atanh_series(s: f64) -> f64 {
    let (mut sum, mut n) = (0.0, 41);
    while n > 0 {
        sum = sum * s * s + 1.0 / n as f64;
        n -= 2;
    }
    sum * s
}

/// ln(1 + x) for x >= 0; 0 below 0 and for what is not a number.
#[inline]
pub fn ln_1p(x: f64) -> f64 {
    // Written so that a NaN takes the other branch.
    ln(if x > 0.0 { 1.0 + x } else { 1.0 })
}

/// ln y to 1e-15, absolute or relative, for positive finite y that are not subnormal.
#[inline]
pub fn ln(y: f64) -> f64 {
    let bits = y.to_bits();
    let exponent = (bits >> 52) as i32 - 1023;
    let m = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
    let (inverse, log) = LOGS[(bits >> 45) as usize % CELLS];
    // |r| < 1 / 128: the term of degree 7 is below 3e-16.
    let r = m * inverse - 1.0;
    let r2 = r * r;
    let tail = (1.0 / 3.0 - r * (1.0 / 4.0)) + r2 * (1.0 / 5.0 - r * (1.0 / 6.0));
    (f64::from(exponent) * LN_2 + log) + (r - r2 * 0.5 + r2 * r * tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_c_library() {
        for i in 0..400_000_u32 {
            let x = f64::from(i) * 0.002_437_1;
            let (ours, theirs) = (exp2_neg(x), (-x).exp2());
            assert!((ours - theirs).abs() <= theirs * 1e-15, "2^-{x}: {ours:e} against {theirs:e}");
            let y = 1e-9 + x;
            assert!((ln(y) - y.ln()).abs() <= 1e-15 * y.ln().abs().max(1.0), "ln {y}: {:e}, {:e}", ln(y), y.ln());
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
        assert!(ln_1p(f64::MAX).is_finite() && ln_1p(f64::INFINITY).is_finite());
    }
}
