//! Market data files: reading DBN, converting, synthesising.
