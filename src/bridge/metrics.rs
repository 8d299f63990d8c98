//! /metrics (Prometheus text) and /healthz: what is counted, and whether the bridge can keep its word.
use std::convert::Infallible;
use std::fmt::Write as _;
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

use super::counters::{BridgeCounters, Counters, Shared};
use super::delivery::DropReason;
use super::listener::{ACCEPT_PAUSE, told};

/// How long a connection may last: its descriptor is wanted for MQTT.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves until shutdown.
pub async fn serve(listener: TcpListener, counters: Shared, mut shutdown: watch::Receiver<bool>) {
    let mut registry = Registry::with_prefix("mqtt_bridge");
    registry.register_collector(Box::new(Columns(counters.clone())));
    let registry = std::sync::Arc::new(registry);
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
        let (registry, counters) = (registry.clone(), counters.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = respond(&request, &registry, &counters);
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

fn respond<B>(request: &Request<B>, registry: &Registry, counters: &Shared) -> Response<Full<Bytes>> {
    match request.uri().path() {
        "/metrics" => {
            let mut text = String::new();
            match prometheus_client::encoding::text::encode(&mut text, registry) {
                Ok(()) => answer(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text),
                Err(error) => answer(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", error.to_string()),
            }
        }
        "/healthz" => {
            let (healthy, text) = health(&counters.lock());
            let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            answer(status, "text/plain; charset=utf-8", text)
        }
        _ => answer(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "/metrics or /healthz\n".to_owned()),
    }
}

fn answer(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}

/// Red where the bridge cannot acknowledge anything. A link that is down is no illness: that is what the cache is for.
fn health(counters: &Counters) -> (bool, String) {
    let mut text = match &counters.cache_error {
        Some(error) => format!("failing: {error}\n"),
        None => "ok\n".to_owned(),
    };
    for bridge in counters.bridges.values() {
        let link = if bridge.connected { "up" } else { "down" };
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "bridge {}: link {link}, {} queued, {} in flight, {} quarantined",
            bridge.name, bridge.queued, bridge.in_flight, bridge.quarantined
        );
    }
    (counters.cache_error.is_none(), text)
}

/// Reads all columns at one moment.
#[derive(Debug)]
struct Columns(Shared);

type Reading = fn(&BridgeCounters) -> u64;
type ProcessReading = fn(&Counters) -> u64;

const BRIDGE_COUNTERS: [(&str, &str, Reading); 9] = [
    ("messages_accepted", "Deliveries taken in since the start", |b| b.accepted),
    ("messages_restored", "Deliveries that were there at the start", |b| b.restored),
    ("messages_delivered", "Deliveries that the remote has", |b| b.delivered),
    ("messages_rejected", "Publishes refused because the queue was full", |b| b.rejected),
    ("connections", "Connections that got a CONNACK with success", |b| b.statistics.connections),
    ("messages_ambiguous", "QoS 2 messages sent again after the remote lost the session", |b| b.statistics.ambiguous),
    ("messages_reordered", "Messages sent again later after a passing refusal", |b| b.statistics.reordered),
    ("messages_repeated", "PUBLISHes sent again with DUP", |b| b.statistics.repeated),
    ("acks_unexpected", "Acknowledgements for nothing in flight", |b| b.statistics.unexpected_acks),
];

const BRIDGE_GAUGES: [(&str, &str, Reading); 6] = [
    ("messages_queued", "Deliveries that wait", |b| b.queued),
    ("messages_in_flight", "Deliveries that the remote leg has taken and is not done with", |b| b.in_flight),
    ("messages_quarantined", "Deliveries that the remote refused for good", |b| b.quarantined),
    ("messages_cached", "Rows of the cache that wait or are in flight", |b| b.cached),
    ("cached_bytes", "Topics, properties and payloads of these rows", |b| b.cached_bytes),
    ("connected", "Whether the link is up", |b| u64::from(b.connected)),
];

const PROCESS_COUNTERS: [(&str, &str, ProcessReading); 7] = [
    ("publishes_received", "PUBLISHes that were new", |c| c.received),
    ("publishes_repeated", "PUBLISHes that repeated one that is kept", |c| c.repeated),
    ("publishes_refused", "PUBLISHes refused", |c| c.refused),
    ("messages_distributed", "Messages handed to local subscribers", |c| c.distributed),
    ("subscriber_overflows", "Messages for local subscribers that did not keep up", |c| c.subscriber_overflow),
    ("cache_commits", "Commits of the cache", |c| c.commits),
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
        let bridge = BridgeCounters { name: "emqx1".into(), accepted: 3, queued: 2, ..BridgeCounters::default() };
        counters.lock().bridges.insert(BridgeId(1), bridge);
        counters.lock().bridges.entry(BridgeId(1)).or_default().give_up(DropReason::Evicted, &"a/b".into());
        let mut registry = Registry::with_prefix("mqtt_bridge");
        registry.register_collector(Box::new(Columns(counters.clone())));
        let request = Request::builder().uri("/metrics").body(()).unwrap();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert_eq!(respond(&request, &registry, &counters).status(), StatusCode::OK);
        for line in [
            "mqtt_bridge_messages_accepted_total{bridge=\"emqx1\"} 3",
            "mqtt_bridge_messages_queued{bridge=\"emqx1\"} 1",
            "mqtt_bridge_messages_dropped_total{bridge=\"emqx1\",reason=\"evicted\"} 1",
            "mqtt_bridge_dropped_by_topic_total{bridge=\"emqx1\",reason=\"evicted\",topic=\"a/b\"} 1",
            "mqtt_bridge_messages_dropped_total{bridge=\"emqx1\",reason=\"full\"} 0",
            "mqtt_bridge_cache_healthy 1",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn a_cache_that_fails_is_red_and_a_link_that_is_down_is_not() {
        let mut counters = Counters::default();
        counters.bridges.insert(BridgeId(1), BridgeCounters::default());
        assert!(health(&counters).0);
        counters.cache_error = Some("the disk is full".into());
        let (healthy, text) = health(&counters);
        assert!(!healthy && text.starts_with("failing: the disk is full\n"), "{text}");
    }
}
