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
    if narrow.starts_with('$') && wide.starts_with(['+', '#']) {
        return false; // [MQTT-4.7.2-1]
    }
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

/// Whether some Topic Name is matched by both.
pub fn overlap(one: &str, other: &str) -> bool {
    let hidden = |one: &str, other: &str| one.starts_with('$') && other.starts_with(['+', '#']);
    if hidden(one, other) || hidden(other, one) {
        return false;
    }
    let (mut one, mut other) = (one.split('/'), other.split('/'));
    loop {
        match (one.next(), other.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (None, _) | (_, None) => return false,
            (Some(one), Some(other)) if one == other || one == "+" || other == "+" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_overlap_where_a_name_matches_both() {
        for (one, other, expected) in [
            ("a/+/c", "a/b/+", true),
            ("a/#", "a", true),
            ("a/+", "a", false),
            ("#", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("a/b", "a/c", false),
            ("+/b", "a/+", true),
            ("a/b/c", "a/b", false),
        ] {
            assert_eq!((overlap(one, other), overlap(other, one)), (expected, expected), "{one} {other}");
        }
    }

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
        for (wide, narrow) in
            [("a/+", "a/#"), ("a/b", "a/+"), ("a/+", "a/b/c"), ("b", "a"), ("#", "$SYS/#"), ("+/a", "$SYS/a")]
        {
            assert!(!covers(wide, narrow), "{wide} does not cover {narrow}");
        }
    }

    #[test]
    fn filters_overlap_where_one_name_matches_both() {
        for (one, other) in [("a/#", "a"), ("+/b", "a/+"), ("a/b", "a/b"), ("#", "a/+/c"), ("a/+/c", "a/b/#")] {
            assert!(overlap(one, other) && overlap(other, one), "{one} and {other}");
        }
        for (one, other) in [("a", "b"), ("a/+", "a"), ("#", "$SYS/x"), ("a/+/c", "a/b/d"), ("a/b/c", "a/+")] {
            assert!(!overlap(one, other) && !overlap(other, one), "{one} and {other}");
        }
    }
}
