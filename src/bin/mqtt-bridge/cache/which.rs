//! Which deliveries a subcommand is for: the filters that `list`, `purge` and `requeue` share.
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use mqtt_bridge::bridge::cache::sqlite::file::{Selection, State};
use mqtt_bridge::bridge::topic::check_filter;
use mqtt_bridge::bridge::units::parse_duration;

#[derive(Args)]
pub(super) struct Which {
    /// To a topic at the remote that this Topic Filter matches
    #[arg(long, value_name = "FILTER")]
    topic: Option<String>,
    /// Of this bridge
    #[arg(long, value_name = "NAME")]
    bridge: Option<String>,
    /// In this state
    #[arg(long, value_enum)]
    state: Option<StateName>,
    /// That arrived at least this long ago: 90s, 5m, 2d
    #[arg(long, value_name = "AGE", value_parser = parse_duration)]
    older_than: Option<Duration>,
    /// That arrived at most this long ago
    #[arg(long, value_name = "AGE", value_parser = parse_duration)]
    newer_than: Option<Duration>,
    /// Of this message
    #[arg(long, value_name = "ID", alias = "id", allow_negative_numbers = true)]
    seq: Option<i64>,
}

impl Which {
    /// What they say, at this moment.
    pub(super) fn selection(&self) -> anyhow::Result<Selection> {
        if let Some(filter) = &self.topic {
            check_filter(filter).map_err(|what| anyhow::anyhow!("--topic: {what}"))?;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Selection {
            bridge: self.bridge.clone(),
            state: self.state.map(StateName::state),
            seq: self.seq,
            topic: self.topic.clone(),
            since: self.newer_than.map(|age| now.saturating_sub(age)),
            until: self.older_than.map(|age| now.saturating_sub(age)),
        })
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum StateName {
    /// It waits
    Queued,
    /// QoS 2 under a Packet Identifier
    InFlight,
    /// The remote refused it for good
    Quarantined,
}

impl StateName {
    fn state(self) -> State {
        match self {
            Self::Queued => State::Queued,
            Self::InFlight => State::InFlight,
            Self::Quarantined => State::Quarantined,
        }
    }
}
