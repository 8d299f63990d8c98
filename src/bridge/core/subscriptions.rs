//! Which sessions want a message: their Topic Filters in a tree of topic levels, so that what a match costs depends on the
//! message's levels and on who wants it, not on how many subscribe.
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::bridge::delivery::Identifiers;
use crate::bridge::message::QoS;
use crate::bridge::wire::Subscription;

/// Before the name of a group and its filter (MQTT 5, section 4.8.2).
const SHARE: &str = "$share/";

/// The Topic Filter of a Shared Subscription; `None`: it is none, or has no valid form ([MQTT-4.8.2-1], [MQTT-4.8.2-2]).
pub fn shared(filter: &str) -> Option<&str> {
    let (group, filter) = filter.strip_prefix(SHARE)?.split_once('/')?;
    (!group.is_empty() && !group.contains(['+', '#']) && !filter.is_empty()).then_some(filter)
}

/// Whether a filter claims to be that of a Shared Subscription.
pub fn is_shared(filter: &str) -> bool {
    filter.starts_with(SHARE)
}

/// A session that gets a message, once, by all its subscriptions together ([MQTT-3.3.4-2]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Client Identifier.
    pub client_id: Arc<str>,
    /// The highest that it asked for.
    pub qos: QoS,
    /// Whether RETAIN stays as it was published.
    pub retain_as_published: bool,
    /// Of the subscriptions that match.
    pub identifiers: Identifiers,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    client_id: Arc<str>,
    qos: QoS,
    no_local: bool,
    retain_as_published: bool,
    identifier: Option<u32>,
}

/// The members of a Shared Subscription.
#[derive(Debug, Default)]
struct Group {
    members: Vec<Member>,
    /// Whose turn is next.
    turn: usize,
}

#[derive(Debug, Default)]
struct Node {
    levels: HashMap<Box<str>, Node>,
    /// Subscriptions whose filter ends here.
    here: Vec<Member>,
    /// By the whole filter, with the group's name.
    groups: HashMap<Box<str>, Group>,
}

impl Node {
    fn is_empty(&self) -> bool {
        self.levels.is_empty() && self.here.is_empty() && self.groups.is_empty()
    }

    fn remove(&mut self, mut levels: std::str::Split<'_, char>, filter: &str, client_id: &str) {
        if let Some(level) = levels.next() {
            if let Some(node) = self.levels.get_mut(level) {
                node.remove(levels, filter, client_id);
                if node.is_empty() {
                    self.levels.remove(level);
                }
            }
        } else if !is_shared(filter) {
            self.here.retain(|member| *member.client_id != *client_id);
        } else if let Some(group) = self.groups.get_mut(filter) {
            group.members.retain(|member| *member.client_id != *client_id);
            if group.members.is_empty() {
                self.groups.remove(filter);
            }
        }
    }
}

/// The subscriptions of all sessions.
#[derive(Debug, Default)]
pub struct Subscriptions {
    root: Node,
    filters: HashMap<Arc<str>, BTreeSet<String>>,
}

impl Subscriptions {
    /// Whether nobody subscribes.
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// A session subscribes, or changes the options of a subscription; whether it is new.
    pub fn subscribe(&mut self, client_id: &Arc<str>, subscription: &Subscription) -> bool {
        let filter = &subscription.filter;
        let is_new = self.filters.entry(client_id.clone()).or_default().insert(filter.clone());
        let member = Member {
            client_id: client_id.clone(),
            qos: subscription.qos,
            no_local: subscription.no_local,
            retain_as_published: subscription.retain_as_published,
            identifier: subscription.identifier,
        };
        let mut node = &mut self.root;
        for level in shared(filter).unwrap_or(filter).split('/') {
            node = node.levels.entry(level.into()).or_default();
        }
        let members = match is_shared(filter) {
            true => &mut node.groups.entry(filter.as_str().into()).or_default().members,
            false => &mut node.here,
        };
        match members.iter_mut().find(|known| known.client_id == *client_id) {
            Some(known) => *known = member,
            None => members.push(member),
        }
        is_new
    }

    /// A session unsubscribes.
    pub fn unsubscribe(&mut self, client_id: &str, filter: &str) {
        let Some(filters) = self.filters.get_mut(client_id) else { return };
        if filters.remove(filter) {
            self.root.remove(shared(filter).unwrap_or(filter).split('/'), filter, client_id);
        }
        if filters.is_empty() {
            self.filters.remove(client_id);
        }
    }

    /// A session has ended.
    pub fn remove(&mut self, client_id: &str) {
        for filter in self.filters.remove(client_id).into_iter().flatten() {
            self.root.remove(shared(&filter).unwrap_or(&filter).split('/'), &filter, client_id);
        }
    }

    /// Who gets a message, by client id. Of a group one member gets it: they take turns, those that are connected first.
    pub fn matching(
        &mut self,
        topic: &str,
        publisher: Option<&str>,
        is_connected: impl Fn(&str) -> bool,
    ) -> Vec<Wanted> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut members = Vec::new();
        let levels: Vec<&str> = topic.split('/').collect();
        collect(&mut self.root, &levels, !topic.starts_with('$'), &is_connected, &mut members);
        members.retain(|member| !(member.no_local && publisher == Some(&*member.client_id)));
        members.sort_by(|one, other| one.client_id.cmp(&other.client_id));
        members.chunk_by(|one, other| one.client_id == other.client_id).filter_map(merged).collect()
    }
}

fn collect(
    node: &mut Node,
    levels: &[&str],
    wildcards: bool,
    is_connected: &impl Fn(&str) -> bool,
    into: &mut Vec<Member>,
) {
    if wildcards && let Some(all) = node.levels.get_mut("#") {
        take(all, is_connected, into);
    }
    let Some((level, rest)) = levels.split_first() else { return take(node, is_connected, into) };
    if let Some(next) = node.levels.get_mut(*level) {
        collect(next, rest, true, is_connected, into);
    }
    if wildcards && let Some(next) = node.levels.get_mut("+") {
        collect(next, rest, true, is_connected, into);
    }
}

fn take(node: &mut Node, is_connected: &impl Fn(&str) -> bool, into: &mut Vec<Member>) {
    into.extend(node.here.iter().cloned());
    for group in node.groups.values_mut() {
        let count = group.members.len();
        let turns = || (0..count).map(|step| (group.turn + step) % count);
        let chosen = turns().find(|index| is_connected(&group.members[*index].client_id)).or_else(|| turns().next());
        if let Some(index) = chosen {
            into.push(group.members[index].clone());
            group.turn = (index + 1) % count;
        }
    }
}

fn merged(members: &[Member]) -> Option<Wanted> {
    let first = members.first()?;
    let identifiers: Vec<u32> = members.iter().filter_map(|member| member.identifier).collect();
    Some(Wanted {
        client_id: first.client_id.clone(),
        qos: members.iter().map(|member| member.qos).max()?,
        retain_as_published: members.iter().any(|member| member.retain_as_published),
        identifiers: (!identifiers.is_empty()).then(|| identifiers.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::topic;
    use proptest::prelude::*;

    fn subscription(filter: &str, qos: QoS) -> Subscription {
        let filter = filter.to_owned();
        Subscription { filter, qos, no_local: false, retain_as_published: false, retain_handling: 0, identifier: None }
    }

    fn clients(wanted: &[Wanted]) -> Vec<&str> {
        wanted.iter().map(|wanted| &*wanted.client_id).collect()
    }

    proptest! {
        #[test]
        fn the_tree_finds_what_a_look_at_every_filter_finds(
            filters in proptest::collection::vec(("[abc]", "(\\$?[ab]|\\+)(/([ab]|\\+)){0,2}(/#)?|#"), 0..12),
            gone in any::<[bool; 12]>(),
            topic in "\\$?[ab](/[ab]){0,3}",
        ) {
            let mut tree = Subscriptions::default();
            let mut kept: Vec<(String, String)> = Vec::new();
            for ((client, filter), gone) in filters.iter().zip(gone) {
                tree.subscribe(&client.as_str().into(), &subscription(filter, QoS::AtLeastOnce));
                kept.push((client.clone(), filter.clone()));
                if gone {
                    tree.unsubscribe(client, filter);
                    kept.retain(|known| *known != (client.clone(), filter.clone()));
                }
            }
            let mut expected: Vec<&str> = kept.iter().filter(|(_, filter)| topic::matches(filter, &topic))
                .map(|(client, _)| client.as_str()).collect();
            expected.sort_unstable();
            expected.dedup();
            let found = tree.matching(&topic, None, |_| true);
            prop_assert_eq!(clients(&found), expected);
            for client in ["a", "b", "c"] {
                tree.remove(client);
            }
            prop_assert!(tree.is_empty() && tree.root.is_empty());
        }
    }

    #[test]
    fn overlapping_subscriptions_are_one_delivery_of_the_highest_qos() {
        let mut tree = Subscriptions::default();
        let (ada, bob): (Arc<str>, Arc<str>) = ("ada".into(), "bob".into());
        let with = |identifier, subscription| Subscription { identifier: Some(identifier), ..subscription };
        assert!(tree.subscribe(&ada, &with(1, subscription("a/#", QoS::AtMostOnce))));
        assert!(!tree.subscribe(&ada, &with(2, subscription("a/#", QoS::AtLeastOnce))));
        let second = Subscription { retain_as_published: true, ..with(3, subscription("a/+", QoS::ExactlyOnce)) };
        tree.subscribe(&ada, &second);
        tree.subscribe(&bob, &Subscription { no_local: true, ..subscription("a/b", QoS::AtLeastOnce) });
        let wanted = tree.matching("a/b", Some("bob"), |_| true);
        let mut identifiers = wanted[0].identifiers.clone().unwrap().to_vec();
        identifiers.sort_unstable();
        assert_eq!((clients(&wanted), wanted[0].qos, identifiers), (vec!["ada"], QoS::ExactlyOnce, vec![2, 3]));
        assert!(wanted[0].retain_as_published);
        assert_eq!(clients(&tree.matching("a/b", None, |_| true)), ["ada", "bob"]);
    }

    #[test]
    fn the_members_of_a_group_take_turns_and_the_connected_are_first() {
        let mut tree = Subscriptions::default();
        for client in ["a", "b", "c"] {
            tree.subscribe(&client.into(), &subscription("$share/g/t/#", QoS::AtLeastOnce));
        }
        tree.subscribe(&"d".into(), &subscription("$share/other/t/+", QoS::AtLeastOnce));
        let mut next = |connected: &str| {
            let wanted = tree.matching("t/1", None, |client| connected.contains(client));
            assert_eq!(wanted.len(), 2, "one of each group");
            wanted[0].client_id.to_string()
        };
        assert_eq!(["abc"; 4].map(&mut next), ["a", "b", "c", "a"]);
        assert_eq!(["ac"; 3].map(&mut next), ["c", "a", "c"]);
        assert_eq!([""; 4].map(&mut next), ["a", "b", "c", "a"], "all are away");
    }

    #[test]
    fn the_form_of_a_shared_subscription() {
        assert_eq!(shared("$share/g/a/+"), Some("a/+"));
        for filter in ["$share/g", "$share//a", "$share/g/", "$share/g+/a", "a/b"] {
            assert_eq!(shared(filter), None, "{filter}");
        }
    }
}
