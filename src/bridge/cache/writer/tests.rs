use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::oneshot;

use super::super::memory::Memory;
use super::super::{Page, Usage};
use super::*;
use crate::bridge::config::WhenFull;
use crate::bridge::core::admission::Limits;
use crate::bridge::core::forwarder::Restored;
use crate::bridge::core::retained::Entry;
use crate::bridge::core::ring::Ring;
use crate::bridge::delivery::{
    DropReason, Held, KeptWill, Kind, NewDelivery, Origin, Outcome, Progress, Session, Store, Time, Waiting,
};
use crate::bridge::message::{Message, QoS};

mod bounded;
mod deferred;

const PATIENCE: Duration = Duration::from_secs(10);

/// A cache whose disk is full as long as it is told so; like SQLite it does not notice where nothing is written.
struct Fragile {
    cache: Memory,
    full: Arc<AtomicBool>,
    /// Sessions that were tried to be written.
    sessions: Arc<AtomicUsize>,
}

impl Cache for Fragile {
    fn bridge(&mut self, name: &str) -> Result<(BridgeId, Restored), CacheError> {
        self.cache.bridge(name)
    }
    fn apply_each(&mut self, writes: &[&Write]) -> Result<Vec<Applied>, CacheError> {
        let sessions = writes.iter().filter(|write| matches!(write, Write::KeepSession { .. })).count();
        self.sessions.fetch_add(sessions, Ordering::SeqCst);
        if self.full.load(Ordering::SeqCst) && writes.iter().any(|write| write.changes_something()) {
            return Err(CacheError::Full);
        }
        self.cache.apply_each(writes)
    }
    fn page(&mut self, of: BridgeId, after: Seq, messages: usize, bytes: usize) -> Result<Page, CacheError> {
        self.cache.page(of, after, messages, bytes)
    }
    fn waiting(&mut self, of: BridgeId, kind: Kind, after: Seq, limit: usize) -> Result<Vec<Waiting>, CacheError> {
        self.cache.waiting(of, kind, after, limit)
    }
    fn oldest(&mut self, of: BridgeId) -> Result<Option<Time>, CacheError> {
        self.cache.oldest(of)
    }
    fn usage(&self, bridge: BridgeId) -> Usage {
        self.cache.usage(bridge)
    }
    fn session(&mut self, client_id: &str) -> Result<Option<Session>, CacheError> {
        self.cache.session(client_id)
    }
    fn sessions(&mut self) -> Result<Vec<Arc<str>>, CacheError> {
        self.cache.sessions()
    }
    fn held(&mut self, queue: BridgeId) -> Result<Vec<Held>, CacheError> {
        self.cache.held(queue)
    }
    fn ended(&mut self) -> Result<Option<BridgeId>, CacheError> {
        self.cache.ended()
    }
    fn retained_topics(&mut self) -> Result<Vec<(Arc<str>, Entry)>, CacheError> {
        self.cache.retained_topics()
    }
    fn retained(&mut self, topic: &str) -> Result<Option<(Seq, Arc<Message>, Time)>, CacheError> {
        self.cache.retained(topic)
    }
    fn wills(&mut self) -> Result<Vec<KeptWill>, CacheError> {
        self.cache.wills()
    }
    fn latest(&mut self) -> Result<(Seq, Time), CacheError> {
        self.cache.latest()
    }
    fn close(&mut self) -> Result<(), CacheError> {
        self.cache.close()
    }
}

fn soon<T>(mut poll: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = poll() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "nothing came within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_full_disk_refuses_in_time_whatever_else_waits_and_is_red_until_it_has_room() {
    let full = Arc::new(AtomicBool::new(true));
    let sessions = Arc::new(AtomicUsize::new(0));
    let mut cache = Fragile { cache: Memory::default(), full: full.clone(), sessions: sessions.clone() };
    let (bridge, _) = cache.bridge("one").unwrap();
    let ring = SharedRing::new(Ring::new(10, 1000, []));
    let limits = Limits { max_messages: 1, max_bytes: 1000, ..Limits::NONE };
    let (counters, clock) = (Shared::default(), Clock::start(Duration::ZERO));
    let outlets = HashMap::from([(bridge, Outlet { limits, ring })]);
    let (writer, requests) = Writer::new(cache, outlets, counters.clone(), clock).unwrap();
    let pulse = writer.pulse();
    // While the disk fails the thread does not stand still, so a service manager has no reason to end the process.
    let lives = || {
        let seen = pulse.beats();
        soon(|| (pulse.beats() > seen + 2).then_some(()));
    };
    let thread = std::thread::spawn(move || writer.run());
    let write = |writes: Vec<Write>| {
        let (answer, answers) = Answer::channel();
        requests.blocking_send(Request::Write { writes, answer, may_wait: true }).unwrap();
        answers
    };
    // Held for long already.
    let store = || {
        let message = Arc::new(Message::new("t", "x", QoS::AtLeastOnce));
        let to = NewDelivery {
            bridge,
            topic: message.topic.clone(),
            qos: message.qos,
            retain: false,
            when_full: None,
            identifiers: None,
        };
        let (seq, received_at) = (Seq::default(), Duration::ZERO);
        Write::Store(Box::new(Store {
            seq,
            message,
            received_at,
            deliveries: vec![to],
            received_id: None,
            publisher: None,
            retained: false,
        }))
    };
    let step = Progress::Removed(Outcome::Delivered);
    let mut progress = write(vec![Write::Progress { bridge, seq: Seq(7), step }]);
    for _ in 0..3 {
        let mut stored = write(vec![store()]);
        let refused = soon(|| stored.try_recv().ok());
        assert_eq!(refused, [Err(ReasonCode::QUOTA_EXCEEDED)], "nobody else's room is used up");
        assert!(sessions.swap(0, Ordering::SeqCst) > 0, "something is written over what may be in the WAL");
    }
    let (answer, mut opened) = oneshot::channel();
    let open = Request::Open { client_id: "c".into(), clean_start: true, expiry: 60, answer };
    requests.blocking_send(open).unwrap();
    assert_eq!(soon(|| opened.try_recv().ok()).map(|_| ()), Err(ReasonCode::SERVER_UNAVAILABLE));
    assert!(progress.try_recv().is_err(), "what a remote leg reports is not refused");
    lives();
    full.store(false, Ordering::SeqCst);
    assert_eq!(soon(|| progress.try_recv().ok()), [Ok(Applied::Done)]);
    soon(|| counters.lock().cache_error.is_none().then_some(()));

    // Now nothing else waits: a refusal alone does not make it green, and room does, without any request.
    full.store(true, Ordering::SeqCst);
    let mut stored = write(vec![store()]);
    assert!(soon(|| stored.try_recv().ok())[0].is_err());
    std::thread::sleep(3 * RETRY);
    assert!(counters.lock().cache_error.is_some());
    lives();
    full.store(false, Ordering::SeqCst);
    soon(|| counters.lock().cache_error.is_none().then_some(()));
    drop(requests);
    thread.join().unwrap();
}
