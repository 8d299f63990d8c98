//! A local client's session at CONNECT and at the end of its connection (MQTT 5, sections 3.1.2.4 and 4.1).
use std::sync::Arc;
use std::time::Duration;

use crate::bridge::delivery::{BridgeId, Held, Session, Time, Write};

/// A session as a new connection finds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    /// Session Present.
    pub present: bool,
    /// What of it is there.
    pub session: Session,
    /// What is to be committed before CONNACK.
    pub writes: Vec<Write>,
    /// Session Expiry Interval that is granted, in seconds, and the longest that is.
    pub expiry: (u32, u32),
    /// Where messages wait for it, and those that have Packet Identifiers; `None`: it ends with the connection.
    pub queue: Option<(BridgeId, Vec<Held>)>,
}

/// A client connects: goes on with what was kept, unless it asks for a clean start or it has expired. `expiry` is what it
/// asks for and the longest that it is given.
pub fn open(
    client_id: &Arc<str>,
    kept: Option<Session>,
    clean_start: bool,
    (expiry, longest): (u32, u32),
    now: Time,
) -> Opened {
    let expiry = expiry.min(longest);
    let kept_one = kept.is_some();
    let session = kept.filter(|session| !clean_start && session.expires_at.is_none_or(|end| end > now));
    let present = session.is_some();
    let mut writes = Vec::new();
    if kept_one && !present {
        writes.push(Write::EndSession { client_id: client_id.clone() });
    }
    // One that ends with this connection is kept until then: messages wait for it.
    if expiry > 0 || present {
        writes.push(Write::KeepSession { client_id: client_id.clone(), expires_at: None, expiry });
    }

    Opened { present, session: session.unwrap_or_default(), writes, expiry: (expiry, longest), queue: None }
}

/// A connection has ended: the session is kept for its Session Expiry Interval, or ends.
pub fn close(client_id: &Arc<str>, expiry: u32, now: Time) -> Write {
    let client_id = client_id.clone();
    match expiry {
        0 => Write::EndSession { client_id },
        u32::MAX => Write::KeepSession { client_id, expires_at: None, expiry },
        secs => Write::KeepSession { client_id, expires_at: Some(now + Duration::from_secs(secs.into())), expiry },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Duration::from_secs(1000);

    fn kept(expires_at: Option<u64>) -> Option<Session> {
        Some(Session { expires_at: expires_at.map(Duration::from_secs), received_ids: vec![7], ..Session::default() })
    }

    #[test]
    fn a_session_goes_on_until_it_expires_or_is_not_wanted() {
        let id: Arc<str> = "c".into();
        let goes_on = open(&id, kept(Some(1001)), false, (60, u32::MAX), NOW);
        assert!(goes_on.present);
        assert_eq!(goes_on.session.received_ids, [7]);
        assert_eq!(goes_on.writes.len(), 1);
        let wanted = (60, u32::MAX);
        for opened in [open(&id, kept(Some(1000)), false, wanted, NOW), open(&id, kept(None), true, wanted, NOW)] {
            assert!(!opened.present && opened.session.received_ids.is_empty());
            assert_eq!(opened.writes[0], Write::EndSession { client_id: id.clone() });
        }
        assert_eq!(open(&id, None, true, (0, u32::MAX), NOW).writes, []);
        assert_eq!(open(&id, None, true, (u32::MAX, 7), NOW).expiry.0, 7, "no longer than is granted");
    }

    #[test]
    fn the_end_of_a_connection_begins_the_expiry() {
        let id: Arc<str> = "c".into();
        let expires_at = Some(Duration::from_secs(1060));
        assert_eq!(close(&id, 60, NOW), Write::KeepSession { client_id: id.clone(), expires_at, expiry: 60 });
        assert_eq!(close(&id, 0, NOW), Write::EndSession { client_id: id });
    }
}
