//! `mqtt-bridge scenarios`.
use mqtt_bridge::bridge::yaml::Document;
use mqtt_bridge::scenario::shipped::SHIPPED;
use mqtt_bridge::scenario::spec;

/// List the shipped scenarios, one line each; `replay NAME` runs one
#[derive(clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn run() -> anyhow::Result<u8> {
    // Its own list of subjects may name what only other versions can run.
    let any = ["mqtt-bridge"];
    for shipped in SHIPPED {
        let plan = spec::read(&Document::from_text(shipped.name, shipped.text), &any)?;
        println!("{:<20}{}", shipped.name, plan.about);
    }
    Ok(0)
}
