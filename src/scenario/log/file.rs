//! A log file without a run: what it says, how many messages are certainly lost, and what it cannot tell.
mod mosquitto;
mod nanomq;
mod past;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::BufRead;
use std::time::Duration;

use serde::Serialize;

use self::past::Past;
use super::{Loss, Program, moment};
use crate::scenario::report::model::Finding;

/// What a log says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explained {
    /// Whose log it is.
    pub program: &'static str,
    /// Lines in all.
    pub lines: u64,
    /// Lines that are not UTF-8 throughout; what can be read of them counts.
    pub damaged: u64,
    /// The first and the last date, in the log's own time zone; `None` where no line is dated.
    pub span: Option<[String; 2]>,
    /// Messages that are lost for certain, each with a line that says so.
    pub certainly_lost: u64,
    /// Known lines, the gravest first.
    pub known: Vec<KnownLine>,
    /// The settings that were found, in the log or in the configuration.
    pub settings: BTreeMap<String, String>,
    /// What is behind them, the gravest first.
    pub findings: Vec<Finding>,
    /// What cannot be known from such a log.
    pub unknown: Vec<String>,
}

/// A known line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KnownLine {
    /// How it is recognised.
    pub text: &'static str,
    /// How often it stands there.
    pub count: u64,
    /// The date of the first one; `None` where it has none.
    pub first: Option<String>,
    /// The date of the last one.
    pub last: Option<String>,
    /// It sounds like a loss and is none.
    pub harmless: bool,
    /// What it means.
    pub meaning: &'static str,
}

/// Why a log cannot be explained.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// It could not be read to its end.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// Nobody's that is known here.
    #[error(
        "none of its {lines} lines is of NanoMQ's or mosquitto's log: give a file with lines such as `2026-11-22 16:07:29 \
         [13891] WARN  .../bridge.c:1861 ...` or `1795545610: mosquitto version ...`"
    )]
    Unknown {
        /// Lines in all.
        lines: u64,
    },
}

/// A line that is longer is cut there: it is nothing that is known.
const LONGEST: usize = 64 * 1024;

/// Reads a log, line by line, however long it is. `settings` come from the configuration, which says more than the log.
///
/// # Errors
/// [`LogError`].
pub fn read(mut log: impl BufRead, settings: BTreeMap<String, String>) -> Result<Explained, LogError> {
    let (mut past, mut lines, mut damaged) = (Past::default(), 0, 0);
    let mut line = Vec::new();
    while next(&mut log, &mut line)? {
        lines += 1;
        let text = String::from_utf8_lossy(&line);
        damaged += u64::from(matches!(text, std::borrow::Cow::Owned(_)));
        past.fold(text.trim_end());
    }
    let program = past.program().ok_or(LogError::Unknown { lines })?;
    let mut all = past.tally.all_settings().clone();
    all.extend(settings);
    let date = |at: Duration| (at > Duration::ZERO).then(|| moment::words(at));
    let known = past.tally.all().map(|(entry, seen)| KnownLine {
        text: entry.text(),
        count: seen.count,
        first: date(seen.first),
        last: date(seen.last),
        harmless: entry.loss == Loss::Harmless,
        meaning: entry.meaning,
    });
    let certain = past.tally.all().filter(|(entry, _)| entry.loss == Loss::One).map(|(_, seen)| seen.count);
    let (findings, unknown) = match program {
        Program::Nanomq => (nanomq::findings(&past, &all), nanomq::unknown(&past)),
        _ => (mosquitto::findings(&past), mosquitto::unknown()),
    };
    Ok(Explained {
        program: if program == Program::Nanomq { "NanoMQ" } else { "mosquitto" },
        lines,
        damaged,
        span: past.span().map(|span| span.map(moment::words)),
        certainly_lost: certain.sum(),
        known: known.collect(),
        settings: all,
        findings,
        unknown,
    })
}

/// The next line without its end; what is beyond [`LONGEST`] is read and not kept.
fn next(log: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    let mut any = false;
    loop {
        let buffer = log.fill_buf()?;
        if buffer.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = &buffer[..end.unwrap_or(buffer.len())];
        line.extend_from_slice(&part[..part.len().min(LONGEST - line.len())]);
        let used = part.len() + usize::from(end.is_some());
        log.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}
