//! A bridge that loses nothing it has acknowledged, and the laboratory that proves it.
//!
//! Two halves that never import each other's insides:
//!
//! * [`bridge`]: an MQTT listener for local clients, a SQLite offline cache, and a remote leg to a broker such as EMQX.
//! * `scenario` (feature `lab`): one YAML file says which bridge, which load and which faults; the laboratory runs it,
//!   sees the bridge as a process, and accounts for every message.
//!
//! # The map of the bridge
//! Arrows point down: shells ([`bridge::supervisor`], [`bridge::listener`], [`bridge::remote`], [`bridge::metrics`])
//! wait, hand over and perform; [`bridge::cache`] keeps; [`bridge::core`] decides, without a clock or a socket; floor 0
//! ([`bridge::message`], [`bridge::topic`], [`bridge::delivery`], [`bridge::wire`], [`bridge::config`]) is what they
//! talk about. `tests/architecture.rs` holds the arrows.
//!
//! # The guarantees
//! * G1: an acknowledgement leaves for a local publisher only after the message is committed, in order.
//! * G2: a message leaves the cache only when the remote has it, or by a recorded drop, quarantine or purge.
//! * G3: first transmissions keep arrival order, cached and live alike: one queue a bridge.
//! * G4: unacknowledged PUBLISHes never exceed the window or the remote's Receive Maximum.
//! * G5: QoS 2 is exactly once while the remote keeps its session; what is not is counted.
//! * G6: once faults heal, the queue drains by itself.
//! * G7: accepted + restored = delivered + queued + in flight + quarantined + dropped, at every moment.
pub mod bridge;
#[cfg(feature = "lab")]
pub mod scenario;
