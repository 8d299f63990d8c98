//! The bridge: a listener for local clients, an offline cache, and a remote leg for each remote.
//!
//! A PUBLISH comes in through [`listener`], is decided on in [`core::client`], committed by [`cache::writer`], put into
//! the [`core::ring`] of each remote that it goes to, and sent by [`core::forwarder`] through [`remote`].
pub mod cache;
pub mod clock;
pub mod config;
pub mod core;
pub mod counters;
pub mod crash;
pub mod delivery;
pub mod hub;
pub mod listener;
pub mod log;
pub mod message;
pub mod metrics;
pub mod remote;
pub mod service;
#[cfg(test)]
mod sim;
pub mod state;
pub mod supervisor;
pub mod topic;
pub mod transport;
pub mod units;
pub mod wills;
pub mod wire;
pub mod yaml;
