//! Single values of a scenario with a grammar of their own.
use std::time::Duration;

use serde::Deserialize;
use serde::de::Deserializer;

use crate::bridge::units;
use crate::bridge::yaml::Text;

/// A moment on the timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub Duration);

/// A number that is not exceeded, or a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowance {
    /// At most so many.
    AtMost(u64),
    /// Counted and not judged.
    Any,
    /// As many as the bridge counted as dropped, and the oldest.
    Evicted,
    /// As many as the bridge counted as ambiguous.
    Ambiguous,
}

impl Allowance {
    /// The number; `None`: not judged.
    pub fn number(self) -> Option<u64> {
        match self {
            Self::AtMost(number) => Some(number),
            Self::Any => None,
            Self::Evicted | Self::Ambiguous => Some(0),
        }
    }
}

/// A share of a hundred, as in `30%`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percent(pub f64);

/// A rate of data, as in `8kbit` or `1KiB/s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BytesPerSecond(pub u64);

/// A setting's value: text, number or truth, as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar(pub String);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fn moment(text: &str) -> Result<Moment, String> {
            if text.trim_start().starts_with('-') {
                return Err(format!("`{text}` is before the start: the timeline begins at 0s"));
            }
            units::parse_duration(text).map(Moment).map_err(|error| error.to_string())
        }
        deserializer.deserialize_any(Text(moment, "a moment such as 10s"))
    }
}

impl<'de> Deserialize<'de> for Allowance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fn allowance(text: &str) -> Result<Allowance, String> {
            match text {
                "any" => Ok(Allowance::Any),
                "evicted" => Ok(Allowance::Evicted),
                "ambiguous" => Ok(Allowance::Ambiguous),
                _ => text.parse().map(Allowance::AtMost).map_err(|_| {
                    format!("`{text}` is no number of messages: write 0 or more, or `any` to count without judging")
                }),
            }
        }
        deserializer.deserialize_any(Text(allowance, "a number of messages, or `any`"))
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Text(|text| Ok(Scalar(text.to_owned())), "a text, a number, true or false"))
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fn percent(text: &str) -> Result<Percent, String> {
            let number = text.trim().strip_suffix('%').and_then(|number| number.trim_end().parse::<f64>().ok());
            match number.filter(|number| *number > 0.0 && *number <= 100.0) {
                Some(number) => Ok(Percent(number)),
                None => Err(format!("`{text}` is no share: write above 0% and at most 100%, as in 20%")),
            }
        }
        deserializer.deserialize_any(Text(percent, "a share such as 20%"))
    }
}

impl<'de> Deserialize<'de> for BytesPerSecond {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Text(bytes_per_second, "a rate of data such as 8kbit or 1KiB/s"))
    }
}

fn bytes_per_second(text: &str) -> Result<BytesPerSecond, String> {
    let wrong = || {
        format!(
            "`{text}` is no rate of data: write bit, kbit or Mbit (a second), or a size and /s, as in 8kbit or 1KiB/s"
        )
    };
    let text = text.trim();
    let bits = [("kbit", 1e3), ("Mbit", 1e6), ("bit", 1.0)];
    let bytes = match (text.strip_suffix("/s"), bits.iter().find_map(|(unit, of)| Some((text.strip_suffix(unit)?, of))))
    {
        (Some(size), _) => units::parse_size(size).map_err(|_| wrong())?,
        (None, Some((number, of))) => (number.trim().parse::<f64>().map_err(|_| wrong())? * of / 8.0) as u64,
        (None, None) => return Err(wrong()),
    };
    if bytes == 0 { Err(wrong()) } else { Ok(BytesPerSecond(bytes)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_data_have_units() {
        let bytes = |text| bytes_per_second(text).map(|rate| rate.0);
        assert_eq!(
            [bytes("8kbit"), bytes("1KiB/s"), bytes("0.5Mbit"), bytes("80bit")].map(Result::unwrap),
            [1000, 1024, 62_500, 10]
        );
        for wrong in ["8", "8kb", "kbit", "0kbit", "-8kbit", "7bit", "1KiB", "0/s", "NaNkbit"] {
            assert!(bytes(wrong).unwrap_err().starts_with(&format!("`{wrong}` is no rate of data")), "{wrong}");
        }
    }
}
