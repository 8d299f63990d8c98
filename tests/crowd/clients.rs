//! Publishers, subscribers, and who receives at the remote.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mqtt_bridge::bridge::message::{Message, QoS};
use mqtt_bridge::bridge::wire::{Ack, Disconnect, Packet, Publish, ReasonCode, Version};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::connection::Connection;
use super::ledger::Ledger;

/// Bytes of a payload: sequence, then the intended moment in microseconds.
const PAYLOAD: usize = 64;
const INTERVAL: Duration = Duration::from_secs(1);
/// Every tenth subscriber is away for this long, out of so long.
const AWAY: Duration = Duration::from_secs(1);
const ROUND: Duration = Duration::from_secs(7);

fn version(pair: usize) -> Version {
    if pair.is_multiple_of(2) { Version::V5 } else { Version::V4 }
}

/// Publisher and sequence of a message.
fn identity(publish: &Publish) -> (usize, u64, u64) {
    let number = |at: usize| u64::from_be_bytes(publish.message.payload[at..at + 8].try_into().unwrap());
    (publish.topic.strip_prefix("crowd/").unwrap().parse().unwrap(), number(0), number(8))
}

/// Connects all of them, then lets them run; until when they publish.
pub(crate) async fn start(address: SocketAddr, time: Duration, ledger: &Arc<Ledger>) -> Instant {
    let mut publishers = Vec::new();
    for pair in 0..ledger.pairs() {
        let (mut subscriber, _) = Connection::open(address, version(pair), &format!("s{pair}")).await;
        subscriber.subscribe(&format!("crowd/{pair}")).await;
        tokio::spawn(subscribe(subscriber, address, pair, ledger.clone()));
        publishers.push(Connection::open(address, version(pair / 2), &format!("p{pair}")).await.0);
    }
    let begin = Instant::now();
    for (pair, publisher) in publishers.into_iter().enumerate() {
        let offset = INTERVAL.mul_f64(pair as f64 / ledger.pairs() as f64);
        tokio::spawn(publish(publisher, pair, begin + offset, begin + time, ledger.clone()));
    }
    begin + time
}

async fn publish(mut connection: Connection, pair: usize, begin: Instant, until: Instant, ledger: Arc<Ledger>) {
    let topic: Arc<str> = format!("crowd/{pair}").into();
    let (mut sequence, mut acknowledged) = (0_u64, 0);
    loop {
        let due = begin + INTERVAL * sequence as u32;
        tokio::select! {
            packet = connection.receive() => match packet {
                Packet::Puback(ack) => {
                    assert!(!ack.reason.is_failure(), "PUBACK {:?}", ack.reason);
                    acknowledged += 1;
                    ledger.acknowledged();
                    if due >= until && acknowledged == sequence {
                        return;
                    }
                }
                other => panic!("{} to a publisher", other.name()),
            },
            () = tokio::time::sleep_until(due), if due < until => {
                let mut payload = [0; PAYLOAD];
                payload[..8].copy_from_slice(&sequence.to_be_bytes());
                payload[8..16].copy_from_slice(&ledger.micros(due).to_be_bytes());
                let message = Message::new(&topic, payload.to_vec(), QoS::AtLeastOnce);
                let packet_id = (sequence % 60_000 + 1) as u16;
                ledger.sent(pair);
                sequence += 1;
                connection.send(&Packet::Publish(Publish::new(Arc::new(message), packet_id))).await;
            }
        }
    }
}

async fn subscribe(mut connection: Connection, address: SocketAddr, pair: usize, ledger: Arc<Ledger>) {
    let leaves = pair % 10 == 9;
    let mut leave_at = Instant::now() + ROUND;
    loop {
        tokio::select! {
            packet = connection.receive() => match packet {
                Packet::Publish(publish) => {
                    let (from, sequence, micros) = identity(&publish);
                    assert_eq!(from, pair, "a message of another topic");
                    // What had to wait for its subscriber says nothing of the bridge's latency.
                    let latency = (!leaves).then(|| ledger.micros(Instant::now()).saturating_sub(micros));
                    ledger.received_here(pair, sequence, latency);
                    connection.send(&Packet::Puback(Ack::success(publish.packet_id))).await;
                }
                other => panic!("{} to a subscriber", other.name()),
            },
            () = tokio::time::sleep_until(leave_at), if leaves => {
                connection.send(&Packet::Disconnect(Disconnect::new(ReasonCode::SUCCESS))).await;
                tokio::time::sleep(AWAY).await;
                let present;
                (connection, present) = Connection::open(address, version(pair), &format!("s{pair}")).await;
                assert!(present, "its session was kept");
                leave_at = Instant::now() + ROUND;
            }
        }
    }
}

/// Subscribes at the remote, past the link.
pub(crate) async fn receiver(remote: SocketAddr, ledger: Arc<Ledger>) -> JoinHandle<()> {
    let (mut connection, _) = Connection::open(remote, Version::V4, "receiver").await;
    connection.subscribe("crowd/#").await;
    tokio::spawn(async move {
        loop {
            if let Packet::Publish(publish) = connection.receive().await {
                let (pair, sequence, _) = identity(&publish);
                ledger.received_there(pair, sequence);
                connection.send(&Packet::Puback(Ack::success(publish.packet_id))).await;
            }
        }
    })
}
