//! The laboratory's receiver at the remote, as an environment has to know it that takes the remote's process away.
//!
//! A remote that ends takes the receiver's connection with it, and what it has acknowledged and not passed on. Nothing
//! of that is the subject's fault, and nobody could tell it from the subject's fault afterwards. So the environment
//! closes the link first, waits until the receiver [has everything](Examiner::has_everything), and opens the link again
//! only once the receiver is [back in its place](Examiner::is_back).
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::time::timeout;

use super::client::{self, ClientError};
use super::identity::{self, PAYLOAD_HEADER_BYTES};
use super::receiver::{PROBE, Reached};
use crate::bridge::message::{Message, QoS};
use crate::bridge::wire::{Connect, Packet, Publish, Version, encode};

/// How long the last messages may take from the remote to the receiver, and the receiver to come back.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why nobody can say what the receiver has.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExaminerError {
    /// The remote could not be asked.
    #[error("the remote cannot be reached: {0}")]
    Client(#[from] ClientError),
    /// The connection to the remote broke.
    #[error("the remote cannot be reached: {0}")]
    Io(#[from] std::io::Error),
    /// It took too long.
    #[error("nothing was heard of the receiver at the remote for {} s", PATIENCE.as_secs())]
    Silent,
}

/// What is known of the receiver at the remote; cheap to clone.
#[derive(Clone)]
pub(crate) struct Examiner {
    run: u64,
    place: watch::Sender<Option<Place>>,
    probes: Arc<AtomicU64>,
}

#[derive(Clone)]
struct Place {
    topic: String,
    reached: watch::Receiver<Reached>,
}

impl Examiner {
    /// For a run, before its receiver is there.
    pub(crate) fn new(run: u64) -> Self {
        Self { run, place: watch::Sender::new(None), probes: Arc::default() }
    }

    /// The receiver at the remote subscribes to this topic, among others.
    pub(super) fn attend(&self, topic: String, reached: watch::Receiver<Reached>) {
        self.place.send_replace(Some(Place { topic, reached }));
    }

    /// Returns when the receiver has everything that the remote, which is at `remote` for those whom no fault touches,
    /// has accepted so far: a message of our own that is published now stands behind all of it.
    ///
    /// # Errors
    /// [`ExaminerError`]: what the remote holds may be lost with it, a doubt.
    pub(crate) async fn has_everything(&self, remote: SocketAddr) -> Result<(), ExaminerError> {
        let Some(Place { topic, mut reached }) = self.place.borrow().clone() else { return Ok(()) };
        let number = self.probes.fetch_add(1, Ordering::Relaxed) + 1;
        let arrived = async {
            let mut connection = client::connect(remote, Connect::new(Version::V5, "lab-flush")).await?;
            let payload = identity::encode(self.run, PROBE, number, 0, PAYLOAD_HEADER_BYTES);
            // QoS 1: a message at QoS 0 may overtake those that wait for a window.
            let message = Arc::new(Message::new(&topic, payload, QoS::AtLeastOnce));
            let mut bytes = Vec::new();
            encode(&Packet::Publish(Publish::new(message, 1)), Version::V5, &mut bytes);
            connection.stream.write_all(&bytes).await?;
            // An error means that the run is over.
            let _ = reached.wait_for(|reached| reached.probe >= number).await;
            Ok(())
        };
        timeout(PATIENCE, arrived).await.unwrap_or(Err(ExaminerError::Silent))
    }

    /// Returns when the receiver has noticed that the remote is gone.
    pub(crate) async fn is_away(&self) -> Result<(), ExaminerError> {
        self.until(|reached| !reached.subscribed).await
    }

    /// Returns when the receiver has its SUBACK from the remote that was started again.
    ///
    /// # Errors
    /// [`ExaminerError::Silent`].
    pub(crate) async fn is_back(&self) -> Result<(), ExaminerError> {
        self.until(|reached| reached.subscribed).await
    }

    async fn until(&self, is: impl FnMut(&Reached) -> bool) -> Result<(), ExaminerError> {
        let Some(Place { mut reached, .. }) = self.place.borrow().clone() else { return Ok(()) };
        match timeout(PATIENCE, reached.wait_for(is)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(ExaminerError::Silent),
        }
    }
}
