//! Layers y = act(x · W + b): weights packed for the kernel in `product`, and what is done to its sums.
#![forbid(unsafe_code)]

use super::product::{Product, Span, panels};
use super::simd::{Simd, Task};
use super::tensor::{Block, LANES};
use super::weights::{Bf16, F16, F32, Int8, Pair, int8_scale};
use super::{Weights, math};

/// Function applied to each output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Activation {
    None,
    Relu,
    Leaky(f32),
    Elu(f32),
    Sigmoid,
    HardSigmoid { alpha: f32, beta: f32 },
    Tanh,
    Softplus,
    Clip(f32, f32),
}

impl Activation {
    /// Of sixteen values. NaN stays NaN in every one.
    #[inline(always)]
    pub fn apply<S: Simd>(self, s: S, x: S::V) -> S::V {
        let zero = s.splat(0.0);
        match self {
            Self::None | Self::Relu | Self::Leaky(_) | Self::Clip(..) => self.quick(s, x),
            Self::Elu(alpha) => {
                let below = s.mul(s.splat(alpha), s.sub(math::exp(s, x), s.splat(1.0)));
                s.if_less(x, zero, below, x)
            }
            Self::Sigmoid => math::sigmoid(s, x),
            Self::HardSigmoid { alpha, beta } => {
                s.min(s.splat(1.0), s.max(zero, s.mul_add(x, s.splat(alpha), s.splat(beta))))
            }
            Self::Tanh => math::tanh(s, x),
            Self::Softplus => math::softplus(s, x),
        }
    }

    /// Those that cost an instruction or two; the others leave x as it is.
    #[inline(always)]
    pub fn quick<S: Simd>(self, s: S, x: S::V) -> S::V {
        let zero = s.splat(0.0);
        match self {
            Self::Relu => s.max(zero, x),
            Self::Leaky(slope) => s.if_less(x, zero, s.mul(x, s.splat(slope)), x),
            Self::Clip(low, high) => s.min(s.splat(high), s.max(s.splat(low), x)),
            _ => x,
        }
    }

    /// Whether it is applied to all values when the sums are done.
    fn is_late(self) -> bool {
        !matches!(self, Self::None | Self::Relu | Self::Leaky(_) | Self::Clip(..))
    }
}

/// Weights packed for the kernel.
#[derive(Clone, Debug)]
pub(super) struct Dense {
    /// Inputs of a row.
    pub inputs: usize,
    /// Outputs of a row.
    pub outputs: usize,
    /// Inputs of each piece that a row is made of.
    piece: usize,
    weights: Stored,
    bias: Vec<Block>,
    pub activation: Activation,
    /// Factor and summand of each output, after the activation.
    after: Option<[Vec<Block>; 2]>,
}

#[derive(Clone, Debug)]
enum Stored {
    F32(Vec<F32>),
    Bf16(Vec<Bf16>),
    F16(Vec<F16>),
    /// With the scale of each output.
    Int8(Vec<Int8>, Vec<Block>),
}

impl Dense {
    /// Packs `weight(input, output)` as f32; `bias` has `outputs` values, or none.
    pub fn new(inputs: usize, outputs: usize, weight: impl Fn(usize, usize) -> f32, bias: &[f32]) -> Self {
        Self::stored(Weights::F32, inputs, outputs, weight, bias)
    }

    /// The same in another form. Weights that it does not hold stay f32: see [`Dense::form`].
    pub fn stored(
        form: Weights,
        inputs: usize,
        outputs: usize,
        weight: impl Fn(usize, usize) -> f32,
        bias: &[f32],
    ) -> Self {
        let all = (0..outputs).flat_map(|o| (0..inputs).map(move |i| (i, o)));
        let weights = match form {
            _ if !form.holds(all.map(|(i, o)| weight(i, o))) => Stored::F32(packed(inputs, outputs, weight)),
            Weights::F32 => Stored::F32(packed(inputs, outputs, weight)),
            Weights::Bf16 => Stored::Bf16(packed(inputs, outputs, weight)),
            Weights::F16 => Stored::F16(packed(inputs, outputs, weight)),
            Weights::Int8 => {
                let scales: Vec<f32> = (0..outputs).map(|o| int8_scale((0..inputs).map(|i| weight(i, o)))).collect();
                Stored::Int8(packed(inputs, outputs, |i, o| weight(i, o) / scales[o]), blocks(outputs, &scales))
            }
        };
        let bias = blocks(outputs, bias);
        Self { inputs, outputs, piece: inputs, weights, bias, activation: Activation::None, after: None }
    }

    /// Rows come in pieces of so many inputs, an even number of which `inputs` is a multiple.
    pub fn in_pieces(self, piece: usize) -> Self {
        Self { piece, ..self }
    }

    /// How its weights are stored.
    pub fn form(&self) -> Weights {
        match self.weights {
            Stored::F32(_) => Weights::F32,
            Stored::Bf16(_) => Weights::Bf16,
            Stored::F16(_) => Weights::F16,
            Stored::Int8(..) => Weights::Int8,
        }
    }

    /// Adds to the bias.
    pub fn add_bias(&mut self, bias: &[f32]) {
        let own: &mut [f32] = bytemuck::cast_slice_mut(&mut self.bias);
        own.iter_mut().zip(bias).for_each(|(own, more)| *own += more);
    }

    /// Lets each output be multiplied and added to after its activation. False, and nothing done, where that is not possible.
    pub fn affine_after(&mut self, scale: &[f32], offset: &[f32]) -> bool {
        let possible = self.after.is_none() && !self.activation.is_late();
        if possible {
            self.after = Some([blocks(self.outputs, scale), blocks(self.outputs, offset)]);
        }
        possible
    }

    /// Whether an activation may still be set.
    pub fn is_plain(&self) -> bool {
        self.activation == Activation::None && self.after.is_none()
    }

    /// Bytes of its weights.
    pub fn bytes(&self) -> usize {
        let weights = match &self.weights {
            Stored::F32(weights) => size_of_val(&weights[..]),
            Stored::Bf16(weights) => size_of_val(&weights[..]),
            Stored::F16(weights) => size_of_val(&weights[..]),
            Stored::Int8(weights, scales) => size_of_val(&weights[..]) + size_of_val(&scales[..]),
        };
        weights + self.bias.len() * size_of::<Block>()
    }

    /// One row: `x` has `inputs` values, `y` whole blocks for `outputs`.
    #[inline(always)]
    pub fn run<S: Simd>(&self, s: S, x: &[f32], y: &mut [Block]) {
        self.add_to(s, x, &self.bias, y);
    }

    /// [`Dense::run`] with `start` in the place of the bias.
    #[inline(always)]
    pub fn add_to<S: Simd>(&self, s: S, x: &[f32], start: &[Block], y: &mut [Block]) {
        let width = self.bias.len() * LANES;
        self.call(s, Span::row(x), start, bytemuck::cast_slice_mut(y), width);
    }

    /// Many rows, which may overlap in x; rows of y have `outputs` values and no gaps.
    #[inline(always)]
    pub fn rows<S: Simd>(&self, s: S, span: Span<'_>, y: &mut [f32]) {
        self.call(s, span, &self.bias, y, self.outputs);
    }

    /// The same to rows of whole blocks.
    #[inline(always)]
    pub fn rows_of_blocks<S: Simd>(&self, s: S, span: Span<'_>, y: &mut [Block]) {
        self.call(s, span, &self.bias, bytemuck::cast_slice_mut(y), self.bias.len() * LANES);
    }

    #[inline(always)]
    fn call<S: Simd>(&self, s: S, span: Span<'_>, start: &[Block], y: &mut [f32], width: usize) {
        let y = &mut y[..span.rows * width];
        match &self.weights {
            Stored::F32(weights) => self.product(weights, &[], start).run(s, span, y, width),
            Stored::Bf16(weights) => self.product(weights, &[], start).run(s, span, y, width),
            Stored::F16(weights) => self.product(weights, &[], start).run(s, span, y, width),
            Stored::Int8(weights, scales) => self.product(weights, scales, start).run(s, span, y, width),
        }
        if self.activation.is_late() {
            s.call(Late { activation: self.activation, y });
        }
    }

    #[inline(always)]
    fn product<'a, U>(&'a self, weights: &'a [U], scales: &'a [Block], start: &'a [Block]) -> Product<'a, U> {
        let (inputs, piece, activation, after) = (self.inputs, self.piece, self.activation, self.after.as_ref());
        Product { inputs, piece, weights, scales, start, activation, after }
    }
}

/// Values as blocks, 0 where there are none.
fn blocks(outputs: usize, values: &[f32]) -> Vec<Block> {
    let at = |i: usize| values.get(i).copied().unwrap_or(0.0);
    (0..outputs.div_ceil(LANES)).map(|b| Block(std::array::from_fn(|l| at(b * LANES + l)))).collect()
}

fn packed<U: Pair>(inputs: usize, outputs: usize, weight: impl Fn(usize, usize) -> f32) -> Vec<U> {
    let at = |i: usize, o: usize| if i < inputs && o < outputs { weight(i, o) } else { 0.0 };
    let blocks = outputs.div_ceil(LANES);
    let mut pairs = Vec::with_capacity(blocks * inputs.div_ceil(2));
    for (first, width) in panels(blocks) {
        for i in (0..inputs).step_by(2) {
            let pair = |block: usize| [i, i + 1].map(|i| std::array::from_fn(|l| at(i, block * LANES + l)));
            pairs.extend((first..first + width).map(|block| U::pack(pair(block))));
        }
    }
    pairs
}

/// An activation on values that a kernel left.
struct Late<'a> {
    activation: Activation,
    y: &'a mut [f32],
}

impl Task for Late<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (blocks, rest) = self.y.as_chunks_mut::<LANES>();
        for y in blocks {
            let value = self.activation.apply(s, s.load(y));
            s.store(y, value);
        }
        if !rest.is_empty() {
            let mut last = [0.0; LANES];
            last[..rest.len()].copy_from_slice(rest);
            s.store_part(rest, self.activation.apply(s, s.load(&last)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Dense, Weights};

    #[test]
    fn weights_that_a_form_does_not_hold_stay_f32() {
        let form = |form, largest: f32| {
            Dense::stored(form, 2, 3, |i, o| if (i, o) == (1, 2) { largest } else { 0.5 }, &[]).form()
        };
        for stored in [Weights::F32, Weights::Bf16, Weights::F16, Weights::Int8] {
            assert_eq!(form(stored, 2.0), stored);
            assert_eq!(form(stored, f32::INFINITY), Weights::F32);
        }
        assert_eq!([form(Weights::F16, 70_000.0), form(Weights::Bf16, 70_000.0)], [Weights::F32, Weights::Bf16]);
        assert_eq!(form(Weights::Int8, 1e-35), Weights::F32);
    }
}
