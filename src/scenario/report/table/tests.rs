use super::*;
use crate::scenario::history::Event;
use crate::scenario::story::{Story, at, plan};
use crate::scenario::verdict;

const SCENARIO: &str = "
name: silent-cut-10s
about: The broker leaves the network without FIN or RST for 10 s while nine messages a second are published.
load:
  - { topic: test1, qos: 1, qps: 5 }
  - { topic: test2, qos: 1, qps: 1 }
  - { topic: test3, qos: 2, qps: 1 }
  - { topic: test6, qos: 2, qps: 1, via: remote }
timeline:
  - { at: 0s, do: publish, for: 25s }
  - { at: 5s, do: disconnect, for: 10s }
expect: { drained_within: 10s }
";

fn flawless() -> Story {
    Story::flawless(plan(SCENARIO))
}

/// The middle of the cut is lost, two messages come twice, one is refused.
fn losing() -> Story {
    let lost = flawless().never_received(0, 27..=60).never_received(2, 6..=6).never_received(0, 90..=90);
    let refused = lost.never_received(1, 3..=3).never_acknowledged(1, 3..=3);
    refused
        .and(at(3001, Event::Refused { load: 1, seq: 3, reason: 0x97 }))
        .received(20_500, 0, 3)
        .received(20_501, 2, 3)
}

fn report(stories: Vec<(&str, Story)>) -> Report {
    let plan = plan(SCENARIO);
    let ledgers: Vec<_> = stories.into_iter().map(|(name, story)| (name.to_owned(), story.ledger())).collect();
    let mut report = verdict::report(&plan, &ledgers);
    report.approximated = vec!["disconnect: the name stays, new connections are refused".into()];
    report
}

#[test]
fn a_pass_at_80_columns() {
    insta::assert_snapshot!(render(&report(vec![("mqtt-bridge", flawless())]), 80, false), @r#"
silent-cut-10s  environment local, remote mosquitto 2.0.11, seed 1
The broker leaves the network without FIN or RST for 10 s while nine messages a
second are published.
approximated: disconnect: the name stays, new connections are refused

mqtt-bridge 1.0 ────────────────────────────────────────────────────────────────
topic  QoS  sent  acknowledged  received  lost  duplicated  out of
                                                             order
───────────────────────────────────────────────────────────────────
test1    1   125           125       125     0           0       0
test2    1    25            25        25     0           0       0
test3    2    25            25        25     0           0       0
test6    2    25            25        25     0           0       0
───────────────────────────────────────────────────────────────────
total        200           200       200     0           0       0
test6: published at the remote, received at the bridge

latency, from the intended moment     p50     p95     p99     max
──────────────────────────────────────────────────────────────────
before the fault                   3.0 ms  3.0 ms  3.0 ms  3.0 ms
during                              5.1 s   9.9 s  10.1 s  10.1 s
after the heal                     3.0 ms  3.0 ms  180 ms  180 ms

recovery: first delivery 100 ms and backlog of 80 drained 179 ms after the heal

received per second, highest 88
▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁                              ███▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁
               ├──────── disconnect ────────┤
0 s                                                                    25 s

mqtt-bridge  PASS  200 of 200 acknowledged messages arrived, none twice at
             QoS 2, none out of order; backlog of 80 drained 0.2 s after the
             heal
"#);
}

#[test]
fn a_failure_beside_a_pass() {
    let report = report(vec![("mqtt-bridge", flawless()), ("mosquitto", losing())]);
    let text = render(&report, 80, false);
    let from = text.find("mosquitto 1.0").unwrap();
    insta::assert_snapshot!(&text[from..], @r#"
mosquitto 1.0 ──────────────────────────────────────────────────────────────────
topic  QoS  sent  acknowledged  received  lost  duplicated  out of  refused
                                                             order
────────────────────────────────────────────────────────────────────────────
test1    1   125           125        91    35           1       0        0
test2    1    25            24        24     0           0       0        1
test3    2    25            25        25     1           1       0        0
test6    2    25            25        25     0           0       0        0
────────────────────────────────────────────────────────────────────────────
total        200           199       165    36           2       0        1
test6: published at the remote, received at the bridge

lost
  test1 27..60 (34), published 5.4 s to 12.0 s, during disconnect
  test1 90, published at 18.0 s, while no fault was in force
  test3 6, published at 6.0 s, during disconnect

latency, from the intended moment     p50     p95     p99     max
──────────────────────────────────────────────────────────────────
before the fault                   3.0 ms  3.0 ms  3.0 ms  3.0 ms
during                              3.2 s  10.1 s  10.1 s  10.1 s
after the heal                     3.0 ms  174 ms  180 ms  180 ms

recovery: first delivery 100 ms after the heal; of the backlog 45 arrived, the
  others never

received per second, highest 53
▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂                              ███▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂
               ├──────── disconnect ────────┤
0 s                                                                    25 s

findings
- 1 message refused at the door: promised to nobody
  1 were refused, and their publishers told, 3.0 s
  advice: a limit of at least the longest outage times the rate; or a policy
    that refuses (MQTT 5: 0x97) what does not fit, so that publishers know
- 1 message arrived twice at QoS 2
  1 message (test3 3), published 3.0 s
  advice: a Session Expiry Interval above the longest outage, at the remote and
    in the bridge's settings (NanoMQ: conn_properties.session_expiry_interval, 0
    by default), and a remote that keeps its sessions on disk
- 1 message arrived twice at QoS 1, as a lost PUBACK makes them
  1 message (test1 3), published 0.6 s
  advice: QoS 2 where twice is harmful, or receivers that know a message again

mqtt-bridge  PASS  200 of 200 acknowledged messages arrived, none twice at
             QoS 2, none out of order; backlog of 80 drained 0.2 s after the
             heal
mosquitto    FAIL  lost 36 of 199 acknowledged messages (test1 27..60, test1 90,
             test3 6); 1 message arrived twice at QoS 2
"#);
}

#[test]
fn an_interrupted_run() {
    let story = flawless().never_received(0, 27..=60).without(|event| matches!(event, Event::Settled { .. }));
    let text = render(&report(vec![("mqtt-bridge", story.and(at(24_900, Event::Interrupted)))]), 80, false);
    let from = text.find("open: ").unwrap();
    insta::assert_snapshot!(&text[from..], @r#"
open: lost: 34, but interrupted at 24.9 s
open: drained within: never: 34 of 120 messages are missing, but interrupted at
  24.9 s

mqtt-bridge  INCONCLUSIVE  interrupted at 24.9 s
"#);
}

#[test]
fn no_line_is_too_long_and_colours_change_no_character() {
    let report = report(vec![("mqtt-bridge", flawless()), ("mosquitto", losing())]);
    for width in [60, 80, 120, 200] {
        let text = render(&report, width, false);
        for line in text.lines() {
            assert!(line.chars().count() <= width, "{} columns of {width}: {line}", line.chars().count());
        }
        let coloured = render(&report, width, true);
        assert!(coloured.contains("\u{1b}[1;31mFAIL\u{1b}[0m") && coloured.contains("\u{1b}[1;32mPASS"));
        let mut plain = String::new();
        let mut parts = coloured.split('\u{1b}');
        plain.push_str(parts.next().unwrap());
        parts.for_each(|part| plain.push_str(part.split_once('m').unwrap().1));
        let trimmed = |text: &str| text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
        assert_eq!(trimmed(&plain), trimmed(&text));
    }
}
