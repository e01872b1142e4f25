//! `pillion book`.
