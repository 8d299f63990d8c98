//! The log: which events become lines, and how a line is written.
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::{FormatFields, debug_fn};
use tracing_subscriber::layer::Context;

use super::core::repeat_log::{RepeatLog, Repeated};

/// The target of events that are few by nature, or counted by whoever says them: they are always said.
pub const UNLIMITED: &str = "mqtt_bridge::unlimited";
/// Fields that say about what an event is, most telling first. Text has them in the message, JSON as keys.
const SUBJECTS: [&str; 3] = ["client_id", "bridge", "peer"];
const EVENT: &str = "event";

/// Says the first of repeated lines and counts the others: whatever is `info` or above, by where it stands in the
/// program and what it is about, or its text where it is about nothing.
#[derive(Debug, Clone)]
pub struct Limited {
    log: Arc<Mutex<RepeatLog>>,
    began: Instant,
}

impl Default for Limited {
    fn default() -> Self {
        Self { log: Arc::default(), began: Instant::now() }
    }
}

impl Limited {
    fn lock(&self) -> MutexGuard<'_, RepeatLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what was left out, as far as a minute has passed; to be called every second or so.
    pub fn tell(&self) {
        let repeated = self.lock().poll(self.began.elapsed());
        told(repeated);
    }

    /// Tells all that was left out, at the end.
    pub fn tell_all(&self) {
        let repeated = self.lock().finish();
        told(repeated);
    }
}

fn told(repeated: Vec<Repeated>) {
    for Repeated { subject, count, last } in repeated {
        let about = if subject.is_some() { "" } else { ", of further subjects" };
        warn!(target: UNLIMITED, event = "repeated", count, "{count} more lines within a minute{about}, the last: {last}");
    }
}

impl<S: Subscriber> Layer<S> for Limited {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        // What is more important compares as less.
        if *metadata.level() > Level::INFO || metadata.target() == UNLIMITED {
            return true;
        }
        let mut line = Line::default();
        event.record(&mut line);
        let subject = line.subjects.iter().flatten().next().unwrap_or(&line.message);
        self.lock().admit(metadata.name(), subject, &line.message, self.began.elapsed())
    }
}

/// What an event says.
#[derive(Default)]
struct Line {
    message: String,
    subjects: [Option<String>; SUBJECTS.len()],
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let name = field.name();
        if name == "message" {
            // Writing to a String does not fail.
            let _ = write!(self.message, "{value:?}");
        } else if let Some(index) = SUBJECTS.iter().position(|subject| *subject == name) {
            self.subjects[index] = Some(format!("{value:?}"));
        }
    }
}

/// Text lines: the message, on one line whatever a client has put into it, and what it does not say itself.
pub fn text_fields() -> impl for<'writer> FormatFields<'writer> + Send + Sync + 'static {
    debug_fn(|writer, field, value| match field.name() {
        "message" => write!(writer, "{}", on_one_line(&format!("{value:?}"))),
        name if name == EVENT || name == "count" || SUBJECTS.contains(&name) => Ok(()),
        name => write!(writer, " {name}={}", on_one_line(&format!("{value:?}"))),
    })
}

fn on_one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_can_write_a_line_of_their_own_into_the_log() {
        assert_eq!(on_one_line("a\n2026 ERROR b\u{1b}[31m\r"), "a\\n2026 ERROR b\\u{1b}[31m\\r");
        assert_eq!(on_one_line("größer\u{2028}"), "größer\u{2028}");
    }
}
