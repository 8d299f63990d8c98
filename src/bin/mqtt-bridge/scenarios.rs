//! `mqtt-bridge scenarios`.
use mqtt_bridge::bridge::yaml::Document;
use mqtt_bridge::scenario::spec;

/// The shipped scenarios, embedded, so that this binary alone can say what there is.
const SHIPPED: [(&str, &str); 4] = [
    ("silent-cut-10s", include_str!("../../../scenarios/silent-cut-10s.yaml")),
    ("silent-cut-100s", include_str!("../../../scenarios/silent-cut-100s.yaml")),
    ("kill-while-offline", include_str!("../../../scenarios/kill-while-offline.yaml")),
    ("idle-after-heal", include_str!("../../../scenarios/idle-after-heal.yaml")),
];

/// List the shipped scenarios, one line each
#[derive(clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn run() -> anyhow::Result<u8> {
    let none: [&str; 0] = [];
    for (name, text) in SHIPPED {
        let plan = spec::read(&Document::from_text(name, text), &none)?;
        println!("{name:<20}{}", plan.about);
    }
    Ok(0)
}
