//! How long an outage a `bridge.yaml` survives: arithmetic on its limits, nothing is run.
use std::time::Duration;

use serde::Serialize;

use super::check::roughly;
use super::{Bridge, Cache, WhenFull};
use crate::bridge::message::QoS;
use crate::bridge::topic;

/// SQLite's, of a cache file.
const PAGE: u64 = 4096;
/// A row of `message` beside its topic and payload, and a row of `delivery`, in bytes: measured on files of 20,000 rows for
/// one bridge (payloads of 0 to 20,000 B, `cache import`); the tests hold the formula against those files within 2 %.
const MESSAGE_ROW: u64 = 22;
const DELIVERY_ROW: u64 = 18;
/// What the bench measured: a drain of 200,000 at QoS 1, and what goes through at QoS 2, messages a second on two cores.
const FASTEST: [f64; 2] = [52_500.0, 29_000.0];
/// What the slow start of `drain.max_rate` costs: in its 4 s only 1.5 s' worth is sent (see `core/governor.rs`).
const SLOW_START_SECONDS: f64 = 2.5;

/// What is published.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// Topic Name.
    pub topic: String,
    /// QoS it is published with.
    pub qos: QoS,
    /// Messages a second.
    pub rate: f64,
    /// Payload, in bytes.
    pub payload: u64,
}

/// What an outage does to one bridge.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Endurance {
    /// The bridge's name.
    pub bridge: String,
    /// Whether nothing that was acknowledged is lost, and nothing refused, but QoS 0.
    pub survives: bool,
    /// One sentence.
    pub verdict: String,
    /// Messages a second that wait in the cache.
    pub rate: f64,
    /// When the first limit is reached, seconds from the cut; absent: never, at this rate.
    pub limit_after_s: Option<f64>,
    /// The key of that limit.
    pub limit: Option<&'static str>,
    /// Messages that meet the limit before the heal: lost, refused or held as `when_full` says, or too old.
    pub beyond_limit: u64,
    /// QoS 0 messages that are dropped since `cache_qos0` is off.
    pub qos0_dropped: u64,
    /// Messages that wait at the heal.
    pub backlog: u64,
    /// What they take of the cache file, bytes; free pages and up to 16 MiB of WAL come on top.
    pub disk_bytes: u64,
    /// From the connect to the backlog's last acknowledgement, seconds at most; absent: it never drains at this rate.
    pub drained_after_s: Option<f64>,
    /// From a silent cut to the bridge noticing, seconds at most.
    pub cut_noticed_within_s: f64,
    /// From the heal to the next attempt to connect that can succeed, seconds at most.
    pub heal_noticed_within_s: f64,
}

/// What stands in a cache file for a message whose topic and payload have so many bytes.
pub fn bytes_on_disk(size: u64) -> u64 {
    let cell = size + MESSAGE_ROW;
    // A row stays whole within its page as long as it fits (SQLite's file format, section 1.6).
    let message = if cell < PAGE - 32 { PAGE / ((PAGE - 8) / cell) } else { cell.div_ceil(PAGE - 4) * PAGE };
    message + DELIVERY_ROW
}

/// How long until the first limit of a queue is reached, and which, at so many messages a second of a mean size in bytes.
pub fn first_limit(cache: &Cache, rate: f64, size: f64) -> Option<(Duration, &'static str)> {
    let after = |amount: f64, speed: f64| Duration::try_from_secs_f64(amount / speed).ok();
    let limits = [
        (after(cache.max_messages as f64, rate), "cache.max_messages"),
        (after(cache.max_bytes as f64, rate * size), "cache.max_bytes"),
        (cache.max_age.filter(|_| rate > 0.0), "cache.max_age"),
    ];
    limits.into_iter().filter_map(|(after, key)| Some((after?, key))).min_by_key(|(after, _)| *after)
}

/// How long a silent cut goes unnoticed, at most, where so many messages a second are sent.
pub fn cut_noticed_within(bridge: &Bridge, rate: f64) -> Duration {
    let quiet = bridge.keep_alive.mul_f64(1.5);
    match Duration::try_from_secs_f64(1.0 / rate) {
        Ok(interval) => quiet.min(bridge.ack_timeout.saturating_add(interval)),
        Err(_) => quiet,
    }
}

/// How long a heal goes unnoticed, at most: an attempt that hangs since before it, and the longest pause.
pub fn heal_noticed_within(bridge: &Bridge) -> Duration {
    bridge.connect_timeout + bridge.reconnect.max
}

/// What `when_full` means, in a few words.
pub fn overflow(when_full: WhenFull) -> &'static str {
    match when_full {
        WhenFull::Reject => "refused",
        WhenFull::DropNewest => "dropped",
        WhenFull::DropOldest => "taken, and the oldest dropped",
        WhenFull::Block => "not acknowledged until there is room",
    }
}

/// What an outage of some length does to one bridge, with these loads and this round trip to the remote.
pub fn endurance(bridge: &Bridge, cache: &Cache, loads: &[Load], outage: Duration, round_trip: Duration) -> Endurance {
    let (mut rate, mut volatile, mut bytes, mut disk, mut slowest) = (0.0, 0.0, 0.0, 0.0, QoS::AtMostOnce);
    let mut when_full = Vec::new();
    for load in loads {
        let Some(forward) = bridge.forwards.iter().find(|forward| topic::matches(&forward.local, &load.topic)) else {
            continue;
        };
        let qos = forward.qos.unwrap_or(load.qos);
        if qos == QoS::AtMostOnce && !bridge.cache_qos0 {
            volatile += load.rate;
            continue;
        }
        let size = load.topic.len() as u64 + load.payload;
        rate += load.rate;
        bytes += load.rate * size as f64;
        disk += load.rate * bytes_on_disk(size) as f64;
        slowest = slowest.max(qos);
        let word = overflow(forward.when_full.unwrap_or(cache.when_full));
        if !when_full.contains(&word) {
            when_full.push(word);
        }
    }
    let seconds = outage.as_secs_f64();
    let limit = if rate > 0.0 { first_limit(cache, rate, bytes / rate) } else { None };
    let reached = limit.filter(|(after, _)| *after < outage);
    let waits = reached.map_or(seconds, |(after, _)| after.as_secs_f64());
    let backlog = rate * waits;
    let beyond_limit = (rate * (seconds - waits)).round() as u64;
    Endurance {
        bridge: bridge.name.clone(),
        survives: reached.is_none(),
        verdict: verdict(bridge, rate, outage, limit, reached.is_some(), &when_full.join(" or ")),
        rate,
        limit_after_s: limit.map(|(after, _)| after.as_secs_f64()),
        limit: limit.map(|(_, key)| key),
        beyond_limit,
        qos0_dropped: (volatile * seconds).round() as u64,
        backlog: backlog.round() as u64,
        disk_bytes: (disk * waits).round() as u64,
        drained_after_s: drained_after(bridge, backlog, rate + volatile, slowest, round_trip),
        cut_noticed_within_s: cut_noticed_within(bridge, rate).as_secs_f64(),
        heal_noticed_within_s: heal_noticed_within(bridge).as_secs_f64(),
    }
}

fn verdict(
    bridge: &Bridge,
    rate: f64,
    outage: Duration,
    limit: Option<(Duration, &str)>,
    reached: bool,
    then: &str,
) -> String {
    let (name, length) = (&bridge.name, roughly(outage));
    match limit {
        None => format!("bridge {name} survives {length}: nothing of this load waits in the cache"),
        Some((after, key)) if !reached => {
            format!(
                "bridge {name} survives {length} at {rate} a second; {key} would be reached after {}",
                roughly(after)
            )
        }
        Some((after, "cache.max_age")) => format!(
            "bridge {name} loses messages after {} (cache.max_age) at {rate} a second: what is older is dropped",
            roughly(after)
        ),
        Some((after, key)) => {
            format!(
                "bridge {name} is full after {} ({key}) at {rate} a second; then publishes are {then}",
                roughly(after)
            )
        }
    }
}

/// The window's worth in each round trip (two at QoS 2), no faster than was measured, nor than `drain.max_rate`; what is
/// published meanwhile stands in the same queue.
fn drained_after(bridge: &Bridge, backlog: f64, live: f64, slowest: QoS, round_trip: Duration) -> Option<f64> {
    if backlog < 0.5 {
        return Some(0.0);
    }
    let twice = slowest == QoS::ExactlyOnce;
    let trip = round_trip.as_secs_f64() * if twice { 2.0 } else { 1.0 };
    let fastest = (f64::from(bridge.window) / trip).min(FASTEST[usize::from(twice)]);
    let (speed, start) = match bridge.drain {
        Some(drain) if drain.max_rate.per_second() < fastest => (drain.max_rate.per_second(), SLOW_START_SECONDS),
        _ => (fastest, 0.0),
    };
    (speed > live).then(|| (backlog + start * speed) / (speed - live))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::config::{Drain, Forward, Server};
    use crate::bridge::units::parse_rate;

    const HOUR: Duration = Duration::from_secs(3_600);
    const TRIP: Duration = Duration::from_millis(1);

    fn bridge() -> Bridge {
        let mut bridge = Bridge::new("b", Server::tcp("h", 1883), "c");
        bridge.forwards = vec![Forward {
            local: "t/#".into(),
            remote: None,
            strip_levels: 0,
            prefix: String::new(),
            suffix: String::new(),
            qos: None,
            retain: None,
            when_full: None,
        }];
        bridge
    }

    fn load(qos: QoS, rate: f64) -> Load {
        Load { topic: "t/1".into(), qos, rate, payload: 197 }
    }

    #[test]
    fn the_first_limit_ends_it_and_says_what_then() {
        let mut cache = Cache::at("x");
        let loads = [load(QoS::AtLeastOnce, 100.0), Load { topic: "elsewhere".into(), ..load(QoS::AtLeastOnce, 5.0) }];
        let survived = endurance(&bridge(), &cache, &loads, HOUR, TRIP);
        assert!(survived.survives && survived.backlog == 360_000 && survived.beyond_limit == 0, "{survived:?}");
        assert!(survived.verdict.ends_with("cache.max_messages would be reached after 2 h 46 min"), "{survived:?}");
        // The rows as measured, and the drain less what is published meanwhile.
        assert_eq!(survived.disk_bytes, 360_000 * bytes_on_disk(200));
        assert!((survived.drained_after_s.unwrap() - 360_000.0 / 52_400.0).abs() < 1e-9);
        cache.max_messages = 90_000;
        let full = endurance(&bridge(), &cache, &loads, HOUR, TRIP);
        assert_eq!((full.survives, full.limit_after_s, full.beyond_limit), (false, Some(900.0), 270_000));
        assert!(full.verdict.contains("is full after 15 min 0 s (cache.max_messages)"), "{}", full.verdict);
        assert!(full.verdict.ends_with("then publishes are refused"), "{}", full.verdict);
        cache.max_bytes = 200 * 45_000;
        assert_eq!(first_limit(&cache, 100.0, 200.0), Some((Duration::from_secs(450), "cache.max_bytes")));
        cache.max_age = Some(Duration::from_secs(60));
        let old = endurance(&bridge(), &cache, &loads, HOUR, TRIP);
        assert_eq!((old.limit, old.backlog, old.beyond_limit), (Some("cache.max_age"), 6_000, 354_000));
    }

    #[test]
    fn qos_0_waits_only_where_it_may() {
        let mut bridge = bridge();
        let loads = [load(QoS::AtMostOnce, 10.0)];
        let dropped = endurance(&bridge, &Cache::at("x"), &loads, HOUR, TRIP);
        assert_eq!((dropped.qos0_dropped, dropped.backlog, dropped.limit), (36_000, 0, None));
        bridge.cache_qos0 = true;
        let kept = endurance(&bridge, &Cache::at("x"), &loads, HOUR, TRIP);
        assert_eq!((kept.qos0_dropped, kept.backlog), (0, 36_000));
    }

    #[test]
    fn a_drain_is_as_fast_as_window_round_trip_and_max_rate_let_it_be() {
        let (mut bridge, second) = (bridge(), Duration::from_secs(1));
        let drained = |bridge: &Bridge, qos| drained_after(bridge, 900.0, 10.0, qos, second);
        assert_eq!(drained(&bridge, QoS::AtLeastOnce), Some(10.0));
        assert_eq!(drained(&bridge, QoS::ExactlyOnce), Some(22.5));
        bridge.drain = Some(Drain { max_rate: parse_rate("20/s").unwrap() });
        assert_eq!(drained(&bridge, QoS::AtLeastOnce), Some(95.0));
        bridge.drain = Some(Drain { max_rate: parse_rate("10/s").unwrap() });
        assert_eq!(drained(&bridge, QoS::AtLeastOnce), None);
    }

    #[test]
    fn a_cut_and_a_heal_are_noticed_by_the_timeouts() {
        let bridge = bridge();
        assert_eq!(cut_noticed_within(&bridge, 10.0), Duration::from_millis(20_100));
        assert_eq!(cut_noticed_within(&bridge, 0.0), Duration::from_secs(90));
        assert_eq!(heal_noticed_within(&bridge), Duration::from_secs(4));
    }

    #[test]
    fn a_row_takes_what_was_measured() {
        // Payload, bytes of the file, rows; topics of 19 bytes, an empty file has 45,056 bytes.
        for (payload, file, rows) in [
            (0, 1_224_704, 20_000),
            (50, 2_256_896, 20_000),
            (200, 5_591_040, 20_000),
            (500, 12_201_984, 20_000),
            (1_000, 27_856_896, 20_000),
            (4_000, 16_564_224, 4_000),
            (20_000, 82_182_144, 4_000),
        ] {
            let measured = f64::from(file - 45_056) / f64::from(rows);
            let off = bytes_on_disk(payload + 19) as f64 / measured;
            assert!((0.98..1.02).contains(&off), "{payload}: {off}");
        }
    }
}
