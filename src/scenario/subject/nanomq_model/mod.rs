//! NanoMQ, simulated: the send path of its bridge in virtual time, from its sources (0.24.6; NanoNNG 44b38755f), so that
//! its fault can be seen, measured and predicted without it.
//!
//! For whoever maintains NanoMQ, this is what the model shows to be needed, in the order of what it costs:
//!
//! 1. **A worker's slot is held until the acknowledgement** (`bridge.rs`: `bridge_pub_handler` tests `nng_aio_busy`,
//!    `mqtt_send_msg` ends the aio of QoS 1 and 2 only with PUBACK or PUBCOMP). After a silent cut TCP takes the next
//!    `parallel` publishes, and every slot is busy before anybody knows. Decide where a message waits *before* it counts
//!    as in flight, and hold nothing of the worker's while it is.
//! 2. **The cancel does nothing without a connection, and comes once** (`mqtt_ctx_cancel_send`, `mqtt_pipe_close`).
//!    `cancel_timeout` fires while `mqtt_pipe` is NULL, its function has been cleared, and the slot stays busy until the
//!    message is sent again after the reconnect and `resend_wait`. At the end of a connection every aio of
//!    `sent_unack` should end, and its message should go back to the head of the queue, or to SQLite.
//! 3. **SQLite is behind the slot** (`mqtt_ctx_send`): only a worker with a free slot reaches it. With no free slot
//!    everything goes to `ctx_msgs`, which drops its oldest. Overflow of `ctx_msgs` should go to SQLite.
//! 4. **Nothing empties `ctx_msgs` but the end of another send** (`bridge_send_cb`, `bridge_resend_cb`); a reconnect
//!    does not. It should.
//! 5. **A row is deleted before it is sent** (`sqlite_get_cache_msg`), and is in nobody's `sent_unack`: each tick in a cut
//!    that nobody has noticed yet loses one. Delete on the acknowledgement.
//! 6. **One row a tick** (`mqtt_timer_cb`): the pace after a heal is `1 / resend_interval`, whatever the remote could
//!    take. Send up to Receive Maximum.
//! 7. **The part in memory is written when it is full, or after a reconnect** (`flush_mem_threshold`), not at SIGTERM and
//!    not by age: what stands in it dies with the process.
//! 8. **`remove_oldest` deletes the rows of other bridges** (`disk.rs`): restrict the DELETE to the bridge, and order by id.
//! 9. **`max_send_queue_len` has no default**: without it the first message that needs `ctx_msgs` ends the process.
//! 10. **The PINGREQ waits for a socket that takes it** (`!p->busy`): with a full socket buffer a dead peer is not noticed.
//! 11. **The slot test of 0.24.14 and 0.25.1 to 0.25.6** (`|| !connected`) turns 3 from a risk into the rule: while it is
//!     disconnected nothing at all reaches SQLite, and QoS 0 is dropped.
//!
//! 12. **A `keepalive` that is not above `resend_interval` leaves no tick for anything else** (`mqtt_timer_cb`): each tick
//!     sends a PINGREQ and returns, no message is ever sent again, and no row is ever read.
//!
//! What is not modelled: TLS and QUIC, topic aliases, what SQLite does with a full disk or a lock of another connection
//! (NanoMQ looks at none of its results), forwards that rename a topic (they count as arrived), retained messages, and
//! threads: callbacks run at once.
mod backoff;
mod bridge;
mod disk;
mod message;
mod model;
mod net;
mod outage;
mod remote;

use std::time::Duration;

use super::{Sites, SubjectError, nanomq, own_configuration};
use crate::bridge::config::nanomq::send_path::{self, SendPath};
use crate::scenario::plan::{Plan, SubjectPlan};

pub use bridge::Depths;
pub use model::{Happening, Model};
pub use outage::{Outage, Unknown, outage};

/// The version whose sources the model follows where the subject's `settings` name none.
pub const VERSION: &str = "0.24.6";
/// A packet and its answer between NanoMQ and the remote, where `settings` say nothing: what was measured between two
/// network namespaces.
pub const ROUND_TRIP: Duration = Duration::from_micros(400);
/// Keys of `settings` that are the model's own, and not lines of a `nanomq.conf`.
const OWN: [&str; 2] = ["version", "round_trip"];

/// What the model needs besides the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inputs {
    /// `-n`: publishes that are handled at once, and so the slots of each bridge.
    pub workers: usize,
    /// From a packet to its answer.
    pub round_trip: Duration,
    /// Of the reconnect waits, and of where in its tick the client stands when the timeline begins.
    pub seed: u64,
    /// The slot test also asks whether the bridge is connected.
    pub tests_connected: bool,
}

/// What a subject of a plan is to the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modelled {
    /// The configuration.
    pub settings: SendPath,
    /// The rest.
    pub inputs: Inputs,
    /// The version that is modelled.
    pub version: String,
    /// What of the scenario's bridge it has no word for.
    pub unexpressed: Vec<String>,
}

/// NanoMQ's default: two for each CPU of this machine.
pub fn default_workers() -> usize {
    2 * std::thread::available_parallelism().map_or(1, usize::from)
}

/// Whether the slot test of a version asks for the connection too; `None`: its sources were not seen.
pub fn tests_connected(version: &str) -> Option<bool> {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
    match (numbers.next()??, numbers.next()??, numbers.next()??) {
        (0, 24, 6..=13) | (0, 25, 0) => Some(false),
        (0, 24, 14) | (0, 25, 1..=6) => Some(true),
        _ => None,
    }
}

/// The model of a subject.
///
/// # Errors
/// [`SubjectError`] where its configuration cannot be read, or asks for a version that is not known.
pub(crate) fn modelled(plan: &Plan, subject: &SubjectPlan) -> Result<Modelled, SubjectError> {
    let mut of_nanomq = subject.clone();
    let mut own = |key: &str| of_nanomq.settings.remove(key);
    let [version, round_trip] = OWN.map(&mut own);
    let wrong = |key: &str, why: String| SubjectError::Setting { name: subject.name.clone(), key: key.to_owned(), why };
    let version = version.unwrap_or_else(|| VERSION.to_owned());
    let tests_connected = tests_connected(&version).ok_or_else(|| {
        let why = format!(
            "`{version}` is not modelled, its sources were not seen: 0.24.6 to 0.24.14 and 0.25.0 to 0.25.6 are"
        );
        wrong("version", why)
    })?;
    let round_trip = match round_trip {
        Some(text) => crate::bridge::units::parse_duration(&text)
            .map_err(|_| wrong("round_trip", format!("`{text}` is no duration: write for example 20ms")))?,
        None => ROUND_TRIP,
    };
    let workers = subject.workers.map_or_else(default_workers, |workers| workers as usize);
    let (file, text, mut unexpressed) = match own_configuration(plan, subject)? {
        Some(_) if !of_nanomq.settings.is_empty() => {
            return Err(SubjectError::BothConfigurations { name: subject.name.clone() });
        }
        Some((file, text)) => {
            (file, text, vec!["the scenario's `bridge:`: its own configuration is used as it is".to_owned()])
        }
        None => {
            let sites = Sites::nowhere();
            let configuration = nanomq::configure(plan, &of_nanomq, &sites)?;
            let text = configuration.files.into_iter().next().map(|(_, text)| text).unwrap_or_default();
            ("nanomq.conf".into(), text, configuration.unexpressed)
        }
    };
    let settings = send_path::read(&file, &text)
        .map_err(|error| SubjectError::Model { name: subject.name.clone(), what: error.to_string() })?;
    let crashes = settings.bridges.iter().filter(|bridge| bridge.max_send_queue_len.is_none());
    for bridge in crashes {
        unexpressed
            .push(format!("bridges.mqtt.{}.max_send_queue_len is missing: {VERSION} crashes without it", bridge.name));
    }
    let inputs = Inputs { workers, round_trip, seed: plan.seed, tests_connected };
    Ok(Modelled { settings, inputs, version, unexpressed })
}

impl Modelled {
    /// A fresh broker with this configuration, before the timeline of a plan.
    pub fn model(&self, plan: &Plan, seed: u64) -> Model {
        let topics = plan.loads.iter().map(|load| (load.topic.clone(), load.payload)).collect();
        Model::new(self.settings.clone(), topics, Inputs { seed, ..self.inputs })
    }
}
