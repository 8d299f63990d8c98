//! The decisions, pure and sans-IO: no clock, no socket, no tokio, no rusqlite. `handle_*(input, now)` in, `poll_*()`
//! out; time is an argument.
pub mod backoff;
pub mod forwarder;
pub mod intake;
pub mod packet_ids;
pub mod ring;
pub mod routes;
#[cfg(test)]
mod sim;
