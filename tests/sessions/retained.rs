//! Retained messages, to sessions that are kept and to others.
use mqtt_bridge::bridge::message::{Message, QoS};
use mqtt_bridge::bridge::wire::{Ack, Connect, Packet, Publish, Subscription, Version};

use crate::common::{Bridge, Client};
use crate::parties::{kept, subscription};
use crate::{cache, subscribe};

fn retain(client: &mut Client, topic: &str, payload: &str, expiry: Option<u32>, packet_id: u16) {
    let mut message = Message { retain: true, ..Message::new(topic, payload.to_owned(), QoS::AtLeastOnce) };
    message.properties.message_expiry = expiry;
    client.send(&Packet::Publish(Publish::new(message.into(), packet_id)));
    assert_eq!(client.receive(), Some(Packet::Puback(Ack::success(packet_id))));
}

/// What comes until the mark that is published now: payloads, and whether with RETAIN.
fn until_mark(client: &mut Client, publisher: &mut Client) -> Vec<(String, bool)> {
    publisher.send(&Packet::Publish(Publish::new(Message::new("t/mark", "mark", QoS::AtMostOnce).into(), 0)));
    let mut found = Vec::new();
    loop {
        let Some(Packet::Publish(publish)) = client.receive() else { panic!("no PUBLISH") };
        let payload = String::from_utf8(publish.message.payload.to_vec()).unwrap();
        if publish.qos == QoS::AtLeastOnce {
            client.send(&Packet::Puback(Ack::success(publish.packet_id)));
        }
        if payload == "mark" {
            found.sort();
            return found;
        }
        found.push((payload, publish.retain));
    }
}

#[test]
fn whoever_subscribes_gets_what_is_retained_as_its_options_say_also_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let rest = cache(&folder, "");
    let bridge = Bridge::start(folder.path(), &rest);
    let (mut publisher, _) = Client::connect(bridge.address, Connect::new(Version::V5, "p"));
    retain(&mut publisher, "t/1", "old", None, 1);
    retain(&mut publisher, "t/1", "one", None, 2);
    retain(&mut publisher, "t/2", "two", None, 3);
    retain(&mut publisher, "t/3", "gone", None, 4);
    retain(&mut publisher, "t/3", "", None, 5);
    retain(&mut publisher, "t/4", "expired", Some(0), 6);
    bridge.kill();
    let bridge = Bridge::start(folder.path(), &rest);
    let (mut publisher, _) = Client::connect(bridge.address, Connect::new(Version::V5, "p"));
    for (name, connect) in [("kept", kept("kept")), ("not", Connect::new(Version::V5, "not"))] {
        let (mut client, _) = Client::connect(bridge.address, connect);
        let wanted = |retain_handling| Subscription { retain_handling, ..subscription("t/#", QoS::AtLeastOnce) };
        let both = vec![("one".to_owned(), true), ("two".to_owned(), true)];
        subscribe(&mut client, wanted(2));
        assert_eq!(until_mark(&mut client, &mut publisher), [], "{name}: Retain Handling 2");
        subscribe(&mut client, wanted(1));
        assert_eq!(until_mark(&mut client, &mut publisher), [], "{name}: it is there already");
        subscribe(&mut client, wanted(0));
        assert_eq!(until_mark(&mut client, &mut publisher), both, "{name}");
        // What comes now is no retained message to who has subscribed already, unless it asks for that.
        retain(&mut publisher, "t/2", "two", None, 7);
        assert_eq!(until_mark(&mut client, &mut publisher), [("two".to_owned(), false)], "{name}");
        subscribe(&mut client, Subscription { retain_as_published: true, ..wanted(2) });
        retain(&mut publisher, "t/2", "two", None, 8);
        assert_eq!(until_mark(&mut client, &mut publisher), [("two".to_owned(), true)], "{name}");
    }
}
