//! A bridge that loses nothing it has acknowledged, and the laboratory that proves it.
pub mod bridge;
#[cfg(feature = "lab")]
pub mod scenario;
