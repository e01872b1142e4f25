//! `pillion convert`.
