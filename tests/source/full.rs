//! A full cache: what no longer fits stays at the source, and comes in its order once there is room.
use mqtt_bridge::bridge::message::QoS;

use crate::common::{Bridge, has};
use crate::plain::{configuration, next, publish, subscriber};
use crate::relay::{Mode, Relay};
use crate::world::{mosquitto, subscribed, until};

#[test]
fn what_does_not_fit_into_the_cache_waits_at_the_source_and_keeps_its_order() {
    if !has("mosquitto", "what_does_not_fit_into_the_cache_waits_at_the_source_and_keeps_its_order") {
        return;
    }
    for (when_full, killed, qos) in
        [("reject", false, QoS::AtLeastOnce), ("block", true, QoS::ExactlyOnce), ("reject", true, QoS::ExactlyOnce)]
    {
        let folder = tempfile::tempdir().unwrap();
        let (local, remote) = (mosquitto(folder.path(), "local"), mosquitto(folder.path(), "remote"));
        let (near, far) = (Relay::start(local.address), Relay::start(remote.address));
        let link = "reconnect: { min: 10ms, max: 50ms }";
        let source = format!("{{ server: \"mqtt://{}\", window: 20, {link} }}", near.address);
        let cache = format!(", max_messages: 10, when_full: {when_full}");
        let rules = "forwards: [{ local: \"up/#\" }]";
        let configuration = configuration(folder.path(), &source, &far.address.to_string(), rules, &cache);
        let mut bridge = Bridge::without_listener(folder.path(), &configuration, &[]);
        until("it subscribes", || subscribed(&near, 1));
        until("it has a session at the remote", || bridge.metric("connected") == 2);
        far.set(Mode::Cut);
        for number in 0..50 {
            publish(&local, "up/a", &number.to_string(), qos);
        }
        bridge.until_metric("messages_cached", 10);
        until("it is held back", || bridge.metric("messages_held_back_total") > 0);
        assert_eq!(bridge.metric("messages_dropped_total"), 0);
        if killed {
            bridge.kill();
            bridge = Bridge::without_listener(folder.path(), &configuration, &[]);
            until("it is held back again", || bridge.metric("messages_held_back_total") > 0);
        } else {
            near.set(Mode::Cut);
            until("the link is lost", || bridge.metric("connected") == 0);
            near.set(Mode::Whole);
        }
        let mut above = subscriber(&remote, "up/#");
        far.set(Mode::Whole);
        let arrived: Vec<String> = (0..50).map(|_| next(&mut above).1).collect();
        let expected: Vec<String> = (0..50).map(|number: u32| number.to_string()).collect();
        assert_eq!(arrived, expected, "{when_full}, {qos}");
        bridge.until_metric("messages_cached", 0);
        assert!(bridge.process.log().contains("the cache takes no more"), "{}", bridge.process.log());
    }
}
