//! When a line was written, as it says itself.
use std::time::Duration;

/// A line's date, since 1970, in the log's own time zone; `None` where it has none.
///
/// Known are `2026-11-22 16:07:29`, the same with a `T` and a fraction, and seconds since 1970 with a colon, as mosquitto
/// writes them; whatever `docker logs` or a supervisor put before it.
pub(super) fn of(line: &str) -> Option<Duration> {
    epoch(line).or_else(|| {
        let head = line.get(..line.floor_char_boundary(HEAD)).unwrap_or(line);
        // The last one: what stands before it is somebody else's.
        (0..head.len()).rev().filter(|start| head.is_char_boundary(*start)).find_map(|start| date(&head[start..]))
    })
}

/// A date stands within so many bytes.
const HEAD: usize = 96;

fn epoch(line: &str) -> Option<Duration> {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    if !(9..=11).contains(&digits) || !line[digits..].starts_with(':') {
        return None;
    }
    Some(Duration::from_secs(line[..digits].parse().ok()?))
}

/// `YYYY-MM-DD hh:mm:ss` at the start of a text.
fn date(text: &str) -> Option<Duration> {
    let bytes = text.as_bytes();
    let shape = b"0000-00-00 00:00:00";
    let fits = |(index, shape): (usize, &u8)| match (shape, bytes.get(index)) {
        (b'0', Some(byte)) => byte.is_ascii_digit(),
        (b' ', Some(byte)) => matches!(byte, b' ' | b'T'),
        (shape, byte) => byte == Some(shape),
    };
    if !shape.iter().enumerate().all(fits) {
        return None;
    }
    let number = |from: usize, to: usize| text[from..to].parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (years, months) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    // Days since 1970: years begin in March, so that leap days stand at their end.
    let days = years * 365 + years / 4 - years / 100 + years / 400 + (months * 153 + 2) / 5 + day - 1 - 719_468;
    Some(Duration::from_secs(days * 86_400 + hour * 3600 + minute * 60 + second))
}

/// `2026-11-22 16:07:29`.
pub(super) fn words(moment: Duration) -> String {
    let seconds = moment.as_secs();
    let days = seconds / 86_400 + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let years = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * years + years / 4 - years / 100);
    let months = (5 * of_year + 2) / 153;
    let day = of_year - (153 * months + 2) / 5 + 1;
    let month = if months < 10 { months + 3 } else { months - 9 };
    let year = years + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_of_every_kind_are_read() {
        let at = Some(Duration::from_secs(1_795_363_649));
        assert_eq!(of("2026-11-22 16:07:29 [13891] WARN  /x/f.c:1 f: text"), at);
        assert_eq!(of("\u{1b}[33m2026-11-22 16:07:29 [1] WARN"), at);
        assert_eq!(of("nanomq-1  | 2026-11-22 16:07:29 [1] WARN"), at);
        assert_eq!(of("2026-11-22T15:07:29.123456Z 2026-11-22 16:07:29 [1] WARN"), at);
        assert_eq!(of("1795363649: Connecting bridge (step 1) lab (h:1883)"), at);
        assert_eq!(of("2026-11-22T16:07:29: Connecting bridge"), at);
        for none in ["", "NanoMQ Broker is started successfully!", "2026-13-22 16:07:29", "123: x", "äöü 2026-11-2"]
        {
            assert_eq!(of(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(seconds in 0u64..4_000_000_000) {
            let moment = Duration::from_secs(seconds);
            prop_assert_eq!(of(&words(moment)), Some(moment));
        }
    }
}
