use super::*;
use crate::bridge::core::will::Delayed;
use crate::bridge::message::Properties;

fn will(delay: u32) -> Will {
    let properties = Properties { message_expiry: Some(60), other: b"\x26\x00\x01k\x00\x01v"[..].into() };
    let message = Message { retain: true, properties, ..Message::new("gone", "c", QoS::AtLeastOnce) };
    Will { delay, ..Will::new(message) }
}

/// A client with a Will, whose CONNECT is answered.
fn armed(version: Version, delay: u32, session_expiry: u32) -> Client<()> {
    let mut client = arming(version, delay, session_expiry);
    client.handle_committed(&[Ok(true)]);
    client.flush(NOW);
    assert!(matches!(said(&mut client, version)[..], [Packet::Connack(_)]));
    client
}

fn arming(version: Version, delay: u32, session_expiry: u32) -> Client<()> {
    let connect = Connect { session_expiry, keep_alive: 4, will: Some(will(delay)), ..Connect::new(version, "c") };
    let mut client = connecting(connect);
    client.flush(NOW);
    let kept = Write::KeepWill {
        client_id: "c".into(),
        will: Will { delay: delay.min(session_expiry), ..will(delay) },
        due_at: None,
    };
    let committed: Vec<Effect> = std::iter::from_fn(|| client.poll_effect()).collect();
    assert_eq!(committed, [Effect::Commit(vec![kept])]);
    client
}

fn ending(client: &mut Client<()>) -> Ending {
    client.flush(NOW);
    assert!(client.is_closed());
    client.ending(&Routes::default(), NOW)
}

fn is_published(ending: &Ending) -> bool {
    let [Write::Store(store), Write::EndWill { due_at: None, .. }, ..] = &ending.writes[..] else { return false };
    assert_eq!(ending.will, Some(store.message.clone()));
    assert_eq!(store.message, will(0).message, "with its QoS, RETAIN and properties");
    ending.delayed.is_none()
}

#[test]
fn connect_is_answered_once_the_will_is_committed() {
    let mut client = arming(Version::V5, 0, 0);
    assert!(!client.wants_read() && client.transmit().is_empty() && client.deadline().is_none());
    client.handle_committed(&[Err(ReasonCode::QUOTA_EXCEEDED)]);
    let [Packet::Connack(connack)] = &said(&mut client, Version::V5)[..] else { panic!("a CONNACK") };
    assert_eq!(connack.reason, ReasonCode::QUOTA_EXCEEDED);
    assert_eq!(ending(&mut client), Ending::default(), "what was never accepted is not published");
}

#[test]
fn a_will_is_published_however_the_connection_ends_but_for_a_disconnect() {
    type End = fn(&mut Client<()>);
    let disconnect = |client: &mut Client<()>, reason| {
        client.handle_packet(Packet::Disconnect(Disconnect::new(reason)), &Routes::default(), NOW);
    };
    let ends: [(&str, End); 5] = [
        ("the socket is gone", |client| client.handle_eof()),
        ("Keep Alive", |client| client.handle_timeout(NOW + Duration::from_secs(6))),
        ("a violation", |client| client.handle_violation(&WireError::new(ReasonCode::MALFORMED_PACKET, "noise"))),
        ("a take-over", |client| client.handle_close(ReasonCode::SESSION_TAKEN_OVER)),
        ("a packet that no client sends", |client| client.handle_packet(Packet::Pingresp, &Routes::default(), NOW)),
    ];
    for (how, end) in ends {
        let mut client = armed(Version::V5, 0, 60);
        end(&mut client);
        assert!(is_published(&ending(&mut client)), "{how}");
    }
    let mut client = armed(Version::V5, 0, 60);
    disconnect(&mut client, ReasonCode::DISCONNECT_WITH_WILL);
    assert!(is_published(&ending(&mut client)));
    for version in [Version::V4, Version::V5] {
        let mut client = armed(version, 0, 0);
        disconnect(&mut client, ReasonCode::SUCCESS);
        let void = vec![Write::EndWill { client_id: "c".into(), due_at: None }];
        assert_eq!(ending(&mut client), Ending { writes: void, ..Ending::default() });
    }
}

#[test]
fn a_will_with_a_delay_waits_for_it_or_for_the_end_of_its_session() {
    for (delay, expiry, secs) in [(5, 60, 5), (90, 60, 60)] {
        let mut client = armed(Version::V5, delay, expiry);
        client.handle_eof();
        let ending = ending(&mut client);
        let delayed = Delayed { client_id: "c".into(), will: will(delay), due_at: NOW + Duration::from_secs(secs) };
        assert_eq!(ending.writes[0], delayed.keep());
        assert_eq!((ending.delayed, ending.will), (Some(delayed), None));
    }
    let mut client = armed(Version::V5, 5, 0);
    client.handle_eof();
    assert!(is_published(&ending(&mut client)), "its session ends with the connection");
    let mut client = armed(Version::V5, 5, 60);
    let now_over = Disconnect { session_expiry: Some(0), ..Disconnect::new(ReasonCode::DISCONNECT_WITH_WILL) };
    client.handle_packet(Packet::Disconnect(now_over), &Routes::default(), NOW);
    assert!(is_published(&ending(&mut client)), "DISCONNECT ends its session");
}
