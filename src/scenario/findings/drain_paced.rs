//! The backlog drained at the pace of a clock, not of the link.
use std::time::Duration;

use super::case::Case;
use super::words::{messages, seconds};
use super::{Rule, Said};
use crate::scenario::log::Known;

pub(super) const RULE: Rule = Rule {
    name: "drain-paced-by-tick",
    mechanism: "A timer takes one row at a time out of the cache, however fast the link is; a tick that sends a PINGREQ or \
                repeats a message takes none. cache.resend_interval is read and not used: the bridge's resend_interval is the \
                tick.",
    reference: "nanomq#1980, nanomq#2423",
    find,
};

/// Fewer have no rhythm.
const LEAST: usize = 4;
/// A backlog that is through in less is no trouble to anybody.
const LEAST_SPAN: Duration = Duration::from_secs(5);

fn find(case: &Case<'_>) -> Option<Said> {
    let heal = case.heal()?;
    let kept = case.messages().filter(|message| message.sent < heal);
    let mut arrived: Vec<Duration> =
        kept.filter_map(|message| message.row.received()).filter(|at| *at >= heal).collect();
    arrived.sort_unstable();
    let span = arrived.last()?.saturating_sub(*arrived.first()?);
    if arrived.len() < LEAST || span < LEAST_SPAN {
        return None;
    }
    let mut gaps: Vec<Duration> = arrived.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_unstable();
    let (low, median, high) = (gaps[gaps.len() / 10], gaps[gaps.len() / 2], gaps[gaps.len() * 9 / 10]);
    let tick = case.number("resend_interval").filter(|_| case.is_nanomq()).map(Duration::from_millis);
    let paced = match tick {
        Some(tick) => (tick.mul_f64(0.8)..tick.mul_f64(1.5)).contains(&median),
        // A clock's steps are alike; a link's come in bursts.
        None => median >= Duration::from_millis(20) && low * 2 > median && high < median * 2,
    };
    if !paced {
        return None;
    }
    let rate = (arrived.len() - 1) as f64 / span.as_secs_f64();
    let mut evidence = vec![
        format!(
            "{} of the backlog arrived from {} to {}: {rate:.1} a second",
            messages(arrived.len()),
            seconds(arrived[0]),
            seconds(arrived[0] + span)
        ),
        format!("between two of them: {} ms, half of the time", median.as_millis()),
    ];
    if let Some(tick) = tick {
        evidence.push(format!("resend_interval = {} ms", tick.as_millis()));
    }
    if let Some(rows) = case.log().seen(Known::AckFailed) {
        evidence.push(format!("\"QoS msg ack failed\" {}: the rows that were delivered", rows.words()));
    }
    Some(Said {
        title: format!("The backlog drained at {rate:.1} messages a second, one for each tick of a timer"),
        evidence,
        advice: match case.is_nanomq() {
            true => {
                "a shorter bridges.mqtt.NAME.resend_interval (10 ms: 100 a second); it is also how long a PINGRESP may \
                     take, so not below the round trip"
            }
            false => "look for the setting of that timer",
        }
        .to_owned(),
    })
}
