//! `pillion features`.
