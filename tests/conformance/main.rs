//! What MQTT 5 and 3.1.1 demand of a server, statement by statement; `statements.md` says which is covered where.
#![allow(clippy::unwrap_used, clippy::panic)] // A test may.
#[path = "../common/mod.rs"]
mod common;

mod auth;
mod broker;
mod client;
mod connect;
mod delivery;
mod ending;
mod errors;
mod flow;
mod packet;
mod paho;
mod pending;
mod publish;
mod retained;
mod session;
mod shared;
mod statements;
mod subscribe;
mod topics;
mod unsubscribe;
mod websocket;
mod will;

use pending::check;
