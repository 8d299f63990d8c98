//! What a client must show before it is let in, what it may do then, and how fast.
use std::fmt;
use std::sync::Arc;

use crate::bridge::core::access::{Access, Rule};
use crate::bridge::core::limits::{ClientLimits, Pace};
use crate::bridge::delivery::Time;
use crate::bridge::wire::ReasonCode;

/// What a CONNECT shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Client Identifier.
    pub client_id: String,
    /// User Name.
    pub username: Option<String>,
    /// Password; never shown.
    pub password: Option<Vec<u8>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Credentials")
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// What a client was denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// A PUBLISH to this topic.
    Publish(Arc<str>),
    /// A subscription with this filter.
    Subscribe(String),
}

/// What every client of a listener is held to, and what this one may do.
#[derive(Debug, Default)]
pub struct Guard {
    /// A CONNECT is shown to whoever knows the accounts.
    pub(super) authenticates: bool,
    rules: Option<Arc<[Rule]>>,
    pub(super) limits: ClientLimits,
    pub(super) access: Access,
    pub(super) pace: Pace,
}

impl Guard {
    /// `authenticates`: there are accounts. `rules`: `None` where everything is allowed.
    pub fn new(authenticates: bool, rules: Option<Arc<[Rule]>>, limits: ClientLimits) -> Self {
        // Nothing is allowed before it is known who it is.
        let access = Access::new(Some(&Arc::from([])), None, "");
        Self { authenticates, rules, limits, access, pace: Pace::new(limits.publish) }
    }

    /// It is known who it is.
    pub(super) fn let_in(&mut self, user: Option<&str>, client_id: &str) {
        self.access = Access::new(self.rules.as_ref(), user, client_id);
    }

    /// Why a PUBLISH to this topic is refused, if it is.
    pub(super) fn refuses(&self, topic: &str) -> Option<ReasonCode> {
        if !self.limits.takes_topic(topic) {
            return Some(ReasonCode::TOPIC_NAME_INVALID);
        }
        (!self.access.may_publish(topic)).then_some(ReasonCode::NOT_AUTHORIZED)
    }

    /// Why a valid filter is refused, if it is, by a client that has so many subscriptions besides.
    pub(super) fn refuses_filter(&self, filter: &str, others: usize) -> Option<ReasonCode> {
        if !self.limits.takes_topic(filter) || others >= self.limits.max_subscriptions {
            return Some(ReasonCode::QUOTA_EXCEEDED);
        }
        (!self.access.may_subscribe(filter)).then_some(ReasonCode::NOT_AUTHORIZED)
    }

    /// Whether it was too fast and is not read from for a while.
    pub(super) fn paced(&self) -> bool {
        self.pace.until().is_some()
    }

    /// When it may be read from again, if it was too fast.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.pace.until()
    }
}
