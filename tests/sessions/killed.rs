//! SIGKILL of the real binary with a subscriber that is away and one that is present, at QoS 1 and 2.
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use mqtt_bridge::bridge::message::QoS;

use crate::common::Bridge;
use crate::parties::{END, Publisher, Subscriber, is_end};

const PATIENCE: Duration = Duration::from_secs(20);
const POINTS: [(&str, u64); 8] = [
    ("before_commit", 60),
    ("store_committed", 30),
    ("answer_written", 60),
    ("forget_committed", 15),
    ("session_committed", 3),
    ("sent_committed", 15),
    ("released_committed", 15),
    ("removed_committed", 30),
];

/// What became of the messages of one subscriber.
#[derive(Debug, Default, PartialEq)]
struct Verdict {
    lost: Vec<u32>,
    /// QoS 2.
    duplicated: Vec<u32>,
    out_of_order: Vec<u32>,
}

fn judge(acknowledged: &BTreeSet<u32>, received: &[u32], qos: QoS) -> Verdict {
    let mut copies: BTreeMap<u32, u32> = BTreeMap::new();
    let mut verdict = Verdict::default();
    // The specification's order is that of one QoS ([MQTT-4.6.0-6]).
    let mut highest = [0_u32; 2];
    for number in received {
        let copies = copies.entry(*number).or_default();
        *copies += 1;
        let highest = &mut highest[*number as usize % 2];
        if *copies == 1 && *number < *highest {
            verdict.out_of_order.push(*number);
        }
        *highest = (*highest).max(*number);
        if *copies == 2 && qos == QoS::ExactlyOnce && number % 2 == 0 {
            verdict.duplicated.push(*number);
        }
    }
    verdict.lost = acknowledged.iter().filter(|number| !copies.contains_key(number)).copied().collect();
    verdict
}

/// Lives that end at these points, and one that ends well; what became of each subscriber's messages.
fn run(folder: &Path, lives: &[String], sin: Option<&str>) -> Vec<Verdict> {
    let rest = format!("cache: {{ path: {} }}\n", folder.join("cache.db").display());
    let mut publisher = Publisher::default();
    let mut subscribers = [("away_1", 1), ("away_2", 2), ("here_1", 1), ("here_2", 2)]
        .map(|(name, qos)| Subscriber::new(name, QoS::try_from(qos).unwrap()));
    let bridge = Bridge::start(folder, &rest);
    for subscriber in &mut subscribers {
        subscriber.connect(bridge.address, PATIENCE).unwrap();
    }
    bridge.kill();
    for life in lives {
        let environment: Vec<(&str, &str)> = [("MQTT_BRIDGE_CRASH", Some(life.as_str())), ("MQTT_BRIDGE_SIN", sin)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        let Ok(bridge) = Bridge::start_with(folder, &rest, &environment) else { continue };
        let address = bridge.address;
        let (_, here) = subscribers.split_at_mut(2);
        std::thread::scope(|scope| {
            for subscriber in here {
                scope.spawn(move || {
                    let ended = subscriber.receive(address, PATIENCE).unwrap_err();
                    assert!(is_end(&ended), "{ended}");
                });
            }
            // Every point is passed by then, unless it is one that this life does not come to.
            if let Err(error) = publisher.publish(address, 80, PATIENCE) {
                assert!(is_end(&error), "{error}");
            }
            bridge.kill();
        });
    }
    let bridge = Bridge::start(folder, &rest);
    publisher.end(bridge.address, PATIENCE).unwrap();
    for subscriber in &mut subscribers {
        subscriber.receive(bridge.address, PATIENCE).unwrap();
        assert_eq!(subscriber.received.last(), Some(&END));
    }
    let (status, log) = bridge.terminate();
    assert!(status.success(), "{log}");
    let count = publisher.acknowledged.len();
    // Shown for a test that passes, too.
    // Not eprintln: that is shown only for a test that fails.
    let mut stderr = std::io::stderr();
    writeln!(stderr, "sessions: {count} acknowledged in {} lives", lives.len()).unwrap();
    subscribers
        .iter()
        .map(|subscriber| judge(&publisher.acknowledged, &subscriber.received, subscriber.qos()))
        .collect()
}

#[test]
fn nothing_acknowledged_is_lost_for_a_session_that_is_kept_and_qos_2_arrives_once() {
    let seed = std::env::var("MQTT_BRIDGE_KILL_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    let mut stderr = std::io::stderr();
    writeln!(stderr, "sessions: MQTT_BRIDGE_KILL_SEED={seed}").unwrap();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut lives = Vec::new();
    for _ in 0..4 {
        lives.extend(POINTS.iter().map(|(point, most)| format!("{point}:{}", random.u64(1..=*most))));
    }
    random.shuffle(&mut lives);
    let folder = tempfile::tempdir().unwrap();
    for verdict in run(folder.path(), &lives, None) {
        assert_eq!(verdict, Verdict::default(), "seed {seed}");
    }
}

/// The negative twin: the same parties and judge, and a bridge that answers before it commits.
#[test]
fn the_judge_catches_a_bridge_that_acknowledges_before_it_commits_for_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let lives: Vec<String> = (8..14).map(|passing| format!("before_commit:{passing}")).collect();
    let verdicts = run(folder.path(), &lives, Some("ack_before_commit"));
    assert!(verdicts.iter().any(|verdict| !verdict.lost.is_empty()), "{verdicts:?}");
}
