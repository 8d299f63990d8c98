//! `contrib` against what is served, and against Prometheus's own opinion.
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::common::{Bridge, has};

fn contrib(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib").join(file)
}

fn text(file: &str) -> String {
    std::fs::read_to_string(contrib(file)).unwrap()
}

/// Everything in a text that looks like the name of a metric of ours.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("mqtt_bridge_") || word.starts_with("process_")).map(str::to_owned).collect()
}

/// The expressions of the dashboard.
fn expressions() -> Vec<String> {
    let dashboard: serde_json::Value = serde_json::from_str(&text("grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_metric_is_documented_and_every_name_that_is_used_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db").display().to_string();
    let bridge = Bridge::start(
        folder.path(),
        &format!(
            "cache: {{ path: {path} }}\nmetrics: {{ bind: 127.0.0.1:0 }}\n\
             bridges: [{{ name: b, server: mqtt://127.0.0.1:1, client_id: b, forwards: [{{ local: a }}] }}]\n"
        ),
    );
    let page = bridge.page("/metrics");
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let served: BTreeSet<String> =
        types.map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() }).collect();
    assert!(served.contains("process_start_time_seconds") && served.len() > 30, "{served:?}");
    let rows = text("metrics.md");
    let documented: BTreeSet<String> =
        rows.lines().filter_map(|row| Some(row.strip_prefix("| `")?.split_once('`')?.0.to_owned())).collect();
    assert_eq!(served, documented, "contrib/metrics.md is what /metrics serves");
    let used = names(&format!("{}{}", text("prometheus-rules.yaml"), expressions().join("\n")));
    let unknown: Vec<_> = used.difference(&served).collect();
    assert!(unknown.is_empty() && used.len() > 20, "{unknown:?}");
    let unseen: Vec<_> = served.difference(&used).collect();
    assert!(unseen.is_empty(), "neither on the dashboard nor in a rule: {unseen:?}");
}

fn promtool(arguments: &[&str], file: &Path) {
    let output = Command::new("promtool").args(arguments).arg(file).output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{said}");
}

#[test]
fn promtool_takes_the_rules_and_the_expressions_of_the_dashboard() {
    if !has("promtool", "promtool_takes_the_rules") {
        return;
    }
    promtool(&["check", "rules"], &contrib("prometheus-rules.yaml"));
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (number, expression) in expressions().iter().enumerate() {
        let expression = expression.replace("$__rate_interval", "5m").replace('\'', "''");
        writeln!(rules, "      - {{ record: panel_{number}, expr: '{expression}' }}").unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dashboard.yaml");
    std::fs::write(&file, rules).unwrap();
    promtool(&["check", "rules"], &file);
}

#[test]
fn alerts_fire_when_they_should_and_not_before() {
    if !has("promtool", "alerts_fire_when_they_should") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("alerts.yaml");
    let rules = contrib("prometheus-rules.yaml").display().to_string();
    std::fs::write(&file, include_str!("alerts.yaml").replace("RULES", &rules)).unwrap();
    promtool(&["test", "rules"], &file);
}
