//! Between two brokers, mosquitto on both sides: nothing that the one has acknowledged is lost on the way to the other,
//! QoS 2 arrives exactly once, and the order is kept, in either direction and whatever is cut or killed.
//!
//! `MQTT_BRIDGE_KILL_SEED` repeats the decisions of a run (not its timing), `MQTT_BRIDGE_KILL_CYCLES` sets its length.
//!
//! Open: seed 1067708499106610248 with 40 cycles had QoS 2 messages twice at the source, once, on a loaded machine.
#![cfg(debug_assertions)] // Release builds have no points to be killed at.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub)] // A test may.
#[path = "../common/mod.rs"]
mod common;
#[path = "../kill/judge.rs"]
mod judge;
#[path = "../kill/mosquitto.rs"]
mod mosquitto;
#[allow(dead_code)]
#[path = "../kill/publisher.rs"]
mod publisher;
#[allow(dead_code)]
#[path = "../kill/receiver.rs"]
mod receiver;
#[allow(dead_code)]
#[path = "../kill/relay.rs"]
mod relay;

mod full;
mod loops;
mod plain;
mod servers;
mod world;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::has;
use relay::Mode;
use world::{Direction, World};

/// Points that are passed in either direction, and how often at most before the kill.
const POINTS: [(&str, u64); 11] = [
    ("before_commit", 40),
    ("store_committed", 60),
    ("forget_committed", 40),
    ("sent_committed", 40),
    ("released_committed", 40),
    ("removed_committed", 40),
    ("remote_written", 60),
    ("PUBLISH", 60),
    ("PUBACK", 40),
    ("PUBREC", 40),
    ("PUBREL", 40),
];

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |value| value.parse().unwrap())
}

/// Shown for a test that passes, too.
fn say(what: &str) {
    std::io::stderr().write_all(what.as_bytes()).unwrap();
}

/// One episode, after which the bridge runs and both links are whole.
fn disturb(world: &mut World, random: &mut fastrand::Rng) -> String {
    let milliseconds = |random: &mut fastrand::Rng, most: u64| Duration::from_millis(random.u64(0..most));
    let near = random.bool();
    match random.u8(..4) {
        0 => {
            let (point, most) = POINTS[random.usize(..POINTS.len())];
            world.crash_at(point, random.u64(1..=most));
            point.to_owned()
        }
        1 => {
            world.kill();
            std::thread::sleep(milliseconds(random, 50));
            world.start();
            "killed".to_owned()
        }
        kind => {
            let (mode, name) = if kind == 2 { (Mode::Cut, "cut") } else { (Mode::Stalled, "stalled") };
            world.link(near).set(mode);
            std::thread::sleep(milliseconds(random, 300));
            let killed = random.bool();
            if killed {
                world.kill();
                world.start();
                std::thread::sleep(milliseconds(random, 100));
            }
            world.link(near).set(Mode::Whole);
            let side = if near { "source" } else { "remote" };
            format!("{side} {name}{}", if killed { ", killed" } else { "" })
        }
    }
}

fn nothing_is_lost(direction: Direction, test: &str) {
    if !has("mosquitto", test) {
        return;
    }
    let seed = number("MQTT_BRIDGE_KILL_SEED", fastrand::u64(..));
    let mut random = fastrand::Rng::with_seed(seed);
    say(&format!("source, {direction:?}: MQTT_BRIDGE_KILL_SEED={seed}\n"));
    let mut world = World::new(direction, None);
    let mut episodes: BTreeMap<String, u32> = BTreeMap::new();
    for cycle in 0..number("MQTT_BRIDGE_KILL_CYCLES", 10) {
        world.orders.cycle.store(cycle as u32, Ordering::Relaxed);
        world.orders.until_acknowledged(world.acknowledged() + random.u64(..100));
        *episodes.entry(disturb(&mut world, &mut random)).or_default() += 1;
    }
    let mut verdict = world.judge();
    let disordered = world.disordered_by_the_broker();
    say(&format!(
        "source, {direction:?}: {verdict}; {} sent out of order by mosquitto itself; {episodes:?}\n",
        disordered.len()
    ));
    verdict.out_of_order.retain(|id| !disordered.contains(id));
    assert!(verdict.is_clean(), "seed {seed}: {verdict:#?}");
    assert!(verdict.acknowledged > 100, "{verdict}");
}

#[test]
fn what_the_source_has_acknowledged_reaches_the_remote() {
    nothing_is_lost(Direction::Up, "what_the_source_has_acknowledged_reaches_the_remote");
}

#[test]
fn what_the_remote_has_acknowledged_reaches_the_source() {
    nothing_is_lost(Direction::Down, "what_the_remote_has_acknowledged_reaches_the_source");
}

/// The negative twin: the same world, publishers and judge, and a bridge that answers the broker before it commits.
#[test]
fn the_judge_catches_a_bridge_that_acknowledges_the_source_before_it_commits() {
    if !has("mosquitto", "the_judge_catches_a_bridge_that_acknowledges_the_source_before_it_commits") {
        return;
    }
    let mut world = World::new(Direction::Up, Some("ack_before_commit"));
    for cycle in 0..3 {
        world.orders.cycle.store(cycle, Ordering::Relaxed);
        world.crash_at("before_commit", 3);
    }
    let verdict = world.judge();
    say(&format!("source: a bridge that sins: {verdict}\n"));
    assert!(!verdict.lost.is_empty(), "{verdict}");
}
