#![allow(clippy::panic)] // A test may.
mod protocol;
mod will;

use super::*;

const NOW: Time = Duration::from_secs(1000);

fn connected(keep_alive: u16, receive_maximum: u16) -> Client<()> {
    connected_by(Version::V5, keep_alive, receive_maximum)
}

fn connected_by(version: Version, keep_alive: u16, receive_maximum: u16) -> Client<()> {
    let mut client = Client::new(receive_maximum, 1 << 20, NOW);
    let connect = Connect { keep_alive, session_expiry: 60, ..Connect::new(version, "c") };
    client.handle_packet(Packet::Connect(Box::new(connect)), &Routes::default(), NOW);
    client.handle_opened(opened(60), NOW);
    client.flush(NOW);
    while client.poll_effect().is_some() {}
    client.handle_written(client.transmit().len());
    client
}

fn opened(expiry: u32) -> Opened {
    let session = Default::default();
    Opened { present: false, session, writes: Vec::new(), expiry: (expiry, u32::MAX), queue: None }
}

/// Its session is opened; what follows is still to be done.
fn connecting(connect: Connect) -> Client<()> {
    let mut client = Client::new(10, 1 << 20, NOW);
    let expiry = connect.session_expiry;
    client.handle_packet(Packet::Connect(Box::new(connect)), &Routes::default(), NOW);
    while client.poll_effect().is_some() {}
    client.handle_opened(opened(expiry), NOW);
    client
}

/// What it says to its client, which takes it.
fn said(client: &mut Client<()>, version: Version) -> Vec<Packet> {
    let mut decoder = crate::bridge::wire::Decoder::client(version, 1 << 20);
    let mut bytes = client.transmit();
    let packets = std::iter::from_fn(|| decoder.decode(&mut bytes).unwrap()).collect();
    client.handle_written(client.transmit().len());
    packets
}

fn publish(client: &mut Client<()>, packet_id: u16) {
    let message = Arc::new(Message::new("t", "x", QoS::AtLeastOnce));
    client.handle_packet(Packet::Publish(Publish::new(message, packet_id)), &Routes::default(), NOW);
}

fn parcel(message: &Arc<Message>) -> Parcel<()> {
    let (message, qos) = (message.clone(), message.qos);
    Parcel { message, qos, retain: false, subscription_ids: Vec::new(), expires_at: None, receipt: None }
}

#[test]
fn a_client_that_is_not_read_from_is_not_silent() {
    let mut client = connected(4, 1);
    assert_eq!(client.deadline(), Some(NOW + Duration::from_secs(6)));
    publish(&mut client, 1);
    client.flush(NOW);
    assert_eq!(client.deadline(), None, "the disk is slow, and the client waits for it");
    client.handle_committed(&[Ok(true)]);
    client.flush(NOW);
    assert_eq!(client.deadline(), Some(NOW + Duration::from_secs(6)));
}

#[test]
fn a_client_that_is_to_be_closed_has_no_time_to_wait_for() {
    let mut client = connected(4, 10);
    publish(&mut client, 1);
    client.flush(NOW);
    client.handle_timeout(NOW + Duration::from_secs(6));
    client.flush(NOW);
    assert!(client.is_closing() && !client.is_closed(), "it is still committed");
    assert_eq!(client.deadline(), None, "or the shell would turn in circles until then");
}

#[test]
fn subscriptions_that_come_together_are_told_once() {
    let mut client = connected(0, 10);
    for packet_id in 1..=100 {
        let filter = format!("t/{packet_id}");
        let qos = QoS::AtMostOnce;
        let wanted = Subscription {
            filter,
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: 0,
            identifier: None,
        };
        let subscribe = Subscribe { packet_id, filters: vec![wanted], identifier: None };
        client.handle_packet(Packet::Subscribe(subscribe), &Routes::default(), NOW);
    }
    client.flush(NOW);
    let told: Vec<usize> = std::iter::from_fn(|| client.poll_effect())
        .filter_map(|effect| match effect {
            Effect::Subscriptions(subscriptions) => Some(subscriptions.len()),
            _ => None,
        })
        .collect();
    assert_eq!(told, [100]);
}

#[test]
fn a_subscriber_that_acknowledges_nothing_is_disconnected_so_that_others_need_not_wait() {
    let mut client = connected(0, 10);
    let message = Arc::new(Message::new("t", "x", QoS::AtLeastOnce));
    for _ in 0..2 {
        client.handle_parcel(parcel(&message));
    }
    client.flush(NOW);
    assert_eq!(client.deadline(), Some(NOW + ACK_TIMEOUT));
    let later = NOW + ACK_TIMEOUT / 2;
    client.handle_packet(Packet::Puback(crate::bridge::wire::Ack::success(1)), &Routes::default(), later);
    client.flush(later);
    client.handle_timeout(NOW + ACK_TIMEOUT);
    assert!(!client.is_closing(), "it makes progress");
    client.handle_timeout(later + ACK_TIMEOUT);
    assert!(client.is_closing());
}

#[test]
fn what_was_stored_before_a_refusal_is_acknowledged_on_3_1_1_and_nothing_else() {
    let mut client = connected_by(Version::V4, 0, 10);
    (1..=4).for_each(|packet_id| publish(&mut client, packet_id));
    client.flush(NOW);
    let refused = Err(ReasonCode::QUOTA_EXCEEDED);
    client.handle_committed(&[Ok(true), refused, refused, Ok(true)]);
    client.flush(NOW);
    let mut expected = Vec::new();
    encode(&Packet::Puback(crate::bridge::wire::Ack::success(1)), Version::V4, &mut expected);
    assert_eq!(client.transmit(), expected, "a PUBACK of 3.1.1 has no Reason Code: it would say that 2 is stored");
    assert!(client.is_closed());
}
