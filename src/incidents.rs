//! Findings over time.

pub mod store;
