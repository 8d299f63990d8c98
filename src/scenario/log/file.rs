//! Logs without a run.
