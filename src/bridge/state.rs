//! `$SYS/bridge/<name>/state`: what becomes of each bridge, for local clients. It does not match `#` or `+/...`
//! ([MQTT-4.7.2-1]), is never forwarded, and is kept in memory alone.
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;

use super::clock::Clock;
use super::counters::{BridgeCounters, Shared};
use super::delivery::Time;
use super::hub::Hub;
use super::listener::told;
use super::message::{Message, QoS};
use super::topic;

/// The payload, as JSON.
#[derive(Debug, Serialize)]
struct State<'a> {
    /// Whether the link is up.
    connected: bool,
    /// The server that it is connected to, or tries to be.
    server: &'a str,
    /// Since when that is so, in seconds since the Unix epoch.
    since: u64,
    /// Deliveries that wait.
    queued: u64,
    /// Deliveries that the remote leg has taken and is not done with.
    in_flight: u64,
    /// The age of the oldest message that the remote does not have, in seconds; `null`: there is none.
    oldest_age_s: Option<u64>,
    /// Deliveries given up since the start.
    dropped: u64,
    /// Why there was no link, the last time that there was none.
    last_error: Option<&'a str>,
}

/// Publishes the state of each bridge now, whenever a link changes, and at this interval (0: never), until shutdown.
pub async fn publish(
    counters: Shared,
    hub: Hub,
    clock: Clock,
    mut interval: watch::Receiver<Duration>,
    mut shutdown: watch::Receiver<bool>,
) {
    loop {
        let pause = *interval.borrow_and_update();
        if !pause.is_zero() {
            for message in states(&counters, clock.now()) {
                hub.publish_state(&Arc::new(message));
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause), if !pause.is_zero() => {}
            () = counters.until_a_link_changes() => {}
            Ok(()) = interval.changed() => {}
            () = told(&mut shutdown) => return,
        }
    }
}

fn states(counters: &Shared, now: Time) -> Vec<Message> {
    counters.lock().bridges.values().filter_map(|bridge| state(bridge, now)).collect()
}

/// At QoS 0: it is not kept for a session that is away, which would get yesterday's states in a row.
fn state(bridge: &BridgeCounters, now: Time) -> Option<Message> {
    let state = State {
        connected: bridge.connected,
        server: &bridge.server,
        since: bridge.since.as_secs(),
        queued: bridge.queued,
        in_flight: bridge.in_flight,
        oldest_age_s: bridge.oldest_age(now).map(|age| age.as_secs()),
        dropped: bridge.dropped.values().sum(),
        last_error: bridge.last_error.as_deref(),
    };
    // Strings and numbers: this does not fail.
    let payload = serde_json::to_vec(&state).ok()?;
    let name = topic_of(&bridge.name)?;
    Some(Message { retain: true, ..Message::new(&name, payload, QoS::AtMostOnce) })
}

/// A name with a wildcard in it has no topic: `check` says so.
fn topic_of(name: &str) -> Option<String> {
    let name = format!("{}bridge/{name}/state", topic::SYS);
    topic::check_name(&name).is_ok().then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_says_how_old_the_oldest_is_only_while_something_waits() {
        let bridge = BridgeCounters {
            name: "emqx1".into(),
            server: "mqtt://emqx:1883".into(),
            since: Duration::from_secs(100),
            cached: 2,
            queued: 2,
            oldest: Some(Duration::from_secs(200)),
            last_error: Some("refused".into()),
            ..BridgeCounters::default()
        };
        let said = |bridge: &BridgeCounters| {
            let message = state(bridge, Duration::from_secs(260)).unwrap();
            assert_eq!((&*message.topic, message.retain), ("$SYS/bridge/emqx1/state", true));
            String::from_utf8(message.payload.to_vec()).unwrap()
        };
        let expected = r#"{"connected":false,"server":"mqtt://emqx:1883","since":100,"queued":2,"in_flight":0,"#;
        let rest = r#""oldest_age_s":60,"dropped":0,"last_error":"refused"}"#;
        assert_eq!(said(&bridge), format!("{expected}{rest}"));
        let drained = BridgeCounters { cached: 0, queued: 0, ..bridge };
        assert!(said(&drained).contains(r#""oldest_age_s":null"#));
        assert!(state(&BridgeCounters { name: "a/+".into(), ..drained }, Duration::ZERO).is_none());
    }
}
