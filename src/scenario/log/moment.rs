//! Dates in logs.
