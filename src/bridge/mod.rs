//! The bridge.
pub mod message;
pub mod topic;
pub mod units;
pub mod wire;
pub mod yaml;
