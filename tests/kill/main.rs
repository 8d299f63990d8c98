//! SIGKILL of the real binary: nothing that was acknowledged is lost, QoS 2 arrives exactly once, and the order is kept.
//!
//! `MQTT_BRIDGE_KILL_SEED` repeats the decisions of a run (not its timing), `MQTT_BRIDGE_KILL_CYCLES` sets its length.
#![cfg(debug_assertions)] // Release builds have no points to be killed at.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub)] // A test may.
#[path = "../common/mod.rs"]
mod common;

mod checkpoint;
mod judge;
mod mosquitto;
mod on_the_wire;
mod publisher;
mod receiver;
mod relay;
mod remote_killed;
mod suspend;
mod world;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::has;
use relay::Mode;
use world::World;

/// Points that are passed without a remote, and how often at most before the kill.
const LOCAL: [(&str, u64); 5] = [
    ("before_commit", 40),
    ("store_committed", 100),
    ("answer_written", 60),
    ("forget_committed", 60),
    ("session_committed", 3),
];
/// Points that need the link.
const REMOTE: [(&str, u64); 9] = [
    ("sent_committed", 60),
    ("remote_written", 60),
    ("CONNACK", 1),
    ("PUBACK", 60),
    ("PUBREC", 60),
    ("released_committed", 60),
    ("PUBCOMP", 60),
    ("removed_committed", 60),
    ("store_committed", 100),
];
/// Kills at each of them.
const EACH: u32 = 7;
const CHECKPOINTS: u32 = 16;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |value| value.parse().unwrap())
}

/// Shown for a test that passes, too.
fn say(what: &str) {
    std::io::stderr().write_all(what.as_bytes()).unwrap();
}

#[derive(Debug, Clone, Copy)]
enum Kill {
    At(&'static str, u64, bool),
    InCheckpoint,
    AtRandom,
    WhileStarting,
}

fn plan(random: &mut fastrand::Rng, cycles: usize) -> Vec<Kill> {
    let mut plan = vec![Kill::InCheckpoint; CHECKPOINTS as usize];
    for _ in 0..EACH {
        plan.extend(LOCAL.iter().map(|(point, most)| Kill::At(point, random.u64(1..=*most), false)));
        plan.extend(REMOTE.iter().map(|(point, most)| Kill::At(point, random.u64(1..=*most), true)));
    }
    while plan.len() < cycles {
        plan.push(if random.u8(..) < 30 { Kill::WhileStarting } else { Kill::AtRandom });
    }
    random.shuffle(&mut plan);
    plan
}

fn mode(random: &mut fastrand::Rng) -> Mode {
    [Mode::Whole, Mode::Whole, Mode::Cut, Mode::Stalled][random.usize(..4)]
}

/// One life of the bridge; says what it died of, for the count.
fn live(world: &World, random: &mut fastrand::Rng, kill: Kill) -> String {
    match kill {
        Kill::At(point, passing, remote) => {
            world.relay.set(if remote { Mode::Whole } else { mode(random) });
            world.crash_at(point, passing);
            point.to_owned()
        }
        Kill::InCheckpoint => {
            world.relay.set(Mode::Whole);
            // Fills the WAL.
            world.orders.size.store(4000, Ordering::Relaxed);
            let bridge = world.start(None).unwrap();
            let watch = checkpoint::Watch::new(&world.cache());
            assert!(watch.wait(Duration::from_secs(30)), "no checkpoint");
            let until = Instant::now() + Duration::from_micros(random.u64(..1500));
            while Instant::now() < until {}
            world.kill(bridge);
            world.orders.size.store(64, Ordering::Relaxed);
            let inside = checkpoint::was_inside(&world.cache());
            if inside { "inside a checkpoint" } else { "after a checkpoint" }.to_owned()
        }
        Kill::AtRandom => {
            world.relay.set(mode(random));
            let since = world.acknowledged();
            let bridge = world.start(None).unwrap();
            world.orders.until_acknowledged(since + random.u64(..100));
            if random.bool() {
                world.relay.set(mode(random));
                world.orders.until_acknowledged(since + random.u64(..200));
            }
            std::thread::sleep(Duration::from_micros(random.u64(..30_000)));
            world.kill(bridge);
            "at random".to_owned()
        }
        Kill::WhileStarting => {
            world.relay.set(mode(random));
            let mut process = world.spawn();
            std::thread::sleep(Duration::from_micros(random.u64(..60_000)));
            process.kill();
            "while starting".to_owned()
        }
    }
}

#[test]
fn no_acknowledged_message_is_lost_in_200_kills_and_qos_2_arrives_once() {
    if !has("mosquitto", "no_acknowledged_message_is_lost_in_200_kills") {
        return;
    }
    let seed = number("MQTT_BRIDGE_KILL_SEED", fastrand::u64(..));
    let cycles = number("MQTT_BRIDGE_KILL_CYCLES", 400) as usize;
    let mut random = fastrand::Rng::with_seed(seed);
    say(&format!("kill: MQTT_BRIDGE_KILL_SEED={seed}\n"));
    let begun = Instant::now();
    let mut deaths: BTreeMap<String, u32> = BTreeMap::new();
    let mut world = World::new();
    // A CONNECT with Clean Start that a stalled link holds back must not arrive after later connections: it ends their
    // session, and with it what the remote has received and not released. No bridge can help that.
    world.crash_at("PUBCOMP", 20);
    let plan = plan(&mut random, cycles);
    for (cycle, kill) in plan.iter().enumerate() {
        world.orders.cycle.store(cycle as u32, Ordering::Relaxed);
        *deaths.entry(live(&world, &mut random, *kill)).or_default() += 1;
    }
    let killing = begun.elapsed();
    let verdict = world.judge(None);
    let (cycles, seconds, drain) = (plan.len(), killing.as_secs_f64(), (begun.elapsed() - killing).as_secs_f64());
    say(&format!("kill: {cycles} kills in {seconds:.0} s, then {drain:.1} s: {verdict}; {deaths:?}\n"));
    let of = |cycle: u32| plan.get(cycle as usize);
    let lost: Vec<_> = verdict.lost.iter().map(|(topic, number, cycle)| (topic, number, cycle, of(*cycle))).collect();
    let first = verdict.lost.first().map(|(topic, number, _)| (topic.clone(), *number));
    let story = first.map(|id| on_the_wire::story(&world.relay.passed(), &id));
    assert!(verdict.is_clean(), "seed {seed}: lost {lost:?}, {verdict:#?}\n{}", story.unwrap_or_default());
    assert!(deaths.get("inside a checkpoint").is_some_and(|inside| *inside >= CHECKPOINTS / 4), "{deaths:?}");
}

/// Points that matter where messages wait for the remote instead of for their commit.
const DEFERRED: [&str; 6] =
    ["store_deferred", "deferred_removed", "store_committed", "remote_written", "PUBACK", "answer_written"];

#[test]
fn nothing_acknowledged_is_lost_where_commits_are_deferred() {
    if !has("mosquitto", "nothing_acknowledged_is_lost_where_commits_are_deferred") {
        return;
    }
    let seed = number("MQTT_BRIDGE_KILL_SEED", fastrand::u64(..));
    let mut random = fastrand::Rng::with_seed(seed);
    say(&format!("kill, deferred: MQTT_BRIDGE_KILL_SEED={seed}\n"));
    let mut world = World::new();
    world.durability = ", durability: deferred, commit_after: 50ms";
    // As above.
    world.crash_at("PUBCOMP", 20);
    // Where a backlog stands nothing is deferred.
    world.orders.pause.store(1000, Ordering::Relaxed);
    // Each of QoS 2 is committed, and takes along what is deferred then.
    world.orders.qos_2_every.store(200, Ordering::Relaxed);
    let mut plan: Vec<Kill> = vec![Kill::AtRandom; 24];
    for point in DEFERRED {
        plan.extend((0..4).map(|_| Kill::At(point, random.u64(1..=60), true)));
    }
    random.shuffle(&mut plan);
    for (cycle, kill) in plan.iter().enumerate() {
        world.orders.cycle.store(cycle as u32, Ordering::Relaxed);
        live(&world, &mut random, *kill);
    }
    let verdict = world.judge(None);
    say(&format!("kill, deferred: {} kills: {verdict}\n", plan.len()));
    assert!(verdict.is_clean(), "seed {seed}: {verdict:#?}");
}

/// The negative twin: the same world, publishers and judge, and a bridge that answers before it commits.
#[test]
fn the_judge_catches_a_bridge_that_acknowledges_before_it_commits() {
    if !has("mosquitto", "the_judge_catches_a_bridge_that_acknowledges_before_it_commits") {
        return;
    }
    let mut world = World::new();
    world.sin = Some("ack_before_commit");
    for cycle in 0..3 {
        world.orders.cycle.store(cycle, Ordering::Relaxed);
        world.crash_at("before_commit", 3);
    }
    world.sin = None;
    let verdict = world.judge(None);
    say(&format!("kill: a bridge that sins: {verdict}\n"));
    assert!(!verdict.lost.is_empty(), "{verdict}");
}

#[test]
fn a_kill_while_the_cache_is_created_leaves_nothing_that_the_next_start_refuses() {
    for point in ["file_created", "cache_configured", "schema_uncommitted", "schema_in_wal"] {
        let folder = tempfile::tempdir().unwrap();
        let rest = format!("cache: {{ path: {} }}\n", folder.path().join("cache.db").display());
        let mut process = common::Bridge::spawn(folder.path(), &rest, &[("MQTT_BRIDGE_CRASH", point)]);
        let ended = process.ended_within(Duration::from_secs(20)).unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(libc::SIGKILL), "{point}");
        let (status, log) = common::Bridge::start(folder.path(), &rest).terminate();
        assert!(status.success(), "{point}: {log}");
        let cache = rusqlite::Connection::open(folder.path().join("cache.db")).unwrap();
        let checked: String = cache.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(checked, "ok", "{point}");
    }
}
