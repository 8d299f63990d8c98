//! Durations and sizes as they are typed: a number with its unit, parsed once.
use std::time::Duration;

use serde::de::Deserializer;
use serde::{Serialize, Serializer};

use super::yaml::Text;

/// What is wrong with a duration or a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// A duration without a unit, or with an unknown one.
    #[error("`{0}` is not a duration: write a number and one of us, ms, s, m, h, d, as in 500ms or 3s")]
    Duration(String),
    /// A size without a unit, or with an unknown one.
    #[error("`{0}` is not a size: write a number and one of B, KiB, MiB, GiB (or kB, MB, GB), as in 64B or 2MiB")]
    Size(String),
    /// A rate without a unit, or with an unknown one, or of nothing.
    #[error("`{0}` is not a rate: write a whole number from 1 to 1000000 and one of /s, /m, /h, as in 500/s")]
    Rate(String),
}

/// So many in so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    per: Per,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Per {
    Second,
    Minute,
    Hour,
}

impl Rate {
    fn unit(self) -> (&'static str, Duration) {
        match self.per {
            Per::Second => ("s", Duration::from_secs(1)),
            Per::Minute => ("m", Duration::from_secs(60)),
            Per::Hour => ("h", Duration::from_secs(3_600)),
        }
    }

    /// Between two of them.
    pub fn interval(self) -> Duration {
        self.unit().1 / self.count
    }

    /// How many a second.
    pub fn per_second(self) -> f64 {
        f64::from(self.count) / self.unit().1.as_secs_f64()
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.count, self.unit().0)
    }
}

/// Parses `500/s`, `30/m`.
///
/// # Errors
/// [`UnitError::Rate`] where the number or the unit is missing, or the number is not from 1 to 1000000.
pub fn parse_rate(text: &str) -> Result<Rate, UnitError> {
    let wrong = || UnitError::Rate(text.to_owned());
    let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
    let count: u32 = count.trim().parse().map_err(|_| wrong())?;
    let per = match unit.trim() {
        "s" => Per::Second,
        "m" | "min" => Per::Minute,
        "h" => Per::Hour,
        _ => return Err(wrong()),
    };
    if (1..=1_000_000).contains(&count) { Ok(Rate { count, per }) } else { Err(wrong()) }
}

fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let unit = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let number: f64 = text[..unit].parse().ok()?;
    Some((number, text[unit..].trim()))
}

/// Parses `500ms`, `3s`, `1.5m`, `7d`; `0` needs no unit.
///
/// # Errors
/// [`UnitError::Duration`] where the number or the unit is missing, negative or too large.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let wrong = || UnitError::Duration(text.to_owned());
    if text.trim() == "0" {
        return Ok(Duration::ZERO);
    }
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return Err(wrong()),
    };
    let parsed = Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
    // Nanoseconds that only rounding made (0.1 s is no binary fraction) would show in every report.
    Ok(Duration::from_micros(((parsed.as_nanos() + 500) / 1_000) as u64))
}

/// Parses `64B`, `2MiB`, `1GB` into bytes; `0` needs no unit.
///
/// # Errors
/// [`UnitError::Size`] where the number or the unit is missing, negative or too large.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let wrong = || UnitError::Size(text.to_owned());
    if text.trim() == "0" {
        return Ok(0);
    }
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let bytes: f64 = match unit {
        "B" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err(wrong()),
    };
    let size = number * bytes;
    if size.fract() != 0.0 || size > 2f64.powi(53) {
        return Err(wrong());
    }
    Ok(size as u64)
}

/// A duration as a person writes it: the largest unit that leaves a short number.
pub fn format_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    let (unit, name) = match micros {
        0 => return "0s".to_owned(),
        m if m % 86_400_000_000 == 0 => (86_400_000_000u128, "d"),
        m if m % 3_600_000_000 == 0 => (3_600_000_000, "h"),
        m if m % 60_000_000 == 0 && m > 600_000_000 => (60_000_000, "m"),
        m if m >= 1_000_000 => (1_000_000, "s"),
        m if m >= 1_000 => (1_000, "ms"),
        _ => (1, "us"),
    };
    let value = micros as f64 / unit as f64;
    let digits = format!("{value:.3}");
    format!("{}{name}", digits.trim_end_matches('0').trim_end_matches('.'))
}

/// A size as a person writes it.
pub fn format_size(bytes: u64) -> String {
    for (unit, name) in [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{}{name}", bytes / unit);
        }
    }
    format!("{bytes}B")
}

/// For `#[serde(deserialize_with = "units::duration")]`.
///
/// # Errors
/// As [`parse_duration`].
pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let parse = |text: &str| parse_duration(text).map_err(|error| error.to_string());
    deserializer.deserialize_any(Text(parse, "a duration such as 3s"))
}

/// For `#[serde(default, deserialize_with = "units::optional_duration")]`.
///
/// # Errors
/// As [`parse_duration`].
pub fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

/// For `#[serde(deserialize_with = "units::size")]`.
///
/// # Errors
/// As [`parse_size`].
pub fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let parse = |text: &str| parse_size(text).map_err(|error| error.to_string());
    deserializer.deserialize_any(Text(parse, "a size such as 64B or 2MiB"))
}

/// For `#[serde(default, deserialize_with = "units::optional_size")]`.
///
/// # Errors
/// As [`parse_size`].
pub fn optional_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    size(deserializer).map(Some)
}

/// For `#[serde(deserialize_with = "units::rate")]`.
///
/// # Errors
/// As [`parse_rate`].
pub fn rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Rate, D::Error> {
    let parse = |text: &str| parse_rate(text).map_err(|error| error.to_string());
    deserializer.deserialize_any(Text(parse, "a rate such as 500/s"))
}

/// For `#[serde(serialize_with = "units::write_rate")]`.
///
/// # Errors
/// Those of the serializer.
pub fn write_rate<S: Serializer>(rate: &Rate, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(rate)
}

/// For `#[serde(serialize_with = "units::write_duration")]`.
///
/// # Errors
/// Those of the serializer.
pub fn write_duration<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_duration(*duration))
}

/// For `#[serde(serialize_with = "units::write_optional_duration")]`.
///
/// # Errors
/// Those of the serializer.
pub fn write_optional_duration<S: Serializer>(duration: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    duration.map(format_duration).serialize(to)
}

/// For `#[serde(serialize_with = "units::write_size")]`.
///
/// # Errors
/// Those of the serializer.
pub fn write_size<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_size(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_units() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        for wrong in ["3", "s", "-1s", "3 parsecs", "", "1e99d"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_carry_units() {
        assert_eq!(parse_size("64B"), Ok(64));
        assert_eq!(parse_size("2MiB"), Ok(2 << 20));
        assert_eq!(parse_size("1GB"), Ok(1_000_000_000));
        for wrong in ["64", "B", "-1B", "0.5B", "3 apples"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rates_carry_units() {
        assert_eq!(parse_rate("500/s").unwrap().interval(), Duration::from_millis(2));
        assert_eq!(parse_rate("30 / m").unwrap().per_second(), 0.5);
        for text in ["500/s", "30/m", "7/h"] {
            assert_eq!(parse_rate(text).unwrap().to_string(), text);
        }
        for wrong in ["500", "/s", "0/s", "-1/s", "1.5/s", "500/d", "1000001/s", ""] {
            assert!(parse_rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_formatted_parses_back() {
        for text in ["500ms", "3s", "1.5s", "7d", "90s", "20m", "36h"] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(parse_duration(&format_duration(duration)), Ok(duration), "{text}");
        }
        assert_eq!(format_size(2 << 20), "2MiB");
        assert_eq!(format_size(64), "64B");
    }
}
