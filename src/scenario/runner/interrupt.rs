//! Ctrl-C: the first ends the run in good order, the second ends the program at once.
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// As shells report a program that SIGINT has ended.
const ENDED_BY_SIGINT: i32 = 130;

/// Becomes true at the first Ctrl-C, or SIGTERM.
pub(super) fn listen() -> watch::Receiver<bool> {
    let (interrupted, listener) = watch::channel(false);
    let signals = signal(SignalKind::interrupt()).and_then(|first| Ok((first, signal(SignalKind::terminate())?)));
    match signals {
        Ok((mut interrupt, mut terminate)) => {
            tokio::spawn(async move {
                while !*interrupted.borrow() {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                        // The run is over.
                        () = interrupted.closed() => return,
                    }
                    eprintln!("Interrupted: healing and stopping. Once more ends at once.");
                    interrupted.send_replace(true);
                }
                interrupt.recv().await;
                // Children die with their parent.
                std::process::exit(ENDED_BY_SIGINT);
            });
        }
        Err(error) => {
            tracing::warn!(%error, "Ctrl-C will end the program at once");
            // Kept open, or the receiver would take it for the end.
            tokio::spawn(async move { interrupted.closed().await });
        }
    }
    listener
}
