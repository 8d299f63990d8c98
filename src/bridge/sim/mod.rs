//! Deterministic simulation of the bridge: publishers, their connections, the cache's writer, the forwarders with their
//! rings, links, and remotes, in virtual time. Only threads and sockets are not the real ones.
//!
//! Everything follows from one seed. A world jumps from one event to the next; after each of them the guarantees are
//! looked at ([`ledger`]). At the end every fault is healed, and without another publish everything must drain and be
//! where it was promised to be. The twins at the end sin on purpose, and must be found out.
//!
//! `SIM_SEEDS=100000 cargo test --lib no_guarantee` runs more; `SIM_SEED=7` replays one, with what happens;
//! `SIM_MINUTES=10 cargo test --release --lib no_guarantee` runs for so long, from a seed that it names.
mod broker;
mod disk;
mod ledger;
mod link;
mod plan;
mod process;
mod publisher;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use plan::Plan;
use world::{Sin, World};

const ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// Worlds in which something was found that is fixed now, each with its story, as long as plans are drawn as they are;
/// each fact also has a small test of its own where it was fixed. (What was found before publishers and several remotes
/// were part of the world has its small tests alone: those worlds are not drawn any more.)
///
/// * 390, 469, 602 (found in 59, 103 and 262, as worlds were then): on 3.1.1, where a refusal is the end of the
///   connection, what came behind the refused PUBLISH was taken, and stood before it when its publisher sent it again: G3,
///   and PUBRECs out of order.
/// * 88: there, what was stored before the refused PUBLISH was not acknowledged, and came again into a queue that stayed
///   full, for ever.
/// * 3: the first remedy for that said with a PUBACK of 3.1.1, which has no Reason Code, that what was refused is stored.
/// * 43943: a publisher that waited for room is behind others that came later, and a start under a wall clock that was set
///   back took its arrival for the latest: messages came from the future.
/// * 54713: a PUBLISH that was sent again and is stored was answered at once, before others that came before it.
/// * 3273062479414508, 3273062479496686: the simulation took for a sin that a message which had its Packet Identifier
///   since before a kill is sent after it has expired, where a lower Maximum QoS or a lost session has taken DUP from it.
const FOUND: [u64; 9] = [3, 88, 390, 469, 602, 43_943, 54_713, 3_273_062_479_414_508, 3_273_062_479_496_686];

/// The same, since worlds with `durability: deferred` are drawn.
///
/// * 180, 415: of two that came at once, one deferred and one of QoS 0, the later is committed first: the simulation took
///   that for the order in which they came.
/// * 1810144186551167: it took a message of QoS 0, which is written nowhere, for one that stands before what was deferred
///   by a process that is gone and comes again.
/// * 1810144186552073: what was deferred when room had to be made is not evicted, although it is a row afterwards.
/// * 8352688054443: a message of QoS 2 that expired while its Packet Identifier was committed was dropped, and the next was
///   sent; a kill took the drop back, and it was sent after that: G3.
/// * 6332075750413, 4803606946569: a remote of 3.1.1 that acknowledges nothing and closes six times has refused the first
///   message, as far as a client can know; the simulation knew better.
/// * 4063222221214206: nor did it know that the Packet Identifier of one of QoS 2 has to be given back then, by a PUBREL.
/// * 1955054518024541: a message was evicted by the transaction that had stored it, for one that was smaller, and nobody
///   looked whether a publisher that had waited since a moment before could have what was left.
/// * 1955054518601688: a remote of 3.1.1 that refuses the last of many closed three times at each of those before it.
/// * 4117126003368129: the simulation remembered sequences of a cache that had been taken away.
/// * 1298157220779352: a publisher's CONNECT waited until something else happened, which made a queue of one too slow.
const FOUND_SINCE: [u64; 12] = [
    180,
    415,
    1_810_144_186_551_167,
    1_810_144_186_552_073,
    8_352_688_054_443,
    6_332_075_750_413,
    4_803_606_946_569,
    1_955_054_518_024_541,
    1_955_054_518_601_688,
    4_117_126_003_368_129,
    1_298_157_220_779_352,
    4_063_222_221_214_206,
];

fn run(seed: u64, sin: Option<Sin>) -> Result<(), String> {
    World::new(Plan::new(seed), sin).run()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn holds(seed: u64) {
    if let Err(violation) = run(seed, None) {
        panic!("{violation}\n  replay: SIM_SEED={seed} cargo test --lib no_guarantee_is_broken -- --nocapture");
    }
}

fn holds_immediately(seed: u64) {
    let plan = Plan { commit_after: None, ..Plan::new(seed) };
    if let Err(violation) = World::new(plan, None).run() {
        panic!("seed {seed} with `durability: immediate`: {violation}");
    }
}

#[test]
fn no_guarantee_is_broken_in_any_world() {
    if let Some(seed) = number("SIM_SEED") {
        return holds(seed);
    }
    FOUND.into_iter().for_each(holds_immediately);
    FOUND_SINCE.into_iter().for_each(holds);
    let Some(minutes) = number("SIM_MINUTES") else {
        let first = number("SIM_FIRST").unwrap_or(0);
        all_hold(first..first + number("SIM_SEEDS").unwrap_or(4_000));
        return;
    };
    // Worlds that no run before has seen.
    let first = number("SIM_FIRST").unwrap_or_else(|| fastrand::u64(1 << 32..1 << 52));
    let begun = Instant::now();
    let worlds = all_hold((first..).take_while(|_| begun.elapsed() < Duration::from_secs(60 * minutes)));
    eprintln!("{worlds} worlds from seed {first} on in {:.0} s: no guarantee is broken", begun.elapsed().as_secs_f64());
}

/// On every processor; says how many there were.
fn all_hold(seeds: impl Iterator<Item = u64> + Send) -> u64 {
    let (seeds, worlds) = (Mutex::new(seeds), AtomicU64::new(0));
    let work = || {
        // In two steps, or the lock would be held for as long as a world takes.
        while let Some(seed) = { seeds.lock().ok().and_then(|mut seeds| seeds.next()) } {
            holds(seed);
            worlds.fetch_add(1, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, Into::into) {
            scope.spawn(work);
        }
    });
    worlds.into_inner()
}

/// Each must be found out within a few hundred worlds, and for what it does.
fn is_found_out(sin: Sin, guarantee: &str) {
    let found = (0..600).filter_map(|seed| run(seed, Some(sin)).err()).any(|violation| violation.contains(guarantee));
    assert!(found, "{sin:?} goes unnoticed");
}

#[test]
fn a_twin_that_publishes_qos_2_before_its_commit_is_found_out() {
    is_found_out(Sin::SentIsNotCommitted, "G5");
}

#[test]
fn a_twin_that_sends_pubrel_before_its_commit_is_found_out() {
    is_found_out(Sin::ReleasedIsNotCommitted, "G5");
}

#[test]
fn a_twin_that_removes_before_the_acknowledgement_is_found_out() {
    is_found_out(Sin::RemovesWhenSent, "lost");
}

#[test]
fn a_twin_that_acknowledges_before_the_commit_is_found_out() {
    is_found_out(Sin::AcknowledgesBeforeCommit, "G1");
}

#[test]
fn a_twin_that_acknowledges_what_is_deferred_is_found_out() {
    is_found_out(Sin::AcknowledgesDeferred, "G1");
}

#[test]
fn a_twin_that_acknowledges_what_the_first_of_two_remotes_has_is_found_out() {
    is_found_out(Sin::AcknowledgesAfterTheFirst, "G1");
}

#[test]
fn a_twin_that_acknowledges_out_of_order_is_found_out() {
    is_found_out(Sin::AcknowledgesOutOfOrder, "G1");
}

#[test]
fn a_twin_that_takes_what_follows_a_refusal_on_3_1_1_is_found_out() {
    is_found_out(Sin::TakesWhatFollows, "G3");
}

#[test]
fn a_twin_that_forgets_to_read_the_rest_is_found_out() {
    is_found_out(Sin::SkipsPages, "G6");
}

#[test]
fn a_twin_that_takes_a_lost_session_for_its_own_is_found_out() {
    is_found_out(Sin::SessionAlwaysPresent, "G5");
}

#[test]
fn a_twin_that_leaves_a_session_behind_where_it_wipes_is_found_out() {
    is_found_out(Sin::WipesForEver, "G5");
}

#[test]
fn a_twin_that_does_not_sync_its_commits_is_found_out() {
    is_found_out(Sin::CommitsAreNotSynced, "lost");
}

#[test]
fn a_twin_that_forgets_what_a_publisher_has_sent_is_found_out() {
    is_found_out(Sin::ForgetsReceivedIds, "G5");
}

#[test]
fn a_twin_that_forgets_the_sessions_of_publishers_is_found_out() {
    is_found_out(Sin::ForgetsSessions, "Session Present");
}

#[test]
fn a_twin_that_evicts_what_is_in_flight_is_found_out() {
    is_found_out(Sin::EvictsTheFirst, "in flight");
}

#[test]
fn a_twin_that_evicts_more_than_it_counts_is_found_out() {
    is_found_out(Sin::EvictsTwo, "lost");
}

#[test]
fn a_twin_that_sends_what_it_has_evicted_is_found_out() {
    is_found_out(Sin::KeepsWhatItEvicts, "was dropped");
}

#[test]
fn a_twin_that_forgets_who_waits_for_room_is_found_out() {
    is_found_out(Sin::ForgetsWhoWaits, "waits although there is room");
}

#[test]
fn a_twin_that_ignores_the_rate_of_a_drain_is_found_out() {
    is_found_out(Sin::IgnoresTheRate, "max_rate");
}

#[test]
fn a_twin_that_lets_one_remote_wait_for_another_is_found_out() {
    is_found_out(Sin::WaitsForTheOther, "G6");
}

#[test]
fn a_twin_that_starts_with_a_wall_clock_that_was_set_back_is_found_out() {
    is_found_out(Sin::StartsAtTheWallClock, "future");
}

#[test]
fn a_twin_that_knows_no_limits_is_found_out() {
    is_found_out(Sin::IgnoresTheLimits, "above the limits");
}
