//! Forms seen in the wild, merging, and what a broken file is told.
use proptest::prelude::*;

use super::*;

/// The tree in short: objects in braces, `!` for what is not understood.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let entries = object.entries.iter().map(|entry| format!("{}={}", entry.key, shown(&entry.node.value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(" "))
        }
        Value::List(items) => {
            format!("[{}]", items.iter().map(|item| shown(&item.value)).collect::<Vec<_>>().join(" "))
        }
        Value::Quoted(text) => format!("{text:?}"),
        Value::Bare(text) => text.clone(),
        Value::Unsupported(_) => "!".to_owned(),
    }
}

fn tree(text: &str) -> String {
    match parse(text) {
        Ok(object) => shown(&Value::Object(object)),
        Err(error) => format!("{}:{}: {error}", error.at().line, error.at().column),
    }
}

#[test]
fn the_forms_of_the_wild_mean_the_same() {
    let expected = "{bridges={mqtt={emqx1={server=\"mqtt-tcp://emqx:1883\" keepalive=10s}}}}";
    for text in [
        "bridges.mqtt.emqx1 = {\n  server = \"mqtt-tcp://emqx:1883\"\n  keepalive = 10s\n}",
        "bridges.mqtt.emqx1 {\n  server=\"mqtt-tcp://emqx:1883\",\n  keepalive : 10s # ten\n}\n",
        "{ bridges: { mqtt: { emqx1: { server: \"mqtt-tcp://emqx:1883\", keepalive: 10s } } } }",
        "bridges { mqtt.emqx1.server = \"mqtt-tcp://emqx:1883\" }\n// more\nbridges.mqtt { emqx1.keepalive = 10s }",
        "\u{feff}bridges.\"mqtt\".emqx1\t{\r\n server = \"mqtt-tcp://emqx:1883\"\r\n keepalive =\r\n 10s }\r\n",
    ] {
        assert_eq!(tree(text), expected, "{text}");
    }
}

#[test]
fn values_are_kept_as_they_were_typed() {
    assert_eq!(tree("a = -1.5, b = true\nc = 256MB # x\nd = 1 m"), "{a=-1.5 b=true c=256MB d=1 m}");
    assert_eq!(tree(r#"a = "\"\\\/é\ud83d\ude00\n" , b = "" "#), "{a=\"\\\"\\\\/é😀\\n\" b=\"\"}");
    assert_eq!(tree("a = \"\"\"x\"\ny\"\"\"\""), "{a=\"x\\\"\\ny\\\"\"}");
    assert_eq!(tree("a = \"x\"  y \"z\"  // end"), "{a=\"x  y z\"}");
    assert_eq!(tree("a = p@ss:w*rd\nb = nmq-tcp:1883"), "{a=p@ss:w*rd b=nmq-tcp:1883}");
}

#[test]
fn lists_need_a_comma_or_a_line_end() {
    for text in
        ["a = [{x=1},{x=2}]", "a = [\n {x=1}\n {x=2}\n]", "a = [\n{x=1},\n\n{x=2},\n]", "a : [ {x=1} # one\n{x=2} ]"]
    {
        assert_eq!(tree(text), "{a=[{x=1} {x=2}]}", "{text}");
    }
    assert_eq!(tree("to = [console, file]"), "{to=[console file]}");
    assert_eq!(tree("a = []"), "{a=[]}");
    // HOCON would make one object of these.
    assert_eq!(tree("a = [{x=1} {x=2}]"), "1:12: a comma or a line end is missing before this");
    assert_eq!(tree("a { x = 1 } b = 2"), "1:13: a comma or a line end is missing before this");
    assert_eq!(tree("a { x = \"1\" y = 2 }"), "1:15: a comma or a line end is missing before this");
}

#[test]
fn of_a_key_that_is_there_twice_objects_merge_and_else_the_last_counts() {
    assert_eq!(tree("a { x = 1, y = 2 }\na { y = 3, z = 4 }"), "{a={x=1 y=3 z=4}}");
    assert_eq!(tree("a = [1]\na = [2]\nb = 1\nb { c = 2 }\nd { e = 1 }\nd = 5"), "{a=[2] b={c=2} d=5}");
    let object = parse("a = 1\n a = 2").unwrap();
    assert_eq!(object.entries[0].at, Place { line: 2, column: 2 });
    assert_eq!(object.entries[0].node.at, Place { line: 2, column: 6 });
}

#[test]
fn what_is_not_understood_has_its_place_and_no_value() {
    assert_eq!(
        tree("a = ${HOME}\nb = ${?X}/y\nc += 1\nauth { p = {include \"/etc/pwd.conf\"} }\ninclude file(\"x\")"),
        "{a=! b=! c=! auth={p={include=!}} include=!}"
    );
}

#[test]
fn a_broken_file_is_told_where() {
    let unclosed =
        |open, close| format!("this `{open}` is never closed: the file is truncated, or a `{close}` is missing");
    for (text, expected) in [
        ("a = 1\nbridges.mqtt.emqx1 = {\n server = \"x\"\n", format!("2:22: {}", unclosed('{', '}'))),
        ("b {\n f = [\n  { q = 1 },\n", format!("2:6: {}", unclosed('[', ']'))),
        ("b {\n f = [\n  { q = 1 }\n keepalive = 3s\n}", format!("2:6: {}", unclosed('[', ']'))),
        ("b {\n f = [ { q = 1 } }\n", format!("2:6: {}", unclosed('[', ']'))),
        ("b {\n s = ${X\n}", format!("2:6: {}", unclosed('{', '}'))),
        ("b {\n s = \"x\n}", "2:6: this quoted text is never closed: its second quotation mark is missing".to_owned()),
        ("s = \"\"\"x\n\"\"", "1:5: this quoted text is never closed: its second quotation mark is missing".to_owned()),
        ("b { x = 1 }\n}", "2:1: a `}` that closes nothing".to_owned()),
        ("{ x = 1 }\ny = 2", "2:1: something stands behind the `}` that closes the file".to_owned()),
        ("b {\n server\n}", "2:8: a key without a value: `=`, `:` or `{` must follow".to_owned()),
        ("x = \ny = 1", "2:3: a comma or a line end is missing before this".to_owned()),
        ("x =", "1:4: a value is missing".to_owned()),
        ("a..b = 1", "1:3: a key must stand here".to_owned()),
        ("= 1", "1:1: a key must stand here".to_owned()),
        ("t = a/#", "1:7: a comment without a blank before it: put the value in quotation marks".to_owned()),
        ("s = tcp://x", "1:9: a comment without a blank before it: put the value in quotation marks".to_owned()),
        ("s = \"\\q\"", "1:7: no such escape: \\\" \\\\ \\/ \\b \\f \\n \\r \\t or \\u".to_owned()),
    ] {
        assert_eq!(tree(text), expected, "{text}");
    }
    assert!(tree(&"a={".repeat(100_000)).ends_with("nested too deeply"));
    assert!(tree(&format!("a={}", "[".repeat(100_000))).ends_with("nested too deeply"));
    assert!(tree(&format!("{} = 1", vec!["a"; 100_000].join("."))).ends_with("nested too deeply"));
}

proptest! {
    #[test]
    fn whatever_stands_there_nothing_panics(text in r#"([a-z=:{}\[\],."\\#/$+ \n\ré0]|"""|\\u|\$\{|include )*"#) {
        let _ = parse(&text);
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error_or_a_smaller_file(cut in 0usize..1_000) {
        let text = "mqtt { a = 1 }\nbridges.mqtt.e = {\n  s = \"é\"\n  f = [\n    { q = 1 }\n    { q = 2 },\n  ]\n}\n";
        let cut = (0..=cut.min(text.len())).rev().find(|cut| text.is_char_boundary(*cut)).unwrap_or(0);
        let open = text[..cut].matches(['{', '[']).count() - text[..cut].matches(['}', ']']).count();
        prop_assert!(parse(&text[..cut]).is_err() || open == 0);
    }
}
