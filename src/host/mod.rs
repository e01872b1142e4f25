//! The machine: which CPUs there are and who spins on them, what the kernel counts for a thread, what its settings mean for a
//! lane, and what its clock and its folders are worth.

pub mod clock_words;
pub mod cores;
pub mod doctor;
pub mod hot_threads;
pub mod sampler;
