//! Open-loop publishers: one connection for each load entry that is published at the bridge.
pub(crate) mod session;
