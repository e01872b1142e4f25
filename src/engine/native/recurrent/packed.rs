//! Weights of recurrent layers and their products with rows: y += x · W.
//!
//! Outputs go in panels of up to fourteen registers, so that one stream of weights feeds all sums: AVX-512 has 32 registers,
//! and one step of a small cell is bound by how fast its weights come from the second cache. A panel's weights lie in the
//! order they are read: for each input (for each two, where they share a block) the panel's registers side by side.

use crate::engine::native::simd::{Simd, Task};
use crate::engine::native::tensor::{Block, LANES};

/// Most registers of a panel.
const WIDEST: usize = 14;
/// Rows that share one reading of the weights.
const ROWS: usize = 4;

/// How weights lie in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::native) enum Form {
    /// One input's weights for sixteen outputs.
    F32,
    /// Two inputs' weights: the first as the lower half of each lane, the second as the upper. The second is read with the
    /// first below it, and rounded so that this is nearest to the weight.
    Bf16,
}

impl Form {
    /// Inputs whose weights share a block.
    const fn depth(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Bf16 => 2,
        }
    }
}

/// How a block becomes registers: one for each of `D` inputs.
trait Unpack<const D: usize> {
    fn unpack<S: Simd>(s: S, block: &Block) -> [S::V; D];
}

struct Single;
struct Halves;

impl Unpack<1> for Single {
    #[inline(always)]
    fn unpack<S: Simd>(s: S, block: &Block) -> [S::V; 1] {
        [s.load(&block.0)]
    }
}

impl Unpack<2> for Halves {
    #[inline(always)]
    fn unpack<S: Simd>(s: S, block: &Block) -> [S::V; 2] {
        let both = s.load(&block.0);
        [s.lower_half(both), both]
    }
}

/// A matrix of weights, packed.
#[derive(Clone, Debug)]
pub(in crate::engine::native) struct Packed {
    inputs: usize,
    outputs: usize,
    form: Form,
    blocks: Vec<Block>,
}

impl Packed {
    /// Packs `weight(input, output)`.
    pub fn new(inputs: usize, outputs: usize, form: Form, weight: impl Fn(usize, usize) -> f32) -> Self {
        let at = |input, output| if input < inputs && output < outputs { weight(input, output) } else { 0.0 };
        let mut blocks = Vec::new();
        for (first, width) in panels(outputs.div_ceil(LANES)) {
            for input in (0..inputs).step_by(form.depth()) {
                for block in first..first + width {
                    let lane = |l| match form {
                        Form::F32 => at(input, block * LANES + l),
                        Form::Bf16 => halves(at(input, block * LANES + l), at(input + 1, block * LANES + l)),
                    };
                    blocks.push(Block(std::array::from_fn(lane)));
                }
            }
        }
        Self { inputs, outputs, form, blocks }
    }

    pub fn bytes(&self) -> usize {
        self.blocks.len() * size_of::<Block>()
    }

    /// y += x · W, where `y` is of whole blocks: what is behind the outputs stays as it is if x is finite.
    #[inline(always)]
    pub fn add<S: Simd>(&self, s: S, x: &[f32], y: &mut [f32]) {
        s.apart(Add { packed: self, x: &x[..self.inputs], y });
    }

    /// For each row of x, one behind the other: the values from r · `stride` on of y become `start` + x · W.
    #[inline(always)]
    pub fn rows<S: Simd>(&self, s: S, x: &[f32], start: &[f32], y: &mut [f32], stride: usize) {
        s.apart(Rows { packed: self, x, start, y, stride });
    }

    /// First block and weights of each panel.
    fn panels(&self) -> impl Iterator<Item = (usize, usize, &[Block])> {
        let groups = self.inputs.div_ceil(self.form.depth());
        let panels = panels(self.outputs.div_ceil(LANES));
        panels.map(move |(first, width)| (first, width, &self.blocks[first * groups..][..width * groups]))
    }
}

/// Two weights as the halves of a lane.
fn halves(lower: f32, upper: f32) -> f32 {
    let low = bf16(lower) >> 16;
    let (sign, size) = (upper.to_bits() & 0x8000_0000, upper.to_bits() & 0x7fff_ffff);
    let high = (size + 0x8000).saturating_sub(low).min(0x7f7f_ffff) & 0xffff_0000;
    f32::from_bits(sign | high | low)
}

/// The nearest f32 whose lower half is 0, as bits; finite.
fn bf16(x: f32) -> u32 {
    let (sign, size) = (x.to_bits() & 0x8000_0000, x.to_bits() & 0x7fff_ffff);
    let odd = (size >> 16) & 1;
    sign | ((size + 0x7fff + odd).min(0x7f7f_ffff) & 0xffff_0000)
}

/// First block and width of each panel: as few as there can be, and as equal.
fn panels(blocks: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = blocks.div_ceil(WIDEST).max(1);
    (0..count).map(move |i| (i * blocks / count, (i + 1) * blocks / count - i * blocks / count))
}

struct Add<'a> {
    packed: &'a Packed,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Task for Add<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (y, _) = self.y.as_chunks_mut::<LANES>();
        for (first, width, weights) in self.packed.panels() {
            let y = &mut y[first..first + width];
            match self.packed.form {
                Form::F32 => panel::<S, Single, 1>(s, self.x, weights, y),
                Form::Bf16 => panel::<S, Halves, 2>(s, self.x, weights, y),
            }
        }
    }
}

/// One panel and one row, with at least eight chains of multiply-adds in flight.
#[inline(always)]
fn panel<S: Simd, U: Unpack<D>, const D: usize>(s: S, x: &[f32], weights: &[Block], y: &mut [[f32; LANES]]) {
    let width = y.len();
    macro_rules! strip {
        ($at:expr, $p:literal, $c:literal) => {
            strip::<S, U, D, $p, $c>(s, x, weights, width, $at, y)
        };
    }
    if S::REGISTERS < 32 {
        let mut at = 0;
        while at < width {
            match width - at {
                1 => strip!(at, 1, 4),
                2 => strip!(at, 2, 2),
                3 => strip!(at, 3, 2),
                _ => strip!(at, 4, 1),
            }
            at += 4;
        }
        return;
    }
    match width {
        1 => strip!(0, 1, 8),
        2 => strip!(0, 2, 4),
        3 => strip!(0, 3, 3),
        4 => strip!(0, 4, 2),
        5 => strip!(0, 5, 2),
        6 => strip!(0, 6, 2),
        7 => strip!(0, 7, 2),
        8 => strip!(0, 8, 1),
        9 => strip!(0, 9, 1),
        10 => strip!(0, 10, 1),
        11 => strip!(0, 11, 1),
        12 => strip!(0, 12, 1),
        13 => strip!(0, 13, 1),
        _ => strip!(0, 14, 1),
    }
}

/// `P` registers from `at` on of a panel of `width`; the groups of inputs dealt out to `C` sums each.
#[inline(always)]
fn strip<S: Simd, U: Unpack<D>, const D: usize, const P: usize, const C: usize>(
    s: S,
    x: &[f32],
    weights: &[Block],
    width: usize,
    at: usize,
    y: &mut [[f32; LANES]],
) {
    let y = &mut y[at..at + P];
    let mut sums = [[s.splat(0.0); P]; C];
    for p in 0..P {
        sums[0][p] = s.load(&y[p]);
    }
    let (groups, rest) = x.as_chunks::<D>();
    let (whole, left) = groups.as_chunks::<C>();
    let (weights, left_weights) = weights.split_at(whole.len() * C * width);
    for (xs, weights) in whole.iter().zip(weights.chunks_exact(C * width)) {
        for c in 0..C {
            group::<S, U, D, P>(s, &mut sums[c], &xs[c], &weights[c * width + at..][..P]);
        }
    }
    for (x, weights) in left.iter().zip(left_weights.chunks_exact(width)) {
        group::<S, U, D, P>(s, &mut sums[0], x, &weights[at..][..P]);
    }
    if !rest.is_empty() {
        let mut last = [0.0; D];
        last[..rest.len()].copy_from_slice(rest);
        group::<S, U, D, P>(s, &mut sums[0], &last, &left_weights[left.len() * width + at..][..P]);
    }
    for p in 0..P {
        let mut sum = sums[0][p];
        for more in &sums[1..] {
            sum = s.add(sum, more[p]);
        }
        s.store(&mut y[p], sum);
    }
}

/// sums += `D` inputs · their weights.
#[inline(always)]
fn group<S: Simd, U: Unpack<D>, const D: usize, const P: usize>(
    s: S,
    sums: &mut [S::V; P],
    x: &[f32; D],
    weights: &[Block],
) {
    let mut values = [s.splat(0.0); D];
    for d in 0..D {
        values[d] = s.splat(x[d]);
    }
    for p in 0..P {
        let unpacked = U::unpack(s, &weights[p]);
        for d in 0..D {
            sums[p] = s.mul_add(values[d], unpacked[d], sums[p]);
        }
    }
}

struct Rows<'a> {
    packed: &'a Packed,
    x: &'a [f32],
    start: &'a [f32],
    y: &'a mut [f32],
    stride: usize,
}

impl Task for Rows<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { packed, x, start, y, stride } = self;
        let blocks = packed.outputs.div_ceil(LANES);
        for row in y.chunks_mut(stride) {
            row[..blocks * LANES].copy_from_slice(&start[..blocks * LANES]);
        }
        let fours = y.chunks_mut(stride * ROWS).zip(x.chunks(packed.inputs * ROWS));
        for (y, x) in fours {
            let rows = x.len() / packed.inputs;
            if rows < ROWS {
                for (x, y) in x.chunks_exact(packed.inputs).zip(y.chunks_mut(stride)) {
                    packed.add(s, x, &mut y[..blocks * LANES]);
                }
                continue;
            }
            for (first, width, weights) in packed.panels() {
                let y = &mut y[first * LANES..];
                match packed.form {
                    Form::F32 => block::<S, Single, 1>(s, packed.inputs, x, weights, width, y, stride),
                    Form::Bf16 => block::<S, Halves, 2>(s, packed.inputs, x, weights, width, y, stride),
                }
            }
        }
    }
}

/// One panel and four rows, as many registers of it at a time as the machine has room for.
#[inline(always)]
fn block<S: Simd, U: Unpack<D>, const D: usize>(
    s: S,
    inputs: usize,
    x: &[f32],
    weights: &[Block],
    width: usize,
    y: &mut [f32],
    stride: usize,
) {
    let mut at = 0;
    while at < width {
        macro_rules! tile {
            ($p:literal) => {
                tile::<S, U, D, $p>(s, inputs, x, weights, width, at, &mut y[at * LANES..], stride)
            };
        }
        if S::REGISTERS < 32 {
            tile!(1);
            at += 1;
            continue;
        }
        // As equal as they can be: what is left in as few parts as it needs.
        let parts = (width - at).div_ceil(WIDEST / 2);
        let wide = (width - at).div_ceil(parts);
        match wide {
            1 => tile!(1),
            2 => tile!(2),
            3 => tile!(3),
            4 => tile!(4),
            5 => tile!(5),
            6 => tile!(6),
            _ => tile!(7),
        }
        at += wide;
    }
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "a kernel's operands")]
fn tile<S: Simd, U: Unpack<D>, const D: usize, const P: usize>(
    s: S,
    inputs: usize,
    x: &[f32],
    weights: &[Block],
    width: usize,
    at: usize,
    y: &mut [f32],
    stride: usize,
) {
    let x = &x[..ROWS * inputs];
    let mut sums = [[s.splat(0.0); P]; ROWS];
    for (r, sums) in sums.iter_mut().enumerate() {
        let (y, _) = y[r * stride..].as_chunks::<LANES>();
        for p in 0..P {
            sums[p] = s.load(&y[p]);
        }
    }
    for (group, weights) in weights.chunks_exact(width).enumerate() {
        let mut unpacked = [[s.splat(0.0); D]; P];
        for p in 0..P {
            unpacked[p] = U::unpack(s, &weights[at + p]);
        }
        for d in 0..D {
            let input = group * D + d;
            if input < inputs {
                for r in 0..ROWS {
                    let value = s.splat(x[r * inputs + input]);
                    for p in 0..P {
                        sums[r][p] = s.mul_add(value, unpacked[p][d], sums[r][p]);
                    }
                }
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        let (y, _) = y[r * stride..].as_chunks_mut::<LANES>();
        for p in 0..P {
            s.store(&mut y[p], sums[p]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Form, Packed};
    use crate::engine::native::simd::Portable;

    #[test]
    fn every_width_and_depth_multiplies_as_the_plain_sum_does() {
        for form in [Form::F32, Form::Bf16] {
            for (inputs, outputs) in [(1, 1), (2, 17), (3, 40), (7, 224), (9, 225), (5, 450), (8, 96), (4, 160)] {
                let weight = |i: usize, o: usize| ((i * 31 + o * 7) % 23) as f32 / 8.0 - 1.25;
                let packed = Packed::new(inputs, outputs, form, weight);
                let stride = outputs.next_multiple_of(16) + 16;
                let x: Vec<f32> = (0..inputs * 6).map(|i| (i % 13) as f32 - 6.0).collect();
                let mut y = vec![0.0; stride * 6];
                packed.rows(Portable, &x, &vec![0.5; stride], &mut y, stride);
                for (x, y) in x.chunks(inputs).zip(y.chunks(stride)) {
                    let mut alone = vec![0.5; stride - 16];
                    packed.add(Portable, x, &mut alone);
                    for o in 0..outputs {
                        let sum = |y: f32, i: usize| y + x[i] * weight(i, o);
                        let want = (0..inputs).fold(0.5, sum);
                        // Both weights have few bits; the upper one of a pair is off by what lies below it.
                        let near = if form == Form::F32 { 0.0 } else { 0.03 * inputs as f32 };
                        assert!((y[o] - want).abs() <= near && (alone[o] - want).abs() <= near, "{form:?} {o}");
                    }
                    assert!(alone[outputs..].iter().all(|&y| y == 0.5));
                }
            }
        }
    }

    #[test]
    fn a_pair_of_halves_is_near_to_both_weights() {
        let mut x = 1.0_f32;
        for i in 0..2000_u16 {
            x = (x * 1.37 + 0.11) % 97.0;
            let (a, b) = (x - 40.0, (50.0 - x) * 1e-3 * f32::from(i % 7));
            let both = super::halves(a, b);
            let lower = f32::from_bits(both.to_bits() << 16);
            assert!((lower - a).abs() <= a.abs() / 256.0 && (both - b).abs() <= b.abs() / 256.0 + 1e-38, "{a} {b}");
        }
    }
}
