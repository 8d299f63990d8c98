//! The recorded histories of `tests/histories`, read.
use std::path::PathBuf;

use crate::scenario::history::{Event, Record};
use crate::scenario::plan::Plan;
use crate::scenario::story;

/// A plan and the history that was recorded of it.
pub(super) fn read(name: &str) -> (Plan, Vec<Record>) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/histories").join(format!("{name}.history"));
    let text = std::fs::read_to_string(&file).unwrap();
    let (mut scenario, mut plan, mut history) = (String::new(), None, Vec::new());
    for line in text.lines() {
        match line.split_once(' ') {
            Some(("S", line)) => scenario += &format!("{line}\n"),
            Some(("P", line)) => plan = Some(serde_json::from_str(line).unwrap()),
            Some(("m", line)) => message(line, &mut history),
            Some(("x", line)) => {
                let (count, record) = line.split_once(' ').unwrap();
                let record: Record = serde_json::from_str(record).unwrap();
                history.extend(std::iter::repeat_n(record, count.parse().unwrap()));
            }
            _ => history.push(serde_json::from_str(line).unwrap()),
        }
    }
    history.sort_by_key(|record| record.t);
    (plan.unwrap_or_else(|| story::plan(&scenario)), history)
}

/// `load seq sent`, then, counted from there, when it was acknowledged and each of its copies received.
fn message(line: &str, history: &mut Vec<Record>) {
    let mut fields = line.split(' ');
    let mut number =
        || -> Option<i64> { fields.next().filter(|field| *field != "-").map(|field| field.parse().unwrap()) };
    let (load, seq, sent) = (number().unwrap() as u16, number().unwrap() as u64, number().unwrap());
    let mut add = |after: i64, event| history.push(Record { t: (sent + after) as u64, event });
    add(0, Event::Sent { load, seq, again: false });
    if let Some(after) = number() {
        add(after, Event::Acknowledged { load, seq });
    }
    while let Some(after) = number() {
        add(after, Event::Received { load, seq });
    }
}
