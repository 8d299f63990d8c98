//! `forwards` and `subscription`: which topics go where, and under which name.
use super::block::{Block, Found, Wrong};
use super::note::Sheet;
use super::reasons::{self, Reasons, note_rest};
use crate::bridge::config::{Forward, Subscription};
use crate::bridge::message::QoS;
use crate::bridge::topic;

/// What both kinds of rules say.
struct Rule {
    filter: String,
    /// Absent: the message's own.
    name: Option<String>,
    strip_levels: u8,
    prefix: String,
    suffix: String,
    qos: Option<QoS>,
    retain: Option<Found<bool>>,
}

pub(super) fn forwards(block: &mut Block<'_>, key: &str, sheet: &mut Sheet) -> Result<Vec<Forward>, Wrong> {
    let rules = rules(block, "forwards", ["local_topic", "remote_topic"], &format!("{key}.forwards"), sheet)?;
    let mut forwards: Vec<Forward> = Vec::new();
    for (rule, place) in rules {
        let earlier = forwards.iter().find(|earlier| overlap(&earlier.local, &rule.filter));
        if let Some(earlier) = earlier {
            let what = format!(
                "what `{}` matches as well goes by that forward alone, the first; NanoMQ sends it by each",
                earlier.local
            );
            sheet.different(&place, what);
        }
        forwards.push(Forward {
            local: rule.filter,
            remote: rule.name,
            strip_levels: rule.strip_levels,
            prefix: rule.prefix,
            suffix: rule.suffix,
            qos: rule.qos,
            retain: rule.retain.map(|retain| retain.value),
            when_full: None,
        });
    }
    Ok(forwards)
}

pub(super) fn subscriptions(block: &mut Block<'_>, key: &str, sheet: &mut Sheet) -> Result<Vec<Subscription>, Wrong> {
    let rules = rules(block, "subscription", ["remote_topic", "local_topic"], &format!("{key}.subscriptions"), sheet)?;
    let subscription = |(rule, _): (Rule, _)| Subscription {
        remote: rule.filter,
        local: rule.name,
        strip_levels: rule.strip_levels,
        prefix: rule.prefix,
        suffix: rule.suffix,
        // NanoMQ's default.
        qos: rule.qos.unwrap_or(QoS::AtMostOnce),
        no_local: true,
    };
    Ok(rules.into_iter().map(subscription).collect())
}

type Rules = Vec<(Rule, Found<()>)>;

/// `becomes` is the list in bridge.yaml.
fn rules(
    block: &mut Block<'_>,
    list: &str,
    [filter, name]: [&str; 2],
    becomes: &str,
    sheet: &mut Sheet,
) -> Result<Rules, Wrong> {
    let Some(items) = block.blocks(list)? else { return Ok(Vec::new()) };
    let count = items.value.len();
    sheet.mapped(&items, format!("{}: {count}", becomes.rsplit('.').next().unwrap_or(becomes)));
    let reasons = if list == "forwards" { reasons::FORWARD } else { reasons::SUBSCRIPTION };
    let mut rules = Vec::new();
    for mut item in items.value {
        if let Some(rule) = rule(&mut item, filter, name, reasons, sheet)? {
            sheet.origin(format!("{becomes}[{}]", rules.len()), item.place());
            rules.push((rule, item.place().clone()));
        }
    }
    Ok(rules)
}

fn rule(
    item: &mut Block<'_>,
    filter_key: &str,
    name_key: &str,
    reasons: Reasons,
    sheet: &mut Sheet,
) -> Result<Option<Rule>, Wrong> {
    let is_forward = reasons.is_empty();
    let (filter, name) = match (item.text(filter_key)?, item.text(name_key)?) {
        (Some(filter), Some(name)) => (filter, name),
        (filter, _) => {
            let missing = if filter.is_some() { name_key } else { filter_key };
            let what = format!("no {missing}: left out, as NanoMQ leaves it out (\"\" keeps the topic)");
            sheet.ignored(item.place(), what);
            return Ok(None);
        }
    };
    let (name, strip_levels) = renamed(&filter.value, &name)?;
    let qos = match item.number("qos")? {
        Some(found) => {
            let qos = u8::try_from(found.value).ok().and_then(|qos| QoS::try_from(qos).ok());
            Some(qos.ok_or_else(|| found.wrong("0, 1 or 2 is expected"))?)
        }
        None => None,
    };
    let retain = if is_forward { item.number("retain")? } else { None };
    let retain = match retain {
        Some(found) if found.value > 1 => return Err(found.wrong("0 or 1 is expected")),
        Some(Found { value, line, key }) => Some(Found { value: value == 1, line, key }),
        None => None,
    };
    let mut text = |key| Ok(item.text(key)?.map(|found| found.value).unwrap_or_default());
    let (prefix, suffix) = (text("prefix")?, text("suffix")?);
    let read = [filter_key, name_key, "qos", "retain", "prefix", "suffix"];
    note_rest(item, reasons, &read, sheet)?;
    Ok(Some(Rule { filter: filter.value, name, strip_levels, prefix, suffix, qos, retain }))
}

/// The topic's other name, or how many of its levels are taken off. In NanoMQ a name with wildcards must stand at the end
/// of the filter; the levels before it are left out.
fn renamed(filter: &str, name: &Found<String>) -> Result<(Option<String>, u8), Wrong> {
    if name.value.is_empty() {
        return Ok((None, 0));
    }
    match (topic::has_wildcard(filter), topic::has_wildcard(&name.value)) {
        (false, false) => Ok((Some(name.value.clone()), 0)),
        (true, false) => Err(name.wrong(format!(
            "it would put every topic that `{filter}` matches under one name: \"\" keeps each topic, with prefix and suffix"
        ))),
        (_, true) => {
            let before = filter.strip_suffix(&name.value).filter(|before| before.is_empty() || before.ends_with('/'));
            let levels = before.and_then(|before| u8::try_from(before.matches('/').count()).ok());
            let what = format!("wildcards mean that `{filter}` ends like this, and loses the levels before: it does not");
            levels.map(|levels| (None, levels)).ok_or_else(|| name.wrong(what))
        }
    }
}

/// Whether there is a Topic Name that both match.
fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('/'), other.split('/'));
    loop {
        match (one.next(), other.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(a), Some(b)) if a == b || a == "+" || b == "+" => {}
            _ => return false,
        }
    }
}
