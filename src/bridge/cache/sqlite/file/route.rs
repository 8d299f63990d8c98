//! Which bridge of ours gets what waits for a bridge in a file that is imported.
use std::collections::BTreeMap;
use std::fmt::Write;

/// What `--bridge` says, once for each time that it is given: `NAME`, or `FROM=TO`.
pub type Wanted = [String];

/// What stands for the bridge of a message that the file does not say or name.
pub const NAMELESS: &str = "?";

/// Why that cannot be decided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum RouteError {
    #[error("--bridge {wanted}: nothing in the file waits for bridge {from}; it holds {there}")]
    NoSuchBridge { wanted: String, from: String, there: String },
    #[error("--bridge {name}: which of them goes there? The file holds {there}. --bridge FROM={name} says it")]
    Ambiguous { name: String, there: String },
    #[error("--bridge {wanted}: bridge {from} is sent to two bridges")]
    Twice { wanted: String, from: String },
    #[error("the file holds {there}, and the cache knows the bridges {known}: --bridge {from}=NAME says where they go")]
    Unknown { there: String, known: String, from: String },
    #[error(
        "the file holds {there}, where {NAMELESS} is one that it does not name: --bridge {NAMELESS}=NAME says where they go"
    )]
    Nameless { there: String },
}

/// To which bridge of ours the messages of each bridge of the file go; those that are not in it are left out.
///
/// Without a word of the user's a bridge keeps its name, if the cache knows that name or knows none yet. With one, only
/// what is named is imported: `FROM=TO`, or `NAME` for what waits for a bridge of that name or for the only one there is.
/// `waiting` has the file's bridges with their messages; `known` are the bridges of the cache.
///
/// # Errors
/// Where it cannot be decided; says what would decide it.
pub fn route(
    waiting: &[(String, u64)],
    known: &[String],
    wanted: &Wanted,
) -> Result<BTreeMap<String, String>, RouteError> {
    let is_there = |name: &str| waiting.iter().any(|(bridge, _)| bridge == name);
    let there = || describe(waiting);
    let mut routes = BTreeMap::new();
    for wanted in wanted {
        let (from, to) = match wanted.split_once('=') {
            Some((from, to)) => (from, to),
            None if is_there(wanted) => (wanted.as_str(), wanted.as_str()),
            None => match waiting {
                [(only, _)] => (only.as_str(), wanted.as_str()),
                [] => continue,
                _ => return Err(RouteError::Ambiguous { name: wanted.clone(), there: there() }),
            },
        };
        if !is_there(from) {
            let (wanted, from) = (wanted.clone(), from.to_owned());
            return Err(RouteError::NoSuchBridge { wanted, from, there: there() });
        }
        if routes.insert(from.to_owned(), to.to_owned()).is_some() {
            return Err(RouteError::Twice { wanted: wanted.clone(), from: from.to_owned() });
        }
    }
    if wanted.is_empty() {
        for (name, _) in waiting {
            if name == NAMELESS {
                return Err(RouteError::Nameless { there: there() });
            }
            if !known.is_empty() && !known.contains(name) {
                let known = known.join(", ");
                return Err(RouteError::Unknown { there: there(), known, from: name.clone() });
            }
            routes.insert(name.clone(), name.clone());
        }
    }
    Ok(routes)
}

/// `200 messages of bridge b and 3 of bridge c`.
fn describe(waiting: &[(String, u64)]) -> String {
    let mut text = String::new();
    for (index, (name, messages)) in waiting.iter().enumerate() {
        let join = match index {
            0 => "",
            _ if index + 1 == waiting.len() => " and ",
            _ => ", ",
        };
        let what = if index == 0 { "messages of bridge" } else { "of bridge" };
        // Writing into a String cannot fail.
        let _ = write!(text, "{join}{messages} {what} {name}");
    }
    if text.is_empty() { "nothing".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(waiting: &[(&str, u64)], known: &[&str], wanted: &[&str]) -> Result<String, String> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let waiting: Vec<_> = waiting.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let routes = route(&waiting, &owned(known), &owned(wanted)).map_err(|error| error.to_string())?;
        Ok(routes.iter().map(|(from, to)| format!("{from}>{to}")).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_bridge_keeps_its_name_where_the_cache_knows_it_or_knows_none() {
        assert_eq!(said(&[("b", 200)], &[], &[]).unwrap(), "b>b");
        assert_eq!(said(&[("b", 200), ("c", 3)], &["c", "b"], &[]).unwrap(), "b>b c>c");
        assert_eq!(
            said(&[("b", 200)], &["emqx1", "emqx2"], &[]).unwrap_err(),
            "the file holds 200 messages of bridge b, and the cache knows the bridges emqx1, emqx2: --bridge b=NAME says \
             where they go"
        );
        assert!(said(&[("b", 200), ("?", 1)], &[], &[]).unwrap_err().contains("--bridge ?=NAME"));
        assert_eq!(said(&[], &["emqx1"], &[]).unwrap(), "");
    }

    #[test]
    fn the_user_says_where_to() {
        assert_eq!(said(&[("b", 200)], &["emqx1"], &["emqx1"]).unwrap(), "b>emqx1");
        assert_eq!(said(&[("b", 1), ("c", 1)], &[], &["b"]).unwrap(), "b>b", "the other one is left out");
        assert_eq!(said(&[("b", 1), ("c", 1)], &[], &["b=x", "c=x"]).unwrap(), "b>x c>x");
        let undecided = said(&[("b", 1), ("c", 2)], &["emqx1"], &["emqx1"]).unwrap_err();
        assert!(undecided.contains("1 messages of bridge b and 2 of bridge c"), "{undecided}");
        assert!(undecided.contains("--bridge FROM=emqx1"), "{undecided}");
        assert!(said(&[("b", 1)], &[], &["d=x"]).unwrap_err().contains("nothing in the file waits for bridge d"));
        assert!(said(&[("b", 1)], &[], &["b=x", "b=y"]).unwrap_err().contains("two bridges"));
    }
}
