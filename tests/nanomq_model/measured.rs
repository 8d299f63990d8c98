//! Calibration: five runs of NanoMQ 0.24.6 (Debian, native build; publishers and NanoMQ in one network namespace,
//! mosquitto 2.0.11 and the subscriber in another), and a second one of the first. Over 200 seeds every measured figure
//! lies in the predicted range; sequences count from 0 here. The moments of publishers and faults are those of the runs.
use mqtt_bridge::scenario::prediction::Outcome;

use super::{LOAD, logged, outcomes, peak, plan, range};

const SEEDS: u64 = 200;

fn report(workers: u32, timeline: &str) -> Vec<Outcome> {
    let plan =
        plan(&format!("config: report.conf, workers: {workers}"), &format!("{LOAD}timeline:\n{timeline}settle: 60s\n"));
    outcomes(&plan, SEEDS)
}

/// First and last sequence of the one range that a topic has lost.
fn only_range(outcome: &Outcome, topic: usize) -> [u64; 2] {
    let ranges = &outcome.topics[topic].lost_ranges;
    assert_eq!(ranges.len(), 1, "seed {}: {ranges:?}", outcome.seed);
    ranges[0]
}

#[test]
fn a_silent_cut_with_four_workers() {
    let outcomes =
        report(4, "  - { at: 93ms, do: publish, for: 130s }\n  - { at: 10s, do: disconnect, for: 100010ms }\n");
    let lost = range(&outcomes, Outcome::lost);
    // Two runs.
    for measured in [658, 694] {
        assert!(lost.expects(measured), "{measured} lost, predicted {lost}");
    }
    let [low, high] = lost.likely;
    assert!(high - low <= 60, "a range of {lost} says too little");
    assert!(range(&outcomes, Outcome::out_of_order).holds(109));
    assert!(outcomes.iter().all(|outcome| outcome.duplicated() == 0));
    // Nothing at all reaches SQLite, and every loss is a line of the log.
    assert!(outcomes.iter().all(|outcome| peak("sqlite_rows")(outcome) == 0));
    assert!(outcomes.iter().all(|outcome| logged("Cached Message in ctx_msgs is lost!")(outcome) == outcome.lost()));
    assert_eq!(range(&outcomes, logged("resending QoS msg ")).likely, [4, 4]);
    // test1 51..=415, test2 10..=83, the others 11..=83.
    for (topic, [first, last]) in [(0, [51, 415]), (1, [10, 83]), (2, [11, 83]), (3, [11, 83]), (4, [11, 83])] {
        let firsts = range(&outcomes, |outcome| only_range(outcome, topic)[0]);
        let lasts = range(&outcomes, |outcome| only_range(outcome, topic)[1]);
        assert!(firsts.expects(first) && firsts.max - firsts.min <= 1, "topic {topic}: first {firsts}");
        assert!(lasts.expects(last), "topic {topic}: last {lasts}");
    }
}

#[test]
fn a_silent_cut_with_thirty_two_workers() {
    let outcomes =
        report(32, "  - { at: 152ms, do: publish, for: 130s }\n  - { at: 10s, do: disconnect, for: 100010ms }\n");
    assert_eq!(range(&outcomes, Outcome::lost).max, 0);
    assert_eq!(range(&outcomes, Outcome::duplicated).max, 0);
    // A debugger showed 27 busy slots of 32.
    assert_eq!(range(&outcomes, peak("slots_busy")).likely, [27, 27]);
    assert_eq!(range(&outcomes, logged("resending QoS msg ")).likely, [27, 27]);
    for (figure, measured) in [
        (range(&outcomes, Outcome::out_of_order), 895),
        (range(&outcomes, peak("sqlite_rows")), 868),
        (range(&outcomes, logged("QoS msg ack failed ")), 869),
        (range(&outcomes, |outcome| outcome.drained.unwrap_or_default().as_secs()), 48),
    ] {
        assert!(figure.expects(measured), "{measured}, predicted {figure}");
    }
}

#[test]
fn a_reset_with_four_workers() {
    let outcomes = report(4, "  - { at: 293ms, do: publish, for: 130s }\n  - { at: 10s, do: reset, for: 100050ms }\n");
    assert_eq!(range(&outcomes, Outcome::lost).max, 0);
    assert_eq!(range(&outcomes, Outcome::duplicated).max, 0);
    for (figure, measured) in [
        (range(&outcomes, Outcome::out_of_order), 921),
        (range(&outcomes, peak("sqlite_rows")), 923),
        (range(&outcomes, logged("QoS msg ack failed ")), 926),
        (range(&outcomes, |outcome| outcome.drained.unwrap_or_default().as_secs()), 51),
    ] {
        assert!(figure.expects(measured), "{measured}, predicted {figure}");
    }
}

#[test]
fn a_kill_in_an_outage() {
    let outcomes = report(
        32,
        "  - { at: 80ms, do: publish, for: 90s }\n  - { at: 10s, do: reset, for: 60020ms }\n  \
           - { at: 35s, do: kill, for: 1010ms }\n",
    );
    // 225 modulo 100: the part in memory.
    let lost = range(&outcomes, Outcome::lost);
    assert_eq!((lost.min, lost.max), (25, 25));
    for (figure, measured) in [
        (range(&outcomes, Outcome::out_of_order), 512),
        (range(&outcomes, peak("sqlite_rows")), 504),
        (range(&outcomes, logged("QoS msg ack failed ")), 517),
        (range(&outcomes, |outcome| outcome.drained.unwrap_or_default().as_secs()), 27),
    ] {
        assert!(figure.expects(measured), "{measured}, predicted {figure}");
    }
    let first = range(&outcomes, |outcome| only_range(outcome, 0)[0]);
    assert!(first.holds(160), "test1 from {first}");
}

/// nanomq#2432: twelve messages wait; a second, silent cut comes when two have arrived.
#[test]
fn a_silent_cut_while_rows_are_sent() {
    let plan = plan(
        "config: issue-2432.conf, workers: 4",
        "load:\n  - { topic: evt/a, qos: 1, qps: 2 }\ntimeline:\n  - { at: 0s, do: reset, for: 14150ms }\n  \
           - { at: 3s, do: publish, for: 6s }\n  \
           - { do: disconnect, for: 90s, when: { drained: 16% } }\nsettle: 100s\n",
    );
    let outcomes = outcomes(&plan, SEEDS);
    let lost = range(&outcomes, Outcome::lost);
    // Twice five, sequences 2 to 6: one for each tick of 5 s in the 35 s until the connection is given up.
    assert!(lost.expects(5) && lost.max - lost.min <= 1, "5, predicted {lost}");
    assert_eq!(range(&outcomes, |outcome| only_range(outcome, 0)[0]).likely, [2, 2]);
    assert_eq!(range(&outcomes, peak("sqlite_rows")).likely, [11, 11]);
}
