//! The decisions, pure and sans-IO: no clock, no socket, no tokio, no rusqlite. `handle_*(input, now)` in, `poll_*()`
//! out; time is an argument.
pub mod access;
pub mod admission;
pub mod backoff;
pub mod client;
pub mod deferral;
pub mod drop_log;
pub mod eviction;
pub mod forwarder;
pub mod gate;
pub mod governor;
pub mod hops;
pub mod intake;
pub mod limits;
pub mod outgoing;
pub mod packet_ids;
pub mod repeat_log;
pub mod repeats;
pub mod retained;
pub mod ring;
pub mod routes;
pub mod servers;
pub mod session;
pub mod session_queue;
pub mod subscriptions;
pub mod topic_aliases;
pub mod will;
