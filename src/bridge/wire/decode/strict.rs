//! What the codec lets through and a server must not: of clients alone, since a remote that is not quite right is still
//! the remote that there is, and a message of its that closes the link would close it again for ever.
use mqtt_protocol_core::mqtt::packet::{PropertiesParse as _, PropertiesSize as _, Property};

use super::violation;
use crate::bridge::topic;
use crate::bridge::wire::{ReasonCode, WireError, frame};

/// Reads a packet's body from its front.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Of a packet of this name.
    pub(super) fn new(rest: &'a [u8], what: &'static str) -> Self {
        Self { rest, what }
    }

    fn malformed(&self, why: &str) -> WireError {
        WireError::new(ReasonCode::MALFORMED_PACKET, format!("{}: {why}", self.what))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.malformed("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, WireError> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn two_bytes(&mut self) -> Result<u16, WireError> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(super) fn binary(&mut self) -> Result<&'a [u8], WireError> {
        let length = self.two_bytes()?;
        self.take(length.into())
    }

    /// A UTF-8 Encoded String (MQTT 5, section 1.5.4).
    pub(super) fn string(&mut self) -> Result<&'a str, WireError> {
        let bytes = self.binary()?;
        let text = std::str::from_utf8(bytes).map_err(|_| self.malformed("a string that is no UTF-8"))?; // [MQTT-1.5.4-1]
        without_null(text, self.what)?;
        Ok(text)
    }

    /// The properties, each of which must be allowed here, and none but the User Property come twice.
    pub(super) fn properties(&mut self, allowed: fn(&Property) -> bool) -> Result<Vec<Property>, WireError> {
        let (properties, length) = Vec::<Property>::parse(self.rest).map_err(|error| violation(error, self.what))?;
        check_properties(self.rest, &properties, self.what)?;
        self.rest = &self.rest[length..];
        for (index, property) in properties.iter().enumerate() {
            let again = properties[..index].iter().any(|other| other.id() as u8 == property.id() as u8);
            if !allowed(property) || (again && !matches!(property, Property::UserProperty(_))) {
                let why = if again { "comes twice" } else { "does not belong here" };
                let what = format!("{}: property 0x{:02X} {why}", self.what, property.id() as u8);
                return Err(WireError::new(ReasonCode::PROTOCOL_ERROR, what));
            }
        }
        Ok(properties)
    }

    /// Nothing may follow.
    pub(super) fn end(&self) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed("bytes behind its end")) }
    }
}

/// [MQTT-1.5.4-2].
pub(super) fn without_null(text: &str, what: &str) -> Result<(), WireError> {
    if text.contains('\0') {
        return Err(WireError::new(ReasonCode::MALFORMED_PACKET, format!("{what}: a string with U+0000")));
    }
    Ok(())
}

/// Properties that the codec has parsed from the front of `bytes`: their lengths are as short as they can be
/// ([MQTT-1.5.5-1]), no string holds U+0000, and a Response Topic no wildcard ([MQTT-3.3.2-14]).
pub(super) fn check_properties(bytes: &[u8], properties: &[Property], what: &str) -> Result<(), WireError> {
    let shortest = properties.to_vec().size();
    let minimal = frame::variable_byte_integer(bytes)
        .is_some_and(|(length, digits)| length == shortest && (digits == 1 || bytes[digits - 1] != 0));
    if !minimal {
        let what = format!("{what}: a length that is longer than it need be");
        return Err(WireError::new(ReasonCode::MALFORMED_PACKET, what));
    }
    for property in properties {
        match property {
            Property::ContentType(text) => without_null(text.val(), what)?,
            Property::AuthenticationMethod(text) => without_null(text.val(), what)?,
            Property::ReasonString(text) => without_null(text.val(), what)?,
            Property::UserProperty(pair) => {
                without_null(pair.key(), what)?;
                without_null(pair.val(), what)?;
            }
            Property::ResponseTopic(text) => {
                without_null(text.val(), what)?;
                topic::check_name(text.val()).map_err(|why| {
                    WireError::new(ReasonCode::PROTOCOL_ERROR, format!("{what}: Response Topic: {why}"))
                })?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether the Remaining Length of each packet is as short as it can be, found while the bytes come.
#[derive(Debug, Default)]
pub(super) struct Header {
    /// Bytes of this packet's fixed header that have come; `None`: all of them.
    seen: Option<u8>,
}

impl Header {
    /// These are the next bytes of a packet, of which the first so many were not looked at before.
    pub(super) fn check(&mut self, begins: bool, bytes: &[u8]) -> Result<(), WireError> {
        if begins {
            self.seen = Some(0);
        }
        for byte in bytes {
            let Some(seen) = &mut self.seen else { return Ok(()) };
            *seen += 1;
            if *seen > 1 && byte & 0x80 == 0 {
                if *seen > 2 && *byte == 0 {
                    let what = "fixed header: a Remaining Length that is longer than it need be"; // [MQTT-1.5.5-1]
                    return Err(WireError::new(ReasonCode::MALFORMED_PACKET, what));
                }
                self.seen = None;
            }
        }
        Ok(())
    }
}
