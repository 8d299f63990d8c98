//! Logs as they come: NanoMQ's of a measured run, old ones, mosquitto's, damaged ones, and what is none.
use std::collections::BTreeMap;

use super::*;

fn explain(text: &[u8]) -> Result<Explained, LogError> {
    read(text, BTreeMap::new())
}

fn rules(explained: &Explained) -> Vec<&str> {
    explained.findings.iter().map(|finding| finding.rule.as_str()).collect()
}

/// A line as NanoMQ 0.24.6 writes it, so many seconds after 16:07:00.
fn line(second: u64, text: &str) -> String {
    let (minute, second) = (7 + second / 60, second % 60);
    format!("2026-11-22 16:{minute:02}:{second:02} [1] WARN  /x/nanomq/nng/src/f.c:1 f: {text}\n")
}

/// Nine a second are dropped for 73 s.
fn overflowing() -> String {
    let mut log = "NanoMQ Broker is started successfully!\n".to_owned();
    for setting in
        ["parallel:    4", "keepalive:   3", "resend_interval:   50", "resend_wait: 65000", "cancel_timeout: 5000"]
    {
        log += &line(0, &format!("x")).replace("f: x", &format!("print_bridge_conf: bridge.mqtt.a.{setting}"));
    }
    log += &line(1, "Bridge [mqtt-tcp://emqx:1883] connected! RC [0]");
    log += &line(14, "MQTT Timeout and disconnect");
    (0..658).for_each(|index| log += &line(39 + index / 9, "Cached Message in ctx_msgs is lost!"));
    log + &line(113, "Bridge [mqtt-tcp://emqx:1883] connected! RC [0]")
}

#[test]
fn the_cause_of_the_original_report_is_found_with_its_numbers() {
    let explained = explain(overflowing().as_bytes()).unwrap();
    assert_eq!((explained.program, explained.certainly_lost, explained.damaged), ("NanoMQ", 658, 0));
    assert_eq!(rules(&explained), ["ring-overflow", "bistable-slots", "contradicting-timers"]);
    let evidence = explained.findings[1].evidence.join("\n");
    assert!(evidence.contains("keepalive = 3, resend_interval = 50"), "{evidence}");
    assert!(
        evidence.contains("about 3.05 s after the cut; at 9.0 messages a second that is 27 messages"),
        "{evidence}"
    );
    assert!(evidence.contains("parallel (-n) = 4"), "{evidence}");
}

#[test]
fn the_loud_line_is_harmless_and_counts_as_no_loss() {
    let mut log = line(1, "Bridge [mqtt-tcp://emqx:1883] connected! RC [0]");
    (0..200).for_each(|index| log += &line(10 + index / 20, &format!("QoS msg ack failed {index}")));
    let explained = explain(log.as_bytes()).unwrap();
    assert_eq!(explained.certainly_lost, 0);
    assert!(explained.known.iter().any(|known| known.harmless && known.count == 200));
    assert_eq!(rules(&explained), ["drain-paced-by-tick"]);
}

#[test]
fn rows_between_two_packet_ids_are_missing() {
    let mut log = line(0, "print_bridge_conf: bridge.mqtt.a.resend_interval: 5000").replace("f: ", "");
    log += &(line(10, "QoS msg ack failed 2")
        + &line(15, "QoS msg ack failed 3")
        + &line(55, "MQTT Timeout and disconnect"));
    (9..14).for_each(|id| log += &line(60 + 5 * id, &format!("QoS msg ack failed {id}")));
    let explained = explain(log.as_bytes()).unwrap();
    assert_eq!(rules(&explained)[0], "row-deleted-before-sent");
    assert!(explained.findings[0].title.starts_with("5 rows"), "{:?}", explained.findings[0]);
}

#[test]
fn damaged_lines_are_tolerated_and_counted() {
    let mut log = overflowing().into_bytes();
    log.extend_from_slice(
        b"2026-11-22 16:09:30 [1] WARN /x/nanomq/\xff\xfe.c:1 f: Cached Message in ctx_msgs is lost!\n",
    );
    log.extend(std::iter::repeat_n(b'x', 300_000));
    log.extend_from_slice(b"\n\0\0\0\n");
    log.extend_from_slice(line(200, "Cached Message in ctx_msgs is lost!").trim_end().as_bytes());
    let explained = explain(&log).unwrap();
    assert_eq!((explained.damaged, explained.certainly_lost), (1, 660));
}

#[test]
fn an_old_log_counts_and_mosquittos_is_known() {
    let old = "2023-11-07 05:36:21 [7] INFO  /d/nanomq/nanomq/apps/broker.c:212  bridge_handler: bridging to h aio busy! \
               msg lost! Ctx: 17\n";
    let explained = explain(old.repeat(3).as_bytes()).unwrap();
    assert_eq!((explained.certainly_lost, rules(&explained)), (3, vec!["dropped-one-by-one"]));

    let mosquitto = "1795545610: mosquitto version 2.0.11 starting\n1795545610: Connecting bridge (step 1) lab (h:1883)\n\
                     1795545610: Connecting bridge (step 2) lab (h:1883)\n\
                     1795545628: Outgoing messages are being dropped for client local.lab-subject.\n\
                     1795545634: Connecting bridge (step 1) lab (h:1883)\n1795545640: mosquitto version 2.0.11 starting\n";
    let explained = explain(mosquitto.as_bytes()).unwrap();
    assert_eq!((explained.program, explained.certainly_lost), ("mosquitto", 0));
    assert_eq!(rules(&explained), ["limit-reached", "memory-part-lost", "slow-reconnect"]);
}

#[test]
fn what_is_no_such_log_is_an_error_that_says_what_would_be_one() {
    for text in ["", "hello\n", "{\"a\": 1}\n", "2026-11-22 16:07:29 INFO something else\n"] {
        let said = explain(text.as_bytes()).unwrap_err().to_string();
        assert!(said.contains("lines is of NanoMQ's or mosquitto's log: give a file"), "{said}");
    }
}
