//! The contract of [`Cache`], tried on every implementation, and on all of them in lock-step.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::memory::Memory;
use super::sqlite::Sqlite;
use super::{Applied, Cache, Usage};
use crate::bridge::config::Synchronous;
use crate::bridge::delivery::{
    BridgeId, Delivery, DropReason, HeldPhase, Kept, KeptWill, Kind, NewDelivery, Origin, Outcome, Progress, Seq,
    Session, Store, Time, Waiting, Write,
};
use crate::bridge::message::{Message, Properties, QoS};
use crate::bridge::wire::{ReasonCode, Subscription, Will};

mod lock_step;

/// An implementation under test.
trait Subject {
    fn fresh() -> Self;
    fn cache(&mut self) -> &mut dyn Cache;
    /// Ends the process, if the implementation outlives one, and begins another.
    fn reopened(self) -> Self;
    /// Counts the rows, where [`Cache::usage`] must not.
    fn scan(&mut self, bridge: BridgeId) -> Usage;
    /// Messages that are kept, whoever they go to.
    fn messages(&mut self) -> u64;
}

impl Subject for Memory {
    fn fresh() -> Self {
        Self::default()
    }
    fn cache(&mut self) -> &mut dyn Cache {
        self
    }
    fn reopened(self) -> Self {
        self
    }
    fn scan(&mut self, bridge: BridgeId) -> Usage {
        self.usage(bridge)
    }
    fn messages(&mut self) -> u64 {
        self.kept()
    }
}

/// SQLite in a directory of its own.
struct InFile {
    directory: tempfile::TempDir,
    cache: Option<Sqlite>,
}

impl InFile {
    fn open(directory: tempfile::TempDir) -> Self {
        // Power loss is tried elsewhere; a thousand cases with a sync each would take minutes.
        let cache = Sqlite::open(&directory.path().join("cache.db"), Synchronous::Normal).unwrap();
        Self { directory, cache: Some(cache) }
    }
    fn sqlite(&mut self) -> &mut Sqlite {
        self.cache.as_mut().unwrap()
    }
}

impl Subject for InFile {
    fn fresh() -> Self {
        Self::open(tempfile::tempdir().unwrap())
    }
    fn cache(&mut self) -> &mut dyn Cache {
        self.sqlite()
    }
    fn reopened(mut self) -> Self {
        self.cache = None;
        Self::open(self.directory)
    }
    fn scan(&mut self, bridge: BridgeId) -> Usage {
        self.sqlite().scan(bridge)
    }
    fn messages(&mut self) -> u64 {
        self.sqlite().messages()
    }
}

fn at(secs: u64) -> Time {
    Duration::from_secs(secs)
}

fn message(topic: &str, payload: &'static [u8]) -> Message {
    Message::new(topic, Bytes::from_static(payload), QoS::ExactlyOnce)
}

fn store_message(seq: i64, bridges: &[BridgeId], message: Message) -> Store {
    let message = Arc::new(message);
    let to = |bridge: &BridgeId| NewDelivery {
        bridge: *bridge,
        topic: message.topic.clone(),
        qos: message.qos,
        retain: message.retain,
        when_full: None,
        identifiers: None,
    };
    let deliveries = bridges.iter().map(to).collect();
    Store {
        seq: Seq(seq),
        message,
        received_at: at(1000 + seq as u64),
        deliveries,
        received_id: None,
        publisher: None,
        retained: false,
    }
}

fn store(seq: i64, bridges: &[BridgeId]) -> Write {
    Write::Store(Box::new(store_message(seq, bridges, message("t", b"12345"))))
}

fn step(bridge: BridgeId, seq: i64, step: Progress) -> Write {
    Write::Progress { bridge, seq: Seq(seq), step }
}

const REMOVED: Progress = Progress::Removed(Outcome::Delivered);
const QUARANTINED: Progress = Progress::Quarantined(ReasonCode::NOT_AUTHORIZED);

fn bridge(subject: &mut impl Subject, name: &str) -> BridgeId {
    subject.cache().bridge(name).unwrap().0
}

fn apply(subject: &mut impl Subject, writes: &[Write]) -> Vec<Applied> {
    subject.cache().apply(writes).unwrap()
}

fn queued(subject: &mut impl Subject, bridge: BridgeId) -> Vec<Delivery> {
    let page = subject.cache().page(bridge, Seq::default(), 1000, usize::MAX).unwrap();
    assert!(page.complete);
    page.deliveries
}

fn seqs(deliveries: &[Delivery]) -> Vec<i64> {
    deliveries.iter().map(|delivery| delivery.seq.0).collect()
}

fn held(subject: &mut impl Subject, name: &str) -> BTreeSet<(i64, u16, HeldPhase)> {
    let (_, restored) = subject.cache().bridge(name).unwrap();
    restored.held.iter().map(|held| (held.delivery.seq.0, held.packet_id, held.phase)).collect()
}

fn subscription(filter: &str, qos: QoS) -> Subscription {
    Subscription {
        filter: filter.into(),
        qos,
        no_local: true,
        retain_as_published: false,
        retain_handling: 2,
        identifier: None,
    }
}

fn everything_of_a_message_is_kept<S: Subject>() {
    let mut subject = S::fresh();
    let one = bridge(&mut subject, "one");
    let properties =
        Properties { message_expiry: Some(u32::MAX), other: Bytes::from_static(b"\x26\0\x01k\0\x01v\0\xFF") };
    let original = Message { retain: true, properties, ..message("plant/ü/temperature", b"\0\x01\xFF") };
    let mut stored = store_message(7, &[one], original.clone());
    stored.deliveries[0] = NewDelivery {
        bridge: one,
        topic: "site-7/x".into(),
        qos: QoS::AtLeastOnce,
        retain: false,
        when_full: None,
        identifiers: None,
    };
    let empty = Message { payload: Bytes::new(), qos: QoS::AtMostOnce, ..message("t", b"") };
    apply(&mut subject, &[Write::Store(Box::new(stored)), Write::Store(Box::new(store_message(8, &[one], empty)))]);
    let mut subject = subject.reopened();
    let found = queued(&mut subject, one);
    let expected = Delivery {
        seq: Seq(7),
        topic: "site-7/x".into(),
        qos: QoS::AtLeastOnce,
        retain: false,
        received_at: at(1007),
        identifiers: None,
        kept: Kept::Row,
        message: Arc::new(original),
    };
    assert_eq!(found[0], expected);
    assert_eq!((found[1].message.payload.len(), found[1].message.qos), (0, QoS::AtMostOnce));
    assert_eq!(found[1].message.properties, Properties::default());
    assert_eq!(subject.cache().latest().unwrap(), (Seq(8), at(1008)));
}

fn the_latest_arrival_is_not_always_the_last_message_s<S: Subject>() {
    let mut subject = S::fresh();
    let one = bridge(&mut subject, "one");
    // It waited for room.
    let waited = Store { received_at: at(1001), ..store_message(9, &[one], message("t", b"x")) };
    apply(&mut subject, &[store(8, &[one]), Write::Store(Box::new(waited))]);
    let mut subject = subject.reopened();
    assert_eq!(subject.cache().latest().unwrap(), (Seq(9), at(1008)));
}

fn the_same_name_is_the_same_bridge_for_ever<S: Subject>() {
    let mut subject = S::fresh();
    let (one, two) = (bridge(&mut subject, "one"), bridge(&mut subject, "two"));
    assert_ne!(one, two);
    apply(&mut subject, &[Write::Established { bridge: one, identity: "a c".into() }]);
    apply(&mut subject, &[Write::Established { bridge: one, identity: "b c".into() }]);
    let mut subject = subject.reopened();
    assert_eq!(bridge(&mut subject, "two"), two);
    let (again, restored) = subject.cache().bridge("one").unwrap();
    assert_eq!((again, restored.established.as_deref()), (one, Some("b c")));
    assert_eq!(subject.cache().bridge("two").unwrap().1.established, None);
}

fn pages_are_in_order_and_bounded<S: Subject>() {
    let mut subject = S::fresh();
    let (one, two) = (bridge(&mut subject, "one"), bridge(&mut subject, "two"));
    // Six bytes each: topic and payload.
    let both = [one, two];
    let writes: Vec<Write> = (1..=9).map(|seq| store(seq, if seq % 2 == 0 { &both[1..] } else { &both })).collect();
    apply(&mut subject, &writes);
    apply(&mut subject, &[step(two, 2, Progress::Sent { packet_id: 1 }), step(two, 4, QUARANTINED)]);
    let mut page = |after, messages, bytes| {
        let page = subject.cache().page(two, Seq(after), messages, bytes).unwrap();
        (seqs(&page.deliveries), page.complete)
    };
    assert_eq!(page(0, 100, usize::MAX), (vec![1, 3, 5, 6, 7, 8, 9], true));
    assert_eq!(page(0, 3, usize::MAX), (vec![1, 3, 5], false));
    assert_eq!(page(5, 2, usize::MAX), (vec![6, 7], false));
    assert_eq!(page(0, 100, 0), (vec![1], false), "at least one");
    assert_eq!(page(0, 100, 12), (vec![1, 3, 5], false), "no further once exceeded");
    assert_eq!(page(8, 2, usize::MAX), (vec![9], true));
    assert_eq!(page(9, 2, usize::MAX), (vec![], true));
    assert_eq!(page(i64::MAX, 2, usize::MAX), (vec![], true));
}

fn waiting_rows_are_read_by_kind_without_what_is_in_flight<S: Subject>() {
    let mut subject = S::fresh();
    let (one, two) = (bridge(&mut subject, "one"), bridge(&mut subject, "two"));
    for seq in 1..=9 {
        let mut stored = store_message(seq, &[one, two], message("t", b"12345"));
        stored.deliveries[0].qos = if seq % 3 == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
        stored.deliveries[0].topic = format!("site/{seq}").into();
        apply(&mut subject, &[Write::Store(Box::new(stored))]);
    }
    apply(&mut subject, &[step(one, 1, Progress::Sent { packet_id: 1 }), step(one, 2, QUARANTINED)]);
    apply(&mut subject, &[step(one, 3, REMOVED), step(one, 4, Progress::Sent { packet_id: 2 })]);
    apply(&mut subject, &[step(one, 4, Progress::Requeued)]);
    let mut read = |kind, after, limit| {
        let waiting = subject.cache().waiting(one, kind, Seq(after), limit).unwrap();
        waiting.iter().map(|waiting| waiting.seq.0).collect::<Vec<_>>()
    };
    assert_eq!(read(Kind::Any, 0, 100), [4, 5, 6, 7, 8, 9]);
    assert_eq!(read(Kind::AtMostOnce, 0, 100), [6, 9]);
    assert_eq!(read(Kind::AtMostOnce, 6, 100), [9]);
    assert_eq!(read(Kind::Acknowledged, 4, 2), [5, 7]);
    assert_eq!(read(Kind::Any, 9, 100), [] as [i64; 0]);
    let first = subject.cache().waiting(one, Kind::Any, Seq(5), 1).unwrap().remove(0);
    let (topic, received_at) = ("site/6".into(), at(1006));
    assert_eq!(first, Waiting { seq: Seq(6), topic, qos: QoS::AtMostOnce, bytes: 6, received_at });
    let other = subject.cache().waiting(two, Kind::Any, Seq(0), 100).unwrap();
    assert_eq!((other.len(), &*other[0].topic), (9, "t"), "another bridge's are untouched");
}

fn the_oldest_waits_or_is_in_flight_and_is_not_in_quarantine<S: Subject>() {
    let mut subject = S::fresh();
    let (one, two) = (bridge(&mut subject, "one"), bridge(&mut subject, "two"));
    assert_eq!(subject.cache().oldest(one).unwrap(), None);
    apply(&mut subject, &[store(1, &[two]), store(2, &[one]), store(3, &[one]), store(4, &[one])]);
    apply(&mut subject, &[step(one, 2, Progress::Sent { packet_id: 1 }), step(one, 3, QUARANTINED)]);
    assert_eq!(subject.cache().oldest(one).unwrap(), Some(at(1002)));
    apply(&mut subject, &[step(one, 2, REMOVED)]);
    assert_eq!(subject.cache().oldest(one).unwrap(), Some(at(1004)));
    apply(&mut subject, &[step(one, 4, REMOVED)]);
    assert_eq!(subject.cache().oldest(one).unwrap(), None);
    assert_eq!(subject.cache().oldest(two).unwrap(), Some(at(1001)));
}

fn what_is_stored_and_evicted_at_once_leaves_no_trace<S: Subject>() {
    let mut subject = S::fresh();
    let (one, two) = (bridge(&mut subject, "one"), bridge(&mut subject, "two"));
    apply(&mut subject, &[store(1, &[one])]);
    let evicted = Progress::Removed(Outcome::Dropped(DropReason::Evicted));
    apply(&mut subject, &[step(one, 1, evicted), store(2, &[one]), store(3, &[one, two]), step(one, 2, evicted)]);
    assert_eq!((seqs(&queued(&mut subject, one)), seqs(&queued(&mut subject, two))), (vec![3], vec![3]));
    assert_eq!((subject.messages(), subject.cache().usage(one).messages), (1, 1));
    assert_eq!(subject.scan(one), subject.cache().usage(one));
}

/// One that is down for days: the other's position, limits and counters are its own.
fn a_bridge_that_is_behind_costs_the_other_nothing<S: Subject>() {
    let mut subject = S::fresh();
    let (up, down) = (bridge(&mut subject, "up"), bridge(&mut subject, "down"));
    for seq in 1..=100 {
        apply(&mut subject, &[store(seq, &[up, down])]);
        apply(&mut subject, &[step(up, seq, Progress::Sent { packet_id: 1 })]);
        apply(&mut subject, &[step(up, seq, Progress::Released { order: seq }), step(up, seq, REMOVED)]);
    }
    assert_eq!((subject.cache().usage(up).messages, subject.cache().usage(down).messages), (0, 100));
    assert_eq!(subject.messages(), 100, "each payload once");
    let mut subject = subject.reopened();
    assert_eq!(seqs(&queued(&mut subject, down)), (1..=100).collect::<Vec<_>>());
    let evicted = Progress::Removed(Outcome::Dropped(DropReason::Evicted));
    apply(&mut subject, &[store(101, &[up, down])]);
    apply(&mut subject, &(1..=101).map(|seq| step(down, seq, evicted)).collect::<Vec<_>>());
    assert_eq!((seqs(&queued(&mut subject, up)), subject.messages()), (vec![101], 1));
}

fn a_message_is_kept_once_and_as_long_as_one_bridge_needs_it<S: Subject>() {
    let mut subject = S::fresh();
    let (one, two) = (bridge(&mut subject, "one"), bridge(&mut subject, "two"));
    apply(&mut subject, &[store(1, &[one, two]), store(2, &[two])]);
    assert_eq!(subject.messages(), 2);
    apply(&mut subject, &[step(one, 1, REMOVED)]);
    assert_eq!((subject.messages(), seqs(&queued(&mut subject, two))), (2, vec![1, 2]));
    apply(&mut subject, &[step(two, 1, QUARANTINED)]);
    assert_eq!(subject.messages(), 2, "quarantine keeps it");
    apply(&mut subject, &[step(two, 1, REMOVED), step(two, 2, REMOVED)]);
    assert_eq!(subject.messages(), 0);
    assert_eq!(subject.cache().latest().unwrap(), (Seq(0), at(0)));
}

fn usage_is_what_a_scan_would_count<S: Subject>() {
    let mut subject = S::fresh();
    let (one, two) = (bridge(&mut subject, "one"), bridge(&mut subject, "two"));
    let usage = |messages, bytes, quarantined| Usage { messages, bytes, quarantined };
    let mut expect = |writes: &[Write], expected: Usage| {
        apply(&mut subject, writes);
        assert_eq!(subject.cache().usage(one), expected, "{writes:?}");
        assert_eq!(subject.scan(one), expected, "{writes:?}");
    };
    expect(&[store(1, &[one, two]), store(2, &[one]), store(3, &[one])], usage(3, 18, 0));
    expect(&[step(one, 1, Progress::Sent { packet_id: 1 })], usage(3, 18, 0));
    expect(&[step(one, 1, Progress::Released { order: 1 })], usage(3, 18, 0));
    expect(&[step(one, 2, QUARANTINED)], usage(2, 12, 1));
    expect(&[step(one, 2, QUARANTINED)], usage(2, 12, 1));
    expect(&[step(one, 2, Progress::Sent { packet_id: 2 })], usage(2, 12, 1));
    expect(&[step(one, 2, Progress::Requeued), step(one, 2, Progress::Requeued)], usage(3, 18, 0));
    expect(&[step(one, 2, QUARANTINED), step(one, 2, REMOVED)], usage(2, 12, 0));
    expect(&[step(one, 1, REMOVED), step(one, 1, REMOVED), step(one, 99, REMOVED)], usage(1, 6, 0));
    assert_eq!(subject.cache().usage(two), usage(1, 6, 0));
    assert_eq!(subject.cache().usage(BridgeId(99)), Usage::default());
    let mut subject = subject.reopened();
    assert_eq!(subject.cache().usage(one), usage(1, 6, 0), "without a scan after a start");
}

fn what_is_in_flight_is_restored_with_its_identifier_and_phase<S: Subject>() {
    let mut subject = S::fresh();
    let one = bridge(&mut subject, "one");
    let writes: Vec<Write> = (1..=5).map(|seq| store(seq, &[one])).collect();
    apply(&mut subject, &writes);
    let sent = |seq, packet_id| step(one, seq, Progress::Sent { packet_id });
    let released = |seq, order| step(one, seq, Progress::Released { order });
    apply(&mut subject, &[sent(1, 11), sent(2, 12), sent(3, 65535), released(3, 1), released(1, 2), released(4, 3)]);
    let mut subject = subject.reopened();
    let expected = [(1, 11, HeldPhase::Released(2)), (2, 12, HeldPhase::Sent), (3, 65535, HeldPhase::Released(1))];
    assert_eq!(held(&mut subject, "one"), expected.into());
    assert_eq!(seqs(&queued(&mut subject, one)), [4, 5], "a release of what was never sent is none");
    // The identifier of a row that goes is free for another in the same transaction.
    apply(&mut subject, &[step(one, 1, REMOVED), sent(4, 11), step(one, 3, Progress::Requeued)]);
    assert_eq!(held(&mut subject, "one"), [(2, 12, HeldPhase::Sent), (4, 11, HeldPhase::Sent)].into());
    assert_eq!(seqs(&queued(&mut subject, one)), [3, 5]);
}

fn a_repeated_received_id_writes_nothing<S: Subject>() {
    let mut subject = S::fresh();
    let one = bridge(&mut subject, "one");
    let client = Origin::Local("publisher".into());
    let from = |seq, origin: &Origin| {
        let stored = store_message(seq, &[one], message("t", b"x"));
        Write::Store(Box::new(Store { received_id: Some((origin.clone(), 7)), ..stored }))
    };
    assert_eq!(apply(&mut subject, &[from(1, &client), from(2, &client)]), [Applied::Done, Applied::Repeated]);
    let mut subject = subject.reopened();
    assert_eq!(apply(&mut subject, &[from(3, &client)]), [Applied::Repeated]);
    assert_eq!(apply(&mut subject, &[from(4, &Origin::Local("other".into()))]), [Applied::Done]);
    assert_eq!(apply(&mut subject, &[from(5, &Origin::Remote(one))]), [Applied::Done]);
    assert_eq!(seqs(&queued(&mut subject, one)), [1, 4, 5]);
    assert_eq!((subject.messages(), subject.cache().usage(one).messages), (3, 3));
    assert_eq!(subject.cache().bridge("one").unwrap().1.received_ids, [7]);
    apply(&mut subject, &[Write::Forget { origin: client.clone(), packet_id: 7 }]);
    assert_eq!(apply(&mut subject, &[from(6, &client)]), [Applied::Done]);
    apply(&mut subject, &[Write::ForgetAll { origin: Origin::Remote(one) }]);
    assert_eq!(subject.cache().bridge("one").unwrap().1.received_ids, [] as [u16; 0]);
    assert_eq!(apply(&mut subject, &[from(7, &client)]), [Applied::Repeated], "another origin's are untouched");
}

fn an_identifier_is_recorded_although_the_message_goes_nowhere<S: Subject>() {
    let mut subject = S::fresh();
    let one = bridge(&mut subject, "one");
    let stored = store_message(1, &[], message("t", b"x"));
    let nowhere = Store { received_id: Some((Origin::Remote(one), 9)), ..stored };
    apply(&mut subject, &[Write::Store(Box::new(nowhere)), store(2, &[])]);
    let mut subject = subject.reopened();
    assert_eq!(subject.cache().bridge("one").unwrap().1.received_ids, [9]);
    assert_eq!(subject.messages(), 0);
}

fn a_session_is_kept_and_ends_with_all_it_had<S: Subject>() {
    let mut subject = S::fresh();
    let client_id: Arc<str> = "publisher".into();
    let keep = |expires_at, expiry| Write::KeepSession { client_id: client_id.clone(), expires_at, expiry };
    let subscribe =
        |filter, qos| Write::Subscribe { client_id: client_id.clone(), subscription: subscription(filter, qos) };
    let unsubscribe = |filter: &str| Write::Unsubscribe { client_id: client_id.clone(), filter: filter.into() };
    apply(&mut subject, &[subscribe("early", QoS::AtMostOnce)]);
    assert_eq!(subject.cache().session("publisher").unwrap(), None);
    apply(&mut subject, &[keep(None, u32::MAX), subscribe("a", QoS::AtMostOnce), subscribe("b", QoS::ExactlyOnce)]);
    apply(&mut subject, &[subscribe("a", QoS::AtLeastOnce), unsubscribe("c"), keep(Some(at(77)), 60)]);
    let origin = Origin::Local(client_id.clone());
    let stored = store_message(1, &[], message("t", b"x"));
    apply(&mut subject, &[Write::Store(Box::new(Store { received_id: Some((origin, 3)), ..stored }))]);
    let mut subject = subject.reopened();
    let mut session = subject.cache().session("publisher").unwrap().unwrap();
    session.subscriptions.sort_by(|one, other| one.filter.cmp(&other.filter));
    let subscriptions = vec![subscription("a", QoS::AtLeastOnce), subscription("b", QoS::ExactlyOnce)];
    let expected =
        Session { expiry: 60, expires_at: Some(at(77)), received_ids: vec![3], subscriptions, queue: session.queue };
    assert_eq!(session, expected);
    apply(&mut subject, &[unsubscribe("a")]);
    assert_eq!(subject.cache().session("publisher").unwrap().unwrap().subscriptions.len(), 1);
    assert_eq!(subject.cache().session("other").unwrap(), None);
    let end = Write::EndSession { client_id: client_id.clone() };
    apply(&mut subject, &[end.clone(), end]);
    assert_eq!(subject.cache().session("publisher").unwrap(), None);
    apply(&mut subject, &[keep(None, 1)]);
    let session = subject.cache().session("publisher").unwrap().unwrap();
    let begun = Session { expiry: 1, queue: session.queue, ..Session::default() };
    assert_eq!(session, begun, "nothing of the old one");
}

fn a_session_has_a_queue_that_is_discarded_in_steps_once_it_has_ended<S: Subject>() {
    let mut subject = S::fresh();
    let one = bridge(&mut subject, "one");
    let keep = |client: &str| Write::KeepSession { client_id: client.into(), expires_at: None, expiry: 60 };
    apply(&mut subject, &[keep("a"), keep("b")]);
    let queue = |subject: &mut S, client: &str| subject.cache().session(client).unwrap().unwrap().queue.unwrap();
    let (a, b) = (queue(&mut subject, "a"), queue(&mut subject, "b"));
    assert!(a.is_session() && b.is_session() && a != b);
    assert_eq!(bridge(&mut subject, "two"), BridgeId(one.0 + 1), "bridges have keys of their own");
    let mut writes: Vec<Write> = (1..=600).map(|seq| store(seq, &[a])).collect();
    let mut last = store_message(601, &[one, a, b], message("t", b"x"));
    last.deliveries[1].identifiers = Some([7, 300_000].into());
    writes.push(Write::Store(Box::new(last)));
    apply(&mut subject, &writes);
    apply(&mut subject, &[step(a, 601, Progress::Sent { packet_id: 9 })]);
    let mut subject = subject.reopened();
    assert_eq!((queue(&mut subject, "a"), subject.cache().usage(a).messages, subject.messages()), (a, 601, 601));
    let held = subject.cache().held(a).unwrap();
    assert_eq!((held.len(), held[0].packet_id), (1, 9));
    assert_eq!(held[0].delivery.identifiers.as_deref(), Some(&[7, 300_000][..]));
    let mut sessions = subject.cache().sessions().unwrap();
    sessions.sort_unstable();
    assert_eq!(sessions, ["a".into(), "b".into()]);
    apply(&mut subject, &[Write::EndSession { client_id: "a".into() }, keep("a")]);
    let again = queue(&mut subject, "a");
    assert!(again != a && subject.cache().usage(again) == Usage::default(), "another session of the same client");
    let mut steps = 0;
    while let Some(ended) = subject.cache().ended().unwrap() {
        assert_eq!(ended, a);
        apply(&mut subject, &[Write::Discard { queue: ended }]);
        steps += 1;
    }
    assert_eq!((steps, subject.messages(), subject.cache().usage(a)), (3, 1, Usage::default()));
    assert_eq!((seqs(&queued(&mut subject, one)), seqs(&queued(&mut subject, b))), (vec![601], vec![601]));
    apply(&mut subject, &[step(one, 601, REMOVED)]);
    assert_eq!(subject.messages(), 1, "a session wants it still");
    apply(&mut subject, &[step(b, 601, REMOVED)]);
    assert_eq!(subject.messages(), 0);
}

fn a_topic_has_one_retained_message_until_an_empty_one_comes<S: Subject>() {
    let mut subject = S::fresh();
    let one = bridge(&mut subject, "one");
    let retain = |seq, topic, payload| {
        let stored = store_message(seq, &[], message(topic, payload));
        Write::Store(Box::new(Store { retained: true, ..stored }))
    };
    let mut with_bridge = store_message(3, &[one], message("b", b"3"));
    with_bridge.retained = true;
    apply(&mut subject, &[retain(1, "a", b"1"), retain(2, "a", b"22"), Write::Store(Box::new(with_bridge))]);
    let mut subject = subject.reopened();
    let (seq, kept, received_at) = subject.cache().retained("a").unwrap().unwrap();
    assert_eq!((seq, &kept.payload[..], received_at, kept.qos), (Seq(2), &b"22"[..], at(1002), QoS::ExactlyOnce));
    let topics = |subject: &mut S| {
        let topics = subject.cache().retained_topics().unwrap();
        let mut topics: Vec<(String, u64)> =
            topics.into_iter().map(|(topic, entry)| (topic.to_string(), entry.bytes)).collect();
        topics.sort();
        topics
    };
    assert_eq!(topics(&mut subject), [("a".into(), 3), ("b".into(), 2)]);
    apply(&mut subject, &[step(one, 3, REMOVED), retain(4, "a", b""), retain(5, "c", b"")]);
    assert_eq!((topics(&mut subject), subject.messages()), (vec![("b".into(), 2)], 0));
    assert_eq!(subject.cache().retained("a").unwrap(), None);
}

fn a_will_is_kept_until_the_one_that_is_meant_has_ended<S: Subject>() {
    let mut subject = S::fresh();
    let properties = Properties { message_expiry: Some(9), other: Bytes::from_static(b"\x01\x01") };
    let gone = Message { retain: true, properties, ..message("gone", b"\xFFx") };
    let will = |delay| Will { delay, ..Will::new(gone.clone()) };
    let keep =
        |client_id: &str, delay, due_at| Write::KeepWill { client_id: client_id.into(), will: will(delay), due_at };
    let end = |client_id: &str, due_at| Write::EndWill { client_id: client_id.into(), due_at };
    let kept = |client_id: &str, delay, due_at| KeptWill { client_id: client_id.into(), will: will(delay), due_at };
    apply(&mut subject, &[keep("a", 0, None), keep("b", 5, None), keep("b", 6, Some(at(70)))]);
    let mut subject = subject.reopened();
    let expected = [kept("a", 0, None), kept("b", 6, Some(at(70)))];
    assert_eq!(subject.cache().wills().unwrap(), expected);
    apply(&mut subject, &[end("a", Some(at(1))), end("b", None), end("b", Some(at(71))), end("c", None)]);
    assert_eq!(subject.cache().wills().unwrap(), expected, "none of them was meant");
    apply(&mut subject, &[end("a", None), end("b", Some(at(70)))]);
    assert_eq!(subject.cache().wills().unwrap(), []);
}

fn what_is_only_counted_writes_nothing<S: Subject>() {
    let mut subject = S::fresh();
    let one = bridge(&mut subject, "one");
    let writes = [Write::Count { bridge: one, outcome: Outcome::Delivered }, store(1, &[])];
    assert_eq!(apply(&mut subject, &writes), [Applied::Done; 2]);
    assert_eq!((subject.messages(), subject.cache().usage(one)), (0, Usage::default()));
    assert_eq!(apply(&mut subject, &[]), []);
}

fn closing_loses_nothing<S: Subject>() {
    let mut subject = S::fresh();
    let one = bridge(&mut subject, "one");
    apply(&mut subject, &[store(1, &[one])]);
    subject.cache().close().unwrap();
    let mut subject = subject.reopened();
    assert_eq!(seqs(&queued(&mut subject, one)), [1]);
}

macro_rules! suite {
    ($($test:ident),* $(,)?) => {
        mod memory {
            $(#[test] fn $test() { super::$test::<super::Memory>(); })*
        }
        mod sqlite {
            $(#[test] fn $test() { super::$test::<super::InFile>(); })*
        }
    };
}

suite!(
    everything_of_a_message_is_kept,
    the_latest_arrival_is_not_always_the_last_message_s,
    the_same_name_is_the_same_bridge_for_ever,
    pages_are_in_order_and_bounded,
    waiting_rows_are_read_by_kind_without_what_is_in_flight,
    the_oldest_waits_or_is_in_flight_and_is_not_in_quarantine,
    what_is_stored_and_evicted_at_once_leaves_no_trace,
    a_bridge_that_is_behind_costs_the_other_nothing,
    a_message_is_kept_once_and_as_long_as_one_bridge_needs_it,
    usage_is_what_a_scan_would_count,
    what_is_in_flight_is_restored_with_its_identifier_and_phase,
    a_repeated_received_id_writes_nothing,
    an_identifier_is_recorded_although_the_message_goes_nowhere,
    a_session_is_kept_and_ends_with_all_it_had,
    a_session_has_a_queue_that_is_discarded_in_steps_once_it_has_ended,
    a_topic_has_one_retained_message_until_an_empty_one_comes,
    a_will_is_kept_until_the_one_that_is_meant_has_ended,
    what_is_only_counted_writes_nothing,
    closing_loses_nothing,
);
