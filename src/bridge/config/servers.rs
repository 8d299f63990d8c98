//! Where a remote is: one server, or several that are tried in order.
use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Server;

/// The servers of a remote, at least one; the first is preferred.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Servers(Vec<Server>);

impl Servers {
    /// The one that is preferred.
    pub fn first(&self) -> &Server {
        &self.0[0]
    }

    /// In the order in which they are tried.
    pub fn iter(&self) -> std::slice::Iter<'_, Server> {
        self.0.iter()
    }

    /// How many there are.
    #[allow(clippy::len_without_is_empty)] // There is always one.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The n-th, from 0; beyond the last, the first.
    pub fn at(&self, index: usize) -> &Server {
        self.0.get(index).unwrap_or(&self.0[0])
    }
}

impl From<Server> for Servers {
    fn from(server: Server) -> Self {
        Self(vec![server])
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(Server::to_string).collect();
        formatter.write_str(&names.join(", "))
    }
}

impl Serialize for Servers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Servers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrSeveral)
    }
}

struct OneOrSeveral;

impl<'de> Visitor<'de> for OneOrSeveral {
    type Value = Servers;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a URL, as in mqtt://emqx:1883, or a list of URLs")
    }

    fn visit_str<E: Error>(self, url: &str) -> Result<Servers, E> {
        Server::try_from(url.to_owned()).map(Servers::from).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut urls: A) -> Result<Servers, A::Error> {
        let mut servers: Vec<Server> = Vec::new();
        while let Some(server) = urls.next_element::<Server>()? {
            if servers.contains(&server) {
                return Err(A::Error::custom(format!("{server} is there twice")));
            }
            servers.push(server);
        }
        if servers.is_empty() {
            return Err(A::Error::custom("an empty list: at least one server"));
        }
        Ok(Servers(servers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_is_a_text_and_several_are_a_list() {
        let one: Servers = serde_yaml::from_str("mqtt://a:1").unwrap();
        assert_eq!((one.len(), one.to_string()), (1, "mqtt://a:1".to_owned()));
        assert_eq!(serde_yaml::to_string(&one).unwrap(), "mqtt://a:1\n");
        let two: Servers = serde_yaml::from_str("[mqtt://a:1, mqtt://b]").unwrap();
        assert_eq!(two.to_string(), "mqtt://a:1, mqtt://b:1883");
        assert_eq!(serde_yaml::from_str::<Servers>(&serde_yaml::to_string(&two).unwrap()).unwrap(), two);
        for (wrong, why) in [("[]", "at least one"), ("[mqtt://a, mqtt://a:1883]", "twice"), ("7", "list of URLs")] {
            let error = serde_yaml::from_str::<Servers>(wrong).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
