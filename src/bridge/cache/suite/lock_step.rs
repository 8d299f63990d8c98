//! Random writes to both implementations at once: whatever can be seen of one must be seen of the other.
use proptest::prelude::*;

use super::*;

/// One write, as numbers that are folded onto what is there.
#[derive(Debug, Clone)]
enum Op {
    Store {
        bridges: u8,
        received_id: Option<(u8, u16)>,
        size: u8,
        expiry: Option<u32>,
    },
    Step {
        bridge: u8,
        seq: u8,
        step: u8,
        packet_id: u16,
    },
    Forget {
        origin: u8,
        packet_id: u16,
    },
    ForgetAll {
        origin: u8,
    },
    Established {
        bridge: u8,
        identity: u8,
    },
    Session {
        client: u8,
        what: u8,
        filter: u8,
    },
    /// Another process begins.
    Reopen,
}

fn any_op() -> impl Strategy<Value = Op> {
    let received_id = proptest::option::of((0u8..4, 1u16..4));
    let store = (0u8..4, received_id, any::<u8>(), proptest::option::of(any::<u32>()));
    prop_oneof![
        5 => store.prop_map(|(bridges, received_id, size, expiry)| Op::Store { bridges, received_id, size, expiry }),
        8 => (0u8..2, any::<u8>(), 0u8..6, 1u16..5)
            .prop_map(|(bridge, seq, step, packet_id)| Op::Step { bridge, seq, step, packet_id }),
        2 => (0u8..4, 1u16..4).prop_map(|(origin, packet_id)| Op::Forget { origin, packet_id }),
        1 => (0u8..4).prop_map(|origin| Op::ForgetAll { origin }),
        1 => (0u8..2, any::<u8>()).prop_map(|(bridge, identity)| Op::Established { bridge, identity }),
        3 => (0u8..2, 0u8..5, 0u8..3).prop_map(|(client, what, filter)| Op::Session { client, what, filter }),
        1 => Just(Op::Reopen),
    ]
}

const CLIENTS: [&str; 2] = ["a", "b"];

struct LockStep {
    memory: Memory,
    sqlite: Option<InFile>,
    bridges: [BridgeId; 2],
    next: i64,
}

impl LockStep {
    fn new() -> Self {
        let (mut memory, mut sqlite) = (Memory::fresh(), InFile::fresh());
        let bridges = ["one", "two"].map(|name| bridge(&mut memory, name));
        assert_eq!(["one", "two"].map(|name| bridge(&mut sqlite, name)), bridges);
        Self { memory, sqlite: Some(sqlite), bridges, next: 1 }
    }

    fn origin(&self, number: u8) -> Origin {
        match number {
            0 | 1 => Origin::Local(CLIENTS[usize::from(number)].into()),
            _ => Origin::Remote(self.bridges[usize::from(number - 2)]),
        }
    }

    fn write(&mut self, op: &Op) -> Option<Write> {
        Some(match *op {
            Op::Store { bridges, received_id, size, expiry } => {
                let to: Vec<BridgeId> = self
                    .bridges
                    .iter()
                    .enumerate()
                    .filter(|(bit, _)| bridges >> bit & 1 == 1)
                    .map(|(_, id)| *id)
                    .collect();
                let seq = self.next;
                self.next += 1;
                let qos = QoS::try_from(size % 3).unwrap();
                let mut message = Message::new("topic", vec![size; size.into()], qos);
                message.properties = Properties { message_expiry: expiry, other: Bytes::from(vec![size; 3]) };
                let received_id = received_id.map(|(origin, packet_id)| (self.origin(origin), packet_id));
                Write::Store(Box::new(Store { received_id, ..store_message(seq, &to, message) }))
            }
            Op::Step { bridge, seq, step, packet_id } => {
                let seq = Seq(i64::from(seq) % self.next + 1);
                let bridge = self.bridges[usize::from(bridge)];
                // An identifier belongs to one delivery; the bridge sees to that, so this does.
                let packet_id = packet_id + 4 * seq.0 as u16;
                let step = match step {
                    0 | 1 => Progress::Sent { packet_id },
                    2 => Progress::Released { order: seq.0 },
                    3 => Progress::Requeued,
                    4 => QUARANTINED,
                    _ => REMOVED,
                };
                Write::Progress { bridge, seq, step }
            }
            Op::Forget { origin, packet_id } => Write::Forget { origin: self.origin(origin), packet_id },
            Op::ForgetAll { origin } => Write::ForgetAll { origin: self.origin(origin) },
            Op::Established { bridge, identity } => {
                Write::Established { bridge: self.bridges[usize::from(bridge)], identity: identity.to_string() }
            }
            Op::Session { client, what, filter } => {
                let client_id: Arc<str> = CLIENTS[usize::from(client)].into();
                let name = format!("filter/{filter}");
                match what {
                    0 => Write::KeepSession { client_id, expires_at: None, expiry: filter.into() },
                    1 => Write::KeepSession { client_id, expires_at: Some(at(filter.into())), expiry: u32::MAX },
                    2 => Write::Subscribe { client_id, subscription: subscription(&name, QoS::AtLeastOnce) },
                    3 => Write::Unsubscribe { client_id, filter: name },
                    _ => Write::EndSession { client_id },
                }
            }
            Op::Reopen => return None,
        })
    }

    fn apply(&mut self, batch: &[Op]) {
        let writes: Vec<Write> = batch.iter().filter_map(|op| self.write(op)).collect();
        let sqlite = self.sqlite.as_mut().unwrap();
        assert_eq!(apply(&mut self.memory, &writes), apply(sqlite, &writes), "{writes:?}");
        if batch.iter().any(|op| matches!(op, Op::Reopen)) {
            self.sqlite = self.sqlite.take().map(Subject::reopened);
        }
    }

    fn compare(&mut self) {
        let (memory, sqlite) = (&mut self.memory, self.sqlite.as_mut().unwrap());
        for (bridge, name) in self.bridges.into_iter().zip(["one", "two"]) {
            assert_eq!(memory.usage(bridge), sqlite.cache().usage(bridge));
            assert_eq!(memory.usage(bridge), sqlite.scan(bridge));
            for (after, messages, bytes) in [(0, 1000, usize::MAX), (self.next / 2, 3, 400)] {
                let page = |cache: &mut dyn Cache| cache.page(bridge, Seq(after), messages, bytes).unwrap();
                assert_eq!(page(memory), page(sqlite.cache()));
            }
            for kind in [Kind::AtMostOnce, Kind::Acknowledged, Kind::Any] {
                let waiting = |cache: &mut dyn Cache| cache.waiting(bridge, kind, Seq(self.next / 3), 5).unwrap();
                assert_eq!(waiting(memory), waiting(sqlite.cache()));
            }
            let restored = |cache: &mut dyn Cache| {
                let (id, restored) = cache.bridge(name).unwrap();
                (id, restored.established, restored.held, restored.received_ids)
            };
            assert_eq!(restored(memory), restored(sqlite.cache()));
        }
        for client in CLIENTS {
            let session = |cache: &mut dyn Cache| {
                let mut session = cache.session(client).unwrap();
                if let Some(session) = &mut session {
                    session.subscriptions.sort_by(|one, other| one.filter.cmp(&other.filter));
                }
                session
            };
            assert_eq!(session(memory), session(sqlite.cache()));
        }
        assert_eq!(memory.latest().unwrap(), sqlite.cache().latest().unwrap());
        assert_eq!(memory.kept(), sqlite.messages());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn memory_and_sqlite_cannot_be_told_apart(
        batches in proptest::collection::vec(proptest::collection::vec(any_op(), 1..6), 1..25)
    ) {
        let mut both = LockStep::new();
        for batch in &batches {
            both.apply(batch);
            both.compare();
        }
    }
}
