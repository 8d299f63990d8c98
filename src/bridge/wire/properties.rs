//! PUBLISH properties for people.
use mqtt_protocol_core::mqtt::packet::Property;

/// A property as the specification names it (MQTT 5, section 3.3.2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedProperty {
    /// Its name.
    pub name: &'static str,
    /// A User Property's own name.
    pub key: Option<String>,
    /// Its value; Correlation Data in hexadecimal.
    pub value: String,
}

/// The properties in their encoded form, as [`Properties::other`](crate::bridge::message::Properties) keeps them; `None`:
/// they are not what a PUBLISH may carry.
pub fn named_properties(mut bytes: &[u8]) -> Option<Vec<NamedProperty>> {
    let mut named = Vec::new();
    while !bytes.is_empty() {
        let (property, length) = Property::parse(bytes).ok()?;
        bytes = bytes.get(length..)?;
        let (name, key, value) = match property {
            Property::PayloadFormatIndicator(value) => {
                let value = if value.val() == 1 { "1 (UTF-8)" } else { "0 (bytes)" };
                ("Payload Format Indicator", None, value.to_owned())
            }
            Property::MessageExpiryInterval(value) => ("Message Expiry Interval", None, value.val().to_string()),
            Property::ContentType(value) => ("Content Type", None, value.val().to_owned()),
            Property::ResponseTopic(value) => ("Response Topic", None, value.val().to_owned()),
            Property::CorrelationData(value) => {
                ("Correlation Data", None, value.val().iter().map(|byte| format!("{byte:02x}")).collect())
            }
            Property::UserProperty(pair) => ("User Property", Some(pair.key().to_owned()), pair.val().to_owned()),
            _ => return None,
        };
        named.push(NamedProperty { name, key, value });
    }
    Some(named)
}

/// Whether a payload is what its Payload Format Indicator says: UTF-8 where that is 1 (MQTT 5, section 3.3.2.3.2). The
/// properties are in their encoded form, and known to be well-formed.
pub fn is_payload_valid(properties: &[u8], payload: &[u8]) -> bool {
    let mut rest = properties;
    let skip = |rest: &[u8]| rest.first_chunk().map_or(0, |length| 2 + usize::from(u16::from_be_bytes(*length)));
    while let Some((&identifier, value)) = rest.split_first() {
        let length = match identifier {
            0x01 => return value.first() != Some(&1) || std::str::from_utf8(payload).is_ok(),
            0x26 => skip(value) + skip(value.get(skip(value)..).unwrap_or_default()),
            _ => skip(value),
        };
        rest = value.get(length..).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_held_to_what_its_indicator_says() {
        let (text, bytes): (&[u8], &[u8]) = ("ü".as_bytes(), &[0xFF]);
        let behind = b"\x03\x00\x01a\x26\x00\x01k\x00\x02vv\x01\x01";
        for (properties, payload, valid) in [
            (&b""[..], bytes, true),
            (b"\x01\x00", bytes, true),
            (b"\x01\x01", text, true),
            (b"\x01\x01", bytes, false),
            (behind, text, true),
            (behind, bytes, false),
        ] {
            assert_eq!(is_payload_valid(properties, payload), valid, "{properties:?} {payload:?}");
        }
    }

    #[test]
    fn properties_have_their_names() {
        let bytes = b"\x01\x01\x03\x00\x04text\x08\x00\x01r\x09\x00\x02\x0a\xff\x26\x00\x04site\x00\x07plant-7";
        let named = named_properties(bytes).unwrap();
        let shown: Vec<String> = named
            .iter()
            .map(|property| format!("{} {:?} {}", property.name, property.key.as_deref(), property.value))
            .collect();
        assert_eq!(
            shown,
            [
                "Payload Format Indicator None 1 (UTF-8)",
                "Content Type None text",
                "Response Topic None r",
                "Correlation Data None 0aff",
                "User Property Some(\"site\") plant-7",
            ]
        );
        assert_eq!(named_properties(&bytes[..bytes.len() - 1]), None);
        assert_eq!(named_properties(b"\x21\x00\x05"), None, "a Receive Maximum is no property of a PUBLISH");
        assert_eq!(named_properties(b""), Some(Vec::new()));
    }
}
