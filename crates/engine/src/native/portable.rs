//! Plain arrays in the place of registers.
#![forbid(unsafe_code)]

use super::simd::{Simd, Task, trees};
use super::tensor::LANES;

/// Plain arrays: what every machine can do, and the twin that the others are tested against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portable;

#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> [f32; LANES] {
    std::array::from_fn(f)
}

impl Simd for Portable {
    type V = [f32; LANES];
    const MANY: bool = false;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; LANES]
    }
    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Self::V {
        *from
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; LANES], x: Self::V) {
        *to = x;
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        each(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        each(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        each(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        each(|i| a[i] / b[i])
    }
    #[inline(always)]
    fn sqrt(self, a: Self::V) -> Self::V {
        each(|i| a[i].sqrt())
    }
    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // Two roundings: without the instruction, one would be a call into the maths library.
        each(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        each(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        each(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn if_less(self, a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V {
        each(|i| if a[i] < b[i] { yes[i] } else { no[i] })
    }
    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        each(|i| a[i].round_ties_even())
    }
    #[inline(always)]
    fn exp2_integral(self, n: Self::V) -> Self::V {
        each(|i| f32::from_bits(((n[i] as i32 + 127) << 23) as u32))
    }
    #[inline(always)]
    fn split(self, a: Self::V) -> (Self::V, Self::V) {
        let exponent = each(|i| ((a[i].to_bits() >> 23) as i32 - 127) as f32);
        (exponent, each(|i| f32::from_bits(a[i].to_bits() & 0x007f_ffff | 0x3f80_0000)))
    }
    #[inline(always)]
    fn sum(self, a: Self::V) -> f32 {
        // The order of the vector instruction sets' reductions: halves onto each other.
        let eight: [f32; 8] = std::array::from_fn(|i| a[i] + a[i + 8]);
        let four: [f32; 4] = std::array::from_fn(|i| eight[i] + eight[i + 4]);
        (four[0] + four[2]) + (four[1] + four[3])
    }
    #[inline(always)]
    fn if_nan(self, a: Self::V, yes: Self::V, no: Self::V) -> Self::V {
        each(|i| if a[i].is_nan() { yes[i] } else { no[i] })
    }
    #[inline(always)]
    fn store_part(self, to: &mut [f32], x: Self::V) {
        to.iter_mut().zip(x).for_each(|(to, x)| *to = x);
    }
    #[inline(always)]
    fn widen_f16(self, from: &[u16; LANES]) -> Self::V {
        each(|i| {
            let (sign, rest) = (u32::from(from[i] & 0x8000) << 16, u32::from(from[i] & 0x7fff) << 13);
            // The exponents' zeros lie 112 apart; a product puts denormals right too.
            let size = f32::from_bits(rest) * f32::from_bits((127 + 112) << 23);
            // Infinities and NaN are never stored.
            f32::from_bits(sign | size.to_bits())
        })
    }
    #[inline(always)]
    fn widen_bf16(self, from: &[u32; LANES]) -> [Self::V; 2] {
        [each(|i| f32::from_bits(from[i] << 16)), each(|i| f32::from_bits(from[i] & 0xffff_0000))]
    }
    #[inline(always)]
    fn widen_i8(self, from: &[i8; LANES]) -> Self::V {
        each(|i| f32::from(from[i]))
    }
    #[inline]
    fn call(self, task: impl Task) {
        task.run(self);
    }
    #[inline(always)]
    fn trees(self, task: impl trees::LanesTask) {
        task.run(self);
    }
}
