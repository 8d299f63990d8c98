//! Topic Names and Topic Filters (MQTT 5, section 4.7).

/// How the topics begin under which a broker speaks about itself.
pub const SYS: &str = "$SYS/";

/// The longest UTF-8 string that MQTT can carry, in bytes.
const MAX_LENGTH: usize = 65_535;

/// Says what is wrong with a Topic Name, if anything is ([MQTT-4.7.1-1], [MQTT-4.7.3-1], [MQTT-4.7.3-2]).
///
/// # Errors
/// What is wrong, in words.
pub fn check_name(name: &str) -> Result<(), String> {
    check_length(name, "Topic Name")?;
    match name.chars().find(|c| matches!(c, '+' | '#')) {
        Some(wildcard) => Err(format!("Topic Name `{name}` holds the wildcard `{wildcard}`")),
        None => Ok(()),
    }
}

/// Says what is wrong with a Topic Filter, if anything is ([MQTT-4.7.1-1], [MQTT-4.7.1-2]).
///
/// # Errors
/// What is wrong, in words.
pub fn check_filter(filter: &str) -> Result<(), String> {
    check_length(filter, "Topic Filter")?;
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        if level.len() > 1 && level.contains(['+', '#']) {
            return Err(format!("Topic Filter `{filter}`: a wildcard must occupy a whole level, `{level}` does not"));
        }
        if level == "#" && levels.peek().is_some() {
            return Err(format!("Topic Filter `{filter}`: `#` must be the last level"));
        }
    }
    Ok(())
}

fn check_length(text: &str, what: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err(format!("an empty {what}: at least one character"));
    }
    if text.len() > MAX_LENGTH {
        return Err(format!("a {what} of {} bytes: at most {MAX_LENGTH}", text.len()));
    }
    if text.contains('\0') {
        return Err(format!("a {what} with the null character U+0000"));
    }
    Ok(())
}

/// Whether a filter holds a wildcard.
pub fn has_wildcard(filter: &str) -> bool {
    filter.contains(['+', '#'])
}

/// Whether a valid Topic Filter matches a valid Topic Name. Names that begin with `$` are not matched by a leading
/// wildcard ([MQTT-4.7.2-1]).
pub fn matches(filter: &str, name: &str) -> bool {
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = name.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true,
            (_, None) => return false,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// Whether every Topic Name that `narrow` matches is matched by `wide` as well.
pub fn covers(wide: &str, narrow: &str) -> bool {
    let mut levels = narrow.split('/');
    for wanted in wide.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true,
            (_, None | Some("#")) => return false,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_as_the_specification_says() {
        for (filter, name) in [
            ("sport/tennis/player1/#", "sport/tennis/player1"),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"),
            ("sport/#", "sport"),
            ("#", "sport/tennis"),
            ("sport/tennis/+", "sport/tennis/player1"),
            ("sport/+", "sport/"),
            ("+/+", "/finance"),
            ("/+", "/finance"),
            ("$SYS/#", "$SYS/monitor"),
        ] {
            assert!(matches(filter, name), "{filter} should match {name}");
        }
        for (filter, name) in [
            ("sport/tennis/+", "sport/tennis/player1/ranking"),
            ("sport/+", "sport"),
            ("+", "/finance"),
            ("#", "$SYS/monitor"),
            ("+/monitor", "$SYS/monitor"),
            ("sport", "Sport"),
        ] {
            assert!(!matches(filter, name), "{filter} should not match {name}");
        }
    }

    #[test]
    fn what_is_no_filter_or_no_name_is_refused() {
        for filter in ["", "sport/tennis#", "sport/tennis/#/ranking", "sport+", "a\0b"] {
            assert!(check_filter(filter).is_err(), "{filter}");
        }
        for filter in ["#", "+", "+/tennis/#", "/", "sport/+/player1"] {
            assert_eq!(check_filter(filter), Ok(()), "{filter}");
        }
        for name in ["", "a/+", "#", "a\0"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_wide_filter_covers_a_narrow_one() {
        for (wide, narrow) in [("#", "a/+"), ("a/#", "a/b/#"), ("a/+", "a/b"), ("a/+", "a/+"), ("a", "a")] {
            assert!(covers(wide, narrow), "{wide} covers {narrow}");
        }
        for (wide, narrow) in [("a/+", "a/#"), ("a/b", "a/+"), ("a/+", "a/b/c"), ("b", "a")] {
            assert!(!covers(wide, narrow), "{wide} does not cover {narrow}");
        }
    }
}
