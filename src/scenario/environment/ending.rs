//! How a process or a container has ended, for those who ask and those who wait.
use tokio::sync::watch;

/// The end of something that runs: `None` until it has ended.
#[derive(Debug, Clone)]
pub(super) struct Ending(watch::Receiver<Option<String>>);

impl Ending {
    /// Of something that runs; who attends to it says in what way it ended.
    pub(super) fn awaited() -> (watch::Sender<Option<String>>, Self) {
        let (sender, receiver) = watch::channel(None);
        (sender, Self(receiver))
    }

    /// Of something that does not run.
    pub(super) fn already(status: &str) -> Self {
        Self(watch::channel(Some(status.to_owned())).1)
    }

    /// How it ended, if it did.
    pub(super) fn seen(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// Waits for it.
    pub(super) async fn wait(&self) -> String {
        let mut ended = self.0.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(status) => status.clone().unwrap_or_default(),
            Err(_) => "nobody attends to it any more".into(),
        }
    }
}
