//! Passwords: read where they are needed, shown nowhere.
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::Config;
use crate::bridge::yaml::{Document, YamlError};

/// A text that is never shown: given as it is, or as where it is to be had.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    text: String,
    from: Option<Source>,
}

/// Where a secret is to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// The environment variable of this name.
    Env(String),
    /// The file of this name in `$CREDENTIALS_DIRECTORY`, where systemd puts `LoadCredential=`.
    Credential(String),
}

impl Secret {
    /// The text itself; for the CONNECT packet alone.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    fn resolve(&mut self) -> Result<(), String> {
        match &self.from {
            None => {}
            Some(Source::Env(name)) => {
                self.text = std::env::var(name).map_err(|error| match error {
                    std::env::VarError::NotPresent => format!("the environment variable {name} is not set"),
                    std::env::VarError::NotUnicode(_) => format!("the environment variable {name} is no UTF-8"),
                })?;
            }
            Some(Source::Credential(name)) => {
                let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or(
                    "CREDENTIALS_DIRECTORY is not set: systemd sets it for units with LoadCredential= or SetCredential=",
                )?;
                self.text = read(&Path::new(&folder).join(name))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(from) = &self.from else { return serializer.serialize_str(HIDDEN) };
        let (key, name) = match from {
            Source::Env(name) => ("env", name),
            Source::Credential(name) => ("credential", name),
        };
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(key, name)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Form)
    }
}

/// An error of serde's own would repeat what was found instead of a text, which may be the password.
struct Form;

const EXPECTED: &str = "a text in quotes, { env: NAME } or { credential: NAME }";

macro_rules! refused {
    ($($method:ident: $type:ty),*) => {
        $(fn $method<E: serde::de::Error>(self, _: $type) -> Result<Secret, E> {
            Err(E::custom(format!("expected {EXPECTED}")))
        })*
    };
}

impl<'de> Visitor<'de> for Form {
    type Value = Secret;
    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(EXPECTED)
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Secret, E> {
        Ok(text.to_owned().into())
    }
    refused!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128, visit_f64: f64);
    fn visit_unit<E: serde::de::Error>(self) -> Result<Secret, E> {
        Err(E::custom(format!("expected {EXPECTED}")))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Secret, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Err(A::Error::custom(format!("expected {EXPECTED}")))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Secret, A::Error> {
        let mut from = None;
        while let Some(key) = map.next_key::<String>()? {
            let named = match key.as_str() {
                "env" => Source::Env(map.next_value()?),
                "credential" => Source::Credential(map.next_value()?),
                _ => return Err(A::Error::custom(format!("expected {EXPECTED}"))),
            };
            let usable = match &named {
                Source::Env(name) => !name.is_empty() && !name.contains(['=', '\0']),
                Source::Credential(name) => !name.is_empty() && name != ".." && name != "." && !name.contains('/'),
            };
            if from.replace(named).is_some() || !usable {
                return Err(A::Error::custom(format!("expected {EXPECTED}")));
            }
        }
        let from = from.ok_or_else(|| A::Error::custom(format!("expected {EXPECTED}")))?;
        Ok(Secret { text: String::new(), from: Some(from) })
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self { text, from: None }
    }
}

/// What stands where a secret would.
pub(super) const HIDDEN: &str = "***";

/// A file without its line end.
fn read(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Fetches each secret from where it is to be had, and reads each `password_file` into `password`; a relative path is
/// relative to the configuration file.
pub(super) fn fetch(config: &mut Config, document: &Document) -> Result<(), YamlError> {
    let source =
        config.source.iter_mut().map(|source| ("source".to_owned(), &source.password_file, &mut source.password));
    let bridges = config.bridges.iter_mut().enumerate();
    let bridges = bridges.map(|(index, it)| (format!("bridges[{index}]"), &it.password_file, &mut it.password));
    for (key, file, to) in source.chain(bridges) {
        let wrong = |leaf: &str, what: String| document.wrong(&format!("{key}.{leaf}"), what);
        if let Some(password) = to {
            password.resolve().map_err(|what| wrong("password", what))?;
        }
        let Some(file) = file else { continue };
        let path: PathBuf = document.beside(file);
        *to = Some(read(&path).map_err(|what| wrong("password_file", what))?.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, Serialize)]
    struct File {
        password: Secret,
    }

    #[test]
    fn what_is_no_secret_is_refused_without_being_shown() {
        for value in ["12345678", "1.2345678", "true", "[12345678]", "{ file: 12345678 }", "{ env: '' }", "{}", "~"] {
            let document = Document::from_text("x.yaml", &format!("password: {value}"));
            let said = document.parse::<File>().unwrap_err().to_string();
            assert!(said.starts_with("x.yaml:1: password: expected a text in quotes"), "{value}: {said}");
            assert!(!said.contains("2345678"), "{said}");
        }
    }

    #[test]
    fn a_secret_is_fetched_from_where_it_is_and_printed_as_where_that_is() {
        let document = Document::from_text("x.yaml", "password: { env: MQTT_BRIDGE_NO_SUCH_VARIABLE }");
        let mut file: File = document.parse().unwrap();
        assert_eq!(serde_yaml::to_string(&file).unwrap(), "password:\n  env: MQTT_BRIDGE_NO_SUCH_VARIABLE\n");
        let said = file.password.resolve().unwrap_err();
        assert_eq!(said, "the environment variable MQTT_BRIDGE_NO_SUCH_VARIABLE is not set");
        let mut path: Secret = Secret { text: String::new(), from: Some(Source::Env("PATH".to_owned())) };
        path.resolve().unwrap();
        assert_eq!(path.reveal(), std::env::var("PATH").unwrap());
        assert_eq!(format!("{path:?}"), "***");
        assert!(document_of("{ credential: ../etc/passwd }").parse::<File>().is_err());
    }

    fn document_of(password: &str) -> Document {
        Document::from_text("x.yaml", &format!("password: {password}"))
    }
}
