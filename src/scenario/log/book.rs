//! The book of lines. What is said of NanoMQ's was read in 0.24.6 and measured on it; older versions have the same
//! texts, some of them without the part behind `lost!`.

/// Whose line it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// NanoMQ.
    Nanomq,
    /// mosquitto.
    Mosquitto,
    /// This program.
    MqttBridge,
}

/// What a line says of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// One message was lost, for certain, each time.
    One,
    /// At least one was lost; the line does not say how many.
    Some,
    /// It may have been a message, or a packet of the protocol that is not sent again.
    Perhaps,
    /// None.
    None,
    /// None, although it sounds like it.
    Harmless,
}

/// The lines that matter; the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // `BOOK` says what each is
pub enum Known {
    RingOverflow,
    RingRefused,
    BusyDropped,
    Cancelled,
    PacketIdCollision,
    DroppedOffline,
    LocalDropped,
    PipeBusy,
    QueueFull,
    Quarantined,
    Dropped,
    SessionLost,
    Refused,
    Signal,
    Started,
    Timeout,
    Disconnected,
    NoLink,
    NoName,
    DialFailed,
    Backoff,
    Connecting,
    Connected,
    Resending,
    IntoSqlite,
    KeptOffline,
    AckFailed,
    Saved,
}

/// One line of the book.
#[derive(Debug)]
pub struct Entry {
    /// Which.
    pub known: Known,
    /// Whose.
    pub program: Program,
    /// All of these stand in it.
    words: &'static [&'static str],
    /// What it says of messages.
    pub loss: Loss,
    /// What it means.
    pub meaning: &'static str,
}

impl Entry {
    /// How the line is recognised: text to look for.
    pub fn text(&self) -> String {
        self.words.join(" ... ")
    }

    fn fits(&self, line: &str) -> bool {
        self.words.iter().all(|word| line.contains(word))
    }
}

const fn entry(
    known: Known,
    program: Program,
    words: &'static [&'static str],
    loss: Loss,
    meaning: &'static str,
) -> Entry {
    Entry { known, program, words, loss, meaning }
}

use Known as K;
use Program::{Mosquitto, MqttBridge, Nanomq};

/// What the lines of our own bridge mean that say what a limit dropped.
const LIMIT: &str = "a limit or an expiry dropped so many of this topic";

/// In order of importance; the first that fits counts.
const BOOK: &[Entry] = &[
    entry(
        K::RingOverflow,
        Nanomq,
        &["Cached Message in ctx_msgs is lost!"],
        Loss::One,
        "the queue in memory (max_send_queue_len) was full, and its oldest message was dropped, whatever its QoS; it had \
         been acknowledged to its publisher",
    ),
    entry(
        K::RingRefused,
        Nanomq,
        &["Msg lost! put msg to ctx_msgs failed!"],
        Loss::One,
        "the queue in memory took no message; it had been acknowledged to its publisher",
    ),
    entry(
        K::BusyDropped,
        Nanomq,
        &["aio busy! msg lost!"],
        Loss::One,
        "the worker's one slot still waited for an acknowledgement of the remote, and the message was dropped (0.24: QoS \
         0 alone, with `drop qos 0 msg` behind it; before: any QoS)",
    ),
    entry(
        K::Cancelled,
        Nanomq,
        &["is canceled due to timeout!"],
        Loss::One,
        "a message in flight waited longer than cancel_timeout for its acknowledgement and was freed",
    ),
    entry(
        K::PacketIdCollision,
        Nanomq,
        &["lost due to packetID duplicated!"],
        Loss::One,
        "two messages had the same packet id, and the one in flight was freed",
    ),
    entry(
        K::DroppedOffline,
        Nanomq,
        &["ctx is already cached! drop msg"],
        Loss::One,
        "no cache on disk, no link, and the one place in memory was taken",
    ),
    entry(
        K::LocalDropped,
        Nanomq,
        &["no ctx found!! PUB msg lost!"],
        Loss::One,
        "a message of the remote found no place in the queue to the local side",
    ),
    entry(
        K::PipeBusy,
        Nanomq,
        &["Cached Message lost! pipe is busy and lmq is full"],
        Loss::Perhaps,
        "the connection's send queue (64, fixed) was full, and its oldest packet was dropped: a PUBLISH, or a PUBREL or \
         PUBACK that is not sent again",
    ),
    entry(
        K::QueueFull,
        Mosquitto,
        &["Outgoing messages are being dropped for client"],
        Loss::Some,
        "the client's queue is full (max_queued_messages, 1000 by default) and messages are dropped; said once for each \
         spell, not once a message",
    ),
    entry(
        K::Quarantined,
        MqttBridge,
        &["set aside, the remote refuses it"],
        Loss::None,
        "the remote refuses this message for good; it is kept in quarantine",
    ),
    entry(K::Dropped, MqttBridge, &["bridge ", " dropped of ", ": evicted "], Loss::Some, LIMIT),
    entry(K::Dropped, MqttBridge, &["bridge ", " dropped of ", ": full "], Loss::Some, LIMIT),
    entry(K::Dropped, MqttBridge, &["bridge ", " dropped of ", ": expired "], Loss::Some, LIMIT),
    entry(
        K::SessionLost,
        MqttBridge,
        &["the remote has lost the session"],
        Loss::None,
        "QoS 2 messages in flight are sent again and may arrive twice",
    ),
    entry(K::Refused, MqttBridge, &["the remote says "], Loss::None, "the remote refuses the connection"),
    entry(K::Refused, Mosquitto, &["Connection Refused:"], Loss::None, "the remote refuses the connection"),
    entry(
        K::Signal,
        Nanomq,
        &["signal signumber:"],
        Loss::Perhaps,
        "NanoMQ was stopped: what the cache still held in memory (flush_mem_threshold) is not written, and is lost if the \
         link was down",
    ),
    entry(K::Started, Nanomq, &["NanoMQ Broker is started successfully!"], Loss::None, "NanoMQ was started"),
    entry(K::Started, Mosquitto, &["mosquitto version ", " starting"], Loss::None, "mosquitto was started"),
    entry(K::Started, MqttBridge, &["INFO listening on "], Loss::None, "the bridge was started"),
    entry(
        K::Timeout,
        Nanomq,
        &["MQTT Timeout and disconnect"],
        Loss::None,
        "PINGREQ was not answered: the link was dead, silently, for keepalive + resend_interval or longer",
    ),
    entry(
        K::Timeout,
        Mosquitto,
        &["Client local.", "has exceeded timeout, disconnecting"],
        Loss::None,
        "the bridge's PINGREQ was not answered: the link was dead, silently, for the keepalive_interval or longer",
    ),
    entry(K::Disconnected, Nanomq, &["bridge client disconnected! RC"], Loss::None, "the link to the remote was lost"),
    entry(
        K::Disconnected,
        Mosquitto,
        &["Socket error on client local."],
        Loss::None,
        "the bridge's link to the remote was lost",
    ),
    entry(K::NoLink, MqttBridge, &["no link to "], Loss::None, "no link to the remote"),
    entry(
        K::NoName,
        Nanomq,
        &["mqtt_tcptran_dial_cb: aio result Try again"],
        Loss::None,
        "the remote's name could not be resolved",
    ),
    entry(
        K::NoName,
        Nanomq,
        &["mqtt_tcptran_dial_cb: aio result Address invalid"],
        Loss::None,
        "the remote's name could not be resolved",
    ),
    entry(K::DialFailed, Nanomq, &["mqtt_tcptran_dial_cb: aio result"], Loss::None, "connecting failed"),
    entry(K::DialFailed, Mosquitto, &["Error creating bridge:"], Loss::None, "connecting failed"),
    entry(K::DialFailed, Mosquitto, &["Unable to connect to bridge"], Loss::None, "connecting failed"),
    entry(
        K::Backoff,
        Nanomq,
        &["reconnect to ", " ms"],
        Loss::None,
        "the wait before the next attempt; it doubles up to backoff_max and begins anew",
    ),
    entry(
        K::Connecting,
        Mosquitto,
        &["Connecting bridge "],
        Loss::None,
        "an attempt to connect the bridge: there was no link then",
    ),
    entry(K::Connected, Nanomq, &["Bridge [", "connected! RC [0]"], Loss::None, "the link to the remote was there"),
    entry(K::Connected, MqttBridge, &[": connected to "], Loss::None, "the link to the remote was there"),
    entry(
        K::Resending,
        Nanomq,
        &["resending QoS msg"],
        Loss::None,
        "a message in flight was sent again, since it waited longer than resend_wait",
    ),
    entry(K::IntoSqlite, Nanomq, &["cached msg into sqlite"], Loss::None, "a message went into the cache on disk"),
    entry(
        K::KeptOffline,
        Nanomq,
        &["client sending msg while disconnected! cached"],
        Loss::None,
        "a message was kept while there was no link",
    ),
    entry(
        K::AckFailed,
        Nanomq,
        &["QoS msg ack failed"],
        Loss::Harmless,
        "said for each row of the cache that the remote has acknowledged: the row was delivered",
    ),
    entry(K::Saved, Mosquitto, &["Saving in-memory database to"], Loss::None, "the queues were written to disk"),
];

/// Which line of the book this is.
pub fn recognise(line: &str) -> Option<&'static Entry> {
    // Ours tells so what it has left out, with the last of those lines in it: that is none of another moment.
    if line.contains(" more lines within a minute") {
        return None;
    }
    BOOK.iter().find(|entry| entry.fits(line))
}

/// The entry of a known line of a program.
pub(super) fn entry_of(known: Known, program: Program) -> Option<&'static Entry> {
    BOOK.iter().find(|entry| entry.known == known && entry.program == program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_old_and_new_versions_are_recognised() {
        let known = |line| recognise(line).map(|entry| (entry.program, entry.known));
        let old = "2023-11-07 05:36:21 [857] INFO  /x/apps/broker.c:212  bridge_handler: bridging to mqtt-quic://h:1 aio \
                   busy! msg lost! Ctx: 17";
        assert_eq!(known(old), Some((Nanomq, K::BusyDropped)));
        let new = "2026-11-22 16:07:44 [1] WARN  /x/mqtt_client.c:1131 mqtt_recv_cb: QoS msg ack failed 92";
        assert_eq!(known(new), Some((Nanomq, K::AckFailed)));
        let name = "2026-11-22 16:07:44 [1] INFO  /x/mqtt_tcp.c:1436 mqtt_tcptran_dial_cb: aio result Try again";
        assert_eq!(known(name), Some((Nanomq, K::NoName)));
        let dropped = "1795545628: Outgoing messages are being dropped for client local.lab-subject.";
        assert_eq!(known(dropped), Some((Mosquitto, K::QueueFull)));
        let ours =
            "2026-11-24T18:53:36.001933Z  WARN bridge remote: no link to mqtt://emqx:1883 (gone), attempt 1, next";
        assert_eq!(known(ours), Some((MqttBridge, K::NoLink)));
        let told =
            "2026-11-24T18:53:36.001933Z  WARN 7 more lines within a minute, the last: bridge b: no link to mqtt://a";
        assert_eq!(known(told), None);
        let evicted =
            "2026-11-24T20:15:17.113061Z  WARN bridge remote: 22 dropped of topic test1: evicted (sequences 27 to 56)";
        assert_eq!(known(evicted), Some((MqttBridge, K::Dropped)));
        assert_eq!(known("1795545610: New connection from 127.0.0.1:55352 on port 30459."), None);
    }
}
