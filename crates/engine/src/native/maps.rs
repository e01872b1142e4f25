//! Functions of one value, or of two, applied to whole buffers.

use super::dense::Activation;
use super::math;
use super::simd::Simd;
use super::tensor::{Block, LANES};

/// A function of one value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Unary {
    Activation(Activation),
    Abs,
    Neg,
    Sqrt,
    Exp,
    Log,
    Reciprocal,
    Erf,
    /// x · Φ(x), by erf.
    Gelu,
    /// x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))).
    GeluTanh,
    Floor,
    Ceil,
    Round,
    Sign,
    /// To a constant power.
    Power(f32),
    /// 1 in the place of 0; NaN stays.
    ZeroToOne,
    /// 1 above the threshold, else 0 (ml.Binarizer).
    Above(f32),
    /// x · min(1, max(0, x/6 + 1/2)).
    HardSwish,
    /// x · sigmoid(α x).
    Swish(f32),
    /// x · tanh(softplus(x)).
    Mish,
    /// x / (1 + |x|).
    Softsign,
    /// γ x above 0, γ α (e^x - 1) below.
    Selu {
        alpha: f32,
        gamma: f32,
    },
    /// max(0, x) + min(0, α (e^(x/α) - 1)).
    Celu(f32),
    /// x above the threshold, else 0, also for NaN.
    Threshold(f32),
    Sin,
    Cos,
    /// Truth values are 1 and 0.
    Not,
    /// 1 where x is not 0; also where it is NaN.
    NotZero,
    /// The integer next to x towards 0; NaN stays. What an integer of 64 bits, or of 32, does not hold becomes its least, as
    /// x86 has it.
    Whole {
        wide: bool,
    },
    IsNan,
}

impl Unary {
    /// y = f(x) by blocks; what is past the last value is computed too, and nobody's.
    #[inline(always)]
    pub fn run<S: Simd>(self, s: S, x: &[Block], y: &mut [Block]) {
        for (y, x) in y.iter_mut().zip(x) {
            let value = self.of(s, s.load(&x.0));
            s.store(&mut y.0, value);
        }
    }

    #[inline(always)]
    fn of<S: Simd>(self, s: S, x: S::V) -> S::V {
        let (zero, one, half) = (s.splat(0.0), s.splat(1.0), s.splat(0.5));
        match self {
            Self::Activation(activation) => activation.apply(s, x),
            // Plus 0, so that -0 becomes 0.
            Self::Abs => s.add(s.abs(x), zero),
            Self::Neg => s.neg(x),
            Self::Sqrt => s.sqrt(x),
            Self::Exp => math::exp_to_0(s, x),
            Self::Log => math::ln(s, x),
            Self::Reciprocal => s.div(one, x),
            Self::Erf => math::erf(s, x),
            Self::Gelu => {
                let phi = s.add(one, math::erf(s, s.mul(x, s.splat(std::f32::consts::FRAC_1_SQRT_2))));
                s.mul(s.mul(half, x), phi)
            }
            Self::GeluTanh => {
                let inner = s.mul_add(s.mul(s.splat(0.044_715), s.mul(x, x)), x, x);
                let t = math::tanh(s, s.mul(s.splat(0.797_884_6), inner));
                s.mul(s.mul(half, x), s.add(one, t))
            }
            Self::Floor => lanes(s, x, f32::floor),
            Self::Ceil => lanes(s, x, f32::ceil),
            Self::Round => s.round(x),
            Self::Sign => s.if_less(zero, x, one, s.if_less(x, zero, s.splat(-1.0), s.add(x, zero))),
            Self::Power(2.0) => s.mul(x, x),
            Self::Power(3.0) => s.mul(s.mul(x, x), x),
            // By the rule of pow, -∞ becomes ∞.
            Self::Power(0.5) => s.if_less(x, s.splat(f32::MIN), s.splat(f32::INFINITY), s.sqrt(x)),
            Self::Power(p) => lanes(s, x, |x| x.powf(p)),
            Self::ZeroToOne => nan_of(s, x, s.if_less(zero, s.abs(x), x, one)),
            Self::HardSwish => {
                let gate = s.mul_add(x, s.splat(1.0 / 6.0), half);
                s.mul(x, s.min(one, s.max(zero, gate)))
            }
            Self::Swish(alpha) => s.mul(x, math::sigmoid(s, s.mul(s.splat(alpha), x))),
            Self::Mish => s.mul(x, math::tanh(s, math::softplus(s, x))),
            Self::Softsign => s.div(x, s.add(one, s.abs(x))),
            Self::Selu { alpha, gamma } => {
                let below = s.mul(s.splat(alpha), s.sub(math::exp(s, x), one));
                s.mul(s.splat(gamma), s.if_less(zero, x, x, below))
            }
            Self::Celu(alpha) => {
                let below = s.mul(s.splat(alpha), s.sub(math::exp(s, s.div(x, s.splat(alpha))), one));
                s.add(s.max(zero, x), s.min(zero, below))
            }
            Self::Threshold(alpha) => s.if_less(s.splat(alpha), x, x, zero),
            Self::Sin => lanes(s, x, f32::sin),
            Self::Cos => lanes(s, x, f32::cos),
            Self::Not => s.sub(one, x),
            Self::NotZero => lanes(s, x, |x| f32::from(x != 0.0)),
            Self::Whole { wide } => {
                let least = if wide { i64::MIN as f32 } else { i32::MIN as f32 };
                lanes(s, x, |x| if x.is_nan() || (least..-least).contains(&x) { x.trunc() + 0.0 } else { least })
            }
            Self::IsNan => lanes(s, x, |x| f32::from(x.is_nan())),
            Self::Above(threshold) => s.if_less(s.splat(threshold), x, one, zero),
        }
    }
}

/// Lane by lane, for what has no instruction and no hot use.
#[inline(always)]
fn lanes<S: Simd>(s: S, x: S::V, f: impl Fn(f32) -> f32) -> S::V {
    let mut values = [0.0; LANES];
    s.store(&mut values, x);
    s.load(&values.map(f))
}

#[inline(always)]
fn lanes_of<S: Simd>(s: S, a: S::V, b: S::V, f: impl Fn(f32, f32) -> f32) -> S::V {
    let (mut x, mut y) = ([0.0; LANES], [0.0; LANES]);
    s.store(&mut x, a);
    s.store(&mut y, b);
    s.load(&std::array::from_fn(|i| f(x[i], y[i])))
}

/// A function of two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Max,
    Min,
    Pow,
    /// The second where the first is NaN, else the first.
    IfNan,
    /// The first where it is NaN, else the second.
    NanOr,
    /// Truth values are 1 and 0; NaN compares as false.
    Less,
    LessOrEqual,
    Equal,
    Xor,
}

impl Binary {
    /// y = f(a, b) by blocks.
    #[inline(always)]
    pub fn run<S: Simd>(self, s: S, a: &[Block], b: &[Block], y: &mut [Block]) {
        for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
            let value = self.of(s, s.load(&a.0), s.load(&b.0));
            s.store(&mut y.0, value);
        }
    }

    #[inline(always)]
    fn of<S: Simd>(self, s: S, a: S::V, b: S::V) -> S::V {
        match self {
            Self::Add => s.add(a, b),
            Self::Sub => s.sub(a, b),
            Self::Mul => s.mul(a, b),
            Self::Div => s.div(a, b),
            // NaN in the second operand comes through by itself, in the first it needs to be looked for.
            Self::Max => nan_of(s, a, s.max(a, b)),
            Self::Min => nan_of(s, a, s.min(a, b)),
            Self::Pow => {
                let (mut x, mut p) = ([0.0; LANES], [0.0; LANES]);
                s.store(&mut x, a);
                s.store(&mut p, b);
                s.load(&std::array::from_fn(|i| x[i].powf(p[i])))
            }
            Self::Less => s.if_less(a, b, s.splat(1.0), s.splat(0.0)),
            Self::LessOrEqual => lanes_of(s, a, b, |a, b| f32::from(a <= b)),
            Self::Equal => lanes_of(s, a, b, |a, b| f32::from(a == b)),
            Self::Xor => s.abs(s.sub(a, b)),
            Self::IfNan => s.if_nan(a, b, a),
            Self::NanOr => nan_of(s, a, b),
        }
    }
}

/// `otherwise`, but NaN where `a` is.
#[inline(always)]
fn nan_of<S: Simd>(s: S, a: S::V, otherwise: S::V) -> S::V {
    s.if_nan(a, a, otherwise)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::ISAS;
    use crate::native::Isa;
    use crate::native::simd::Task;

    struct Of<'a>(Unary, &'a [Block], &'a mut [Block]);

    impl Task for Of<'_> {
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            self.0.run(s, self.1, self.2);
        }
    }

    /// Taylor's series; beyond 4, 1 is near enough.
    fn erf(x: f64) -> f64 {
        if x.abs() > 4.0 {
            return x.signum();
        }
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    }

    /// Each function with what it should be, and how far off it may be at x where that is y.
    type Case = (Unary, fn(f64) -> f64, fn(f64, f64) -> f64);

    const CASES: [Case; 7] = [
        // Two units of the least there is.
        (Unary::Exp, f64::exp, |_, y| y * 4e-7 + 3e-45),
        (Unary::Activation(Activation::Sigmoid), |x| 1.0 / (1.0 + (-x).exp()), |_, _| 2e-7),
        (Unary::Activation(Activation::Tanh), f64::tanh, |_, y| y.abs() * 2e-6),
        (Unary::Activation(Activation::Softplus), |x| x.max(0.0) + (-x.abs()).exp().ln_1p(), |_, y| 4e-7 * y.max(1.0)),
        (Unary::Erf, erf, |x, y| if x.abs() < 0.4 { 4e-7 * y.abs() + 1.5e-45 } else { 6e-7 }),
        (Unary::Gelu, |x| x * 0.5 * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)), |x, _| 6e-7 * x.abs().max(1.0)),
        (Unary::Log, f64::ln, |_, y| 4e-7 * y.abs().max(1.0)),
    ];

    #[test]
    fn functions_are_within_their_bounds_over_the_whole_range() {
        let sizes = (0..f32::INFINITY.to_bits()).step_by(39_119).map(f32::from_bits);
        let x: Vec<f32> = sizes.flat_map(|x| [x, -x]).collect();
        let blocks: Vec<Block> = x.chunks_exact(LANES).map(|x| Block(x.try_into().unwrap())).collect();
        let mut y = vec![Block::ZERO; blocks.len()];
        for isa in ISAS.into_iter().filter_map(Isa::named) {
            for (f, exact, bound) in CASES {
                isa.run(Of(f, &blocks, &mut y));
                for (&x, &y) in blocks.iter().flat_map(|x| &x.0).zip(y.iter().flat_map(|y| &y.0)) {
                    let wanted = exact(f64::from(x));
                    let far = (f64::from(y) - wanted).abs() > bound(f64::from(x), wanted);
                    let both = (y.is_nan() && wanted.is_nan()) || f64::from(y) == f64::from(wanted as f32);
                    assert!(!far || both, "{f:?} of {x} is {y}, not {wanted} ({})", isa.name());
                }
            }
        }
    }

    #[test]
    fn infinities_have_their_limits_and_nan_stays() {
        let x = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.0];
        let blocks = [Block(std::array::from_fn(|i| x[i % 4]))];
        for isa in ISAS.into_iter().filter_map(Isa::named) {
            let of = |f| {
                let mut y = [Block::ZERO];
                isa.run(Of(f, &blocks, &mut y));
                assert!(y[0].0[2].is_nan(), "{f:?}");
                [y[0].0[0], y[0].0[1], y[0].0[3]]
            };
            assert_eq!(of(Unary::Exp)[0], f32::INFINITY);
            assert_eq!(of(Unary::Exp)[1], 0.0);
            assert_eq!(of(Unary::Log)[2], f32::NEG_INFINITY);
            assert_eq!(of(Unary::Whole { wide: true })[..2], [i64::MIN as f32; 2]);
            assert_eq!(of(Unary::Whole { wide: false })[..2], [i32::MIN as f32; 2]);
            assert_eq!(of(Unary::Activation(Activation::Tanh)), [1.0, -1.0, 0.0]);
            let [one, none, half] = of(Unary::Activation(Activation::Sigmoid));
            assert!(one == 1.0 && none < 1e-37 && half == 0.5, "{one} {none} {half}");
            assert_eq!(of(Unary::Activation(Activation::Relu)), [f32::INFINITY, 0.0, 0.0]);
        }
    }
}
