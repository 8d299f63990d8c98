//! The history: what happened, event by event, in the order it was seen. One JSON object a line (JSON Lines).
//!
//! Every line has `t`, microseconds on the runner's monotonic clock since the start of the timeline (events of the
//! preparation have `t` 0), and `event`, which names one of [`Event`]'s variants in snake case; the other fields are
//! those of the variant. What was *intended* is not repeated here: it follows from the plan ([`super::plan::Load`]).
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::plan::{FaultKind, Side};

/// The environment of a subject that is simulated.
pub const VIRTUAL: &str = "virtual";

/// One line of `history.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Microseconds since the start of the timeline.
    pub t: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

impl Record {
    /// An event at a moment.
    pub fn at(moment: Duration, event: Event) -> Self {
        Self { t: moment.as_micros() as u64, event }
    }
}

/// What can happen. `load` is an index into the plan's loads, `seq` counts from 0 within the load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The first line: what is about to be run.
    Run {
        /// Identifies the run in payloads.
        run: u64,
        /// The subject's name in the plan.
        subject: String,
        /// What the subject says of its version.
        version: String,
        /// The environment that was taken.
        environment: String,
        /// The remote broker and its version.
        remote: String,
        /// What in this environment is not quite what the scenario asks for.
        approximated: Vec<String>,
        /// What of the scenario's `bridge:` the subject has no word for.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unexpressed: Vec<String>,
        /// Why this environment, where the scenario left it open.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        because: Option<String>,
        /// What exactly was run, by whose it is (`remote`, `subject`, `engine`): names and digests of images, versions.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        artifacts: BTreeMap<String, String>,
    },
    /// A PUBLISH was written to the publisher's socket; `again` where it was written before (DUP).
    Sent {
        /// Load.
        load: u16,
        /// Sequence.
        seq: u64,
        /// A retransmission.
        #[serde(default, skip_serializing_if = "is_false")]
        again: bool,
    },
    /// PUBACK, or for QoS 2 PUBREC, with a reason code below 0x80.
    Acknowledged {
        /// Load.
        load: u16,
        /// Sequence.
        seq: u64,
    },
    /// PUBACK or PUBREC with a reason code of 0x80 or above.
    Refused {
        /// Load.
        load: u16,
        /// Sequence.
        seq: u64,
        /// The reason code.
        reason: u8,
    },
    /// A message of this run arrived whole at the receiver.
    Received {
        /// Load.
        load: u16,
        /// Sequence.
        seq: u64,
    },
    /// Something arrived that was never sent like that.
    Unexpected {
        /// The topic it arrived on.
        topic: String,
        /// Load and sequence where its header could still be read: that message was altered on its way.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        of: Option<(u16, u64)>,
        /// What is wrong with it.
        why: String,
    },
    /// A fault holds from now on.
    FaultOn {
        /// Index into the plan's faults.
        fault: usize,
        /// Its kind.
        kind: FaultKind,
        /// Whom it is done to.
        on: Side,
    },
    /// A fault is healed from now on.
    FaultOff {
        /// Index into the plan's faults.
        fault: usize,
        /// Its kind.
        kind: FaultKind,
        /// Whom it was done to.
        on: Side,
    },
    /// A process of the subject or of the remote was started.
    ProcessStarted {
        /// Which.
        role: Role,
        /// Its process id.
        pid: u32,
    },
    /// It ended.
    ProcessEnded {
        /// Which.
        role: Role,
        /// Exit code or signal, in words.
        status: String,
        /// Whether the runner wanted that.
        wanted: bool,
    },
    /// A publisher has its CONNACK.
    PublisherConnected {
        /// Load.
        load: u16,
        /// Session Present of the CONNACK.
        session_present: bool,
    },
    /// A publisher's connection is gone.
    PublisherDisconnected {
        /// Load.
        load: u16,
        /// Why.
        why: String,
    },
    /// A receiver has its SUBACK.
    ReceiverConnected {
        /// Which side it stands on.
        side: Side,
    },
    /// A receiver's connection is gone; at the remote that casts doubt on the whole run.
    ReceiverDisconnected {
        /// Which side it stands on.
        side: Side,
        /// Why.
        why: String,
    },
    /// The subject's own counters, as it serves them.
    Counters {
        /// Name (with labels) and value.
        values: BTreeMap<String, f64>,
    },
    /// The subject's own settings that decide what an outage costs, by its own keys; no secret among them.
    Settings {
        /// Key and value as they stand in its configuration.
        values: BTreeMap<String, String>,
    },
    /// What a container of the subject or of the remote uses, about once a second while it runs (`docker` only).
    Usage {
        /// Which.
        role: Role,
        /// Memory in bytes, without what the kernel could take back at any time; as `docker stats` has it.
        memory_bytes: u64,
        /// CPU time in microseconds since the container was started.
        cpu_us: u64,
    },
    /// A line that the subject or the remote logged.
    Log {
        /// Who.
        role: Role,
        /// The line.
        line: String,
    },
    /// The laboratory doubts itself: the verdict can be no better than inconclusive.
    Doubt {
        /// Why.
        why: String,
    },
    /// All has arrived and the subject is quiet, or the settle limit is reached.
    Settled {
        /// Whether the settle limit ended the wait.
        timed_out: bool,
    },
    /// The user ended the run (Ctrl-C): what follows was not tried.
    Interrupted,
}

/// Whose process or log it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The bridge under test.
    Subject,
    /// The remote broker.
    Remote,
    /// A helper of the laboratory's own, such as the one that looks at the link.
    Helper,
}

fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back() {
        let record = Record::at(Duration::from_millis(1), Event::Sent { load: 2, seq: 3, again: false });
        let line = serde_json::to_string(&record).unwrap();
        assert_eq!(line, r#"{"t":1000,"event":"sent","load":2,"seq":3}"#);
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
    }
}
