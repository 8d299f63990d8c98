//! Receivers: rumqttc clients on links that no fault touches, one at the remote and one at the bridge's listener.
//!
//! Each connection has an event loop of its own with Clean Start 1: nothing of a former connection's state, which
//! rumqttc 0.25 does not carry over right, can come into the count.
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnectProperties, Filter, Packet, Publish, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, Event as Polled, EventLoop, MqttOptions};
use tokio::sync::watch;
use tokio::time::sleep;

use super::history::Event;
use super::identity::{self, Damage};
use super::plan::{Load, Side, Via};
use super::recorder::Recorder;
use super::stop;

/// The load that the runner's own messages carry, by which it finds out whether a way is open; they are not counted.
pub(crate) const PROBE: u16 = u16::MAX;

const RETRY: Duration = Duration::from_millis(50);
/// rumqttc pings whether or not there is traffic, and gives up at the next ping without an answer. A broker that ends closes
/// the connection on these links; one that a scenario pauses must not lose its receiver.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(3600);
const CONNECT_SECONDS: u64 = 5;
/// rumqttc's own limit, 10 KiB, is below what a load may ask for.
const MAXIMUM_PACKET_SIZE: u32 = 268_435_455;

/// A receiver of all that is published on the other side.
pub(crate) struct Receiver {
    side: Side,
    address: SocketAddr,
    run: u64,
    loads: Vec<Load>,
    topics: BTreeSet<String>,
    recorder: Recorder,
    reached: watch::Sender<Reached>,
}

/// What a receiver has reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reached {
    /// It has a SUBACK on its present connection.
    pub(crate) subscribed: bool,
    /// Why the server does not let it subscribe.
    pub(crate) refused: Option<String>,
    /// Topics that a probe has arrived on.
    pub(crate) probed: BTreeSet<String>,
    /// The highest number of a probe that has arrived.
    pub(crate) probe: u64,
}

impl Receiver {
    /// A receiver on a side for everything in `loads` that is published on the other; `None` where that is nothing.
    pub(crate) fn new(side: Side, address: SocketAddr, run: u64, loads: &[Load], recorder: Recorder) -> Option<Self> {
        let other = match side {
            Side::Remote => Via::Bridge,
            Side::Bridge => Via::Remote,
        };
        let topics: BTreeSet<String> =
            loads.iter().filter(|load| load.via == other).map(|load| load.topic.clone()).collect();
        let (loads, reached) = (loads.to_vec(), watch::Sender::default());
        (!topics.is_empty()).then_some(Self { side, address, run, loads, topics, recorder, reached })
    }

    /// Follows what it reaches.
    pub(crate) fn reached(&self) -> watch::Receiver<Reached> {
        self.reached.subscribe()
    }

    /// Topics it subscribes to.
    pub(crate) fn topics(&self) -> &BTreeSet<String> {
        &self.topics
    }

    /// Receives until it is told to stop; connects again at once where it loses its connection.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            () = stop::told(&mut stop) => {}
            () = self.receive() => {}
        }
    }

    async fn receive(&self) {
        loop {
            let mut options = MqttOptions::new(
                format!("lab-receiver-{:?}", self.side),
                self.address.ip().to_string(),
                self.address.port(),
            );
            options.set_clean_start(true).set_keep_alive(KEEP_ALIVE).set_connection_timeout(CONNECT_SECONDS);
            options.set_connect_properties(ConnectProperties::new()).set_max_packet_size(Some(MAXIMUM_PACKET_SIZE));
            options.set_outgoing_inflight_upper_limit(1);
            let (client, mut events) = AsyncClient::new(options, 1);
            let why = self.poll(&client, &mut events).await;
            let mut was_subscribed = false;
            self.reached.send_modify(|reached| was_subscribed = std::mem::take(&mut reached.subscribed));
            if was_subscribed {
                self.recorder.record(Event::ReceiverDisconnected { side: self.side, why });
            } else {
                tracing::debug!(side = ?self.side, why, "the receiver does not get its SUBACK");
            }
            sleep(RETRY).await;
        }
    }

    /// Receives on one connection; says why it ended.
    async fn poll(&self, client: &AsyncClient, events: &mut EventLoop) -> String {
        loop {
            match events.poll().await {
                Ok(Polled::Incoming(Packet::Publish(publish))) => self.received(&publish),
                Ok(Polled::Incoming(Packet::ConnAck(_))) => {
                    // QoS 2, so that nothing is lost or repeated on the last few metres.
                    let filters = self.topics.iter().map(|topic| Filter::new(topic.clone(), QoS::ExactlyOnce));
                    if let Err(error) = client.try_subscribe_many(filters) {
                        return error.to_string();
                    }
                }
                Ok(Polled::Incoming(Packet::SubAck(suback))) => {
                    let granted = |code: &SubscribeReasonCode| matches!(code, SubscribeReasonCode::Success(_));
                    if let Some(code) = suback.return_codes.iter().find(|code| !granted(code)) {
                        let why = format!("SUBSCRIBE was refused: {code:?}");
                        self.reached.send_modify(|reached| reached.refused = Some(why.clone()));
                        return why;
                    }
                    self.recorder.record(Event::ReceiverConnected { side: self.side });
                    self.reached.send_modify(|reached| reached.subscribed = true);
                }
                Ok(_) => {}
                Err(error) => return error.to_string(),
            }
        }
    }

    fn received(&self, publish: &Publish) {
        let event = match identity::decode(&publish.payload) {
            Ok(identity) if identity.run != self.run => self.unexpected(publish, None, "it belongs to another run"),
            Ok(identity) if identity.load == PROBE => {
                let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                return self.reached.send_modify(|reached| {
                    reached.probed.insert(topic);
                    reached.probe = reached.probe.max(identity.seq);
                });
            }
            Ok(identity) => {
                let of = (identity.load, identity.seq);
                match self.loads.get(usize::from(identity.load)) {
                    Some(load) if load.topic.as_bytes() == publish.topic => {
                        Event::Received { load: identity.load, seq: identity.seq }
                    }
                    Some(load) => {
                        let why = format!("it was published on the topic {}", load.topic);
                        self.unexpected(publish, Some(of), &why)
                    }
                    None => self.unexpected(publish, None, "the plan has no such load"),
                }
            }
            Err(damage) => {
                let of = match &damage {
                    Damage::Altered(identity) if identity.run == self.run => Some((identity.load, identity.seq)),
                    Damage::Altered(_) | Damage::Foreign(_) => None,
                };
                self.unexpected(publish, of, &damage.to_string())
            }
        };
        self.recorder.record(event);
    }

    fn unexpected(&self, publish: &Publish, of: Option<(u16, u64)>, why: &str) -> Event {
        Event::Unexpected { topic: String::from_utf8_lossy(&publish.topic).into_owned(), of, why: why.to_owned() }
    }
}
