//! Functions of sixteen lanes, to a few units in the last place where a model can tell.

use super::simd::Simd;

/// e^x. Cody and Waite's reduction to |r| ≤ ln 2 / 2, a Taylor polynomial of degree 7 there (error below 1e-8 relative), and
/// a scaling by 2^n. Infinite above 88.72, below -87.3 at least as small as the smallest normal number.
#[inline(always)]
pub(super) fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    // NaN passes: it is the second operand.
    let scaled = power_of_e(s, s.min(s.splat(88.722_84), s.max(s.splat(-87.336_54), x)));
    s.if_less(s.splat(88.722_84), x, s.splat(f32::INFINITY), scaled)
}

/// e^x down to the smallest subnormal number, and 0 below -104. Subnormal results cost some processors a hundred cycles, which
/// is why functions that only add them to 1 take [`exp`].
#[inline(always)]
pub(super) fn exp_to_0<S: Simd>(s: S, x: S::V) -> S::V {
    let least = s.splat(-104.0);
    // What is far lower is not computed.
    let scaled = power_of_e(s, s.min(s.splat(88.722_84), s.if_less(x, least, s.splat(0.0), x)));
    let above = s.if_less(s.splat(88.722_84), x, s.splat(f32::INFINITY), scaled);
    s.if_less(x, least, s.splat(0.0), above)
}

/// e^x from -104 to 88.72.
#[inline(always)]
fn power_of_e<S: Simd>(s: S, x: S::V) -> S::V {
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    // ln 2 in two parts, the first with trailing zeros, so that n · LN2_HIGH is exact.
    let r = s.mul_add(n, s.splat(-0.693_359_4), x);
    let r = s.mul_add(n, s.splat(2.121_944_4e-4), r);
    let coefficients = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    let p = polynomial(s, r, &coefficients);
    // 2^n in two factors: n goes from -150 to 128.
    let half = s.round(s.mul(n, s.splat(0.5)));
    s.mul(s.mul(p, s.exp2_integral(half)), s.exp2_integral(s.sub(n, half)))
}

/// e^x for the gates of recurrent layers: |x| is bounded by 27.7, where a sigmoid differs from 0 or 1 by less than 1e-12. 2^n
/// times a polynomial of degree 6 for 2^r on |r| ≤ ½ (through its Chebyshev nodes: 2e-8 relative), and the rounding of
/// x · log₂ e: relative error below 1e-7 (1 + |x|), which costs a sigmoid less than 1e-7. NaN counts as the lower bound.
#[inline(always)]
pub(super) fn exp_within<S: Simd>(s: S, x: S::V) -> S::V {
    let scaled = s.mul(x, s.splat(std::f32::consts::LOG2_E));
    power_of_2(s, s.min(s.max(scaled, s.splat(-40.0)), s.splat(40.0)))
}

/// 2^x for |x| ≤ 126.
#[inline(always)]
fn power_of_2<S: Simd>(s: S, x: S::V) -> S::V {
    let n = s.round(x);
    let coefficients =
        [1.546_144_5e-4, 1.340_042_8e-3, 9.618_057e-3, 5.550_327e-2, 2.402_265e-1, std::f32::consts::LN_2, 1.0];
    s.mul(polynomial(s, s.sub(x, n), &coefficients), s.exp2_integral(n))
}

/// tanh x as a numerator, of x's sign and at most 1, and a denominator from 1 to 2: ±(1 - t) and 1 + t with t = e^(-2|x|).
/// Absolute error below 1e-7.
#[inline(always)]
pub(super) fn tanh_parts<S: Simd>(s: S, x: S::V) -> (S::V, S::V) {
    let (one, size) = (s.splat(1.0), s.abs(x));
    let t = power_of_2(s, s.max(s.splat(-126.0), s.mul(size, s.splat(-2.0 * std::f32::consts::LOG2_E))));
    let top = s.sub(one, t);
    (s.if_less(x, s.splat(0.0), s.neg(top), top), s.add(one, t))
}

/// c[0] · x^(n-1) + … + c[n-1], by Horner's rule.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(s: S, x: S::V, coefficients: &[f32; N]) -> S::V {
    let mut y = s.splat(coefficients[0]);
    for &c in &coefficients[1..] {
        y = s.mul_add(y, x, s.splat(c));
    }
    y
}

/// ln x. For x = m · 2^e with m in [√½, √2): 2 artanh((m-1)/(m+1)) as a series, + e ln 2. NaN below 0, -∞ at 0. A subnormal
/// number is brought among the normal ones first.
#[inline(always)]
pub(super) fn ln<S: Simd>(s: S, x: S::V) -> S::V {
    let zero = s.splat(0.0);
    let normal = s.splat(f32::MIN_POSITIVE);
    let scaled = s.if_less(x, normal, s.mul(x, s.splat(33_554_432.0)), x);
    let (e, m) = s.split(scaled);
    let e = s.sub(e, s.if_less(x, normal, s.splat(25.0), zero));
    let root = s.splat(std::f32::consts::SQRT_2);
    let above = s.if_less(root, m, s.splat(1.0), zero);
    let (e, m) = (s.add(e, above), s.mul(m, s.sub(s.splat(1.0), s.mul(above, s.splat(0.5)))));
    let z = s.div(s.sub(m, s.splat(1.0)), s.add(m, s.splat(1.0)));
    let z2 = s.mul(z, z);
    let series = polynomial(s, z2, &[2.0 / 9.0, 2.0 / 7.0, 2.0 / 5.0, 2.0 / 3.0, 2.0]);
    let y = s.mul_add(e, s.splat(std::f32::consts::LN_2), s.mul(z, series));
    let finite = s.if_less(x, s.splat(f32::INFINITY), y, x);
    let none = s.if_less(x, zero, s.splat(f32::NAN), s.if_nan(x, x, s.splat(f32::NEG_INFINITY)));
    s.if_less(zero, x, finite, none)
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub(super) fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    let one = s.splat(1.0);
    s.div(one, s.add(one, exp(s, s.neg(x))))
}

/// (1 - t) / (1 + t) with t = e^(-2|x|), and the sign of x; near 0, where that cancels, x - x³/3 + 2x⁵/15.
#[inline(always)]
pub(super) fn tanh<S: Simd>(s: S, x: S::V) -> S::V {
    let (one, size) = (s.splat(1.0), s.abs(x));
    let t = exp(s, s.mul(s.splat(-2.0), size));
    let y = s.div(s.sub(one, t), s.add(one, t));
    let signed = s.if_less(x, s.splat(0.0), s.neg(y), y);
    let x2 = s.mul(x, x);
    let small = s.mul(x, polynomial(s, x2, &[2.0 / 15.0, -1.0 / 3.0, 1.0]));
    s.if_less(size, s.splat(0.1), small, signed)
}

/// erf x, by Abramowitz and Stegun 7.1.26: absolute error below 1.5e-7; near 0, where that cancels, by its series.
#[inline(always)]
pub(super) fn erf<S: Simd>(s: S, x: S::V) -> S::V {
    let (one, size) = (s.splat(1.0), s.abs(x));
    let t = s.div(one, s.mul_add(s.splat(0.327_591_1), size, one));
    let p = polynomial(s, t, &[1.061_405_4, -1.453_152_1, 1.421_413_8, -0.284_496_74, 0.254_829_6, 0.0]);
    let x2 = s.mul(x, x);
    let y = s.sub(one, s.mul(p, exp(s, s.neg(x2))));
    let signed = s.if_less(x, s.splat(0.0), s.neg(y), y);
    // x^(2n+1) · 2/√π · (-1)^n / (n! (2n + 1)).
    let series = polynomial(
        s,
        x2,
        &[-8.548_328e-4, 5.223_978e-3, -2.686_617_1e-2, 0.112_837_92, -0.376_126_4, std::f32::consts::FRAC_2_SQRT_PI],
    );
    s.if_less(size, s.splat(0.4), s.mul(x, series), signed)
}

/// ln(1 + e^x) without overflow: max(x, 0) + ln(1 + e^-|x|).
#[inline(always)]
pub(super) fn softplus<S: Simd>(s: S, x: S::V) -> S::V {
    let one = s.splat(1.0);
    s.add(s.max(s.splat(0.0), x), ln(s, s.add(one, exp(s, s.neg(s.abs(x))))))
}
