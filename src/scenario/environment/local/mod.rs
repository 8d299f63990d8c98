//! Child processes and a fault proxy on loopback: needs nothing installed but, at best, mosquitto.
mod ports;
pub(crate) mod proxy;
