//! `report.html` in a browser: it says what `report.json` says, asks nobody for anything, and everyone can use it.
#![cfg(feature = "lab")]
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub)] // A test may.
#[path = "../common/mod.rs"]
mod common;

mod chromium;
mod run;

use std::collections::BTreeSet;

use chromium::Chromium;
use run::{Deeds, judged};
use serde_json::json;

const AUDIT: &str = include_str!("audit.js");

const THREE: &str = "
name: three
about: A cut of 10 s.
subjects:
  - { kind: mqtt-bridge }
  - { kind: mosquitto }
  - { kind: nanomq, image: emqx/nanomq }
load:
  - { topic: plant/temperature, qos: 1, qps: 10 }
  - { topic: 'a/very/long/topic/name/that/does/not/fit/<script>console.error(1)</script>', qos: 2, qps: 4 }
  - { topic: command, qos: 1, qps: 200, via: remote }
  - { topic: gauge, qos: 0, qps: 2 }
timeline:
  - { at: 0s, do: publish, for: 40s }
  - { at: 8s, do: cut, for: 10s }
  - { at: 10s, do: kill, for: 3s, on: bridge }
expect:
  lost: 0
";

const ONE: &str = "
name: one
about: Nothing is lost.
subjects:
  - { kind: mqtt-bridge }
load:
  - { topic: t, qos: 1, qps: 5 }
timeline:
  - { at: 0s, do: publish, for: 10s }
  - { at: 3s, do: cut, for: 3s }
expect:
  lost: 0
";

#[test]
fn the_page_says_what_report_json_says_and_asks_nobody() {
    if !common::has("chromium", "the_page_says_what_report_json_says_and_asks_nobody") {
        return;
    }
    let mut chromium = Chromium::start();
    for (scenario, deeds) in [(ONE, &[Deeds::Flawless][..]), (THREE, &[Deeds::Flawless, Deeds::Sinful, Deeds::Sinful])]
    {
        let folder = tempfile::tempdir().unwrap();
        let (page, report) = judged(folder.path(), scenario, deeds);
        chromium.look(1200, "light", "screen");
        chromium.open(&page);
        let numbers =
            chromium.value("[...document.querySelectorAll('data')].map((d) => [d.dataset.from, d.value, d.innerText])");
        let numbers = numbers.as_array().unwrap();
        assert!(numbers.len() > 30 * deeds.len(), "{}", numbers.len());
        for number in numbers {
            let [pointer, value, shown] = [0, 1, 2].map(|part| number[part].as_str().unwrap());
            let said = report.pointer(pointer).unwrap_or_else(|| panic!("report.json has no {pointer}"));
            assert_eq!(value.parse().ok(), said.as_f64(), "{pointer}");
            // What is seen is the number itself or, of a duration, its beginning.
            assert!(shown.is_empty() || shown == value || shown.ends_with('s'), "{pointer}: {shown} for {value}");
        }
        let verdict = chromium.value("document.querySelector('h1 .badge').innerText");
        assert!(verdict.as_str().unwrap().to_lowercase().ends_with(report["verdict"].as_str().unwrap()), "{verdict}");
        assert_eq!(chromium.value("document.querySelectorAll('section.subject').length"), json!(deeds.len()));
        let lost: u64 =
            report["subjects"].as_array().unwrap().iter().map(|s| s["totals"]["lost"].as_u64().unwrap()).sum();
        let marks =
            "[...document.querySelectorAll('.strip .lost')].reduce((n, m) => n + Number(m.dataset.messages), 0)";
        assert_eq!(chromium.value(marks), json!(lost));
        assert_eq!(lost > 0, deeds.contains(&Deeds::Sinful));

        assert_eq!(chromium.complaints(), Vec::<String>::new());
        assert_eq!(chromium.requests(), [format!("file://{}", page.display())]);
    }
    // Both would have been seen, and the page's policy lets nothing through.
    chromium.value("void (new Image().src = 'http://127.0.0.1:9/x.png')");
    chromium.value("document.fonts.ready.then(() => 0), 0");
    assert!(chromium.complaints().iter().any(|said| said.contains("Content Security Policy")), "{:?}", chromium.events);
}

#[test]
fn everyone_can_read_it_light_dark_narrow_and_on_paper() {
    if !common::has("chromium", "everyone_can_read_it_light_dark_narrow_and_on_paper") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (page, _) = judged(folder.path(), THREE, &[Deeds::Flawless, Deeds::Sinful, Deeds::Sinful]);
    let mut chromium = Chromium::start();
    chromium.open(&page);
    chromium.value("document.querySelectorAll('details').forEach((details) => (details.open = true))");
    for (width, scheme, media) in [
        (1200, "light", "screen"),
        (1200, "dark", "screen"),
        (360, "light", "screen"),
        (360, "dark", "screen"),
        (800, "dark", "print"),
    ] {
        let how = format!("{width} px, {scheme}, {media}");
        chromium.look(width, scheme, media);
        let audit = chromium.value(AUDIT);
        assert!(audit["texts"].as_u64() > Some(500) && audit["graphics"].as_u64() > Some(100), "{how}: {audit}");
        assert_eq!(audit["low"], json!([]), "{how}");
        let wide = chromium.value("document.documentElement.scrollWidth - innerWidth");
        assert!(media == "print" || wide.as_i64() <= Some(0), "{how}: {wide} px too wide");
        // Ink on paper, whatever the screen is like.
        let dark = chromium.value("getComputedStyle(document.body).backgroundColor");
        assert_eq!(dark != json!("rgb(255, 255, 255)"), scheme == "dark" && media == "screen", "{how}: {dark}");
    }
    chromium.look(1200, "light", "screen");
    chromium.value("document.querySelector('.about').style.color = '#999'");
    assert_eq!(chromium.value(AUDIT)["low"].as_array().unwrap().len(), 1, "what is too pale is seen");
    let printed = chromium.ask("Page.printToPDF", json!({ "printBackground": true }));
    assert!(printed["data"].as_str().unwrap().starts_with("JVBERi0"), "a PDF");
}

#[test]
fn a_comparison_is_a_page_that_everyone_can_read_and_asks_nobody() {
    if !common::has("chromium", "a_comparison_is_a_page_that_everyone_can_read_and_asks_nobody") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    judged(folder.path(), THREE, &[Deeds::Flawless, Deeds::Sinful, Deeds::Flawless]);
    let ours = |format: &str| {
        let mut command = assert_cmd::Command::cargo_bin("mqtt-bridge").unwrap();
        let output = command.arg("compare").arg(folder.path()).args(["--format", format]).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        output.stdout
    };
    let page = folder.path().join("comparison.html");
    std::fs::write(&page, ours("html")).unwrap();
    let said: serde_json::Value = serde_json::from_slice(&ours("json")).unwrap();
    let mut chromium = Chromium::start();
    for (width, scheme) in [(1200, "light"), (1200, "dark"), (360, "light"), (360, "dark")] {
        chromium.look(width, scheme, "screen");
        chromium.open(&page);
        let audit = chromium.value(AUDIT);
        assert!(audit["texts"].as_u64() > Some(50) && audit["low"] == json!([]), "{width} px, {scheme}: {audit}");
        let wide = chromium.value("document.documentElement.scrollWidth - innerWidth");
        assert!(wide.as_i64() <= Some(0), "{width} px, {scheme}: {wide} px too wide");
        assert_eq!(chromium.complaints(), Vec::<String>::new());
        assert_eq!(chromium.requests(), [format!("file://{}", page.display())]);
    }
    let lost = "[...document.querySelectorAll('tbody tr')].find((r) => r.firstChild.innerText === 'lost')";
    let lost = chromium.value(&format!("[...{lost}.querySelectorAll('td')].map((c) => Number(c.innerText))"));
    let rows = said["rows"].as_array().unwrap();
    let expected = &rows.iter().find(|row| row["measure"] == "lost").unwrap()["values"];
    let numbers =
        |values: &serde_json::Value| values.as_array().unwrap().iter().map(|v| v.as_f64()).collect::<Vec<_>>();
    assert_eq!(numbers(&lost), numbers(expected));
    assert!(numbers(&lost)[1] > Some(0.0), "{lost}");
    let differences = chromium.value("document.querySelectorAll('#differences li').length");
    assert_eq!(differences, json!(said["differences"].as_array().unwrap().len()));
}

#[test]
fn the_keyboard_reaches_everything() {
    if !common::has("chromium", "the_keyboard_reaches_everything") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (page, report) = judged(folder.path(), THREE, &[Deeds::Flawless, Deeds::Sinful, Deeds::Flawless]);
    let mut chromium = Chromium::start();
    chromium.look(700, "light", "screen");
    chromium.open(&page);
    let all = chromium.value(
        "(() => { const all = [...document.querySelectorAll('a, summary, button, pre, .lanes, .scroll')].filter((e) => e.checkVisibility()); \
         all.forEach((e, i) => (e.dataset.stop = i)); return all.length; })()",
    );
    let all = all.as_u64().unwrap();
    let mut reached = BTreeSet::new();
    for _ in 0..all {
        chromium.press("Tab");
        let at = chromium
            .value("[document.activeElement.dataset.stop, getComputedStyle(document.activeElement).outlineStyle]");
        assert_eq!(at[1], json!("solid"), "what has the focus is marked: {at}");
        reached.insert(at[0].as_str().map(str::to_owned));
    }
    assert_eq!(reached.len() as u64, all, "{reached:?}");
    assert!(all > 20 && !reached.contains(&None), "{reached:?}");

    // And into the timeline of the one that lost something.
    chromium.value("document.querySelectorAll('.lanes')[1].focus()");
    chromium.press("ArrowRight");
    let said = chromium.value("document.getElementById('readout').innerText");
    let expected = "plant/temperature at 1 s · intended 10/s · acknowledged 9/s · received 7/s · messages 8 to 10: 1 lost, 1 refused, 1 neither acknowledged nor received";
    assert_eq!(said, json!(expected));
    assert_eq!(report["subjects"][1]["topics"][0]["topic"], json!("plant/temperature"));
    for _ in 0..9 {
        chromium.press("ArrowDown");
    }
    let said = chromium.value("document.getElementById('readout').innerText");
    assert_eq!(said, json!("memory at 1 s · MiB of memory: 9"));
    assert_eq!(chromium.complaints(), Vec::<String>::new());
}
