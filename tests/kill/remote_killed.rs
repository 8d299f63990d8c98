//! SIGKILL of the remote, of the bridge, and of both at once.
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::common::{Bridge, has};
use crate::mosquitto::Mosquitto;
use crate::on_the_wire::{Id, Wire, cached, story};
use crate::relay::Mode;
use crate::world::World;
use crate::{number, say};

const KILLS: u32 = 40;
/// As the bridge is configured.
const WINDOW: usize = 50;

/// Nothing that was accepted is gone from the cache unless the remote had acknowledged it on the wire. Only while no
/// bridge runs.
fn check(world: &World, cycle: u32) {
    let accepted: HashSet<Id> = world.orders.accepted().into_iter().collect();
    let wire = Wire::read(&world.relay.passed());
    let cached = cached(&world.cache());
    let gone: Vec<&Id> =
        accepted.iter().filter(|id| !cached.contains(*id) && !wire.acknowledged.contains(*id)).collect();
    assert!(
        gone.is_empty(),
        "cycle {cycle}: removed without an acknowledgement: {gone:?}; {:?}\n{}",
        wire.violations,
        gone.iter().take(1).map(|id| story(&world.relay.passed(), id)).collect::<String>()
    );
}

fn kill_again_and_again(persistence: &dyn Fn(&World) -> String, test: &str) {
    let seed = number("MQTT_BRIDGE_KILL_SEED", fastrand::u64(..));
    let mut random = fastrand::Rng::with_seed(seed);
    let begun = Instant::now();
    let mut world = World::recording("");
    let persistence = persistence(&world);
    let mut running: Option<Bridge> = None;
    let mut killed = [0, 0, 0];
    for cycle in 0..KILLS {
        world.orders.cycle.store(cycle, Ordering::Relaxed);
        let bridge = running.take().or_else(|| world.start(None)).unwrap();
        world.orders.until_acknowledged(world.acknowledged() + random.u64(..150));
        std::thread::sleep(Duration::from_micros(random.u64(..20_000)));
        let whom = random.usize(..3);
        killed[whom] += 1;
        if whom != 0 {
            world.mosquitto.process.kill();
        }
        if whom == 1 {
            running = Some(bridge);
            // It goes on without its remote.
            world.orders.until_acknowledged(world.acknowledged() + random.u64(..150));
        } else {
            world.kill(bridge);
            check(&world, cycle);
        }
        if whom != 0 {
            world.mosquitto = Mosquitto::start(world.folder.path(), &persistence);
            world.relay.set_target(world.mosquitto.address);
        }
        if random.u8(..) < 30 {
            world.relay.set(Mode::Cut);
            world.relay.set(Mode::Whole);
        }
    }
    let (bridge, _) = world.settle(running);
    let (status, log) = bridge.terminate();
    assert!(status.success(), "{log}");
    check(&world, KILLS);
    let wire = Wire::read(&world.relay.passed());
    say(&format!(
        "{test}: seed {seed}, {} kills of the bridge, {} of the remote, {} of both, {:.0} s; {} accepted, {} acknowledged \
         on the wire, {} PUBLISHes ({} with DUP), {} connections, {} sessions lost, {} in flight at most, {} completed in \
         another session, {} violations\n",
        killed[0],
        killed[1],
        killed[2],
        begun.elapsed().as_secs_f64(),
        world.orders.accepted().len(),
        wire.acknowledged.len(),
        wire.published,
        wire.repeated,
        wire.connections,
        wire.sessions_lost,
        wire.in_flight,
        wire.across_sessions,
        wire.violations.len()
    ));
    assert!(wire.violations.is_empty(), "seed {seed}: {:#?}", wire.violations);
    assert!(wire.in_flight <= WINDOW, "{} in flight", wire.in_flight);
    let accepted: HashSet<Id> = world.orders.accepted().into_iter().collect();
    let missing: Vec<&Id> = accepted.difference(&wire.acknowledged).collect();
    assert!(missing.is_empty(), "seed {seed}: the cache is empty and the remote never had {missing:?}");
}

#[test]
fn a_remote_that_is_killed_and_remembers_nothing_gets_everything_by_the_book() {
    let test = "a_remote_that_is_killed_and_remembers_nothing";
    if has("mosquitto", test) {
        kill_again_and_again(&|_| String::new(), test);
    }
}

#[test]
fn a_remote_that_is_killed_and_remembers_an_older_state_gets_everything_by_the_book() {
    let test = "a_remote_that_is_killed_and_remembers_an_older_state";
    if has("mosquitto", test) {
        let persistence = |world: &World| {
            format!(
                "persistence true\npersistence_location {}/\nautosave_on_changes true\nautosave_interval 50",
                world.folder.path().display()
            )
        };
        kill_again_and_again(&persistence, test);
    }
}
