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
    /// Whether 24 of them fit the machine's registers, or hardly 6.
    const MANY: bool;

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
    /// Per lane `yes` where a is NaN, else `no`.
    fn if_nan(self, a: Self::V, yes: Self::V, no: Self::V) -> Self::V;
    /// The first `to.len()` lanes, at most sixteen; all of them if it is longer.
    fn store_part(self, to: &mut [f32], x: Self::V);
    /// Sixteen halves as IEEE 754 has them.
    fn widen_f16(self, from: &[u16; LANES]) -> Self::V;
    /// The lower and the upper halves of sixteen words, each the upper half of an f32.
    fn widen_bf16(self, from: &[u32; LANES]) -> [Self::V; 2];
    fn widen_i8(self, from: &[i8; LANES]) -> Self::V;
    /// Runs `task` as a function of its own, compiled once for these instructions however often it is called.
    fn call(self, task: impl Task);

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

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{LANES, Simd, Task, trees};
    use std::arch::x86_64::*;

    /// Proof that the machine has AVX-512 F, VL, BW and DQ.
    #[derive(Clone, Copy, Debug)]
    pub struct Avx512(());

    /// Proof that the machine has AVX2, FMA and F16C.
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
            #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,f16c")]
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
            let all =
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
            all.then_some(Self(()))
        }

        /// Runs `task` compiled for these instructions.
        #[inline]
        pub fn run(self, task: impl Task) {
            #[target_feature(enable = "avx2,fma,f16c")]
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
        const MANY: bool = true;

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
        fn if_nan(self, a: __m512, yes: __m512, no: __m512) -> __m512 {
            proven!(_mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a), no, yes))
        }
        #[inline(always)]
        fn store_part(self, to: &mut [f32], x: __m512) {
            let mask = (1_u32 << to.len().min(LANES)) - 1;
            // SAFETY: what it needs is proven, and what is beyond `to` is masked out.
            unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr(), mask as u16, x) }
        }
        #[inline(always)]
        fn widen_f16(self, from: &[u16; LANES]) -> __m512 {
            proven!(_mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast())))
        }
        #[inline(always)]
        fn widen_bf16(self, from: &[u32; LANES]) -> [__m512; 2] {
            proven!({
                let both = _mm512_loadu_si512(from.as_ptr().cast());
                let upper = _mm512_and_si512(both, _mm512_set1_epi32(0xffff_0000_u32 as i32));
                [_mm512_castsi512_ps(_mm512_slli_epi32::<16>(both)), _mm512_castsi512_ps(upper)]
            })
        }
        #[inline(always)]
        fn widen_i8(self, from: &[i8; LANES]) -> __m512 {
            proven!(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.as_ptr().cast()))))
        }
        #[inline(always)]
        fn call(self, task: impl Task) {
            self.run(task);
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
        const MANY: bool = false;

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
        fn if_nan(self, a: Pair, yes: Pair, no: Pair) -> Pair {
            let nan =
                (proven!(_mm256_cmp_ps::<_CMP_UNORD_Q>(a.0, a.0)), proven!(_mm256_cmp_ps::<_CMP_UNORD_Q>(a.1, a.1)));
            both!(_mm256_blendv_ps(no, yes, nan))
        }
        #[inline(always)]
        fn store_part(self, to: &mut [f32], x: Pair) {
            let mut all = [0.0; LANES];
            self.store(&mut all, x);
            to.iter_mut().zip(all).for_each(|(to, x)| *to = x);
        }
        #[inline(always)]
        fn widen_f16(self, from: &[u16; LANES]) -> Pair {
            proven!({
                let from: *const __m128i = from.as_ptr().cast();
                (_mm256_cvtph_ps(_mm_loadu_si128(from)), _mm256_cvtph_ps(_mm_loadu_si128(from.add(1))))
            })
        }
        #[inline(always)]
        fn widen_bf16(self, from: &[u32; LANES]) -> [Pair; 2] {
            proven!({
                let (first, second) = from.split_at(8);
                let both = [first, second].map(|half| _mm256_loadu_si256(half.as_ptr().cast()));
                let lower = both.map(|x| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(x)));
                let mask = _mm256_set1_epi32(0xffff_0000_u32 as i32);
                let upper = both.map(|x| _mm256_castsi256_ps(_mm256_and_si256(x, mask)));
                [(lower[0], lower[1]), (upper[0], upper[1])]
            })
        }
        #[inline(always)]
        fn widen_i8(self, from: &[i8; LANES]) -> Pair {
            proven!({
                let all = _mm_loadu_si128(from.as_ptr().cast());
                let high = _mm_srli_si128::<8>(all);
                (_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(all)), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(high)))
            })
        }
        #[inline(always)]
        fn call(self, task: impl Task) {
            self.run(task);
        }
        #[inline(always)]
        fn trees(self, task: impl trees::LanesTask) {
            task.run(self);
        }
    }
}
