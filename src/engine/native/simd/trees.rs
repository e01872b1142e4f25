//! What tree ensembles need of the instruction sets: 64 lanes of bytes, and sixteen lanes that read from a table.
//!
//! All of it is exact: comparisons, and sums in one order. So the three instruction sets give the same bytes.

use super::super::portable::Portable;
use super::super::tensor::LANES;
use bytemuck::{Pod, Zeroable};

/// Trees whose bytes stand side by side.
pub(in super::super) const TREES: usize = 64;

/// One test of each of 64 trees: a tree that stands at leaf `first` goes on to leaf `middle` if the value that `column`
/// names is above `threshold`.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(in super::super) struct Tests {
    pub column: [u8; TREES],
    pub threshold: [i8; TREES],
    pub first: [u8; TREES],
    pub middle: [u8; TREES],
}

/// Values that tests are made on, by column.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Ranks(pub [i8; 256]);

/// A node of a walk: left where x ≤ threshold (where they are equal, if `EQUAL` is set), right otherwise; NaN goes left if
/// `NAN_LEFT` is set.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(in super::super) struct Node {
    pub threshold: f32,
    /// With the two flags above it.
    pub feature: u32,
    /// The left child; the right one stands behind it.
    pub left: u32,
    /// What the walk ends with, of a leaf.
    pub leaf: u32,
}

/// NaN goes left.
pub(in super::super) const NAN_LEFT: u32 = 1 << 31;
/// Only the very value goes left.
pub(in super::super) const EQUAL: u32 = 1 << 30;
/// The feature's number.
pub(in super::super) const FEATURE: u32 = EQUAL - 1;

/// Operations on lanes of trees.
pub(in super::super) trait Lanes: Copy {
    /// 64 bytes, one for each tree.
    type Bytes: Copy;
    /// Sixteen indices.
    type Ints: Copy;
    /// Sixteen values.
    type Floats: Copy;

    fn no_bytes(self) -> Self::Bytes;
    /// Takes one test: where the trees stand now. Columns are below 16 · `N`, which is 2, 4, 8 or 16.
    fn jump<const N: usize>(self, ranks: &Ranks, tests: &Tests, at: Self::Bytes) -> Self::Bytes;
    /// The bytes times `times`, and `base` added: sixteen lanes each.
    fn widen(self, at: Self::Bytes, times: u32, base: [&[u32; LANES]; 4]) -> [Self::Ints; 4];
    /// How many values are below x.
    fn count_below(self, row: &[f32; LANES], x: f32) -> usize;
    fn ints(self, from: &[u32; LANES]) -> Self::Ints;
    fn indices(self, at: Self::Ints) -> [u32; LANES];
    /// One step of sixteen walks. An index past the end is the last node's, a feature past the end the last one's.
    fn descend(self, nodes: &[Node], x: &[f32], at: Self::Ints) -> Self::Ints;
    /// What walks that have ended there end with.
    fn leaf(self, nodes: &[Node], at: Self::Ints) -> Self::Ints;
    /// `from[at + more]`; an index past the end is the last value's.
    fn gather(self, from: &[f32], at: Self::Ints, more: u32) -> Self::Floats;
    fn no_floats(self) -> Self::Floats;
    fn plus(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// Sum of the lanes: halves onto each other.
    fn total(self, a: Self::Floats) -> f32;
}

/// Work on lanes of trees; as [`super::Task`].
pub(in super::super) trait LanesTask {
    fn run<L: Lanes>(self, lanes: L);
}

impl Lanes for Portable {
    type Bytes = [u8; TREES];
    type Ints = [u32; LANES];
    type Floats = [f32; LANES];

    #[inline(always)]
    fn no_bytes(self) -> [u8; TREES] {
        [0; TREES]
    }
    #[inline(always)]
    fn jump<const N: usize>(self, ranks: &Ranks, tests: &Tests, mut at: [u8; TREES]) -> [u8; TREES] {
        for (i, at) in at.iter_mut().enumerate() {
            let above = ranks.0[usize::from(tests.column[i])] > tests.threshold[i];
            *at = if above & (*at == tests.first[i]) { tests.middle[i] } else { *at };
        }
        at
    }
    #[inline(always)]
    fn widen(self, at: [u8; TREES], times: u32, base: [&[u32; LANES]; 4]) -> [[u32; LANES]; 4] {
        std::array::from_fn(|q| std::array::from_fn(|i| base[q][i] + u32::from(at[q * LANES + i]) * times))
    }
    #[inline(always)]
    fn count_below(self, row: &[f32; LANES], x: f32) -> usize {
        row.iter().map(|&value| usize::from(value < x)).sum()
    }
    #[inline(always)]
    fn ints(self, from: &[u32; LANES]) -> [u32; LANES] {
        *from
    }
    #[inline(always)]
    fn indices(self, at: [u32; LANES]) -> [u32; LANES] {
        at
    }
    #[inline(always)]
    fn descend(self, nodes: &[Node], x: &[f32], at: [u32; LANES]) -> [u32; LANES] {
        let (last, widest) = (nodes.len() - 1, x.len() - 1);
        at.map(|at| {
            let node = nodes[last.min(at as usize)];
            let value = x[widest.min((node.feature & FEATURE) as usize)];
            let equal = (value >= node.threshold) | (node.feature & EQUAL == 0);
            let left = (value <= node.threshold) & equal | (node.feature & NAN_LEFT != 0) & value.is_nan();
            node.left + u32::from(!left)
        })
    }
    #[inline(always)]
    fn leaf(self, nodes: &[Node], at: [u32; LANES]) -> [u32; LANES] {
        at.map(|at| nodes[(nodes.len() - 1).min(at as usize)].leaf)
    }
    #[inline(always)]
    fn gather(self, from: &[f32], at: [u32; LANES], more: u32) -> [f32; LANES] {
        at.map(|at| from[(from.len() - 1).min((at + more) as usize)])
    }
    #[inline(always)]
    fn no_floats(self) -> [f32; LANES] {
        [0.0; LANES]
    }
    #[inline(always)]
    fn plus(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn total(self, a: [f32; LANES]) -> f32 {
        super::Simd::sum(self, a)
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::wide;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::super::{Avx2, Avx512, Simd};
    use super::{EQUAL, FEATURE, LANES, Lanes, LanesTask, NAN_LEFT, Node, Ranks, Tests};
    use std::arch::x86_64::*;

    /// The 512-bit operations, with or without the byte permutes of AVX512-VBMI.
    #[derive(Clone, Copy)]
    struct Wide<const VBMI: bool>(Avx512);

    /// Runs `task` with the byte permutes where the machine has them.
    #[inline(always)]
    pub fn wide(simd: Avx512, task: impl LanesTask) {
        #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512vbmi,avx2,fma")]
        fn with(simd: Avx512, task: impl LanesTask) {
            task.run(Wide::<true>(simd));
        }
        if is_x86_feature_detected!("avx512vbmi") {
            // SAFETY: just asked for, and `simd` is the proof of the others.
            unsafe { with(simd, task) }
        } else {
            task.run(Wide::<false>(simd));
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

    impl<const VBMI: bool> Wide<VBMI> {
        /// For each lane the rank in its column.
        #[inline(always)]
        fn pick<const N: usize>(self, ranks: &Ranks, column: __m512i) -> __m512i {
            let table = |i: usize| proven!(_mm512_loadu_si512(ranks.0[i * 64..][..64].as_ptr().cast()));
            if VBMI && N <= 4 {
                return proven!(_mm512_permutexvar_epi8(column, table(0)));
            }
            if VBMI {
                let low = proven!(_mm512_permutex2var_epi8(table(0), column, table(1)));
                if N <= 8 {
                    return low;
                }
                let high = proven!(_mm512_permutex2var_epi8(table(2), column, table(3)));
                return proven!(_mm512_mask_blend_epi8(_mm512_movepi8_mask(column), low, high));
            }
            let mut picked = proven!(_mm512_setzero_si512());
            for sixteen in 0..N {
                picked = proven!({
                    let table = _mm_loadu_si128(ranks.0[sixteen * 16..][..16].as_ptr().cast());
                    // 0x70 to 0x7f for this table's columns; the top bit, which says 0, for all others.
                    let here = _mm512_sub_epi8(column, _mm512_set1_epi8((sixteen * 16) as i8));
                    let here = _mm512_adds_epu8(here, _mm512_set1_epi8(0x70));
                    _mm512_or_si512(picked, _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), here))
                });
            }
            picked
        }
    }

    impl<const VBMI: bool> Lanes for Wide<VBMI> {
        type Bytes = __m512i;
        type Ints = __m512i;
        type Floats = __m512;

        #[inline(always)]
        fn no_bytes(self) -> __m512i {
            proven!(_mm512_setzero_si512())
        }
        #[inline(always)]
        fn jump<const N: usize>(self, ranks: &Ranks, tests: &Tests, at: __m512i) -> __m512i {
            let load = |from: *const u8| proven!(_mm512_loadu_si512(from.cast()));
            let rank = self.pick::<N>(ranks, load(tests.column.as_ptr()));
            proven!({
                let above = _mm512_cmpgt_epi8_mask(rank, load(tests.threshold.as_ptr().cast()));
                let here = _mm512_mask_cmpeq_epi8_mask(above, at, load(tests.first.as_ptr()));
                _mm512_mask_mov_epi8(at, here, load(tests.middle.as_ptr()))
            })
        }
        #[inline(always)]
        fn widen(self, at: __m512i, times: u32, base: [&[u32; LANES]; 4]) -> [__m512i; 4] {
            let wide = |at: __m128i, base: &[u32; LANES]| {
                proven!({
                    let at = _mm512_mullo_epi32(_mm512_cvtepu8_epi32(at), _mm512_set1_epi32(times as i32));
                    _mm512_add_epi32(at, _mm512_loadu_si512(base.as_ptr().cast()))
                })
            };
            proven!([
                wide(_mm512_castsi512_si128(at), base[0]),
                wide(_mm512_extracti32x4_epi32::<1>(at), base[1]),
                wide(_mm512_extracti32x4_epi32::<2>(at), base[2]),
                wide(_mm512_extracti32x4_epi32::<3>(at), base[3]),
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

    /// `f` for each half.
    #[inline(always)]
    fn halves<T>(f: impl Fn(usize) -> T) -> (T, T) {
        (f(0), f(1))
    }

    #[inline(always)]
    fn half<T>(pair: (T, T), i: usize) -> T {
        if i == 0 { pair.0 } else { pair.1 }
    }

    impl Lanes for Avx2 {
        type Bytes = Pair;
        type Ints = Pair;
        type Floats = (__m256, __m256);

        #[inline(always)]
        fn no_bytes(self) -> Pair {
            halves(|_| proven!(_mm256_setzero_si256()))
        }
        #[inline(always)]
        fn jump<const N: usize>(self, ranks: &Ranks, tests: &Tests, at: Pair) -> Pair {
            halves(|i| {
                let load = |from: &[u8; 64]| proven!(_mm256_loadu_si256(from[i * 32..][..32].as_ptr().cast()));
                let column = load(&tests.column);
                let mut rank = proven!(_mm256_setzero_si256());
                for sixteen in 0..N {
                    rank = proven!({
                        let table = _mm_loadu_si128(ranks.0[sixteen * 16..][..16].as_ptr().cast());
                        // As in `Wide::pick`.
                        let here = _mm256_sub_epi8(column, _mm256_set1_epi8((sixteen * 16) as i8));
                        let here = _mm256_adds_epu8(here, _mm256_set1_epi8(0x70));
                        _mm256_or_si256(rank, _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), here))
                    });
                }
                let at = half(at, i);
                proven!({
                    let above = _mm256_cmpgt_epi8(rank, load(bytemuck::cast_ref(&tests.threshold)));
                    let here = _mm256_and_si256(above, _mm256_cmpeq_epi8(at, load(&tests.first)));
                    _mm256_blendv_epi8(at, load(&tests.middle), here)
                })
            })
        }
        #[inline(always)]
        fn widen(self, at: Pair, times: u32, base: [&[u32; LANES]; 4]) -> [Pair; 4] {
            let eight = |at: __m128i, base: &[u32]| {
                proven!({
                    let at = _mm256_mullo_epi32(_mm256_cvtepu8_epi32(at), _mm256_set1_epi32(times as i32));
                    _mm256_add_epi32(at, _mm256_loadu_si256(base[..8].as_ptr().cast()))
                })
            };
            std::array::from_fn(|q| {
                let at = half(at, q / 2);
                let at =
                    proven!(if q % 2 == 0 { _mm256_castsi256_si128(at) } else { _mm256_extracti128_si256::<1>(at) });
                (eight(at, &base[q][..8]), eight(proven!(_mm_srli_si128::<8>(at)), &base[q][8..]))
            })
        }
        #[inline(always)]
        fn count_below(self, row: &[f32; LANES], x: f32) -> usize {
            let below = |row: &[f32]| {
                let row = proven!(_mm256_loadu_ps(row[..8].as_ptr()));
                proven!(_mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(row, _mm256_set1_ps(x))))
            };
            (below(&row[..8]) | below(&row[8..]) << 8).count_ones() as usize
        }
        #[inline(always)]
        fn ints(self, from: &[u32; LANES]) -> Pair {
            halves(|i| proven!(_mm256_loadu_si256(from[i * 8..][..8].as_ptr().cast())))
        }
        #[inline(always)]
        fn indices(self, at: Pair) -> [u32; LANES] {
            let mut out = [0; LANES];
            for i in 0..2 {
                proven!(_mm256_storeu_si256(out[i * 8..][..8].as_mut_ptr().cast(), half(at, i)));
            }
            out
        }
        #[inline(always)]
        fn descend(self, nodes: &[Node], x: &[f32], at: Pair) -> Pair {
            let (last, widest) = (last(nodes), last(x));
            halves(|i| {
                proven!({
                    let at = _mm256_min_epu32(half(at, i), _mm256_set1_epi32(last));
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
            })
        }
        #[inline(always)]
        fn leaf(self, nodes: &[Node], at: Pair) -> Pair {
            let last = last(nodes);
            halves(|i| {
                proven!({
                    let at = _mm256_slli_epi32::<1>(_mm256_min_epu32(half(at, i), _mm256_set1_epi32(last)));
                    _mm256_i32gather_epi32::<8>(nodes.as_ptr().cast::<i32>().add(3), at)
                })
            })
        }
        #[inline(always)]
        fn gather(self, from: &[f32], at: Pair, more: u32) -> (__m256, __m256) {
            let last = last(from);
            halves(|i| {
                proven!({
                    let at = _mm256_add_epi32(half(at, i), _mm256_set1_epi32(more as i32));
                    let at = _mm256_min_epu32(at, _mm256_set1_epi32(last));
                    _mm256_i32gather_ps::<4>(from.as_ptr(), at)
                })
            })
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
}
