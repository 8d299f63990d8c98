//! The door of the local leg: who is let in, by what policy, and what is said about who is not.
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::task::AbortHandle;
use tracing::warn;

use crate::bridge::accounts::Accounts;
use crate::bridge::clock::Clock;
use crate::bridge::config::{self, CertificateUser, Config, Limits};
use crate::bridge::core::access::Rule;
use crate::bridge::core::client::{Denied, Guard};
use crate::bridge::core::gate::{Gate, GateLimits, Refusal, Ticket};
use crate::bridge::core::repeats::Repeats;
use crate::bridge::counters::Shared;
use crate::bridge::transport::PeerIdentity;

/// Of a topic in a line of the log.
const SHOWN: usize = 200;

/// Who is let in, and what they may do.
#[derive(Debug)]
pub struct Policy {
    /// `None`: nobody is asked.
    pub accounts: Option<Accounts>,
    rules: Option<Arc<[Rule]>>,
    limits: Limits,
}

impl Policy {
    /// The configured one.
    pub fn new(config: &Config) -> Self {
        let accounts = config.accounts.clone().map(Accounts::new);
        Self { accounts, rules: config::rules(config), limits: config.limits.clone() }
    }

    /// What a new client is held to.
    pub fn guard(&self) -> Guard {
        Guard::new(self.accounts.is_some(), self.rules.clone(), self.limits.of_client())
    }

    /// How long a client may take until it is let in.
    pub fn connect_timeout(&self) -> Duration {
        self.limits.connect_timeout
    }

    /// The user that a client's certificate names, where that is asked for.
    pub fn certified(&self, peer: Option<&PeerIdentity>) -> Option<String> {
        let (which, peer) = (self.accounts.as_ref()?.certificate_user()?, peer?);
        match which {
            CertificateUser::CommonName => peer.common_name.clone(),
            CertificateUser::Subject => Some(peer.subject.clone()),
        }
    }

    /// Largest CONNECT, in bytes.
    pub fn max_connect_size(&self) -> u32 {
        u32::try_from(self.limits.max_connect_size).unwrap_or(u32::MAX)
    }
}

/// Counts who is there and lets in who may come.
#[derive(Debug)]
pub struct Door {
    policy: RwLock<Arc<Policy>>,
    gate: Mutex<Gate<IpAddr, AbortHandle>>,
    repeats: Mutex<Repeats>,
    /// Bytes of packets that have begun to come.
    memory: AtomicUsize,
    /// Descriptors allow so many connections.
    descriptors: usize,
    counters: Shared,
    clock: Clock,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What counts as one address: of IPv6 the network that one subscriber has.
fn address_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
        address => address,
    }
}

impl Door {
    /// Nobody is there. `descriptors` allow so many connections, whatever the policy says.
    pub fn new(policy: Policy, descriptors: usize, counters: Shared, clock: Clock) -> Arc<Self> {
        let gate = Mutex::new(Gate::new(capped(&policy, descriptors)));
        let policy = RwLock::new(Arc::new(policy));
        let (repeats, memory) = Default::default();
        Arc::new(Self { policy, gate, repeats, memory, descriptors, counters, clock })
    }

    /// The policy for who comes now.
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another policy from now on, for who comes; who is there keeps the one by which it was let in.
    pub fn set_policy(&self, policy: Policy) {
        locked(&self.gate).set_limits(capped(&policy, self.descriptors));
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }

    /// A connection has come; `None`: it is to be closed at once.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Pass> {
        match locked(&self.gate).enter(address_of(address)) {
            Ok(ticket) => Some(Pass { door: self.clone(), ticket, address, memory: 0 }),
            Err(refusal) => {
                self.refused(address, refusal);
                None
            }
        }
    }

    /// It is half open until it is let in; where there are too many of those, one is closed.
    pub fn wait(&self, ticket: Ticket, close: AbortHandle) {
        if let Some(close) = locked(&self.gate).wait(ticket, close) {
            close.abort();
            self.counters.lock().connections_half_open_closed += 1;
            self.say("half_open", || "limits.max_half_open is reached: the oldest of them are closed".to_owned());
        }
    }

    fn refused(&self, address: IpAddr, refusal: Refusal) {
        self.counters.lock().connections_refused += 1;
        self.say(refusal.text(), || format!("{address}: connection refused: {}", refusal.text()));
    }

    /// Counts a client that was not let in, and says so.
    pub fn not_let_in(&self, address: IpAddr, client_id: &str, why: &str) {
        self.counters.lock().logins_refused += 1;
        self.say("login", || format!("{address}: client {} is not let in: {why}", shown(client_id)));
    }

    /// Counts what a client was denied, and says so.
    pub fn denied(&self, client_id: &str, denied: &Denied) {
        let mut counters = self.counters.lock();
        let (kind, what, topic) = match denied {
            Denied::Publish(topic) => {
                counters.publishes_denied += 1;
                ("publish", "publish to", &**topic)
            }
            Denied::Subscribe(filter) => {
                counters.subscriptions_denied += 1;
                ("subscribe", "subscribe to", filter.as_str())
            }
        };
        drop(counters);
        self.say(kind, || format!("client {} may not {what} {}", shown(client_id), shown(topic)));
    }

    fn say(&self, kind: &'static str, what: impl FnOnce() -> String) {
        let Some(unsaid) = locked(&self.repeats).record(kind, self.clock.now()) else { return };
        match unsaid {
            0 => warn!("{}", what()),
            more => warn!("{} (and {more} more like it since the last line)", what()),
        }
    }
}

/// What a client has written, in a line of the log: no control characters, and not all of it.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(SHOWN).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("{short:?}{more}")
}

fn capped(policy: &Policy, descriptors: usize) -> GateLimits {
    let limits = policy.limits.of_gate();
    GateLimits { max_connections: limits.max_connections.min(descriptors), ..limits }
}

/// A connection's place at the door; given up when dropped.
#[derive(Debug)]
pub struct Pass {
    door: Arc<Door>,
    /// Names it.
    pub ticket: Ticket,
    /// Whose it is.
    pub address: IpAddr,
    memory: usize,
}

impl Pass {
    /// The door.
    pub fn door(&self) -> &Arc<Door> {
        &self.door
    }

    /// It is known who it is.
    pub fn let_in(&self) {
        locked(&self.door.gate).let_in(self.ticket);
    }

    /// It holds so many bytes of a packet that has begun; whether it may.
    pub fn hold(&mut self, bytes: usize) -> bool {
        if bytes == self.memory {
            return true;
        }
        let before = std::mem::replace(&mut self.memory, bytes);
        let all = match bytes.checked_sub(before) {
            Some(more) => self.door.memory.fetch_add(more, Ordering::Relaxed) + more,
            None => self.door.memory.fetch_sub(before - bytes, Ordering::Relaxed),
        };
        let limit = self.door.policy().limits.max_memory as usize;
        bytes <= before || all <= limit || bytes <= limit / locked(&self.door.gate).counts().0.max(1)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.door.memory.fetch_sub(self.memory, Ordering::Relaxed);
        locked(&self.door.gate).leave(self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ipv6_is_its_network() {
        let of = |text: &str| address_of(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!([of("10.1.2.3"), of("::ffff:10.1.2.3")], ["10.1.2.3", "10.1.2.3"]);
    }

    #[test]
    fn what_a_client_wrote_is_one_short_line() {
        assert_eq!(shown("a\nb"), "\"a\\nb\"");
        assert!(shown(&"x".repeat(100_000)).len() < 250);
    }
}
