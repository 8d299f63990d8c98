//! Which connections are let in, and which goes where there are too many that have not said who they are.
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// Limits of all connections together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateLimits {
    /// Connections at a time.
    pub max_connections: usize,
    /// The same from one address.
    pub max_connections_per_address: usize,
    /// Connections at a time that have not been let in.
    pub max_half_open: usize,
}

/// Names a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There are as many as there may be.
    Connections,
    /// There are as many from this address as there may be.
    Address,
}

impl Refusal {
    /// For the log.
    pub fn text(self) -> &'static str {
        match self {
            Self::Connections => "limits.max_connections is reached",
            Self::Address => "limits.max_connections_per_address is reached",
        }
    }
}

#[derive(Debug, Default)]
struct AtAddress {
    connections: usize,
    half_open: usize,
}

/// Counts connections. `A` is an address, `C` what closes a connection.
#[derive(Debug)]
pub struct Gate<A, C> {
    limits: GateLimits,
    addresses: HashMap<A, AtAddress>,
    /// Address of each connection.
    connections: HashMap<Ticket, A>,
    /// The oldest first.
    half_open: BTreeMap<Ticket, C>,
    next: u64,
}

impl<A: Clone + Eq + Hash, C> Gate<A, C> {
    /// Nobody is there.
    pub fn new(limits: GateLimits) -> Self {
        let (addresses, connections, half_open) = Default::default();
        Self { limits, addresses, connections, half_open, next: 0 }
    }

    /// These limits from now on; who is there stays.
    pub fn set_limits(&mut self, limits: GateLimits) {
        self.limits = limits;
    }

    /// A connection has come; whoever is let in must [`leave`](Self::leave).
    ///
    /// # Errors
    /// [`Refusal`] where it is to be closed at once.
    pub fn enter(&mut self, address: A) -> Result<Ticket, Refusal> {
        if self.connections.len() >= self.limits.max_connections {
            return Err(Refusal::Connections);
        }
        let at = self.addresses.entry(address.clone()).or_default();
        if at.connections >= self.limits.max_connections_per_address {
            return Err(Refusal::Address);
        }
        at.connections += 1;
        let ticket = Ticket(self.next);
        self.next += 1;
        self.connections.insert(ticket, address);
        Ok(ticket)
    }

    /// It is half open until it is let in; what closes it. Gives what closes another, where there are too many: the
    /// oldest of the address that has most of them, so that a flood closes its own.
    #[must_use]
    pub fn wait(&mut self, ticket: Ticket, close: C) -> Option<C> {
        self.half_open.insert(ticket, close);
        if let Some(at) = self.connections.get(&ticket).and_then(|address| self.addresses.get_mut(address)) {
            at.half_open += 1;
        }
        if self.half_open.len() <= self.limits.max_half_open {
            return None;
        }
        let most = self.addresses.values().map(|at| at.half_open).max()?;
        let greedy = |ticket: &Ticket| {
            let at = self.connections.get(ticket).and_then(|address| self.addresses.get(address));
            at.is_some_and(|at| at.half_open == most)
        };
        let oldest = self.half_open.keys().copied().find(greedy)?;
        self.let_in(oldest)
    }

    /// It is not half open any more; gives what would have closed it.
    pub fn let_in(&mut self, ticket: Ticket) -> Option<C> {
        let close = self.half_open.remove(&ticket)?;
        if let Some(at) = self.connections.get(&ticket).and_then(|address| self.addresses.get_mut(address)) {
            at.half_open = at.half_open.saturating_sub(1);
        }
        Some(close)
    }

    /// It has ended.
    pub fn leave(&mut self, ticket: Ticket) {
        drop(self.let_in(ticket));
        let Some(address) = self.connections.remove(&ticket) else { return };
        if let Some(at) = self.addresses.get_mut(&address) {
            at.connections -= 1;
            if at.connections == 0 {
                self.addresses.remove(&address);
            }
        }
    }

    /// Connections, and those of them that are half open.
    pub fn counts(&self) -> (usize, usize) {
        (self.connections.len(), self.half_open.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: GateLimits = GateLimits { max_connections: 6, max_connections_per_address: 4, max_half_open: 3 };

    #[test]
    fn beyond_a_limit_the_new_one_is_refused_and_the_others_stay() {
        let mut gate: Gate<&str, ()> = Gate::new(LIMITS);
        let tickets: Vec<_> = (0..4).map(|_| gate.enter("a").unwrap()).collect();
        assert_eq!(gate.enter("a"), Err(Refusal::Address));
        gate.enter("b").unwrap();
        gate.enter("b").unwrap();
        assert_eq!(gate.enter("c"), Err(Refusal::Connections));
        gate.leave(tickets[0]);
        gate.leave(tickets[0]);
        assert_eq!(gate.counts(), (5, 0));
        gate.enter("a").unwrap();
    }

    #[test]
    fn a_flood_of_half_open_ones_closes_its_own_oldest() {
        let mut gate: Gate<&str, u32> = Gate::new(LIMITS);
        let honest = gate.enter("honest").unwrap();
        assert_eq!(gate.wait(honest, 0), None);
        for number in 1..=2 {
            let ticket = gate.enter("flood").unwrap();
            assert_eq!(gate.wait(ticket, number), None);
        }
        let ticket = gate.enter("flood").unwrap();
        assert_eq!(gate.wait(ticket, 3), Some(1), "not the honest one, which is older");
        gate.let_in(honest);
        assert_eq!(gate.counts(), (4, 2));
        let another = gate.enter("another").unwrap();
        assert_eq!(gate.wait(another, 4), None);
    }

    #[test]
    fn nothing_is_left_of_who_has_left() {
        let mut gate: Gate<u32, ()> = Gate::new(LIMITS);
        for address in 0..1000 {
            let ticket = gate.enter(address).unwrap();
            assert_eq!(gate.wait(ticket, ()), None);
            gate.leave(ticket);
        }
        assert!(gate.addresses.is_empty() && gate.connections.is_empty() && gate.half_open.is_empty());
    }
}
