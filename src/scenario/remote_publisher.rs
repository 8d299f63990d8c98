//! Publishers on the remote's side: rumqttc, on a link that no fault touches.
//!
//! rumqttc's `publish()` gives no packet identifier, but its event loop reports one for every PUBLISH in the order they
//! were asked for; with a publisher of its own for every load, the n-th is sequence n. Its window is never filled, which
//! is where rumqttc 0.25 loses messages.
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PubAckReason, PubRecReason};
use rumqttc::v5::{AsyncClient, Event as Polled, EventLoop, MqttOptions};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::sleep_until;

use super::history::Event;
use super::identity;
use super::plan::Load;
use super::receiver::KEEP_ALIVE;
use super::recorder::Recorder;
use super::stop;

/// Messages that wait for their acknowledgement, at most.
const WINDOW: u16 = 1000;
/// From here on a Reason Code is a failure.
const FAILURE: u8 = 0x80;

/// The publisher of one load entry that is published at the remote.
pub(crate) struct RemotePublisher {
    index: u16,
    load: Load,
    run: u64,
    address: SocketAddr,
    recorder: Recorder,
}

impl RemotePublisher {
    /// A publisher of load `index` of the plan.
    pub(crate) fn new(index: u16, load: Load, run: u64, address: SocketAddr, recorder: Recorder) -> Self {
        Self { index, load, run, address, recorder }
    }

    /// Publishes until it is told to stop; says once when it has its CONNACK. Nothing touches its link: where it ends
    /// all the same, the run is in doubt and the load is not published any more.
    pub(crate) async fn run(self, connected: oneshot::Sender<()>, mut stop: watch::Receiver<bool>) {
        let (ip, port) = (self.address.ip().to_string(), self.address.port());
        let mut options = MqttOptions::new(format!("lab-remote-publisher-{}", self.index), ip, port);
        // Twice the window that is used: packet identifiers come round only when they are free again.
        options.set_clean_start(true).set_keep_alive(KEEP_ALIVE).set_outgoing_inflight_upper_limit(2 * WINDOW);
        let (client, events) = AsyncClient::new(options, usize::from(WINDOW));
        let window = Arc::new(Semaphore::new(WINDOW.into()));
        let why = tokio::select! {
            () = stop::told(&mut stop) => return,
            why = self.publish(&client, &window) => why,
            why = self.follow(events, &window, connected) => why,
        };
        self.recorder.record(Event::PublisherDisconnected { load: self.index, why: why.clone() });
        self.recorder.doubt(format!("the publisher of {} at the remote lost its connection: {why}", self.load.topic));
    }

    /// Asks for every PUBLISH when it is due and the window has room.
    async fn publish(&self, client: &AsyncClient, window: &Semaphore) -> String {
        let qos = match self.load.qos {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        };
        let origin = self.recorder.begun().await;
        let mut seq = 0;
        while let Some(intended) = self.load.intended(seq) {
            sleep_until((origin + intended).into()).await;
            match window.acquire().await {
                Ok(permit) => permit.forget(),
                Err(error) => return error.to_string(),
            }
            let now_us = self.recorder.elapsed().as_micros() as u64;
            let payload = identity::encode(self.run, self.index, seq, now_us, self.load.payload);
            if let Err(error) = client.publish(self.load.topic.clone(), qos, false, payload).await {
                return error.to_string();
            }
            seq += 1;
        }
        std::future::pending().await
    }

    /// Follows the connection; says why it ended.
    async fn follow(&self, mut events: EventLoop, window: &Semaphore, connected: oneshot::Sender<()>) -> String {
        let load = self.index;
        let mut connected = Some(connected);
        let mut next = 0;
        let mut under_way: HashMap<u16, u64> = HashMap::new();
        loop {
            let (packet_id, reason) = match events.poll().await {
                Ok(Polled::Incoming(Packet::ConnAck(connack))) => {
                    let session_present = connack.session_present;
                    self.recorder.record(Event::PublisherConnected { load, session_present });
                    if let Some(connected) = connected.take() {
                        // An error means that nobody waits for it any more.
                        let _ = connected.send(());
                    }
                    continue;
                }
                Ok(Polled::Outgoing(Outgoing::Publish(packet_id))) => {
                    self.recorder.record(Event::Sent { load, seq: next, again: false });
                    if packet_id == 0 {
                        window.add_permits(1);
                    } else {
                        under_way.insert(packet_id, next);
                    }
                    next += 1;
                    continue;
                }
                Ok(Polled::Incoming(Packet::PubAck(puback))) => {
                    window.add_permits(1);
                    (puback.pkid, puback_code(puback.reason))
                }
                Ok(Polled::Incoming(Packet::PubRec(pubrec))) => {
                    let reason = pubrec_code(pubrec.reason);
                    window.add_permits(usize::from(reason >= FAILURE));
                    (pubrec.pkid, reason)
                }
                Ok(Polled::Incoming(Packet::PubComp(_))) => {
                    window.add_permits(1);
                    continue;
                }
                Ok(_) => continue,
                Err(error) => return error.to_string(),
            };
            if let Some(seq) = under_way.remove(&packet_id) {
                self.recorder.record(if reason < FAILURE {
                    Event::Acknowledged { load, seq }
                } else {
                    Event::Refused { load, seq, reason }
                });
            }
        }
    }
}

/// rumqttc names the Reason Codes and keeps their numbers to itself.
fn puback_code(reason: PubAckReason) -> u8 {
    match reason {
        PubAckReason::Success => 0x00,
        PubAckReason::NoMatchingSubscribers => 0x10,
        PubAckReason::UnspecifiedError => 0x80,
        PubAckReason::ImplementationSpecificError => 0x83,
        PubAckReason::NotAuthorized => 0x87,
        PubAckReason::TopicNameInvalid => 0x90,
        PubAckReason::PacketIdentifierInUse => 0x91,
        PubAckReason::QuotaExceeded => 0x97,
        PubAckReason::PayloadFormatInvalid => 0x99,
    }
}

fn pubrec_code(reason: PubRecReason) -> u8 {
    match reason {
        PubRecReason::Success => 0x00,
        PubRecReason::NoMatchingSubscribers => 0x10,
        PubRecReason::UnspecifiedError => 0x80,
        PubRecReason::ImplementationSpecificError => 0x83,
        PubRecReason::NotAuthorized => 0x87,
        PubRecReason::TopicNameInvalid => 0x90,
        PubRecReason::PacketIdentifierInUse => 0x91,
        PubRecReason::QuotaExceeded => 0x97,
        PubRecReason::PayloadFormatInvalid => 0x99,
    }
}
