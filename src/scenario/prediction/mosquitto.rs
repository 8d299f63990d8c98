//! What an outage does to mosquitto's own bridges: arithmetic on its `mosquitto.conf`, nothing is run.
//!
//! What is not in its manual was tried with 2.0.11 (a remote stopped and started again, a limit of 10 or of 100 B): a bridge
//! that is offline keeps `max_queued_messages` in all, whatever `max_inflight_messages` is; `max_queued_bytes` counts
//! payloads; with `queue_qos0_messages` neither limits QoS 0; with `cleansession true` nothing is kept unless
//! `local_cleansession false` stands beside it.
mod conf;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::Serialize;

use crate::bridge::config::endurance::Load;
use crate::bridge::config::roughly;
use crate::bridge::message::QoS;
use crate::bridge::topic;

pub use conf::{Connection, MosquittoConf, MosquittoError, is_mosquitto, read};

/// What an outage does to one `connection`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MosquittoOutage {
    /// The connection's name.
    pub connection: String,
    /// Whether nothing acknowledged is lost, as long as mosquitto runs.
    pub survives: bool,
    /// One sentence.
    pub verdict: String,
    /// QoS 1 and 2 messages a second that go out over it.
    pub rate: f64,
    /// When the queue is full, seconds from the cut; absent: no limit is reached at this rate.
    pub full_after_s: Option<f64>,
    /// Acknowledged and lost until the heal: the newest, and silently.
    pub lost: u64,
    /// QoS 0 messages that are dropped meanwhile.
    pub qos0_dropped: u64,
    /// Messages that wait at the heal, in memory.
    pub backlog: u64,
    /// Of these, lost where mosquitto or the machine crashes just before the heal, at most.
    pub lost_in_a_crash: u64,
    /// From a silent cut to mosquitto noticing, seconds at most.
    pub cut_noticed_within_s: f64,
    /// From the heal to the next attempt to connect, seconds at most.
    pub heal_noticed_within_s: f64,
    /// From the connect to the backlog's last acknowledgement, seconds at most; absent: it never drains at this rate, or
    /// nothing but the line limits it.
    pub drained_after_s: Option<f64>,
}

/// What an outage of some length does to one connection, with these loads and this round trip to the remote.
pub fn outage(
    conf: &MosquittoConf,
    connection: &Connection,
    loads: &[Load],
    length: Duration,
    round_trip: Duration,
) -> MosquittoOutage {
    let (mut rate, mut volatile, mut bytes, mut twice) = (0.0, 0.0, 0.0, false);
    for load in loads {
        let Some((_, limit)) = connection.out.iter().find(|(filter, _)| topic::matches(filter, &load.topic)) else {
            continue;
        };
        let qos = load.qos.min(*limit);
        if qos == QoS::AtMostOnce {
            volatile += load.rate;
            continue;
        }
        rate += load.rate;
        bytes += load.rate * load.payload as f64;
        twice |= qos == QoS::ExactlyOnce;
    }
    let seconds = length.as_secs_f64();
    let limited = |limit: u64, speed: f64| (limit > 0 && speed > 0.0).then(|| limit as f64 / speed);
    let limits = [
        (limited(conf.max_queued_messages, rate), "max_queued_messages"),
        (limited(conf.max_queued_bytes, bytes), "max_queued_bytes"),
    ];
    let full = limits.into_iter().filter_map(|(after, key)| Some((after?, key))).min_by(|a, b| a.0.total_cmp(&b.0));
    let forgets = connection.local_cleansession;
    let waits = if forgets { 0.0 } else { full.map_or(seconds, |(after, _)| after.min(seconds)) };
    let kept = if forgets || !conf.queue_qos0_messages { 0.0 } else { volatile };
    let backlog = rate * waits + kept * seconds;
    let trip = round_trip.as_secs_f64() * if twice { 2.0 } else { 1.0 };
    let speed = conf.max_inflight_messages as f64 / trip;
    let lost = (rate * (seconds - waits)).round() as u64;
    MosquittoOutage {
        connection: connection.name.clone(),
        survives: lost == 0,
        verdict: verdict(connection, rate, length, lost, full),
        rate,
        full_after_s: full.filter(|_| !forgets).map(|(after, _)| after),
        lost,
        qos0_dropped: ((volatile - kept) * seconds).round() as u64,
        backlog: backlog.round() as u64,
        lost_in_a_crash: lost_in_a_crash(conf, backlog, rate + kept),
        // A ping after one interval without a packet from the remote, and one more for its answer.
        cut_noticed_within_s: (connection.keepalive_interval * 2).as_secs_f64(),
        heal_noticed_within_s: connection.longest_restart.as_secs_f64(),
        drained_after_s: (speed > rate + volatile && speed.is_finite() && conf.max_inflight_messages > 0)
            .then(|| backlog / (speed - rate - volatile)),
    }
}

/// In memory without persistence; what came since the last save with it.
fn lost_in_a_crash(conf: &MosquittoConf, backlog: f64, rate: f64) -> u64 {
    let unsaved = match (conf.persistence, conf.autosave_interval) {
        (false, _) | (true, 0) => backlog,
        (true, changes) if conf.autosave_on_changes => backlog.min(changes as f64),
        (true, seconds) => backlog.min(rate * seconds as f64),
    };
    unsaved.round() as u64
}

fn verdict(connection: &Connection, rate: f64, length: Duration, lost: u64, full: Option<(f64, &str)>) -> String {
    let (name, outage) = (&connection.name, roughly(length));
    if connection.local_cleansession && lost > 0 {
        return format!(
            "connection {name} keeps nothing (cleansession true): all {lost} messages are lost in {outage}"
        );
    }
    let roughly_seconds = |after: f64| Duration::try_from_secs_f64(after).map_or("ages".to_owned(), roughly);
    match full {
        Some((after, key)) if lost > 0 => format!(
            "connection {name} is full after {} ({key}) at {rate} a second; then the newest are dropped, acknowledged all \
             the same: {lost} lost in {outage}",
            roughly_seconds(after)
        ),
        Some((after, key)) => format!(
            "connection {name} survives {outage} at {rate} a second while mosquitto runs; {key} would be reached after {}",
            roughly_seconds(after)
        ),
        None => format!("connection {name} survives {outage} at {rate} a second while mosquitto runs: no limit is set"),
    }
}
