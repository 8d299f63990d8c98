//! What makes no sense of a source, and what costs a guarantee.
use super::{SOURCE, leg};
use crate::bridge::config::check::{Complaint, check_bridge};
use crate::bridge::config::{Bridge, Config, Durability, Subscription, WhenFull};
use crate::bridge::topic;

/// Called where there is a source, after the bridges were checked.
pub(in crate::bridge::config) fn check(config: &Config) -> Result<(), Complaint> {
    let wrong = |key: &str, what: String| Err(Complaint { key: key.to_owned(), what });
    let Some(leg) = leg(config) else { return Ok(()) };
    if !config.listeners.is_empty() {
        return wrong(
            SOURCE,
            "listeners are there as well: clients connect to the source, or to a listener".to_owned(),
        );
    }
    if config.bridges.is_empty() {
        return wrong(SOURCE, "there are no bridges: nothing would go anywhere".to_owned());
    }
    if let Some(index) = config.bridges.iter().position(|bridge| bridge.name == SOURCE) {
        return wrong(&format!("bridges[{index}].name"), format!("`{SOURCE}` is the name of the source's own queue"));
    }
    let known = |bridge: &&Bridge| bridge.server.iter().any(|server| *server == leg.server.at(0).clone());
    if let Some(bridge) = config.bridges.iter().filter(known).find(|bridge| bridge.client_id == leg.client_id) {
        let what =
            format!("bridge {} has this client_id at this server: they would disconnect each other", bridge.name);
        return wrong("source.client_id", what);
    }
    if leg.server.first().scheme.is_tls() {
        return wrong(
            "source.server",
            "TLS to the source is not available yet in this version: mqtt:// or ws://".to_owned(),
        );
    }
    check_bridge(&leg, SOURCE)?;
    if leg.protocol == 4 {
        echo(&config.bridges)?;
    }
    Ok(())
}

/// 3.1.1 has no No Local: what is published at the source comes back by a subscription that matches.
fn echo(bridges: &[Bridge]) -> Result<(), Complaint> {
    let forwards = || bridges.iter().flat_map(|bridge| &bridge.forwards);
    for subscription in bridges.iter().flat_map(|bridge| &bridge.subscriptions) {
        let arrives = arrives_as(subscription);
        let meets = |local: &str| arrives.iter().any(|filter| topic::overlap(filter, local));
        if let Some(forward) = forwards().find(|forward| meets(&forward.local)) {
            let what = format!(
                "3.1.1 has no No Local: what the subscription `{}` brings would come back and be forwarded by `{}`; use \
                 protocol 5, or topics that do not meet",
                subscription.remote, forward.local
            );
            return Err(Complaint { key: format!("{SOURCE}.protocol"), what });
        }
    }
    Ok(())
}

/// Filters that match every local topic under which a subscription's messages are published.
fn arrives_as(subscription: &Subscription) -> Vec<String> {
    let around = |name: &str| widened(&format!("{}{name}{}", subscription.prefix, subscription.suffix));
    let remote = subscription.remote.as_str();
    match (&subscription.local, usize::from(subscription.strip_levels)) {
        (Some(name), _) => vec![around(name)],
        (None, 0) => vec![around(remote)],
        // A topic that has no more levels than these stays as it is.
        (None, strip) => {
            let skipped: Vec<&str> = remote.split('/').take(strip).collect();
            let rest: Vec<&str> = remote.split('/').skip(strip).collect();
            let rest = if skipped.contains(&"#") || rest.is_empty() { "#".to_owned() } else { rest.join("/") };
            vec![around(&rest), around(remote)]
        }
    }
}

/// What a text is put around a wildcard, no filter can say: the whole level is meant, or all that follows.
fn widened(text: &str) -> String {
    let mut levels = Vec::new();
    for level in text.split('/') {
        if level.contains('#') {
            levels.push("#");
            break;
        }
        levels.push(if level.contains('+') { "+" } else { level });
    }
    levels.join("/")
}

/// What is allowed but costs a guarantee.
pub(in crate::bridge::config) fn warnings(config: &Config) -> Vec<String> {
    let Some(leg) = leg(config) else { return Vec::new() };
    let mut warnings: Vec<String> = super::overlapping(&leg)
        .into_iter()
        .map(|(one, other)| {
            format!(
                "source: the filters `{one}` and `{other}` overlap: a broker that delivers once for each gives what both \
                 match twice, at QoS 2 too; one filter that covers both has it once"
            )
        })
        .collect();
    if let Some(cache) = &config.cache {
        let forwards = config.bridges.iter().flat_map(|bridge| &bridge.forwards);
        let mut full = forwards.map(|forward| forward.when_full.unwrap_or(cache.when_full));
        if full.any(|when_full| matches!(when_full, WhenFull::Reject | WhenFull::Block)) {
            warnings.push(
                "source: what no longer fits into the cache is not acknowledged: it waits at the source, within the limits of \
                 that broker's own queue (mosquitto: max_queued_messages, 1000), which drops what is beyond"
                    .to_owned(),
            );
        }
        if cache.durability == Durability::Deferred {
            warnings.push(
                "cache.durability: deferred: without effect, what the source sends is committed at once".to_owned(),
            );
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::message::QoS;

    #[test]
    fn what_a_subscription_brings_is_known_as_far_as_filters_can_say() {
        let of = |remote: &str, strip_levels, prefix: &str, suffix: &str| {
            let (prefix, suffix) = (prefix.to_owned(), suffix.to_owned());
            arrives_as(&Subscription { strip_levels, prefix, suffix, ..Subscription::of(remote, QoS::AtLeastOnce) })
        };
        assert_eq!(of("a/+", 0, "", ""), ["a/+"]);
        assert_eq!(of("+/a", 0, "p", ""), ["+/a"]);
        assert_eq!(of("a/#", 0, "x/", "/y"), ["x/a/#"]);
        assert_eq!(of("a/b/#", 1, "", ""), ["b/#", "a/b/#"]);
        assert_eq!(of("#", 2, "in/", ""), ["in/#", "in/#"]);
    }
}
