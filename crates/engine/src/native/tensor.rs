//! Values known when a model is loaded, and the aligned buffers that a run works in.

/// A constant.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor {
    pub dims: Vec<usize>,
    pub data: Data,
}

/// Its values; integers and truth values as `i64`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    F32(Vec<f32>),
    I64(Vec<i64>),
}

impl Tensor {
    pub fn f32(dims: Vec<usize>, values: Vec<f32>) -> Self {
        Self { dims, data: Data::F32(values) }
    }

    pub fn i64(values: Vec<i64>) -> Self {
        Self { dims: vec![values.len()], data: Data::I64(values) }
    }

    pub fn floats(&self) -> Option<&[f32]> {
        match &self.data {
            Data::F32(values) => Some(values),
            Data::I64(_) => None,
        }
    }

    pub fn ints(&self) -> Option<&[i64]> {
        match &self.data {
            Data::I64(values) => Some(values),
            Data::F32(_) => None,
        }
    }
}

/// Lanes of a block: one AVX-512 register.
pub(super) const LANES: usize = 16;

/// A register's worth of values, on a cache line of its own.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Block(pub [f32; LANES]);

impl Block {
    pub const ZERO: Self = Self([0.0; LANES]);
}

/// Values in whole blocks; what is past the last value is 0 or left over, and nobody's.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffer(pub Vec<Block>);

impl Buffer {
    pub fn zeros(values: usize) -> Self {
        Self(vec![Block::ZERO; values.div_ceil(LANES)])
    }

    pub fn from_values(values: &[f32]) -> Self {
        let mut buffer = Self::zeros(values.len());
        buffer.values_mut()[..values.len()].copy_from_slice(values);
        buffer
    }

    #[inline(always)]
    pub fn values(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }

    #[inline(always)]
    pub fn values_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}
