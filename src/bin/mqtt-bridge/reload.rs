//! SIGHUP: the configuration is read and checked again; one that is wrong changes nothing.
use std::path::{Path, PathBuf};

use mqtt_bridge::bridge::config;
use mqtt_bridge::bridge::log::UNLIMITED;
use mqtt_bridge::bridge::supervisor::Reload;
use sd_notify::NotifyState;
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot};

/// Reloads at each signal until nobody listens any more. Signals that come meanwhile are one.
pub(crate) async fn on_hangup(mut hangup: Signal, file: PathBuf, supervisor: mpsc::Sender<Reload>) {
    while hangup.recv().await.is_some() {
        tracing::info!(event = "reload", "reload: reading {}", file.display());
        notify_reloading();
        if !reload(&file, &supervisor).await {
            return;
        }
        notify(&[NotifyState::Ready]);
    }
}

/// False where the supervisor has ended.
async fn reload(file: &Path, supervisor: &mpsc::Sender<Reload>) -> bool {
    let path = file.to_owned();
    // Reading may take its time; the sockets have the only thread.
    let loaded = match tokio::task::spawn_blocking(move || config::load(&path)).await {
        Ok(Ok(loaded)) => loaded,
        Ok(Err(error)) => {
            tracing::error!(event = "reload", "reload: refused, everything goes on as before: {error}");
            return true;
        }
        Err(error) => {
            tracing::error!(event = "reload", "reload: reading failed, everything goes on as before: {error}");
            return true;
        }
    };
    let config = loaded.config().clone();
    for warning in config::warnings(&config) {
        tracing::warn!(target: UNLIMITED, event = "configuration", "{warning}");
    }
    let (done, applied) = oneshot::channel();
    if supervisor.send(Reload { config, done }).await.is_err() {
        return false;
    }
    // Dropped when it is done.
    let _ = applied.await;
    true
}

/// Type=notify-reload wants the time at which it begins, too.
fn notify_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!("reload: the monotonic clock: {error}"),
    }
}

/// Says it to systemd, where that has started us.
fn notify(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(false, states) {
        tracing::warn!("telling systemd: {error}");
    }
}
