//! Several servers: what moves, what is repeated, and what is not.
use super::*;

fn two() -> config::Bridge {
    let server = serde_yaml::from_str("[\"mqtt://one\", \"mqtt://two\"]").unwrap();
    config::Bridge { server, failback: SECOND * 60, ..config() }
}

fn at(server: &str) -> Restored {
    Restored { established: Some(format!("mqtt://{server}:1883 bridge")), ..Restored::default() }
}

impl Story {
    /// Lets the current server fail until another is asked for; says which.
    fn fail_over(&mut self) -> usize {
        let before = self.forwarder.statistics.moves;
        while self.forwarder.statistics.moves == before {
            self.lose(false);
            self.now = self.now.max(self.forwarder.deadline().unwrap_or(self.now));
            self.pump();
        }
        self.asked_for()
    }

    fn asked_for(&self) -> usize {
        let last = self.effects.iter().rev().find_map(|effect| match effect {
            Effect::Connect(server) => Some(*server),
            _ => None,
        });
        last.unwrap()
    }

    /// TCP stands already.
    fn greet(&mut self, session_present: bool) -> (Connect, Vec<Packet>) {
        self.decoder = Decoder::server(1 << 20);
        self.forwarder.handle_connected(self.now);
        let packets = self.pump();
        let [Packet::Connect(connect)] = packets.as_slice() else { panic!("{packets:?}") };
        let connect = Connect::clone(connect);
        (connect, self.say(Packet::Connack(Box::new(connack(session_present)))))
    }
}

#[test]
fn it_begins_where_its_session_is() {
    for (restored, server) in [(at("one"), 0), (at("two"), 1), (at("three"), 0)] {
        let mut story = Story::new(Version::V5, two(), restored);
        story.pump();
        assert_eq!(story.asked_for(), server);
    }
}

#[test]
fn another_server_is_wiped_and_gets_what_was_in_flight_again_which_is_counted() {
    let mut story = Story::new(Version::V5, two(), at("one"));
    story.connect(connack(true));
    story.push(delivery(1, QoS::ExactlyOnce));
    let (_, packets) = story.commit();
    assert_eq!(published(&packets), [(1, 1, false)]);
    assert_eq!(story.fail_over(), 1);
    let (connect, packets) = story.greet(false);
    assert!(connect.clean_start && connect.session_expiry == 0 && published(&packets).is_empty());
    story.commit();
    story.connect(connack(false));
    let (_, packets) = story.commit();
    let again = published(&packets);
    assert_eq!((again[0].0, again[0].2), (1, false));
    assert_eq!((story.forwarder.statistics.ambiguous, story.forwarder.statistics.sessions_lost), (1, 0));
}

#[test]
fn back_at_the_server_that_has_the_session_it_is_resumed() {
    let mut story = Story::new(Version::V5, two(), at("one"));
    story.connect(connack(true));
    story.push(delivery(1, QoS::ExactlyOnce));
    story.commit();
    assert_eq!((story.fail_over(), story.fail_over()), (1, 0), "the second took no connection");
    let (connect, packets) = story.greet(true);
    assert!(!connect.clean_start);
    assert_eq!(published(&packets), [(1, 1, true)]);
    assert_eq!(story.forwarder.statistics.ambiguous, 0);
}

#[test]
fn it_returns_to_the_first_once_that_answers_and_nothing_is_in_flight() {
    let mut story = Story::new(Version::V5, two(), at("two"));
    story.connect(connack(true));
    story.push(delivery(1, QoS::AtLeastOnce));
    story.say(Packet::Puback(Ack::success(1)));
    for _ in 0..12 {
        story.later(SECOND * 5);
        story.say(Packet::Pingresp);
    }
    assert!(story.effects.iter().any(|effect| *effect == Effect::Probe(0)));
    let packets = story.push(delivery(2, QoS::AtLeastOnce));
    let (_, packet_id, _) = published(&packets)[0];
    story.forwarder.handle_probed(true, story.now);
    assert_eq!(story.push(delivery(3, QoS::AtLeastOnce)), [], "nothing new on a connection that is left");
    assert!(!story.is_closed(), "one is in flight");
    story.say(Packet::Puback(Ack::success(packet_id)));
    assert!(story.effects.iter().any(|effect| matches!(effect, Effect::Close(last) if !last.is_empty())), "DISCONNECT");
    story.effects.clear();
    assert!(story.dial().clean_start, "the first knows nothing");
    assert_eq!((story.forwarder.statistics.server, story.forwarder.statistics.ambiguous), (0, 0));
}

#[test]
fn a_session_that_was_to_be_kept_and_is_not_there_is_counted() {
    let mut story = Story::new(Version::V5, config(), known());
    story.connect(connack(false));
    assert_eq!(story.forwarder.statistics.sessions_lost, 1);
    let mut story = Story::new(Version::V5, config(), Restored::default());
    story.connect(connack(false));
    story.connect(connack(false));
    assert_eq!(story.forwarder.statistics.sessions_lost, 0, "it has wiped it itself");
}

#[test]
fn what_has_passed_too_many_bridges_is_dropped_and_the_rest_is_counted() {
    let mut story = Story::new(Version::V5, config::Bridge { max_hops: Some(2), ..config() }, known());
    story.connect(connack(true));
    let passed = |seq, hops: u8| {
        let mut delivery = delivery(seq, QoS::AtLeastOnce);
        (0..hops).for_each(|_| delivery.message = hops::counted(&delivery.message));
        delivery
    };
    for (seq, hops) in [(1, 0), (2, 1)] {
        let packets = story.push(passed(seq, hops));
        let [Packet::Publish(publish)] = packets.as_slice() else { panic!("{packets:?}") };
        assert_eq!(hops::passed(&publish.message), hops + 1);
    }
    assert_eq!(story.push(passed(3, 2)), []);
    assert_eq!(story.forwarder.statistics.looped, 1);
    story.later(REMOVAL_DELAY);
    let dropped = Progress::Removed(Outcome::Dropped(DropReason::Looped));
    assert!(steps(&story.commit().0).contains(&(3, dropped)));
}
