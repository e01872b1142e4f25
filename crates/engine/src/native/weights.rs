//! Weights as they are stored: four forms of a pair of inputs' weights for one register of outputs.
#![forbid(unsafe_code)]

use super::Weights;
use super::simd::Simd;
use super::tensor::{Block, LANES};

/// Largest magnitude that a half holds.
const F16_MAX: f32 = 65_504.0;
/// Its smallest, 2^-24.
const F16_MIN: f32 = 5.960_464_5e-8;

/// Weights of two inputs for sixteen outputs. What is not 0 in the file is not 0 here: an infinite input keeps its sign.
pub(super) trait Pair: Copy {
    /// Whether sums are still to be multiplied by the output's scale.
    const SCALED: bool;

    /// Packs weights that the form holds, scaled where it is.
    fn pack(weights: [[f32; LANES]; 2]) -> Self;

    fn widen<S: Simd>(&self, s: S) -> [S::V; 2];
}

/// As in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct F32([Block; 2]);

/// The first input's in the lower halves of the words, the second's in the upper.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub(super) struct Bf16([u32; LANES]);

/// IEEE 754 halves.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub(super) struct F16([[u16; LANES]; 2]);

/// Whole numbers from -127 to 127.
#[repr(C, align(32))]
#[derive(Clone, Copy, Debug)]
pub(super) struct Int8([[i8; LANES]; 2]);

impl Pair for F32 {
    const SCALED: bool = false;

    fn pack(weights: [[f32; LANES]; 2]) -> Self {
        Self(weights.map(Block))
    }

    #[inline(always)]
    fn widen<S: Simd>(&self, s: S) -> [S::V; 2] {
        [s.load(&self.0[0].0), s.load(&self.0[1].0)]
    }
}

impl Pair for Bf16 {
    const SCALED: bool = false;

    fn pack([low, high]: [[f32; LANES]; 2]) -> Self {
        Self(std::array::from_fn(|i| u32::from(to_bf16(low[i])) | u32::from(to_bf16(high[i])) << 16))
    }

    #[inline(always)]
    fn widen<S: Simd>(&self, s: S) -> [S::V; 2] {
        s.widen_bf16(&self.0)
    }
}

impl Pair for F16 {
    const SCALED: bool = false;

    fn pack(weights: [[f32; LANES]; 2]) -> Self {
        Self(weights.map(|lanes| lanes.map(to_f16)))
    }

    #[inline(always)]
    fn widen<S: Simd>(&self, s: S) -> [S::V; 2] {
        [s.widen_f16(&self.0[0]), s.widen_f16(&self.0[1])]
    }
}

impl Pair for Int8 {
    const SCALED: bool = true;

    fn pack(weights: [[f32; LANES]; 2]) -> Self {
        Self(weights.map(|lanes| lanes.map(to_i8)))
    }

    #[inline(always)]
    fn widen<S: Simd>(&self, s: S) -> [S::V; 2] {
        [s.widen_i8(&self.0[0]), s.widen_i8(&self.0[1])]
    }
}

/// To the nearest, halves to even.
fn to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16;
    if x != 0.0 && rounded & 0x7fff == 0 { rounded | 1 } else { rounded }
}

/// To the nearest, halves to even, of what is not above [`F16_MAX`].
fn to_f16(x: f32) -> u16 {
    let sign = (x.to_bits() >> 16 & 0x8000) as u16;
    let size = x.abs();
    if size < 2_f32.powi(-14) {
        // Multiples of 2^-24.
        let steps = (size / F16_MIN).round_ties_even() as u16;
        return sign | if size > 0.0 { steps.max(1) } else { 0 };
    }
    let bits = size.to_bits();
    let rounded = bits + 0xfff + (bits >> 13 & 1);
    sign | ((rounded >> 13) - (112 << 10)) as u16
}

fn to_i8(x: f32) -> i8 {
    let whole = x.round_ties_even().clamp(-127.0, 127.0) as i8;
    if whole == 0 && x != 0.0 { x.signum() as i8 } else { whole }
}

/// The scale of an output in int8: its largest weight becomes 127.
pub(super) fn int8_scale(weights: impl Iterator<Item = f32>) -> f32 {
    let largest = weights.map(f32::abs).fold(0.0, f32::max);
    if largest == 0.0 { 1.0 } else { largest / 127.0 }
}

impl Weights {
    /// Whether these weights can be stored so: those that cannot stay f32.
    pub(super) fn holds(self, mut weights: impl Iterator<Item = f32>) -> bool {
        match self {
            Self::F32 => true,
            Self::Bf16 => weights.all(|w| w.abs() < 3.38e38),
            Self::F16 => weights.all(|w| w.abs() <= F16_MAX),
            // Scales and their quotients must be normal numbers.
            Self::Int8 => weights.all(|w| w == 0.0 || (1e-30..1e37).contains(&w.abs())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::portable::Portable;

    #[test]
    fn halves_come_back_as_they_are_and_others_as_the_nearest() {
        for bits in (0..0x7c00).chain(0x8000..0xfc00_u16) {
            let x = Portable.widen_f16(&[bits; LANES])[0];
            assert_eq!(to_f16(x), bits, "{x}");
        }
        for i in 0..0x7bff_u16 {
            let [a, b] = [i, i + 1].map(|bits| Portable.widen_f16(&[bits; LANES])[0]);
            let (nearer, middle) = (a + (b - a) * 0.4, a + (b - a) * 0.5);
            assert_eq!(to_f16(nearer), i.max(1), "{nearer}");
            assert_eq!(to_f16(middle), if i % 2 == 0 { i.max(1) } else { i + 1 }, "{middle}");
        }
    }

    #[test]
    fn each_form_is_as_near_as_its_digits() {
        for i in -2000..2000 {
            let x = (i as f32 * 0.01).powi(3) / 70.0;
            let of = |bits: u16| f32::from_bits(u32::from(bits) << 16);
            assert!((of(to_bf16(x)) - x).abs() <= x.abs() / 256.0);
            assert!((Portable.widen_f16(&[to_f16(x); LANES])[0] - x).abs() <= x.abs() / 2048.0 + F16_MIN);
            let whole = f32::from(to_i8(x));
            assert!((whole - x).abs() <= if x.abs() < 0.5 { 1.0 } else { 0.5 });
            for small in [whole, of(to_bf16(x)), Portable.widen_f16(&[to_f16(x); LANES])[0]] {
                assert_eq!(small == 0.0, x == 0.0);
            }
        }
        assert_eq!([to_bf16(1e-45), to_bf16(-1e-45)], [1, 0x8001]);
    }

    #[test]
    fn what_a_form_cannot_hold_is_known() {
        let holds = |form: Weights, x: f32| form.holds([1.0, x].into_iter());
        for x in [f32::NAN, f32::INFINITY] {
            assert!([Weights::Bf16, Weights::F16, Weights::Int8].iter().all(|form| !form.holds([x].into_iter())));
        }
        assert!(holds(Weights::F16, -65_504.0) && !holds(Weights::F16, 65_505.0));
        assert!(holds(Weights::Bf16, 1e38) && !holds(Weights::Bf16, f32::MAX));
        assert!(holds(Weights::Int8, 0.0) && !holds(Weights::Int8, 1e-38) && !holds(Weights::Int8, 3e38));
    }
}
