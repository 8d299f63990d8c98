//! What whoever operates the bridge works with: the state topics, /readyz, and what `contrib` says about /metrics.
#![allow(clippy::unwrap_used, clippy::panic)] // A test may.
#[path = "../common/mod.rs"]
mod common;
mod contrib;
mod state;
