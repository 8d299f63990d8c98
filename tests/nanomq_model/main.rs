//! The model of NanoMQ against what was measured on a native build of 0.24.6 (`measured/`).
#![allow(clippy::unwrap_used)] // A test may.
use std::path::Path;
use std::time::Duration;

use mqtt_bridge::scenario::plan::Plan;
use mqtt_bridge::scenario::prediction::{Outcome, Prediction, Range};
use mqtt_bridge::scenario::spec;

/// The load of the original report.
const LOAD: &str = "load:
  - { topic: test1, qos: 1, qps: 5 }
  - { topic: test2, qos: 1, qps: 1 }
  - { topic: test3, qos: 2, qps: 1 }
  - { topic: test4, qos: 2, qps: 1 }
  - { topic: test5, qos: 2, qps: 1 }
";

fn plan(name: &str, rest: &str) -> Plan {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nanomq_model");
    let file = folder.join(format!("{name}.yaml"));
    let text = format!("name: {name}\nabout: A measured run.\n{rest}");
    let document = mqtt_bridge::bridge::yaml::Document::from_text(file, &text);
    spec::read(&document, &[""; 0]).unwrap()
}

fn outcomes(plan: &Plan, seeds: u64) -> Vec<Outcome> {
    Prediction::new(plan, &plan.subjects[0]).unwrap().outcomes(seeds)
}

fn show(name: &str, outcomes: &[Outcome]) {
    let range = |of: &dyn Fn(&Outcome) -> u64| Range::of(outcomes.iter().map(of)).unwrap().to_string();
    println!("{name}: lost {}", range(&Outcome::lost));
    println!("  out of order {}", range(&Outcome::out_of_order));
    println!("  duplicated {}", range(&Outcome::duplicated));
    println!("  rows {}", range(&|o| o.peak("sqlite_rows").map_or(0, |p| p.value as u64)));
    println!("  slots {}", range(&|o| o.peak("slots_busy").map_or(0, |p| p.value as u64)));
    println!("  ctx {}", range(&|o| o.peak("ctx_msgs").map_or(0, |p| p.value as u64)));
    println!("  first ms {}", range(&|o| o.first_delivery.map_or(0, |p| p.as_millis() as u64)));
    println!("  drained ms {}", range(&|o| o.drained.map_or(0, |p| p.as_millis() as u64)));
    println!("  {:?}", outcomes[0]);
}

#[test]
fn silent() {
    for (name, workers) in [("silent-n4", 4), ("silent-n32", 32)] {
        let plan = plan(name, &format!("subjects:\n  - {{ kind: nanomq-model, config: report.conf, workers: {workers} }}\n{LOAD}timeline:\n  - {{ at: 0s,  do: publish, for: 130s }}\n  - {{ at: 10s, do: disconnect, for: 100s }}\nsettle: 60s\n"));
        show(name, &outcomes(&plan, 200));
    }
}

#[test]
fn others() {
    let p = plan("rst-n4", &format!("subjects:\n  - {{ kind: nanomq-model, config: report.conf, workers: 4 }}\n{LOAD}timeline:\n  - {{ at: 0s,  do: publish, for: 130s }}\n  - {{ at: 10s, do: reset, for: 100s }}\nsettle: 60s\n"));
    show("rst", &outcomes(&p, 200));
    let p = plan("kill9-n32", &format!("subjects:\n  - {{ kind: nanomq-model, config: report.conf, workers: 32 }}\n{LOAD}timeline:\n  - {{ at: 0s,  do: publish, for: 90s }}\n  - {{ at: 10s, do: reset, for: 60s }}\n  - {{ at: 35s, do: kill, for: 1010ms }}\nsettle: 60s\n"));
    show("kill9", &outcomes(&p, 200));
    let _ = Duration::ZERO;
}
