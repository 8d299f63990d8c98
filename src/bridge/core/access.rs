//! Who may publish and subscribe to what.
//!
//! # Rule
//! The rules are gone through in their order, and the first that applies decides; where none does, the answer is no. A
//! rule applies to a PUBLISH whose topic one of its filters matches. To a SUBSCRIBE a rule that allows applies where one
//! of its filters covers the whole filter asked for; one that denies, where there is a topic that both match: what is
//! denied cannot be had by asking for more.
use std::sync::Arc;

use crate::bridge::topic;

/// Whom a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Everybody, whether they have a user or not.
    Everybody,
    /// Those without a user.
    Anonymous,
    /// One user.
    User(String),
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// PUBLISH, and Wills.
    Publish,
    /// SUBSCRIBE.
    Subscribe,
}

/// One rule, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Whom it is about.
    pub who: Who,
    /// Client Identifier; the beginning of one, where it ends with `*`. `None`: any.
    pub client_id: Option<String>,
    /// Whether it allows or denies.
    pub allows: bool,
    /// What it is about; `None`: both.
    pub action: Option<Action>,
    /// Topic Filters, with `%u` for the user and `%c` for the Client Identifier.
    pub topics: Vec<String>,
}

impl Rule {
    fn is_about(&self, user: Option<&str>, client_id: &str) -> bool {
        let who = match &self.who {
            Who::Everybody => true,
            Who::Anonymous => user.is_none(),
            Who::User(name) => user == Some(name),
        };
        who && self.client_id.as_deref().is_none_or(|wanted| match wanted.strip_suffix('*') {
            Some(beginning) => client_id.starts_with(beginning),
            None => client_id == wanted,
        })
    }
}

/// What one client may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// `None`: there are no rules, and everything is allowed.
    entries: Option<Vec<Entry>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    allows: bool,
    action: Option<Action>,
    /// `None`: every topic.
    filter: Option<String>,
}

impl Access {
    /// That of a client, by these rules; `None`: there are none, and everything is allowed.
    pub fn new(rules: Option<&Arc<[Rule]>>, user: Option<&str>, client_id: &str) -> Self {
        let entries = rules.map(|rules| {
            let about = rules.iter().filter(|rule| rule.is_about(user, client_id));
            about.flat_map(|rule| rule.topics.iter().filter_map(|topic| entry(rule, topic, user, client_id))).collect()
        });
        Self { entries }
    }

    /// Whether a message may be published to this topic.
    pub fn may_publish(&self, name: &str) -> bool {
        // The server's own ([MQTT-4.7.2-1]).
        if name == "$SYS" || name.starts_with("$SYS/") {
            return false;
        }
        self.decide(Action::Publish, |_, filter| topic::matches(filter, name))
    }

    /// Whether a valid Topic Filter may be subscribed to; that of a shared subscription is what follows its group.
    pub fn may_subscribe(&self, filter: &str) -> bool {
        let wanted = filter.strip_prefix("$share/").and_then(|shared| shared.split_once('/'));
        let wanted = wanted.map_or(filter, |(_, wanted)| wanted);
        self.decide(Action::Subscribe, |allows, filter| {
            if allows { topic::covers(filter, wanted) } else { topic::overlap(filter, wanted) }
        })
    }

    fn decide(&self, action: Action, applies: impl Fn(bool, &str) -> bool) -> bool {
        let Some(entries) = &self.entries else { return true };
        entries
            .iter()
            .filter(|entry| entry.action.is_none_or(|about| about == action))
            .find(|entry| entry.filter.as_deref().is_none_or(|filter| applies(entry.allows, filter)))
            .is_some_and(|entry| entry.allows)
    }
}

/// `None`: it allows nothing. Where what stands for a user or client cannot be filled in, a rule that allows allows
/// nothing, and one that denies denies everything.
fn entry(rule: &Rule, topic: &str, user: Option<&str>, client_id: &str) -> Option<Entry> {
    let filter = filled(topic, user, client_id);
    (filter.is_some() || !rule.allows).then_some(Entry { allows: rule.allows, action: rule.action, filter })
}

/// A filter with user and Client Identifier filled in; `None` where that would make it another filter than was meant: a
/// value with a wildcard or a `/`, an empty one, none at all, or one that makes a topic of the server's own.
fn filled(topic: &str, user: Option<&str>, client_id: &str) -> Option<String> {
    let mut filled = String::new();
    let mut rest = topic;
    while let Some(at) = rest.find('%') {
        let (before, after) = rest.split_at(at);
        filled.push_str(before);
        let value = match after.as_bytes().get(1) {
            Some(b'u') => user?,
            Some(b'c') => client_id,
            _ => {
                filled.push('%');
                rest = &after[1..];
                continue;
            }
        };
        let starts_with_dollar = filled.is_empty() && value.starts_with('$');
        if value.is_empty() || value.contains(['+', '#', '/', '\0']) || starts_with_dollar {
            return None;
        }
        filled.push_str(value);
        rest = &after[2..];
    }
    filled.push_str(rest);
    Some(filled)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(who: Who, allows: bool, action: Option<Action>, topics: &[&str]) -> Rule {
        Rule { who, client_id: None, allows, action, topics: topics.iter().map(|topic| topic.to_string()).collect() }
    }

    fn access(rules: &[Rule], user: Option<&str>, client_id: &str) -> Access {
        Access::new(Some(&rules.into()), user, client_id)
    }

    #[test]
    fn without_rules_everything_is_allowed_but_the_servers_own() {
        let access = Access::new(None, None, "c");
        assert!(access.may_publish("a/b") && access.may_subscribe("#") && access.may_subscribe("$SYS/#"));
        assert!(!access.may_publish("$SYS") && !access.may_publish("$SYS/x") && access.may_publish("$SYSTEM"));
    }

    #[test]
    fn with_rules_what_none_allows_is_denied() {
        let rules = [rule(Who::User("alice".into()), true, Some(Action::Publish), &["plant/%u/#", "cmd/%c/+"])];
        let alice = access(&rules, Some("alice"), "dev-1");
        assert!(alice.may_publish("plant/alice/1") && alice.may_publish("cmd/dev-1/x"));
        assert!(!alice.may_publish("plant/bob/1") && !alice.may_publish("cmd/dev-2/x"));
        assert!(!alice.may_subscribe("plant/alice/1"));
        let bob = access(&rules, Some("bob"), "dev-1");
        assert!(!bob.may_publish("plant/alice/1") && !access(&rules, None, "dev-1").may_publish("cmd/dev-1/x"));
        assert!(!access(&[], Some("alice"), "c").may_publish("a"));
    }

    #[test]
    fn the_first_rule_that_applies_decides_and_what_is_denied_is_not_had_by_asking_for_more() {
        let rules = [
            rule(Who::Everybody, false, None, &["plant/secret/#"]),
            rule(Who::Everybody, true, None, &["plant/#"]),
            rule(Who::Everybody, false, None, &["plant/late"]),
        ];
        let anyone = access(&rules, None, "c");
        assert!(anyone.may_publish("plant/a") && !anyone.may_publish("plant/secret/a"));
        assert!(anyone.may_publish("plant/late"));
        for filter in ["plant/secret", "plant/#", "plant/+/x", "plant/+", "$share/g/plant/secret/x", "#", "other"] {
            assert!(!anyone.may_subscribe(filter), "{filter}");
        }
        assert!(anyone.may_subscribe("plant/a/#") && anyone.may_subscribe("$share/g/plant/a/+"));
    }

    #[test]
    fn a_client_id_is_given_whole_or_by_its_beginning() {
        let with = |client_id: &str| {
            let rules = [Rule { client_id: Some(client_id.into()), ..rule(Who::Everybody, true, None, &["t"]) }];
            ["dev-1", "dev-12"].map(|client_id| access(&rules, None, client_id).may_publish("t"))
        };
        assert_eq!([with("dev-1"), with("dev-*"), with("x*")], [[true, false], [true, true], [false, false]]);
    }

    #[test]
    fn a_value_that_would_make_another_filter_fits_nothing_and_denies_everything() {
        let allow = [rule(Who::Everybody, true, None, &["%c/#", "plant/%u/#"])];
        for client_id in ["", "+", "#", "a/b", "$SYS", "$share"] {
            let access = access(&allow, None, client_id);
            for filter in ["#", "+/x", "a/b/c", "$SYS/x", "plant/x"] {
                assert!(!access.may_subscribe(filter), "{client_id}: {filter}");
            }
        }
        let deny =
            [rule(Who::Everybody, false, None, &["plant/%c/#"]), rule(Who::Everybody, true, None, &["#", "$SYS/#"])];
        assert!(access(&deny, None, "a").may_publish("plant/b"));
        assert!(!access(&deny, None, "a").may_publish("plant/a"));
        assert!(!access(&deny, None, "a/+").may_publish("plant/b"));
        // What a value holds is not filled in again.
        let own = [rule(Who::Everybody, true, None, &["%u"])];
        assert!(access(&own, Some("%c"), "root").may_publish("%c"));
        assert!(!access(&own, Some("%c"), "root").may_publish("root"));
    }

    proptest! {
        /// Whatever a client calls itself, a filter with placeholders lets it do nothing outside of what a `+` in their
        /// places would.
        #[test]
        fn no_name_widens_a_filter(
            client_id in "[a$+#/%uc]{0,6}", user in prop::option::of("[a$+#/%uc]{0,6}"), name in "[a$b/]{1,8}",
        ) {
            let rules = [rule(Who::Everybody, true, None, &["x%u/%c", "%c/b/%u"])];
            let access = access(&rules, user.as_deref(), &client_id);
            if access.may_publish(&name) {
                let levels: Vec<&str> = name.split('/').collect();
                let first = levels.len() == 2 && levels[0].starts_with('x');
                prop_assert!(first || (levels.len() == 3 && levels[1] == "b" && !levels[0].starts_with('$')), "{name}");
            }
            prop_assert!(!access.may_subscribe("#") && !access.may_subscribe("+/b/+") && !access.may_subscribe("$SYS/#"));
        }
    }
}
