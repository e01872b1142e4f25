//! y = act(x · W + b), one row of x at a time: what dense nets, recurrent cells and convolutions spend their time in.
//!
//! Outputs go in panels of up to eight registers. A panel's weights lie in the order they are read: for each input, the
//! panel's registers side by side. A panel of fewer than eight splits the inputs between several sums, so that eight
//! chains of multiply-adds are always in flight and none waits for the one before.

use super::math;
use super::simd::Simd;
use super::tensor::{Block, LANES};

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
            Self::None => x,
            Self::Relu => s.max(zero, x),
            Self::Leaky(slope) => s.if_less(x, zero, s.mul(x, s.splat(slope)), x),
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
            Self::Clip(low, high) => s.min(s.splat(high), s.max(s.splat(low), x)),
        }
    }
}

/// Weights packed for the kernel.
#[derive(Clone, Debug)]
pub(super) struct Dense {
    /// Inputs of a row.
    pub inputs: usize,
    /// Outputs of a row.
    pub outputs: usize,
    weights: Vec<Block>,
    bias: Vec<Block>,
    pub activation: Activation,
}

impl Dense {
    /// Packs `weight(input, output)`; `bias` has `outputs` values, or none.
    pub fn new(inputs: usize, outputs: usize, weight: impl Fn(usize, usize) -> f32, bias: &[f32]) -> Self {
        let blocks = outputs.div_ceil(LANES);
        let lane = |block: usize, f: &dyn Fn(usize) -> f32| {
            Block(std::array::from_fn(|l| if block * LANES + l < outputs { f(block * LANES + l) } else { 0.0 }))
        };
        let mut weights = Vec::with_capacity(blocks * inputs);
        for (first, width) in panels(blocks) {
            for input in 0..inputs {
                weights.extend((first..first + width).map(|block| lane(block, &|output| weight(input, output))));
            }
        }
        let bias = (0..blocks).map(|block| lane(block, &|output| bias.get(output).copied().unwrap_or(0.0))).collect();
        Self { inputs, outputs, weights, bias, activation: Activation::None }
    }

    /// Adds to the bias.
    pub fn add_bias(&mut self, bias: &[f32]) {
        let own: &mut [f32] = bytemuck::cast_slice_mut(&mut self.bias);
        own.iter_mut().zip(bias).for_each(|(own, more)| *own += more);
    }

    /// Bytes of its weights.
    pub fn bytes(&self) -> usize {
        (self.weights.len() + self.bias.len()) * size_of::<Block>()
    }

    /// One row: `x` has `inputs` values, `y` whole blocks for `outputs`.
    #[inline(always)]
    pub fn run<S: Simd>(&self, s: S, x: &[f32], y: &mut [Block]) {
        self.add_to(s, x, &self.bias, y);
    }

    /// [`Dense::run`] with `start` in the place of the bias.
    #[inline(always)]
    pub fn add_to<S: Simd>(&self, s: S, x: &[f32], start: &[Block], y: &mut [Block]) {
        let x = &x[..self.inputs];
        let mut at = 0;
        for (first, width) in panels(self.bias.len()) {
            let weights = &self.weights[at..at + width * self.inputs];
            at += weights.len();
            let (start, y) = (&start[first..first + width], &mut y[first..first + width]);
            match width {
                8 => panel::<S, 8, 1>(s, x, weights, start, self.activation, y),
                4 => panel::<S, 4, 2>(s, x, weights, start, self.activation, y),
                2 => panel::<S, 2, 4>(s, x, weights, start, self.activation, y),
                _ => panel::<S, 1, 8>(s, x, weights, start, self.activation, y),
            }
        }
    }
}

/// First block and width of each panel: eights, then what is left as 4, 2, 1.
fn panels(blocks: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let left = blocks - first;
        let width = [8, 4, 2, 1].into_iter().find(|&width| width <= left)?;
        first += width;
        Some((first - width, width))
    })
}

/// `P` registers of outputs, the inputs dealt out to `C` sums each.
#[inline(always)]
fn panel<S: Simd, const P: usize, const C: usize>(
    s: S,
    x: &[f32],
    weights: &[Block],
    start: &[Block],
    activation: Activation,
    y: &mut [Block],
) {
    let mut sums = [[s.splat(0.0); P]; C];
    for p in 0..P {
        sums[0][p] = s.load(&start[p].0);
    }
    let (groups, rest) = x.as_chunks::<C>();
    let (weights, rest_weights) = weights.split_at(groups.len() * C * P);
    for (xs, ws) in groups.iter().zip(weights.chunks_exact(C * P)) {
        for c in 0..C {
            let value = s.splat(xs[c]);
            for p in 0..P {
                sums[c][p] = s.mul_add(value, s.load(&ws[c * P + p].0), sums[c][p]);
            }
        }
    }
    for (i, (&x, ws)) in rest.iter().zip(rest_weights.chunks_exact(P)).enumerate() {
        let value = s.splat(x);
        for p in 0..P {
            sums[i % C][p] = s.mul_add(value, s.load(&ws[p].0), sums[i % C][p]);
        }
    }
    let mut width = C;
    while width > 1 {
        width /= 2;
        let (low, high) = sums.split_at_mut(width);
        for (low, high) in low.iter_mut().zip(high) {
            for (low, high) in low.iter_mut().zip(high) {
                *low = s.add(*low, *high);
            }
        }
    }
    for p in 0..P {
        s.store(&mut y[p].0, activation.apply(s, sums[0][p]));
    }
}
