//! Who a client is by its certificate, and what that allows.
use crate::NAME;
use crate::authority::Authority;
use crate::world::{Broker, acknowledged, edge, message, publish, publisher, subscriber};
use mqtt_bridge::bridge::message::QoS;

#[test]
fn a_certificate_names_the_user_that_the_rules_are_about() {
    let authorities = tempfile::tempdir().unwrap();
    let authority = Authority::new(authorities.path(), "ca");
    let (server, client) = (authority.issue(&[NAME]), authority.issue(&["press-7"]));
    let listener = format!(", tls: {{ {}, client_ca: {} }}", server.keys(), authority.file().display());
    for (which, user) in [("common_name", "press-7"), ("subject", "O=Plant, CN=press-7")] {
        let folder = tempfile::tempdir().unwrap();
        let rest = format!(
            "accounts: {{ certificate_user: {which}, anonymous: true }}\naccess:\n  \
             - {{ user: \"{user}\", allow: publish, topics: [up/mine] }}\n  \
             - {{ user: \"{user}\", allow: subscribe, topics: [\"down/#\"] }}\n  \
             - {{ user: anonymous, allow: subscribe, topics: [\"#\"] }}\n"
        );
        let remote = Broker::start(folder.path(), "remote", &listener, &rest);
        let keys = format!(", tls: {{ ca: {}, server_name: {NAME}, {} }}", authority.file().display(), client.keys());
        let edge = edge(folder.path(), &format!("mqtts://{}", remote.address), &keys);
        assert!(edge.process.line("bridge b: connected to").is_some(), "{which}");
        let mut receiver = subscriber(remote.plain, "up/#", QoS::AtLeastOnce);
        let mut publisher = publisher(edge.address);
        for (number, topic) in [(1, "up/other"), (2, "up/mine")] {
            publish(&mut publisher, topic, vec![b'x'], QoS::AtLeastOnce, number);
            acknowledged(&mut publisher, QoS::AtLeastOnce, number);
        }
        let received = message(&mut receiver).unwrap();
        assert_eq!(&*received.topic, "up/mine", "{which}: {}", remote.process.log());
        let said = remote.process.line("may not publish to \"up/other\"");
        assert!(said.is_some_and(|line| line.contains("client \"edge\"")), "{which}");
    }
}
