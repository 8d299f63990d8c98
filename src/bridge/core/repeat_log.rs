//! Which lines of the log are said, and which are only counted: a client or a link that does the same thing over and
//! over costs a few lines a minute.
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::bridge::delivery::Time;

/// After it what was left out is told, and lines are said again.
const MINUTE: Duration = Duration::from_secs(60);
/// Lines a minute of one kind about one subject.
const LINES: u32 = 10;
/// Lines a minute of one kind: subjects may be invented, as Client Identifiers are.
const LINES_OF_A_KIND: u32 = 20;
/// Subjects about which it is told how many lines were left out; those of all others are told together.
const SUBJECTS: usize = 10;
/// The longest subject and the longest line that are kept, in bytes.
const KEPT_BYTES: usize = 200;

/// Lines that were left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeated {
    /// About what; `None`: several subjects.
    pub subject: Option<String>,
    /// How many.
    pub count: u64,
    /// The last of them.
    pub last: String,
}

#[derive(Debug, Default)]
struct Minute {
    began: Time,
    said: u32,
    by_subject: HashMap<String, u32>,
    left_out: BTreeMap<Option<String>, (u64, String)>,
}

/// Counts lines by kind (where in the program) and subject (which client, which bridge).
#[derive(Debug, Default)]
pub struct RepeatLog(BTreeMap<&'static str, Minute>);

impl RepeatLog {
    /// Whether this line is to be said; otherwise it is counted.
    pub fn admit(&mut self, kind: &'static str, subject: &str, line: &str, now: Time) -> bool {
        let minute = self.0.entry(kind).or_insert_with(|| Minute { began: now, ..Minute::default() });
        if minute.left_out.is_empty() && now.saturating_sub(minute.began) >= MINUTE {
            *minute = Minute { began: now, ..Minute::default() };
        }
        let subject = shortened(subject);
        let of_subject = minute.by_subject.get(subject).copied().unwrap_or_default();
        if of_subject < LINES && minute.said < LINES_OF_A_KIND {
            minute.said += 1;
            minute.by_subject.insert(subject.to_owned(), of_subject + 1);
            return true;
        }
        let mut key = Some(subject.to_owned());
        if minute.left_out.len() >= SUBJECTS && !minute.left_out.contains_key(&key) {
            key = None;
        }
        let (count, last) = minute.left_out.entry(key).or_default();
        *count += 1;
        shortened(line).clone_into(last);
        false
    }

    /// What is to be told now of what was left out.
    pub fn poll(&mut self, now: Time) -> Vec<Repeated> {
        let is_over = |minute: &Minute| now.saturating_sub(minute.began) >= MINUTE;
        self.take(is_over)
    }

    /// All that was left out, at the end.
    pub fn finish(&mut self) -> Vec<Repeated> {
        self.take(|_| true)
    }

    fn take(&mut self, is_due: impl Fn(&Minute) -> bool) -> Vec<Repeated> {
        let mut repeated = Vec::new();
        self.0.retain(|_, minute| {
            if !is_due(minute) {
                return true;
            }
            let left_out = std::mem::take(&mut minute.left_out).into_iter();
            repeated.extend(left_out.map(|(subject, (count, last))| Repeated { subject, count, last }));
            false
        });
        repeated
    }
}

fn shortened(text: &str) -> &str {
    let end = (0..=KEPT_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_subject_has_its_lines_and_the_rest_is_a_count_a_minute() {
        let mut log = RepeatLog::default();
        let said = (0..1000).filter(|round| log.admit("lost", "b", &format!("no link {round}"), SECOND * 5)).count();
        assert_eq!(said, LINES as usize);
        assert!(log.admit("lost", "another bridge", "no link", SECOND * 6));
        assert!(log.admit("refused", "b", "another kind", SECOND * 6));
        assert_eq!(log.poll(SECOND * 64), []);
        let expected = Repeated { subject: Some("b".into()), count: 990, last: "no link 999".into() };
        assert_eq!(log.poll(SECOND * 65), [expected]);
        assert!(log.admit("lost", "b", "no link", SECOND * 66), "another minute");
        assert_eq!(log.finish(), []);
    }

    #[test]
    fn a_minute_without_too_many_lines_is_forgotten_without_a_word() {
        let mut log = RepeatLog::default();
        for minute in 0..5 {
            for _ in 0..LINES {
                assert!(log.admit("lost", "b", "no link", MINUTE * minute));
            }
        }
        assert_eq!(log.poll(MINUTE * 9), []);
    }

    #[test]
    fn as_many_subjects_as_a_client_invents_are_a_few_lines_and_none_is_uncounted() {
        let mut log = RepeatLog::default();
        let line = "ä".repeat(100_000);
        let said = (0..10_000).filter(|n| log.admit("connected", &format!("{n}-{line}"), &line, SECOND)).count();
        assert_eq!(said, LINES_OF_A_KIND as usize);
        let told = log.finish();
        assert_eq!((told.len(), told.iter().map(|line| line.count).sum::<u64>()), (SUBJECTS + 1, 10_000 - 20));
        assert!(told.iter().all(|repeated| repeated.last.len() <= KEPT_BYTES));
    }
}
