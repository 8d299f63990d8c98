//! What says whose a process or an interface is.
use super::super::owner::Owner;

/// The environment variable of every process of a world: its runner's [mark](Owner::mark).
pub(super) const VARIABLE: &str = "MQTT_BRIDGE_REPLAY";
/// What the interfaces of a world begin with.
pub(super) const PREFIX: &str = "mqb";
/// What comes before the owner in an interface's alias.
const ALIAS: &str = "mqtt-bridge replay ";

/// A name for an interface of a new world, of at most 15 characters.
pub(super) fn interface(owner: Owner, end: char) -> String {
    let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(4).collect();
    format!("{PREFIX}{}{random}{end}", base36(owner.pid))
}

/// An interface's alias.
pub(super) fn alias(owner: Owner) -> String {
    format!("{ALIAS}{}", owner.mark())
}

/// The owner by an interface's alias.
pub(super) fn from_alias(alias: &str) -> Option<Owner> {
    Owner::from_mark(alias.strip_prefix(ALIAS)?)
}

fn base36(mut number: u32) -> String {
    let mut digits = Vec::new();
    while number > 0 || digits.is_empty() {
        digits.push(char::from_digit(number % 36, 36).unwrap_or('0'));
        number /= 36;
    }
    digits.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_says_whose_it_is() {
        let this = Owner::this();
        assert_eq!((from_alias(&alias(this)), from_alias("of somebody else 1:0")), (Some(this), None));
    }

    #[test]
    fn names_of_interfaces_fit_and_differ() {
        let last = Owner::from_mark("4194304:0").unwrap();
        let (one, other) = (interface(last, 'b'), interface(last, 'b'));
        assert!(one.len() <= 15 && one.starts_with("mqb2hwcg"), "{one}");
        assert_ne!(one, other);
    }
}
