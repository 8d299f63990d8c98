//! A recorded run: its folder as `replay --out` leaves it, with sins where they are asked for.
use std::path::{Path, PathBuf};
use std::time::Duration;

use assert_cmd::Command;
use mqtt_bridge::bridge::yaml::Document;
use mqtt_bridge::scenario::history::{Event, Record, Role};
use mqtt_bridge::scenario::plan::{Plan, Side};
use mqtt_bridge::scenario::{schedule, spec};
use serde_json::Value;

/// How a subject did.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Deeds {
    /// Everything arrived.
    Flawless,
    /// Messages of every class.
    Sinful,
}

/// Writes the folder and has it judged; the page and what `report.json` says.
pub fn judged(folder: &Path, scenario: &str, deeds: &[Deeds]) -> (PathBuf, Value) {
    let plan = spec::read(&Document::from_text("page.yaml", scenario), &[""; 0]).unwrap();
    assert_eq!(plan.subjects.len(), deeds.len());
    std::fs::write(folder.join("plan.json"), serde_json::to_vec(&plan).unwrap()).unwrap();
    for (subject, deeds) in plan.subjects.iter().zip(deeds) {
        let lines = history(&plan, &subject.name, *deeds);
        let lines: Vec<String> = lines.iter().map(|record| serde_json::to_string(record).unwrap() + "\n").collect();
        std::fs::create_dir(folder.join(&subject.name)).unwrap();
        std::fs::write(folder.join(&subject.name).join("history.jsonl"), lines.concat()).unwrap();
    }
    let output = Command::cargo_bin("mqtt-bridge").unwrap().arg("report").arg(folder).output().unwrap();
    let expected = if deeds.contains(&Deeds::Sinful) { 1 } else { 0 };
    assert_eq!(output.status.code(), Some(expected), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let report = serde_json::from_slice(&std::fs::read(folder.join("report.json")).unwrap()).unwrap();
    (folder.join("report.html"), report)
}

fn history(plan: &Plan, subject: &str, deeds: Deeds) -> Vec<Record> {
    let run = Event::Run {
        run: 1,
        subject: subject.to_owned(),
        version: "1.0 <b>bold</b>".into(),
        environment: "local".into(),
        remote: "mosquitto 2.0.11".into(),
        approximated: vec!["disconnect: the name cannot be taken away".into()],
        unexpressed: vec!["bridge.window".into()],
        because: Some("no engine answers".into()),
        artifacts: [("remote".to_owned(), "emqx/emqx@sha256:0123456789abcdef".to_owned())].into(),
    };
    let mut records = vec![Record { t: 0, event: run }];
    records.extend([Side::Remote, Side::Bridge].map(|side| Record { t: 0, event: Event::ReceiverConnected { side } }));
    let mut add = |at: Duration, event| records.push(Record::at(at, event));
    for (fault, done) in plan.faults.iter().enumerate() {
        add(done.start, Event::FaultOn { fault, kind: done.kind, on: done.on });
        add(done.end, Event::FaultOff { fault, kind: done.kind, on: done.on });
    }
    let heal = schedule::last_heal(&plan.faults).unwrap();
    let mut waiting = 0;
    let mut latest = vec![Duration::ZERO; plan.loads.len()];
    for (at, load, seq) in schedule::merged(plan) {
        add(at, Event::Sent { load, seq, again: false });
        let sin = if deeds == Deeds::Sinful { seq % 40 } else { 39 };
        match sin {
            9 => add(at + Duration::from_millis(1), Event::Refused { load, seq, reason: 0x97 }),
            10 => {}
            _ if plan.loads[usize::from(load)].qos > 0 => {
                add(at + Duration::from_millis(1), Event::Acknowledged { load, seq });
            }
            _ => {}
        }
        let cut = plan.faults.iter().any(|fault| (fault.start..fault.end).contains(&at));
        waiting += u64::from(cut);
        let arrival = if cut { heal + Duration::from_millis(100 + waiting) } else { at + Duration::from_millis(3) };
        // Behind what is before it, as a queue has it.
        let last = &mut latest[usize::from(load)];
        let arrival = arrival.max(*last + Duration::from_micros(1));
        *last = arrival;
        match sin {
            2..=10 => {}
            12 => {
                add(arrival, Event::Received { load, seq });
                add(arrival, Event::Received { load, seq });
            }
            14 => add(plan.end + Duration::from_secs(1), Event::Received { load, seq }),
            16 => {
                let topic = plan.loads[usize::from(load)].topic.clone();
                add(arrival, Event::Unexpected { topic, of: Some((load, seq)), why: "altered".into() });
            }
            18 => add(plan.end + Duration::from_secs(90), Event::Received { load, seq }),
            _ => add(arrival, Event::Received { load, seq }),
        }
    }
    for second in 0..plan.end.as_secs() {
        let values = [("mqtt_bridge_messages_queued{bridge=\"emqx1\"}".to_owned(), (second % 7) as f64)].into();
        add(Duration::from_secs(second), Event::Counters { values });
        let memory_bytes = (9 << 20) + second * 1000;
        add(Duration::from_secs(second), Event::Usage { role: Role::Subject, memory_bytes, cpu_us: 0 });
    }
    add(plan.end + Duration::from_secs(60), Event::Settled { timed_out: deeds == Deeds::Sinful });
    records.sort_by_key(|record| record.t);
    records
}
