//! One suite for every environment: what a fault is, that it is healed, that healing twice is healing once, that the
//! subject goes on afterwards, and that nothing is left behind. An environment that can be looked into ([`Examined`])
//! is examined by [`examine`].
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::proxy::probe::Seen;
use super::{Environment, Request, Support, World};
use crate::bridge::message::{Message, QoS};
use crate::bridge::wire::{Connect, Packet, Publish, Subscribe, Subscription, Version, encode};
use crate::scenario::client::{self, Connection};
use crate::scenario::examiner::Examiner;
use crate::scenario::history::{Event, Record};
use crate::scenario::plan::{Direction, Fault, FaultKind, Parameters, Plan, Side};
use crate::scenario::recorder::tests::recording;
use crate::scenario::story::plan;

/// How long a message may take once everything is healed: the subject (mosquitto) has to notice, and to connect.
const ARRIVAL: Duration = Duration::from_secs(40);

/// A world that a test can look into.
pub(super) trait Examined: World {
    /// What a new connection to the remote meets where the subject is.
    fn connection(&self) -> impl Future<Output = Seen> + Send;

    /// Whether the remote's name can be resolved where the subject is; `None`: it has none.
    fn resolves(&self) -> impl Future<Output = Option<bool>> + Send;

    /// Looks, after the world is gone, for what is left of it, by names.
    fn traces(&self) -> Box<dyn Fn() -> Vec<String> + Send>;
}

/// A fault, what new connections may meet during it, and whether the remote's name stays.
struct Fact {
    on: Side,
    kind: FaultKind,
    parameters: Parameters,
    meets: &'static [Seen],
    name_stays: bool,
}

/// Where an environment says that it approximates a fault, a new connection may also be refused.
const FACTS: [Fact; 16] = [
    Fact {
        on: Side::Remote,
        kind: FaultKind::Cut,
        parameters: Parameters::None,
        meets: &[Seen::TimedOut],
        name_stays: true,
    },
    Fact {
        on: Side::Bridge,
        kind: FaultKind::Cut,
        parameters: Parameters::None,
        meets: &[Seen::TimedOut],
        name_stays: true,
    },
    Fact {
        on: Side::Remote,
        kind: FaultKind::Disconnect,
        parameters: Parameters::None,
        meets: &[Seen::TimedOut],
        name_stays: false,
    },
    Fact {
        on: Side::Bridge,
        kind: FaultKind::Disconnect,
        parameters: Parameters::None,
        meets: &[Seen::TimedOut],
        name_stays: false,
    },
    Fact {
        on: Side::Remote,
        kind: FaultKind::HalfOpen,
        parameters: Parameters::HalfOpen { passes: Direction::ToRemote },
        meets: &[Seen::TimedOut],
        name_stays: true,
    },
    Fact {
        on: Side::Remote,
        kind: FaultKind::HalfOpen,
        parameters: Parameters::HalfOpen { passes: Direction::ToBridge },
        meets: &[Seen::TimedOut],
        name_stays: true,
    },
    Fact {
        on: Side::Remote,
        kind: FaultKind::Reset,
        parameters: Parameters::None,
        meets: &[Seen::Refused, Seen::Reset],
        name_stays: true,
    },
    Fact {
        on: Side::Remote,
        kind: FaultKind::Refuse,
        parameters: Parameters::None,
        meets: &[Seen::Refused],
        name_stays: true,
    },
    Fact {
        on: Side::Remote,
        kind: FaultKind::Loss,
        parameters: Parameters::Loss { percent: 30.0 },
        meets: &[Seen::Connected, Seen::TimedOut],
        name_stays: true,
    },
    Fact {
        on: Side::Remote,
        kind: FaultKind::Throttle,
        parameters: Parameters::Throttle { bytes_per_second: 10_000 },
        meets: &[Seen::Connected, Seen::TimedOut],
        name_stays: true,
    },
    Fact {
        on: Side::Remote,
        kind: FaultKind::Pause,
        parameters: Parameters::None,
        meets: &[Seen::Connected],
        name_stays: true,
    },
    Fact {
        on: Side::Bridge,
        kind: FaultKind::Pause,
        parameters: Parameters::None,
        meets: &[Seen::Connected],
        name_stays: true,
    },
    Fact {
        on: Side::Remote,
        kind: FaultKind::Stop,
        parameters: Parameters::Session { lost: true },
        meets: &[Seen::Refused, Seen::TimedOut],
        name_stays: true,
    },
    Fact {
        on: Side::Bridge,
        kind: FaultKind::Stop,
        parameters: Parameters::None,
        meets: &[Seen::Connected],
        name_stays: true,
    },
    Fact {
        on: Side::Bridge,
        kind: FaultKind::Kill,
        parameters: Parameters::None,
        meets: &[Seen::Connected],
        name_stays: true,
    },
    Fact {
        on: Side::Bridge,
        kind: FaultKind::Restart,
        parameters: Parameters::None,
        meets: &[Seen::Connected],
        name_stays: true,
    },
];

fn scenario() -> Plan {
    plan(
        "subjects:\n  - { kind: mosquitto }\nbridge: { keep_alive: 5s }\nload:\n  - { topic: a, qos: 1, qps: 1 }\n\
         timeline:\n  - { at: 0s, do: publish, for: 1s }\n",
    )
}

/// Examines an environment from the first to the last fact, with mosquitto as the subject.
pub(super) async fn examine<E: Environment>(environment: &E)
where
    E::World: Examined,
{
    let plan = scenario();
    environment.check(&plan, &plan.subjects[0]).unwrap();
    let (recording, folder) = recording(&plan);
    let recorder = recording.recorder();
    let examiner = Examiner::new(1);
    let request = Request {
        plan: &plan,
        subject: &plan.subjects[0],
        folder: folder.path(),
        recorder: &recorder,
        examiner: &examiner,
    };
    let mut world = environment.prepare(request).await.unwrap();
    let traces = world.traces();
    let mut receiver = subscribed(&world).await;
    world.open_link().await.unwrap();
    world.start_subject().await.unwrap();
    arrives(&world, &mut receiver, "at first").await;
    let mut done = Vec::new();
    for (index, fact) in FACTS.iter().enumerate() {
        let fault = Fault {
            kind: fact.kind,
            on: fact.on,
            parameters: fact.parameters.clone(),
            when: None,
            start: Duration::ZERO,
            end: Duration::from_secs(1),
        };
        let approximated = match environment.support(&fault) {
            Support::Exact => false,
            Support::Approximated(_) => true,
            Support::Unsupported(_) => continue,
        };
        let what = format!("{} on {:?} in {}", fact.kind.name(), fact.on, environment.name());
        world.apply(index, &fault).await.unwrap();
        let met = world.connection().await;
        assert!(fact.meets.contains(&met) || approximated && met == Seen::Refused, "{what}: met {met:?}");
        if let Some(resolves) = world.resolves().await {
            assert_eq!(resolves, fact.name_stays, "{what}: the name");
        }
        for time in ["once", "twice"] {
            world.heal(index, &fault).await.unwrap();
            assert_eq!(world.connection().await, Seen::Connected, "{what}: healed {time}");
            assert_ne!(world.resolves().await, Some(false), "{what}: the name, healed {time}");
        }
        done.push(index);
    }
    // A remote that was stopped has forgotten its receiver.
    receiver = subscribed(&world).await;
    arrives(&world, &mut receiver, "after all faults").await;
    drop(receiver);
    world.stop_subject().await;
    world.stop_remote().await;
    drop(world);
    assert_eq!(traces(), Vec::<String>::new(), "left behind");
    recording.finish().unwrap();
    let history = std::fs::read_to_string(folder.path().join("history.jsonl")).unwrap();
    let events: Vec<Event> = history.lines().map(|line| serde_json::from_str::<Record>(line).unwrap().event).collect();
    let doubts: Vec<&Event> = events.iter().filter(|event| matches!(event, Event::Doubt { .. })).collect();
    assert!(doubts.is_empty(), "{doubts:?}");
    for index in done {
        let of = |event: &Event| match event {
            Event::FaultOn { fault, .. } if *fault == index => 1,
            Event::FaultOff { fault, .. } if *fault == index => 10,
            _ => 0,
        };
        assert_eq!(events.iter().map(of).sum::<u32>(), 21, "fault {index}: one begin, and a heal that was asked twice");
    }
    let count = |is: fn(&Event) -> bool| events.iter().filter(|event| is(event)).count();
    let started = count(|event| matches!(event, Event::ProcessStarted { .. }));
    assert_eq!(started, count(|event| matches!(event, Event::ProcessEnded { wanted: true, .. })), "all were ended");
}

/// A receiver at the remote.
async fn subscribed(world: &impl World) -> Connection {
    let mut connection = client::connect(world.remote(), Connect::new(Version::V5, "suite-receiver")).await.unwrap();
    let filters = vec![Subscription {
        filter: "a".into(),
        qos: QoS::AtMostOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: 0,
        identifier: None,
    }];
    send(&mut connection, Packet::Subscribe(Subscribe { packet_id: 1, filters, identifier: None })).await;
    assert!(matches!(next(&mut connection).await, Packet::Suback(_)));
    connection
}

/// Publishes at the subject and waits until it has arrived at the remote.
async fn arrives(world: &impl World, receiver: &mut Connection, payload: &'static str) {
    let arrived = async {
        let mut publisher =
            client::connect(world.listener(), Connect::new(Version::V5, "suite-publisher")).await.unwrap();
        let message = Message::new("a", Bytes::from_static(payload.as_bytes()), QoS::AtLeastOnce);
        send(&mut publisher, Packet::Publish(Publish::new(std::sync::Arc::new(message), 1))).await;
        assert!(matches!(next(&mut publisher).await, Packet::Puback(_)));
        loop {
            if let Packet::Publish(publish) = next(receiver).await
                && publish.message.payload == payload.as_bytes()
            {
                break;
            }
        }
    };
    timeout(ARRIVAL, arrived).await.unwrap_or_else(|_| panic!("nothing arrives at the remote {payload}"));
}

async fn send(connection: &mut Connection, packet: Packet) {
    let mut bytes = Vec::new();
    encode(&packet, Version::V5, &mut bytes);
    connection.stream.write_all(&bytes).await.unwrap();
}

async fn next(connection: &mut Connection) -> Packet {
    loop {
        if let Some(packet) = connection.inbox.next().unwrap() {
            return packet;
        }
        connection.inbox.fill(&mut connection.stream).await.unwrap();
    }
}
