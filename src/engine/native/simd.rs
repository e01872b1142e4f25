//! Sixteen lanes at a time, by AVX-512, AVX2 or plain arrays: one kernel source for all three.
//!
//! A value of [`Avx512`] or [`Avx2`] is the proof that the machine has those instructions: only detection makes one. A
//! kernel is generic over the instruction set, inlined as a whole into [`dispatch`]'s arm for it.

use super::tensor::LANES;

pub(super) mod trees;

/// What a kernel does with registers of sixteen lanes. NaN goes through every operation, `max` and `min` included.
pub(super) trait Simd: Copy {
    /// Sixteen values.
    type V: Copy;

    fn splat(self, x: f32) -> Self::V;
    fn load(self, from: &[f32; LANES]) -> Self::V;
    fn store(self, to: &mut [f32; LANES], x: Self::V);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    fn sqrt(self, a: Self::V) -> Self::V;
    /// a · b + c, rounded once where the machine can.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger; NaN when `b` is.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The smaller; NaN when `b` is.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// Per lane `yes` where a < b, else `no` (also where one is NaN).
    fn if_less(self, a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V;
    /// The nearest integer, halves to even.
    fn round(self, a: Self::V) -> Self::V;
    /// 2 to the power of an integral value from -126 to 127.
    fn exp2_integral(self, n: Self::V) -> Self::V;
    /// Exponent e and mantissa m in [1, 2) of positive normal values: a = m · 2^e.
    fn split(self, a: Self::V) -> (Self::V, Self::V);
    /// Sum of the lanes, in a fixed order.
    fn sum(self, a: Self::V) -> f32;

    #[inline(always)]
    fn neg(self, a: Self::V) -> Self::V {
        self.sub(self.splat(-0.0), a)
    }

    #[inline(always)]
    fn abs(self, a: Self::V) -> Self::V {
        let minus = self.neg(a);
        self.if_less(a, self.splat(0.0), minus, a)
    }

    /// Runs work on lanes of trees with these instructions, and what goes beyond them for bytes where the machine has it.
    fn trees(self, task: impl trees::LanesTask);
}

/// Work that is compiled once for each instruction set. Its `run` must be `inline(always)`: code that is not inlined into
/// the function that has the instructions enabled calls each of them.
pub(super) trait Task {
    fn run<S: Simd>(self, s: S);
}

/// Plain arrays: what every machine can do, and the twin that the others are tested against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portable;

#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> [f32; LANES] {
    std::array::from_fn(f)
}

impl Simd for Portable {
    type V = [f32; LANES];

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
    fn trees(self, task: impl trees::LanesTask) {
        task.run(self);
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{LANES, Simd, Task, trees};
    use std::arch::x86_64::*;

    /// Proof that the machine has AVX-512 F, VL, BW and DQ.
    #[derive(Clone, Copy, Debug)]
    pub struct Avx512(());

    /// Proof that the machine has AVX2 and FMA.
    #[derive(Clone, Copy, Debug)]
    pub struct Avx2(());

    impl Avx512 {
        /// The proof, if it is so.
        pub fn detect() -> Option<Self> {
            let all = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq");
            all.then_some(Self(()))
        }

        /// Runs `task` compiled for these instructions.
        #[inline]
        pub fn run(self, task: impl Task) {
            #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
            fn with(simd: Avx512, task: impl Task) {
                task.run(simd);
            }
            // SAFETY: `self` is the proof that the machine has them.
            unsafe { with(self, task) }
        }
    }

    impl Avx2 {
        /// The proof, if it is so.
        pub fn detect() -> Option<Self> {
            (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
        }

        /// Runs `task` compiled for these instructions.
        #[inline]
        pub fn run(self, task: impl Task) {
            #[target_feature(enable = "avx2,fma")]
            fn with(simd: Avx2, task: impl Task) {
                task.run(simd);
            }
            // SAFETY: `self` is the proof that the machine has them.
            unsafe { with(self, task) }
        }
    }

    /// The intrinsics in `$body` need what `self` proves; loads and stores stay within the arrays they are given.
    macro_rules! proven {
        ($body:expr) => {{
            // SAFETY: see above.
            unsafe { $body }
        }};
    }

    impl Simd for Avx512 {
        type V = __m512;

        #[inline(always)]
        fn splat(self, x: f32) -> __m512 {
            proven!(_mm512_set1_ps(x))
        }
        #[inline(always)]
        fn load(self, from: &[f32; LANES]) -> __m512 {
            proven!(_mm512_loadu_ps(from.as_ptr()))
        }
        #[inline(always)]
        fn store(self, to: &mut [f32; LANES], x: __m512) {
            proven!(_mm512_storeu_ps(to.as_mut_ptr(), x))
        }
        #[inline(always)]
        fn add(self, a: __m512, b: __m512) -> __m512 {
            proven!(_mm512_add_ps(a, b))
        }
        #[inline(always)]
        fn sub(self, a: __m512, b: __m512) -> __m512 {
            proven!(_mm512_sub_ps(a, b))
        }
        #[inline(always)]
        fn mul(self, a: __m512, b: __m512) -> __m512 {
            proven!(_mm512_mul_ps(a, b))
        }
        #[inline(always)]
        fn div(self, a: __m512, b: __m512) -> __m512 {
            proven!(_mm512_div_ps(a, b))
        }
        #[inline(always)]
        fn sqrt(self, a: __m512) -> __m512 {
            proven!(_mm512_sqrt_ps(a))
        }
        #[inline(always)]
        fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
            proven!(_mm512_fmadd_ps(a, b, c))
        }
        #[inline(always)]
        fn max(self, a: __m512, b: __m512) -> __m512 {
            proven!(_mm512_max_ps(a, b))
        }
        #[inline(always)]
        fn min(self, a: __m512, b: __m512) -> __m512 {
            proven!(_mm512_min_ps(a, b))
        }
        #[inline(always)]
        fn if_less(self, a: __m512, b: __m512, yes: __m512, no: __m512) -> __m512 {
            proven!(_mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), no, yes))
        }
        #[inline(always)]
        fn round(self, a: __m512) -> __m512 {
            proven!(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a))
        }
        #[inline(always)]
        fn exp2_integral(self, n: __m512) -> __m512 {
            let bias = 127;
            proven!(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_add_epi32(
                _mm512_cvtps_epi32(n),
                _mm512_set1_epi32(bias)
            ))))
        }
        #[inline(always)]
        fn split(self, a: __m512) -> (__m512, __m512) {
            proven!({
                let bits = _mm512_castps_si512(a);
                let exponent = _mm512_sub_epi32(_mm512_srli_epi32::<23>(bits), _mm512_set1_epi32(127));
                let mantissa = _mm512_and_si512(bits, _mm512_set1_epi32(0x007f_ffff));
                let mantissa = _mm512_or_si512(mantissa, _mm512_set1_epi32(0x3f80_0000));
                (_mm512_cvtepi32_ps(exponent), _mm512_castsi512_ps(mantissa))
            })
        }
        #[inline(always)]
        fn sum(self, a: __m512) -> f32 {
            proven!(sum_256(_mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a))))
        }
        #[inline(always)]
        fn trees(self, task: impl trees::LanesTask) {
            trees::wide(self, task);
        }
    }

    /// # Safety
    /// Needs AVX.
    #[inline(always)]
    unsafe fn sum_256(a: __m256) -> f32 {
        // SAFETY: the caller's.
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }

    /// Two registers of eight lanes.
    type Pair = (__m256, __m256);

    macro_rules! both {
        ($f:ident($($x:expr),+)) => {{
            // SAFETY: see `proven`.
            unsafe { ($f($($x.0),+), $f($($x.1),+)) }
        }};
    }

    impl Simd for Avx2 {
        type V = Pair;

        #[inline(always)]
        fn splat(self, x: f32) -> Pair {
            let x = proven!(_mm256_set1_ps(x));
            (x, x)
        }
        #[inline(always)]
        fn load(self, from: &[f32; LANES]) -> Pair {
            proven!((_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(8))))
        }
        #[inline(always)]
        fn store(self, to: &mut [f32; LANES], x: Pair) {
            proven!({
                _mm256_storeu_ps(to.as_mut_ptr(), x.0);
                _mm256_storeu_ps(to.as_mut_ptr().add(8), x.1);
            })
        }
        #[inline(always)]
        fn add(self, a: Pair, b: Pair) -> Pair {
            both!(_mm256_add_ps(a, b))
        }
        #[inline(always)]
        fn sub(self, a: Pair, b: Pair) -> Pair {
            both!(_mm256_sub_ps(a, b))
        }
        #[inline(always)]
        fn mul(self, a: Pair, b: Pair) -> Pair {
            both!(_mm256_mul_ps(a, b))
        }
        #[inline(always)]
        fn div(self, a: Pair, b: Pair) -> Pair {
            both!(_mm256_div_ps(a, b))
        }
        #[inline(always)]
        fn sqrt(self, a: Pair) -> Pair {
            both!(_mm256_sqrt_ps(a))
        }
        #[inline(always)]
        fn mul_add(self, a: Pair, b: Pair, c: Pair) -> Pair {
            both!(_mm256_fmadd_ps(a, b, c))
        }
        #[inline(always)]
        fn max(self, a: Pair, b: Pair) -> Pair {
            both!(_mm256_max_ps(a, b))
        }
        #[inline(always)]
        fn min(self, a: Pair, b: Pair) -> Pair {
            both!(_mm256_min_ps(a, b))
        }
        #[inline(always)]
        fn if_less(self, a: Pair, b: Pair, yes: Pair, no: Pair) -> Pair {
            let less = (proven!(_mm256_cmp_ps::<_CMP_LT_OQ>(a.0, b.0)), proven!(_mm256_cmp_ps::<_CMP_LT_OQ>(a.1, b.1)));
            both!(_mm256_blendv_ps(no, yes, less))
        }
        #[inline(always)]
        fn round(self, a: Pair) -> Pair {
            const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
            proven!((_mm256_round_ps::<NEAREST>(a.0), _mm256_round_ps::<NEAREST>(a.1)))
        }
        #[inline(always)]
        fn exp2_integral(self, n: Pair) -> Pair {
            let half = |n: __m256| {
                proven!(_mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(
                    _mm256_cvtps_epi32(n),
                    _mm256_set1_epi32(127)
                ))))
            };
            (half(n.0), half(n.1))
        }
        #[inline(always)]
        fn split(self, a: Pair) -> (Pair, Pair) {
            let half = |a: __m256| {
                proven!({
                    let bits = _mm256_castps_si256(a);
                    let exponent = _mm256_sub_epi32(_mm256_srli_epi32::<23>(bits), _mm256_set1_epi32(127));
                    let mantissa = _mm256_and_si256(bits, _mm256_set1_epi32(0x007f_ffff));
                    let mantissa = _mm256_or_si256(mantissa, _mm256_set1_epi32(0x3f80_0000));
                    (_mm256_cvtepi32_ps(exponent), _mm256_castsi256_ps(mantissa))
                })
            };
            let (low, high) = (half(a.0), half(a.1));
            ((low.0, high.0), (low.1, high.1))
        }
        #[inline(always)]
        fn sum(self, a: Pair) -> f32 {
            proven!(sum_256(_mm256_add_ps(a.0, a.1)))
        }
        #[inline(always)]
        fn trees(self, task: impl trees::LanesTask) {
            task.run(self);
        }
    }
}
