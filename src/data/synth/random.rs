//! Random numbers that are the same on every machine: PCG, integers, and f64 used with +, −, ×, ÷ alone.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

/// Source of all chance in a synthetic file, and of arrival times.
#[derive(Clone, Debug)]
pub(crate) struct Random(Pcg64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(Pcg64::seed_from_u64(seed))
    }

    /// Uniform in `0..n`; `n` must not be 0. The bias of 2^-64 × n does not matter here.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// Uniform in (0, 1].
    pub fn unit(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() <= p
    }

    /// Number of failures before a success of probability `p`, at most `max`.
    pub fn geometric(&mut self, p: f64, max: u64) -> u64 {
        (0..max).find(|_| self.chance(p)).unwrap_or(max)
    }

    /// Exponential with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * ln(self.unit())
    }
}

/// Natural logarithm of a positive normal number, to about 1e-15. The platform's own may differ in the last bit from
/// machine to machine, and a file must not.
fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) & 0x7FF) as i64 - 1023;
    let mut mantissa = f64::from_bits(bits & 0x000F_FFFF_FFFF_FFFF | 0x3FF0_0000_0000_0000);
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa /= 2.0;
        exponent += 1;
    }
    // ln m = 2 artanh z with z = (m − 1) / (m + 1), |z| < 0.172.
    let z = (mantissa - 1.0) / (mantissa + 1.0);
    let square = z * z;
    let mut sum = 0.0;
    for k in (0..11).rev() {
        sum = sum * square + 1.0 / (2 * k + 1) as f64;
    }
    2.0 * z * sum + exponent as f64 * std::f64::consts::LN_2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithm_agrees_with_the_platform() {
        let mut random = Random::new(7);
        for _ in 0..100_000 {
            let x = random.unit();
            assert!((ln(x) - x.ln()).abs() <= 1e-14 * (1.0 + x.ln().abs()), "{x}");
        }
        assert_eq!(ln(1.0), 0.0);
    }

    #[test]
    fn draws_have_their_means() {
        let mut random = Random::new(1);
        let n = 100_000;
        let mean = |sum: f64| sum / f64::from(n);
        let exponential = mean((0..n).map(|_| random.exponential(3.0)).sum());
        assert!((exponential - 3.0).abs() < 0.05, "{exponential}");
        let geometric = mean((0..n).map(|_| random.geometric(0.25, 1_000) as f64).sum());
        assert!((geometric - 3.0).abs() < 0.05, "{geometric}");
    }
}
