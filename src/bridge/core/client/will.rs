//! The Will, from CONNECT to the end of the connection (MQTT 5, section 3.1.2.5).
use super::*;
use crate::bridge::core::will::{Delayed, due_at, publication};

/// What is to be done when a connection has ended.
#[derive(Debug, Default, PartialEq)]
pub struct Ending {
    /// To be committed, together and in this order.
    pub writes: Vec<Write>,
    /// The Will, to be delivered to local subscribers where the first of the writes stored it.
    pub will: Option<Arc<Message>>,
    /// The Will, to be published later.
    pub delayed: Option<Delayed>,
}

impl<R> Client<R> {
    /// Whatever is committed when the connection has ended: its Will is published, delayed or void, the session's expiry
    /// begins, or the session ends.
    pub fn ending(&mut self, routes: &Routes, now: Time) -> Ending {
        let mut ending = Ending::default();
        if std::mem::take(&mut self.armed) {
            let client_id = self.client_id.clone();
            match self.will.take() {
                Some(will) => {
                    let due_at = due_at(&will, self.expiry, now);
                    if due_at <= now {
                        ending.writes.extend(publication(&client_id, &will.message, None, routes, now));
                        ending.will = Some(will.message);
                    } else {
                        let delayed = Delayed { client_id, will, due_at };
                        ending.writes.push(delayed.keep());
                        ending.delayed = Some(delayed);
                    }
                }
                None => ending.writes.push(Write::EndWill { client_id, due_at: None }),
            }
        }
        ending.writes.extend(self.closing_writes(now));
        ending
    }

    /// Commits the Will, if there is one, and answers CONNECT afterwards: whoever knows that the server has its Will can
    /// rely on it.
    pub(super) fn arm(&mut self, will: Option<Will>, connack: Connack) {
        match will {
            Some(will) => {
                self.armed = true;
                self.will = Some(will.clone());
                self.state = State::Arming;
                // After a crash nobody knows how long the session was to be.
                let will = Will { delay: will.delay.min(self.expiry), ..will };
                let write = Write::KeepWill { client_id: self.client_id.clone(), will, due_at: None };
                self.write(write, After::Armed(Box::new(connack)));
            }
            None => self.send(&Packet::Connack(Box::new(connack))),
        }
    }

    /// The Will is committed, or was refused.
    pub(super) fn handle_armed(&mut self, connack: Connack, outcome: Result<bool, ReasonCode>) {
        match outcome {
            Ok(_) if matches!(self.state, State::Arming) => {
                self.state = State::Open;
                self.send(&Packet::Connack(Box::new(connack)));
            }
            Ok(_) => {}
            Err(reason) => {
                (self.armed, self.will) = (false, None);
                self.refuse(reason, "its Will could not be kept");
            }
        }
    }
}
