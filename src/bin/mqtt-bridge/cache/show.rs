//! One message.
use std::io::{Write, stdout};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use mqtt_bridge::bridge::cache::sqlite::file::{ExportedMessage, open_any};
use mqtt_bridge::bridge::wire::{NamedProperty, ReasonCode, named_properties};
use serde_json::json;

use super::print::{age, hex, payload, plain, text};
use super::{Format, PayloadFormat};

pub(super) fn show(path: &Path, seq: i64, payload: PayloadFormat, format: Format) -> anyhow::Result<u8> {
    let message = open_any(path)?.message(seq)?;
    let message = message
        .with_context(|| format!("{}: there is no message {seq}; `cache list` says which there are", path.display()))?;
    let mut out = stdout().lock();
    if matches!(format, Format::Json) {
        let mut value = serde_json::to_value(&message)?;
        let named = named_properties(&message.properties).unwrap_or_default();
        let named =
            named.iter().map(|property| json!({ "name": property.name, "key": property.key, "value": property.value }));
        value["named_properties"] = named.collect();
        writeln!(out, "{value}")?;
        return Ok(0);
    }
    let shown = shown(&message, payload)?;
    head(&mut out, &message)?;
    writeln!(out, "payload     {} bytes\n{}", message.payload.len(), shown.trim_end())?;
    Ok(0)
}

fn head(out: &mut impl Write, message: &ExportedMessage) -> anyhow::Result<()> {
    writeln!(out, "ID          {}", message.seq)?;
    writeln!(out, "topic       {}", plain(&message.topic))?;
    writeln!(out, "QoS         {}{}", message.qos, if message.retain { ", RETAIN" } else { "" })?;
    let received_at = Duration::from_millis(u64::try_from(message.received_at).unwrap_or_default());
    writeln!(out, "received    {} ms since 1970, {} ago", message.received_at, age(received_at))?;
    if let Some(seconds) = message.message_expiry {
        writeln!(out, "expires     {seconds} s after it was received, unless it has been sent")?;
    }
    match named_properties(&message.properties) {
        Some(properties) => {
            for (index, NamedProperty { name, key, value }) in properties.iter().enumerate() {
                let label = if index == 0 { "properties" } else { "" };
                let key = key.as_ref().map(|key| format!(" {}", plain(key))).unwrap_or_default();
                writeln!(out, "{label:<12}{name}{key}: {}", plain(value))?;
            }
        }
        None => {
            let (length, bytes) = (message.properties.len(), hex(&message.properties));
            writeln!(out, "properties  {length} bytes that are no properties of a PUBLISH\n{}", bytes.trim_end())?;
        }
    }
    for delivery in &message.deliveries {
        let reason = delivery.reason.map(|reason| format!(": {}", ReasonCode(reason))).unwrap_or_default();
        let (bridge, topic) = (plain(&delivery.bridge), plain(&delivery.topic));
        writeln!(out, "to          {bridge} as {topic}, QoS {}, {}{reason}", delivery.qos, delivery.state.label())?;
    }
    if message.deliveries.is_empty() {
        writeln!(out, "to          where it goes cannot be read")?;
    }
    Ok(())
}

fn shown(message: &ExportedMessage, format: PayloadFormat) -> anyhow::Result<String> {
    let bytes = &message.payload;
    Ok(match format {
        PayloadFormat::Auto => payload(bytes),
        PayloadFormat::Text => text(&String::from_utf8_lossy(bytes)),
        PayloadFormat::Hex => hex(bytes),
        PayloadFormat::Json => {
            let value: serde_json::Value = serde_json::from_slice(bytes)
                .with_context(|| format!("--payload json: the payload of message {} is no JSON", message.seq))?;
            serde_json::to_string_pretty(&value)?
        }
    })
}
