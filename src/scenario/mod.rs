//! The laboratory: one YAML file says which bridge, which load and which faults; the laboratory runs it, compares what
//! was received with what was sent, message by message, and says what was lost, duplicated or reordered.
mod client;
pub mod counters;
pub mod environment;
mod examiner;
pub mod findings;
pub mod history;
pub mod identity;
pub mod ledger;
pub mod log;
pub mod plan;
pub mod prediction;
mod publisher;
mod receiver;
mod recorder;
mod remote_publisher;
pub mod report;
pub mod runner;
mod sampler;
pub mod schedule;
pub mod shipped;
pub mod spec;
mod stop;
#[cfg(test)]
mod story;
pub mod subject;
pub mod verdict;
