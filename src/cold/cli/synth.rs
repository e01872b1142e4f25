//! `pillion synth`.
