//! Which message goes where, and under which name.
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::bridge::config::{Bridge, Forward, Subscription};
use crate::bridge::delivery::{BridgeId, NewDelivery};
use crate::bridge::message::{Message, QoS};
use crate::bridge::topic;

/// The forwards of all bridges.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    bridges: Vec<(BridgeId, Vec<Forward>)>,
    source: Option<BridgeId>,
}

impl Routes {
    /// Adds a bridge's forwards.
    pub fn add(&mut self, bridge: BridgeId, config: &Bridge) {
        self.bridges.push((bridge, config.forwards.clone()));
    }

    /// What comes from any remote goes to this one as it is, since it is the local side.
    pub fn set_source(&mut self, source: BridgeId) {
        self.source = Some(source);
    }

    /// Where a message goes: at most one delivery a bridge, by its first forward that matches; none to the bridge that
    /// it came `from`, or two of them would play ping-pong.
    pub fn deliveries(&self, message: &Message, from: Option<BridgeId>) -> Vec<NewDelivery> {
        let mut deliveries = Vec::new();
        if message.topic.starts_with(topic::SYS) {
            // The bridge's own: nobody else may speak in its name, here or at the remote.
            return deliveries;
        }
        if let Some(source) = self.source.filter(|source| from.is_some_and(|from| from != *source)) {
            let (topic, qos, retain) = (message.topic.clone(), message.qos, message.retain);
            deliveries.push(NewDelivery { bridge: source, topic, qos, retain, when_full: None, identifiers: None });
        }
        for (bridge, forwards) in &self.bridges {
            if Some(*bridge) == from {
                continue;
            }
            let Some(forward) = forwards.iter().find(|forward| topic::matches(&forward.local, &message.topic)) else {
                continue;
            };
            deliveries.push(NewDelivery {
                bridge: *bridge,
                topic: renamed(
                    &message.topic,
                    forward.remote.as_deref(),
                    forward.strip_levels,
                    [&forward.prefix, &forward.suffix],
                ),
                qos: forward.qos.unwrap_or(message.qos),
                retain: forward.retain.unwrap_or(message.retain),
                when_full: forward.when_full,
                identifiers: None,
            });
        }
        deliveries
    }
}

/// [`Routes`] that all connections share, and that may be exchanged while they do: reading them takes no lock.
#[derive(Debug, Clone, Default)]
pub struct SharedRoutes(Arc<ArcSwap<Routes>>);

impl SharedRoutes {
    /// Shares routes.
    pub fn new(routes: Routes) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(routes)))
    }

    /// What holds at this moment.
    pub fn load(&self) -> Guard<Arc<Routes>> {
        self.0.load()
    }

    /// From now on these hold.
    pub fn store(&self, routes: Routes) {
        self.0.store(Arc::new(routes));
    }
}

/// The local name of a message from the remote, by the first subscription that matches; `None`: it was not asked for.
/// Its QoS is at most the subscription's, whatever the remote granted.
pub fn localized(subscriptions: &[Subscription], message: &Message) -> Option<(Arc<str>, QoS)> {
    let subscription =
        subscriptions.iter().find(|subscription| topic::matches(&subscription.remote, &message.topic))?;
    let (name, around) = (subscription.local.as_deref(), [&*subscription.prefix, &subscription.suffix]);
    let name = renamed(&message.topic, name, subscription.strip_levels, around);
    Some((name, message.qos.min(subscription.qos)))
}

fn renamed(topic: &Arc<str>, name: Option<&str>, strip_levels: u8, around: [&str; 2]) -> Arc<str> {
    match (name, strip_levels, around) {
        (None, 0, ["", ""]) => topic.clone(),
        (name, strip_levels, [prefix, suffix]) => {
            let name = name.unwrap_or_else(|| stripped(topic, strip_levels));
            format!("{prefix}{name}{suffix}").into()
        }
    }
}

/// `a/#` matches `a` as well, of which nothing would remain: it is kept.
fn stripped(topic: &str, levels: u8) -> &str {
    let rest = topic.splitn(usize::from(levels) + 1, '/').nth(levels.into());
    rest.filter(|rest| !rest.is_empty()).unwrap_or(topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(local: &str, remote: Option<&str>, prefix: &str, qos: Option<QoS>) -> Forward {
        let remote = remote.map(str::to_owned);
        let (local, prefix, suffix) = (local.into(), prefix.into(), String::new());
        Forward { local, remote, strip_levels: 0, prefix, suffix, qos, retain: None, when_full: None }
    }

    fn routes(forwards: Vec<Forward>) -> Routes {
        Routes { bridges: vec![(BridgeId(1), forwards.clone()), (BridgeId(2), forwards)], source: None }
    }

    #[test]
    fn the_first_forward_that_matches_names_the_topic() {
        let routes = routes(vec![
            forward("a/b", Some("c"), "", Some(QoS::ExactlyOnce)),
            forward("a/+", None, "site-7/", None),
            forward("#", None, "", None),
        ]);
        let to = |topic: &str| {
            let deliveries = routes.deliveries(&Message::new(topic, "x", QoS::AtLeastOnce), Some(BridgeId(2)));
            assert_eq!(deliveries.len(), 1);
            (deliveries[0].topic.to_string(), deliveries[0].qos)
        };
        assert_eq!(to("a/b"), ("c".into(), QoS::ExactlyOnce));
        assert_eq!(to("a/c"), ("site-7/a/c".into(), QoS::AtLeastOnce));
        assert_eq!(to("d"), ("d".into(), QoS::AtLeastOnce));
    }

    #[test]
    fn levels_are_taken_off_and_a_suffix_is_put_behind() {
        let mut forward = forward("site/+/#", None, "edge/", None);
        (forward.strip_levels, forward.suffix) = (2, "/raw".to_owned());
        let routes = Routes { bridges: vec![(BridgeId(1), vec![forward])], source: None };
        for (topic, expected) in
            [("site/7/a/b", "edge/a/b/raw"), ("site/7", "edge/site/7/raw"), ("site/7/", "edge/site/7//raw")]
        {
            let deliveries = routes.deliveries(&Message::new(topic, "x", QoS::AtLeastOnce), None);
            assert_eq!(&*deliveries[0].topic, expected, "{topic}");
        }
        let subscription = Subscription::of("site/cmd/#", QoS::AtLeastOnce);
        let subscription = Subscription { strip_levels: 1, suffix: "/in".to_owned(), ..subscription };
        let (name, _) = localized(&[subscription], &Message::new("site/cmd/a", "x", QoS::AtLeastOnce)).unwrap();
        assert_eq!(&*name, "cmd/a/in");
    }

    #[test]
    fn what_comes_from_a_remote_goes_to_the_source_and_what_comes_from_the_source_does_not() {
        let mut routes = routes(vec![forward("a", None, "", None)]);
        routes.set_source(BridgeId(3));
        let to = |topic: &str, from| {
            let deliveries = routes.deliveries(&Message::new(topic, "x", QoS::AtLeastOnce), Some(BridgeId(from)));
            deliveries.iter().map(|delivery| delivery.bridge.0).collect::<Vec<_>>()
        };
        assert_eq!(to("a", 1), [3, 2]);
        assert_eq!(to("b", 1), [3]);
        assert_eq!(to("a", 3), [1, 2]);
    }

    #[test]
    fn what_matches_no_forward_goes_nowhere() {
        let routes = routes(vec![forward("a", None, "", None)]);
        assert!(routes.deliveries(&Message::new("b", "x", QoS::AtMostOnce), None).is_empty());
    }
}
