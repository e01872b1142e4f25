//! How fast this CPU multiplies and adds when it does nothing else: the floor that a model's time is held against.

use std::hint::black_box;
use std::time::Instant;

use super::simd::{Simd, Task};
use super::tensor::LANES;
use super::{Isa, widest};

/// Additions in a row of one measurement, some 10 µs.
const STEPS: usize = 4096;
/// Measurements; the fastest counts, since nothing makes one too fast.
const TIMES: usize = 200;

/// Multiply-adds of f32 a nanosecond, one thread, on the widest instruction set, all values in registers.
#[must_use]
pub fn peak_macs_per_ns() -> f64 {
    // How many sums must be under way for the units to be busy hangs on the machine, and too many do not fit its registers.
    let rates = [rate::<4>(), rate::<5>(), rate::<6>(), rate::<8>(), rate::<10>(), rate::<12>()];
    rates.into_iter().fold(0.0, f64::max)
}

fn rate<const SUMS: usize>() -> f64 {
    let mut fastest = f64::INFINITY;
    for _ in 0..TIMES {
        let mut sum = 0.0;
        let begun = Instant::now();
        let task = Chains::<SUMS> { factor: black_box(0.99), sum: &mut sum };
        match widest() {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(isa) => isa.run(task),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(isa) => isa.run(task),
            Isa::Portable => task.run(super::Portable),
        }
        black_box(sum);
        fastest = fastest.min(begun.elapsed().as_nanos() as f64);
    }
    (SUMS * LANES * STEPS) as f64 / fastest.max(1.0)
}

/// Sums that do not wait for each other.
struct Chains<'a, const SUMS: usize> {
    factor: f32,
    sum: &'a mut f32,
}

impl<const SUMS: usize> Task for Chains<'_, SUMS> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let factor = s.splat(self.factor);
        let mut sums = [s.splat(1.0); SUMS];
        for _ in 0..STEPS {
            sums.iter_mut().for_each(|sum| *sum = s.mul_add(*sum, factor, factor));
        }
        *self.sum = sums.into_iter().fold(0.0, |all, sum| all + s.sum(sum));
    }
}
