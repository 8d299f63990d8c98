//! Waiting for requests, and not for ever. The writer's thread has no timers of tokio's.
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Receives what is there, at least one and at most `limit`; 0: every sender is gone; `None`: nothing came in this time.
pub(super) fn receive_within<T>(
    from: &mut mpsc::Receiver<T>,
    into: &mut Vec<T>,
    limit: usize,
    patience: Duration,
) -> Option<usize> {
    let until = Instant::now() + patience;
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(received) = from.poll_recv_many(&mut context, into, limit) {
            return Some(received);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        // Ends early for no reason at times; then it is asked once more than it need be.
        std::thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_receives_what_is_there_and_what_comes_and_gives_up_and_ends() {
        let (to, mut from) = mpsc::channel(8);
        let mut into = Vec::new();
        assert_eq!(receive_within(&mut from, &mut into, 8, Duration::from_millis(5)), None);
        to.blocking_send(1).unwrap();
        to.blocking_send(2).unwrap();
        assert_eq!(receive_within(&mut from, &mut into, 8, Duration::ZERO), Some(2));
        let patience = Duration::from_secs(60);
        let begun = Instant::now();
        let sender = std::thread::spawn(move || to.blocking_send(3).unwrap());
        assert_eq!(receive_within(&mut from, &mut into, 8, patience), Some(1), "woken");
        sender.join().unwrap();
        assert_eq!(receive_within(&mut from, &mut into, 8, patience), Some(0), "its sender is gone");
        assert!(begun.elapsed() < patience);
        assert_eq!(into, [1, 2, 3]);
    }
}
