//! /metrics (Prometheus text), /healthz and /readyz: what is counted, whether the bridge can keep its word, and whether
//! clients should be sent to it. `contrib/metrics.md` says what each metric means.
mod health;
mod process;

use std::convert::Infallible;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{debug, warn};

use super::clock::Clock;
use super::counters::{BridgeCounters, Counters, Shared};
use super::delivery::DropReason;
use super::listener::{ACCEPT_PAUSE, told};

/// How long a connection may last: its descriptor is wanted for MQTT.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// What is served.
struct Pages {
    registry: Registry,
    counters: Shared,
    /// Told when the bridge begins to shut down.
    stopping: watch::Receiver<bool>,
}

impl Pages {
    fn new(counters: Shared, clock: Clock, stopping: watch::Receiver<bool>) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(process::StartTime::now()));
        let prefixed = registry.sub_registry_with_prefix("mqtt_bridge");
        prefixed.register_collector(Box::new(process::BuildInfo));
        prefixed.register_collector(Box::new(Columns(counters.clone(), clock)));
        Self { registry, counters, stopping }
    }
}

/// Serves until shutdown; `stopping` is told when that begins.
pub async fn serve(
    listener: TcpListener,
    counters: Shared,
    clock: Clock,
    stopping: watch::Receiver<bool>,
    mut shutdown: watch::Receiver<bool>,
) {
    let pages = std::sync::Arc::new(Pages::new(counters, clock, stopping));
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!("metrics: accepting a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = told(&mut shutdown) => return,
        };
        let pages = pages.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = respond(&request, &pages);
                async { Ok::<_, Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            match tokio::time::timeout(REQUEST_TIMEOUT, connection).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => debug!("metrics: {error}"),
                Err(_) => debug!("metrics: a connection was closed after {REQUEST_TIMEOUT:?}"),
            }
        });
    }
}

fn respond<B>(request: &Request<B>, pages: &Pages) -> Response<Full<Bytes>> {
    let plain = "text/plain; charset=utf-8";
    let verdict =
        |(good, text)| answer(if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, plain, text);
    match request.uri().path() {
        "/metrics" => {
            let mut text = String::new();
            match prometheus_client::encoding::text::encode(&mut text, &pages.registry) {
                Ok(()) => answer(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text),
                Err(error) => answer(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", error.to_string()),
            }
        }
        "/healthz" => verdict(health::health(&pages.counters.lock())),
        "/readyz" => verdict(health::readiness(&pages.counters.lock(), *pages.stopping.borrow())),
        _ => answer(StatusCode::NOT_FOUND, plain, "/metrics, /healthz or /readyz\n".to_owned()),
    }
}

fn answer(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}

/// Reads all columns at one moment.
#[derive(Debug)]
struct Columns(Shared, Clock);

type Reading = fn(&BridgeCounters) -> u64;
type ProcessReading = fn(&Counters) -> u64;
type LimitReading = fn((u64, u64)) -> u64;

const BRIDGE_COUNTERS: [(&str, &str, Reading); 12] = [
    ("messages_accepted", "Deliveries taken in since the start", |b| b.accepted),
    ("messages_restored", "Deliveries that were there at the start", |b| b.restored),
    ("messages_delivered", "Deliveries that the remote has", |b| b.delivered),
    ("messages_rejected", "Publishes refused because the queue was full", |b| b.rejected),
    ("connections", "Connections that got a CONNACK with success", |b| b.statistics.connections),
    ("messages_ambiguous", "QoS 2 messages sent again after the remote lost the session", |b| b.statistics.ambiguous),
    ("messages_reordered", "Messages sent again later after a passing refusal", |b| b.statistics.reordered),
    ("messages_repeated", "PUBLISHes sent again with DUP", |b| b.statistics.repeated),
    ("sessions_lost", "Times that the remote had lost the session and what it had queued", |b| {
        b.statistics.sessions_lost
    }),
    ("server_changes", "Times that another server was gone over to", |b| b.statistics.moves),
    ("messages_held_back", "Messages of the source offered again since the cache was full", |b| b.statistics.held_back),
    ("acks_unexpected", "Acknowledgements for nothing in flight", |b| b.statistics.unexpected_acks),
];

const BRIDGE_GAUGES: [(&str, &str, Reading); 7] = [
    ("messages_queued", "Deliveries that wait", |b| b.queued),
    ("messages_in_flight", "Deliveries that the remote leg has taken and is not done with", |b| b.in_flight),
    ("messages_quarantined", "Deliveries that the remote refused for good", |b| b.quarantined),
    ("messages_cached", "Rows of the cache that wait or are in flight", |b| b.cached),
    ("cached_bytes", "Topics, properties and payloads of these rows", |b| b.cached_bytes),
    ("server_in_use", "Which of the servers, from 1", |b| b.statistics.server + 1),
    ("connected", "Whether the link is up", |b| u64::from(b.connected)),
];

const BRIDGE_LIMITS: [(&str, &str, LimitReading); 2] = [
    ("cache_max_messages", "Rows that may wait", |limits| limits.0),
    ("cache_max_bytes", "Bytes of topics, properties and payloads that may wait", |limits| limits.1),
];

const PROCESS_COUNTERS: [(&str, &str, ProcessReading); 13] = [
    ("publishes_received", "PUBLISHes that were new", |c| c.received),
    ("publishes_repeated", "PUBLISHes that repeated one that is kept", |c| c.repeated),
    ("publishes_refused", "PUBLISHes refused", |c| c.refused),
    ("messages_distributed", "Messages handed to local subscribers", |c| c.distributed),
    ("subscriber_overflows", "Messages for local subscribers that did not keep up", |c| c.subscriber_overflow),
    ("publishes_denied", "PUBLISHes that their client may not send, or beyond a limit", |c| c.publishes_denied),
    ("subscriptions_denied", "Subscriptions that their client may not have, or beyond a limit", |c| {
        c.subscriptions_denied
    }),
    ("logins_refused", "CONNECTs refused for what they showed", |c| c.logins_refused),
    ("connections_refused", "Connections closed because there were as many as may be", |c| c.connections_refused),
    ("connections_half_open_closed", "Connections closed because too many had not been let in", |c| {
        c.connections_half_open_closed
    }),
    ("cache_commits", "Commits of the cache", |c| c.commits),
    ("reloads", "Configurations that were read again and put in force", |c| c.reloads),
    ("invariant_violations", "Writes that broke an invariant of the cache", |c| c.invariant_violations),
];

impl Collector for Columns {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counters = self.0.lock().clone();
        for (name, help, read) in BRIDGE_COUNTERS {
            let metric = ConstCounter::new(0u64);
            let mut family = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
            for bridge in counters.bridges.values() {
                let labels = [("bridge", bridge.name.as_str())];
                ConstCounter::new(read(bridge)).encode(family.encode_family(&labels)?)?;
            }
        }
        let metric = ConstCounter::new(0u64);
        let help = "Deliveries given up";
        let mut family = encoder.encode_descriptor("messages_dropped", help, None, metric.metric_type())?;
        for bridge in counters.bridges.values() {
            for reason in DropReason::ALL {
                let labels = [("bridge", bridge.name.as_str()), ("reason", reason.label())];
                let dropped = bridge.dropped.get(&reason).copied().unwrap_or_default();
                ConstCounter::new(dropped).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Messages for local sessions that are kept, given up";
        let mut family = encoder.encode_descriptor("session_messages_dropped", help, None, metric.metric_type())?;
        for reason in DropReason::ALL {
            let dropped = counters.sessions.dropped.get(&reason).copied().unwrap_or_default();
            ConstCounter::new(dropped).encode(family.encode_family(&[("reason", reason.label())])?)?;
        }
        let help = "Deliveries given up, by topic: the first hundred by name, then as `other`";
        let mut family = encoder.encode_descriptor("dropped_by_topic", help, None, metric.metric_type())?;
        for bridge in counters.bridges.values() {
            for (topic, reason, dropped) in bridge.dropped_topics.iter() {
                let labels = [("bridge", bridge.name.as_str()), ("reason", reason.label()), ("topic", topic)];
                ConstCounter::new(dropped).encode(family.encode_family(&labels)?)?;
            }
        }
        for (name, help, read) in BRIDGE_GAUGES {
            let metric = ConstGauge::new(0u64);
            let mut family = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
            for bridge in counters.bridges.values() {
                let labels = [("bridge", bridge.name.as_str())];
                ConstGauge::new(read(bridge)).encode(family.encode_family(&labels)?)?;
            }
        }
        let now = self.1.now();
        let metric = ConstGauge::new(0.0);
        let help = "The age of the oldest message that waits in the cache or is in flight; 0: there is none";
        let mut family = encoder.encode_descriptor("oldest_message_age_seconds", help, None, metric.metric_type())?;
        for bridge in counters.bridges.values() {
            let age = bridge.oldest_age(now).unwrap_or_default();
            ConstGauge::new(age.as_secs_f64()).encode(family.encode_family(&[("bridge", bridge.name.as_str())])?)?;
        }
        for (name, help, read) in BRIDGE_LIMITS {
            let metric = ConstGauge::new(0u64);
            let mut family = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
            for bridge in counters.bridges.values() {
                let Some(limits) = bridge.limits else { continue };
                ConstGauge::new(read(limits)).encode(family.encode_family(&[("bridge", bridge.name.as_str())])?)?;
            }
        }
        for (name, help, read) in PROCESS_COUNTERS {
            let metric = ConstCounter::new(read(&counters));
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        for (name, help, value) in [
            ("clients", "Local clients that are connected", counters.clients),
            ("publishers_blocked", "Local clients whose acknowledgements wait for room", counters.blocked),
            ("messages_deferred", "Messages that wait for their remotes and are not committed yet", counters.deferred),
            ("cache_healthy", "Whether the cache can be written", u64::from(counters.cache_error.is_none())),
        ] {
            let metric = ConstGauge::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::delivery::BridgeId;

    #[test]
    fn the_columns_are_served_with_their_labels() {
        let counters = Shared::default();
        let bridge = BridgeCounters {
            name: "emqx1".into(),
            accepted: 3,
            queued: 2,
            cached: 2,
            oldest: Some(std::time::Duration::from_secs(58)),
            limits: Some((10, 1000)),
            ..BridgeCounters::default()
        };
        counters.lock().bridges.insert(BridgeId(1), bridge);
        counters.lock().bridges.entry(BridgeId(1)).or_default().give_up(DropReason::Evicted, &"a/b".into());
        let pages = Pages::new(counters, Clock::still(std::time::Duration::from_secs(60)), watch::channel(false).1);
        let request = Request::builder().uri("/metrics").body(()).unwrap();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &pages.registry).unwrap();
        assert_eq!(respond(&request, &pages).status(), StatusCode::OK);
        for line in [
            "mqtt_bridge_messages_accepted_total{bridge=\"emqx1\"} 3",
            "mqtt_bridge_messages_queued{bridge=\"emqx1\"} 1",
            "mqtt_bridge_messages_dropped_total{bridge=\"emqx1\",reason=\"evicted\"} 1",
            "mqtt_bridge_dropped_by_topic_total{bridge=\"emqx1\",reason=\"evicted\",topic=\"a/b\"} 1",
            "mqtt_bridge_messages_dropped_total{bridge=\"emqx1\",reason=\"full\"} 0",
            "mqtt_bridge_cache_healthy 1",
            "mqtt_bridge_oldest_message_age_seconds{bridge=\"emqx1\"} 2.0",
            "mqtt_bridge_cache_max_messages{bridge=\"emqx1\"} 10",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn readiness_ends_when_the_bridge_begins_to_stop_and_health_does_not() {
        let (stop, stopping) = watch::channel(false);
        let pages = Pages::new(Shared::default(), Clock::still(std::time::Duration::ZERO), stopping);
        let status = |path: &str| respond(&Request::builder().uri(path).body(()).unwrap(), &pages).status();
        assert_eq!((status("/readyz"), status("/healthz")), (StatusCode::OK, StatusCode::OK));
        stop.send_replace(true);
        assert_eq!((status("/readyz"), status("/healthz")), (StatusCode::SERVICE_UNAVAILABLE, StatusCode::OK));
        assert_eq!(status("/"), StatusCode::NOT_FOUND);
    }
}
