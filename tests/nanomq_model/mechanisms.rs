//! One mechanism at a time.
use mqtt_bridge::scenario::prediction::{Outcome, Prediction};

use super::{LOAD, logged, outcomes, peak, plan, range};

const SEEDS: u64 = 20;

fn cut(subject: &str, kind: &str, seconds: u32) -> Vec<Outcome> {
    let rest = format!(
        "{LOAD}timeline:\n  - {{ at: 0s, do: publish, for: 130s }}\n  - {{ at: 10s, do: {kind}, for: {seconds}s }}\n\
         settle: 100s\n"
    );
    outcomes(&plan(subject, &rest), SEEDS)
}

fn report(workers: u32) -> String {
    format!("config: report.conf, workers: {workers}")
}

#[test]
fn one_free_slot_when_the_connection_is_given_up_decides() {
    // 27 publishes between cut and detection.
    let stuck = cut(&report(26), "disconnect", 100);
    assert!(range(&stuck, Outcome::lost).min > 500);
    assert_eq!(range(&stuck, peak("sqlite_rows")).max, 0);
    let free = cut(&report(29), "disconnect", 100);
    assert_eq!(range(&free, Outcome::lost).max, 0);
    assert!(range(&free, peak("sqlite_rows")).min > 800);
}

#[test]
fn a_cut_that_nobody_notices_loses_nothing() {
    let outcomes = cut(&report(4), "disconnect", 1);
    assert_eq!(range(&outcomes, Outcome::lost).max, 0);
    assert_eq!(range(&outcomes, logged("MQTT Timeout and disconnect")).max, 0);
}

#[test]
fn after_a_short_cut_the_ring_goes_on_dropping_until_resend_wait_is_over() {
    // 65 s at 9/s, less the ring.
    let outcomes = cut(&report(4), "disconnect", 10);
    let lost = range(&outcomes, Outcome::lost);
    assert!(lost.min > 300 && lost.max < 345, "{lost}");
}

#[test]
fn what_is_cancelled_on_a_new_connection_is_lost() {
    // Back before cancel_timeout, 5 s, is over: the four in flight are cancelled and freed.
    let outcomes = cut(&report(4), "disconnect", 4);
    let of_the_cancel = outcomes
        .iter()
        .filter(|outcome| logged("Warning : QoS action of msg N is canceled due to timeout!")(outcome) > 0);
    let lost: Vec<u64> = of_the_cancel.map(Outcome::lost).collect();
    assert!(!lost.is_empty() && lost.iter().all(|lost| *lost == 4), "{lost:?}");
}

#[test]
fn the_later_slot_test_loses_messages_in_a_clean_reset() {
    let of = |version: &str| {
        let mut plan = plan(
            &report(16),
            &format!(
                "{LOAD}timeline:\n  - {{ at: 0s, do: publish, for: 130s }}\n  - {{ at: 10s, do: reset, for: 60s }}\n"
            ),
        );
        plan.subjects[0].settings.insert("version".into(), version.into());
        outcomes(&plan, SEEDS)
    };
    assert_eq!(range(&of("0.24.6"), Outcome::lost).max, 0);
    let later = of("0.25.6");
    assert!(range(&later, Outcome::lost).min > 200);
    assert_eq!(range(&later, peak("sqlite_rows")).max, 0);
}

#[test]
fn a_version_whose_sources_were_not_seen_is_an_error() {
    let mut plan = plan(&report(4), &format!("{LOAD}timeline:\n  - {{ at: 0s, do: publish, for: 1s }}\n"));
    plan.subjects[0].settings.insert("version".into(), "0.26.4".into());
    let said = Prediction::new(&plan, &plan.subjects[0]).unwrap_err().to_string();
    assert!(said.starts_with("the subject nanomq-model: settings.version: `0.26.4` is not modelled"), "{said}");
}

#[test]
fn a_fault_that_is_not_modelled_is_an_error() {
    let plan = plan(
        &report(4),
        &format!("{LOAD}timeline:\n  - {{ at: 0s, do: publish, for: 9s }}\n  - {{ at: 1s, do: pause, for: 2s }}\n"),
    );
    let said = Prediction::new(&plan, &plan.subjects[0]).unwrap_err().to_string();
    assert!(said.starts_with("the model of NanoMQ does not know the fault pause on the remote"), "{said}");
}

#[test]
fn without_a_queue_length_the_first_overflow_ends_the_process() {
    let outcomes = cut("config: no-length.conf, workers: 4", "disconnect", 30);
    // Four in flight; the fifth publish meets a busy slot, and nobody listens any more.
    let lost = range(&outcomes, Outcome::lost);
    assert_eq!((lost.min, lost.max), (5, 5));
}

#[test]
fn a_keep_alive_that_is_not_above_resend_interval_leaves_no_tick_for_a_row() {
    let outcomes = cut("settings: { resend_interval: 3000 }, workers: 4", "reset", 20);
    assert_eq!(range(&outcomes, logged("QoS msg ack failed ")).max, 0);
    assert_eq!(range(&outcomes, peak("sqlite_rows")).max, 100);
    let outcomes = cut("settings: { resend_interval: 50 }, workers: 4", "reset", 20);
    assert!(range(&outcomes, logged("QoS msg ack failed ")).min > 100);
}

#[test]
fn two_bridges_on_one_file_delete_each_others_rows() {
    let rest = "load:\n  - { topic: fast, qos: 1, qps: 20 }\n  - { topic: slow, qos: 1, qps: 5 }\ntimeline:\n  \
                - { at: 0s, do: publish, for: 100s }\n  - { at: 10s, do: reset, for: 60s }\nsettle: 120s\n";
    let outcomes = outcomes(&plan("config: two.conf, workers: 4", rest), SEEDS);
    assert!(outcomes.iter().all(|outcome| outcome.topics[0].lost > 300), "{:?}", range(&outcomes, Outcome::lost));
    // Without a line of the log.
    assert!(outcomes.iter().all(|outcome| outcome.lines.keys().all(|line| !line.contains("lost"))));
}

#[test]
fn qos_0_survives_an_outage_that_qos_1_does_not() {
    let rest = "load:\n  - { topic: test1, qos: 0, qps: 9 }\ntimeline:\n  - { at: 0s, do: publish, for: 130s }\n  \
                - { at: 10s, do: disconnect, for: 100s }\nsettle: 60s\n";
    let outcomes = outcomes(&plan("config: qos0.conf, workers: 4", rest), SEEDS);
    // What went into the socket before the cut was noticed: without acknowledgements that is the next PINGREQ's turn.
    let lost = range(&outcomes, Outcome::lost);
    assert!(lost.max <= 28, "{lost}");
    assert!(range(&outcomes, peak("sqlite_rows")).min > 800);
}
