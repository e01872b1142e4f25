//! Lanes of trees by AVX-512 with the byte permutes of VBMI, and by AVX2, which AVX-512 without them falls back to.
//!
//! Functions, not closures: what is not inlined into the function that has the instructions enabled calls each of them.

use super::super::super::portable::Portable;
use super::super::{Avx2, Avx512, Simd};
use super::{EQUAL, FEATURE, LANES, Lanes, LanesTask, NAN_LEFT, Node, Ranks, Tests};
use std::arch::x86_64::*;

/// Proof that the machine has AVX512-VBMI too.
#[derive(Clone, Copy)]
struct Vbmi(Avx512);

/// Runs `task` with the byte permutes where the machine has them.
#[inline(always)]
pub fn wide(simd: Avx512, task: impl LanesTask) {
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512vbmi,avx2,fma")]
    fn with(simd: Avx512, task: impl LanesTask) {
        task.run(Vbmi(simd));
    }
    if is_x86_feature_detected!("avx512vbmi") {
        // SAFETY: just asked for, and `simd` is the proof of the others.
        unsafe { with(simd, task) }
    } else if let Some(half) = Avx2::detect() {
        task.run(half);
    } else {
        task.run(Portable);
    }
}

/// The intrinsics in `$body` need what `self` proves; loads stay within the arrays they are given, and gathers within
/// slices that are not empty, because each index is held below their length.
macro_rules! proven {
    ($body:expr) => {{
        // SAFETY: see above.
        unsafe { $body }
    }};
}

/// The last index of a slice.
///
/// # Panics
/// If there is none.
#[inline(always)]
fn last<T>(slice: &[T]) -> i32 {
    assert!(!slice.is_empty(), "a table without entries");
    // Tables have at most 2^30 entries: `read` sees to it, and a longer one would only be read at its start.
    (slice.len() - 1).min(1 << 30) as i32
}

/// Ranks of 64 columns.
#[inline(always)]
fn table(ranks: &Ranks, i: usize) -> __m512i {
    proven!(_mm512_loadu_si512(ranks.0[i * 64..][..64].as_ptr().cast()))
}

#[inline(always)]
fn load<T: bytemuck::Pod>(from: &[T; 64]) -> __m512i {
    const { assert!(size_of::<T>() == 1) };
    proven!(_mm512_loadu_si512(from.as_ptr().cast()))
}

#[inline(always)]
fn widen(at: __m128i, times: u32, base: &[u32; LANES]) -> __m512i {
    proven!({
        let at = _mm512_mullo_epi32(_mm512_cvtepu8_epi32(at), _mm512_set1_epi32(times as i32));
        _mm512_add_epi32(at, _mm512_loadu_si512(base.as_ptr().cast()))
    })
}

/// For each lane the rank in its column.
#[inline(always)]
fn pick<const N: usize>(ranks: &Ranks, column: __m512i) -> __m512i {
    if N <= 4 {
        return proven!(_mm512_permutexvar_epi8(column, table(ranks, 0)));
    }
    let low = proven!(_mm512_permutex2var_epi8(table(ranks, 0), column, table(ranks, 1)));
    if N <= 8 {
        return low;
    }
    let high = proven!(_mm512_permutex2var_epi8(table(ranks, 2), column, table(ranks, 3)));
    proven!(_mm512_mask_blend_epi8(_mm512_movepi8_mask(column), low, high))
}

impl Lanes for Vbmi {
    type Bytes = __m512i;
    type Ints = __m512i;
    type Floats = __m512;

    #[inline(always)]
    fn no_bytes(self) -> __m512i {
        proven!(_mm512_setzero_si512())
    }
    #[inline(always)]
    fn jump<const N: usize>(self, ranks: &Ranks, tests: &Tests, at: __m512i) -> __m512i {
        let rank = pick::<N>(ranks, load(&tests.column));
        proven!({
            let above = _mm512_cmpgt_epi8_mask(rank, load(&tests.threshold));
            let here = _mm512_mask_cmpeq_epi8_mask(above, at, load(&tests.first));
            _mm512_mask_mov_epi8(at, here, load(&tests.middle))
        })
    }
    #[inline(always)]
    fn widen(self, at: __m512i, times: u32, base: [&[u32; LANES]; 4]) -> [__m512i; 4] {
        proven!([
            widen(_mm512_castsi512_si128(at), times, base[0]),
            widen(_mm512_extracti32x4_epi32::<1>(at), times, base[1]),
            widen(_mm512_extracti32x4_epi32::<2>(at), times, base[2]),
            widen(_mm512_extracti32x4_epi32::<3>(at), times, base[3]),
        ])
    }
    #[inline(always)]
    fn count_below(self, row: &[f32; LANES], x: f32) -> usize {
        let below = proven!(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(_mm512_loadu_ps(row.as_ptr()), _mm512_set1_ps(x)));
        below.count_ones() as usize
    }
    #[inline(always)]
    fn ints(self, from: &[u32; LANES]) -> __m512i {
        proven!(_mm512_loadu_si512(from.as_ptr().cast()))
    }
    #[inline(always)]
    fn indices(self, at: __m512i) -> [u32; LANES] {
        let mut out = [0; LANES];
        proven!(_mm512_storeu_si512(out.as_mut_ptr().cast(), at));
        out
    }
    #[inline(always)]
    fn descend(self, nodes: &[Node], x: &[f32], at: __m512i) -> __m512i {
        let (last, widest) = (last(nodes), last(x));
        proven!({
            let at = _mm512_min_epu32(at, _mm512_set1_epi32(last));
            // Nodes are 16 bytes, and the largest scale is 8.
            let (at, from) = (_mm512_slli_epi32::<1>(at), nodes.as_ptr().cast::<i32>());
            let threshold = _mm512_i32gather_ps::<8>(at, from.cast());
            let word = _mm512_i32gather_epi32::<8>(at, from.add(1));
            let left = _mm512_i32gather_epi32::<8>(at, from.add(2));
            let feature = _mm512_and_si512(word, _mm512_set1_epi32(FEATURE as i32));
            let feature = _mm512_min_epu32(feature, _mm512_set1_epi32(widest));
            let x = _mm512_i32gather_ps::<4>(feature, x.as_ptr());
            let at_most = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(x, threshold);
            let at_least = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(x, threshold);
            let any = _mm512_testn_epi32_mask(word, _mm512_set1_epi32(EQUAL as i32));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x);
            let nan = nan & _mm512_test_epi32_mask(word, _mm512_set1_epi32(NAN_LEFT as i32));
            let right = !((at_most & (at_least | any)) | nan);
            _mm512_mask_add_epi32(left, right, left, _mm512_set1_epi32(1))
        })
    }
    #[inline(always)]
    fn leaf(self, nodes: &[Node], at: __m512i) -> __m512i {
        let last = last(nodes);
        proven!({
            let at = _mm512_slli_epi32::<1>(_mm512_min_epu32(at, _mm512_set1_epi32(last)));
            _mm512_i32gather_epi32::<8>(at, nodes.as_ptr().cast::<i32>().add(3))
        })
    }
    #[inline(always)]
    fn gather(self, from: &[f32], at: __m512i, more: u32) -> __m512 {
        let last = last(from);
        proven!({
            let at = _mm512_add_epi32(at, _mm512_set1_epi32(more as i32));
            let at = _mm512_min_epu32(at, _mm512_set1_epi32(last));
            _mm512_i32gather_ps::<4>(at, from.as_ptr())
        })
    }
    #[inline(always)]
    fn no_floats(self) -> __m512 {
        proven!(_mm512_setzero_ps())
    }
    #[inline(always)]
    fn plus(self, a: __m512, b: __m512) -> __m512 {
        proven!(_mm512_add_ps(a, b))
    }
    #[inline(always)]
    fn total(self, a: __m512) -> f32 {
        self.0.sum(a)
    }
}

/// Two registers of half the lanes.
type Pair = (__m256i, __m256i);

#[inline(always)]
fn eight(from: &[u32]) -> __m256i {
    proven!(_mm256_loadu_si256(from[..8].as_ptr().cast()))
}

#[inline(always)]
fn half<T: bytemuck::Pod>(from: &[T; 64], i: usize) -> __m256i {
    const { assert!(size_of::<T>() == 1) };
    proven!(_mm256_loadu_si256(from[i * 32..][..32].as_ptr().cast()))
}

/// 32 trees of [`Lanes::jump`].
#[inline(always)]
fn jump_half<const N: usize>(ranks: &Ranks, tests: &Tests, at: __m256i, i: usize) -> __m256i {
    let column = half(&tests.column, i);
    proven!({
        let mut rank = _mm256_setzero_si256();
        for sixteen in 0..N {
            let table = _mm_loadu_si128(ranks.0[sixteen * 16..][..16].as_ptr().cast());
            // 0x70 to 0x7f for this table's columns; the top bit, which says 0, for all others.
            let here = _mm256_sub_epi8(column, _mm256_set1_epi8((sixteen * 16) as i8));
            let here = _mm256_adds_epu8(here, _mm256_set1_epi8(0x70));
            rank = _mm256_or_si256(rank, _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), here));
        }
        let above = _mm256_cmpgt_epi8(rank, half(&tests.threshold, i));
        let here = _mm256_and_si256(above, _mm256_cmpeq_epi8(at, half(&tests.first, i)));
        _mm256_blendv_epi8(at, half(&tests.middle, i), here)
    })
}

/// Eight lanes of [`Lanes::widen`].
#[inline(always)]
fn widen_half(at: __m128i, times: u32, base: &[u32]) -> __m256i {
    proven!({
        let at = _mm256_mullo_epi32(_mm256_cvtepu8_epi32(at), _mm256_set1_epi32(times as i32));
        _mm256_add_epi32(at, eight(base))
    })
}

/// Sixteen lanes of it.
#[inline(always)]
fn widen_pair(at: __m128i, times: u32, base: &[u32; LANES]) -> Pair {
    let high = proven!(_mm_srli_si128::<8>(at));
    (widen_half(at, times, &base[..8]), widen_half(high, times, &base[8..]))
}

/// A bit for each of eight values that is below x.
#[inline(always)]
fn below_half(row: &[f32], x: f32) -> i32 {
    proven!({
        let row = _mm256_loadu_ps(row[..8].as_ptr());
        _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(row, _mm256_set1_ps(x)))
    })
}

/// Eight walks of [`Lanes::descend`].
#[inline(always)]
fn descend_half(nodes: &[Node], x: &[f32], at: __m256i) -> __m256i {
    let (last, widest) = (last(nodes), last(x));
    proven!({
        let at = _mm256_min_epu32(at, _mm256_set1_epi32(last));
        let (at, from) = (_mm256_slli_epi32::<1>(at), nodes.as_ptr().cast::<i32>());
        let threshold = _mm256_i32gather_ps::<8>(from.cast(), at);
        let word = _mm256_i32gather_epi32::<8>(from.add(1), at);
        let left = _mm256_i32gather_epi32::<8>(from.add(2), at);
        let feature = _mm256_and_si256(word, _mm256_set1_epi32(FEATURE as i32));
        let feature = _mm256_min_epu32(feature, _mm256_set1_epi32(widest));
        let x = _mm256_i32gather_ps::<4>(x.as_ptr(), feature);
        let at_most = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_LE_OQ>(x, threshold));
        let at_least = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_GE_OQ>(x, threshold));
        let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(x, x));
        // The two flags, each spread over its lane.
        let nan = _mm256_and_si256(nan, _mm256_srai_epi32::<31>(word));
        let equal = _mm256_srai_epi32::<31>(_mm256_slli_epi32::<1>(word));
        let go = _mm256_andnot_si256(_mm256_andnot_si256(at_least, equal), at_most);
        let go = _mm256_or_si256(go, nan);
        _mm256_add_epi32(_mm256_add_epi32(left, _mm256_set1_epi32(1)), go)
    })
}

#[inline(always)]
fn leaf_half(nodes: &[Node], at: __m256i) -> __m256i {
    let last = last(nodes);
    proven!({
        let at = _mm256_slli_epi32::<1>(_mm256_min_epu32(at, _mm256_set1_epi32(last)));
        _mm256_i32gather_epi32::<8>(nodes.as_ptr().cast::<i32>().add(3), at)
    })
}

#[inline(always)]
fn gather_half(from: &[f32], at: __m256i, more: u32) -> __m256 {
    let last = last(from);
    proven!({
        let at = _mm256_add_epi32(at, _mm256_set1_epi32(more as i32));
        let at = _mm256_min_epu32(at, _mm256_set1_epi32(last));
        _mm256_i32gather_ps::<4>(from.as_ptr(), at)
    })
}

impl Lanes for Avx2 {
    type Bytes = Pair;
    type Ints = Pair;
    type Floats = (__m256, __m256);

    #[inline(always)]
    fn no_bytes(self) -> Pair {
        let none = proven!(_mm256_setzero_si256());
        (none, none)
    }
    #[inline(always)]
    fn jump<const N: usize>(self, ranks: &Ranks, tests: &Tests, at: Pair) -> Pair {
        (jump_half::<N>(ranks, tests, at.0, 0), jump_half::<N>(ranks, tests, at.1, 1))
    }
    #[inline(always)]
    fn widen(self, at: Pair, times: u32, base: [&[u32; LANES]; 4]) -> [Pair; 4] {
        proven!([
            widen_pair(_mm256_castsi256_si128(at.0), times, base[0]),
            widen_pair(_mm256_extracti128_si256::<1>(at.0), times, base[1]),
            widen_pair(_mm256_castsi256_si128(at.1), times, base[2]),
            widen_pair(_mm256_extracti128_si256::<1>(at.1), times, base[3]),
        ])
    }
    #[inline(always)]
    fn count_below(self, row: &[f32; LANES], x: f32) -> usize {
        (below_half(&row[..8], x) | below_half(&row[8..], x) << 8).count_ones() as usize
    }
    #[inline(always)]
    fn ints(self, from: &[u32; LANES]) -> Pair {
        (eight(&from[..8]), eight(&from[8..]))
    }
    #[inline(always)]
    fn indices(self, at: Pair) -> [u32; LANES] {
        let mut out = [0; LANES];
        proven!({
            _mm256_storeu_si256(out.as_mut_ptr().cast(), at.0);
            _mm256_storeu_si256(out[8..].as_mut_ptr().cast(), at.1);
        });
        out
    }
    #[inline(always)]
    fn descend(self, nodes: &[Node], x: &[f32], at: Pair) -> Pair {
        (descend_half(nodes, x, at.0), descend_half(nodes, x, at.1))
    }
    #[inline(always)]
    fn leaf(self, nodes: &[Node], at: Pair) -> Pair {
        (leaf_half(nodes, at.0), leaf_half(nodes, at.1))
    }
    #[inline(always)]
    fn gather(self, from: &[f32], at: Pair, more: u32) -> (__m256, __m256) {
        (gather_half(from, at.0, more), gather_half(from, at.1, more))
    }
    #[inline(always)]
    fn no_floats(self) -> (__m256, __m256) {
        self.splat(0.0)
    }
    #[inline(always)]
    fn plus(self, a: (__m256, __m256), b: (__m256, __m256)) -> (__m256, __m256) {
        self.add(a, b)
    }
    #[inline(always)]
    fn total(self, a: (__m256, __m256)) -> f32 {
        self.sum(a)
    }
}
