//! nanomq.conf
mod hocon;
