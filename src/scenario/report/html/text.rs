//! What stands on the page: text that comes from outside, and numbers that come from `report.json`.
use std::fmt::Display;

/// Text as text, whatever it is: no markup, no invisible or turned writing, and no password of a URL.
pub(in crate::scenario::report) fn text(outside: &str) -> String {
    let mut escaped = String::with_capacity(outside.len());
    for character in without_passwords(outside).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(character),
            // A topic that turns the writing around would make the page say something else than what is there.
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
                escaped.push_str(&character.escape_unicode().to_string());
            }
            control if control.is_control() => escaped.push_str(&control.escape_unicode().to_string()),
            other => escaped.push(other),
        }
    }
    escaped
}

/// `mqtt://user:password@host` as `mqtt://user:***@host`.
fn without_passwords(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        clean.push_str(before);
        clean.push_str("://");
        let end = after.find(|c: char| c.is_whitespace() || "/\"'<>".contains(c)).unwrap_or(after.len());
        let (authority, behind) = after.split_at(end);
        match authority.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?.0, host))) {
            Some((user, host)) => clean.push_str(&format!("{user}:***@{host}")),
            None => clean.push_str(authority),
        }
        rest = behind;
    }
    clean + rest
}

/// A number and where it stands in `report.json`, as a JSON Pointer; a test compares the two.
pub(super) fn number(pointer: &str, value: impl Display) -> String {
    let shown = value.to_string();
    shown_number(pointer, value, &shown)
}

/// A number that is shown rounded, or with its unit.
pub(super) fn shown_number(pointer: &str, value: impl Display, shown: &str) -> String {
    format!(r#"<data value="{value}" data-from="{}">{}</data>"#, text(pointer), text(shown))
}

/// One step of a JSON Pointer.
pub(super) fn step(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// A list, or nothing where there is nothing to list; the entries are markup.
pub(in crate::scenario::report) fn list(class: &str, entries: impl IntoIterator<Item = String>) -> String {
    let entries: String = entries.into_iter().map(|entry| format!("<li>{entry}</li>")).collect();
    if entries.is_empty() { entries } else { format!("<ul class=\"{class}\">{entries}</ul>\n") }
}

/// A table that scrolls by itself where the page is too narrow; header and cells are markup. The first column is text,
/// the others are numbers.
pub(in crate::scenario::report) fn table(
    label: &str,
    header: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> String {
    let head: String = header.iter().map(|cell| format!("<th scope=\"col\">{cell}</th>")).collect();
    let row = |cells: Vec<String>| {
        let mut cells = cells.into_iter();
        let first = cells.next().map(|first| format!("<th scope=\"row\">{first}</th>")).unwrap_or_default();
        format!("<tr>{first}{}</tr>\n", cells.map(|cell| format!("<td>{cell}</td>")).collect::<String>())
    };
    let body: String = rows.into_iter().map(row).collect();
    format!(
        "<div class=\"scroll\" role=\"region\" aria-label=\"{label}\" tabindex=\"0\"><table><caption>{label}</caption>\
         <thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>\n",
        label = text(label)
    )
}

/// What is there for those who ask.
pub(super) fn details(summary: &str, content: &str) -> String {
    if content.is_empty() {
        String::new()
    } else {
        format!("<details><summary>{summary}</summary>\n{content}</details>\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_is_text() {
        assert_eq!(text("<script>alert('&\"')"), "&lt;script&gt;alert(&#39;&amp;&quot;&#39;)");
        assert_eq!(text("a\u{202e}b\u{0}c\u{1b}[31m"), "a\\u{202e}b\\u{0}c\\u{1b}[31m");
        assert_eq!(text("plant/+/öl\tπ"), "plant/+/öl\tπ");
    }

    #[test]
    fn no_password_of_a_url_is_shown() {
        let cases = [
            ("to mqtt://test:p@ss@emqx:1883/x and on", "to mqtt://test:***@emqx:1883/x and on"),
            ("mqtts://a:b@c, mqtt://d:e@f", "mqtts://a:***@c, mqtt://d:***@f"),
            ("mqtt://emqx:1883", "mqtt://emqx:1883"),
            ("mail@example.org: see http://a/b@c", "mail@example.org: see http://a/b@c"),
            ("://", "://"),
        ];
        for (said, shown) in cases {
            assert_eq!(text(said), shown);
        }
    }

    #[test]
    fn a_pointer_finds_keys_with_slashes() {
        let value = serde_json::json!({ "a/b~c": 1 });
        assert_eq!(value.pointer(&format!("/{}", step("a/b~c"))), Some(&1.into()));
    }
}
