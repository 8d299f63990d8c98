//! A subject's own counters, and the identity that they must satisfy at every moment (G7):
//! accepted + restored = delivered + queued + in_flight + quarantined + dropped, for each bridge.
use std::collections::BTreeMap;

/// Names and labels as served, such as `mqtt_bridge_messages_queued{bridge="emqx1"}`, with their values.
pub type Sample = BTreeMap<String, f64>;

const SOURCES: [&str; 2] = ["mqtt_bridge_messages_accepted_total", "mqtt_bridge_messages_restored_total"];
const PLACES: [&str; 5] = [
    "mqtt_bridge_messages_delivered_total",
    "mqtt_bridge_messages_queued",
    "mqtt_bridge_messages_in_flight",
    "mqtt_bridge_messages_quarantined",
    "mqtt_bridge_messages_dropped_total",
];

/// Whether a sample has what the identity is about; a subject without such counters cannot be checked by them.
pub fn can_be_checked(sample: &Sample) -> bool {
    sample.keys().any(|name| metric(name) == SOURCES[0])
}

/// How a sample contradicts the identity, for the first bridge where it does. Absent counters count 0.
pub fn imbalance(sample: &Sample) -> Option<String> {
    // Per bridge: what came in, and where it is.
    let mut sums: BTreeMap<&str, [f64; 2]> = BTreeMap::new();
    for (name, value) in sample {
        if SOURCES.contains(&metric(name)) {
            sums.entry(bridge(name)).or_default()[0] += value;
        } else if PLACES.contains(&metric(name)) {
            sums.entry(bridge(name)).or_default()[1] += value;
        }
    }
    let (bridge, [came, are]) = sums.into_iter().find(|(_, [came, are])| came != are)?;
    let of = if bridge.is_empty() { String::new() } else { format!("bridge {bridge}: ") };
    Some(format!(
        "{of}accepted + restored = {came}, but delivered + queued + in_flight + quarantined + dropped = {are}"
    ))
}

/// The sum of a counter over all its labels; `None` where the subject does not have it.
pub fn sum(sample: &Sample, counter: &str) -> Option<u64> {
    let values = sample.iter().filter(|(name, _)| metric(name) == counter).map(|(_, value)| *value);
    values.reduce(|one, other| one + other).map(|sum| sum as u64)
}

/// A name without its labels.
pub(super) fn metric(name: &str) -> &str {
    name.split_once('{').map_or(name, |(metric, _)| metric)
}

fn bridge(name: &str) -> &str {
    let Some((_, labels)) = name.split_once("bridge=\"") else { return "" };
    labels.split_once('"').map_or(labels, |(bridge, _)| bridge)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(counters: &[(&str, f64)]) -> Sample {
        counters.iter().map(|(name, value)| (format!("mqtt_bridge_messages_{name}"), *value)).collect()
    }

    #[test]
    fn a_balanced_sample_passes_with_drops_of_every_reason() {
        let balanced = sample(&[
            ("accepted_total{bridge=\"a\"}", 10.0),
            ("restored_total{bridge=\"a\"}", 2.0),
            ("delivered_total{bridge=\"a\"}", 6.0),
            ("queued{bridge=\"a\"}", 3.0),
            ("in_flight{bridge=\"a\"}", 1.0),
            ("dropped_total{bridge=\"a\",reason=\"expired\"}", 1.0),
            ("dropped_total{bridge=\"a\",reason=\"full\"}", 1.0),
            ("accepted_total{bridge=\"b\"}", 1.0),
            ("queued{bridge=\"b\"}", 1.0),
        ]);
        assert!(can_be_checked(&balanced));
        assert_eq!(imbalance(&balanced), None);
    }

    #[test]
    fn the_bridge_that_does_not_add_up_is_named() {
        let sins = sample(&[("accepted_total{bridge=\"a\"}", 10.0), ("delivered_total{bridge=\"a\"}", 9.0)]);
        let said = "bridge a: accepted + restored = 10, but delivered + queued + in_flight + quarantined + dropped = 9";
        assert_eq!(imbalance(&sins).as_deref(), Some(said));
        assert!(!can_be_checked(&sample(&[("queued", 1.0)])));
    }
}
