//! Throughput, CPU and latency of our bridge beside mosquitto's, in turn (A B A B), on one machine in one run:
//! `cargo bench --bench throughput [-- FIGURE...]`. Absolute figures belong to the machine; ratios can be compared.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod load;
mod peers;
mod shrink;

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use load::Subscriber;
use mqtt_bridge::bridge::message::QoS;
use peers::{Kind, Peer, bridge, free_port, remote};

/// Times that each measurement is taken, in turn with the others.
const ROUNDS: usize = 3;

/// What one run has shown.
#[derive(Debug, Clone, Copy)]
struct Run {
    per_second: f64,
    /// Of the bridge alone.
    cpu_us: f64,
    /// Of the bridge alone.
    written: u64,
}

fn run(messages: u64, elapsed: Duration, cpu: Duration, written: u64) -> Run {
    let (per_second, cpu_us) = (messages as f64 / elapsed.as_secs_f64(), cpu.as_secs_f64() * 1e6 / messages as f64);
    Run { per_second, cpu_us, written }
}

/// From a publisher through a bridge (or straight) to a subscriber of the remote: until all has arrived.
fn through(folder: &Path, kind: Option<Kind>, qos: QoS, messages: u64) -> Run {
    let remote = remote(folder, free_port());
    let bridge = kind.map(|kind| bridge(kind, folder, remote.address));
    let subscriber = Subscriber::start(remote.address, messages + 1, Instant::now());
    let address = bridge.as_ref().map_or(remote.address, |bridge| bridge.address);
    // The first message shows that the way is open.
    load::publish(address, "first", qos, 1);
    wait_until(|| subscriber.received() == 1);
    let before = bridge.as_ref().map(|bridge| (bridge.cpu(), bridge.written()));
    let begin = Instant::now();
    load::publish(address, "load", qos, messages);
    let arrived = subscriber.join();
    let (cpu, written) = match (&bridge, before) {
        (Some(bridge), Some((cpu, written))) => (bridge.cpu() - cpu, bridge.written() - written),
        _ => (Duration::ZERO, 0),
    };
    run(messages, arrived.last - begin, cpu, written)
}

/// What is taken in while the remote is away, and how fast it goes out when the remote is there: both, and the most
/// memory that it took.
fn offline(folder: &Path, kind: Kind, publishers: u64, messages: u64) -> (Run, Run, f64) {
    let address = free_port();
    let bridge = bridge(kind, folder, address);
    let (cpu, written, begin) = (bridge.cpu(), bridge.written(), Instant::now());
    publish_from(&bridge, publishers, messages);
    let taken_in = run(messages, begin.elapsed(), bridge.cpu() - cpu, bridge.written() - written);
    let (cpu, written) = (bridge.cpu(), bridge.written());
    let (_remote, subscriber) = heal(folder, address, messages);
    let arrived = subscriber.join();
    let drained = run(messages, arrived.last - arrived.first, bridge.cpu() - cpu, bridge.written() - written);
    (taken_in, drained, bridge.peak_rss())
}

fn publish_from(bridge: &Peer, publishers: u64, messages: u64) {
    let address = bridge.address;
    std::thread::scope(|scope| {
        for number in 0..publishers {
            let each = messages / publishers;
            scope.spawn(move || load::publish(address, &format!("load-{number}"), QoS::AtLeastOnce, each));
        }
    });
}

/// The remote comes, and the subscriber before the bridge, which waits between its attempts.
fn heal(folder: &Path, address: SocketAddr, messages: u64) -> (Peer, Subscriber) {
    let remote = remote(folder, address);
    let subscriber = Subscriber::start(address, messages, Instant::now());
    (remote, subscriber)
}

/// Sorted latencies at a rate, in nanoseconds.
fn latencies(folder: &Path, kind: Option<Kind>, rate: u64, messages: u64) -> Vec<u64> {
    let remote = remote(folder, free_port());
    let bridge = kind.map(|kind| bridge(kind, folder, remote.address));
    let address = bridge.as_ref().map_or(remote.address, |bridge| bridge.address);
    let epoch = Instant::now();
    let subscriber = Subscriber::start(remote.address, messages + 1, epoch);
    load::publish(address, "first", QoS::AtLeastOnce, 1);
    wait_until(|| subscriber.received() == 1);
    load::publish_paced(address, rate, messages, epoch);
    subscriber.join().latencies
}

/// A million cached messages: the most memory while they are taken in, at a start with them, and while they drain; and
/// how long that start takes until a client has its CONNACK.
fn million(folder: &Path) {
    const MESSAGES: u64 = 1_000_000;
    let address = free_port();
    let bridge = bridge(Kind::Ours, folder, address);
    publish_from(&bridge, 8, MESSAGES);
    let taking_in = bridge.peak_rss();
    drop(bridge); // SIGKILL
    let begin = Instant::now();
    let bridge = peers::ours(&folder.join("bridge.yaml"));
    load::publish(bridge.address, "first", QoS::AtLeastOnce, 1);
    let start = begin.elapsed();
    let (cpu, starting) = (bridge.cpu(), bridge.peak_rss());
    let (_remote, subscriber) = heal(folder, address, MESSAGES + 1);
    let arrived = subscriber.join();
    let drained = run(MESSAGES, arrived.last - arrived.first, bridge.cpu() - cpu, bridge.written());
    show("drain of 1,000,000", Kind::Ours.name(), drained);
    goal("RSS with 1,000,000 cached, taking in, MiB", taking_in, 32.0, true);
    goal("RSS with 1,000,000 cached, started, MiB", starting, 32.0, true);
    goal("RSS with 1,000,000 cached, draining, MiB", bridge.peak_rss(), 32.0, true);
    goal("start with 1,000,000 cached to first PUBACK, ms", start.as_secs_f64() * 1e3, 200.0, true);
}

fn wait_until(done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(20), "nothing came through");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Each in turn, so often; the median of each by its rate.
fn in_turn<const N: usize>(mut measure: [&mut dyn FnMut() -> Run; N]) -> [Run; N] {
    let mut runs: [Vec<Run>; N] = std::array::from_fn(|_| Vec::new());
    for _ in 0..ROUNDS {
        for (runs, measure) in runs.iter_mut().zip(&mut measure) {
            runs.push(measure());
        }
    }
    runs.map(|mut runs| {
        runs.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
        runs[ROUNDS / 2]
    })
}

fn show(figure: &str, name: &str, run: Run) {
    let mib = run.written as f64 / f64::from(1 << 20);
    println!("{figure:<34} {name:<22} {:>8.0}/s {:>7.1} us CPU {mib:>8.1} MiB written", run.per_second, run.cpu_us);
}

fn goal(figure: &str, value: f64, wanted: f64, at_most: bool) {
    let met = if at_most { value <= wanted } else { value >= wanted };
    let (sign, verdict) = (if at_most { "<=" } else { ">=" }, if met { "met" } else { "MISSED" });
    println!("  -> {figure:<50} {value:>7.2}  (goal {sign} {wanted}) {verdict}");
}

/// Commits of one page a second on this disk, and the median of one in microseconds.
fn fdatasync(folder: &Path) -> (f64, f64) {
    let mut file = std::fs::File::create(folder.join("fdatasync")).unwrap();
    let (begin, mut took) = (Instant::now(), Vec::new());
    while begin.elapsed() < Duration::from_secs(1) {
        let one = Instant::now();
        file.write_all(&[7; 4096]).unwrap();
        file.sync_data().unwrap();
        took.push(one.elapsed());
    }
    let rate = took.len() as f64 / begin.elapsed().as_secs_f64();
    took.sort_unstable();
    (rate, took[took.len() / 2].as_secs_f64() * 1e6)
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wants = |figure: &str| wanted.is_empty() || wanted.iter().any(|name| figure == name);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let folder = folder.path();
    let (rate, commit_us) = fdatasync(folder);
    println!("fdatasync of one appended page: {rate:.0}/s, median {commit_us:.0} us; {ROUNDS} rounds each, in turn\n");
    if wants("qos1") {
        let [ours, theirs, direct] = in_turn([
            &mut || through(folder, Some(Kind::Ours), QoS::AtLeastOnce, 100_000),
            &mut || through(folder, Some(Kind::Mosquitto), QoS::AtLeastOnce, 100_000),
            &mut || through(folder, None, QoS::AtLeastOnce, 100_000),
        ]);
        show("QoS 1 through the bridge", Kind::Ours.name(), ours);
        show("QoS 1 through the bridge", Kind::Mosquitto.name(), theirs);
        show("QoS 1", "straight to the remote", direct);
        goal("QoS 1 through the bridge / mosquitto's", ours.per_second / theirs.per_second, 1.2, false);
        goal("CPU per message, us", ours.cpu_us, 12.0, true);
    }
    if wants("deferred") {
        let [committed, deferred] =
            in_turn([&mut || through(folder, Some(Kind::Ours), QoS::AtLeastOnce, 100_000), &mut || {
                through(folder, Some(Kind::Deferred), QoS::AtLeastOnce, 100_000)
            }]);
        show("QoS 1, 100,000 messages", Kind::Ours.name(), committed);
        show("QoS 1, 100,000 messages", Kind::Deferred.name(), deferred);
        let share = deferred.written as f64 / committed.written.max(1) as f64;
        println!("  -> written with `durability: deferred`: {:.2} % of what is written without", share * 100.0);
    }
    if wants("qos2") {
        let [ours, direct] =
            in_turn([&mut || through(folder, Some(Kind::Ours), QoS::ExactlyOnce, 50_000), &mut || {
                through(folder, None, QoS::ExactlyOnce, 50_000)
            }]);
        show("QoS 2 through the bridge", Kind::Ours.name(), ours);
        show("QoS 2", "straight to the remote", direct);
        goal("QoS 2 through the bridge / straight", ours.per_second / direct.per_second, 0.7, false);
    }
    for publishers in [1, 8] {
        if !wants(if publishers == 1 { "offline1" } else { "offline8" }) {
            continue;
        }
        let (mut drained, mut peaks) = ((Vec::new(), Vec::new()), (0.0_f64, 0.0_f64));
        let [ours, theirs] = in_turn([
            &mut || {
                let (taken_in, out, peak) = offline(folder, Kind::Ours, publishers, 200_000);
                drained.0.push(out);
                peaks.0 = peaks.0.max(peak);
                taken_in
            },
            &mut || {
                let (taken_in, out, peak) = offline(folder, Kind::Mosquitto, publishers, 200_000);
                drained.1.push(out);
                peaks.1 = peaks.1.max(peak);
                taken_in
            },
        ]);
        let median = |runs: &mut Vec<Run>| {
            runs.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
            runs[ROUNDS / 2]
        };
        let (our_drain, their_drain) = (median(&mut drained.0), median(&mut drained.1));
        let figure = format!("taken in offline, {publishers} publishers");
        show(&figure, Kind::Ours.name(), ours);
        show(&figure, Kind::Mosquitto.name(), theirs);
        show("drain of 200,000", Kind::Ours.name(), our_drain);
        show("drain of 200,000", Kind::Mosquitto.name(), their_drain);
        println!("  most memory: {:.0} MiB, mosquitto {:.0} MiB", peaks.0, peaks.1);
        let wanted = if publishers == 1 { 0.8 } else { 1.5 };
        goal(&format!("{figure} / mosquitto's"), ours.per_second / theirs.per_second, wanted, false);
        goal("drain / mosquitto's", our_drain.per_second / their_drain.per_second, 1.0, false);
    }
    if wants("million") {
        million(folder);
    }
    if wants("shrink") {
        shrink::shrink(folder);
    }
    if wants("latency") {
        let ours = latencies(folder, Some(Kind::Ours), 1000, 5000);
        let theirs = latencies(folder, Some(Kind::Mosquitto), 1000, 5000);
        let direct = latencies(folder, None, 1000, 5000);
        let at = |sorted: &[u64], share: f64| sorted[(sorted.len() as f64 * share) as usize] as f64 / 1e6;
        for (name, sorted) in [("mqtt-bridge", &ours), ("mosquitto's bridge", &theirs), ("straight", &direct)] {
            println!("latency at 1,000/s, {name}: p50 {:.3} ms, p99 {:.3} ms", at(sorted, 0.5), at(sorted, 0.99));
        }
        let added = |share: f64| at(&ours, share) - at(&direct, share);
        goal("added latency p50, ms", added(0.5), commit_us / 1000.0 + 0.3, true);
        goal("added latency p99, ms", added(0.99), 5.0, true);
    }
}
