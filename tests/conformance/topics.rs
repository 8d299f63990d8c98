//! Topic Names and Topic Filters: section 4.7.
use crate::check;
use crate::client::Client;
use crate::packet::{Publish, both, topic};

/// Whether a message to a topic reaches a subscription to a filter, both below a topic of their own.
fn reaches(version: u8, filter: &str, name: &str) -> bool {
    let (mut client, mut publisher, root) = (Client::new(version), Client::new(version), topic());
    let last = topic();
    client.subscribe(&[(&format!("{root}/{filter}"), 0), (&last, 0)]);
    publisher.publish(&format!("{root}/{name}"), b"x");
    publisher.publish(&last, b"the last");
    let found = client.message().topic != last;
    if found {
        assert_eq!(client.message().topic, last);
    }
    found
}

#[test]
fn wildcards_match_as_laid_down() {
    check(|| {
        both(|version| {
            for (filter, name, wanted) in [
                ("#", "a", true),
                ("#", "a/b/c", true),
                ("a/#", "a", true),
                ("a/#", "a/", true),
                ("a/#", "ab", false),
                ("+", "a", true),
                ("+", "", true),
                ("+", "a/b", false),
                ("+/+", "/b", true),
                ("+/b", "a/b", true),
                ("a/+", "a", false),
                ("a/+/c", "a//c", true),
                ("a/+/#", "a/b", true),
            ] {
                assert_eq!(reaches(version, filter, name), wanted, "{filter} {name}");
            }
        });
    });
}

#[test]
fn topics_are_compared_without_normalising_them() {
    check(|| {
        both(|version| {
            for (filter, name, wanted) in [
                ("a", "A", false),
                ("a", "a/", false),
                ("/a", "a", false),
                ("a//b", "a/b", false),
                ("a b", "a b", true),
                ("a", "a ", false),
                // Composed and not, which look alike.
                ("\u{e9}", "e\u{301}", false),
                ("\u{e9}", "\u{e9}", true),
                ("\u{feff}a", "a", false),
                ("\u{1d11e}/\u{10ffff}", "\u{1d11e}/\u{10ffff}", true),
            ] {
                assert_eq!(reaches(version, filter, name), wanted, "{filter:?} {name:?}");
            }
        });
    });
}

#[test]
fn the_zero_width_no_break_space_is_kept() {
    check(|| {
        both(|version| {
            let (mut client, topic) = (Client::new(version), format!("\u{feff}{}\u{feff}", topic()));
            client.subscribe(&[(&topic, 0)]);
            Client::new(version).publish(&topic, b"x");
            assert_eq!(client.message().topic, topic);
        });
    });
}

#[test]
fn a_wildcard_at_the_front_does_not_match_topics_of_the_server() {
    check(|| {
        both(|version| {
            let (mut client, mut publisher, topic) = (Client::new(version), Client::new(version), topic());
            client.subscribe(&[(&format!("+/{topic}/#"), 0)]);
            publisher.publish(&format!("$x/{topic}"), b"of the server");
            publisher.publish(&format!("x/{topic}"), b"not");
            assert_eq!(client.message().text(), "not");
        });
    });
}

#[test]
fn a_number_sign_alone_does_not_match_topics_of_the_server() {
    check(|| {
        let (mut client, mut publisher, topic) = (Client::new(5), Client::new(5), topic());
        client.subscribe(&[("#", 0)]);
        publisher.publish(&format!("$x/{topic}"), b"x");
        publisher.publish(&topic, b"the last");
        loop {
            // Other tests publish as well.
            let message = client.message();
            assert!(!message.topic.starts_with('$'), "{}", message.topic);
            if message.topic == topic {
                break;
            }
        }
    });
}

#[test]
fn the_longest_topic_is_a_topic() {
    check(|| {
        both(|version| {
            let (mut client, mut publisher) = (Client::new(version), Client::new(version));
            let name = format!("{}/{}", topic(), "x".repeat(65_535));
            let name = &name[..65_535];
            client.send(crate::packet::subscribe(version, 1, &[], &[(name, 0)]));
            match client.next() {
                Some(crate::packet::Packet::Suback { codes, .. }) if codes[0] < 0x80 => {
                    publisher.publish(name, b"x");
                    assert_eq!(client.message().topic, name);
                }
                // A limit below this one is allowed, if it is said.
                Some(_) | None => {
                    publisher.send(Publish::new(name, 1, "x").bytes(version));
                    let _ = publisher.next();
                }
            }
            Client::new(version).lives();
        });
    });
}

#[test]
fn topics_differ_by_a_slash_and_may_have_spaces() {
    check(|| {
        both(|version| {
            for name in ["/", "a/", "/a", " ", "a b/c", "$", "a$"] {
                assert!(reaches(version, name, name), "{name:?}");
            }
        });
    });
}
