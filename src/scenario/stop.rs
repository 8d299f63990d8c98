//! How the clients of a run are told to stop.
use tokio::sync::watch;

/// Returns when `stop` is true; again at once from then on.
pub(crate) async fn told(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody can tell it any more: time to stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}
