//! What happens where the limits are reached, with the writer's own thread.
use super::*;

const ONE: BridgeId = BridgeId(1);
const TWO: BridgeId = BridgeId(2);

/// A writer with two bridges, of which the second is never full.
struct World {
    requests: mpsc::Sender<Request>,
    rings: [SharedRing; 2],
    counters: Shared,
    clock: Clock,
    thread: std::thread::JoinHandle<()>,
}

struct Publisher {
    /// The writer's end is waited for while publishers are still there.
    requests: mpsc::WeakSender<Request>,
    clock: Clock,
    answer: Answer,
    answers: mpsc::UnboundedReceiver<Vec<Written>>,
    answered: Vec<Written>,
}

impl World {
    fn new(limits: Limits) -> Self {
        let mut cache = Memory::default();
        assert_eq!(["one", "two"].map(|name| cache.bridge(name).unwrap().0), [ONE, TWO]);
        let rings = [ONE, TWO].map(|_| SharedRing::new(Ring::new(1000, 1 << 20, [])));
        rings.iter().for_each(|ring| ring.lock().refill(Vec::new(), true));
        let (counters, clock) = (Shared::default(), Clock::start(Duration::ZERO));
        let outlets = HashMap::from([
            (ONE, Outlet { limits, ring: rings[0].clone() }),
            (TWO, Outlet { limits: Limits::NONE, ring: rings[1].clone() }),
        ]);
        let (writer, requests) = Writer::new(cache, outlets, counters.clone(), clock).unwrap();
        let thread = std::thread::spawn(move || writer.run());
        Self { requests, rings, counters, clock, thread }
    }

    fn publisher(&self) -> Publisher {
        let (answer, answers) = Answer::channel();
        let (requests, clock) = (self.requests.downgrade(), self.clock);
        Publisher { requests, clock, answer, answers, answered: Vec::new() }
    }

    /// What is dropped for a reason, and what waits; G7 must hold.
    fn counted(&self, reason: DropReason) -> (u64, u64) {
        let counters = self.counters.lock();
        let columns = &counters.bridges[&ONE];
        let (left, right) = columns.balance();
        assert_eq!(left, right, "G7: {columns:?}");
        (columns.dropped.get(&reason).copied().unwrap_or_default(), columns.queued)
    }

    fn taken(&self) -> Vec<i64> {
        std::iter::from_fn(|| self.rings[0].lock().take()).map(|delivery| delivery.seq.0).collect()
    }

    /// The forwarder is done with what it has taken.
    fn deliver(&self, seq: i64) {
        self.counters.lock().bridges.entry(ONE).or_default().take(1);
        let step = Progress::Removed(Outcome::Delivered);
        let mut forwarder = self.publisher();
        forwarder.ask(vec![Write::Progress { bridge: ONE, seq: Seq(seq), step }]);
        forwarder.wait(1);
    }

    fn end(self) {
        drop(self.requests);
        self.thread.join().unwrap();
    }
}

impl Publisher {
    fn store(&self, bridge: BridgeId, qos: QoS) -> Write {
        let message = Arc::new(Message::new("t", "12345", qos));
        let to = NewDelivery {
            bridge,
            topic: message.topic.clone(),
            qos,
            retain: false,
            when_full: None,
            identifiers: None,
        };
        let received_at = self.clock.now();
        let deliveries = vec![to];
        Write::Store(Box::new(Store {
            seq: Seq::default(),
            message,
            received_at,
            deliveries,
            received_id: None,
            publisher: None,
            retained: false,
        }))
    }

    fn ask(&mut self, writes: Vec<Write>) {
        let request = Request::Write { writes, answer: self.answer.clone(), may_wait: true };
        self.requests.upgrade().unwrap().blocking_send(request).unwrap();
    }

    fn publish(&mut self, messages: usize) {
        self.ask((0..messages).map(|_| self.store(ONE, QoS::AtLeastOnce)).collect());
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

fn limits(when_full: WhenFull) -> Limits {
    Limits { max_messages: 3, when_full, cache_qos0: true, ..Limits::NONE }
}

#[test]
fn the_oldest_go_but_not_what_is_in_flight_nor_what_is_better() {
    let world = World::new(limits(WhenFull::DropOldest));
    let mut publisher = world.publisher();
    publisher.publish(3);
    publisher.wait(3);
    let first = world.rings[0].lock().take().unwrap();
    assert_eq!(first.seq, Seq(1));
    publisher.publish(1);
    publisher.wait(4);
    assert_eq!(world.counted(DropReason::Evicted), (1, 3));
    // One of QoS 0 displaces nothing, and goes first itself.
    publisher.ask(vec![publisher.store(ONE, QoS::AtMostOnce)]);
    publisher.wait(5);
    assert_eq!((world.counted(DropReason::Full).0, world.taken()), (1, vec![3, 4]));
    // Everything is in flight now.
    publisher.publish(1);
    publisher.wait(6);
    assert_eq!(publisher.answered[5], Err(ReasonCode::QUOTA_EXCEEDED));
    assert_eq!(world.counted(DropReason::Evicted).0, 1);
    world.end();
}

#[test]
fn of_more_than_fits_in_one_request_the_last_stay() {
    let world = World::new(limits(WhenFull::DropOldest));
    let mut publisher = world.publisher();
    publisher.publish(2);
    publisher.wait(2);
    publisher.publish(10);
    publisher.wait(12);
    assert!(publisher.answered.iter().all(Result::is_ok));
    assert_eq!(world.counted(DropReason::Evicted), (9, 3));
    assert_eq!(world.counters.lock().bridges[&ONE].cached, 3);
    assert_eq!(world.taken(), [10, 11, 12]);
    let by_topic: Vec<_> =
        world.counters.lock().bridges[&ONE].dropped_topics.iter().map(|(topic, ..)| topic.to_owned()).collect();
    assert_eq!(by_topic, ["t"]);
    world.end();
}

#[test]
fn what_is_taken_is_never_evicted_however_close_it_was() {
    let world = World::new(limits(WhenFull::DropOldest));
    let ring = world.rings[0].clone();
    let stop = Arc::new(AtomicBool::new(false));
    let forwarder = {
        let (requests, counters, stop) = (world.requests.clone(), world.counters.clone(), stop.clone());
        std::thread::spawn(move || {
            let (answer, mut answers) = Answer::channel();
            let mut taken = 0;
            while !stop.load(Ordering::SeqCst) || ring.lock().near() != crate::bridge::core::ring::Near::Nothing {
                let Some(delivery) = ring.lock().take() else {
                    std::thread::yield_now();
                    continue;
                };
                taken += 1;
                counters.lock().bridges.entry(ONE).or_default().take(1);
                let step = Progress::Removed(Outcome::Delivered);
                let writes = vec![Write::Progress { bridge: ONE, seq: delivery.seq, step }];
                requests.blocking_send(Request::Write { writes, answer: answer.clone(), may_wait: false }).unwrap();
                answers.blocking_recv().unwrap();
            }
            taken
        })
    };
    let mut publisher = world.publisher();
    for _ in 0..400 {
        publisher.publish(5);
    }
    publisher.wait(2000);
    stop.store(true, Ordering::SeqCst);
    let taken: u64 = forwarder.join().unwrap();
    let (evicted, queued) = world.counted(DropReason::Evicted);
    let columns = world.counters.lock().bridges[&ONE].clone();
    // Had one been both, it would be counted twice, and a row removed that was not there.
    assert_eq!((queued, columns.in_flight, columns.cached), (0, 0, 0), "{columns:?}");
    let refused = publisher.answered.iter().filter(|written| written.is_err()).count() as u64;
    assert_eq!((taken + evicted + refused, columns.delivered), (2000, taken));
    assert!(evicted > 0 && taken > 0, "nothing raced: {taken} taken, {evicted} evicted");
    world.end();
}

#[test]
fn a_blocked_publisher_waits_in_its_order_and_blocks_nobody_else() {
    let world = World::new(limits(WhenFull::Block));
    let (mut first, mut second, mut other) = (world.publisher(), world.publisher(), world.publisher());
    first.publish(5);
    first.wait(3);
    // What the same connection asks for stays behind, even where it has room.
    first.ask(vec![first.store(TWO, QoS::AtLeastOnce)]);
    second.publish(1);
    other.ask(vec![other.store(TWO, QoS::AtLeastOnce), other.store(ONE, QoS::AtMostOnce)]);
    other.wait(2);
    assert_eq!((first.heard(), second.heard()), (3, 0));
    assert_eq!(world.counted(DropReason::Full), (1, 3), "QoS 0 cannot wait");
    assert_eq!(world.counters.lock().blocked, 2);
    assert_eq!(world.taken(), [1, 2, 3]);
    world.deliver(1);
    first.wait(4);
    assert_eq!(second.heard(), 0);
    // Whoever got some goes behind.
    world.deliver(2);
    second.wait(1);
    assert_eq!(first.heard(), 4);
    world.deliver(3);
    first.wait(6);
    soon(|| (world.counters.lock().blocked == 0).then_some(()));
    assert!([&first, &second].iter().all(|publisher| publisher.answered.iter().all(Result::is_ok)));
    assert_eq!(world.taken().len(), 3);
    world.end();
}

#[test]
fn a_connection_that_ends_waits_no_longer_and_what_it_asked_for_besides_is_done() {
    let world = World::new(limits(WhenFull::Block));
    let mut publisher = world.publisher();
    publisher.publish(4);
    let origin = crate::bridge::delivery::Origin::Local("c".into());
    publisher.ask(vec![Write::Forget { origin, packet_id: 1 }]);
    publisher.wait(3);
    world.requests.blocking_send(Request::Release { answer: publisher.answer.clone() }).unwrap();
    publisher.wait(5);
    assert_eq!(publisher.answered[3..], [Err(ReasonCode::QUOTA_EXCEEDED), Ok(Applied::Done)]);
    assert_eq!(world.counters.lock().bridges[&ONE].rejected, 1);
    // One that is gone altogether does not hold up those behind it.
    let (mut gone, mut next) = (world.publisher(), world.publisher());
    gone.publish(1);
    next.publish(1);
    soon(|| (world.counters.lock().blocked == 2).then_some(()));
    drop(gone);
    let seq = world.taken()[0];
    world.deliver(seq);
    next.wait(1);
    // Nor does the end of the process wait for room.
    let mut last = world.publisher();
    last.publish(1);
    drop((publisher, next, last));
    world.end();
}

#[test]
fn what_is_too_old_leaves_while_nothing_else_happens_and_makes_room() {
    let age = Duration::from_millis(200);
    let world = World::new(Limits { max_age: Some(age), ..limits(WhenFull::Block) });
    let mut publisher = world.publisher();
    publisher.publish(3);
    publisher.wait(3);
    let first = world.rings[0].lock().take().unwrap();
    publisher.publish(1);
    let tick = || world.requests.blocking_send(Request::Chores).unwrap();
    let begun = Instant::now();
    soon(|| {
        tick();
        (publisher.heard() == 4).then_some(())
    });
    assert!(begun.elapsed() >= age / 2, "{:?}", begun.elapsed());
    assert_eq!(world.counted(DropReason::Expired).0, 2, "what is in flight does not expire any more");
    assert_eq!((first.seq, world.taken()), (Seq(1), vec![4]));
    world.end();
}

#[test]
fn where_a_refusal_ends_the_connection_nothing_after_it_is_taken() {
    let world = World::new(limits(WhenFull::Reject));
    let mut publisher = world.publisher();
    publisher.answer.end_with_a_refusal();
    publisher.publish(4);
    publisher.wait(4);
    world.taken();
    world.deliver(1);
    // There is room now, but the fourth will come again, and before this one.
    publisher.publish(1);
    publisher.wait(5);
    let stored: Vec<bool> = publisher.answered.iter().map(Result::is_ok).collect();
    assert_eq!(stored, [true, true, true, false, false]);
    let mut again = world.publisher();
    again.publish(1);
    again.wait(1);
    assert!(again.answered[0].is_ok());
    drop((publisher, again));
    world.end();
}

/// The writer one batch at a time: a queue of so many bytes, and what comes at once for it. Who waits in the end?
fn blocked_after(max_bytes: u64, batch: Vec<Write>) -> usize {
    let mut cache = Memory::default();
    assert_eq!(cache.bridge("one").unwrap().0, ONE);
    let ring = SharedRing::new(Ring::new(1000, 1 << 20, []));
    ring.lock().refill(Vec::new(), true);
    let outlets = HashMap::from([(ONE, Outlet { limits: Limits { max_bytes, ..Limits::NONE }, ring })]);
    let mut writer = stepped::Stepped::new(cache, outlets, Shared::default(), None, Duration::ZERO);
    let lines: Vec<stepped::Line> = batch.iter().map(|_| stepped::Line::default()).collect();
    let requests = lines.iter().zip(batch).map(|(line, write)| line.write(vec![write], true));
    writer.begin(requests.collect(), Duration::ZERO);
    writer.finish(true, Duration::ZERO);
    writer.blocked()
}

fn of_bytes(bytes: usize, when_full: WhenFull, received_id: Option<(Origin, u16)>) -> Write {
    let message = Arc::new(Message::new("t", vec![0; bytes], QoS::ExactlyOnce));
    let (topic, qos) = (message.topic.clone(), message.qos);
    let deliveries =
        vec![NewDelivery { bridge: ONE, topic, qos, retain: false, when_full: Some(when_full), identifiers: None }];
    Write::Store(Box::new(Store {
        seq: Seq(0),
        message,
        received_at: Duration::ZERO,
        deliveries,
        received_id,
        publisher: None,
        retained: false,
    }))
}

#[test]
fn what_comes_and_goes_in_one_transaction_makes_room_for_those_who_wait() {
    let [large, medium, small] = [600, 300, 250].map(|bytes| move |when_full| of_bytes(bytes, when_full, None));
    let (oldest, block) = (WhenFull::DropOldest, WhenFull::Block);
    assert_eq!(blocked_after(800, vec![large(oldest), medium(block)]), 1);
    // The large one goes for the small one, and the medium one fits as well.
    assert_eq!(blocked_after(800, vec![large(oldest), medium(block), small(oldest)]), 0);
    // A repetition takes no room after all.
    let repeated = || of_bytes(250, block, Some((Origin::Local("c".into()), 1)));
    assert_eq!(blocked_after(800, vec![repeated(), repeated(), medium(block)]), 0);
}
