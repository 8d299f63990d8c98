//! Whether what is published at the remote comes through to the receiver at the subject.
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::time::sleep;

use super::super::client::{self, ClientError};
use super::super::identity::{self, PAYLOAD_HEADER_BYTES};
use super::super::receiver::{PROBE, Reached};
use crate::bridge::message::{Message, QoS};
use crate::bridge::wire::{Connect, Packet, Publish, Version, encode};

const EVERY: Duration = Duration::from_millis(50);

/// Publishes messages that do not count on every topic, again and again, until one has arrived on each: a subject that
/// has not subscribed yet would lose the first messages of a load without any fault of its own.
///
/// # Errors
/// [`ClientError`] where the remote cannot be reached.
pub(super) async fn open(
    remote: SocketAddr,
    run: u64,
    topics: &BTreeSet<String>,
    mut reached: watch::Receiver<Reached>,
) -> Result<(), ClientError> {
    let mut connection = client::connect(remote, Connect::new(Version::V5, "lab-probe")).await?;
    loop {
        let open = reached.borrow_and_update().probed.clone();
        let mut bytes = Vec::new();
        for topic in topics.difference(&open) {
            let payload = identity::encode(run, PROBE, 0, 0, PAYLOAD_HEADER_BYTES);
            let message = Arc::new(Message::new(topic, payload, QoS::AtMostOnce));
            encode(&Packet::Publish(Publish::new(message, 0)), Version::V5, &mut bytes);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        connection.stream.write_all(&bytes).await?;
        tokio::select! {
            // An error means that the receiver is gone, which the runner's time limit finds.
            _ = reached.changed() => {}
            () = sleep(EVERY) => {}
        }
    }
}
