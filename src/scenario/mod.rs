//! The laboratory: one YAML file says which bridge, which load and which faults; the laboratory runs it, compares what
//! was received with what was sent, message by message, and says what was lost, duplicated or reordered.
pub mod environment;
pub mod history;
pub mod identity;
pub mod plan;
mod publisher;
pub mod spec;
