//! `durability: deferred`, with the writer's own thread. Where nothing is to be committed for its age, it never is old
//! enough within a test.
use super::*;

const ONE: BridgeId = BridgeId(1);
const TWO: BridgeId = BridgeId(2);
const NEVER: Duration = Duration::from_secs(3600);

struct World {
    requests: mpsc::Sender<Request>,
    rings: [SharedRing; 2],
    counters: Shared,
    full: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

struct Connection {
    /// The writer's end is waited for while connections are still there.
    requests: mpsc::WeakSender<Request>,
    may_wait: bool,
    answer: Answer,
    answers: mpsc::UnboundedReceiver<Vec<Written>>,
    answered: Vec<Written>,
}

impl World {
    /// Two bridges whose links are up.
    fn new(commit_after: Duration, limits: Limits, ring: usize) -> Self {
        let full = Arc::new(AtomicBool::new(false));
        let mut cache = Fragile { cache: Memory::default(), full: full.clone(), sessions: Arc::default() };
        assert_eq!(["one", "two"].map(|name| cache.bridge(name).unwrap().0), [ONE, TWO]);
        let rings = [ONE, TWO].map(|_| SharedRing::new(Ring::new(ring, 1 << 20, [])));
        for ring in &rings {
            ring.lock().refill(Vec::new(), true);
            ring.lock().set_link_up(true);
        }
        let counters = Shared::default();
        let outlets = [ONE, TWO].into_iter().zip(&rings);
        let outlets = outlets.map(|(bridge, ring)| (bridge, Outlet { limits, ring: ring.clone() })).collect();
        let (writer, requests) = Writer::new(cache, outlets, counters.clone(), Clock::start(Duration::ZERO)).unwrap();
        let thread = std::thread::spawn(move || writer.deferring(commit_after).run());
        Self { requests, rings, counters, full, thread }
    }

    fn patient() -> Self {
        Self::new(NEVER, Limits::NONE, 1000)
    }

    fn connection(&self, may_wait: bool) -> Connection {
        let (answer, answers) = Answer::channel();
        Connection { requests: self.requests.downgrade(), may_wait, answer, answers, answered: Vec::new() }
    }

    fn publisher(&self) -> Connection {
        self.connection(true)
    }

    /// The forwarder takes the next, which must be this one.
    fn take(&self, bridge: BridgeId, seq: i64) {
        let ring = &self.rings[bridge.0 as usize - 1];
        let taken = soon(|| ring.lock().take());
        assert_eq!(taken.seq, Seq(seq));
        self.counters.lock().bridges.entry(bridge).or_default().take(1);
    }

    /// The forwarder reports a step of what it has taken.
    fn report(&self, bridge: BridgeId, seq: i64, step: Progress) {
        let mut forwarder = self.connection(false);
        forwarder.ask(vec![Write::Progress { bridge, seq: Seq(seq), step }]);
        forwarder.wait(1);
    }

    fn deliver(&self, bridge: BridgeId, seq: i64) {
        self.report(bridge, seq, Progress::Removed(Outcome::Delivered));
    }

    fn ask(&self, request: Request) {
        self.requests.blocking_send(request).unwrap();
    }

    /// Commits, and rows of the two bridges; G7 must hold.
    fn written(&self) -> (u64, [u64; 2]) {
        let counters = self.counters.lock();
        let rows = [ONE, TWO].map(|bridge| {
            let columns = counters.bridges.get(&bridge).cloned().unwrap_or_default();
            let (left, right) = columns.balance();
            assert_eq!(left, right, "G7: {columns:?}");
            columns.cached
        });
        (counters.commits, rows)
    }

    fn until_deferred(&self, messages: u64) {
        soon(|| (self.counters.lock().deferred == messages).then_some(()));
    }

    fn end(self) -> Shared {
        drop(self.requests);
        self.thread.join().unwrap();
        self.counters
    }
}

fn store(bridges: &[BridgeId], qos: QoS) -> Write {
    let message = Arc::new(Message::new("t", "12345", qos));
    let to = |bridge: &BridgeId| {
        let topic = message.topic.clone();
        NewDelivery { bridge: *bridge, topic, qos, retain: false, when_full: None, identifiers: None }
    };
    let deliveries = bridges.iter().map(to).collect();
    // Held for long already, if its disk fails.
    let (seq, received_at) = (Seq::default(), Duration::ZERO);
    Write::Store(Box::new(Store {
        seq,
        message,
        received_at,
        deliveries,
        received_id: None,
        publisher: None,
        retained: false,
    }))
}

impl Connection {
    fn ask(&mut self, writes: Vec<Write>) {
        let request = Request::Write { writes, answer: self.answer.clone(), may_wait: self.may_wait };
        self.requests.upgrade().unwrap().blocking_send(request).unwrap();
    }

    /// At QoS 1.
    fn publish(&mut self, bridges: &[BridgeId], messages: usize) {
        self.ask((0..messages).map(|_| store(bridges, QoS::AtLeastOnce)).collect());
    }

    fn heard(&mut self) -> usize {
        while let Ok(written) = self.answers.try_recv() {
            self.answered.extend(written);
        }
        self.answered.len()
    }

    fn wait(&mut self, answers: usize) {
        soon(|| (self.heard() >= answers).then_some(()));
        assert_eq!(self.answered.len(), answers);
    }
}

#[test]
fn what_the_remote_acknowledges_is_never_written_and_the_answers_keep_their_order() {
    let world = World::patient();
    let mut publisher = world.publisher();
    publisher.publish(&[ONE], 3);
    (1..=3).for_each(|seq| world.take(ONE, seq));
    world.until_deferred(3);
    world.deliver(ONE, 1);
    publisher.wait(1);
    world.deliver(ONE, 3);
    // What matches no forward needs no commit, and still is answered in its turn.
    publisher.publish(&[], 1);
    world.until_deferred(1);
    assert_eq!(publisher.heard(), 1, "the second is neither acknowledged nor committed");
    world.deliver(ONE, 2);
    publisher.wait(4);
    assert_eq!(publisher.answered, [Ok(Applied::Done); 4]);
    assert_eq!(world.written(), (0, [0, 0]));
    assert_eq!(world.end().lock().bridges[&ONE].delivered, 3);
}

#[test]
fn what_the_remote_does_not_acknowledge_in_time_is_committed() {
    let world = World::new(Duration::from_millis(50), Limits::NONE, 1000);
    let mut publisher = world.publisher();
    let begun = Instant::now();
    publisher.publish(&[ONE], 2);
    publisher.wait(2);
    assert!(begun.elapsed() >= Duration::from_millis(50), "not before its time");
    assert_eq!(world.written(), (1, [2, 0]));
    // The forwarder goes on as if nothing had happened.
    world.take(ONE, 1);
    world.deliver(ONE, 1);
    assert_eq!(world.written(), (2, [1, 0]));
    world.end();
}

#[test]
fn qos_2_is_committed_at_once_and_takes_along_what_stands_before_it() {
    let world = World::patient();
    let (mut publisher, mut same_bridge, mut other) = (world.publisher(), world.publisher(), world.publisher());
    other.publish(&[TWO], 1);
    same_bridge.publish(&[ONE], 1);
    publisher.publish(&[TWO, ONE], 1);
    world.until_deferred(3);
    other.publish(&[TWO], 1);
    publisher.ask(vec![store(&[ONE], QoS::AtLeastOnce), store(&[ONE], QoS::ExactlyOnce)]);
    publisher.wait(3);
    same_bridge.wait(1);
    // Older than what goes to both bridges.
    other.wait(1);
    assert_eq!(world.written(), (1, [4, 2]));
    world.until_deferred(1);
    (2..=3).for_each(|seq| world.take(ONE, seq));
    world.end();
}

#[test]
fn a_lost_link_commits_for_the_bridges_that_have_not_acknowledged() {
    let world = World::patient();
    let mut publisher = world.publisher();
    publisher.publish(&[ONE, TWO], 1);
    publisher.publish(&[ONE], 1);
    (1..=2).for_each(|seq| world.take(ONE, seq));
    world.deliver(ONE, 1);
    assert_eq!(publisher.heard(), 0, "the other bridge has not");
    world.rings[1].lock().set_link_up(false);
    world.ask(Request::LinkLost { bridge: TWO });
    publisher.wait(1);
    assert_eq!(world.written(), (1, [0, 1]));
    // And nothing more is deferred for it, which takes along what goes to the other as well.
    publisher.publish(&[ONE, TWO], 1);
    publisher.wait(3);
    assert_eq!(world.written(), (2, [2, 2]));
    world.end();
}

#[test]
fn what_the_remote_refuses_for_good_becomes_a_row_and_what_expires_does_not() {
    let world = World::patient();
    let mut publisher = world.publisher();
    publisher.publish(&[ONE], 2);
    (1..=2).for_each(|seq| world.take(ONE, seq));
    world.report(ONE, 1, Progress::Removed(Outcome::Dropped(DropReason::Expired)));
    publisher.wait(1);
    assert_eq!(world.written(), (0, [0, 0]));
    world.report(ONE, 2, Progress::Quarantined(ReasonCode::NOT_AUTHORIZED));
    publisher.wait(2);
    assert_eq!(world.written(), (1, [0, 0]));
    let columns = world.end().lock().bridges[&ONE].clone();
    assert_eq!((columns.quarantined, columns.dropped[&DropReason::Expired], columns.in_flight), (1, 1, 0));
}

#[test]
fn whoever_leaves_is_answered_and_the_end_commits_the_rest() {
    let world = World::patient();
    let (mut leaving, mut staying) = (world.publisher(), world.publisher());
    staying.publish(&[TWO], 1);
    leaving.publish(&[ONE], 1);
    world.until_deferred(2);
    world.ask(Request::Release { answer: leaving.answer.clone() });
    leaving.wait(1);
    assert_eq!((world.written(), staying.heard()), ((1, [1, 0]), 0));
    let counters = world.end();
    staying.wait(1);
    assert_eq!(counters.lock().bridges[&TWO].cached, 1);
}

#[test]
fn what_finds_no_room_in_the_ring_is_committed_and_read_back_in_order() {
    let world = World::new(NEVER, Limits::NONE, 1);
    let mut publisher = world.publisher();
    publisher.publish(&[ONE], 3);
    publisher.wait(3);
    assert_eq!(world.written(), (1, [3, 0]));
    world.take(ONE, 1);
    for seq in [2, 3] {
        let (after, messages, bytes) = world.rings[0].lock().wants_page().unwrap();
        world.ask(Request::Page { bridge: ONE, after, messages, bytes });
        world.take(ONE, seq);
    }
    world.end();
}

#[test]
fn limits_hold_for_what_is_deferred_too_and_half_of_the_room_is_for_rows() {
    let world = World::new(NEVER, Limits { max_messages: 4, ..Limits::NONE }, 1000);
    let mut publisher = world.publisher();
    publisher.publish(&[ONE], 2);
    world.until_deferred(2);
    assert_eq!(world.written(), (0, [0, 0]));
    publisher.publish(&[ONE], 3);
    publisher.wait(5);
    assert_eq!(publisher.answered[3..], [Ok(Applied::Done), Err(ReasonCode::QUOTA_EXCEEDED)]);
    assert_eq!(world.written(), (1, [4, 0]));
    world.end();
}

#[test]
fn a_failing_disk_holds_up_nobody_whose_remote_is_there() {
    let world = World::patient();
    let mut publisher = world.publisher();
    world.full.store(true, Ordering::SeqCst);
    publisher.publish(&[ONE], 2);
    (1..=2).for_each(|seq| world.take(ONE, seq));
    world.deliver(ONE, 1);
    publisher.wait(1);
    // The link is lost, and what cannot be committed is refused in the end; it was held for long already.
    world.rings[0].lock().set_link_up(false);
    world.ask(Request::LinkLost { bridge: ONE });
    publisher.wait(2);
    assert_eq!(publisher.answered, [Ok(Applied::Done), Err(ReasonCode::QUOTA_EXCEEDED)]);
    assert!(world.counters.lock().cache_error.is_some());
    assert_eq!(world.written(), (0, [0, 0]));
    // It still is in order where it is, and is kept as soon as that is possible.
    world.full.store(false, Ordering::SeqCst);
    soon(|| (world.written() == (1, [1, 0])).then_some(()));
    world.deliver(ONE, 2);
    assert_eq!(world.written(), (2, [0, 0]));
    assert_eq!(publisher.heard(), 2, "answered once");
    world.end();
}

#[test]
fn what_the_remote_takes_while_the_disk_fails_is_acknowledged() {
    let world = World::patient();
    world.full.store(true, Ordering::SeqCst);
    let mut publisher = world.publisher();
    let Write::Store(mut young) = store(&[ONE], QoS::AtLeastOnce) else { unreachable!() };
    young.received_at = NEVER * 1_000_000;
    publisher.ask(vec![Write::Store(young)]);
    world.take(ONE, 1);
    world.ask(Request::LinkLost { bridge: ONE });
    soon(|| world.counters.lock().cache_error.is_some().then_some(()));
    assert_eq!(publisher.heard(), 0);
    world.deliver(ONE, 1);
    publisher.wait(1);
    assert_eq!(publisher.answered, [Ok(Applied::Done)]);
    world.full.store(false, Ordering::SeqCst);
    world.end();
}
