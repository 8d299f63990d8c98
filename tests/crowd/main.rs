//! Many local clients on one bridge whose link to the remote flaps: nothing is lost, here or there, and memory stays flat.
//! In small on every run; in full, for the README:
//!
//! ```sh
//! CROWD_CLIENTS=1000 CROWD_SECONDS=600 cargo test --release --test crowd -- --nocapture
//! ```
#![allow(clippy::unwrap_used, clippy::panic)] // A test may.
#[path = "../common/mod.rs"]
mod common;

mod clients;
mod connection;
mod ledger;
mod measure;
mod relay;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::process::{Process, loopback};
use common::{Bridge, PATIENCE, has};
use ledger::Ledger;
use measure::Measured;

/// What is still missing when the publishers stop must have come by then.
const SETTLE: Duration = Duration::from_secs(60);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: no number")))
}

/// Every connection takes a descriptor, here and in the bridge, which inherits the limit.
fn allow_descriptors(wanted: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls only read or write this structure.
    let raised = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_cur.max(wanted.min(limit.rlim_max));
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit)
    };
    assert!(raised == 0 && limit.rlim_cur >= wanted, "{wanted} descriptors are needed: {} allowed", limit.rlim_max);
}

/// mosquitto on a port of its own, without limits of its queues: what it drops is not what is asked here.
fn remote(folder: &Path) -> (Process, SocketAddr) {
    let address = TcpListener::bind((loopback(), 0)).unwrap().local_addr().unwrap();
    let file = folder.join("remote.conf");
    let text = format!(
        "listener {} {}\nallow_anonymous true\nuser root\npersistence false\nlog_type error\n\
         max_queued_messages 0\nmax_inflight_messages 0\n",
        address.port(),
        address.ip()
    );
    std::fs::write(&file, text).unwrap();
    let program = if Path::new("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" };
    let process = Process::start(Command::new(program).arg("-c").arg(&file));
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(begun.elapsed() < PATIENCE, "{address} does not listen: {}", process.log());
        // Nothing else says that it listens.
        std::thread::sleep(Duration::from_millis(5));
    }
    (process, address)
}

#[test]
fn a_crowd_loses_nothing_while_the_link_flaps() {
    if !has("mosquitto", "a_crowd") {
        return;
    }
    let pairs = setting("CROWD_CLIENTS", 60) as usize / 2;
    let time = Duration::from_secs(setting("CROWD_SECONDS", 20));
    allow_descriptors(2 * pairs as u64 + 200);
    let folder = tempfile::tempdir().unwrap();
    let (_remote, remote) = remote(folder.path());
    let link = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let rest = format!(
        "cache: {{ path: {} }}\nbridges:\n  - {{ name: b, server: \"mqtt://{}\", client_id: crowd-bridge, \
         keep_alive: 2s, connect_timeout: 1s, ack_timeout: 3s, forwards: [{{ local: \"crowd/#\" }}] }}\n",
        folder.path().join("cache.db").display(),
        link.local_addr().unwrap()
    );
    let bridge = Bridge::start(folder.path(), &rest);
    let ledger = Arc::new(Ledger::new(pairs));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (flaps, measured) = runtime.block_on(crowd(&bridge, link, remote, time, &ledger));
    let (sent, acknowledged) = ledger.published();
    let (here, there) = (ledger.here(), ledger.there());
    let [p50, p99] = ledger.latency();
    println!(
        "{} clients, {} s, the link down {flaps} times\n\
         {:<12}{:>10}{:>14}{:>8}{:>12}{:>14}\n{:<12}{:>10}{:>14}{:>8}{:>12}{:>14}\n{:<12}{:>10}{:>14}{:>8}{:>12}{:>14}\n\
         latency, from the intended moment to a local subscriber: p50 {p50:.1} ms, p99 {p99:.1} ms\n{}",
        2 * pairs,
        time.as_secs(),
        "",
        "published",
        "acknowledged",
        "lost",
        "duplicated",
        "out of order",
        "here",
        sent,
        acknowledged,
        here.lost,
        here.duplicated,
        here.out_of_order,
        "remote",
        sent,
        acknowledged,
        there.lost,
        there.duplicated,
        there.out_of_order,
        measured.table(sent),
    );
    assert!(sent as u128 >= pairs as u128 * (u128::from(time.as_secs()) - 2), "the crowd itself was too slow");
    assert_eq!(acknowledged, sent);
    assert_eq!((here.lost, here.out_of_order), (0, 0));
    assert_eq!((there.lost, there.out_of_order), (0, 0));
    assert!(flaps > 1, "the link has hardly flapped");
    measured.must_be_flat();
}

/// Runs all of it; how often the link went down, and what the bridge needed.
async fn crowd(
    bridge: &Bridge,
    link: TcpListener,
    remote: SocketAddr,
    time: Duration,
    ledger: &Arc<Ledger>,
) -> (u64, Measured) {
    let receiver = clients::receiver(remote, ledger.clone()).await;
    let flapping = relay::flapping(link, remote, time);
    let until = clients::start(bridge.address, time, ledger).await;
    let measuring = measure::measure(bridge.process.id(), until);
    let (flaps, measured) = tokio::join!(flapping, measuring);
    let settled = tokio::time::timeout(SETTLE, ledger.complete()).await;
    if settled.is_err() {
        println!("not everything has come within {SETTLE:?}\n{}", bridge.process.log());
    }
    receiver.abort();
    (flaps, measured)
}
