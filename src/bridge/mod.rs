//! The bridge.
pub mod units;
pub mod yaml;
