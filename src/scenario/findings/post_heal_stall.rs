//! The link was back, and nothing went through until `resend_wait` was over.
use std::time::Duration;

use super::case::{Case, Noticed};
use super::words::seconds;
use super::{Rule, Said};

pub(super) const RULE: Rule = Rule {
    name: "post-heal-stall",
    mechanism: "A message in flight is sent again only when it is older than resend_wait, and only then can its slot be freed. \
                Where resend_wait is longer than the outage, every slot stays stuck after the heal, and the queue in memory \
                goes on dropping.",
    reference: "nanomq#2226, nanomq#2295, nanomq#1873",
    find,
};

/// A stall shorter than this has other reasons too.
const LEAST: Duration = Duration::from_secs(3);

fn find(case: &Case<'_>) -> Option<Said> {
    if !case.is_nanomq() {
        return None;
    }
    let wait = Duration::from_millis(case.number("resend_wait")?);
    let fault = case.silent().last()?;
    let heal = case.heal()?;
    if wait <= heal.saturating_sub(fault.start) {
        return None;
    }
    // Where nothing was published into the dead link no slot is stuck, and what waits does not wait for resend_wait.
    let noticed = match case.noticed(fault) {
        Noticed::At(at) => at,
        Noticed::Never | Noticed::Unknown => fault.end,
    };
    if case.sent_within(fault.start, noticed) == 0 {
        return None;
    }
    let linked = case.linked_after(heal).unwrap_or(heal);
    let arrived = case.messages().filter_map(|message| message.row.received()).filter(|at| *at >= heal).min();
    let until = arrived.unwrap_or(case.facts().last);
    if until < linked + LEAST {
        return None;
    }
    let sent = case.sent_within(linked, until);
    Some(Said {
        title: format!("Nothing went through for {:.1} s after the link was back", (until - linked).as_secs_f64()),
        evidence: vec![
            format!("healed at {}, link back at {}, first arrival {}", seconds(heal), seconds(linked), match arrived {
                Some(at) => format!("at {}", seconds(at)),
                None => "never".to_owned(),
            }),
            format!(
                "resend_wait = {} ms, longer than the outage of {}",
                wait.as_millis(),
                seconds(heal.saturating_sub(fault.start))
            ),
            format!("{sent} messages were published meanwhile"),
        ],
        advice: "resend_wait shorter than the shortest outage that matters, and shorter than cancel_timeout (the defaults are \
                 3000 and 10000)"
            .to_owned(),
    })
}
