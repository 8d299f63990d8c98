//! Columns, ages and bytes for people.
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mqtt_bridge::bridge::delivery::Time;

/// Columns as wide as they need to be, two spaces apart. Numbers stand to the right: the columns that are named so.
pub(super) fn columns(rows: &[Vec<String>], right: &[usize]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if right.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// How long ago by the wall clock; one that has been set back makes it 0.
pub(super) fn age(received_at: Time) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let secs = now.saturating_sub(received_at).as_secs();
    match secs {
        0..120 => format!("{secs}s"),
        120..7200 => format!("{}m", secs / 60),
        7200..172_800 => format!("{}h", secs / 3600),
        _ => format!("{}d", secs / 86_400),
    }
}

/// A size as a person compares it: exact while it is small, then with one digit behind the point.
pub(super) fn size(bytes: u64) -> String {
    for (unit, name) in [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= 10 * unit || (bytes >= unit && bytes.is_multiple_of(unit)) {
            let tenths = format!("{:.1}", bytes as f64 / unit as f64);
            return format!("{} {name}", tenths.trim_end_matches(".0"));
        }
    }
    format!("{bytes} B")
}

/// Text on one line, without what a terminal would obey.
pub(super) fn plain(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// A payload: JSON indented, text as it is, otherwise its bytes.
pub(super) fn payload(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else { return hex(bytes) };
    if text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
        return hex(bytes);
    }
    match serde_json::from_str::<serde_json::Value>(text) {
        // A number or a word needs no indenting, and might be printed otherwise than it was written.
        Ok(value @ (serde_json::Value::Object(_) | serde_json::Value::Array(_))) => format!("{value:#}\n"),
        _ => format!("{text}\n"),
    }
}

/// Text on its lines, without what a terminal would obey.
pub(super) fn text(text: &str) -> String {
    let safe = |c: char| if c.is_control() && c != '\n' && c != '\t' { c.escape_default().collect() } else { vec![c] };
    text.chars().flat_map(safe).collect()
}

/// Bytes as in `xxd`.
pub(super) fn hex(bytes: &[u8]) -> String {
    let line = |(index, line): (usize, &[u8])| {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = line.iter().map(|&byte| if (0x20..0x7F).contains(&byte) { char::from(byte) } else { '.' });
        format!("{:08x}  {:<47}  {}\n", index * 16, hex.join(" "), text.collect::<String>())
    };
    bytes.chunks(16).enumerate().map(line).collect()
}
