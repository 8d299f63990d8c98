//! What is sent, and who waits for it.

/// An Application Message on its way through one bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message {
    /// Load of the plan.
    pub(super) load: u16,
    /// Sequence within the load.
    pub(super) seq: u64,
    /// That of the forward, where it forces one.
    pub(super) qos: u8,
    /// Its PUBLISH on the wire.
    pub(super) bytes: usize,
    /// Assigned when it is given to the client; a row in SQLite keeps it.
    pub(super) packet_id: u16,
}

/// A Control Packet, or the end of a connection, between a bridge and the remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packet {
    Publish(Message),
    Puback(u16),
    Pubrec(u16),
    Pubrel(u16),
    Pubcomp(u16),
    Subscribe(u16),
    Suback(u16),
    Pingreq,
    Pingresp,
    /// FIN or RST: whoever receives it knows that the other end is gone.
    Gone,
}

impl Packet {
    /// Bytes on the wire, about.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Publish(message) => message.bytes,
            Self::Subscribe(_) => 64,
            _ => 4,
        }
    }
}

/// The aio that ends when a send is answered, cancelled or refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// `bridge_aio` of a worker.
    Slot(usize),
    /// `resend_aio`, which empties `ctx_msgs`.
    Resend,
    /// That of the SUBSCRIBE after a connect.
    Subscribe,
}
